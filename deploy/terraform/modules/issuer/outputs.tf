output "issuer" {
  description = "The issuer. Known to others only when it answers: what refers to it is made after it."
  value       = local.issuer

  depends_on = [aws_lambda_invocation.turn]
}

output "url" {
  description = "The URL of the endpoint, which is the issuer unless `issuer` is set."
  value       = local.url

  depends_on = [aws_lambda_invocation.turn]
}

output "jwks_uri" {
  description = "Where the public keys are."
  value       = "${local.issuer}/.well-known/jwks.json"

  depends_on = [aws_lambda_invocation.turn]
}

output "api_id" {
  description = "The id of the HTTP or REST API, for a custom domain; null for a function URL."
  value       = try(aws_apigatewayv2_api.this[0].id, aws_api_gateway_rest_api.this[0].id, null)
}

output "stage_name" {
  description = "The stage of the HTTP or REST API; null for a function URL."
  value       = try(aws_apigatewayv2_stage.this[0].name, aws_api_gateway_stage.this[0].stage_name, null)
}

output "function_name" {
  description = "The function that serves and signs."
  value       = aws_lambda_function.serve.function_name
}

output "role_arn" {
  description = "The role that signs."
  value       = aws_iam_role.serve.arn
}

output "rotate_function_name" {
  description = "The function that rotates."
  value       = module.keys.rotate_function.name
}

output "rotate_role_arn" {
  description = "The role that makes keys."
  value       = module.keys.rotate_function.role_arn
}

output "table_name" {
  description = "The table with the keyring."
  value       = module.keys.table_name
}

output "sealing_key_arn" {
  description = "The KMS key that seals the private keys."
  value       = module.keys.sealing_key_arn
}

output "config_parameter" {
  description = "The parameter with the configuration: `COUNTERSIGN_CONFIG=ssm:NAME countersign sign` uses it from elsewhere."
  value       = module.keys.config_parameter
}

output "sign_policy" {
  description = "An IAM policy, as JSON, for the roles in `signer_arns`."
  value       = module.keys.sign_policy
}
