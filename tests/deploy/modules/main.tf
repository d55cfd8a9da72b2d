# Every way of the modules that the examples do not have, deployed by tests/deploy/test_terraform.py: an issuer behind an HTTP API,
# one behind a REST API whose keys are in KMS, one behind a function URL; APIs of all three kinds that their tokens open, with API
# Gateway's own JWT authorizer and with ours.

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

variable "apis" {
  description = "What stands for https://ID.execute-api.REGION.amazonaws.com: APIS/ID."
  type        = string
}

variable "packages" {
  type = object({ issuer = string, authorizer = string, backend = string, architecture = string })
}

variable "secret_hash" {
  type = string
}


locals {
  # The emulator lets a tag say what the id of an API is, so that its address is known before it is made.
  http = "aaaa0001"
  rest = "aaaa0002"

  client = <<-TOML
    [[clients]]
    id = "tests"
    secret_hashes = ["${var.secret_hash}"]
    audiences = ["api://orders", "api://other"]
    scopes = ["*"]
    claims = { allow = ["sub", "scope"] }
    max_lifetime = "30s"
  TOML
}

module "http" {
  source = "../../../deploy/terraform/modules/issuer"

  name                = "cs-http"
  package             = var.packages.issuer
  architecture        = var.packages.architecture
  issuer              = "${var.apis}/${local.http}"
  deletion_protection = false
  tags                = { "ms-custom-id" = local.http }
  environment         = { COUNTERSIGN_STORE__REFRESH = "1s", COUNTERSIGN_STORE__MAX_STALE = "3s", COUNTERSIGN_STORE__MAX_STALE_SIGNING = "5s" }
  config              = <<-TOML
    ${local.client}
    [tokens]
    backdate = "1s"

    [rotation]
    skew = "1s"
    observe_every = "2s"

    [jwks]
    max_age = "10s"

    [rings.default]
    rotate_every = "80s"
    propagation = "12s"
    longest_token = "30s"
    keep_retired = "60s"
  TOML
}

module "rest" {
  source = "../../../deploy/terraform/modules/issuer"

  name                = "cs-rest"
  package             = var.packages.issuer
  architecture        = var.packages.architecture
  endpoint            = "rest-api"
  issuer              = "${var.apis}/${local.rest}/prod"
  deletion_protection = false
  kms_signers         = true
  tags                = { "ms-custom-id" = local.rest }
  config              = <<-TOML
    ${local.client}
    [rings.default]
    signer = "kms"
  TOML
}

module "url" {
  source = "../../../deploy/terraform/modules/issuer"

  name                = "cs-url"
  package             = var.packages.issuer
  architecture        = var.packages.architecture
  endpoint            = "function-url"
  deletion_protection = false
  config              = "${local.client}\n[rings.default]\nalgorithm = \"ES256\"\n"
}

# An HTTP API with API Gateway's own authorizer.

resource "aws_apigatewayv2_api" "native" {
  name          = "cs-native"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_authorizer" "native" {
  name             = "jwt"
  api_id           = aws_apigatewayv2_api.native.id
  authorizer_type  = "JWT"
  identity_sources = ["$request.header.Authorization"]

  jwt_configuration {
    issuer   = module.http.issuer
    audience = ["api://orders"]
  }
}

resource "aws_apigatewayv2_route" "native" {
  api_id               = aws_apigatewayv2_api.native.id
  route_key            = "GET /orders"
  target               = "integrations/${aws_apigatewayv2_integration.backend["native"].id}"
  authorization_type   = "JWT"
  authorizer_id        = aws_apigatewayv2_authorizer.native.id
  authorization_scopes = ["orders:read"]
}

# An HTTP API with ours, and with rules.

resource "aws_apigatewayv2_api" "ours" {
  name          = "cs-ours"
  protocol_type = "HTTP"
}

module "authorizer_http" {
  source = "../../../deploy/terraform/modules/authorizer"

  name         = "cs-authorizer-http"
  package      = var.packages.authorizer
  architecture = var.packages.architecture
  trust        = [{ preset = "countersign", id = module.http.issuer, audiences = ["api://orders"] }]
  routes = [
    { path = "/orders", methods = ["GET"], any_scope = ["orders:read"] },
    { path = "/orders", methods = ["POST"], any_scope = ["orders:write"] },
  ]

  api = {
    type          = "http"
    id            = aws_apigatewayv2_api.ours.id
    execution_arn = aws_apigatewayv2_api.ours.execution_arn
  }
}

resource "aws_apigatewayv2_route" "ours" {
  for_each = toset(["GET", "POST"])

  api_id             = aws_apigatewayv2_api.ours.id
  route_key          = "${each.key} /orders"
  target             = "integrations/${aws_apigatewayv2_integration.backend["ours"].id}"
  authorization_type = "CUSTOM"
  authorizer_id      = module.authorizer_http.authorizer_id
}

# A REST API with ours, for tokens that KMS has signed.

resource "aws_api_gateway_rest_api" "orders" {
  name = "cs-orders"
}

module "authorizer_rest" {
  source = "../../../deploy/terraform/modules/authorizer"

  name                     = "cs-authorizer-rest"
  package                  = var.packages.authorizer
  architecture             = var.packages.architecture
  jwt_issuer               = module.rest.issuer
  jwt_issuer_jwks_uri      = module.rest.jwks_uri
  jwt_authorized_audiences = ["api://orders"]

  api = {
    type          = "rest"
    id            = aws_api_gateway_rest_api.orders.id
    execution_arn = aws_api_gateway_rest_api.orders.execution_arn
  }
}

resource "aws_api_gateway_resource" "orders" {
  rest_api_id = aws_api_gateway_rest_api.orders.id
  parent_id   = aws_api_gateway_rest_api.orders.root_resource_id
  path_part   = "orders"
}

resource "aws_api_gateway_method" "orders" {
  rest_api_id   = aws_api_gateway_rest_api.orders.id
  resource_id   = aws_api_gateway_resource.orders.id
  http_method   = "GET"
  authorization = "CUSTOM"
  authorizer_id = module.authorizer_rest.authorizer_id
}

resource "aws_api_gateway_integration" "orders" {
  rest_api_id             = aws_api_gateway_rest_api.orders.id
  resource_id             = aws_api_gateway_resource.orders.id
  http_method             = aws_api_gateway_method.orders.http_method
  type                    = "AWS_PROXY"
  integration_http_method = "POST"
  uri                     = aws_lambda_function.backend.invoke_arn
}

resource "aws_api_gateway_deployment" "orders" {
  rest_api_id = aws_api_gateway_rest_api.orders.id

  depends_on = [aws_api_gateway_integration.orders]
}

resource "aws_api_gateway_stage" "orders" {
  rest_api_id   = aws_api_gateway_rest_api.orders.id
  deployment_id = aws_api_gateway_deployment.orders.id
  stage_name    = "prod"
}

# A WebSocket API with ours.

resource "aws_apigatewayv2_api" "chat" {
  name                       = "cs-chat"
  protocol_type              = "WEBSOCKET"
  route_selection_expression = "$request.body.action"
}

module "authorizer_websocket" {
  source = "../../../deploy/terraform/modules/authorizer"

  name                     = "cs-authorizer-websocket"
  package                  = var.packages.authorizer
  architecture             = var.packages.architecture
  jwt_issuer               = module.http.issuer
  jwt_issuer_jwks_uri      = module.http.jwks_uri
  jwt_authorized_audiences = ["api://orders"]

  api = {
    type          = "websocket"
    id            = aws_apigatewayv2_api.chat.id
    execution_arn = aws_apigatewayv2_api.chat.execution_arn
  }
}

resource "aws_apigatewayv2_route" "chat" {
  for_each = toset(["$connect", "$default"])

  api_id                              = aws_apigatewayv2_api.chat.id
  route_key                           = each.key
  target                              = "integrations/${aws_apigatewayv2_integration.backend["chat"].id}"
  authorization_type                  = each.key == "$connect" ? "CUSTOM" : "NONE"
  authorizer_id                       = each.key == "$connect" ? module.authorizer_websocket.authorizer_id : null
  route_response_selection_expression = each.key == "$default" ? "$default" : null
}

resource "aws_apigatewayv2_route_response" "chat" {
  api_id             = aws_apigatewayv2_api.chat.id
  route_id           = aws_apigatewayv2_route.chat["$default"].id
  route_response_key = "$default"
}

# What all of them keep.

resource "aws_iam_role" "backend" {
  name = "cs-backend"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "lambda.amazonaws.com" } }]
  })
}

# Lambda would make it by itself, and leave it.
resource "aws_cloudwatch_log_group" "backend" {
  name = "/aws/lambda/cs-backend"
}

resource "aws_lambda_function" "backend" {
  function_name    = "cs-backend"
  role             = aws_iam_role.backend.arn
  runtime          = "python3.13"
  handler          = "index.handler"
  filename         = var.packages.backend
  source_code_hash = filebase64sha256(var.packages.backend)

  depends_on = [aws_cloudwatch_log_group.backend]
}

locals {
  kept = { native = aws_apigatewayv2_api.native, ours = aws_apigatewayv2_api.ours, chat = aws_apigatewayv2_api.chat }
}

resource "aws_apigatewayv2_integration" "backend" {
  for_each = local.kept

  api_id                 = each.value.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.backend.invoke_arn
  payload_format_version = each.key == "chat" ? null : "2.0"
}

resource "aws_apigatewayv2_stage" "kept" {
  for_each = local.kept

  api_id      = each.value.id
  name        = each.key == "chat" ? "prod" : "$default"
  auto_deploy = true
}

resource "aws_lambda_permission" "backend" {
  for_each = merge({ for name, api in local.kept : name => api.execution_arn }, { rest = aws_api_gateway_rest_api.orders.execution_arn })

  statement_id  = each.key
  function_name = aws_lambda_function.backend.function_name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${each.value}/*"
}

output "issuers" {
  value = { http = module.http.issuer, rest = module.rest.issuer, url = module.url.url }
}

output "ids" {
  value = {
    native = aws_apigatewayv2_api.native.id
    ours   = aws_apigatewayv2_api.ours.id
    rest   = aws_api_gateway_rest_api.orders.id
    chat   = aws_apigatewayv2_api.chat.id
  }
}

output "roles" {
  value = {
    signs      = module.http.role_arn
    rotates    = module.http.rotate_role_arn
    authorizes = module.authorizer_http.role_arn
  }
}

output "rotate_function_name" {
  value = module.http.rotate_function_name
}

output "sealing_key_arn" {
  value = module.http.sealing_key_arn
}
