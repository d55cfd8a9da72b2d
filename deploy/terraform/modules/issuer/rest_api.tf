# The issuer behind a REST API: every path and method, the root too.

locals {
  rest_api = var.endpoint == "rest-api" ? 1 : 0
  # Of the root, and of everything below it.
  resources = local.rest_api == 0 ? {} : {
    root  = aws_api_gateway_rest_api.this[0].root_resource_id
    proxy = aws_api_gateway_resource.proxy[0].id
  }
}

resource "aws_api_gateway_rest_api" "this" {
  count = local.rest_api

  name = var.name
  tags = var.tags

  endpoint_configuration {
    types = ["REGIONAL"]
  }
}

resource "aws_api_gateway_resource" "proxy" {
  count = local.rest_api

  rest_api_id = aws_api_gateway_rest_api.this[0].id
  parent_id   = aws_api_gateway_rest_api.this[0].root_resource_id
  path_part   = "{proxy+}"
}

resource "aws_api_gateway_method" "this" {
  for_each = local.rest_api == 1 ? toset(["root", "proxy"]) : []

  rest_api_id   = aws_api_gateway_rest_api.this[0].id
  resource_id   = local.resources[each.key]
  http_method   = "ANY"
  authorization = "NONE"
}

resource "aws_api_gateway_integration" "this" {
  for_each = aws_api_gateway_method.this

  rest_api_id             = aws_api_gateway_rest_api.this[0].id
  resource_id             = each.value.resource_id
  http_method             = each.value.http_method
  type                    = "AWS_PROXY"
  integration_http_method = "POST"
  uri                     = aws_lambda_function.serve.invoke_arn
}

resource "aws_api_gateway_deployment" "this" {
  count = local.rest_api

  rest_api_id = aws_api_gateway_rest_api.this[0].id
  triggers    = { integrations = sha256(jsonencode([for name in ["root", "proxy"] : aws_api_gateway_integration.this[name].uri])) }

  lifecycle {
    create_before_destroy = true
  }

  depends_on = [aws_api_gateway_integration.this]
}

resource "aws_api_gateway_stage" "this" {
  count = local.rest_api

  rest_api_id   = aws_api_gateway_rest_api.this[0].id
  deployment_id = aws_api_gateway_deployment.this[0].id
  stage_name    = var.stage_name
  tags          = var.tags
}

resource "aws_api_gateway_method_settings" "this" {
  count = local.rest_api

  rest_api_id = aws_api_gateway_rest_api.this[0].id
  stage_name  = aws_api_gateway_stage.this[0].stage_name
  method_path = "*/*"

  settings {
    throttling_rate_limit  = var.throttling.rate
    throttling_burst_limit = var.throttling.burst
  }
}

resource "aws_lambda_permission" "rest_api" {
  count = local.rest_api

  statement_id  = "api"
  function_name = aws_lambda_function.serve.function_name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_api_gateway_rest_api.this[0].execution_arn}/*"
}
