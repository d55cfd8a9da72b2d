output "issuer" {
  description = "The issuer. Known to others only when its documents are published: what refers to it is made after that."
  value       = local.issuer

  depends_on = [aws_lambda_invocation.turn]
}

output "jwks_uri" {
  description = "Where the public keys are."
  value       = "${local.issuer}/.well-known/jwks.json"

  depends_on = [aws_lambda_invocation.turn]
}

output "audience" {
  description = "The audience of the tokens."
  value       = var.audience
}

output "parameters" {
  description = "The names of the parameters with what others need to know: `issuer`, `jwks_uri`, `audience`, and `key_id`, the kid of the key that signs."
  value       = merge({ for name, parameter in aws_ssm_parameter.exported : name => parameter.name }, { key_id = aws_ssm_parameter.key_id.name })
}

output "distribution_id" {
  description = "The distribution in front of the documents."
  value       = aws_cloudfront_distribution.site.id
}

output "distribution_domain" {
  description = "The domain of the distribution, for records that are made elsewhere."
  value       = aws_cloudfront_distribution.site.domain_name
}

output "bucket" {
  description = "The bucket of the public documents."
  value       = aws_s3_bucket.site.bucket
}

output "rotate_function_name" {
  description = "The function that rotates and publishes."
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
  description = "The parameter with the configuration: `COUNTERSIGN_CONFIG=ssm:NAME countersign sign` signs with it."
  value       = module.keys.config_parameter
}

output "sign_policy" {
  description = "An IAM policy, as JSON, for the roles in `signer_arns`."
  value       = module.keys.sign_policy
}
