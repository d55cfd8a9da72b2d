variable "name" {
  description = "The name of everything that is made: functions, roles, table, alarms."
  type        = string
}

variable "issuer" {
  description = "The issuer: the URL in `iss`, in discovery and in front of every path."
  type        = string
}

variable "config" {
  description = "TOML of docs/configuration.md without what the module writes: `issuer`, `[store]`, `[sealing]`, `[publish]`."
  type        = string
}

variable "package" {
  description = "Path of the issuer's zip file."
  type        = string
}

variable "architecture" {
  description = "`x86_64` or `arm64`: what the package was built for."
  type        = string
}

variable "environment" {
  description = "Further variables of the functions."
  type        = map(string)
}

variable "memory_size" {
  description = "Memory of the rotating function, in MB."
  type        = number
}

variable "sealing_key_arn" {
  description = "A KMS key to seal the private keys with; null makes one."
  type        = string
}

variable "kms_signers" {
  description = "Whether rings with `signer = \"kms\"` are allowed: the rotating function may then make keys in KMS."
  type        = bool
}

variable "kms_replicas" {
  description = "Whether rings of `config` may have `kms_replicas`. With `kms_signers`, the rotating function may then replicate the keys of this issuer in KMS into other regions."
  type        = bool

  validation {
    condition     = var.kms_signers || !var.kms_replicas
    error_message = "kms_replicas needs kms_signers: keys that are not in KMS have no replicas."
  }
}

variable "signer_arns" {
  description = "Roles that may open the private keys and so sign, by a name of each. The rotating function is not among them."
  type        = map(string)
}

variable "secret_arns" {
  description = "Parameters and secrets that the configuration refers to."
  type        = list(string)
}

variable "secret_kms_key_arns" {
  description = "KMS keys that those are encrypted under, if not AWS's own."
  type        = list(string)
}

variable "publish" {
  description = "Where the public documents are published after each turn, and the parameter that gets the kid of the key that signs; null does not publish."
  type = object({
    bucket           = string
    prefix           = string
    distribution_id  = optional(string)
    distribution_arn = optional(string)
    key_id           = optional(string)
    key_id_arn       = optional(string)
  })
}

variable "rotation_schedule" {
  description = "The schedule expression of the rotation."
  type        = string
}

variable "first_keys" {
  description = "`create` makes a keyring where no keyring is, `refuse` fails."
  type        = string
}

variable "deletion_protection" {
  description = "Whether the table, and with it all keys, is protected against deletion."
  type        = bool
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}

variable "alarm_actions" {
  description = "ARNs that are told about alarms."
  type        = list(string)
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
}
