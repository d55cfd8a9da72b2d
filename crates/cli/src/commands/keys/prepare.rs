//! `countersign keys prepare`: the next key of a ring. Verifiers of a published ring see it later;
//! those of a ring that is not published are given it from now on, and a shared secret is shown for
//! that, once.
//!
//! The secret is printed to standard output alone, as that of a client is, and nothing prints it
//! again: what is stored is sealed. Of a key that waits already nothing is shown. Pinned by
//! crates/keyring/tests/suite/handed_out.rs and tests/e2e/test_rings_by_hand.py.

use super::{
    Context,
    life::{Opened, tell},
};
use crate::{
    config::RingConfig,
    failure::{Outcome, internal, refused, usage},
    output,
};
use countersign_jose::{Algorithm, base64url};
use countersign_keyring::{Change, MadeSecret, RingName};
use serde::Serialize;
use zeroize::Zeroizing;

pub(super) async fn run(context: &Context<'_>, ring: &RingName, show_secret: bool) -> Outcome {
    let opened = Opened::new(context).await?;
    let ring = opened.ring(ring)?;
    let (name, algorithm) = (&ring.spec.name, ring.spec.algorithm);
    if algorithm.is_symmetric() {
        if !show_secret {
            let why = format!(
                "the keys of ring {name} are secrets ({algorithm}) that verifiers have to be given, and one is shown only when it is \
                 made; say --show-secret"
            );
            return Err(refused("secret_not_shown", why));
        }
        return secret(context, &opened, ring).await;
    }
    if show_secret {
        return Err(usage(format!(
            "--show-secret: the keys of ring {name} are key pairs ({algorithm}), whose private half is shown to nobody; verifiers \
             take what `countersign keys export --ring {name}` prints"
        )));
    }
    if !ring.spec.make_first_key {
        return Err(refused(
            "ring_imports",
            "the keys of this ring are made elsewhere; use `countersign keys import`",
        ));
    }
    let now = opened.authority.clock.now();
    let key = opened.authority.keyring.prepare(&ring.spec, ring.rotation.distribution, now).await?;
    let change = if key.made { Change::Made } else { Change::AlreadySo };
    if key.made {
        ring.warn_of_refusals(algorithm);
    }
    tell(context, &opened, &key.kid, change).await
}

/// A shared secret as verifiers take it (RFC 7518 §6.4).
#[derive(Serialize)]
struct SecretJwk<'a> {
    kty: &'static str,
    kid: &'a str,
    alg: Algorithm,
    k: &'a str,
}

async fn secret(context: &Context<'_>, opened: &Opened, ring: &RingConfig) -> Outcome {
    let (name, algorithm) = (&ring.spec.name, ring.spec.algorithm);
    let MadeSecret { kid, secret } =
        opened.authority.keyring.make_secret(&ring.spec, opened.authority.clock.now()).await?;
    let Some(secret) = secret else {
        let why = format!(
            "key {kid:?} of ring {name} waits for its turn already, and its secret was shown when it was made; activate it, or take it \
             away with `countersign keys remove {kid}` and make another"
        );
        return Err(refused("secret_shown_before", why));
    };
    let text = std::str::from_utf8(secret.expose_secret()).map_err(internal)?;
    let k = Zeroizing::new(base64url::encode(secret.expose_secret()));
    let jwk = SecretJwk { kty: "oct", kid: &kid, alg: algorithm, k: &k };
    let keyring = opened.authority.keyring.read().await?;
    let state = keyring.find(&kid).map(|(ring, key)| super::reached::state(&opened.config, ring, key));
    if context.json {
        let said = serde_json::json!({
            "ring": name, "kid": kid, "state": state, "changed": true, "secret": text, "jwk": jwk,
        });
        output::line(&said.to_string());
        return Ok(());
    }
    let jwk = Zeroizing::new(serde_json::to_string(&jwk).map_err(internal)?);
    output::line(&format!("key {kid} in ring {name} is {}", state.unwrap_or_default()));
    output::line(
        "Its secret, which is shown only this once, as text and as JWK; give each verifier one of them:",
    );
    output::line(text);
    output::line(&jwk);
    output::line(&format!(
        "To verify here, with either of them in a file of mode 0600: countersign verify TOKEN --secret file:PATH --algorithm {algorithm}"
    ));
    Ok(())
}
