//! Tokens of profile `upload` from the issuer's one mint: whatever a caller says, the form is
//! within the destination, the client's policy and the session that signs it, and what the token
//! says in words is what the form does.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests say what they expect by failing")]

use base64::{Engine, engine::general_purpose::STANDARD};
use countersign_aws::credentials::Credentials;
use countersign_issuer::{
    Caller, ClaimRules, Client, ClientSecret, HttpIssuer, Ids, Issuer, IssuerSettings, IssuerUrl,
    JwksCertificates, JwtProfile, MintError, MintPolicy, Minted, Names, Patience, RequestLimits, SignRequest,
    SignatureLimits, UploadRequest, http::RateLimits,
};
use countersign_jose::{
    Algorithm, KeySize, MAX_TOKEN_BYTES, Policy, SigningKey, Timestamp, Unverified, VerifyingKey,
};
use countersign_keyring::{LoadedKeyring, LocalSigner};
use countersign_store::ManualClock;
use countersign_uploads::{Access, Destination, Place, SizeRange, UploadProfile, escaped};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
    time::{Duration, UNIX_EPOCH},
};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const ISSUER: &str = "https://tokens.example";
const PAGE: &str = "https://app.example";
/// Longer than what is a token in a header: that of a role with tags.
const SESSION: usize = 2048;

/// Destinations `photos` and `papers`, signed with credentials that end so many seconds from now.
fn issuer(ends: Option<u64>) -> Issuer {
    static KEYS: LazyLock<LoadedKeyring> = LazyLock::new(|| {
        let key = SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
        let signer = Arc::new(LocalSigner::new("k".to_owned(), key));
        LoadedKeyring::default().with_ring("default".parse().unwrap(), signer)
    });
    let access = || {
        Access::Keys(Arc::new(Credentials {
            key_id: "ASIA".to_owned(),
            secret: "secret".to_owned().into(),
            token: ends.map(|_| "t".repeat(SESSION)),
            ends: ends.map(|seconds| UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)),
        }))
    };
    let destination = |name: &str, key: &str, types: &[&str], lifetime| Destination {
        name: name.to_owned(),
        place: Place::new("a-bucket".parse().unwrap(), "eu-west-1", None, None).unwrap(),
        key: key.parse().unwrap(),
        content_types: types.iter().map(|text| text.parse().unwrap()).collect(),
        size: SizeRange::new(1, 1000).unwrap(),
        lifetime: Duration::from_secs(lifetime),
        requires_sha256: false,
        access: access(),
    };
    let ring = || "default".parse().unwrap();
    let profile = UploadProfile::new(
        ring(),
        vec![
            destination("photos", "uploads/{sub}/{uuid}", &["image/png"], 300),
            destination("papers", "in/{tenant}/{sub}/{jti}.pdf", &["application/pdf", "text/plain"], 3600),
        ],
    );
    let settings = IssuerSettings {
        issuer: IssuerUrl::parse(ISSUER, HttpIssuer::LoopbackOnly).unwrap(),
        clients: [].into_iter().collect(),
        profiles: vec![Arc::new(JwtProfile { ring: ring() }), Arc::new(profile)],
        unpublished_rings: [].into(),
        jwks_max_age: Duration::from_secs(300),
        jwks_certificates: JwksCertificates::Left,
        backdate: Duration::from_secs(5),
        limits: RequestLimits { body_bytes: 1 << 20, json_depth: 16, token_bytes: 8192 },
        rates: RateLimits::default(),
        signatures: SignatureLimits { at_once: 1, waiting: 16 },
        patience: Patience {
            max_stale: Duration::from_secs(300),
            max_stale_signing: Duration::from_secs(3600),
            skew: Duration::from_secs(60),
            clock_settles: Duration::from_secs(86_400),
        },
        token_endpoint: None,
    };
    Issuer::new(settings, KEYS.clone(), Arc::new(ManualClock::at(NOW))).unwrap()
}

fn client(uploads: &[&str]) -> Client {
    Client {
        id: "web".parse().unwrap(),
        secret_hashes: vec![ClientSecret::generate().unwrap().hash()],
        policy: MintPolicy {
            audiences: [PAGE].into_iter().collect(),
            max_lifetime: Duration::from_secs(7200),
            claims: ClaimRules { allow: Names::Any, ..ClaimRules::default() },
            profiles: ["upload"].into_iter().collect(),
            uploads: uploads.iter().copied().collect(),
            ..MintPolicy::default()
        },
    }
}

fn mint(issuer: &Issuer, client: &Client, claims: &Value, upload: &Value) -> Result<Minted, MintError> {
    let (data, upload) = (claims.to_string(), upload.to_string());
    let mut request = SignRequest::from_parts(&data, None, Some(Cow::Borrowed("upload")), None, 16)?;
    request.upload = Some(UploadRequest::parse(&upload)?);
    let ids = Ids::random()?;
    let minting = issuer.mint(Caller::Client(client), &request, NOW, &ids, None);
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(minting)
}

/// The claims, as a verifier of this type of token reads them.
fn verified(issuer: &Issuer, token: &str) -> Value {
    let keys = issuer.keyring();
    let (_, ring) = keys.rings().next().unwrap();
    let jwk = &ring.public_keys()[0].jwk;
    let key = VerifyingKey::new(&jwk.key, jwk.algorithm, Some(jwk.kid.clone())).unwrap();
    let policy = Policy::new().issuer(ISSUER).audiences([PAGE]).typ("upload+jwt");
    Unverified::parse(token).unwrap().verify(&key).unwrap().check(&policy, NOW).unwrap().claims().unwrap()
}

/// What the token says in words is what its form and policy do.
fn check_form(claims: &Value) {
    let upload = &claims["upload"];
    let fields = upload["fields"].as_object().unwrap();
    let policy = STANDARD.decode(fields["policy"].as_str().unwrap()).unwrap();
    let policy: Value = serde_json::from_slice(&policy).unwrap();
    let conditions = policy["conditions"].as_array().unwrap();
    for (name, value) in
        fields.iter().filter(|(name, _)| !["policy", "x-amz-signature"].contains(&name.as_str()))
    {
        assert!(conditions.contains(&json!({ name: value })), "{name}");
    }
    let range = json!(["content-length-range", upload["min_bytes"], upload["max_bytes"]]);
    let other: Vec<_> = conditions.iter().filter(|condition| condition.is_array()).collect();
    assert_eq!(other, [&range]);
    assert_eq!(conditions.len(), fields.len() - 2 + 2, "each field once, the bucket and the sizes");
    assert_eq!(fields["Content-Type"], upload["content_types"][0]);
    assert_eq!(upload["content_types"].as_array().unwrap().len(), 1);
    assert_eq!(fields["x-amz-meta-jti"], claims["jti"]);
    assert_eq!(upload["expires"], claims["exp"]);
    assert!(fields["key"].as_str().unwrap().starts_with(upload["key_prefix"].as_str().unwrap()));
}

#[test]
fn a_session_bounds_the_form_and_may_make_the_token_longer_than_one_for_a_header() {
    for (ends, lifetime) in [(100, 100), (300, 300), (4000, 300)] {
        let issuer = issuer(Some(ends));
        let minted = mint(&issuer, &client(&["photos"]), &json!({"sub": "a"}), &json!({})).unwrap();
        let claims = verified(&issuer, &minted.token);
        check_form(&claims);
        assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), lifetime);
        assert!(claims["exp"].as_i64().unwrap() <= 1_800_000_000 + i64::try_from(ends).unwrap());
        assert_eq!(claims["upload"]["fields"]["x-amz-security-token"].as_str().unwrap().len(), SESSION);
        assert!((8192..=MAX_TOKEN_BYTES).contains(&minted.token.len()), "{}", minted.token.len());
    }
    for ends in [0, 1, 29] {
        let refused = mint(&issuer(Some(ends)), &client(&["photos"]), &json!({"sub": "a"}), &json!({}));
        assert_eq!(refused.unwrap_err().code(), "unprepared", "{ends}");
    }
}

/// Who has a form can upload, so somebody who looks on gets none.
#[test]
fn a_preview_says_what_the_form_does_and_has_nothing_that_could_be_sent() {
    let (issuer, client) = (issuer(Some(300)), client(&["photos"]));
    let mut request =
        SignRequest::from_parts(r#"{"sub":"a"}"#, None, Some(Cow::Borrowed("upload")), None, 16).unwrap();
    request.upload = Some(UploadRequest::default());
    let ids = Ids::random().unwrap();
    let preview = issuer.preview(Caller::Client(&client), &request, NOW, &ids);
    let preview = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(preview).unwrap();
    let text = String::from_utf8(preview.claims().to_vec()).unwrap();
    for secret in ["x-amz-signature", "x-amz-security-token", "policy", "ASIA", "ttttt", "fields"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let mut claims: Value = serde_json::from_str(&text).unwrap();
    let minted = mint(&issuer, &client, &json!({"sub": "a"}), &json!({})).unwrap();
    let mut real = verified(&issuer, &minted.token);
    real["upload"].as_object_mut().unwrap().remove("fields").unwrap();
    for claims in [&mut claims, &mut real] {
        claims.as_object_mut().unwrap().remove("jti").unwrap();
    }
    assert_eq!(claims, real);
}

/// A request that comes sooner gets the same error again.
#[test]
fn who_cannot_be_served_for_want_of_credentials_is_told_to_come_when_the_chain_is_asked_again() {
    assert_eq!(countersign_issuer::http::UNPREPARED, countersign_aws::credentials::PAUSE);
}

#[test]
fn other_tokens_keep_their_limit() {
    let long = json!({"sub": "a", "x": "y".repeat(9000)}).to_string();
    let request = SignRequest::from_parts(&long, None, None, None, 16).unwrap();
    let issuer = issuer(None);
    let policy = MintPolicy { audiences: [PAGE].into_iter().collect(), ..MintPolicy::operator() };
    let ids = Ids::random().unwrap();
    let minting = issuer.mint(Caller::Operator(&policy), &request, NOW, &ids, None);
    let refused = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(minting);
    assert_eq!(refused.unwrap_err().code(), "token_too_long");
}

#[test]
fn only_what_the_client_may_use_is_used_and_named_where_there_is_one() {
    let issuer = issuer(None);
    let claims = json!({"sub": "a", "tenant": "t"});
    let code = |uploads: &[&str], upload: Value| {
        let minted = mint(&issuer, &client(uploads), &claims, &upload);
        minted.map_or_else(|why| why.code().to_owned(), |minted| minted.object.unwrap().key)
    };
    let begins = |uploads: &[&str], upload: Value, prefix: &str| {
        let key = code(uploads, upload);
        assert!(key.starts_with(prefix), "{key}");
    };
    begins(&["photos"], json!({}), "uploads/a/");
    begins(&["photos"], json!({"to": "photos"}), "uploads/a/");
    begins(&["photos", "papers"], json!({"to": "papers", "content_type": "text/plain"}), "in/t/a/");
    begins(&["*"], json!({"to": "photos"}), "uploads/a/");
    assert_eq!(code(&["photos", "papers"], json!({})), "invalid_request");
    assert_eq!(code(&["*"], json!({})), "invalid_request");
    assert_eq!(code(&["*"], json!({"to": "nowhere"})), "invalid_request");
    assert_eq!(code(&["photos"], json!({"to": "papers"})), "outside_policy");
    assert_eq!(code(&["photos"], json!({"to": "nowhere"})), "outside_policy");
    assert_eq!(code(&[], json!({"to": "photos"})), "outside_policy");
    assert_eq!(code(&[], json!({})), "invalid_request");
}

fn texts() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "/",
        "..",
        "~",
        "%2f",
        "${filename}",
        "{uuid}",
        "a",
        "B",
        "\0",
        "\n",
        " ",
        "ä",
        ":",
        "\\",
        "photos",
        "papers",
        "image/png",
        "application/pdf",
        ",",
        "*",
    ]);
    prop_oneof![".{0,20}", prop::collection::vec(parts, 0..5).prop_map(|parts| parts.concat())]
}

/// What somebody may ask for: mostly what there is, and everything else.
fn requests() -> impl Strategy<Value = Value> {
    let to = prop_oneof![Just(json!("photos")), Just(json!("papers")), texts().prop_map(Value::from)];
    let kind = prop_oneof![
        Just(json!("image/png")),
        Just(json!("application/pdf")),
        texts().prop_map(Value::from),
        Just(Value::Null)
    ];
    let bytes = prop_oneof![
        Just(Value::Null),
        (0..1200_u64).prop_map(Value::from),
        any::<u64>().prop_map(Value::from)
    ];
    let hash = prop_oneof![
        Just(Value::Null),
        any::<[u8; 32]>().prop_map(|hash| Value::from(STANDARD.encode(hash))),
        texts().prop_map(Value::from)
    ];
    (to, kind, bytes, hash).prop_map(|(to, kind, bytes, hash)| {
        let members = [("to", to), ("content_type", kind), ("bytes", bytes), ("sha256", hash)];
        members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_asked_the_form_is_for_one_object_below_the_claims_of_its_token(
        sub in texts(), tenant in texts(), upload in requests(), may in prop::sample::select(vec!["photos", "papers", "*"])
    ) {
        let issuer = issuer(None);
        let minted = mint(&issuer, &client(&[may]), &json!({"sub": sub, "tenant": tenant}), &upload);
        let Ok(minted) = minted else { return Ok(()) };
        let claims = verified(&issuer, &minted.token);
        check_form(&claims);
        let found = &claims["upload"];
        let to = found["to"].as_str().unwrap();
        prop_assert!(may == "*" || may == to);
        prop_assert_eq!(claims["sub"].as_str(), Some(sub.as_str()));
        let (prefix, types): (String, &[&str]) = match to {
            "photos" => (format!("uploads/{}/", escaped(&sub)), &["image/png"]),
            _ => (format!("in/{}/{}/", escaped(&tenant), escaped(&sub)), &["application/pdf", "text/plain"]),
        };
        prop_assert_eq!(found["key_prefix"].as_str(), Some(prefix.as_str()));
        let key = found["fields"]["key"].as_str().unwrap();
        prop_assert_eq!(key.matches('/').count(), prefix.matches('/').count());
        prop_assert!(types.contains(&found["content_types"][0].as_str().unwrap()));
        prop_assert!(found["min_bytes"].as_u64() >= Some(1) && found["max_bytes"].as_u64() <= Some(1000));
        let object = minted.object.unwrap();
        prop_assert_eq!((object.bucket.as_str(), object.key.as_str()), ("a-bucket", key));
        prop_assert_eq!(found["sha256"].as_str(), upload.get("sha256").and_then(Value::as_str));
    }
}
