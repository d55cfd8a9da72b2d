variable "name" {
  description = "The name of everything that is made: function, roles, table, distribution, alarms. It is unique in the account's region."
  type        = string
  default     = "countersign-static"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,39}$", var.name))
    error_message = "name must be 3 to 40 of a-z, 0-9 and -, and begin with a letter."
  }
}

variable "package" {
  description = "Path of the issuer's package, with the features s3 and cloudfront: `scripts/package --features lambda,dynamodb,kms,aws-secrets,s3,cloudfront`."
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

variable "issuer_path" {
  description = "The path of the issuer below its domain, like `/auth`. Default: none."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(/[A-Za-z0-9._~-]+)*$", var.issuer_path))
    error_message = "issuer_path must be empty or like /auth: segments of A-Z a-z 0-9 . _ ~ -, and no slash at its end."
  }
}

variable "custom_domain" {
  description = "A domain of one's own in place of `d….cloudfront.net`: its name, a certificate for it in us-east-1, and the Route 53 zone in which its records are made. Without `zone_id` the records are yours to make."
  type = object({
    name            = string
    certificate_arn = string
    zone_id         = optional(string)
  })
  default = null

  validation {
    condition     = var.custom_domain == null || can(regex("^arn:[^:]+:acm:us-east-1:", var.custom_domain.certificate_arn))
    error_message = "custom_domain.certificate_arn must be in us-east-1, where CloudFront looks for certificates."
  }
}

variable "issuer" {
  description = "The issuer, where verifiers see neither the domain of the distribution nor `custom_domain`: behind another proxy, or in an emulator. Its path must be `issuer_path`."
  type        = string
  default     = null

  validation {
    condition     = var.issuer == null || can(regex("^(https://|http://(127\\.0\\.0\\.1|localhost)(:|/|$))[^?#\"\\s]+[^/?#\"\\s]$", var.issuer))
    error_message = "issuer must be an https URL (http on loopback alone) without query, fragment or a slash at its end."
  }
}

variable "audience" {
  description = "The audience of the tokens, for those who read it from its parameter: the APIs that accept them and the clients that ask for them."
  type        = string
  default     = "api://default"
}

variable "bucket_name" {
  description = "The bucket of the public documents. Default: `NAME-ACCOUNT`."
  type        = string
  default     = null
}

variable "force_destroy" {
  description = "Whether `terraform destroy` empties the bucket of the public documents, which can be published again."
  type        = bool
  default     = false
}

variable "price_class" {
  description = "Where CloudFront answers from: `PriceClass_100`, `PriceClass_200` or `PriceClass_All`."
  type        = string
  default     = "PriceClass_100"

  validation {
    condition     = contains(["PriceClass_100", "PriceClass_200", "PriceClass_All"], var.price_class)
    error_message = "price_class must be PriceClass_100, PriceClass_200 or PriceClass_All."
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
  description = "Further variables of the function. They are in the state and readable for anyone who may look at the function: secrets belong into Systems Manager or Secrets Manager."
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
  description = "ARNs of the parameters and secrets that the configuration refers to as `ssm:/NAME` and `secretsmanager:ARN`. The function may read these and no others."
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
  description = "A symmetric KMS key to seal the private keys with. Default: one is made, whose policy lets the rotating function and `signer_arns` use it and nobody else."
  type        = string
  default     = null

  validation {
    condition     = var.sealing_key_arn == null || can(regex("^arn:[^:]+:kms:[^:]+:[0-9]{12}:key/.+$", var.sealing_key_arn))
    error_message = "sealing_key_arn must be the ARN of a key: IAM does not know keys by their aliases."
  }
}

variable "kms_signers" {
  description = "Whether rings of `config` may have `signer = \"kms\"`. The rotating function may then make keys in KMS, and it and `signer_arns` may sign with those of this issuer, which IAM knows by a tag."
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
  description = "Roles that may open the private keys, and so sign, by a name of each: those that run `countersign sign`. Attach `sign_policy` to them."
  type        = map(string)
  default     = {}
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
  description = "Memory of the function in MB."
  type        = number
  default     = 512

  validation {
    condition     = var.memory_size >= 128 && var.memory_size <= 10240
    error_message = "memory_size must be 128 to 10240."
  }
}

variable "deletion_protection" {
  description = "Whether the table, and with it all keys, is protected against deletion. `terraform destroy` needs an apply with false first."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "How long logs are kept."
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
