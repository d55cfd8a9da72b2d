# The gate as an authorizer of API Gateway: the function, the authorizer on the API, and the permission for this authorizer alone to
# invoke it. The function may do nothing else but write its log.

locals {
  # TOML's inline tables are JSON's objects with `=` for `:`. A quotation mark inside of a text has a backslash before it.
  toml = { for name, value in {
    COUNTERSIGN_TRUST        = var.trust
    COUNTERSIGN_GATE__ROUTES = var.routes
  } : name => replace(jsonencode(value), "/([^\\\\])\":/", "$1\"=") if length(value) > 0 }

  drop_in = {
    JWT_ISSUER_JWKS_URI      = var.jwt_issuer_jwks_uri
    JWT_AUTHORIZED_AUDIENCES = length(var.jwt_authorized_audiences) > 0 ? join(",", var.jwt_authorized_audiences) : null
    JWT_ISSUER               = var.jwt_issuer
    JWT_VERIFY_EXPIRATION    = var.jwt_issuer_jwks_uri == null ? null : tostring(var.jwt_verify_expiration)
    AUTHORIZED_APIS          = length(var.authorized_apis) > 0 ? join(",", var.authorized_apis) : null
  }

  context = var.context == null ? {} : {
    COUNTERSIGN_GATE__CONTEXT = "{${join(",", [for name, claim in var.context : "${jsonencode(name)}=${jsonencode(claim)}"])}}"
  }

  token = {
    rest      = ["method.request.header.Authorization"]
    http      = ["$request.header.Authorization"]
    websocket = ["route.request.querystring.authorization"]
  }[var.api.type]
  identity_sources = var.identity_sources == null ? local.token : var.identity_sources

  # Policies say what the caller may do everywhere, so that the token alone is enough to remember them by.
  per_path = {
    rest      = ["context.httpMethod", "context.path"]
    http      = ["$context.httpMethod", "$context.path"]
    websocket = []
  }[var.api.type]
  cached_by = var.per_path ? local.per_path : []
}

data "aws_iam_policy_document" "assume_lambda" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

resource "aws_iam_role" "this" {
  name               = var.name
  description        = "Judges requests as the authorizer ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.assume_lambda.json
  tags               = var.tags
}

data "aws_iam_policy_document" "log" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }
}

resource "aws_iam_role_policy" "this" {
  name   = "log"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.log.json
}

resource "aws_lambda_function" "this" {
  function_name    = var.name
  description      = "Judges requests to the API ${var.api.id}"
  role             = aws_iam_role.this.arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = var.memory_size
  # API Gateway waits for ten seconds.
  timeout = 10
  tags    = var.tags

  environment {
    variables = merge(var.environment, local.toml, local.context, { for name, value in local.drop_in : name => value if value != null })
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.this.name
  }

  lifecycle {
    precondition {
      condition     = (var.jwt_issuer_jwks_uri == null) != (length(var.trust) == 0)
      error_message = "Say whose tokens are accepted: jwt_issuer_jwks_uri or trust, and not both."
    }
    precondition {
      condition     = var.jwt_issuer_jwks_uri == null || length(var.jwt_authorized_audiences) > 0
      error_message = "jwt_authorized_audiences must name the audiences of your tokens; without them every token of the issuer would be accepted, for whomever it was made."
    }
    precondition {
      condition     = length(var.routes) == 0 || length(var.authorized_apis) == 0
      error_message = "authorized_apis and routes do not go together; say it with routes."
    }
    precondition {
      condition = alltrue([for source in local.identity_sources : startswith(source, {
        rest = "method.request.", http = "$", websocket = "route.request."
        }[var.api.type]) || (var.api.type == "rest" && startswith(source, "context.")) || (var.api.type != "http" && startswith(source, "stageVariables."))
      ])
      error_message = "identity_sources are written method.request.… for a REST API, $request.… for an HTTP API and route.request.… for a WebSocket API."
    }
  }

  depends_on = [aws_iam_role_policy.this]
}

resource "aws_api_gateway_authorizer" "this" {
  count = var.api.type == "rest" ? 1 : 0

  name                             = var.name
  rest_api_id                      = var.api.id
  type                             = "REQUEST"
  authorizer_uri                   = aws_lambda_function.this.invoke_arn
  identity_source                  = join(",", concat(local.identity_sources, local.cached_by))
  authorizer_result_ttl_in_seconds = var.result_ttl
}

resource "aws_apigatewayv2_authorizer" "this" {
  count = var.api.type == "rest" ? 0 : 1

  name             = var.name
  api_id           = var.api.id
  authorizer_type  = "REQUEST"
  authorizer_uri   = aws_lambda_function.this.invoke_arn
  identity_sources = concat(local.identity_sources, local.cached_by)

  # A yes of payload 2.0 would be remembered for every route, or with $context.routeKey for everything behind a greedy one; a policy is
  # right for all (docs/decisions/0042). WebSocket APIs know one form of event and remember no answer.
  authorizer_payload_format_version = var.api.type == "http" ? "1.0" : null
  authorizer_result_ttl_in_seconds  = var.api.type == "http" ? var.result_ttl : null
}

locals {
  authorizer_id = var.api.type == "rest" ? aws_api_gateway_authorizer.this[0].id : aws_apigatewayv2_authorizer.this[0].id
}

resource "aws_lambda_permission" "this" {
  statement_id  = "authorizer"
  function_name = aws_lambda_function.this.function_name
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${var.api.execution_arn}/authorizers/${local.authorizer_id}"
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  alarm_name          = "${var.name}-errors"
  alarm_description   = "The authorizer ${var.name} ended without an answer, or could not have the keys of an issuer. Tokens that are refused count too on REST and WebSocket APIs, where a refusal is an error by name. See its log."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = var.api.type == "http" ? 1 : 100
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
