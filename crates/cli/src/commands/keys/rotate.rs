//! `countersign keys rotate`: one turn of the rotation, and with `--publish` and `--check` all that
//! a scheduler has to do for an issuer without a server.
//!
//! Three steps, each taken whatever became of the one before, because a key that is missing in
//! public has to be put there all the same: the turn, the documents, the look from outside. Each is
//! idempotent and goes on where another was cut off, so that the next run mends what this one left.
//! The exit code is that of the first step that failed. A key that signed and was not in public is
//! no failure where the look at the end finds it there. Pinned by tests/e2e/test_scheduler.py.

use super::{Context, life::Opened};
use crate::{
    args::RotateArgs,
    authority,
    commands::publish::{self, Site},
    failure::{Failure, Outcome, away, refused},
    output,
    rotation::{self, Rotation, Turn, Unreadable, Witness},
    stores,
};
use countersign_issuer::Issuer;
use std::sync::Arc;

pub(super) async fn run(context: &Context<'_>, args: &RotateArgs) -> Outcome {
    // What cannot be done is told before anything is opened.
    let site = match &args.publish {
        Some(target) => Some(Site::connect(target, args.cloudfront.as_deref(), args.wait).await?),
        None => None,
    };
    let opened = Opened::new(context).await?;
    if let Some(target) = &args.publish {
        let config = &opened.config;
        let store = stores::url(&config.raw.store.url, &config.folder, context.environment).await?;
        publish::check_target(target, config, &store)?;
    }
    let rotation = Rotation::new(&opened.config, &opened.authority);
    let mut said = Said { context, members: serde_json::Map::new(), failures: Vec::new() };
    let mut unseen = Ok(());
    match rotation.turn(opened.authority.clock.now(), Witness::Answer).await {
        Ok(turn) => {
            unseen = not_in_public(&turn, &rotation.address);
            said.turn(&turn, &rotation.address, unseen.is_ok());
        }
        Err(why) => said.failures.push(why.into()),
    }
    if site.is_some() || args.check {
        match issuer(opened).await {
            Ok(issuer) => unseen = said.published(site.as_ref(), args.check, &issuer, unseen).await,
            // What stood in the way of the turn stands in this one, too.
            Err(_) if !said.failures.is_empty() => {}
            Err(why) => said.failures.push(why),
        }
    }
    said.end(unseen)
}

/// As the turn has left it.
async fn issuer(opened: Opened) -> Outcome<Issuer> {
    let Opened { config, authority } = opened;
    let keyring = authority.load(&config).await?;
    authority::issuer(config, keyring, Arc::clone(&authority.clock))
}

/// What is told of the steps as they are taken.
struct Said<'a> {
    context: &'a Context<'a>,
    /// For programs.
    members: serde_json::Map<String, serde_json::Value>,
    failures: Vec<Failure>,
}

impl Said<'_> {
    fn line(&self, text: &str) {
        if !self.context.json {
            output::line(text);
        }
    }

    fn turn(&mut self, turn: &Turn, address: &str, all_seen: bool) {
        match &turn.look {
            None => {}
            Some(Ok(seen)) => {
                let kids = seen.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                self.line(&format!("seen {} at {address}: {kids}", output::counted(seen.len(), "key")));
            }
            Some(Err(why)) => self.line(&format!("nothing seen at {address}: {why}")),
        }
        for (ring, kid, due) in &turn.early {
            self.line(&format!(
                "key {kid} signs in ring {ring} and is not at {address} yet; not judged before {due} (propagation)"
            ));
        }
        for done in &turn.done {
            self.line(&format!("{} key {} in ring {}", rotation::name(&done.step), done.kid, done.ring));
        }
        if turn.done.is_empty() && all_seen {
            self.line("nothing is due");
        }
        if let serde_json::Value::Object(report) = rotation::report(turn) {
            self.members.extend(report);
        }
        if let Some(why) = &turn.unreadable {
            self.members.insert("look_failed".into(), why.to_string().into());
        }
        if let Some(Ok(seen)) = &turn.look {
            self.members.insert("seen_keys".into(), seen.iter().cloned().collect());
        }
    }

    /// Publishes and checks. Returns what is left of what the turn found missing.
    async fn published(
        &mut self,
        site: Option<&Site>,
        check: bool,
        issuer: &Issuer,
        unseen: Outcome,
    ) -> Outcome {
        let brought = match site {
            None => None,
            Some(site) => match site.publish(issuer).await {
                Ok(brought) => {
                    self.line(&brought.text());
                    self.members.insert("published".into(), brought.json());
                    Some(brought)
                }
                Err(why) => {
                    self.failures.push(why);
                    None
                }
            },
        };
        if !check {
            return unseen;
        }
        match publish::check(issuer, brought.as_ref()).await {
            Ok(report) => {
                self.members.insert("documents".into(), report.json());
                match report.outcome() {
                    Ok(()) => {
                        self.line(&report.text());
                        if !report.shows_all() {
                            return unseen;
                        }
                        if let Err(why) = unseen {
                            tracing::error!("before this run, {}", why.message());
                        }
                        return Ok(());
                    }
                    Err(why) => self.failures.push(why),
                }
            }
            Err(why) => self.failures.push(why),
        }
        unseen
    }

    fn end(self, unseen: Outcome) -> Outcome {
        let Self { context, members, failures } = self;
        // What could not be seen may follow from what could not be written.
        let (before, after) = match unseen {
            Err(why) if why.is_internal() => (None, Some(why)),
            unseen => (unseen.err(), None),
        };
        let mut failures = before.into_iter().chain(failures).chain(after);
        let Some(first) = failures.next() else {
            if context.json {
                output::line(&serde_json::Value::Object(members).to_string());
            }
            return Ok(());
        };
        let first = failures.fold(first, |first, more| first.and(&format!("; and {}", more.message())));
        Err(first.with("turn", members))
    }
}

/// Whether the world can verify what is signed, as far as it could be seen.
fn not_in_public(turn: &Turn, address: &str) -> Outcome {
    if let Some(why) = &turn.unreadable {
        let text = format!(
            "the JWKS at {address} could not be read, so that nothing is known of the keys in public: {why}; see what stands at that \
             address, and run `countersign publish` if nothing is written yet"
        );
        return Err(match why {
            Unreadable::NotHad(_) => away("public_keys_unreachable", text),
            Unreadable::Other(_) => refused("public_keys_unreadable", text),
        });
    }
    let Some((ring, kid)) = turn.unseen.first() else { return Ok(()) };
    let why = format!(
        "key {kid:?} signs in ring {ring} and is not at {address}, so that verifiers refuse its tokens; \
         run `countersign publish`, or see what stands at that address"
    );
    Err(refused("active_key_not_public", why))
}
