variable "name" {
  description = "The name of everything that is made: functions, roles, table, API, alarms. It is unique in the account's region."
  type        = string
  default     = "countersign"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,39}$", var.name))
    error_message = "name must be 3 to 40 of a-z, 0-9 and -, and begin with a letter."
  }
}

variable "package" {
  description = "Path of the issuer's package, as `scripts/package` makes it: a zip file with `bootstrap`. For `publish` it needs the features s3 and cloudfront."
  type        = string

  validation {
    condition     = endswith(var.package, ".zip") && fileexists(var.package)
    error_message = "package must be the path of a zip file that is there; scripts/package makes dist/issuer-ARCH.zip."
  }
}

variable "architecture" {
  description = "What the package was built for: `x86_64` or `arm64`."
  type        = string
  default     = "x86_64"

  validation {
    condition     = contains(["x86_64", "arm64"], var.architecture)
    error_message = "architecture must be x86_64 or arm64, as Lambda calls them; aarch64 is arm64."
  }
}

variable "endpoint" {
  description = "What the issuer is served by: `http-api`, `rest-api` or `function-url`."
  type        = string
  default     = "http-api"

  validation {
    condition     = contains(["http-api", "rest-api", "function-url"], var.endpoint)
    error_message = "endpoint must be http-api, rest-api or function-url."
  }
}

variable "stage_name" {
  description = "The stage of a REST API, which is part of its URL and so of the issuer."
  type        = string
  default     = "prod"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,128}$", var.stage_name))
    error_message = "stage_name must be 1 to 128 of A-Z, a-z, 0-9, _ and -."
  }
}

variable "issuer" {
  description = "The issuer: the URL in `iss` and in front of every path, without a slash at its end. Default: the URL of the endpoint. Set it where clients see another one, like that of a custom domain."
  type        = string
  default     = null

  validation {
    condition     = var.issuer == null || can(regex("^(https://|http://(127\\.0\\.0\\.1|localhost)(:|/|$))[^?#\"\\s]+[^/?#\"\\s]$", var.issuer))
    error_message = "issuer must be an https URL (http on loopback alone) without query, fragment or a slash at its end."
  }
}

variable "config" {
  description = "The configuration: TOML of docs/configuration.md (`[[clients]]`, `[rings.…]`, …) without `issuer`, `[store]`, `[sealing]` and `[publish]`, which this module writes. It is kept in a parameter of type String and in the state: refer to secrets, do not write them."
  type        = string
  default     = ""

  validation {
    condition     = !can(regex("(?m)^\\s*(issuer\\s*=|\\[?\\s*(store|sealing|publish)\\s*[].=])", var.config))
    error_message = "config must not have issuer, [store], [sealing] or [publish]: this module writes them. Other settings of the store are variables in environment, like COUNTERSIGN_STORE__REFRESH."
  }
}

variable "environment" {
  description = "Further variables of the functions. They are in the state and readable for anyone who may look at the functions: secrets belong into Systems Manager or Secrets Manager."
  type        = map(string)
  default     = {}

  validation {
    condition = length(setintersection(keys(var.environment), [
      "COUNTERSIGN_CONFIG", "COUNTERSIGN_ISSUER", "COUNTERSIGN_STORE__URL", "COUNTERSIGN_STORE__FIRST_KEYS", "COUNTERSIGN_SEALING__KEY"
    ])) == 0
    error_message = "environment must not have variables that this module sets: COUNTERSIGN_CONFIG, COUNTERSIGN_ISSUER, COUNTERSIGN_STORE__URL, COUNTERSIGN_STORE__FIRST_KEYS, COUNTERSIGN_SEALING__KEY."
  }
}

variable "secret_arns" {
  description = "ARNs of the parameters and secrets that the configuration refers to as `ssm:/NAME` and `secretsmanager:ARN`. The functions may read these and no others."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.secret_arns : can(regex("^arn:[^:]+:(ssm|secretsmanager):[^*?]+$", arn))])
    error_message = "secret_arns must be ARNs of Systems Manager parameters or Secrets Manager secrets, without wildcards."
  }
}

variable "secret_kms_key_arns" {
  description = "ARNs of the KMS keys that those are encrypted under, where they are not AWS's own."
  type        = list(string)
  default     = []
}

variable "sealing_key_arn" {
  description = "A symmetric KMS key to seal the private keys with. Default: one is made, whose policy lets the functions of this module use it and nobody else."
  type        = string
  default     = null

  validation {
    condition     = var.sealing_key_arn == null || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/.+$", var.sealing_key_arn))
    error_message = "sealing_key_arn must be the ARN of a key: IAM does not know keys by their aliases."
  }
}

variable "kms_signers" {
  description = "Whether rings of `config` may have `signer = \"kms\"`. The rotating function may then make keys in KMS, and both may sign with those of this issuer, which they know by a tag."
  type        = bool
  default     = false
}

variable "kms_replicas" {
  description = "Whether rings of `config` may have `kms_replicas`. With `kms_signers`, the rotating function may then replicate the keys of this issuer in KMS into other regions."
  type        = bool
  default     = false
  nullable    = false
}

variable "signer_arns" {
  description = "Further roles that may open the private keys, and so sign, by a name of each: those that run `countersign sign`. Attach `sign_policy` to them."
  type        = map(string)
  default     = {}
}

variable "publish" {
  description = "A bucket (and a CloudFront distribution in front of it) for the public documents after each turn of the rotation. `prefix` is without slashes around it."
  type = object({
    bucket           = string
    prefix           = optional(string, "")
    distribution_id  = optional(string)
    distribution_arn = optional(string)
  })
  default = null

  validation {
    condition     = try((var.publish.distribution_id == null) == (var.publish.distribution_arn == null), true)
    error_message = "publish needs distribution_id and distribution_arn together, or neither."
  }
}

variable "first_keys" {
  description = "What the rotating function does where the table has no keyring: `create` one, or `refuse`. Set it to `refuse` after the first apply, so that a lost table is an alarm and not a new issuer."
  type        = string
  default     = "create"

  validation {
    condition     = contains(["create", "refuse"], var.first_keys)
    error_message = "first_keys must be create or refuse."
  }
}

variable "rotation_schedule" {
  description = "How often the rotating function takes a turn, as `rate(…)` or `cron(…)`. As often as `rotation.observe_every` (5 minutes): a key counts as seen in public while no look at it is missing."
  type        = string
  default     = "rate(5 minutes)"

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.rotation_schedule))
    error_message = "rotation_schedule must be rate(…) or cron(…)."
  }
}

variable "memory_size" {
  description = "Memory of the functions in MB. Their share of a processor goes with it: an RSA signature takes about five times as long at 128 as at 1024."
  type        = number
  default     = 512

  validation {
    condition     = var.memory_size >= 128 && var.memory_size <= 10240
    error_message = "memory_size must be 128 to 10240."
  }
}

variable "reserved_concurrency" {
  description = "The most instances of the serving function, two at least: a turn of the rotation asks it for the keys. -1 reserves none."
  type        = number
  default     = -1

  validation {
    condition     = var.reserved_concurrency == -1 || var.reserved_concurrency >= 2
    error_message = "reserved_concurrency must be -1 or two at least."
  }
}

variable "throttling" {
  description = "Requests a second, and at once, that the stage of an HTTP or REST API lets through. A function URL has no such limit but reserved_concurrency."
  type = object({
    rate  = optional(number, 500)
    burst = optional(number, 1000)
  })
  default = {}
}

variable "deletion_protection" {
  description = "Whether the table, and with it all keys, is protected against deletion. `terraform destroy` needs an apply with false first."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "How long logs, and with them the audit of every token, are kept."
  type        = number
  default     = 90
}

variable "alarm_actions" {
  description = "ARNs, like that of an SNS topic, that are told when an alarm begins and ends."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags of everything that is made."
  type        = map(string)
  default     = {}
}
