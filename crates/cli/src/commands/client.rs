//! `countersign client`: a new client or a new secret, shown once, with the configuration to paste;
//! and who there is. Writes nothing.
//!
//! A client that proves who it is in another way has no secret: the keys of one that signs
//! assertions are its own, and only where the public ones are is told; one that runs on a platform
//! has what the platform gives it. What is printed was put through the checks of a start first,
//! with the configuration that it is for where there is one: only files that it refers to may be
//! made later. Every setting of an entry has a flag, which a test below sees to.

use super::Context;
use crate::{
    args::{ClientAuth, ClientCommand, NewClientArgs},
    client_entry::{
        Authentication, NewAssertions, NewClient, NewGrants, NewMeetings, NewRules, NewTokens, NewWorkload,
        client_entry,
    },
    config::{self, RawClient},
    failure::{Outcome, internal, refused, usage},
    hints, output,
};
use countersign_issuer::{ClientSecret, GrantType};
use countersign_verifier::Preset;
use serde::Serialize;
use std::collections::BTreeMap;
use toml::Value;

pub(super) async fn run(context: &Context<'_>, command: ClientCommand) -> Outcome {
    match command {
        ClientCommand::New(args) => new(context, &args).await,
        ClientCommand::List => list(context).await,
        ClientCommand::Secret { id } => renew(context, &id).await,
    }
}

/// Every client, and what it may have.
async fn list(context: &Context<'_>) -> Outcome {
    let config = context.load().await?;
    let rows: Vec<Row<'_>> = config.raw.clients.iter().map(Row::of).collect();
    if context.json {
        output::line(&serde_json::json!({ "clients": rows }).to_string());
        return Ok(());
    }
    if rows.is_empty() {
        output::line(&hints::carry("there is no client; make one with `countersign client new`"));
    }
    for row in rows {
        row.lines().iter().for_each(|line| output::line(line));
    }
    Ok(())
}

/// A client as it is listed. Hashes of secrets are counted and not shown.
#[derive(Serialize)]
struct Row<'c> {
    id: &'c str,
    /// How it proves who it is.
    authentication: Vec<&'static str>,
    secrets: usize,
    audiences: &'c [String],
    max_lifetime: &'c str,
    profiles: &'c [String],
    grants: &'c [String],
    scopes: &'c [String],
    /// Claims it may set.
    claims: &'c [String],
}

impl<'c> Row<'c> {
    fn of(client: &'c RawClient) -> Self {
        let ways = [
            (!client.secret_hashes.is_empty(), "secret"),
            (client.assertions.is_some(), "private_key_jwt"),
            (!client.workloads.is_empty(), "workload"),
            (client.public, "none (public)"),
        ];
        Self {
            id: &client.id,
            authentication: ways.into_iter().filter_map(|(has, way)| has.then_some(way)).collect(),
            secrets: client.secret_hashes.len(),
            audiences: &client.audiences,
            max_lifetime: &client.max_lifetime,
            profiles: &client.profiles,
            grants: &client.grants,
            scopes: &client.scopes,
            claims: &client.claims.allow,
        }
    }

    fn lines(&self) -> Vec<String> {
        let many = if self.secrets > 1 { format!(" ({} secrets)", self.secrets) } else { String::new() };
        let how = match self.authentication.join(", ") {
            how if how.is_empty() => "nothing: it cannot authenticate".to_owned(),
            how => how,
        };
        let mut lines = vec![self.id.to_owned(), format!("  authenticates by  {how}{many}")];
        let mut add = |name: &str, values: &[String]| {
            if !values.is_empty() {
                lines.push(format!("  {name:16}  {}", values.join(", ")));
            }
        };
        add("audiences", self.audiences);
        add("lifetime", &[format!("at most {}", self.max_lifetime)]);
        add("profiles", self.profiles);
        add("grants", self.grants);
        add("scopes", self.scopes);
        add("claims", self.claims);
        lines
    }
}

/// A second secret, which counts beside the one there is until that is taken out.
async fn renew(context: &Context<'_>, id: &str) -> Outcome {
    let config = context.load().await?;
    let Some(client) = config.raw.clients.iter().find(|client| client.id == id) else {
        let known: Vec<_> = config.raw.clients.iter().map(|client| client.id.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let why =
            format!("there is no client {id:?}; there is {known}; `countersign client new {id}` makes one");
        return Err(refused("client_unknown", why));
    };
    if client.secret_hashes.is_empty() {
        let why = format!(
            "the client {id:?} has no secret: it proves in another way who it is, and that has to be renewed where it is"
        );
        return Err(refused("client_without_secret", why));
    }
    let secret =
        ClientSecret::generate().ok_or_else(|| internal("the operating system gives no random numbers"))?;
    let hash = secret.hash().to_string();
    let both: Vec<&str> =
        std::iter::once(hash.as_str()).chain(client.secret_hashes.iter().map(String::as_str)).collect();
    let line = format!("secret_hashes = {}", Value::from(both));
    if context.json {
        let body = serde_json::json!({
            "client_id": id, "client_secret": secret.expose(), "secret_hash": hash, "toml": line,
        });
        output::line(&body.to_string());
        return Ok(());
    }
    output::line(&format!(
        "client_id:     {id}\nclient_secret: {}   (shown only once)\n\n\
         In {}, the entry of {id} takes both for now; reload the server (SIGHUP):\n\n{line}\n\n\
         When the client uses the new one, leave only the first hash, {hash}",
        secret.expose(),
        context.location.shown(),
    ));
    Ok(())
}

async fn new(context: &Context<'_>, args: &NewClientArgs) -> Outcome {
    check_flags(args)?;
    let secret = match args.auth {
        ClientAuth::Secret => Some(
            ClientSecret::generate()
                .ok_or_else(|| internal("the operating system gives no random numbers"))?,
        ),
        _ => None,
    };
    let (entry, how) = written(args, secret.as_ref())?;
    check_entry(context, args, &entry).await?;
    let id = &args.id;
    if context.json {
        let mut body = serde_json::json!({ "client_id": id.as_str(), "toml": entry });
        if let (Some(body), Some(secret)) = (body.as_object_mut(), &secret) {
            body.insert("client_secret".to_owned(), secret.expose().into());
            body.insert("secret_hash".to_owned(), secret.hash().to_string().into());
        }
        output::line(&body.to_string());
        return Ok(());
    }
    let to_do = where_to_add(context);
    let entry = as_added(context, &entry);
    output::line(&match &secret {
        Some(secret) => format!(
            "client_id:     {id}\nclient_secret: {}   (shown only once)\n\n{to_do}\n\n{entry}",
            secret.expose()
        ),
        None => format!("client_id: {id}\n\n{how} {to_do}\n\n{entry}"),
    });
    Ok(())
}

/// The entry of a client, and how it authenticates where it has no secret.
fn written(args: &NewClientArgs, secret: Option<&ClientSecret>) -> Outcome<(String, String)> {
    let said = |how: &str| how.to_owned();
    Ok(match (args.auth, secret) {
        (ClientAuth::Secret, Some(secret)) => (entry(args, Authentication::Secret(secret))?, String::new()),
        (ClientAuth::PrivateKeyJwt, _) => {
            let assertions = assertions(args);
            let how = format!("Its public keys are read from {}.", assertions.keys);
            (entry(args, Authentication::Assertion(&assertions))?, how)
        }
        (ClientAuth::Workload, _) => {
            let entry = entry(args, Authentication::Workload(&workload(args)?))?;
            (entry, said("It shows a token of its platform, made for the issuer."))
        }
        (ClientAuth::None | ClientAuth::Secret, _) => {
            (entry(args, Authentication::Nothing)?, said("It is public: its id is all there is to show."))
        }
    })
}

/// What a start would say of the entry. Where the configuration cannot be read on this machine, it
/// is checked by itself.
async fn check_entry(context: &Context<'_>, args: &NewClientArgs, entry: &str) -> Outcome {
    config::check_entry(entry).map_err(usage)?;
    if !context.has_configuration() {
        return match args.profile.iter().find(|name| !PROFILES.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(usage(format!(
                "--profile: there is no profile {name:?}; there are {}",
                PROFILES.join(", ")
            ))),
        };
    }
    let config = match context.load().await {
        Ok(config) => config,
        Err(why) => {
            tracing::warn!("the entry is checked by itself, because the configuration cannot be read: {why}");
            return Ok(());
        }
    };
    let id = args.id.as_str();
    if let Some(client) = config.raw.clients.iter().find(|client| client.id == id) {
        let secret = match client.secret_hashes.is_empty() {
            true => String::new(),
            false => format!("; `countersign client secret {id}` renews its secret"),
        };
        return Err(usage(format!("there is a client {id:?} already; give the new one another id{secret}")));
    }
    config::check_added(&config, entry, context.environment, context.http).map_err(usage)
}

/// Every profile there is, for a machine without a configuration.
const PROFILES: [&str; 7] = ["jwt", "access_token", "jaas", "jitsi", "upload", "id_jag", "*"];

/// Flags that do nothing without another one.
fn check_flags(args: &NewClientArgs) -> Outcome {
    let of_keys = args.jwks.is_some() || args.pem.is_some() || !args.assertion_algorithm.is_empty();
    if of_keys && args.auth != ClientAuth::PrivateKeyJwt {
        return Err(usage(
            "--jwks, --pem and --assertion-algorithm are for a client that signs assertions; add --auth private_key_jwt",
        ));
    }
    if args.workload.is_some() && args.auth != ClientAuth::Workload {
        return Err(usage("--workload is for a client that its platform vouches for; add --auth workload"));
    }
    check_profiles(args)?;
    check_grants(args)
}

fn check_profiles(args: &NewClientArgs) -> Outcome {
    let has = |profile: &str| args.profile.iter().any(|name| name == profile || name == "*");
    for (flag, is_given, profile) in [
        ("--jaas-moderator", args.jaas_moderator, "jaas"),
        ("--jaas-any-room", args.jaas_any_room, "jaas"),
        ("--jaas-room", !args.jaas_room.is_empty(), "jaas"),
        ("--jaas-regex", !args.jaas_regex.is_empty(), "jaas"),
        ("--jaas-user", !args.jaas_user.is_empty(), "jaas"),
        ("--jaas-feature", !args.jaas_feature.is_empty(), "jaas"),
        ("--jitsi-moderator", args.jitsi_moderator, "jitsi"),
        ("--jitsi-any-room", args.jitsi_any_room, "jitsi"),
        ("--jitsi-room", !args.jitsi_room.is_empty(), "jitsi"),
        ("--jitsi-user", !args.jitsi_user.is_empty(), "jitsi"),
        ("--jitsi-feature", !args.jitsi_feature.is_empty(), "jitsi"),
        ("--upload", !args.upload.is_empty(), "upload"),
    ] {
        if is_given && !has(profile) {
            return Err(usage(format!("{flag} is for tokens of profile {profile}; add --profile {profile}")));
        }
    }
    let uploads = args.profile.iter().any(|name| name == "upload");
    if uploads && args.upload.is_empty() {
        return Err(usage("profile upload: to where? add --upload NAME, of an entry [uploads.NAME]"));
    }
    if uploads && args.audience.is_empty() {
        return Err(usage(
            "profile upload: for which page? add --audience with its origin, like https://app.example.com",
        ));
    }
    Ok(())
}

fn check_grants(args: &NewClientArgs) -> Outcome {
    let by_rule = [GrantType::JwtBearer, GrantType::TokenExchange];
    let has_rule = args.grant.iter().any(|grant| by_rule.contains(grant));
    if args.grant.contains(&GrantType::RefreshToken) && !has_rule {
        let names = by_rule.map(GrantType::name).join(" or ");
        return Err(usage(format!("refresh_token goes on from another grant; add --grant {names}")));
    }
    if (args.trust.is_some() || args.provider.is_some()) && !has_rule {
        let names = by_rule.map(GrantType::name).join(" or ");
        return Err(usage(format!("--trust and --provider are for grants by rules; add --grant {names}")));
    }
    Ok(())
}

/// With which keys it signs assertions.
fn assertions(args: &NewClientArgs) -> NewAssertions {
    let file = |path: &str| format!("file:{}", path.strip_prefix("file:").unwrap_or(path));
    let (name, keys) = match (&args.pem, &args.jwks) {
        (Some(path), _) => ("pem", file(path)),
        (None, None) => ("jwks", format!("file:{}.jwks.json", args.id)),
        (None, Some(url)) if url.contains("://") => ("keys_url", url.clone()),
        (None, Some(path)) => ("jwks", file(path)),
    };
    let algorithms = args.assertion_algorithm.iter().map(|algorithm| algorithm.name().to_owned()).collect();
    NewAssertions { name, keys, algorithms }
}

/// What is to be done with the entry.
fn where_to_add(context: &Context<'_>) -> String {
    let shown = context.location.shown();
    match context.has_configuration() {
        true if context.location.is_environment() => {
            "Set this, with the entries that are in the lists already, and restart the server:".to_owned()
        }
        true => format!("Add this to {shown} and reload the server (SIGHUP), or start it:"),
        false => hints::carry(&format!(
            "There is no configuration yet; make one with `countersign init`, and add this to {shown}:"
        ))
        .into_owned(),
    }
}

/// The entry as it goes into the configuration there is: into a file as it was made, into variables
/// as lists for a shell.
fn as_added(context: &Context<'_>, entry: &str) -> String {
    let tables = entry.parse::<toml::Table>().ok().filter(|_| {
        // Without a file to add to.
        context.has_configuration() && context.location.is_environment()
    });
    let Some(tables) = tables else { return entry.trim_end().to_owned() };
    let variables = tables.into_iter().map(|(name, list)| {
        let list = list.to_string().replace('\'', "'\\''");
        format!("export COUNTERSIGN_{}='{list}'", name.to_uppercase())
    });
    variables.collect::<Vec<_>>().join("\n")
}

/// Which tokens are the client's. Whether that is narrow enough is checked with the entry.
fn workload(args: &NewClientArgs) -> Outcome<NewWorkload> {
    let known = "github-actions, kubernetes, aws-sts, countersign, or the URL of an issuer";
    let workload = args.workload.as_ref();
    let workload = workload.ok_or_else(|| usage(format!("whose tokens? add --workload with {known}")))?;
    let issuer = match (workload.contains("://"), &args.workload_id) {
        (true, None) => vec![("issuer", workload.clone())],
        (true, Some(_)) => return Err(usage("--workload-id is for a preset, and --workload is a URL")),
        (false, id) => {
            let is_known = workload.parse::<Preset>().is_ok();
            let id = id.as_ref().filter(|_| is_known);
            let id = id.ok_or_else(|| {
                usage(match is_known {
                    true => format!(
                        "what is preset {workload} made from? add --workload-id: {}",
                        made_from(workload)
                    ),
                    false => format!("there is no preset {workload:?}; --workload is {known}"),
                })
            })?;
            vec![("preset", workload.clone()), ("id", id.clone())]
        }
    };
    let mut claims = BTreeMap::new();
    for text in &args.matches {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| usage(format!("--match {text:?}: write CLAIM=VALUE")))?;
        let value = match value {
            "true" => Value::Boolean(true),
            "false" => Value::Boolean(false),
            text => Value::from(text),
        };
        if claims.insert(name.to_owned(), value).is_some() {
            return Err(usage(format!("--match names {name} twice, and a claim has one value")));
        }
    }
    Ok(NewWorkload { issuer, claims, once: args.workload_once })
}

fn made_from(preset: &str) -> &'static str {
    match preset {
        "github-actions" => "the numeric id of the repository's owner (gh api users/OWNER --jq .id)",
        _ => "the URL of the issuer",
    }
}

fn entry(args: &NewClientArgs, authentication: Authentication<'_>) -> Outcome<String> {
    let default = |given: &[String], default: &str| {
        if given.is_empty() { vec![default.to_owned()] } else { given.to_vec() }
    };
    // These profiles say themselves for whom their tokens are and which claims they have.
    let of_meetings = |name: &String| matches!(name.as_str(), "jaas" | "jitsi");
    let is_for_meetings = !args.profile.is_empty() && args.profile.iter().all(of_meetings);
    let audiences =
        if is_for_meetings { args.audience.clone() } else { default(&args.audience, "api://default") };
    let claims = if is_for_meetings { args.claim.clone() } else { default(&args.claim, "sub") };
    let tokens = match args.grant.as_slice() {
        [] => NewTokens::Claims(&claims),
        grants => NewTokens::Grants(NewGrants {
            grants,
            scopes: &args.scope,
            issuer: args.trust.as_deref().unwrap_or("https://login.example"),
            provider: args.provider.as_deref().unwrap_or("login"),
        }),
    };
    let more = NewRules {
        lifetime: &humantime::format_duration(args.lifetime).to_string().replace(' ', ""),
        profiles: &args.profile,
        scopes: &args.scope,
        deny: &args.deny_claim,
        fixed: fixed(args)?,
        schema: args.schema.as_deref(),
        default_scope: &args.default_scope,
        introspect: &args.introspect,
        dpop: args.dpop,
        uploads: &args.upload,
        jaas: NewMeetings {
            moderator: args.jaas_moderator,
            any_room: args.jaas_any_room,
            rooms: &args.jaas_room,
            regex: &args.jaas_regex,
            user: &args.jaas_user,
            features: &args.jaas_feature,
        },
        jitsi: NewMeetings {
            moderator: args.jitsi_moderator,
            any_room: args.jitsi_any_room,
            rooms: &args.jitsi_room,
            regex: &[],
            user: &args.jitsi_user,
            features: &args.jitsi_feature,
        },
    };
    let client = NewClient { id: args.id.as_str(), authentication, audiences: &audiences, tokens, more };
    Ok(client_entry(&client))
}

/// Claims that are always so. What is JSON counts as that, anything else as text.
fn fixed(args: &NewClientArgs) -> Outcome<toml::Table> {
    let mut fixed = toml::Table::new();
    for text in &args.fixed_claim {
        let (name, value) = text
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| usage(format!("--fixed-claim {text:?}: write NAME=VALUE")))?;
        let value = serde_json::from_str::<Value>(value).unwrap_or_else(|_| Value::from(value));
        if fixed.insert(name.to_owned(), value).is_some() {
            return Err(usage(format!("--fixed-claim names {name} twice, and a claim has one value")));
        }
    }
    Ok(fixed)
}
