# An issuer without a server: discovery and keys are files in a bucket behind CloudFront, tokens are signed wherever a role may open
# the keys, and a scheduled function rotates and publishes.

data "aws_caller_identity" "current" {}

locals {
  domain = var.custom_domain == null ? aws_cloudfront_distribution.site.domain_name : var.custom_domain.name
  issuer = var.issuer == null ? "https://${local.domain}${var.issuer_path}" : var.issuer
  bucket = var.bucket_name == null ? "${var.name}-${data.aws_caller_identity.current.account_id}" : var.bucket_name

  # Discovery, JWKS and so on lie where the path of the issuer is.
  prefix = trimprefix(var.issuer_path, "/")
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
  signer_arns         = var.signer_arns
  secret_arns         = var.secret_arns
  secret_kms_key_arns = var.secret_kms_key_arns
  rotation_schedule   = var.rotation_schedule
  first_keys          = var.first_keys
  deletion_protection = var.deletion_protection
  log_retention_days  = var.log_retention_days
  alarm_actions       = var.alarm_actions
  tags                = var.tags

  publish = {
    bucket           = aws_s3_bucket.site.bucket
    prefix           = local.prefix
    distribution_id  = aws_cloudfront_distribution.site.id
    distribution_arn = aws_cloudfront_distribution.site.arn
    key_id           = aws_ssm_parameter.key_id.name
    key_id_arn       = aws_ssm_parameter.key_id.arn
  }
}

# A turn at each change of program or configuration: the first one makes the keys and publishes them, so that the issuer answers
# before anything that depends on this module asks it. API Gateway does so while it makes a JWT authorizer.
resource "aws_lambda_invocation" "turn" {
  function_name = module.keys.rotate_function.name
  input         = module.keys.rotate_function.turn
  triggers      = module.keys.rotate_function.changes

  depends_on = [aws_s3_bucket_policy.site, aws_s3_bucket_public_access_block.site, aws_route53_record.site]
}

resource "aws_ssm_parameter" "exported" {
  for_each = {
    issuer   = local.issuer
    jwks_uri = "${local.issuer}/.well-known/jwks.json"
    audience = var.audience
  }

  name  = "/${var.name}/${each.key}"
  type  = "String"
  value = each.value
  tags  = var.tags

  # Who reads them may rely on an issuer that answers.
  depends_on = [aws_lambda_invocation.turn]
}

# The kid of the key that signs. The rotating function writes it.
resource "aws_ssm_parameter" "key_id" {
  name        = "/${var.name}/key_id"
  description = "The kid of the key that signs; written by ${var.name}-rotate"
  type        = "String"
  value       = "none yet"
  tags        = var.tags

  lifecycle {
    ignore_changes = [value]
  }
}
