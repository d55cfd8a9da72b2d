//! Workload identity and public clients: which tokens of a platform are whose, and who needs to
//! prove nothing.
//!
//! A description that more than one workload can meet does not start: one without a claim, one that
//! names a repository or a service account by what can be taken over, one for tokens that were made
//! for anybody. The same goes for a public client with a grant that would be worth a token to
//! anybody.

use super::{
    exchange,
    raw::{RawClient, RawConfig, RawExchange, RawWorkload},
    upstream::RawUpstream,
    values::at,
};
use crate::failure::{Outcome, configuration};
use countersign_gateway::settings::{RawTrust, Surroundings, trusted};
use countersign_grants::{Workload, WorkloadSubject, WorkloadTokens, WorkloadTyp, Workloads};
use countersign_issuer::{GrantType, IssuerUrl, TOKEN_PATH};
use countersign_verifier::Preset;
use serde_json::Value;
use std::borrow::Cow;

/// The most entries of one client: a token may be verified by each of them.
const MAX_WORKLOADS: usize = 16;

/// The issuer of GitHub Actions, where anyone can have a repository.
const GITHUB_ACTIONS: &str = "https://token.actions.githubusercontent.com";

/// Claims that say nothing of who a token is about.
const ABOUT_THE_TOKEN: [&str; 19] = [
    "iss",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "typ",
    "ver",
    "scope",
    "scp",
    "token_use",
    "nonce",
    "auth_time",
    "acr",
    "amr",
    "tid",
    "hd",
    "email_verified",
    "runner_environment",
];

/// Claims that have the ARN of an AWS principal. Others are the account's.
const OF_AWS: [&str; 2] = ["sub", "/https:~1~1sts.amazonaws.com~1/principal_id"];

/// Claims that say to which application a token was given.
const FOR_WHOM: [&str; 3] = ["azp", "client_id", "cid"];

pub(super) fn resolve(
    raw: &RawConfig,
    issuer: &IssuerUrl,
    around: Surroundings<'_>,
) -> Outcome<Option<Workloads>> {
    let mut workloads = Vec::new();
    for client in &raw.clients {
        let about = format!("clients.{}.workloads", client.id);
        if client.workloads.len() > MAX_WORKLOADS {
            let why = format!("{} entries are more than {MAX_WORKLOADS}", client.workloads.len());
            return Err(at(&about, why));
        }
        for (index, entry) in client.workloads.iter().enumerate() {
            let about = format!("{about}[{index}]");
            workloads.push(workload(entry, client, &about, issuer, around)?);
        }
    }
    for entry in workloads.iter() {
        // An assertion that a client signs has its id as issuer.
        if let Some(client) = raw.clients.iter().find(|client| client.id == entry.issuer.name()) {
            let why = format!("its issuer has the name of the client {:?}", client.id);
            return Err(at(&format!("clients.{}.workloads", entry.client_id), why));
        }
    }
    let built = Workloads::new(issuer.as_str(), &issuer.join(TOKEN_PATH), workloads);
    built.map_err(|why| at("clients.workloads", why))
}

fn workload(
    raw: &RawWorkload,
    client: &RawClient,
    about: &str,
    issuer: &IssuerUrl,
    around: Surroundings<'_>,
) -> Outcome<Workload> {
    let preset = check_trust(&raw.trust, &format!("{about}.trust"))?;
    let mut trust = raw.trust.clone();
    trust.audiences = vec![issuer.as_str().to_owned(), issuer.join(TOKEN_PATH)];
    let trusted = trusted(&trust, &format!("{about}.trust"), around).map_err(configuration)?;
    if trusted.is_called(issuer.as_str()) {
        let why = "this is the issuer itself; its own tokens prove nothing to it";
        return Err(at(&format!("{about}.trust"), why));
    }
    let shown = match (raw.once, preset) {
        (Some(true), _) => WorkloadTokens::Once,
        // The kubelet writes one token into the pod, where it stays for most of its life.
        (Some(false), _) | (None, Some(Preset::Kubernetes)) => WorkloadTokens::Often,
        (None, _) => WorkloadTokens::OnceIfNamed,
    };
    let typ = if trust.typ.is_some() { WorkloadTyp::Named } else { WorkloadTyp::Usual };
    let claims = Claims::of(&trust);
    let about = match preset {
        // `client_id` says to whom a token was given, and it may be about a user.
        Some(Preset::Countersign) if !claims.has("sub") => WorkloadSubject::Client,
        Some(_) => WorkloadSubject::Matched,
        None => WorkloadSubject::NoUser,
    };
    Ok(Workload { client_id: client.id.clone(), issuer: trusted, shown, typ, about })
}

/// Checks what can be without reading anything.
pub(super) fn check(raw: &RawConfig) -> Outcome {
    for client in &raw.clients {
        for (index, entry) in client.workloads.iter().enumerate() {
            check_trust(&entry.trust, &format!("clients.{}.workloads[{index}].trust", client.id))?;
        }
    }
    Ok(())
}

/// Refuses what more than one workload could show.
fn check_trust(trust: &RawTrust, about: &str) -> Outcome<Option<Preset>> {
    let key = |name: &str| format!("{about}.{name}");
    for (name, is_set) in [
        ("dangerously_accept_any_audience", trust.dangerously_accept_any_audience),
        ("dangerously_accept_any_issuer", trust.dangerously_accept_any_issuer),
        ("dangerously_ignore_expiry", trust.dangerously_ignore_expiry),
    ] {
        if is_set {
            let why = "such tokens do not prove who a client is: anybody who has seen one could be it";
            return Err(at(&key(name), why));
        }
    }
    if trust.hmac_secret.is_some() {
        let why = "a secret that is shared is what this replaces; give the client a secret of its own";
        return Err(at(&key("hmac_secret"), why));
    }
    if trust.dpop {
        let why = "a token that is bound to a key is not taken as a client's; leave it out";
        return Err(at(&key("dpop"), why));
    }
    if !trust.audiences.is_empty() {
        let why = "leave it out: such a token must be made for this issuer, or for its token endpoint";
        return Err(at(&key("audiences"), why));
    }
    let preset = trust.preset.as_ref().map(|name| name.parse::<Preset>());
    let preset = preset.transpose().map_err(|why| at(&key("preset"), why))?;
    // Whatever another preset would make of it.
    let (by_id, by_name) = (trust.id.as_deref(), trust.issuer.as_deref());
    let is_itself = |name: &str| name.trim_end_matches('/') == GITHUB_ACTIONS;
    let setting = match preset {
        Some(Preset::GithubActions) => None,
        Some(_) => by_id.filter(|id| is_github(id)).map(|_| "id"),
        None => by_name.filter(|name| is_itself(name)).map(|_| "issuer"),
    };
    if let Some(setting) = setting {
        let why =
            "write preset = \"github-actions\" and as `id` the number of the repository's owner instead";
        return Err(at(&key(setting), why));
    }
    let claims = &Claims::of(trust);
    let why = match preset {
        Some(Preset::GithubActions) => of_github(claims).err(),
        Some(Preset::Kubernetes) => of_kubernetes(claims).err(),
        Some(Preset::AwsSts) => of_aws(claims).err(),
        Some(Preset::Countersign) if !["sub", "client_id"].iter().any(|name| claims.has(name)) => {
            Some("any of its tokens would do; say whose with `sub` or `client_id`".to_owned())
        }
        Some(Preset::Countersign) => None,
        None => of_issuer(trust, claims).err(),
        Some(other) => {
            let why = format!(
                "{:?} is about users, and its tokens are made for an application; for a workload of it write \
                 issuer = \"…\" and the claims that identify the workload",
                other.name()
            );
            return Err(at(&key("preset"), why));
        }
    };
    match why {
        Some(why) => Err(at(&key("claims"), why)),
        None => Ok(preset),
    }
}

/// The claims of a trust by what they mean: a JSON Pointer to a claim at the top is its name.
struct Claims<'a>(Vec<(Cow<'a, str>, &'a Value)>);

impl<'a> Claims<'a> {
    fn of(trust: &'a RawTrust) -> Self {
        Self(trust.claims.iter().map(|(name, value)| (top(name), value)).collect())
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }
}

/// The name of the claim that a pointer of one step means.
fn top(name: &str) -> Cow<'_, str> {
    match name.strip_prefix('/') {
        Some(member) if !member.contains('/') => Cow::Owned(member.replace("~1", "/").replace("~0", "~")),
        _ => Cow::Borrowed(name),
    }
}

/// Whether jobs of GitHub Actions have its tokens: at github.com, for an enterprise there, or on a
/// server of one's own.
fn is_github(issuer: &str) -> bool {
    let host = issuer.split_once("://").and_then(|(_, rest)| rest.split(['/', ':']).next());
    host.is_some_and(|host| host.eq_ignore_ascii_case("token.actions.githubusercontent.com"))
        || issuer.trim_end_matches('/').ends_with("/_services/token")
}

/// An issuer without a preset: what is known of a platform holds however its issuer is written.
fn of_issuer(trust: &RawTrust, claims: &Claims<'_>) -> Result<(), String> {
    let names = trust.issuer.iter().chain(&trust.also_known_as);
    let of_github_itself = names.clone().any(|name| is_github(name));
    let host = |name: &String| Some(name.split_once("://")?.1.split('/').next()?.to_owned());
    let hosts: Vec<String> = names.clone().filter_map(host).collect();
    let is_account = |sub: &Value| sub.as_str().is_some_and(|sub| sub.starts_with("system:serviceaccount:"));
    if of_github_itself {
        if !claims.has("repository_owner_id") {
            return Err("anyone can have a repository there; say whose with repository_owner_id".to_owned());
        }
        return of_github(claims);
    }
    if hosts.iter().any(|host| host.ends_with(".tokens.sts.global.api.aws")) {
        return of_aws(claims);
    }
    if claims.names().any(|name| name.starts_with("/kubernetes.io/"))
        || claims.get("sub").is_some_and(is_account)
    {
        return of_kubernetes(claims);
    }
    of_anybody(claims)
}

/// A repository's name can be given up and taken by somebody else, and `sub` is made of names;
/// since 2026-07-15 that of new and renamed repositories has the ids too, so a rule for the old
/// text stops matching.
fn of_github(claims: &Claims<'_>) -> Result<(), String> {
    if claims.has("sub") {
        return Err(
            "the text of `sub` is made of names and changes its form (repo:OWNER@ID/NAME@ID:… since \
                    2026-07-15); match repository_id or job_workflow_ref, and ref or environment"
                .to_owned(),
        );
    }
    for name in ["repository_id", "repository_owner_id", "actor_id", "run_id"] {
        let is_id = |value: &Value| {
            value.as_str().is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
        };
        if claims.get(name).is_some_and(|value| !is_id(value)) {
            return Err(format!("{name} is a number, written as a text: {name} = \"456\""));
        }
    }
    if !["repository_id", "job_workflow_ref"].iter().any(|name| claims.has(name)) {
        let named = claims.names().find(|name| ["repository", "repository_owner"].contains(name));
        return Err(match named {
            Some(name) => format!(
                "{name} is a name, which somebody else can take over; match repository_id (gh api repos/OWNER/NAME --jq .id)"
            ),
            None => "any repository of the owner can have such a token; say which one with repository_id"
                .to_owned(),
        });
    }
    Ok(())
}

/// A service account, by its name in its namespace or by its uid.
fn of_kubernetes(claims: &Claims<'_>) -> Result<(), String> {
    let has = |name: &str| claims.has(name);
    match claims.get("sub") {
        Some(Value::String(sub)) if is_service_account(sub) => Ok(()),
        Some(_) => Err("sub is that of a service account: system:serviceaccount:NAMESPACE:NAME".to_owned()),
        None if has("/kubernetes.io/serviceaccount/uid") => Ok(()),
        None if has("/kubernetes.io/namespace") && has("/kubernetes.io/serviceaccount/name") => Ok(()),
        None => Err("any pod of the cluster can have such a token; say whose with \
                     sub = \"system:serviceaccount:NAMESPACE:NAME\""
            .to_owned()),
    }
}

fn is_service_account(sub: &str) -> bool {
    let parts: Vec<&str> = sub.split(':').collect();
    matches!(parts.as_slice(), ["system", "serviceaccount", namespace, name] if !namespace.is_empty() && !name.is_empty())
}

/// A principal. With `SubjectMode` `OriginIdentity` the caller puts another subject into `sub`,
/// which STS never lets begin with `arn:`.
fn of_aws(claims: &Claims<'_>) -> Result<(), String> {
    let is_arn = |value: &Value| value.as_str().is_some_and(|text| text.starts_with("arn:"));
    let named: Vec<&Value> = OF_AWS.iter().filter_map(|name| claims.get(name)).collect();
    if named.is_empty() {
        return Err("any principal of the account can have such a token; say which one with \
                    sub = \"arn:aws:iam::ACCOUNT:role/NAME\""
            .to_owned());
    }
    match named.into_iter().all(is_arn) {
        true => Ok(()),
        false => Err("a principal is named by its ARN: arn:aws:iam::ACCOUNT:role/NAME".to_owned()),
    }
}

fn of_anybody(claims: &Claims<'_>) -> Result<(), String> {
    // Of a pointer into a claim, the claim.
    let within = |name: &str| name.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
    let identifying: Vec<String> = claims
        .names()
        .map(within)
        .filter(|name| !ABOUT_THE_TOKEN.contains(&name.as_str()) && !FOR_WHOM.contains(&name.as_str()))
        .collect();
    if identifying.is_empty() {
        return Err(
            "anybody with a token of this issuer could be the client; say whose it must be, by `sub` or a \
                    claim that nobody else has (`azp`, `client_id` and `cid` say for whom a token was made)"
                .to_owned(),
        );
    }
    let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
    if !is_verified && identifying.iter().all(|name| name == "email") {
        return Err("an e-mail address that nobody has verified is anybody's; match `sub`, or add \
                    email_verified = true"
            .to_owned());
    }
    Ok(())
}

/// Refuses a public client that could do, by its name alone, what nobody should.
pub(super) fn check_public(raw: &RawConfig) -> Outcome {
    for client in raw.clients.iter().filter(|client| client.public) {
        let fail = |setting: &str, why: &str| Err(at(&format!("clients.{}.{setting}", client.id), why));
        let has_proof = [
            ("secret_hashes", !client.secret_hashes.is_empty()),
            ("assertions", client.assertions.is_some()),
            ("workloads", !client.workloads.is_empty()),
        ];
        if let Some((setting, _)) = has_proof.into_iter().find(|(_, is_set)| *is_set) {
            return fail(setting, "a public client proves nothing; take out this or `public`");
        }
        if !client.introspect.is_empty() {
            return fail("introspect", "a public client proves nothing, and so may not ask about tokens");
        }
        if client.grants.is_empty() {
            return fail("public", "has no effect without `grants`");
        }
        if client.grants.iter().any(|name| name == GrantType::ClientCredentials.name()) {
            let why = "client_credentials without credentials is a token for anybody; give the client a way to \
                       prove who it is, or take out the grant";
            return fail("grants", why);
        }
        for (index, rule) in raw.exchange.iter().enumerate() {
            let acts = |other: &&RawExchange| {
                let actors = other.delegation.as_ref().map(|delegation| delegation.actors.as_slice());
                other.clients.contains(&client.id)
                    && actors.unwrap_or_default().iter().any(|actor| actor == exchange::name(rule))
            };
            // Rules for actor tokens have no clients of their own.
            if rule.clients.contains(&client.id) || raw.exchange.iter().any(|other| acts(&other)) {
                check_public_rule(client, rule, &format!("exchange[{index}]"), raw)?;
            }
        }
    }
    Ok(())
}

/// Refuses a rule by which anybody who has seen a token could have one of ours, in the name of a
/// public client.
fn check_public_rule(client: &RawClient, rule: &RawExchange, about: &str, raw: &RawConfig) -> Outcome {
    let fail = |setting: &str, why: &str| {
        let why = format!("client {:?} is public, {why}", client.id);
        Err(at(&format!("{about}.{setting}"), why))
    };
    if rule.upstream.as_ref().is_some_and(RawUpstream::takes_tokens) {
        return fail(
            "upstream",
            "so anyone who has seen a token of the provider could exchange it; use a rule that takes codes alone \
             (preset x, or userinfo without `binding`)",
        );
    }
    if rule.own.is_some() {
        return fail(
            "own",
            "so anyone who has seen a token of ours could exchange it; give the client a way to prove who it is",
        );
    }
    let Some(trust) = &rule.trust else { return Ok(()) };
    if rule.once == Some(false) {
        return fail("once", "so anyone who has seen such a token could exchange it again; leave it at true");
    }
    let endpoint = format!("{}{TOKEN_PATH}", raw.issuer.trim_end_matches('/'));
    let is_ours = |name: &String| *name == raw.issuer || *name == endpoint || *name == client.id;
    // Cognito's access tokens name the application where others name the API.
    let is_bound = trust.audiences.iter().all(is_ours)
        || trust.preset.as_deref() == Some("cognito")
        || Claims::of(trust).names().any(|name| FOR_WHOM.contains(&name));
    if is_bound {
        return Ok(());
    }
    fail(
        "trust.claims",
        "and the API that an access token was made for could exchange it; demand the application it was given to, by \
         `azp`, `client_id` or `cid`, or leave `audiences` out",
    )
}
