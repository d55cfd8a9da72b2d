//! What the configuration says of meetings: the profile of a Jitsi of one's own, what clients may
//! have in meeting tokens, and rules of exchange that give such tokens.
//!
//! A rule stays within what each of its clients may have, and says so at the start: a person who is
//! refused every meeting is told by nobody. Pinned by tests/e2e/test_meetings.py and test_jitsi.py.

use super::{
    raw::{RawClient, RawConfig, RawExchange, RawJaasGrant, RawJitsiGrant, RawJitsiProfile, RawMeeting},
    resolve::OutsideKey,
    values::{at, parse},
};
use crate::failure::{Failure, Outcome};
use countersign_grants::{Expression, MeetingTerms, UserMember};
use countersign_issuer::{
    GrantType, JitsiProfile, MEETING_FEATURES, MeetingGrant, MeetingService, Names, RoomPattern,
};
use countersign_jose::{Algorithm, SigningKey, SymmetricKey};
use countersign_keyring::{LocalSigner, RingName};
use countersign_settings::{Environment, SecretRef};
use std::{collections::BTreeMap, path::Path, sync::Arc};

/// The most room patterns of one client or rule: each of its requests is compared with all of them.
const MAX_ROOMS: usize = 256;

/// The members of a JaaS user.
const JAAS_USER: [&str; 6] = ["id", "name", "email", "avatar", "hidden-from-recorder", "*"];
/// The members of a user of a Jitsi.
const JITSI_USER: [&str; 5] = ["id", "name", "email", "avatar", "*"];

/// The ring of a secret that is in no store.
const SECRET_RING: &str = "jitsi";

/// The profile of a Jitsi, and its secret where it has one.
pub(super) fn jitsi(
    raw: &RawConfig,
    folder: &Path,
    environment: &Environment,
) -> Outcome<Option<(JitsiProfile, Option<OutsideKey>)>> {
    let Some(jitsi) = &raw.profiles.jitsi else { return Ok(None) };
    let fail = |setting: &str, why: &str| Err(at(&format!("profiles.jitsi.{setting}"), why));
    for (setting, text) in [("app_id", &jitsi.app_id), ("audience", &jitsi.audience)] {
        if text.is_empty() || text == "*" || text.chars().any(char::is_control) {
            return fail(setting, "must be a text; Prosody takes `*` for any, so it cannot be that");
        }
    }
    if *jitsi.app_id == *raw.issuer || jitsi.app_id.trim_end_matches('/') == raw.issuer.trim_end_matches('/')
    {
        let why = "is the issuer (`issuer`), so meeting tokens would be access tokens, and those meeting tokens; give it a name of its own";
        return fail("app_id", why);
    }
    // Prosody compares it in lower case.
    let is_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if jitsi.domain.is_empty() || !jitsi.domain.chars().all(is_domain) {
        return fail("domain", "must be the domain of the meetings, in lower case: a-z 0-9 . - _");
    }
    let (ring, key) = match (&jitsi.ring, &jitsi.secret) {
        (Some(_), Some(_)) => return fail("secret", "has a ring beside it (`ring`); keep one of them"),
        (ring, None) => (parse("profiles.jitsi.ring", ring.as_deref().unwrap_or("default"))?, None),
        (None, Some(secret)) => {
            if raw.rings.contains_key(SECRET_RING) {
                return fail(
                    "secret",
                    "there is a ring `jitsi` (`rings.jitsi`); name it as `ring`, or remove one of them",
                );
            }
            let ring: RingName = parse("profiles.jitsi.ring", SECRET_RING)?;
            (ring.clone(), Some(secret_key(jitsi, ring, secret, folder, environment)?))
        }
    };
    let RawJitsiProfile { app_id, audience, domain, .. } = jitsi.clone();
    Ok(Some((JitsiProfile { app_id, audience, domain, ring }, key)))
}

fn secret_key(
    jitsi: &RawJitsiProfile,
    ring: RingName,
    secret: &str,
    folder: &Path,
    environment: &Environment,
) -> Outcome<OutsideKey> {
    const SETTING: &str = "profiles.jitsi.secret";
    let reference: SecretRef = parse(SETTING, secret)?;
    let text = reference.read(folder, environment).map_err(|why| at(SETTING, why))?;
    // An editor puts a line end behind a secret, which is not part of it.
    let secret = text.trim_end_matches(['\r', '\n']);
    // Prosody is told one line of text. A public key would be a secret that everybody knows.
    if secret.chars().any(char::is_control) || secret.starts_with("-----BEGIN") || secret.starts_with('{') {
        let why = "must be one line of text, as in Prosody's `app_secret`; a PEM or a JWK is not a secret";
        return Err(at(SETTING, why));
    }
    let key = SymmetricKey::new(secret.as_bytes().to_vec().into());
    let key = SigningKey::symmetric(&key, Algorithm::HS256).map_err(|why| at(SETTING, why))?;
    Ok(OutsideKey { ring, signer: Arc::new(LocalSigner::new(jitsi.app_id.clone(), key)) })
}

/// Patterns of rooms.
fn rooms(key: &str, patterns: &[String], service: MeetingService) -> Outcome<Vec<RoomPattern>> {
    if patterns.len() > MAX_ROOMS {
        return Err(at(key, format!("{} patterns are more than {MAX_ROOMS}", patterns.len())));
    }
    let one = |pattern: &String| match service {
        MeetingService::Jitsi if pattern.chars().any(char::is_uppercase) => {
            Err(at(key, format!("{pattern:?}: Prosody compares rooms in lower case; write it so")))
        }
        MeetingService::Jaas | MeetingService::Jitsi => parse(key, pattern),
    };
    patterns.iter().map(one).collect()
}

fn check_user(key: &str, user: &[String], known: &[&str]) -> Outcome {
    match user.iter().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            Err(at(key, format!("{name:?} is not one of {}", known.join(", "))))
        }
    }
}

/// Features by name; `*` is every documented one, beside those that are named.
fn features(typed: &[String]) -> Names {
    let all = typed.iter().any(|name| name == "*");
    let known = MEETING_FEATURES.into_iter().filter(|_| all).map(str::to_owned);
    known.chain(typed.iter().filter(|name| *name != "*").cloned()).collect()
}

/// What a client may have in JaaS tokens.
pub(super) fn jaas_grant(raw: &RawJaasGrant, about: &str) -> Outcome<MeetingGrant> {
    check_user(&format!("{about}.jaas.user"), &raw.user, &JAAS_USER)?;
    if raw.regex.len() > MAX_ROOMS {
        let why = format!("{} patterns are more than {MAX_ROOMS}", raw.regex.len());
        return Err(at(&format!("{about}.jaas.regex"), why));
    }
    Ok(MeetingGrant {
        moderator: raw.moderator,
        any_room: raw.any_room,
        rooms: rooms(&format!("{about}.jaas.rooms"), &raw.rooms, MeetingService::Jaas)?,
        regex: raw.regex.iter().cloned().collect(),
        user: raw.user.iter().cloned().collect(),
        features: features(&raw.features),
    })
}

/// What a client may have in tokens for a Jitsi.
pub(super) fn jitsi_grant(raw: &RawJitsiGrant, about: &str) -> Outcome<MeetingGrant> {
    check_user(&format!("{about}.jitsi.user"), &raw.user, &JITSI_USER)?;
    Ok(MeetingGrant {
        moderator: raw.moderator,
        any_room: raw.any_room,
        rooms: rooms(&format!("{about}.jitsi.rooms"), &raw.rooms, MeetingService::Jitsi)?,
        regex: Names::default(),
        user: raw.user.iter().cloned().collect(),
        features: features(&raw.features),
    })
}

/// Tells of features that nobody documents: somebody may have mistyped them.
pub(super) fn warn(raw: &RawConfig, warnings: &mut Vec<String>) {
    for client in &raw.clients {
        for (table, features) in [("jaas", &client.jaas.features), ("jitsi", &client.jitsi.features)] {
            let unknown = features.iter().filter(|name| *name != "*" && !is_feature(name));
            warnings.extend(unknown.map(|name| {
                format!(
                    "clients.{}.{table}.features: {name:?} is not a documented feature; there are {}",
                    client.id,
                    MEETING_FEATURES.join(", ")
                )
            }));
        }
    }
}

fn is_feature(name: &str) -> bool {
    MEETING_FEATURES.contains(&name)
}

/// What a client may have of a service, as it was typed.
struct Typed<'a> {
    moderator: bool,
    user: &'a [String],
    features: &'a [String],
}

impl<'a> Typed<'a> {
    fn of(client: &'a RawClient, service: MeetingService) -> Self {
        match service {
            MeetingService::Jaas => {
                let RawJaasGrant { moderator, user, features, .. } = &client.jaas;
                Self { moderator: *moderator, user, features }
            }
            MeetingService::Jitsi => {
                let RawJitsiGrant { moderator, user, features, .. } = &client.jitsi;
                Self { moderator: *moderator, user, features }
            }
        }
    }

    fn sets(&self, member: &str) -> bool {
        self.user.iter().any(|name| name == member || name == "*")
    }

    fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature || name == "*" && is_feature(feature))
    }
}

/// A rule that gives meeting tokens.
struct Here<'a> {
    rule: &'a RawExchange,
    raw: &'a RawConfig,
    about: &'a str,
}

impl Here<'_> {
    fn fail(&self, setting: &str, why: impl std::fmt::Display) -> Failure {
        at(&format!("{}.{setting}", self.about), why)
    }

    fn compile(&self, setting: &str, text: &str) -> Outcome<Expression> {
        Expression::compile(text).map_err(|why| self.fail(setting, why))
    }
}

/// The meetings of a rule.
pub(super) fn terms(rule: &RawExchange, about: &str, raw: &RawConfig) -> Outcome<Option<MeetingTerms>> {
    let Some(meeting) = &rule.meeting else { return Ok(None) };
    let here = Here { rule, raw, about };
    check_rule(&here)?;
    let service = match meeting.profile.as_str() {
        "jaas" => MeetingService::Jaas,
        "jitsi" => MeetingService::Jitsi,
        other => {
            return Err(here.fail("meeting.profile", format!("{other:?} is not `jaas` or `jitsi`")));
        }
    };
    if meeting.rooms.is_empty() && meeting.room.is_none() {
        return Err(here.fail(
            "meeting.rooms",
            "for which rooms? name rooms, or say in `room` how they follow from the token",
        ));
    }
    let room = meeting.room.as_deref().map(|text| here.compile("meeting.room", text)).transpose()?;
    let moderator = meeting.moderator.as_deref();
    let moderator = moderator.map(|text| here.compile("meeting.moderator", text)).transpose()?;
    let user = user(&here, meeting)?;
    check_clients(&here, meeting, service, &user)?;
    let user = user.into_iter().filter(|(member, given)| {
        let sets = |client: &RawClient| Typed::of(client, service).sets(member.name());
        given.is_some() || here.clients().all(sets)
    });
    let mut features = BTreeMap::new();
    for (name, text) in &meeting.features {
        let expression = here.compile(&format!("meeting.features.{name}"), text)?;
        features.insert(name.clone(), expression);
    }
    Ok(Some(MeetingTerms {
        service,
        rooms: rooms(&format!("{about}.meeting.rooms"), &meeting.rooms, service)?,
        room,
        user: user.collect(),
        moderator,
        features,
    }))
}

impl Here<'_> {
    fn clients(&self) -> impl Iterator<Item = &RawClient> {
        self.raw.clients.iter().filter(|client| self.rule.clients.contains(&client.id))
    }
}

/// Settings of a rule that have no meaning for meetings.
fn check_rule(here: &Here<'_>) -> Outcome {
    let rule = here.rule;
    if rule.grants != [GrantType::TokenExchange.name()] {
        let why = format!("tokens for meetings are given by {} alone", GrantType::TokenExchange.name());
        return Err(here.fail("grants", why));
    }
    for (setting, is_set) in [
        ("refresh", rule.refresh),
        ("claims", !rule.claims.is_empty()),
        ("scopes", !rule.scopes.is_empty()),
        ("delegation", rule.delegation.is_some()),
        ("id_jags", !rule.id_jags.is_empty()),
    ] {
        if is_set {
            return Err(here
                .fail(setting, "has no effect with `meeting`, which says all of its tokens; leave it out"));
        }
    }
    if rule.clients.is_empty() {
        return Err(
            here.fail("meeting", "has no effect in a rule without `clients`, which judges actor tokens")
        );
    }
    Ok(())
}

/// All members of `user`, with the expressions of those that are named.
fn user(here: &Here<'_>, meeting: &RawMeeting) -> Outcome<BTreeMap<UserMember, Option<Expression>>> {
    let mut user: BTreeMap<_, _> = UserMember::ALL.into_iter().map(|member| (member, None)).collect();
    for (name, text) in &meeting.user {
        let setting = format!("meeting.user.{name}");
        let member = UserMember::named(name);
        let member =
            member.ok_or_else(|| here.fail(&setting, "is not one of `id`, `name`, `email`, `avatar`"))?;
        user.insert(member, Some(here.compile(&setting, text)?));
    }
    Ok(user)
}

/// What the rule gives, each of its clients must be able to have.
fn check_clients(
    here: &Here<'_>,
    meeting: &RawMeeting,
    service: MeetingService,
    user: &BTreeMap<UserMember, Option<Expression>>,
) -> Outcome {
    let profile = service.profile();
    for client in here.clients() {
        let fail = |setting: &str, missing: String| {
            let why = format!("client {:?} may not have this; add {missing} in its entry", client.id);
            Err(here.fail(setting, why))
        };
        if !client.profiles.iter().any(|name| name == profile || name == "*") {
            return fail("meeting.profile", format!("{profile:?} to `profiles`"));
        }
        let typed = Typed::of(client, service);
        if meeting.moderator.is_some() && !typed.moderator {
            return fail("meeting.moderator", format!("`{profile}.moderator = true`"));
        }
        if let Some(name) = meeting.features.keys().find(|name| !typed.has(name)) {
            return fail(&format!("meeting.features.{name}"), format!("it to `{profile}.features`"));
        }
        let given =
            user.iter().filter(|(_, expression)| expression.is_some()).map(|(member, _)| member.name());
        if let Some(name) = given.into_iter().find(|name| !typed.sets(name)) {
            return fail(&format!("meeting.user.{name}"), format!("it to `{profile}.user`"));
        }
    }
    Ok(())
}
