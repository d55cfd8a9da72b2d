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
  package                  = "tests/package.zip"
  api                      = { type = "websocket", id = "abc123", execution_arn = "arn:aws:execute-api:eu-west-1:123456789012:abc123" }
  jwt_issuer_jwks_uri      = "https://issuer.example/keys"
  jwt_authorized_audiences = ["one", "two"]
}

run "the_variables_of_the_authorizer_that_it_replaces" {
  command = plan
  variables {
    jwt_issuer      = "https://issuer.example"
    authorized_apis = ["arn:aws:execute-api:eu-west-1:123456789012:abc123/*"]
  }

  assert {
    condition = aws_lambda_function.this.environment[0].variables == tomap({
      JWT_ISSUER_JWKS_URI      = "https://issuer.example/keys"
      JWT_AUTHORIZED_AUDIENCES = "one,two"
      JWT_ISSUER               = "https://issuer.example"
      JWT_VERIFY_EXPIRATION    = "true"
      AUTHORIZED_APIS          = "arn:aws:execute-api:eu-west-1:123456789012:abc123/*"
    })
    error_message = "the function has these variables and no others"
  }
}

run "a_websocket_api" {
  command = plan

  assert {
    condition     = aws_apigatewayv2_authorizer.this[0].identity_sources == toset(["route.request.querystring.authorization"])
    error_message = "the token is in the query, where a browser can put it"
  }
  assert {
    condition     = aws_apigatewayv2_authorizer.this[0].authorizer_payload_format_version == null && aws_apigatewayv2_authorizer.this[0].enable_simple_responses == null
    error_message = "what WebSocket APIs do not know is not set"
  }
}

run "an_http_api_remembers_a_policy_by_the_token" {
  command = plan
  variables {
    api    = { type = "http", id = "abc123", execution_arn = "arn:aws:execute-api:eu-west-1:123456789012:abc123" }
    routes = [{ path = "/orders/**", methods = ["GET"], any_scope = ["orders:read"] }, { path = "/**", claims = { "/realm/roles" = "a\":b" } }]
  }

  assert {
    condition     = aws_apigatewayv2_authorizer.this[0].identity_sources == toset(["$request.header.Authorization"])
    error_message = "the token alone is what a policy is remembered by"
  }
  assert {
    condition     = aws_apigatewayv2_authorizer.this[0].authorizer_payload_format_version == "1.0" && aws_apigatewayv2_authorizer.this[0].enable_simple_responses != true
    error_message = "the answer is a policy: a yes would be remembered for paths that it is not about"
  }
  assert {
    condition     = aws_lambda_function.this.environment[0].variables.COUNTERSIGN_GATE__ROUTES == "[{\"any_scope\"=[\"orders:read\"],\"methods\"=[\"GET\"],\"path\"=\"/orders/**\"},{\"claims\"={\"/realm/roles\"=\"a\\\":b\"},\"path\"=\"/**\"}]"
    error_message = "rules are TOML"
  }
}

run "answers_for_one_path_each" {
  command = plan
  variables {
    api      = { type = "http", id = "abc123", execution_arn = "arn:aws:execute-api:eu-west-1:123456789012:abc123" }
    per_path = true
  }

  assert {
    condition     = aws_apigatewayv2_authorizer.this[0].identity_sources == toset(["$request.header.Authorization", "$context.httpMethod", "$context.path"])
    error_message = "method and path are what it is remembered by"
  }
}

run "a_rest_api" {
  command = plan
  variables {
    api = { type = "rest", id = "abc123", execution_arn = "arn:aws:execute-api:eu-west-1:123456789012:abc123" }
  }

  assert {
    condition     = aws_api_gateway_authorizer.this[0].identity_source == "method.request.header.Authorization" && aws_api_gateway_authorizer.this[0].type == "REQUEST"
    error_message = "the token is in the header"
  }
  assert {
    condition     = length(aws_apigatewayv2_authorizer.this) == 0
    error_message = "it is an authorizer of a REST API alone"
  }
}

run "whole_tables_of_trust" {
  command = plan
  variables {
    jwt_issuer_jwks_uri      = null
    jwt_authorized_audiences = []
    trust                    = [{ preset = "countersign", id = "https://auth.example.com", audiences = ["api://orders"] }]
  }

  assert {
    condition = aws_lambda_function.this.environment[0].variables == tomap({
      COUNTERSIGN_TRUST = "[{\"audiences\"=[\"api://orders\"],\"id\"=\"https://auth.example.com\",\"preset\"=\"countersign\"}]"
    })
    error_message = "the function has the table and nothing else"
  }
}

run "refuses_nobody" {
  command = plan
  variables { jwt_issuer_jwks_uri = null }
  expect_failures = [aws_lambda_function.this]
}

run "refuses_tokens_for_anybody" {
  command = plan
  variables { jwt_authorized_audiences = [] }
  expect_failures = [aws_lambda_function.this]
}

run "refuses_rules_beside_apis" {
  command = plan
  variables {
    routes          = [{ path = "/**" }]
    authorized_apis = ["arn:aws:execute-api:eu-west-1:123456789012:abc123/*"]
  }
  expect_failures = [aws_lambda_function.this]
}

run "refuses_identity_sources_of_another_api" {
  command = plan
  variables { identity_sources = ["method.request.header.Authorization"] }
  expect_failures = [aws_lambda_function.this]
}

run "refuses_no_identity_sources" {
  command = plan
  variables { identity_sources = [] }
  expect_failures = [var.identity_sources]
}

run "refuses_an_api_of_another_kind" {
  command = plan
  variables { api = { type = "appsync", id = "x", execution_arn = "x" } }
  expect_failures = [var.api]
}
