variable "name" {
  description = "The name of the function, its role and the authorizer."
  type        = string
  default     = "countersign-authorizer"

  validation {
    condition     = can(regex("^[a-zA-Z][a-zA-Z0-9_-]{2,63}$", var.name))
    error_message = "name must be 3 to 64 of letters, digits, _ and -, and begin with a letter."
  }
}

variable "package" {
  description = "Path of the authorizer's package, as `scripts/package` makes it: a zip file with `bootstrap`."
  type        = string

  validation {
    condition     = endswith(var.package, ".zip") && fileexists(var.package)
    error_message = "package must be the path of a zip file that is there; scripts/package makes dist/authorizer-ARCH.zip."
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

variable "api" {
  description = "The API whose authorizer it becomes: `type` is `rest`, `http` or `websocket`, `id` and `execution_arn` are those of its resource."
  type = object({
    type          = string
    id            = string
    execution_arn = string
  })

  validation {
    condition     = contains(["rest", "http", "websocket"], var.api.type)
    error_message = "api.type must be rest, http or websocket."
  }
}

variable "jwt_issuer_jwks_uri" {
  description = "JWT_ISSUER_JWKS_URI: where the keys are, a JWK Set or Firebase's map of certificates. Not needed where `trust` says more."
  type        = string
  default     = null

  validation {
    condition     = var.jwt_issuer_jwks_uri == null || can(regex("^(https://|http://(127\\.0\\.0\\.1|localhost)[:/])", var.jwt_issuer_jwks_uri))
    error_message = "jwt_issuer_jwks_uri must be an https URL (http on loopback alone)."
  }
}

variable "jwt_authorized_audiences" {
  description = "JWT_AUTHORIZED_AUDIENCES: audiences, of which a token must name one in `aud`, or in `client_id` where it has no `aud`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for audience in var.jwt_authorized_audiences : length(audience) > 0 && !strcontains(audience, ",")])
    error_message = "jwt_authorized_audiences must be audiences without commas."
  }
}

variable "jwt_issuer" {
  description = "JWT_ISSUER: the exact `iss`. Without it any issuer's token is accepted that those keys have signed, which the log warns of."
  type        = string
  default     = null
}

variable "jwt_verify_expiration" {
  description = "JWT_VERIFY_EXPIRATION: whether tokens expire. With false a stolen token works forever."
  type        = bool
  default     = true
}

variable "authorized_apis" {
  description = "AUTHORIZED_APIS: ARNs of the APIs that may be called, which become the policy's `Resource`. Empty: the API that asks. Not together with `routes`."
  type        = list(string)
  default     = []
}

variable "trust" {
  description = "The issuers whose tokens are accepted, as the `[[trust]]` of docs/gate.md, in place of the `jwt_…` variables: `[{ preset = \"countersign\", id = \"https://auth.example.com\", audiences = [\"api://orders\"] }]`."
  type        = any
  default     = []
}

variable "routes" {
  description = "Which requests need what, as the `[[gate.routes]]` of docs/gate.md: `[{ path = \"/orders/**\", methods = [\"GET\"], any_scope = [\"orders:read\"] }]`. Empty: every accepted token opens everything."
  type        = any
  default     = []
}

variable "context" {
  description = "Names that the integration sees and the claims they are filled from. Default: `exp`, `iss`, `scope` and `sub`."
  type        = map(string)
  default     = null
}

variable "environment" {
  description = "Further variables of the function. They are in the state: no secrets. The authorizer reads neither Systems Manager nor Secrets Manager."
  type        = map(string)
  default     = {}
}

variable "identity_sources" {
  description = "Where the token is. Default: the header Authorization; for a WebSocket API, whose browsers cannot send it, the query parameter `authorization`. Requests without them get 401 and the function is not asked. All of them together are the key of the cache."
  type        = list(string)
  default     = null

  validation {
    condition     = var.identity_sources == null || try(length(var.identity_sources) > 0, false)
    error_message = "identity_sources must not be empty: without one API Gateway asks the function for requests without a token too, and remembers no answer."
  }
}

variable "per_path" {
  description = "Whether answers are remembered for one method and path each. For rules that no policy can say; docs/api-gateway.md has them under Caching, and the log warns of them."
  type        = bool
  default     = false
}

variable "result_ttl" {
  description = "For how many seconds API Gateway remembers an answer, 0 to 3600. A token that has expired or was revoked opens the API for so long. WebSocket APIs remember none."
  type        = number
  default     = 60

  validation {
    condition     = var.result_ttl >= 0 && var.result_ttl <= 3600
    error_message = "result_ttl must be 0 to 3600 seconds."
  }
}

variable "memory_size" {
  description = "Memory of the function in MB."
  type        = number
  default     = 256

  validation {
    condition     = var.memory_size >= 128 && var.memory_size <= 10240
    error_message = "memory_size must be 128 to 10240."
  }
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
