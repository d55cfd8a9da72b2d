# What each issuer has, whatever it is served by: the table, the key that seals what is in it, the configuration, and the
# function that rotates. `issuer` and `static-issuer` use it; it is not meant to be used by itself.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  function    = "${var.name}-rotate"
  sealing_key = var.sealing_key_arn == null ? aws_kms_key.sealing[0].arn : var.sealing_key_arn

  publish = var.publish == null ? "" : join("\n", compact([
    "[publish]",
    "target = \"s3://${join("/", compact([var.publish.bucket, var.publish.prefix]))}\"",
    var.publish.distribution_id == null ? "" : "cloudfront = \"${var.publish.distribution_id}\"",
    var.publish.key_id == null ? "" : "key_id = \"${var.publish.key_id}\"",
  ]))

  # The line in front belongs to no table, and what is behind begins one.
  config = <<-TOML
    issuer = "${var.issuer}"

    ${trimspace(var.config)}

    [store]
    url = "dynamodb://${aws_dynamodb_table.keys.name}"

    [sealing]
    key = "kms:${local.sealing_key}"

    ${local.publish}
  TOML

  # The event that EventBridge sends by itself, said here so that the turn at apply is the same.
  turn = jsonencode({ source = "aws.scheduler", "detail-type" = "Scheduled Event", detail = {} })
}

resource "aws_dynamodb_table" "keys" {
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "key"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "key"
    type = "S"
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }
}

# The mark that `countersign store create` leaves: with it no function has to look whose the table is, and needs no dynamodb:Scan.
resource "aws_dynamodb_table_item" "mark" {
  table_name = aws_dynamodb_table.keys.name
  hash_key   = aws_dynamodb_table.keys.hash_key
  item       = jsonencode({ key = { S = "!countersign" }, shape = { N = "1" } })
}

resource "aws_ssm_parameter" "config" {
  name        = "/${var.name}/config"
  description = "Configuration of the issuer ${var.name}"
  type        = "String"
  tier        = length(local.config) > 4096 ? "Advanced" : "Standard"
  value       = local.config
  tags        = var.tags

  lifecycle {
    precondition {
      condition     = length(local.config) <= 8192
      error_message = "The configuration has more than the 8192 characters that a parameter takes. Move schemas and key sets out of it."
    }
  }
}
