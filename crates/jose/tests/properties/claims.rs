//! The claims policy against a second, naive reading of the same claims.

use countersign_jose::{
    Algorithm, Header, Policy, SigningInput, SigningKey, SymmetricKey, Timestamp, Unverified, VerifyingKey,
};
use serde_json::Value;
use std::{sync::LazyLock, time::Duration};

const NOW: i64 = 1_700_000_000;
const LEEWAY: i64 = 30;

static KEYS: LazyLock<(SigningKey, VerifyingKey)> = LazyLock::new(|| {
    let secret = SymmetricKey::generate(Algorithm::HS256).expect("a secret");
    let signing = SigningKey::symmetric(&secret, Algorithm::HS256).expect("a signing key");
    (signing, VerifyingKey::symmetric(&secret, Algorithm::HS256, None).expect("a verifying key"))
});

/// Any bytes as the claims of a properly signed token: the payload comes back as it was, and the
/// policy accepts nothing that a naive reader would refuse.
pub fn claims(data: &[u8]) {
    let (signing, verifying) = &*KEYS;
    let header = Header { alg: Algorithm::HS256, kid: None, typ: None }.encode();
    let input = SigningInput::new(&header, data);
    let signature = signing.sign(&input).expect("a signature");
    let token = input.finish(&signature);
    let Ok(parsed) = Unverified::parse(&token) else {
        assert!(data.len() > 12_000, "refused its own token");
        return;
    };
    let signed = parsed.verify(verifying).expect("its own signature");
    assert_eq!(signed.payload(), data);
    let policy = Policy::new().issuer("i").audiences(["a"]).leeway(Duration::from_secs(LEEWAY as u64));
    let now = Timestamp::from_unix_seconds(NOW);
    let loose = Policy::new().allow_missing_expiry();
    let strict = signed.clone().check(&policy, now);
    if let Ok(verified) = &strict {
        let claims: Value = verified.claims().expect("JSON claims");
        assert!(holds(&claims), "{claims}");
        assert_eq!(verified.registered().iss.as_deref(), Some("i"));
        assert_eq!(verified.registered().exp.map(Timestamp::unix_seconds), claims["exp"].as_i64());
    }
    if let Ok(verified) = signed.check(&loose, now) {
        let claims: Value = verified.claims().expect("JSON claims");
        // Every registered claim has its type now, so the naive reading is the whole truth for the
        // strict policy.
        assert_eq!(strict.is_ok(), holds(&claims) && claims["exp"].as_i64().is_some(), "{claims}");
    }
}

fn holds(claims: &Value) -> bool {
    let time = |name: &str, fits: &dyn Fn(i64) -> bool| match claims.get(name) {
        None => true,
        // serde_json reads `-0` as a float.
        Some(value) => value.as_i64().or((value.as_f64() == Some(0.0)).then_some(0)).is_some_and(fits),
    };
    let named = match &claims["aud"] {
        Value::String(aud) => aud == "a",
        Value::Array(many) => many.iter().any(|aud| aud == "a"),
        _ => false,
    };
    claims["iss"] == "i"
        && named
        && claims["exp"].as_i64().is_some_and(|exp| NOW < exp + LEEWAY)
        && time("nbf", &|nbf| nbf <= NOW + LEEWAY)
        && time("iat", &|iat| iat <= NOW + LEEWAY)
}
