//! The bound of the token cache, which cannot be seen from outside.

use crate::{KeySource, TrustedIssuer, Verifier};
use countersign_jose::{Algorithm, Header, SigningInput, SigningKey, SymmetricKey, Timestamp};
use std::num::NonZeroUsize;

#[tokio::test]
async fn the_oldest_entries_make_room_for_new_ones() {
    let secret = || SymmetricKey::new(vec![7; 32].into());
    let issuer = TrustedIssuer::builder("i").keys(KeySource::HmacSecret(secret())).audiences(["a"]);
    let verifier = Verifier::builder()
        .trust(issuer.algorithms([Algorithm::HS256]).build().unwrap())
        .cache_verified_tokens(NonZeroUsize::new(8).unwrap())
        .build()
        .unwrap();
    let key = SigningKey::symmetric(&secret(), Algorithm::HS256).unwrap();
    let header = Header { alg: Algorithm::HS256, kid: None, typ: None }.encode();
    let now = Timestamp::from_unix_seconds(1000);
    for n in 0..100 {
        let claims = format!(r#"{{"iss":"i","aud":"a","exp":2000,"n":{n}}}"#);
        let input = SigningInput::new(&header, claims.as_bytes());
        let signature = key.sign(&input).unwrap();
        let token = input.finish(&signature);
        let first = verifier.verify(&token, now).await.unwrap();
        let second = verifier.verify(&token, now).await.unwrap();
        assert!(std::ptr::eq(first.verified(), second.verified()));
        assert!(verifier.cache.as_ref().unwrap().len() <= 8);
    }
}
