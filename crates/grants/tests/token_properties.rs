//! What holds of every answer of `POST /token` whatever is sent: a token is within the policy of the client that proved who
//! it is, in audience, scope, lifetime and claims, and everything else is an error of RFC 6749 that mints nothing.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use axum::{
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use countersign_grants::{ClientGrants, Grants, TokenRoute};
use countersign_issuer::{
    AccessTokenProfile, AccessTokenTyp, ClaimRules, Client, ClientSecret, GrantType, HttpIssuer, Issuer,
    IssuerSettings, IssuerUrl, JWKS_PATH, JwksCertificates, JwtProfile, MintPolicy, Names, Patience, Profile,
    RequestLimits, Scope, SignatureLimits,
    http::{Peer, RateLimits, Routes},
};
use countersign_jose::{Algorithm, KeySet, KeySize, Policy, SigningKey, Timestamp, Unverified};
use countersign_keyring::{LoadedKeyring, LocalSigner};
use countersign_store::{ManualClock, MemoryStore};
use proptest::prelude::*;
use serde_json::{Value, value::to_raw_value};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

const ISSUER: &str = "https://tokens.example";
const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

static SECRET: LazyLock<ClientSecret> = LazyLock::new(|| ClientSecret::generate().unwrap());
static KEYS: LazyLock<LoadedKeyring> = LazyLock::new(|| {
    let key = SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap();
    LoadedKeyring::default()
        .with_ring("default".parse().unwrap(), Arc::new(LocalSigner::new("k1".to_owned(), key)))
});

/// What one client may have.
#[derive(Debug, Clone)]
struct Entry {
    grants: bool,
    audiences: Vec<String>,
    scopes: Vec<String>,
    default_scope: Option<String>,
    longest: u64,
    fixed: bool,
    profiles: Vec<String>,
}

impl Entry {
    fn client(&self, id: &str) -> Client {
        let fixed = if self.fixed { vec![("tenant".into(), to_raw_value("acme").unwrap())] } else { vec![] };
        Client {
            id: id.parse().unwrap(),
            secret_hashes: vec![SECRET.hash()],
            policy: MintPolicy {
                audiences: self.audiences.iter().cloned().collect(),
                max_lifetime: Duration::from_secs(self.longest),
                scopes: self.scopes.iter().cloned().collect(),
                claims: ClaimRules { allow: Names::Any, fixed, ..ClaimRules::default() },
                profiles: self.profiles.iter().cloned().collect(),
                ..MintPolicy::default()
            },
        }
    }

    fn grants(&self) -> ClientGrants {
        ClientGrants {
            grants: if self.grants {
                BTreeSet::from([GrantType::ClientCredentials])
            } else {
                BTreeSet::new()
            },
            default_scope: self.default_scope.as_deref().map(|scope| Scope::parse(scope).unwrap()),
        }
    }
}

/// The issuer with these clients, and its route where one of them has a grant.
fn route(clients: &[(&str, &Entry)]) -> (Arc<Issuer>, Option<TokenRoute>) {
    let grants = clients.iter().map(|(id, entry)| ((*id).to_owned(), entry.grants()));
    let grants = Grants::new(grants.collect::<BTreeMap<_, _>>(), None, vec![]);
    let ring = || "default".parse().unwrap();
    let profiles: Vec<Arc<dyn Profile>> = vec![
        Arc::new(JwtProfile { ring: ring() }),
        Arc::new(AccessTokenProfile { ring: ring(), typ: AccessTokenTyp::AtJwt }),
    ];
    let settings = IssuerSettings {
        issuer: IssuerUrl::parse(ISSUER, HttpIssuer::LoopbackOnly).unwrap(),
        clients: clients.iter().map(|(id, entry)| entry.client(id)).collect(),
        profiles,
        unpublished_rings: BTreeSet::new(),
        jwks_max_age: Duration::from_secs(300),
        jwks_certificates: JwksCertificates::Left,
        backdate: Duration::from_secs(5),
        limits: RequestLimits { body_bytes: 16 * 1024, json_depth: 16, token_bytes: 8192 },
        rates: RateLimits::default(),
        patience: Patience {
            max_stale: Duration::from_secs(300),
            max_stale_signing: Duration::from_secs(3600),
            clock_settles: Duration::from_secs(3600),
            skew: Duration::from_secs(60),
        },
        signatures: SignatureLimits { at_once: 1, waiting: 1024 },
        token_endpoint: None,
    };
    let clock = Arc::new(ManualClock::at(NOW));
    let issuer = Arc::new(Issuer::new(settings, KEYS.clone(), Arc::clone(&clock) as _).unwrap());
    let rates = Routes::new(Arc::clone(&issuer), Arc::new(|_| false)).rates();
    let store = Arc::new(MemoryStore::new(clock));
    let route = grants
        .map(|grants| TokenRoute::new(grants, Arc::clone(&issuer), rates, store, Duration::from_secs(60)));
    (issuer, route)
}

fn send(route: &TokenRoute, credentials: &str, body: String) -> (StatusCode, Value) {
    use base64::Engine;
    let basic = base64::engine::general_purpose::STANDARD.encode(credentials);
    let request = Request::post("/token")
        .header(header::AUTHORIZATION, format!("Basic {basic}"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let response = route.answer(request, Peer("127.0.0.1".parse().unwrap())).await;
        let status = response.status();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    })
}

fn scope_names() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(proptest::sample::select(vec!["a", "b", "ab", "a:b", "*"]), 0..4)
        .prop_map(|names| names.into_iter().map(str::to_owned).collect())
}

fn entries() -> impl Strategy<Value = Entry> {
    let audiences = proptest::collection::vec(proptest::sample::select(vec!["x:a", "x:b", "c"]), 0..3);
    let profiles = proptest::sample::subsequence(vec!["jwt", "access_token", "*"], 0..3);
    (any::<bool>(), audiences, scope_names(), any::<bool>(), 1_u64..10_000, any::<bool>(), profiles).prop_map(
        |(grants, audiences, scopes, has_default, longest, fixed, profiles)| {
            let own: Vec<String> = scopes.iter().filter(|scope| *scope != "*").cloned().collect();
            Entry {
                grants,
                audiences: audiences.into_iter().map(str::to_owned).collect(),
                default_scope: (has_default && !own.is_empty()).then(|| own.join(" ")),
                scopes,
                longest,
                fixed,
                profiles: profiles.into_iter().map(str::to_owned).collect(),
            }
        },
    )
}

/// Parameters as clients and attackers send them, already encoded.
fn parameters() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        6 => proptest::sample::select(vec!["scope", "resource", "audience"]).prop_map(str::to_owned),
        2 => proptest::sample::select(vec![
            "sub", "client_id", "act", "aud", "exp", "iss", "jti", "lifetime", "expires_in", "duration", "profile",
            "data", "claims", "requested_token_type", "subject_token", "username", "sc%6fpe", "grant_type",
            "client_secret", "client_assertion", "client_assertion_type",
        ]).prop_map(str::to_owned),
        1 => "[a-z%&=+]{0,6}",
    ];
    let values = prop_oneof![
        4 => proptest::sample::select(vec![
            "a", "b", "a+b", "a%20ab", "b+b", "a++b", "*", "a%3Ab", "x%3Aa", "x:b", "c", "client_credentials",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,8}",
        1 => "(%[0-9A-Fa-f]{2}){0,4}",
    ];
    let one = (names, values).prop_map(|(name, value)| format!("{name}={value}"));
    proptest::collection::vec(one, 0..4).prop_map(|all| all.join("&"))
}

const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_token_is_never_more_than_its_clients_entry_allows(
        mine in entries(),
        other in entries(),
        parameters in parameters(),
        id in proptest::sample::select(vec!["mine", "other", "nobody"]),
        is_right in prop::bool::weighted(0.9),
        grant in prop::bool::weighted(0.9),
    ) {
        let (issuer, route) = route(&[("mine", &mine), ("other", &other)]);
        let Some(route) = route else { return Ok(()) };
        let entry = if id == "mine" { &mine } else { &other };
        let secret = if is_right { SECRET.expose() } else { "cssec_wrong" };
        let body = if grant { format!("grant_type=client_credentials&{parameters}") } else { parameters };
        let (status, answer) = send(&route, &format!("{id}:{secret}"), body.clone());
        if status != StatusCode::OK {
            let error = answer["error"].as_str().unwrap();
            prop_assert!(ERRORS.contains(&error), "{}", answer);
            let expected = if error == "invalid_client" { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
            prop_assert_eq!(status, expected);
            prop_assert!(answer.get("access_token").is_none());
            return Ok(());
        }
        prop_assert!(is_right && id != "nobody" && entry.grants);
        let may_use = |name: &str| entry.profiles.iter().any(|profile| profile == name || profile == "*");
        prop_assert!(may_use("access_token"));

        let documents = issuer.documents();
        let keys = KeySet::parse(&documents.get(JWKS_PATH).unwrap().body, None).unwrap();
        let token = Unverified::parse(answer["access_token"].as_str().unwrap()).unwrap();
        let policy = Policy::new().issuer(ISSUER).typ("at+jwt").subject(id).audiences(&entry.audiences);
        let verified = keys.verify(token).unwrap().check(&policy, NOW).unwrap();
        let registered = verified.registered();
        prop_assert!(!registered.aud.is_empty());
        prop_assert!(registered.aud.iter().all(|audience| entry.audiences.contains(audience)), "{:?}", registered);
        let lifetime = registered.exp.unwrap().since(registered.iat.unwrap()).as_secs();
        prop_assert!(lifetime <= entry.longest.min(3600));
        prop_assert_eq!(answer["expires_in"].as_u64(), Some(lifetime - 5));
        let claims: Value = verified.claims().unwrap();
        let claims = claims.as_object().unwrap();
        prop_assert_eq!(&claims["client_id"], id);
        prop_assert_eq!(claims.get("scope"), answer.get("scope"), "what was granted is told");
        if let Some(scope) = claims.get("scope") {
            let any = entry.scopes.iter().any(|scope| scope == "*");
            let names: Vec<&str> = scope.as_str().unwrap().split(' ').collect();
            prop_assert!(names.iter().all(|name| any || entry.scopes.iter().any(|own| own == name)), "{:?}", names);
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        }
        let known = ["iss", "sub", "client_id", "aud", "iat", "nbf", "exp", "jti", "scope"];
        let own = |name: &String| known.contains(&name.as_str()) || entry.fixed && name == "tenant";
        prop_assert!(claims.keys().all(own), "{:?}", claims);
        prop_assert_eq!(claims.contains_key("tenant"), entry.fixed);
    }
}
