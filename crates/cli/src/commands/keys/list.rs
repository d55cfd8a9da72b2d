//! `countersign keys list`: every key, its state, what happens next and when, and a picture of all
//! of it in time.

use super::{Context, reached};
use crate::{
    authority::{self, Authority},
    config::RingConfig,
    failure::Outcome,
    hints, output, rotation,
};
use countersign_jose::Timestamp;
use countersign_keyring::{
    Distribution, KeyRecord, KeyState, Keyring, Obstacle, Planned, RevokedKey, Ring, RingName,
    RotationPolicy, Step,
};
use std::{collections::BTreeMap, time::Duration};

/// How wide the picture is.
const COLUMNS: u64 = 48;

pub(super) async fn run(context: &Context<'_>) -> Outcome {
    let config = context.load().await?;
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority.keyring.read().await?;
    let now = authority.clock.now();
    authority::report_future_times(&keyring, config.skew, now);
    let policy = |name: &RingName| {
        let known = config.rings.iter().find(|ring| ring.spec.name == *name);
        known.or_else(|| config.rings.first()).map(|RingConfig { rotation, .. }| *rotation)
    };
    let mut rows = Vec::new();
    let mut pictures = Vec::new();
    for (name, ring) in keyring.rings() {
        let Some(policy) = policy(name).filter(|_| !ring.keys().is_empty()) else { continue };
        let plan = ring.plan(&policy, keyring.observations(), now);
        rows.extend(ring.keys().iter().map(|key| Row {
            ring: name,
            key,
            state: reached::state(&config, name, key),
            next: next(ring, key, &plan),
            waits: ring.successor().is_some_and(|waiting| waiting.kid == key.kid),
        }));
        let waiting = ring.keys().iter().find(|key| key.state == KeyState::Published);
        let shown = waiting.or(ring.active()).map(|key| key.distribution(&policy));
        pictures.push(picture(name, ring, &policy, shown.unwrap_or(policy.distribution), &plan, now));
    }
    if context.json {
        let revoked = keyring.revoked().iter().map(revoked_json);
        let rows: Vec<_> = rows.iter().map(Row::json).chain(revoked).collect();
        output::line(&serde_json::json!({ "keys": rows }).to_string());
        return Ok(());
    }
    let head = ["RING", "STATE", "ALGORITHM", "CREATED", "ORIGIN", "NEXT", "KEPT", "KID"].map(str::to_owned);
    let table: Vec<_> = std::iter::once(head)
        .chain(rows.iter().map(|row| row.cells(now)))
        .chain(keyring.revoked().iter().map(revoked_cells))
        .collect();
    for line in aligned(&table).into_iter().chain(pictures.into_iter().flatten()) {
        output::line(&line);
    }
    for line in sealing(authority.keyring.sealing().ids(), &keyring) {
        output::line(&line);
    }
    Ok(())
}

/// What is to be said of sealing keys: something only where there is more than one.
fn sealing(ids: Vec<String>, keyring: &Keyring) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for id in keyring.rings().flat_map(|(_, ring)| ring.keys()).filter_map(KeyRecord::sealed_by) {
        *counts.entry(id).or_default() += 1;
    }
    let Some((current, others)) = ids.split_first() else { return Vec::new() };
    let behind: usize =
        counts.iter().filter(|(id, _)| **id != current.as_str()).map(|(_, count)| *count).sum();
    if others.is_empty() && behind == 0 {
        return Vec::new();
    }
    let mut lines =
        vec![String::new(), format!("sealing key {current} seals; also known: {}", others.join(", "))];
    if behind > 0 {
        let behind = output::counted(behind, "key");
        let advice = format!("under another one: {behind}; `countersign keys reseal` changes that");
        lines.push(hints::carry(&advice).into_owned());
    }
    lines
}

struct Row<'k> {
    ring: &'k RingName,
    key: &'k KeyRecord,
    /// The word for its state.
    state: &'static str,
    next: Option<Planned>,
    /// Whether its turn is the next one, whenever that comes.
    waits: bool,
}

/// The planned step that is about this key; making the next one is the active key's business.
fn next(ring: &Ring, key: &KeyRecord, plan: &[Planned]) -> Option<Planned> {
    let mut steps = plan.iter().cloned();
    steps.find(|planned| match &planned.step {
        Step::Make => ring.active().is_some_and(|active| active.kid == key.kid),
        Step::Publish(kid) | Step::Activate(kid) | Step::Remove(kid) => *kid == key.kid,
    })
}

impl Row<'_> {
    fn json(&self) -> serde_json::Value {
        let Self { ring, key, state, next, .. } = self;
        serde_json::json!({
            "ring": ring, "kid": key.kid, "algorithm": key.algorithm, "state": state,
            "origin": key.origin, "created_at": key.created_at, "published_at": key.published_at,
            "activated_at": key.activated_at, "retired_at": key.retired_at,
            "needed_until": key.needed_until, "revoked_at": null,
            "bits": key.public_key().map(|public| public.bits()),
            "sealed_by": key.sealed_by(), "kms": key.remote_name(),
            "next": next.as_ref().map(|planned| serde_json::json!({
                "step": rotation::name(&planned.step), "at": planned.at,
                "waits_for": planned.obstacle.map(|obstacle| obstacle.to_string()),
            })),
        })
    }

    fn cells(&self, now: Timestamp) -> [String; 8] {
        let Self { ring, key, state, next, waits } = self;
        let unplanned = if *waits { "activate by hand" } else { "" };
        let next = next.as_ref().map_or_else(
            || unplanned.to_owned(),
            |planned| {
                let when = match planned.obstacle {
                    Some(Obstacle::NotSeen) => "once it was seen".to_owned(),
                    Some(Obstacle::GivenInFuture) => "once its times are right".to_owned(),
                    None if planned.at <= now => "now".to_owned(),
                    None => format!("in {}", rough(planned.at.since(now))),
                };
                let what =
                    if planned.step == Step::Make { "make the next" } else { rotation::name(&planned.step) };
                format!("{what} {when}")
            },
        );
        [
            ring.to_string(),
            (*state).to_owned(),
            key.algorithm.to_string(),
            key.created_at.to_string(),
            key.origin.name().to_owned(),
            next,
            // Where its private half is: the ARN, or what it is sealed by.
            key.remote_name().or(key.sealed_by()).unwrap_or_default().to_owned(),
            key.kid.clone(),
        ]
    }
}

fn revoked_json(key: &RevokedKey) -> serde_json::Value {
    serde_json::json!({
        "ring": key.ring, "kid": key.kid, "algorithm": key.algorithm, "state": "revoked",
        "origin": key.origin, "created_at": key.created_at, "activated_at": key.activated_at,
        "revoked_at": key.revoked_at, "kms": key.remote_name(),
    })
}

fn revoked_cells(key: &RevokedKey) -> [String; 8] {
    [
        key.ring.to_string(),
        "revoked".to_owned(),
        key.algorithm.to_string(),
        key.created_at.to_string(),
        key.origin.name().to_owned(),
        String::new(),
        key.remote_name().unwrap_or_default().to_owned(),
        key.kid.clone(),
    ]
}

/// A time in its two largest units.
fn rough(time: Duration) -> String {
    let minutes = time.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) if minutes == 0 => format!("{}s", time.as_secs()),
        (0, 0) => format!("{minutes}m"),
        (0, _) => format!("{hours}h {minutes}m"),
        (1..=9, _) => format!("{days}d {hours}h"),
        _ => format!("{days}d"),
    }
}

/// A line for each key from the first one's beginning to the last planned step: `·` unseen, `-`
/// published, `#` signing, `=` retired, `|` now.
fn picture(
    name: &RingName,
    ring: &Ring,
    policy: &RotationPolicy,
    distribution: Distribution,
    plan: &[Planned],
    now: Timestamp,
) -> Vec<String> {
    let begin = ring.keys().iter().map(|key| key.created_at).min().unwrap_or(now);
    let ends =
        plan.iter().map(|planned| planned.at).filter(|at| at.since(now) < Duration::from_secs(400 * 86_400));
    // So far beyond now that a key which has just come shows its state, too.
    let beyond = now.plus((now.since(begin) / 8).max(Duration::from_secs(60)));
    let end = ends.chain([now]).max().unwrap_or(now).plus(Duration::from_secs(60)).max(beyond);
    let span = end.since(begin).as_secs().max(1);
    let place = |at: Timestamp| at.since(begin).as_secs().saturating_mul(COLUMNS) / span;
    let mut lines = vec![
        String::new(),
        format!("{name}: {begin} to {end}"),
        format!(
            "  | now  \u{b7} unseen  - {}  # signing  = retired",
            KeyState::Published.name_in(distribution)
        ),
    ];
    for key in ring.keys() {
        let columns = (0..=COLUMNS).map(|column| {
            if column == place(now) {
                return '|';
            }
            let at = begin.plus(Duration::from_secs(span.saturating_mul(column) / COLUMNS));
            let passed = |instant: Option<Timestamp>| instant.is_some_and(|instant| instant <= at);
            let activated = key.activated_at.or_else(|| planned_for(plan, &key.kid, "activate"));
            let retired = key.retired_at.or_else(|| {
                let successor = ring.successor().filter(|_| key.state == KeyState::Active)?;
                planned_for(plan, &successor.kid, "activate")
            });
            let gone =
                key.needed_until(policy.keep_retired).or(retired.map(|at| at.plus(policy.keep_retired)));
            match () {
                () if key.created_at > at || passed(gone) => ' ',
                () if passed(retired) => '=',
                () if passed(activated) => '#',
                () if passed(key.published_at.or_else(|| planned_for(plan, &key.kid, "publish"))) => '-',
                () => '·',
            }
        });
        lines.push(format!("  {}  {}", columns.collect::<String>(), key.kid));
    }
    lines
}

fn planned_for(plan: &[Planned], kid: &str, step: &str) -> Option<Timestamp> {
    let about = |planned: &&Planned| match &planned.step {
        Step::Make => false,
        Step::Publish(of) | Step::Activate(of) | Step::Remove(of) => of == kid,
    };
    plan.iter().filter(about).find(|planned| rotation::name(&planned.step) == step).map(|planned| planned.at)
}

/// Columns as wide as their widest cell.
fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}
