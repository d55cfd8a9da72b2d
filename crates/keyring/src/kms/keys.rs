//! Keys that KMS keeps: `CreateKey`, `ReplicateKey`, `GetPublicKey`, `Sign`, `ScheduleKeyDeletion`.
//!
//! RSA and ECDSA sign a `DIGEST` that is made here, so that no payload leaves the process and none
//! is too long; KMS takes Ed25519 as `RAW` alone, at most 4096 bytes. ECDSA comes back as DER and
//! leaves as R‖S. `CreateKey` is not idempotent: a key that turns out not to be needed is scheduled
//! for deletion, and every key is tagged with issuer and ring, so that none is left unmentioned. A
//! ring with `replicas` has multi-Region keys, each with its replicas before anybody learns of it;
//! a process in one of those regions signs with the replica there.

use super::{Kms, TURN, errors::classified, in_region, is_multi_region};
use crate::{KeyService, RemoteKey, RingName, ServiceError, ecdsa};
use async_trait::async_trait;
use aws_sdk_kms::{
    Client,
    config::Region,
    error::BuildError,
    primitives::Blob,
    types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec, Tag},
};
use countersign_jose::{Algorithm, KeyKind, KeySize, PublicKey};
use std::time::Duration;

/// The most bytes of a `RAW` message.
const MAX_RAW: usize = 4096;
/// How long a key that nobody needs waits for its deletion, in days: the shortest there is.
const PENDING_DAYS: i32 = 7;
/// How often a key that was just made is looked for again, and the pause before.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_millis(200);
/// The longest description of a key, in characters.
const MAX_DESCRIPTION: usize = 8192;

#[async_trait]
impl KeyService for Kms {
    async fn create(
        &self,
        ring: &RingName,
        algorithm: Algorithm,
        size: KeySize,
    ) -> Result<RemoteKey, ServiceError> {
        let Some(spec) = algorithm.kms_key_spec(size) else { return Err(no_such(algorithm)) };
        let description: String = format!("Signing key of ring {ring} of {}", self.0.issuer);
        let request = self.client().await?.create_key();
        let request = request.key_usage(KeyUsageType::SignVerify).key_spec(KeySpec::from(spec));
        let request = request.description(description.chars().take(MAX_DESCRIPTION).collect::<String>());
        let replicas = self.0.replicas.get(ring).map(Vec::as_slice).unwrap_or_default();
        let request = request.multi_region(!replicas.is_empty());
        let answer = request.set_tags(Some(self.tags(ring)?)).send().await.map_err(classified)?;
        let name = answer.key_metadata.and_then(|key| key.arn);
        let name = name.ok_or_else(|| ServiceError::Unavailable("the answer names no key".to_owned()))?;
        let mut described = self.describe(&name, algorithm).await;
        for _ in 0..LOOKS {
            // It may take a moment until all of KMS knows of it.
            if !matches!(described, Err(ServiceError::Unusable(_))) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            described = self.describe(&name, algorithm).await;
        }
        if described.is_ok()
            && let Err(why) = self.replicate(ring, &name, replicas).await
        {
            // Where it cannot be had, its tokens could not be signed.
            described = Err(why);
        }
        if described.is_err() {
            // Nobody will ever name it.
            let _ = self.discard(&name).await;
        }
        described
    }

    async fn describe(&self, name: &str, algorithm: Algorithm) -> Result<RemoteKey, ServiceError> {
        let Some(signs_with) = algorithm.kms_name() else { return Err(no_such(algorithm)) };
        let client = self.client().await?;
        let here = in_region(name, client.config().region().map(AsRef::as_ref));
        let answer = client.get_public_key().key_id(here).send().await.map_err(classified)?;
        let unusable = |why: String| ServiceError::Unusable(format!("{name}: {why}"));
        match &answer.key_usage {
            Some(KeyUsageType::SignVerify) => {}
            other => {
                let usage = other.as_ref().map_or("nothing", KeyUsageType::as_str);
                return Err(unusable(format!("it is for {usage}, not for SIGN_VERIFY")));
            }
        }
        if !answer.signing_algorithms().iter().any(|one| one.as_str() == signs_with) {
            let spec = answer.key_spec.as_ref().map_or("its kind", KeySpec::as_str);
            return Err(unusable(format!("a key of {spec} does not sign with {algorithm} ({signs_with})")));
        }
        let der = answer.public_key.ok_or_else(|| unusable("the answer has no public key".to_owned()))?;
        let public = PublicKey::from_spki_der(der.as_ref()).map_err(|why| unusable(why.to_string()))?;
        if public.kind() != algorithm.key_kind() {
            return Err(unusable(format!("its public key is not one of {algorithm}")));
        }
        // An alias may lead to another key tomorrow.
        let name = answer.key_id.ok_or_else(|| unusable("the answer names no key".to_owned()))?;
        Ok(RemoteKey { name, public })
    }

    async fn sign(&self, name: &str, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, ServiceError> {
        let Some(signs_with) = algorithm.kms_name() else { return Err(no_such(algorithm)) };
        let (kind, bytes) = match algorithm.digest(message) {
            Some(digest) => (MessageType::Digest, digest),
            None if message.len() > MAX_RAW => {
                return Err(ServiceError::TooLong { bytes: message.len(), max: MAX_RAW });
            }
            None => (MessageType::Raw, message.to_vec()),
        };
        let client = self.client().await?;
        let here = in_region(name, client.config().region().map(AsRef::as_ref));
        let turn = tokio::time::timeout(TURN, self.0.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(ServiceError::Busy) };
        let request = client.sign().key_id(here).message(Blob::new(bytes)).message_type(kind);
        let request = request.signing_algorithm(SigningAlgorithmSpec::from(signs_with));
        let answer = request.send().await.map_err(classified)?;
        let signature = answer.signature.map(Blob::into_inner).unwrap_or_default();
        match algorithm.key_kind() {
            KeyKind::Ec(_) => ecdsa::from_der(&signature, algorithm).ok_or(ServiceError::WrongSignature),
            KeyKind::Rsa | KeyKind::Ed25519 | KeyKind::Oct { .. } => Ok(signature),
        }
    }

    async fn discard(&self, name: &str) -> Result<(), ServiceError> {
        let client = self.client().await?;
        // A primary waits for the end of its replicas, which end by themselves.
        for (replica, region) in replicas_of(client, name).await? {
            let there = client.config().to_builder().region(Region::new(region)).build();
            delete_later(&Client::from_conf(there), &replica).await?;
        }
        delete_later(client, name).await
    }
}

async fn delete_later(client: &Client, name: &str) -> Result<(), ServiceError> {
    let request = client.schedule_key_deletion().key_id(name).pending_window_in_days(PENDING_DAYS);
    request.send().await.map(|_| ()).map_err(classified)
}

/// The replicas of a key, each with its region; none of a key of one region.
async fn replicas_of(client: &Client, name: &str) -> Result<Vec<(String, String)>, ServiceError> {
    if !is_multi_region(name) {
        return Ok(Vec::new());
    }
    let answer = client.describe_key().key_id(name).send().await.map_err(classified)?;
    let regions = answer.key_metadata.and_then(|key| key.multi_region_configuration);
    let replicas = regions.and_then(|regions| regions.replica_keys).unwrap_or_default();
    Ok(replicas.into_iter().filter_map(|replica| Some((replica.arn?, replica.region?))).collect())
}

impl Kms {
    /// Makes a replica of a new key in each of these regions.
    async fn replicate(&self, ring: &RingName, name: &str, regions: &[String]) -> Result<(), ServiceError> {
        for region in regions {
            let request = self.client().await?.replicate_key().key_id(name).replica_region(region);
            request.set_tags(Some(self.tags(ring)?)).send().await.map_err(classified)?;
        }
        Ok(())
    }

    /// What every key and replica is tagged with. A replica does not have the tags of its primary.
    fn tags(&self, ring: &RingName) -> Result<Vec<Tag>, ServiceError> {
        let issuer = tag("countersign-issuer", &tag_value(&self.0.issuer))?;
        Ok(vec![issuer, tag("countersign-ring", ring.as_str())?])
    }
}

fn no_such(algorithm: Algorithm) -> ServiceError {
    ServiceError::Misconfigured(format!("it has no keys for {algorithm}"))
}

fn tag(name: &str, value: &str) -> Result<Tag, ServiceError> {
    let malformed = |why: BuildError| ServiceError::Misconfigured(why.to_string());
    Tag::builder().tag_key(name).tag_value(value).build().map_err(malformed)
}

/// At most 256 letters, digits and `_ . / = + - : @` (KMS API reference, `Tag`).
fn tag_value(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_./=+-:@".contains(c);
    text.chars().map(|c| if allowed(c) { c } else { '_' }).take(256).collect()
}
