# The function that rotates, its schedule, and what tells when it does not.

resource "aws_cloudwatch_log_group" "rotate" {
  name              = "/aws/lambda/${local.function}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

resource "aws_lambda_function" "rotate" {
  function_name    = local.function
  description      = "Rotates the keys of ${var.name}"
  role             = aws_iam_role.rotate.arn
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  memory_size      = var.memory_size
  # A turn makes a key, looks at the public address and publishes.
  timeout = 60
  tags    = var.tags

  environment {
    variables = merge(var.environment, {
      COUNTERSIGN_CONFIG            = "ssm:${aws_ssm_parameter.config.name}"
      COUNTERSIGN_STORE__FIRST_KEYS = var.first_keys
    })
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.rotate.name
  }

  # Without its permissions the first turn would fail.
  depends_on = [aws_iam_role_policy.rotate]
}

# Nothing invokes it again after a failure: the next turn does what this one did not.
resource "aws_lambda_function_event_invoke_config" "rotate" {
  function_name                = aws_lambda_function.rotate.function_name
  maximum_event_age_in_seconds = 300
  maximum_retry_attempts       = 0
}

resource "aws_scheduler_schedule" "rotate" {
  name                = local.function
  description         = "Turns of the key rotation of ${var.name}"
  schedule_expression = var.rotation_schedule

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.rotate.arn
    role_arn = aws_iam_role.schedule.arn
    input    = local.turn

    retry_policy {
      maximum_event_age_in_seconds = 300
      maximum_retry_attempts       = 2
    }
  }

  depends_on = [aws_iam_role_policy.schedule]
}

resource "aws_cloudwatch_metric_alarm" "failed" {
  alarm_name          = "${local.function}-failed"
  alarm_description   = "Two turns of the key rotation failed within 15 minutes. Keys in use go on working; the log of ${local.function} has the reason."
  namespace           = "AWS/Lambda"
  metric_name         = "Errors"
  dimensions          = { FunctionName = aws_lambda_function.rotate.function_name }
  statistic           = "Sum"
  period              = 900
  evaluation_periods  = 1
  threshold           = 2
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "missing" {
  alarm_name          = "${local.function}-missing"
  alarm_description   = "There was no turn of the key rotation for two hours. See the schedule ${local.function}."
  namespace           = "AWS/Lambda"
  metric_name         = "Invocations"
  dimensions          = { FunctionName = aws_lambda_function.rotate.function_name }
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 2
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = var.tags
}
