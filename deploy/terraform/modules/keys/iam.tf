# Who may do what. The rotating function makes keys and writes; a signer reads, and writes only what a token that was shown once
# leaves behind. docs/lambda.md and docs/keys.md have the same lists.

data "aws_iam_policy_document" "assume_lambda" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "Configuration"
    actions   = ["ssm:GetParameter"]
    resources = [aws_ssm_parameter.config.arn]
  }

  statement {
    sid       = "Open"
    actions   = ["kms:Decrypt"]
    resources = [local.sealing_key]
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["countersign-sealing"]
    }
  }

  dynamic "statement" {
    for_each = length(local.parameters) > 0 ? [local.parameters] : []
    content {
      sid       = "Parameters"
      actions   = ["ssm:GetParameter"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(local.secrets) > 0 ? [local.secrets] : []
    content {
      sid       = "Secrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = statement.value
    }
  }

  dynamic "statement" {
    for_each = length(var.secret_kms_key_arns) > 0 ? [var.secret_kms_key_arns] : []
    content {
      sid       = "DecryptSecrets"
      actions   = ["kms:Decrypt"]
      resources = statement.value
    }
  }
}

locals {
  parameters = [for arn in var.secret_arns : arn if split(":", arn)[2] == "ssm"]
  secrets    = [for arn in var.secret_arns : arn if split(":", arn)[2] == "secretsmanager"]
}

# What a role needs that signs: a function of ours, or one that runs `countersign sign`.
data "aws_iam_policy_document" "sign" {
  source_policy_documents = [data.aws_iam_policy_document.read.json]

  statement {
    sid       = "Store"
    actions   = ["dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"]
    resources = [aws_dynamodb_table.keys.arn]
  }

  dynamic "statement" {
    for_each = var.kms_signers ? [1] : []
    content {
      sid       = "SignWithKms"
      actions   = ["kms:Sign", "kms:GetPublicKey"]
      resources = ["arn:${local.partition}:kms:*:${local.account}:key/*"]
      condition {
        test     = "StringEquals"
        variable = "aws:ResourceTag/countersign-issuer"
        values   = [var.issuer]
      }
    }
  }
}

data "aws_iam_policy_document" "rotate" {
  # A key in KMS signs its own certificate when it is made, so that who makes keys there signs with them too.
  source_policy_documents = [data.aws_iam_policy_document.sign.json]

  statement {
    sid       = "Log"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.rotate.arn}:*"]
  }

  statement {
    sid       = "Seal"
    actions   = ["kms:GenerateDataKey"]
    resources = [local.sealing_key]
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["countersign-sealing"]
    }
  }

  dynamic "statement" {
    for_each = var.kms_signers ? [1] : []
    content {
      sid       = "MakeKeysInKms"
      actions   = ["kms:CreateKey", "kms:TagResource"]
      resources = ["*"]
      condition {
        test     = "StringEquals"
        variable = "aws:RequestTag/countersign-issuer"
        values   = [var.issuer]
      }
    }
  }

  dynamic "statement" {
    for_each = var.kms_signers ? [1] : []
    content {
      sid       = "GiveUpKeysInKms"
      actions   = ["kms:ScheduleKeyDeletion"]
      resources = ["arn:${local.partition}:kms:*:${local.account}:key/*"]
      condition {
        test     = "StringEquals"
        variable = "aws:ResourceTag/countersign-issuer"
        values   = [var.issuer]
      }
    }
  }

  dynamic "statement" {
    for_each = var.kms_replicas ? [1] : []
    content {
      sid       = "ReplicateKeysInKms"
      actions   = ["kms:ReplicateKey", "kms:DescribeKey"]
      resources = ["arn:${local.partition}:kms:*:${local.account}:key/*"]
      condition {
        test     = "StringEquals"
        variable = "aws:ResourceTag/countersign-issuer"
        values   = [var.issuer]
      }
    }
  }

  # KMS keeps multi-Region keys in step by a role of its own, which the first of them in an account makes.
  dynamic "statement" {
    for_each = var.kms_replicas ? [1] : []
    content {
      sid       = "RoleOfMultiRegionKeys"
      actions   = ["iam:CreateServiceLinkedRole"]
      resources = ["arn:${local.partition}:iam::${local.account}:role/aws-service-role/mrk.kms.amazonaws.com/*"]
      condition {
        test     = "StringEquals"
        variable = "iam:AWSServiceName"
        values   = ["mrk.kms.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = var.publish == null ? [] : [var.publish]
    content {
      sid       = "Publish"
      actions   = ["s3:GetObject", "s3:PutObject"]
      resources = ["arn:${local.partition}:s3:::${join("/", compact([statement.value.bucket, statement.value.prefix, "*"]))}"]
    }
  }

  dynamic "statement" {
    for_each = var.publish == null ? [] : [var.publish]
    content {
      sid       = "Unpublish"
      actions   = ["s3:DeleteObject"]
      resources = ["arn:${local.partition}:s3:::${join("/", compact([statement.value.bucket, statement.value.prefix, "asap/*"]))}"]
    }
  }

  dynamic "statement" {
    for_each = var.publish == null ? [] : [var.publish]
    content {
      sid       = "ListPublished"
      actions   = ["s3:ListBucket"]
      resources = ["arn:${local.partition}:s3:::${statement.value.bucket}"]
      condition {
        test     = "StringLikeIfExists"
        variable = "s3:prefix"
        values   = [join("/", compact([statement.value.prefix, "*"]))]
      }
    }
  }

  dynamic "statement" {
    for_each = try(var.publish.key_id, null) == null ? [] : [var.publish.key_id_arn]
    content {
      sid       = "TellKeyId"
      actions   = ["ssm:GetParameter", "ssm:PutParameter"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = try(var.publish.distribution_id, null) == null ? [] : [var.publish.distribution_arn]
    content {
      sid       = "Invalidate"
      actions   = ["cloudfront:CreateInvalidation", "cloudfront:GetInvalidation"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "rotate" {
  name               = local.function
  description        = "Rotates the keys of the issuer ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.assume_lambda.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "rotate" {
  name   = "rotate"
  role   = aws_iam_role.rotate.id
  policy = data.aws_iam_policy_document.rotate.json
}

data "aws_iam_policy_document" "assume_scheduler" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "invoke" {
  statement {
    actions   = ["lambda:InvokeFunction"]
    resources = [aws_lambda_function.rotate.arn]
  }
}

resource "aws_iam_role" "schedule" {
  name               = "${var.name}-schedule"
  description        = "Lets EventBridge Scheduler invoke ${local.function}"
  assume_role_policy = data.aws_iam_policy_document.assume_scheduler.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "schedule" {
  name   = "invoke"
  role   = aws_iam_role.schedule.id
  policy = data.aws_iam_policy_document.invoke.json
}
