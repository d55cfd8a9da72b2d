//! `countersign tokens`: revoke what was minted, and see what is revoked.
//!
//! A subject or client is revoked up to a time, which is by default now and `rotation.skew`: tokens
//! of servers whose clock is ahead are among them. It needs the store and the sealing key. Pinned
//! by tests/e2e/test_revocation.py.

use super::Context;
use crate::{
    args::{RevokeArgs, TokensCommand},
    authority::Authority,
    config::Config,
    failure::{Failure, Outcome, configuration, internal, usage},
    output,
};
use countersign_grants::{Reach, Revocation, Revocations, RevocationsError};
use countersign_keyring::Keyring;
use std::time::Duration;

pub(super) async fn run(context: &Context<'_>, command: TokensCommand) -> Outcome {
    let config = context.load().await?;
    let authority = Authority::open(&config, context.environment).await?;
    // A data key of the keyring authenticates what is written.
    let keyring = authority.keyring.read().await?;
    let (access, all) = longest(&config, &keyring)?;
    let revocations = Revocations::new(authority.store(), authority.keyring.clone(), access);
    let now = authority.clock.now();
    match command {
        TokensCommand::Revoke(args) => {
            let before = now.plus(args.after_now.unwrap_or(config.skew));
            let (kind, name) = named(&args)?;
            let entry = match kind {
                Reach::Token => Revocation::single(kind, name, None, now.plus(access)),
                Reach::Family => {
                    Revocation::single(kind, name, None, now.plus(access)).kept_until(now.plus(all))
                }
                Reach::Subject | Reach::Client => Revocation::all(kind, name, before, access, all),
            };
            revocations.add_or_replace(&entry, now).await?;
            tracing::warn!(target: "countersign::audit", decision = "revoked", client = "operator", reach = word(kind), name);
            if context.json {
                let until = entry.before.map(|before| before.to_string());
                let line = serde_json::json!({ "revoked": word(kind), "name": name, "issued_until": until });
                output::line(&line.to_string());
                return Ok(());
            }
            output::line(&match entry.before {
                Some(before) => {
                    format!("all tokens of {} {name} that are issued until {before} are revoked", word(kind))
                }
                None => format!("{} {name} is revoked", word(kind)),
            });
            output::line(
                "Introspection and refresh tokens know it now; gates that follow the list (trust.revocations) within trust.revocations_every.",
            );
        }
        TokensCommand::Revoked => list(context, &revocations.entries(now).await?),
    }
    Ok(())
}

fn list(context: &Context<'_>, entries: &[Revocation]) {
    let before = |entry: &Revocation| entry.before.map(|at| at.to_string());
    if context.json {
        let row = |entry: &Revocation| {
            serde_json::json!({
                "revoked": word(entry.kind), "name": entry.shown, "issued_until": before(entry), "kept_until": entry.kept.to_string(),
            })
        };
        let rows: Vec<_> = entries.iter().map(row).collect();
        return output::line(&serde_json::json!({ "revocations": rows }).to_string());
    }
    if entries.is_empty() {
        return output::line("nothing is revoked");
    }
    for entry in entries {
        let name = entry.shown.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
        let before = before(entry).map(|at| format!(", issued until {at}")).unwrap_or_default();
        output::line(&format!("{}{name}{before}; kept until {}", word(entry.kind), entry.kept));
    }
}

fn named(args: &RevokeArgs) -> Outcome<(Reach, &str)> {
    let given = [
        (Reach::Token, &args.jti),
        (Reach::Family, &args.family),
        (Reach::Subject, &args.subject),
        (Reach::Client, &args.client),
    ];
    let found = given.into_iter().find_map(|(kind, name)| Some((kind, name.as_deref()?)));
    let (kind, name) = found.ok_or_else(|| usage("say what: --subject, --client, --jti or --family"))?;
    if name.is_empty() {
        return Err(usage(format!("--{}: the name is empty", word(kind))));
    }
    Ok((kind, name))
}

const fn word(kind: Reach) -> &'static str {
    match kind {
        Reach::Token => "token",
        Reach::Family => "family",
        Reach::Subject => "subject",
        Reach::Client => "client",
    }
}

/// The longest that an access token lives, and that anything does: by this configuration, the
/// command line included, and by every other under which a key has signed that is there still.
fn longest(config: &Config, keyring: &Keyring) -> Outcome<(Duration, Duration)> {
    let access = config.rings.iter().map(|ring| ring.rotation.longest_token).max();
    let access = access.unwrap_or_default().saturating_add(config.skew).max(keyring.longest_signed());
    let absolute =
        countersign_settings::duration::parse(&config.raw.refresh.absolute).map_err(configuration)?;
    Ok((access, access.max(absolute.saturating_add(config.skew))))
}

impl From<RevocationsError> for Failure {
    fn from(why: RevocationsError) -> Self {
        match why {
            RevocationsError::Store(why) => why.into(),
            RevocationsError::Altered => configuration(why),
            RevocationsError::Keyring(_) | RevocationsError::Full | RevocationsError::Contended => {
                internal(why)
            }
        }
    }
}
