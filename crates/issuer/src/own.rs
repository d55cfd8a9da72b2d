//! The issuer's own tokens, shown to it again: to be introspected or revoked.

use crate::Issuer;
use countersign_jose::{Policy, Timestamp, Unverified, Verified, VerifyingKey};

impl Issuer {
    /// A token of this issuer's that is valid now. Keys that are published sign what verifiers may see; a token of another is
    /// none of these.
    pub fn own(&self, token: &str, now: Timestamp) -> Option<Verified> {
        let token = Unverified::parse(token).ok()?;
        let keys = self.keyring();
        let published = keys.rings().filter(|(name, _)| !self.settings().unpublished_rings.contains(*name));
        let jwk = published
            .flat_map(|(_, ring)| ring.public_keys())
            .find(|key| Some(key.jwk.kid.as_str()) == token.unverified_kid())
            .map(|key| &key.jwk)?;
        let key = VerifyingKey::new(&jwk.key, jwk.algorithm, Some(jwk.kid.clone())).ok()?;
        // An ID-JAG is worth something to another authorization server alone, and a form to a bucket.
        let policy = Policy::new().issuer(self.settings().issuer.as_str()).for_requests();
        token.verify(&key).ok()?.check(&policy, now).ok()
    }
}
