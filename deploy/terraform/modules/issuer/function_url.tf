# The issuer behind a function URL, which anybody may ask: what the issuer lets in is its own business.

locals {
  function_url = var.endpoint == "function-url" ? 1 : 0
}

resource "aws_lambda_function_url" "this" {
  count = local.function_url

  function_name      = aws_lambda_function.serve.function_name
  authorization_type = "NONE"
}

resource "aws_lambda_permission" "function_url" {
  count = local.function_url

  statement_id           = "url"
  function_name          = aws_lambda_function.serve.function_name
  action                 = "lambda:InvokeFunctionUrl"
  principal              = "*"
  function_url_auth_type = "NONE"
}

# Since October 2025 callers of a function URL need lambda:InvokeFunction as well. Without the condition everybody could invoke the
# function past its URL, with any event. The provider has it since 6.x alone; CloudFormation has it in all versions that are allowed here.
resource "aws_cloudformation_stack" "function_url" {
  count = local.function_url

  name = "${var.name}-url"
  tags = var.tags

  template_body = jsonencode({
    Resources = {
      Invoke = {
        Type = "AWS::Lambda::Permission"
        Properties = {
          FunctionName          = aws_lambda_function.serve.arn
          Action                = "lambda:InvokeFunction"
          Principal             = "*"
          InvokedViaFunctionUrl = true
        }
      }
    }
  })
}
