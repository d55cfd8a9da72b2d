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
  package = "tests/package.zip"
}

run "a_bucket_that_cloudfront_alone_reads" {
  command = plan

  assert {
    condition     = aws_s3_bucket_public_access_block.site.block_public_policy && aws_s3_bucket_public_access_block.site.restrict_public_buckets && aws_s3_bucket_public_access_block.site.block_public_acls && aws_s3_bucket_public_access_block.site.ignore_public_acls
    error_message = "the bucket is private"
  }
  assert {
    condition     = aws_cloudfront_origin_access_control.site.signing_behavior == "always" && aws_cloudfront_origin_access_control.site.origin_access_control_origin_type == "s3"
    error_message = "CloudFront signs what it asks the bucket"
  }
  assert {
    condition     = aws_cloudfront_distribution.site.default_cache_behavior[0].viewer_protocol_policy == "https-only" && aws_cloudfront_distribution.site.default_cache_behavior[0].allowed_methods == toset(["GET", "HEAD"])
    error_message = "the documents are read, over TLS"
  }
  assert {
    condition     = aws_s3_bucket.site.bucket == "countersign-static-123456789012" && !aws_s3_bucket.site.force_destroy
    error_message = "the bucket has the account in its name, and is not emptied by itself"
  }
}

run "a_domain_of_ones_own" {
  command = plan
  variables {
    issuer_path = "/auth"
    custom_domain = {
      name            = "id.example.com"
      certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/1"
      zone_id         = "Z1"
    }
  }

  assert {
    condition     = output.issuer == "https://id.example.com/auth" && output.jwks_uri == "https://id.example.com/auth/.well-known/jwks.json"
    error_message = "the issuer is at the domain"
  }
  assert {
    condition     = aws_cloudfront_distribution.site.aliases == toset(["id.example.com"]) && aws_cloudfront_distribution.site.viewer_certificate[0].minimum_protocol_version == "TLSv1.2_2021"
    error_message = "the distribution answers for the domain, with its certificate"
  }
  assert {
    condition     = keys(aws_route53_record.site) == ["A", "AAAA"]
    error_message = "the domain leads to the distribution, over IPv4 and IPv6"
  }
  assert {
    condition     = aws_ssm_parameter.exported["issuer"].value == "https://id.example.com/auth" && aws_ssm_parameter.exported["issuer"].name == "/countersign-static/issuer"
    error_message = "the issuer is exported"
  }
}

run "refuses_a_certificate_where_cloudfront_does_not_look" {
  command = plan
  variables {
    custom_domain = { name = "id.example.com", certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/1" }
  }
  expect_failures = [var.custom_domain]
}

run "refuses_a_path_with_a_slash_at_its_end" {
  command = plan
  variables { issuer_path = "/auth/" }
  expect_failures = [var.issuer_path]
}

run "refuses_a_configuration_that_publishes_elsewhere" {
  command = plan
  variables { config = "[publish]\ntarget = \"s3://other\"" }
  expect_failures = [var.config]
}
