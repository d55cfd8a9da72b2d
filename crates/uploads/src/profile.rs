//! `upload`: a token around a presigned form of S3, for the page that sends the file.
//!
//! Claims, audience and lifetime are admitted as in profile `jwt`; the audience is one page's
//! origin, `sub` says for whom. What is to be uploaded is asked for beside the claims, and what
//! comes of it is the claim `upload`: the form with all its fields, and in words what it does, so
//! that a page can compare. The token ends when the form does. `typ` is `upload+jwt`, so that it is
//! taken for no other kind of token (RFC 8725 §3.11). It holds a session token where AWS gave one,
//! and so may be longer than one for a header. Pinned by `tests/profile.rs` and
//! `tests/e2e/test_uploads.py`.

use crate::{
    access,
    destination::Destination,
    form::{Form, PostPolicy},
};
use aws_lc_rs::rand;
use countersign_issuer::{
    Admitted, AdmittedUpload, Audience, Claims, Facts, LiveClaim, MintPolicy, ObjectName, Preparation,
    Profile, ProfileError, Refusal, Shaped, Takes, UPLOAD_PROFILE, UPLOAD_TYP, Ways, registered,
    write_claims,
};
use countersign_jose::{MAX_TOKEN_BYTES, Timestamp, json::string, quoted};
use countersign_keyring::{RingName, Signer};
use serde::Serialize;
use std::{collections::BTreeMap, time::Duration};

/// The claim with the form.
const UPLOAD: &str = "upload";
/// A form that ends sooner could not be used.
const LEAST: Duration = Duration::from_secs(30);

/// The profile of uploads.
#[derive(Debug)]
pub struct UploadProfile {
    ring: RingName,
    destinations: BTreeMap<String, Destination>,
}

impl UploadProfile {
    /// Its name in a client's `profiles`.
    pub const NAME: &'static str = UPLOAD_PROFILE;
    /// The header's `typ`.
    pub const TYP: &'static str = UPLOAD_TYP;

    /// The profile, with all there is to upload to.
    pub fn new(ring: RingName, destinations: Vec<Destination>) -> Self {
        let destinations = destinations.into_iter().map(|one| (one.name.clone(), one)).collect();
        Self { ring, destinations }
    }

    fn destination(&self, name: &str) -> Result<&Destination, Refusal> {
        self.destinations.get(name).ok_or_else(|| {
            let known: Vec<_> = self.destinations.keys().map(String::as_str).collect();
            let why =
                format!("there is no destination {}; configured are: {}", quoted(name), known.join(", "));
            Refusal::Invalid(why.into())
        })
    }
}

impl Profile for UploadProfile {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn ring(&self) -> &RingName {
        &self.ring
    }

    fn typ(&self) -> &'static str {
        Self::TYP
    }

    fn check_signer(&self, _: &dyn Signer) -> Result<(), ProfileError> {
        Ok(())
    }

    fn takes(&self) -> Takes {
        Takes::Claims
    }

    fn ways(&self) -> Ways {
        Ways::Both
    }

    fn takes_upload(&self) -> bool {
        true
    }

    fn token_bytes(&self, limit: usize) -> usize {
        limit.max(MAX_TOKEN_BYTES)
    }

    fn prepare(&self, upload: Option<&AdmittedUpload<'_>>, now: Timestamp) -> Option<Preparation<'_>> {
        let destination = upload.and_then(|upload| self.destinations.get(upload.to))?;
        let needed = destination.lifetime;
        if destination.access.is_fresh(now, needed) {
            return None;
        }
        Some(Box::pin(async move {
            // What is held may do for this one all the same. Where nothing is, the chain has said
            // why, and the refusal comes when it is needed.
            let _ = destination.access.refresh(now, needed).await;
            Ok(())
        }))
    }

    fn longest(
        &self,
        upload: Option<&AdmittedUpload<'_>>,
        asked: Option<Duration>,
        now: Timestamp,
    ) -> Result<Option<Duration>, Refusal> {
        let Some(upload) = upload else { return Ok(None) };
        let destination = self.destination(upload.to)?;
        if asked.is_some_and(|asked| asked > destination.lifetime) {
            let why = format!(
                "`metadata.duration`: forms for {} live {} s at most",
                destination.name,
                destination.lifetime.as_secs()
            );
            return Err(Refusal::Invalid(why.into()));
        }
        let credentials = destination.access.held(now).ok_or_else(no_credentials)?;
        let Some(end) = access::ends(&credentials) else { return Ok(Some(destination.lifetime)) };
        let left = end.since(now);
        if left < LEAST {
            return Err(Refusal::Unprepared(format!("the AWS credentials end in {} s", left.as_secs())));
        }
        Ok(Some(destination.lifetime.min(left)))
    }

    fn check_fixed(&self, fixed: Claims<'_>, _: &MintPolicy) -> Result<(), Refusal> {
        check_names(fixed)
    }

    fn shape(&self, admitted: &Admitted<'_>, facts: &Facts<'_>) -> Result<Shaped, Refusal> {
        let claims = admitted.claims();
        check_names(claims)?;
        let Some(upload) = admitted.upload() else {
            return Err(invalid("`upload` is missing: say what is to be uploaded"));
        };
        if !matches!(admitted.audience(), Some(Audience::One(_))) {
            return Err(invalid("a token for an upload is for one page; name one audience"));
        }
        let granted = admitted.granted();
        let sent = claims.get("sub").map(|raw| string(raw).unwrap_or_default());
        let subject = match (&granted, sent) {
            (Some(_), Some(_)) => return Err(invalid("the claim `sub` is set by the grant")),
            (Some(granted), None) => granted.subject.unwrap_or(facts.client).to_owned(),
            (None, Some(sent)) if !sent.is_empty() => sent.into_owned(),
            (None, _) => return Err(invalid("`data.sub` is missing or empty: for whom is the upload?")),
        };
        let destination = self.destination(upload.to)?;
        let (object, live) = signed(destination, &upload, claims, &subject, facts)?;

        let mut payload = registered(admitted, facts)?;
        if granted.is_some() {
            payload.extend_from_slice(b",\"sub\":");
            serde_json::to_writer(&mut payload, &subject).map_err(|_| unwritable())?;
        }
        write_claims(&mut payload, claims).map_err(|_| unwritable())?;
        let (jti, subject, object) = (Some(facts.id.to_owned()), Some(subject), Some(object));
        Ok(Shaped { payload, live: Some(live), jti, subject, object })
    }
}

/// The object, and the claim with the form.
fn signed(
    destination: &Destination,
    upload: &AdmittedUpload<'_>,
    claims: Claims<'_>,
    subject: &str,
    facts: &Facts<'_>,
) -> Result<(ObjectName, LiveClaim), Refusal> {
    let invalid = |why: String| Refusal::Invalid(why.into());
    let name = destination.name.as_str();
    let content_type = destination.content_type(upload.content_type).ok_or_else(|| {
        let types = destination.listed_types();
        invalid(format!("`upload.content_type` must be one of those that {name} takes: {types}"))
    })?;
    let size = match upload.bytes {
        None => destination.size,
        Some(bytes) => destination.size.exactly(bytes).ok_or_else(|| {
            invalid(format!("`upload.bytes`: {bytes} are not the {} that {name} takes", destination.size))
        })?,
    };
    if destination.requires_sha256 && upload.sha256.is_none() {
        return Err(invalid(format!(
            "`upload.sha256` is missing: {name} takes no file whose hash is not known"
        )));
    }
    let mut uuid = [0; 16];
    rand::fill(&mut uuid).map_err(|_| Refusal::Unprepared("there are no random numbers".to_owned()))?;
    let claim = |name: &str| match name {
        "sub" => Some(subject.into()),
        name => claims.get(name).and_then(string),
    };
    let key = destination.key.key(claim, facts.id, uuid).map_err(|why| invalid(why.to_string()))?;
    let credentials = destination.access.held(facts.validity.begins()).ok_or_else(no_credentials)?;
    let policy = PostPolicy {
        place: &destination.place,
        key: &key,
        content_type,
        size,
        jti: facts.id,
        sha256: upload.sha256,
        signed_at: facts.validity.begins(),
        ends: facts.validity.ends(),
    };
    let form = policy.sign(&credentials).map_err(|why| Refusal::Unprepared(why.to_string()))?;
    let object = ObjectName { bucket: destination.place.bucket().to_owned(), key: key.as_str().to_owned() };
    let json = |form| serde_json::to_vec(&Upload::new(name, &policy, form)).map_err(|_| unwritable());
    Ok((object, LiveClaim::new(UPLOAD, json(Some(&form))?, json(None)?)))
}

/// The claim `upload`: the form, and in words what it does.
#[derive(Serialize)]
struct Upload<'a> {
    to: &'a str,
    method: &'static str,
    url: &'a str,
    /// What S3 takes. Left out where somebody only looks on.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<&'a Form>,
    key_prefix: &'a str,
    content_types: [&'a str; 1],
    min_bytes: u64,
    max_bytes: u64,
    expires: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<&'a str>,
}

impl<'a> Upload<'a> {
    fn new(to: &'a str, policy: &PostPolicy<'a>, form: Option<&'a Form>) -> Self {
        Self {
            to,
            method: "POST",
            url: policy.place.url(),
            fields: form,
            key_prefix: policy.key.prefix(),
            content_types: [policy.content_type.as_str()],
            min_bytes: policy.size.min(),
            max_bytes: policy.size.max(),
            expires: policy.ends.unix_seconds(),
            sha256: policy.sha256,
        }
    }
}

fn check_names(claims: Claims<'_>) -> Result<(), Refusal> {
    match claims.get(UPLOAD) {
        Some(_) => Err(invalid("the claim `upload` is what profile upload makes; leave it out")),
        None => Ok(()),
    }
}

fn no_credentials() -> Refusal {
    Refusal::Unprepared("there are no AWS credentials to sign the form with; the log says why".to_owned())
}

fn unwritable() -> Refusal {
    invalid("the claims cannot be written as JSON")
}

fn invalid(why: &'static str) -> Refusal {
    Refusal::Invalid(why.into())
}
