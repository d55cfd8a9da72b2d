# A WebSocket API whose connections are authorized by token, and the issuer of these tokens behind an HTTP API.

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
  default     = "countersign-chat"
}

variable "issuer_package" {
  description = "The issuer's package."
  type        = string
  default     = "../../dist/issuer-x86_64.zip"
}

variable "authorizer_package" {
  description = "The authorizer's package."
  type        = string
  default     = "../../dist/authorizer-x86_64.zip"
}

variable "architecture" {
  description = "What the packages were built for."
  type        = string
  default     = "x86_64"
}

variable "client_secret_hash" {
  description = "The hash of the secret of the client `chat`, as `countersign client new chat` prints it."
  type        = string
}

variable "issuer" {
  description = "The issuer, where it is not the URL of its HTTP API: in an emulator."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the issuer; an emulator takes the id of the API from them."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether the keys are protected against `terraform destroy`."
  type        = bool
  default     = true
}

locals {
  audience = "wss://chat"
}

module "issuer" {
  source = "../../deploy/terraform/modules/issuer"

  name                = "${var.name}-issuer"
  package             = abspath(var.issuer_package)
  architecture        = var.architecture
  issuer              = var.issuer
  deletion_protection = var.deletion_protection
  tags                = var.tags
  config              = <<-TOML
    [[clients]]
    id = "chat"
    secret_hashes = ["${var.client_secret_hash}"]
    audiences = ["${local.audience}", "wss://other"]
    claims = { allow = ["sub"] }

    [rings.default]
    rotate_every = "90days"
    consumers = ["countersign"]
  TOML
}

resource "aws_apigatewayv2_api" "chat" {
  name                       = var.name
  protocol_type              = "WEBSOCKET"
  route_selection_expression = "$request.body.action"
}

# To move here from the authorizer module that you have, take the same inputs: for Firebase, the URL of its certificates as
# jwt_issuer_jwks_uri, the project as audience, and https://securetoken.google.com/PROJECT as jwt_issuer.
module "authorizer" {
  source = "../../deploy/terraform/modules/authorizer"

  name                     = "${var.name}-authorizer"
  package                  = abspath(var.authorizer_package)
  architecture             = var.architecture
  jwt_issuer               = module.issuer.issuer
  jwt_issuer_jwks_uri      = module.issuer.jwks_uri
  jwt_authorized_audiences = [local.audience]

  api = {
    type          = "websocket"
    id            = aws_apigatewayv2_api.chat.id
    execution_arn = aws_apigatewayv2_api.chat.execution_arn
  }
}

resource "aws_apigatewayv2_route" "connect" {
  api_id             = aws_apigatewayv2_api.chat.id
  route_key          = "$connect"
  target             = "integrations/${aws_apigatewayv2_integration.backend.id}"
  authorization_type = "CUSTOM"
  authorizer_id      = module.authorizer.authorizer_id
}

resource "aws_apigatewayv2_route" "default" {
  api_id                              = aws_apigatewayv2_api.chat.id
  route_key                           = "$default"
  target                              = "integrations/${aws_apigatewayv2_integration.backend.id}"
  route_response_selection_expression = "$default"
}

resource "aws_apigatewayv2_route_response" "default" {
  api_id             = aws_apigatewayv2_api.chat.id
  route_id           = aws_apigatewayv2_route.default.id
  route_response_key = "$default"
}

resource "aws_apigatewayv2_stage" "prod" {
  api_id      = aws_apigatewayv2_api.chat.id
  name        = "prod"
  auto_deploy = true
}

output "issuer" {
  value = module.issuer.issuer
}

output "url" {
  description = "Where clients connect."
  value       = aws_apigatewayv2_stage.prod.invoke_url
}

output "api_id" {
  value = aws_apigatewayv2_api.chat.id
}
