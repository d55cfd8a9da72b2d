output "authorizer_id" {
  description = "The authorizer, for the routes of the API (type CUSTOM). What uses it waits until API Gateway may invoke the function."
  value       = local.authorizer_id

  depends_on = [aws_lambda_permission.this]
}

output "function_name" {
  description = "The function that judges."
  value       = aws_lambda_function.this.function_name
}

output "role_arn" {
  description = "Its role, which may write its log and nothing else."
  value       = aws_iam_role.this.arn
}

output "identity_sources" {
  description = "What requests must have, and what answers are remembered by."
  value       = concat(local.identity_sources, local.cached_by)
}
