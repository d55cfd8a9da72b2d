# What each issuer has, and who may do what with it.

mock_provider "aws" {
  override_during = plan

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }
  mock_resource "aws_dynamodb_table" {
    defaults = { arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/countersign" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/role" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:123456789012:function:rotate" }
  }
  mock_resource "aws_ssm_parameter" {
    defaults = { arn = "arn:aws:ssm:eu-west-1:123456789012:parameter/countersign/config" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/rotate" }
  }
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
  name                = "countersign"
  issuer              = "https://auth.example.com"
  config              = "[rings.default]\nrotate_every = \"90days\"\n"
  package             = "tests/package.zip"
  architecture        = "x86_64"
  environment         = {}
  memory_size         = 512
  sealing_key_arn     = null
  kms_signers         = false
  kms_replicas        = false
  signer_arns         = { serve = "arn:aws:iam::123456789012:role/serve" }
  secret_arns         = []
  secret_kms_key_arns = []
  publish             = null
  rotation_schedule   = "rate(5 minutes)"
  first_keys          = "create"
  deletion_protection = true
  log_retention_days  = 90
  alarm_actions       = ["arn:aws:sns:eu-west-1:123456789012:alarms"]
  tags                = {}
}

run "a_table_that_is_not_lost" {
  command = plan

  assert {
    condition     = aws_dynamodb_table.keys.deletion_protection_enabled && aws_dynamodb_table.keys.point_in_time_recovery[0].enabled
    error_message = "deletion protection and point-in-time recovery are on"
  }
  assert {
    condition     = aws_dynamodb_table.keys.ttl[0].attribute_name == "ttl" && aws_dynamodb_table.keys.ttl[0].enabled && aws_dynamodb_table.keys.hash_key == "key"
    error_message = "the table has the shape of docs/stores.md"
  }
}

run "who_signs_makes_no_keys" {
  command = plan

  assert {
    condition = length(setintersection(toset(flatten([for s in data.aws_iam_policy_document.sign.statement : s.actions])), [
      "kms:GenerateDataKey", "kms:CreateKey", "kms:TagResource", "kms:ScheduleKeyDeletion", "kms:Sign", "s3:PutObject", "dynamodb:Scan"
    ])) == 0
    error_message = "the policy of who signs has no more than it needs"
  }
  assert {
    condition     = length(setintersection(toset(flatten([for s in data.aws_iam_policy_document.rotate.statement : s.actions])), ["kms:CreateKey", "kms:ReplicateKey", "s3:PutObject"])) == 0
    error_message = "without kms_signers and publish the rotating function may neither make keys in KMS nor write to a bucket"
  }
  assert {
    condition     = alltrue([for s in concat(data.aws_iam_policy_document.sign.statement, data.aws_iam_policy_document.rotate.statement) : !contains(s.resources, "*")])
    error_message = "nothing is allowed on everything"
  }
}

run "the_sealing_key_is_for_the_issuer_alone" {
  command = plan

  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.sealing_key[0].statement :
      length(s.condition) == 1 && length(setsubtract(s.actions, ["kms:Decrypt", "kms:GenerateDataKey"])) == 0
      if s.sid != "Administer"
    ])
    error_message = "it is used with its purpose alone, and who uses it may do nothing else with it"
  }
  assert {
    condition = alltrue([
      for s in data.aws_iam_policy_document.sealing_key[0].statement :
      (s.sid == "Administer") == strcontains(jsonencode(s.principals), ":root") && try(length(s.not_actions), 0) == 0
    ])
    error_message = "the account administers it, and what is allowed is named"
  }
  # As IAM reads actions: with wildcards, in upper or lower case.
  assert {
    condition = length([
      for pair in setproduct(
        flatten([for s in data.aws_iam_policy_document.sealing_key[0].statement : s.actions if s.sid == "Administer"]),
        [
          "kms:Decrypt", "kms:Encrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext",
          "kms:GenerateDataKeyPair", "kms:GenerateDataKeyPairWithoutPlaintext", "kms:Sign", "kms:GenerateMac", "kms:DeriveSharedSecret",
          "kms:CreateGrant", "kms:ReplicateKey", "kms:ImportKeyMaterial",
        ]
      ) : pair if can(regex("^${replace(replace(lower(pair[0]), "?", "."), "*", ".*")}$", lower(pair[1])))
    ]) == 0
    error_message = "who administers the key can neither use it nor let anybody use it, but by a change of its policy"
  }
  assert {
    condition     = aws_kms_key.sealing[0].enable_key_rotation
    error_message = "AWS rotates its material"
  }
}

run "another_sealing_key" {
  command = plan
  variables { sealing_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1" }

  assert {
    condition     = length(aws_kms_key.sealing) == 0 && output.sealing_key_arn == "arn:aws:kms:eu-west-1:123456789012:key/1"
    error_message = "no key is made where one is given"
  }
  assert {
    condition     = strcontains(aws_ssm_parameter.config.value, "key = \"kms:arn:aws:kms:eu-west-1:123456789012:key/1\"")
    error_message = "the configuration names it"
  }
}

run "keys_in_kms_are_made_and_used_by_their_tag" {
  command = plan
  variables { kms_signers = true }

  assert {
    condition = alltrue([
      for s in concat(data.aws_iam_policy_document.sign.statement, data.aws_iam_policy_document.rotate.statement) :
      one(s.condition[*].values) == tolist(["https://auth.example.com"])
      if length(setintersection(s.actions, ["kms:Sign", "kms:CreateKey", "kms:ScheduleKeyDeletion"])) > 0
    ])
    error_message = "every right on keys in KMS depends on the tag of this issuer"
  }
  assert {
    condition     = contains(flatten([for s in data.aws_iam_policy_document.sign.statement : s.actions]), "kms:Sign") && contains(flatten([for s in data.aws_iam_policy_document.rotate.statement : s.actions]), "kms:CreateKey")
    error_message = "they may be made and used"
  }
}

run "keys_with_replicas_are_replicated_by_their_tag" {
  command = plan
  variables {
    kms_signers  = true
    kms_replicas = true
  }

  assert {
    condition = one([
      for s in data.aws_iam_policy_document.rotate.statement : one(s.condition[*].values) if contains(s.actions, "kms:ReplicateKey")
    ]) == tolist(["https://auth.example.com"])
    error_message = "only keys with the tag of this issuer are replicated"
  }
  assert {
    condition = one([
      for s in data.aws_iam_policy_document.rotate.statement : s.resources if contains(s.actions, "iam:CreateServiceLinkedRole")
    ]) == toset(["arn:aws:iam::123456789012:role/aws-service-role/mrk.kms.amazonaws.com/*"])
    error_message = "the only role that may be made is KMS's own for multi-Region keys"
  }
  assert {
    condition = length(setintersection(
      toset(flatten([for s in data.aws_iam_policy_document.sign.statement : s.actions])), ["kms:ReplicateKey", "iam:CreateServiceLinkedRole"]
    )) == 0
    error_message = "who only signs replicates nothing"
  }
}

run "replicas_are_for_keys_in_kms" {
  command = plan
  variables { kms_replicas = true }
  expect_failures = [var.kms_replicas]
}

run "publishing_writes_below_its_prefix" {
  command = plan
  variables {
    sealing_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1"
    publish = {
      bucket           = "site"
      prefix           = "auth"
      distribution_id  = "E1"
      distribution_arn = "arn:aws:cloudfront::123456789012:distribution/E1"
    }
  }

  assert {
    condition     = one([for s in data.aws_iam_policy_document.rotate.statement : s.resources if contains(s.actions, "s3:PutObject")]) == toset(["arn:aws:s3:::site/auth/*"])
    error_message = "it may write to its prefix and nowhere else"
  }
  assert {
    condition     = strcontains(aws_ssm_parameter.config.value, "[publish]\ntarget = \"s3://site/auth\"\ncloudfront = \"E1\"")
    error_message = "the configuration says where"
  }
}

run "a_schedule_and_alarms" {
  command = plan

  assert {
    condition     = aws_scheduler_schedule.rotate.schedule_expression == "rate(5 minutes)" && jsondecode(aws_scheduler_schedule.rotate.target[0].input).source == "aws.scheduler"
    error_message = "the schedule sends the event that the function knows"
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.missing.treat_missing_data == "breaching" && aws_cloudwatch_metric_alarm.failed.alarm_actions == toset(["arn:aws:sns:eu-west-1:123456789012:alarms"])
    error_message = "turns that fail and turns that do not come are told"
  }
  assert {
    condition     = aws_lambda_function.rotate.environment[0].variables.COUNTERSIGN_STORE__FIRST_KEYS == "create"
    error_message = "the rotating function makes the first keys"
  }
}

run "a_configuration_that_no_parameter_takes" {
  command = plan
  variables {
    sealing_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1"
    config          = join("\n", [for n in range(400) : "# ${n} a line of a configuration"])
  }
  expect_failures = [aws_ssm_parameter.config]
}
