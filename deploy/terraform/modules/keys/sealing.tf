# The key that seals the private keys. Its policy, and not IAM's alone, says who may use it: an
# administrator of the account can change the policy, which CloudTrail shows, but can neither use
# the key nor grant its use by being an administrator.

data "aws_iam_policy_document" "sealing_key" {
  count = var.sealing_key_arn == null ? 1 : 0

  # Each action by its name: `kms:Create*` includes `kms:CreateGrant`, with which anyone who has it
  # in IAM can grant themselves Decrypt without changing this policy.
  statement {
    sid = "Administer"
    actions = [
      "kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:Describe*", "kms:DisableKey", "kms:DisableKeyRotation",
      "kms:EnableKey", "kms:EnableKeyRotation", "kms:Get*", "kms:List*", "kms:PutKeyPolicy", "kms:RevokeGrant", "kms:ScheduleKeyDeletion",
      "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias", "kms:UpdateKeyDescription",
    ]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  statement {
    sid       = "MakeDataKeys"
    actions   = ["kms:GenerateDataKey"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.rotate.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["countersign-sealing"]
    }
  }

  statement {
    sid       = "OpenDataKeys"
    actions   = ["kms:Decrypt"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = concat([aws_iam_role.rotate.arn], values(var.signer_arns))
    }
    condition {
      test     = "StringEquals"
      variable = "kms:EncryptionContext:purpose"
      values   = ["countersign-sealing"]
    }
  }
}

resource "aws_kms_key" "sealing" {
  count = var.sealing_key_arn == null ? 1 : 0

  description             = "Seals the private keys of the issuer ${var.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy                  = data.aws_iam_policy_document.sealing_key[0].json
  tags                    = var.tags
}

resource "aws_kms_alias" "sealing" {
  count = var.sealing_key_arn == null ? 1 : 0

  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.sealing[0].key_id
}
