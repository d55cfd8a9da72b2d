# An issuer: a function behind a REST API, an HTTP API or a function URL, which signs; a second one, which rotates; a table and a
# key in KMS. `keys` has what the two share.

data "aws_partition" "current" {}

locals {
  url = {
    "http-api"     = try(aws_apigatewayv2_api.this[0].api_endpoint, null)
    "rest-api"     = try(aws_api_gateway_stage.this[0].invoke_url, null)
    "function-url" = try(trimsuffix(aws_lambda_function_url.this[0].function_url, "/"), null)
  }[var.endpoint]
  issuer = var.issuer == null ? local.url : var.issuer
}

module "keys" {
  source = "../keys"

  name                = var.name
  issuer              = local.issuer
  config              = var.config
  package             = var.package
  architecture        = var.architecture
  environment         = var.environment
  memory_size         = var.memory_size
  sealing_key_arn     = var.sealing_key_arn
  kms_signers         = var.kms_signers
  kms_replicas        = var.kms_replicas
  signer_arns         = merge(var.signer_arns, { serve = aws_iam_role.serve.arn })
  secret_arns         = var.secret_arns
  secret_kms_key_arns = var.secret_kms_key_arns
  publish             = var.publish
  rotation_schedule   = var.rotation_schedule
  first_keys          = var.first_keys
  deletion_protection = var.deletion_protection
  log_retention_days  = var.log_retention_days
  alarm_actions       = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_log_group" "serve" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
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

resource "aws_iam_role" "serve" {
  name               = var.name
  description        = "Signs as the issuer ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.assume_lambda.json
  tags               = var.tags
}

data "aws_iam_policy_document" "serve" {
  source_policy_documents = [module.keys.sign_policy]

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.serve.arn}:*"]
  }
}

resource "aws_iam_role_policy" "serve" {
  name   = "serve"
  role   = aws_iam_role.serve.id
  policy = data.aws_iam_policy_document.serve.json
}

resource "aws_lambda_function" "serve" {
  function_name                  = var.name
  description                    = "The issuer ${var.name}"
  role                           = aws_iam_role.serve.arn
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = [var.architecture]
  filename                       = var.package
  source_code_hash               = filebase64sha256(var.package)
  memory_size                    = var.memory_size
  timeout                        = 15
  reserved_concurrent_executions = var.reserved_concurrency
  tags                           = var.tags

  environment {
    variables = merge(var.environment, {
      # By its name, which is known before the URL of the function is.
      COUNTERSIGN_CONFIG = "ssm:/${var.name}/config"
      # Instances read the configuration when they start: a change of it has to start new ones.
      CONFIG_SHA256 = sha256("${var.config}${var.issuer == null ? "" : var.issuer}")
    })
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.serve.name
  }
}

# A turn at each change of program or configuration: the first one makes the keys, so that the issuer answers before anything that
# depends on this module asks it. API Gateway does so while it makes a JWT authorizer.
resource "aws_lambda_invocation" "turn" {
  function_name = module.keys.rotate_function.name
  input         = module.keys.rotate_function.turn
  triggers      = module.keys.rotate_function.changes

  depends_on = [
    aws_iam_role_policy.serve,
    aws_apigatewayv2_route.this, aws_apigatewayv2_stage.this,
    aws_api_gateway_stage.this,
    aws_lambda_permission.http_api, aws_lambda_permission.rest_api, aws_lambda_permission.function_url, aws_cloudformation_stack.function_url,
  ]
}

resource "aws_cloudwatch_metric_alarm" "errors" {
  for_each = {
    Errors    = "Requests to the issuer ${var.name} ended without an answer: it was out of time or memory, or could not start. See its log."
    Throttles = "Requests to the issuer ${var.name} were turned away: more instances are needed than the account or reserved_concurrency allow."
  }

  alarm_name          = "${var.name}-${lower(each.key)}"
  alarm_description   = each.value
  namespace           = "AWS/Lambda"
  metric_name         = each.key
  dimensions          = { FunctionName = aws_lambda_function.serve.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
