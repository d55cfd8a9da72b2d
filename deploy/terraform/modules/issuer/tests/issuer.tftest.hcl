# What the inputs become, without AWS. That it works when it is there is in tests/deploy.

mock_provider "aws" {
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  package = "tests/package.zip"
  issuer  = "https://auth.example.com"
}

run "an_http_api_unless_told_otherwise" {
  command = plan

  assert {
    condition     = length(aws_apigatewayv2_api.this) == 1 && length(aws_api_gateway_rest_api.this) == 0 && length(aws_lambda_function_url.this) == 0
    error_message = "the default endpoint is an HTTP API and nothing else"
  }
  assert {
    condition     = aws_apigatewayv2_integration.this[0].payload_format_version == "2.0"
    error_message = "the integration has payload 2.0"
  }
  assert {
    condition     = output.issuer == "https://auth.example.com" && output.jwks_uri == "https://auth.example.com/.well-known/jwks.json"
    error_message = "the issuer is the one that was given"
  }
  assert {
    condition     = aws_lambda_function.serve.runtime == "provided.al2023" && aws_lambda_function.serve.architectures == tolist(["x86_64"])
    error_message = "the runtime is provided.al2023 on x86_64"
  }
  assert {
    condition     = aws_lambda_function.serve.environment[0].variables.COUNTERSIGN_CONFIG == "ssm:/countersign/config"
    error_message = "the function reads its configuration from its parameter"
  }
  assert {
    condition     = !contains(keys(aws_lambda_function.serve.environment[0].variables), "COUNTERSIGN_STORE__FIRST_KEYS")
    error_message = "the function that serves never makes keys"
  }
  assert {
    condition     = aws_cloudwatch_log_group.serve.retention_in_days == 90
    error_message = "logs are kept for 90 days"
  }
}

run "a_rest_api" {
  command = plan
  variables {
    endpoint   = "rest-api"
    stage_name = "v1"
  }

  assert {
    condition     = length(aws_api_gateway_rest_api.this) == 1 && length(aws_apigatewayv2_api.this) == 0
    error_message = "it is a REST API"
  }
  assert {
    condition     = keys(aws_api_gateway_method.this) == ["proxy", "root"] && aws_api_gateway_stage.this[0].stage_name == "v1"
    error_message = "the root is served too, at the stage"
  }
}

run "a_function_url" {
  command = plan
  variables {
    endpoint     = "function-url"
    architecture = "arm64"
  }

  assert {
    condition     = aws_lambda_function_url.this[0].authorization_type == "NONE" && aws_lambda_permission.function_url[0].function_url_auth_type == "NONE"
    error_message = "anybody may ask the URL"
  }
  assert {
    condition     = !anytrue([for p in aws_lambda_permission.function_url : p.action == "lambda:InvokeFunction"])
    error_message = "nobody may invoke the function past its URL"
  }
  assert {
    condition     = aws_lambda_function.serve.architectures == tolist(["arm64"])
    error_message = "it runs on arm64"
  }
}

run "a_change_of_the_configuration_starts_new_instances" {
  command = plan
  variables {
    config = "[rings.default]\nrotate_every = \"90days\""
  }

  assert {
    condition     = aws_lambda_function.serve.environment[0].variables.CONFIG_SHA256 != sha256("https://auth.example.com")
    error_message = "the digest is that of the configuration"
  }
}

run "refuses_an_architecture_that_lambda_does_not_have" {
  command = plan
  variables { architecture = "aarch64" }
  expect_failures = [var.architecture]
}

run "refuses_a_package_that_is_not_there" {
  command = plan
  variables { package = "tests/nothing.zip" }
  expect_failures = [var.package]
}

run "refuses_an_issuer_with_a_slash_at_its_end" {
  command = plan
  variables { issuer = "https://auth.example.com/" }
  expect_failures = [var.issuer]
}

run "refuses_an_issuer_in_clear_text" {
  command = plan
  variables { issuer = "http://auth.example.com" }
  expect_failures = [var.issuer]
}

run "refuses_a_configuration_with_a_store_of_its_own" {
  command = plan
  variables { config = "[store]\nurl = \"memory:\"" }
  expect_failures = [var.config]
}

run "refuses_a_configuration_with_an_issuer_of_its_own" {
  command = plan
  variables { config = "issuer = \"https://other.example.com\"" }
  expect_failures = [var.config]
}

run "refuses_variables_that_the_module_sets" {
  command = plan
  variables { environment = { COUNTERSIGN_STORE__URL = "memory:" } }
  expect_failures = [var.environment]
}

run "refuses_secrets_by_wildcard" {
  command = plan
  variables { secret_arns = ["arn:aws:ssm:eu-west-1:123456789012:parameter/*"] }
  expect_failures = [var.secret_arns]
}

run "refuses_a_sealing_key_by_alias" {
  command = plan
  variables { sealing_key_arn = "arn:aws:kms:eu-west-1:123456789012:alias/key" }
  expect_failures = [var.sealing_key_arn]
}

run "refuses_a_single_instance" {
  command = plan
  variables { reserved_concurrency = 1 }
  expect_failures = [var.reserved_concurrency]
}
