# An issuer without a server, and an HTTP API that API Gateway's own JWT authorizer protects, with scopes per route.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

provider "aws" {}

variable "name" {
  description = "The name of everything that is made."
  type        = string
  default     = "countersign-static"
}

variable "package" {
  description = "The issuer's package with s3 and cloudfront in it."
  type        = string
  default     = "../../dist/issuer-x86_64.zip"
}

variable "architecture" {
  description = "What the package was built for."
  type        = string
  default     = "x86_64"
}

variable "issuer" {
  description = "The issuer, where it is not the domain of the distribution: in an emulator."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether the keys are protected against `terraform destroy`."
  type        = bool
  default     = true
}

variable "rotation" {
  description = "The ring of the keys: how often they change, and who verifies their tokens."
  type        = string
  default     = <<-TOML
    rotate_every = "90days"
    consumers = ["aws-http-api"]
  TOML
}

variable "rotation_schedule" {
  description = "How often the rotating function takes a turn."
  type        = string
  default     = "rate(5 minutes)"
}

locals {
  audience = "api://orders"
  # Who needs which scope.
  scopes = { USER = "GET /user", ADMIN = "GET /admin" }
}

# Who applies this may sign: `countersign sign` with the same credentials.
data "aws_caller_identity" "current" {}
data "aws_iam_session_context" "current" {
  arn = data.aws_caller_identity.current.arn
}

module "issuer" {
  source = "../../deploy/terraform/modules/static-issuer"

  name                = var.name
  package             = abspath(var.package)
  architecture        = var.architecture
  issuer              = var.issuer
  audience            = local.audience
  signer_arns         = { me = data.aws_iam_session_context.current.issuer_arn }
  rotation_schedule   = var.rotation_schedule
  deletion_protection = var.deletion_protection
  force_destroy       = true
  config              = "[rings.default]\n${var.rotation}"
}

resource "aws_apigatewayv2_api" "orders" {
  name          = "${var.name}-orders"
  protocol_type = "HTTP"
}

# API Gateway reads discovery while it makes this. `module.issuer.issuer` is known when the documents are there.
resource "aws_apigatewayv2_authorizer" "jwt" {
  name             = "countersign"
  api_id           = aws_apigatewayv2_api.orders.id
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = module.issuer.issuer
    audience = [module.issuer.audience]
  }
}

resource "aws_apigatewayv2_route" "scoped" {
  for_each = local.scopes

  api_id               = aws_apigatewayv2_api.orders.id
  route_key            = each.value
  target               = "integrations/${aws_apigatewayv2_integration.backend.id}"
  authorization_type   = "JWT"
  authorizer_id        = aws_apigatewayv2_authorizer.jwt.id
  authorization_scopes = [each.key]
}

resource "aws_apigatewayv2_route" "public" {
  api_id    = aws_apigatewayv2_api.orders.id
  route_key = "GET /public"
  target    = "integrations/${aws_apigatewayv2_integration.backend.id}"
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.orders.id
  name        = "$default"
  auto_deploy = true
}

output "issuer" {
  value = module.issuer.issuer
}

output "api" {
  description = "The URL of the API."
  value       = aws_apigatewayv2_api.orders.api_endpoint
}

output "api_id" {
  value = aws_apigatewayv2_api.orders.id
}

output "config_parameter" {
  description = "What `countersign sign` reads."
  value       = module.issuer.config_parameter
}

output "rotate_function_name" {
  value = module.issuer.rotate_function_name
}

output "distribution_domain" {
  value = module.issuer.distribution_domain
}
