//! The signature of a policy: HMAC-SHA256 of its base64, under a key for one day, one region and S3
//! (AWS Signature Version 4; S3 API reference, "Calculating a signature" of POST). Pinned by
//! botocore in `tests/e2e/test_uploads.py`.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use countersign_jose::{Timestamp, hex};

/// `x-amz-algorithm`.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// When a policy is signed, as AWS writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    /// `20260101T000000Z`
    pub(crate) date: String,
    /// `20260101`
    day: String,
}

impl Signed {
    /// At this time. The year has four digits: no token is minted outside of those.
    pub(crate) fn at(time: Timestamp) -> Self {
        let date: String = time.to_string().chars().filter(|c| !matches!(c, '-' | ':')).collect();
        let day = date.chars().take(8).collect();
        Self { date, day }
    }

    /// `x-amz-credential`.
    pub(crate) fn credential(&self, key_id: &str, region: &str) -> String {
        format!("{key_id}/{}/{region}/s3/aws4_request", self.day)
    }

    /// `x-amz-signature` of a policy in base64.
    pub(crate) fn sign(&self, secret: &str, region: &str, policy: &str) -> String {
        let first = zeroize::Zeroizing::new(format!("AWS4{secret}"));
        let mut key = Key::new(HMAC_SHA256, first.as_bytes());
        for part in [&self.day, region, "s3", "aws4_request"] {
            key = Key::new(HMAC_SHA256, sign(&key, part.as_bytes()).as_ref());
        }
        hex(sign(&key, policy.as_bytes()).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::STANDARD};

    /// S3 API reference, "Example: browser-based upload using HTTP POST (using AWS Signature
    /// Version 4)".
    const POLICY: &str = "{ \"expiration\": \"2015-12-30T12:00:00.000Z\",\r\n  \"conditions\": [\r\n    {\"bucket\": \
         \"sigv4examplebucket\"},\r\n    [\"starts-with\", \"$key\", \"user/user1/\"],\r\n    {\"acl\": \"public-read\"},\r\n    \
         {\"success_action_redirect\": \"http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html\"},\r\n    \
         [\"starts-with\", \"$Content-Type\", \"image/\"],\r\n    {\"x-amz-meta-uuid\": \"14365123651274\"},\r\n    \
         {\"x-amz-server-side-encryption\": \"AES256\"},\r\n    [\"starts-with\", \"$x-amz-meta-tag\", \"\"],\r\n\r\n    \
         {\"x-amz-credential\": \"AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request\"},\r\n    \
         {\"x-amz-algorithm\": \"AWS4-HMAC-SHA256\"},\r\n    {\"x-amz-date\": \"20151229T000000Z\" }\r\n  ]\r\n}";

    #[test]
    fn the_example_of_aws_has_the_signature_that_aws_prints() {
        let signed = Signed::at(Timestamp::from_unix_seconds(1_451_347_200));
        assert_eq!(signed.date, "20151229T000000Z");
        assert_eq!(
            signed.credential("AKIAIOSFODNN7EXAMPLE", "us-east-1"),
            "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"
        );
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let signature = signed.sign(secret, "us-east-1", &STANDARD.encode(POLICY));
        assert_eq!(signature, "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e");
    }
}
