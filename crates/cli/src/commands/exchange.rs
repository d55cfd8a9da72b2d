//! `countersign exchange --explain`: what each rule makes of a token, step by step. Mints nothing
//! and uses no token up.
//!
//! Takes the steps of `POST /token`, with the keys and revocations of the store. The token comes
//! from a file or standard input and never from the command line, which other users see. Of an
//! authorization code, what a rule makes of it can only be known by redeeming it: that is done
//! where --redirect-uri says so, and the code is used up then. Its claims are shown to who holds
//! it. Exit code 0 when something would be minted. Pinned by tests/e2e/test_exchange_explain.py.

use super::Context;
use crate::{
    args::ExchangeArgs,
    authority::{self, Authority},
    config::Config,
    failure::{Exit, Outcome, configuration, internal, usage},
    files, output,
    pasted::Pasted,
};
use countersign_grants::{AskedCode, Asking, Explained, Revocations};
use countersign_issuer::{AudienceRequest, Client, GrantType, Scope};
use serde_json::{Value, json, value::RawValue};
use std::{path::Path, sync::Arc};

pub(super) async fn run(context: &Context<'_>, args: &ExchangeArgs) -> Outcome<Exit> {
    let files = [Some(&args.token), args.actor.as_ref(), args.verifier.as_ref()];
    if files.into_iter().flatten().filter(|file| *file == "-").count() > 1 {
        return Err(usage("standard input has one token; give the other one in a file"));
    }
    let token = read(&args.token, "the token")?;
    let actor = args.actor.as_ref().map(|file| read(file, "--actor")).transpose()?;
    let verifier = args.verifier.as_ref().map(|file| read(file, "--verifier")).transpose()?;
    let scope = Some(args.scope.join(" ")).filter(|scope| !scope.is_empty());
    let scope = scope.map(|scope| Scope::parse(&scope)).transpose();
    let scope = scope.map_err(|why| usage(format!("--scope: {why}")))?;
    let audience = match args.audience.as_slice() {
        [] => None,
        [one] => Some(AudienceRequest::one(one.clone())),
        many => Some(AudienceRequest::many(many.to_vec())),
    };
    let audience = audience.transpose().map_err(|why| usage(format!("--audience: {why}")))?;

    let mut config = context.load().await?;
    let (id, grant) = who(&config, args)?;
    let client = client(&config, &id)?;
    let grants = config.grants.take().ok_or_else(|| configuration("no client has a grant (`grants`)"))?;
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority.keyring.load().await?;
    let (now, skew) = (authority.clock.now(), config.skew);
    // What is read of it does not depend on how long tokens live.
    let revocations = Revocations::new(authority.store(), authority.keyring.clone(), skew);
    let issuer = authority::issuer(config, keyring, Arc::clone(&authority.clock))?;
    let rule = args.rule.as_deref();
    let code = args.redirect_uri.as_deref().zip(verifier.as_deref());
    let code = code.map(|(redirect_uri, verifier)| AskedCode { verifier, redirect_uri });
    let (actor, room) = (actor.as_deref(), args.room.as_deref());
    let (requested, upload) = (args.requested_token_type, args.upload.as_deref());
    let (client, token) = (&client, token.as_str());
    let asking = Asking { client, grant, token, code, rule, actor, requested, scope, audience, room, upload };
    let explained = grants.explain(&asking, &issuer, &revocations, now).await.map_err(usage)?;
    // The first rule that accepts the token decides, whatever becomes of it then.
    let deciding = explained.iter().find(|rule| rule.accepts && !rule.tried);
    let minted = deciding.and_then(|rule| rule.outcome.as_ref().ok());
    if context.json {
        output::line(&report(&explained, minted)?);
    } else {
        lines(&explained, deciding, &id).iter().for_each(|line| output::line(line));
    }
    Ok(if minted.is_some() { Exit::Done } else { Exit::Refused })
}

/// What was typed where a file is named: its name, as far as that cannot be the token itself.
fn named(file: &str) -> String {
    let is_name = file.len() <= 200
        && !file.starts_with("eyJ")
        && (Path::new(file).exists()
            || ["./", "../", "/"].iter().any(|start| file.starts_with(start))
            || [".txt", ".jwt", ".json", ".token"].iter().any(|end| file.ends_with(end)));
    if is_name { format!(" {file}") } else { String::new() }
}

/// A token in a file.
fn read(file: &str, what: &str) -> Outcome<String> {
    let text = match file {
        "-" => files::read_standard_input(),
        path => files::read_text(Path::new(path)),
    };
    let name = if file == "-" { " standard input".to_owned() } else { named(file) };
    let text = text.map_err(|why| {
        usage(format!("{what} is read from a file, or from standard input with -;{name}: {why}"))
    })?;
    // An opaque token, a code or a verifier may look like anything, and is what it is.
    let pasted = Pasted::of(&text).token;
    let is_jwt = pasted.matches('.').count() == 2;
    match if is_jwt { pasted.as_str() } else { text.trim() } {
        "" => Err(usage(format!(
            "{what}: there is nothing in{}",
            if name.is_empty() { " the file" } else { &name }
        ))),
        token => Ok(token.to_owned()),
    }
}

/// Whose request it is and by which grant, where the configuration leaves one answer.
fn who(config: &Config, args: &ExchangeArgs) -> Outcome<(String, GrantType)> {
    let rules = &config.raw.exchange;
    let mut clients: Vec<&String> = rules.iter().flat_map(|rule| &rule.clients).collect();
    clients.sort();
    clients.dedup();
    let id = match (&args.client, clients.as_slice()) {
        (Some(id), _) => id.clone(),
        (None, [one]) => (*one).clone(),
        (None, []) => return Err(configuration("there is no rule (`exchange`)")),
        (None, _) => return Err(usage("several clients have rules; say which with --client")),
    };
    let of_client = rules.iter().filter(|rule| rule.clients.contains(&id));
    let mut grants: Vec<&String> = of_client.flat_map(|rule| &rule.grants).collect();
    grants.sort();
    grants.dedup();
    let grant = match (args.grant, grants.as_slice()) {
        (Some(grant), _) => Some(grant),
        (None, [one]) => GrantType::named(one),
        (None, []) => return Err(usage(format!("no rule (`exchange`) is for the client {id:?}"))),
        (None, _) => return Err(usage("the client has rules for two grants; say which with --grant")),
    };
    Ok((id, grant.ok_or_else(|| internal("a rule with a grant that there is not"))?))
}

fn client(config: &Config, id: &str) -> Outcome<Arc<Client>> {
    let client = config.clients.iter().find(|client| client.id.as_str() == id);
    client.cloned().ok_or_else(|| usage(format!("there is no client {id:?}")))
}

fn lines(explained: &[Explained], deciding: Option<&Explained>, client: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for rule in explained {
        let tried = if rule.tried { " (mode = \"audit\": only tried)" } else { "" };
        lines.push(format!("rule {}{tried}", rule.rule));
        lines.extend(rule.passed.iter().map(|step| format!("  ✓ {step}")));
        lines.push(match &rule.outcome {
            Ok(claims) => format!("  ✓ would mint {claims}"),
            Err(why) => format!("  ✗ {why}"),
        });
    }
    lines.push(match deciding {
        Some(rule) => match &rule.outcome {
            Ok(_) => format!("minted by rule {}", rule.rule),
            Err(_) => format!(
                "refused: rule {} accepts the token, and nothing can be minted for this request",
                rule.rule
            ),
        },
        None => format!("refused: no rule of {client} accepts the token"),
    });
    lines
}

fn report(explained: &[Explained], minted: Option<&String>) -> Outcome<String> {
    // The claims as they would leave: numbers of any size are not read.
    let raw = |claims: &String| RawValue::from_string(claims.clone()).map_err(internal);
    let row = |rule: &Explained| {
        let why = rule.outcome.as_ref().err();
        json!({ "rule": rule.rule, "tried": rule.tried, "accepts": rule.accepts, "passed": rule.passed, "refused": why })
    };
    #[derive(serde::Serialize)]
    struct Report {
        rules: Vec<Value>,
        would_mint: Option<Box<RawValue>>,
    }
    let would_mint = minted.map(raw).transpose()?;
    serde_json::to_string(&Report { rules: explained.iter().map(row).collect(), would_mint })
        .map_err(internal)
}
