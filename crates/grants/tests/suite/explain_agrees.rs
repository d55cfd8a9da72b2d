//! `exchange --explain` and `POST /token` on every row of a table: rules of each kind, who holds
//! the token's key, and what is asked for. What one says would be minted the other mints, and what
//! one refuses the other refuses for the same reason.

use crate::support::{self, Entry, ISSUER, NOW, SECRET, grants, route, send, signed};
use axum::http::StatusCode;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use countersign_grants::{
    Asking, Delegation, ExchangeRule, Explained, Expression, Holder, IdJagTarget, Impersonation,
    MeetingTerms, Mode, Once, RequestedType, Revocations, RuleSettings, Terms,
};
use countersign_issuer::{AudienceRequest, GrantType, Issuer, MeetingGrant, MeetingService, Names, Scope};
use countersign_jose::{Algorithm, KeySize, SigningKey};
use countersign_keyring::{SealingKey, StoredKeyring};
use countersign_store::{ManualClock, MemoryStore, Store};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const AS: &str = "https://as.example";

static LOGIN: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());
static BOTS: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::ES256, KeySize::default()).unwrap());

/// One rule of the client, changed from what accepts every token of `LOGIN`.
type Change = fn(RuleSettings) -> RuleSettings;

/// What a client may have by its rules, the first of which is asked first.
const WORLDS: [(&str, &[Change]); 15] = [
    ("plain", &[|rule| rule]),
    ("bound to others", &[|rule| RuleSettings { holder: Holder::Other, ..rule }]),
    ("bound always", &[|rule| RuleSettings { holder: Holder::ClientAlways, ..rule }]),
    ("bound always, then any", &[|rule| RuleSettings { holder: Holder::ClientAlways, ..rule }, |rule| rule]),
    ("picky, then any", &[|rule| RuleSettings { terms: when("claims.level > 3"), ..rule }, |rule| rule]),
    ("tried, then none", &[|rule| RuleSettings { mode: Mode::Audit, ..rule }]),
    ("tried, then any", &[|rule| RuleSettings { mode: Mode::Audit, ..rule }, |rule| rule]),
    ("a meeting", &[meeting]),
    ("a meeting, then access tokens", &[meeting, |rule| rule]),
    ("access tokens, then a meeting", &[|rule| rule, meeting]),
    ("an id-jag", &[id_jags]),
    ("an id-jag, then access tokens", &[id_jags, |rule| rule]),
    (
        "two authorization servers",
        &[|rule| {
            let mut rule = id_jags(rule);
            rule.id_jags.push(IdJagTarget {
                audience: "https://other.example".to_owned(),
                ..rule.id_jags[0].clone()
            });
            rule
        }],
    ),
    (
        "actors alone",
        &[|rule| RuleSettings {
            impersonation: Impersonation::Refused,
            delegation: Some(Delegation { actors: vec!["bots".to_owned()], depth: 1 }),
            ..rule
        }],
    ),
    ("short", &[|rule| RuleSettings { longest: Some(Duration::from_secs(5)), ..rule }, |rule| rule]),
];

fn when(text: &str) -> Terms {
    Terms { when: Some(Expression::compile(text).unwrap()), ..Terms::default() }
}

fn meeting(rule: RuleSettings) -> RuleSettings {
    let terms = MeetingTerms {
        service: MeetingService::Jitsi,
        rooms: vec!["team-*".parse().unwrap()],
        room: None,
        user: BTreeMap::new(),
        moderator: None,
        features: BTreeMap::new(),
    };
    RuleSettings { meeting: Some(terms), ..rule }
}

fn id_jags(rule: RuleSettings) -> RuleSettings {
    let target = IdJagTarget { audience: AS.to_owned(), client_id: None, resources: Vec::new() };
    RuleSettings { id_jags: vec![target], ..rule }
}

fn rules(world: &[Change]) -> Vec<ExchangeRule> {
    let mut rules = Vec::new();
    for (at, change) in world.iter().enumerate() {
        let source = support::source("https://login.example", &LOGIN, ISSUER, Once::GivenUp);
        let rule = RuleSettings {
            provider: Some("login".parse().unwrap()),
            scopes: ["read"].into_iter().collect(),
            ..support::rule(&format!("rule-{at}"), source)
        };
        rules.push(ExchangeRule::new(change(rule)).unwrap());
    }
    let source = support::source("https://bots.example", &BOTS, ISSUER, Once::GivenUp);
    let none = (BTreeSet::new(), BTreeSet::new());
    let bots = RuleSettings { clients: none.0, grants: none.1, ..support::rule("bots", source) };
    rules.push(ExchangeRule::new(bots).unwrap());
    rules
}

fn client(grant: GrantType) -> Entry {
    let mut entry = Entry::plain(grant, vec!["read".to_owned(), "write".to_owned()], 3600);
    entry.audiences.push(AS.to_owned());
    entry.profiles = ["access_token", "jitsi", "jaas"].map(str::to_owned).into();
    entry.meetings =
        MeetingGrant { rooms: vec!["team-b*".parse().unwrap()], user: Names::Any, ..MeetingGrant::default() };
    entry
}

/// What is shown and asked for.
#[derive(Debug, Clone)]
struct Row {
    grant: GrantType,
    bound: bool,
    level: u64,
    left: i64,
    actor: bool,
    requested: Option<RequestedType>,
    scope: Option<&'static str>,
    audience: Option<&'static str>,
    room: Option<&'static str>,
}

fn rows() -> Vec<Row> {
    let plain = Row {
        grant: GrantType::TokenExchange,
        bound: false,
        level: 1,
        left: 600,
        actor: false,
        requested: None,
        scope: None,
        audience: None,
        room: None,
    };
    let mut rows = Vec::new();
    for grant in [GrantType::TokenExchange, GrantType::JwtBearer] {
        for bound in [false, true] {
            for (level, left) in [(1, 600), (9, 600), (1, 3), (1, -100)] {
                for requested in [None, Some(RequestedType::AccessToken)] {
                    rows.push(Row { grant, bound, level, left, requested, ..plain.clone() });
                }
            }
        }
        for scope in ["read", "write", "read write", "admin"] {
            rows.push(Row { grant, scope: Some(scope), ..plain.clone() });
        }
        for audience in ["x:a", AS, "x:other"] {
            rows.push(Row { grant, audience: Some(audience), ..plain.clone() });
        }
        rows.push(Row { grant, actor: grant == GrantType::TokenExchange, ..plain.clone() });
    }
    for requested in RequestedType::ALL {
        for bound in [false, true] {
            for (audience, room) in [
                (None, None),
                (Some(AS), None),
                (None, Some("team-blue")),
                (None, Some("team-red")),
                (None, Some("x")),
            ] {
                rows.push(Row { requested: Some(requested), bound, audience, room, ..plain.clone() });
            }
        }
    }
    rows
}

impl Row {
    fn token(&self) -> String {
        let mut claims = json!({
            "iss": "https://login.example", "aud": ISSUER, "exp": NOW.unix_seconds() + self.left, "sub": "alice",
            "level": self.level,
        });
        if self.bound {
            claims["cnf"] = json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"});
        }
        signed(&LOGIN, &claims)
    }

    fn actor_token(&self) -> Option<String> {
        let claims = json!({
            "iss": "https://bots.example", "aud": ISSUER, "exp": NOW.unix_seconds() + 600, "sub": "bot",
        });
        self.actor.then(|| signed(&BOTS, &claims))
    }

    fn body(&self, token: &str, actor: Option<&str>) -> String {
        let shown = match self.grant {
            GrantType::TokenExchange => format!("subject_token={token}&subject_token_type={JWT}"),
            _ => format!("assertion={token}"),
        };
        let mut body = format!("grant_type={}&{shown}", self.grant.name());
        let urn = |kind: RequestedType| match kind {
            RequestedType::AccessToken | RequestedType::IdJag => {
                format!("urn:ietf:params:oauth:token-type:{}", kind.name())
            }
            kind => format!("urn:countersign:params:oauth:token-type:{}", kind.name()),
        };
        for (name, value) in [
            ("actor_token", actor.map(str::to_owned)),
            ("actor_token_type", actor.map(|_| JWT.to_owned())),
            ("requested_token_type", self.requested.map(urn)),
            ("scope", self.scope.map(|scope| scope.replace(' ', "+"))),
            ("audience", self.audience.map(str::to_owned)),
            ("room", self.room.map(str::to_owned)),
        ] {
            if let Some(value) = value {
                body.push_str(&format!("&{name}={value}"));
            }
        }
        body
    }
}

fn explain(world: &[Change], row: &Row, token: &str, actor: Option<&str>) -> Result<Vec<Explained>, String> {
    let entry = client(row.grant);
    let (issuer, _) = route(&[("mine", &entry)], rules(world));
    let grants = grants(&[("mine", &entry)], rules(world)).unwrap();
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Arc::new(ManualClock::at(NOW))));
    let keyring = StoredKeyring::new(Arc::clone(&store), Arc::new(SealingKey::generate().unwrap().0));
    let revocations = Revocations::new(store, keyring, Duration::from_secs(3600));
    let asking = Asking {
        client: issuer.settings().clients.find("mine").unwrap(),
        grant: row.grant,
        token,
        code: None,
        rule: None,
        actor,
        // A request that names no type asks for an access token.
        requested: Some(row.requested.unwrap_or(RequestedType::AccessToken)),
        scope: row.scope.map(|scope| Scope::parse(scope).unwrap()),
        audience: row.audience.map(|name| AudienceRequest::one(name.to_owned()).unwrap()),
        room: row.room,
        upload: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(grants.explain(&asking, &issuer, &revocations, NOW))
}

/// The claims without the token's name, which is another each time: `jti`, or the user's where a
/// meeting's token names nobody.
fn claims(text: &[u8]) -> Map<String, Value> {
    let mut claims: Map<String, Value> = serde_json::from_slice(text).unwrap();
    claims.remove("jti");
    if let Some(context) = claims.get_mut("context") {
        context["user"].as_object_mut().unwrap().remove("id");
    }
    claims
}

fn minted(
    world: &[Change],
    row: &Row,
    token: &str,
    actor: Option<&str>,
) -> Result<Map<String, Value>, String> {
    let entry = client(row.grant);
    let (_issuer, route): (Arc<Issuer>, _) = route(&[("mine", &entry)], rules(world));
    let (status, answer) =
        send(&route.unwrap(), &format!("mine:{}", SECRET.expose()), row.body(token, actor));
    if status != StatusCode::OK {
        return Err(answer["error_description"].as_str().unwrap().to_owned());
    }
    let payload = answer["access_token"].as_str().unwrap().split('.').nth(1).unwrap();
    Ok(claims(&URL_SAFE_NO_PAD.decode(payload).unwrap()))
}

/// As a description can say it (RFC 6749 §5.2).
fn described(why: &str) -> String {
    let plain = |c| match c {
        '"' => '\'',
        ' '..='~' if c != '\\' => c,
        _ => '?',
    };
    why.chars().map(plain).collect()
}

#[test]
fn an_explanation_says_what_the_token_endpoint_does_on_every_row() {
    let (mut granted, mut refused, mut with_proof) = (0, 0, 0);
    for (name, world) in WORLDS {
        for row in rows() {
            let (token, actor) = (row.token(), row.actor_token());
            let said = explain(world, &row, &token, actor.as_deref());
            let done = minted(world, &row, &token, actor.as_deref());
            let about = format!("{name}: {row:?}: {said:?}, and the endpoint: {done:?}");
            let Ok(said) = said else {
                assert!(done.is_err(), "{about}");
                continue;
            };
            let deciding = said.iter().find(|rule| rule.accepts && !rule.tried);
            let needs_proof = deciding
                .is_some_and(|rule| rule.passed.iter().any(|step| step.contains("needs a DPoP proof")));
            match (deciding.map(|rule| &rule.outcome), &done) {
                // Nobody shows one to an explanation, and here nobody did to the endpoint.
                (Some(Ok(_)), Err(why)) if needs_proof => {
                    assert!(why.contains("send a DPoP proof"), "{about}");
                    with_proof += 1;
                }
                (Some(Ok(would)), Ok(done)) => {
                    assert_eq!(&claims(would.as_bytes()), done, "{about}");
                    granted += 1;
                }
                (Some(Err(why)), Err(done)) => {
                    assert!(needs_proof || described(why) == *done, "{about}");
                    refused += 1;
                }
                (None, Err(_)) => refused += 1,
                (_, _) => panic!("{about}"),
            }
        }
    }
    assert!(granted > 100 && refused > 100 && with_proof > 10, "{granted} {refused} {with_proof}");
}
