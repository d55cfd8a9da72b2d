output "table_name" {
  description = "The table with the keyring."
  value       = aws_dynamodb_table.keys.name
}

output "table_arn" {
  description = "The ARN of the table."
  value       = aws_dynamodb_table.keys.arn
}

output "sealing_key_arn" {
  description = "The KMS key that seals the private keys."
  value       = local.sealing_key
}

output "config_parameter" {
  description = "The parameter with the configuration."
  value       = aws_ssm_parameter.config.name
}

output "config_sha256" {
  description = "Changes with the configuration, but not with the issuer, which may be known only after the function is there."
  value       = sha256(var.config)
}

output "rotate_function" {
  description = "The rotating function: its name, ARN and role, and the event of a turn."
  value = {
    name     = aws_lambda_function.rotate.function_name
    arn      = aws_lambda_function.rotate.arn
    role_arn = aws_iam_role.rotate.arn
    turn     = local.turn
    changes  = { code = aws_lambda_function.rotate.source_code_hash, config = sha256(local.config) }
  }
}

output "sign_policy" {
  description = "The IAM policy, as JSON, of a role that signs."
  value       = data.aws_iam_policy_document.sign.json
}

output "assume_lambda_policy" {
  description = "The trust policy, as JSON, of a role of a Lambda function."
  value       = data.aws_iam_policy_document.assume_lambda.json
}
