//! The policy and the form of one upload: what a browser sends, each field with the condition that
//! S3 compares it with.
//!
//! Fields and conditions come from one list, so none is without the other ("Extra input fields" is
//! what S3 says of a field without). Everything a safe policy needs is a member of [`PostPolicy`]
//! and none is optional: one exact key, one exact content type, a range of sizes, the token's `jti`
//! as metadata. Every condition is an exact match; there is no `starts-with`, so there is no empty
//! one. A form does not outlive the credentials it is signed with.

use crate::{
    access::ends,
    content_type::ContentType,
    key::ObjectKey,
    place::Place,
    signature::{ALGORITHM, Signed},
    size::SizeRange,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_aws::credentials::Credentials;
use countersign_jose::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// What S3 answers when it has the file: with a body that a page can read whatever CORS exposes.
const STATUS: &str = "201";
/// Metadata that ties the object to the token.
pub(crate) const JTI_FIELD: &str = "x-amz-meta-jti";

/// What one upload may be.
#[derive(Debug, Clone, Copy)]
pub struct PostPolicy<'a> {
    /// Where it goes.
    pub place: &'a Place,
    /// What the object is called.
    pub key: &'a ObjectKey,
    /// What it is.
    pub content_type: &'a ContentType,
    /// How large it is.
    pub size: SizeRange,
    /// The `jti` of the token around the form.
    pub jti: &'a str,
    /// The SHA-256 of the file in base64, where it is known: S3 takes no other bytes then.
    pub sha256: Option<&'a str>,
    /// When it is signed.
    pub signed_at: Timestamp,
    /// When it ends.
    pub ends: Timestamp,
}

/// Why there is no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// It would end before it begins.
    #[error("the form would end before it is signed")]
    Ended,
    /// The credentials end first.
    #[error("the form would end at {form}, after the credentials that sign it, at {credentials}")]
    OutlivesCredentials {
        /// When the form would end.
        form: Timestamp,
        /// When the credentials do.
        credentials: Timestamp,
    },
}

/// A signed form: names and values, in the order in which they are sent. The file comes behind
/// them.
#[derive(Clone, PartialEq, Eq)]
pub struct Form(Vec<(&'static str, String)>);

impl std::fmt::Debug for Form {
    /// Who has a form can upload, so the values are not shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Form {
    /// Name and value of each field.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

impl Serialize for Form {
    /// An object, its members in the order in which they are sent.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields())
    }
}

impl PostPolicy<'_> {
    /// The form, signed.
    ///
    /// # Errors
    ///
    /// [`FormError`]
    pub fn sign(&self, credentials: &Credentials) -> Result<Form, FormError> {
        if self.ends <= self.signed_at {
            return Err(FormError::Ended);
        }
        if let Some(end) = ends(credentials).filter(|end| self.ends > *end) {
            return Err(FormError::OutlivesCredentials { form: self.ends, credentials: end });
        }
        let signed = Signed::at(self.signed_at);
        let region = self.place.region();
        let mut fields = vec![
            ("key", self.key.as_str().to_owned()),
            ("Content-Type", self.content_type.as_str().to_owned()),
            (JTI_FIELD, self.jti.to_owned()),
            ("success_action_status", STATUS.to_owned()),
        ];
        fields.extend(self.sha256.map(|sha256| ("x-amz-checksum-sha256", sha256.to_owned())));
        fields.extend([
            ("x-amz-algorithm", ALGORITHM.to_owned()),
            ("x-amz-credential", signed.credential(&credentials.key_id, region)),
            ("x-amz-date", signed.date.clone()),
        ]);
        fields.extend(credentials.token.as_ref().map(|token| ("x-amz-security-token", token.clone())));
        let policy = STANDARD.encode(self.document(&fields).to_string());
        let signature = signed.sign(&credentials.secret, region, &policy);
        fields.extend([("policy", policy), ("x-amz-signature", signature)]);
        Ok(Form(fields))
    }

    /// The policy: the bucket, the sizes, and an exact condition for each field.
    fn document(&self, fields: &[(&'static str, String)]) -> Value {
        let mut conditions = vec![
            json!({ "bucket": self.place.bucket() }),
            json!(["content-length-range", self.size.min(), self.size.max()]),
        ];
        conditions.extend(fields.iter().map(|(name, value)| json!({ *name: value })));
        json!({ "expiration": self.ends.to_string(), "conditions": conditions })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyTemplate;
    use std::{
        borrow::Cow,
        time::{Duration, UNIX_EPOCH},
    };

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn credentials(token: Option<&str>, ends: Option<u64>) -> Credentials {
        Credentials {
            key_id: "AKID".to_owned(),
            secret: "secret".to_owned().into(),
            token: token.map(str::to_owned),
            ends: ends.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds)),
        }
    }

    fn form(lifetime: u64, sha256: Option<&str>, credentials: &Credentials) -> Result<Form, FormError> {
        let place = Place::new("photos".parse().unwrap(), "eu-west-1", None, None).unwrap();
        let template: KeyTemplate = "uploads/{sub}/{jti}".parse().unwrap();
        let key = template.key(|_| Some(Cow::Borrowed("al/ice")), "j", [0; 16]).unwrap();
        let policy = PostPolicy {
            place: &place,
            key: &key,
            content_type: &"image/png".parse().unwrap(),
            size: SizeRange::new(1, 10).unwrap(),
            jti: "j",
            sha256,
            signed_at: NOW,
            ends: NOW.plus(Duration::from_secs(lifetime)),
        };
        policy.sign(credentials)
    }

    #[test]
    fn each_field_has_an_exact_condition_and_each_condition_a_field() {
        for (token, sha256) in [(None, None), (Some("session"), Some("c2hh"))] {
            let form = form(300, sha256, &credentials(token, None)).unwrap();
            let fields: Vec<(&str, &str)> = form.fields().collect();
            let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
            assert_eq!(names[..4], ["key", "Content-Type", "x-amz-meta-jti", "success_action_status"]);
            assert_eq!(names[names.len() - 2..], ["policy", "x-amz-signature"]);
            assert_eq!(names.contains(&"x-amz-security-token"), token.is_some());
            assert_eq!(names.contains(&"x-amz-checksum-sha256"), sha256.is_some());
            let policy = fields.iter().find(|(name, _)| *name == "policy").unwrap().1;
            let policy: Value = serde_json::from_slice(&STANDARD.decode(policy).unwrap()).unwrap();
            assert_eq!(policy["expiration"], "2027-01-15T08:05:00Z");
            let conditions = policy["conditions"].as_array().unwrap();
            let expected = fields[..fields.len() - 2].iter().map(|(name, value)| json!({ *name: value }));
            let expected: Vec<Value> = [json!({"bucket": "photos"}), json!(["content-length-range", 1, 10])]
                .into_iter()
                .chain(expected)
                .collect();
            assert_eq!(conditions, &expected);
            assert!(!policy.to_string().contains("starts-with"));
        }
    }

    #[test]
    fn a_form_does_not_outlive_the_credentials_it_is_signed_with() {
        let end = 1_800_000_300;
        for (lifetime, expected) in
            [(1, None), (299, None), (300, None), (301, Some(301)), (3600, Some(3600))]
        {
            let made = form(lifetime, None, &credentials(Some("session"), Some(end)));
            let refused = expected.map(|seconds| FormError::OutlivesCredentials {
                form: NOW.plus(Duration::from_secs(seconds)),
                credentials: NOW.plus(Duration::from_secs(300)),
            });
            assert_eq!(made.err(), refused, "{lifetime}");
        }
        assert_eq!(form(0, None, &credentials(None, None)), Err(FormError::Ended));
    }

    #[test]
    fn nothing_that_lets_somebody_upload_is_shown() {
        let made = form(300, None, &credentials(Some("session"), None)).unwrap();
        let shown = format!("{made:?} {:?}", credentials(Some("session"), None));
        assert!(
            !shown.contains("session") && !shown.contains("secret") && !shown.contains("AKID"),
            "{shown}"
        );
    }
}
