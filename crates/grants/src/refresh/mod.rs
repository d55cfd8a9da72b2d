//! `refresh_token` (RFC 6749 §6, RFC 9700 §4.14): a family of tokens, of which each is used for the
//! next one.
//!
//! `token` is the text and how it follows from the one before, `family` what a family is and may
//! become, `stored` the only code that reads and writes one. What a family was granted only
//! narrows: the scope of a request is within that of the family, the rule and the client as they
//! are now, and so is the audience. A family is granted by a rule of exchange that says so
//! (`refresh = true`), to a client that has this grant, and dies with either. Pinned by
//! `conformance`, which the tests of every store engine call, and by `tests/e2e/test_refresh.py`.

#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod family;
mod stored;
mod token;

pub use family::RefreshLimits;
pub(crate) use {
    error::{PAUSE, RefreshError},
    family::Granting,
    stored::{Begun, Families, Found, Looked},
    token::{PREFIX as REFRESH_PREFIX, RefreshToken},
};

use crate::{
    dpop,
    error::TokenError,
    exchange::ExchangeRule,
    request::{Asked, Refresh, Request},
};
use countersign_issuer::{AudienceRequest, Scope};

/// What a refresh token is worth to the client that shows it.
pub(crate) async fn ask(
    request: &Request<'_>,
    audience: Option<AudienceRequest>,
) -> Result<Asked, TokenError> {
    let shown = request.form.require("refresh_token")?;
    // What is malformed turns no token.
    let scope = request.scope()?;
    let token = RefreshToken::parse(shown).ok_or(RefreshError::Unknown)?;
    let families = request.families.ok_or(RefreshError::NoRule)?;
    let found = match families.look(request.client, &token, request.now).await? {
        Looked::Worth(found) => found,
        Looked::Replay(_) => {
            // What ends a family needs a proof that was not used before, as everything else does.
            dpop::take(request.proof, request.seen).await?;
            families.find(request.client, &token, request.now).await?
        }
    };
    let granting = &found.family.granting;
    if granting.jkt.is_some() && granting.jkt.as_deref() != request.jkt() {
        return Err(RefreshError::OtherKey.into());
    }
    let revoked = request.revocations.whole(request.now).await?;
    let (subject, client) = (Some(granting.subject.as_str()), Some(request.client));
    let family = token.family.to_string();
    if revoked.revokes_family(&family) || revoked.revokes_issued(subject, client, Some(found.family.began)) {
        return Err(RefreshError::Revoked.into());
    }
    let rule = granted_by(families, granting, request.rules).await?.ok_or(RefreshError::NoRule)?;
    let actor_rule = rule.actor_of(granting, request.rules);
    let allows = |name: &str| {
        let actor = actor_rule.is_none_or(|actor| actor.scopes().allows(name));
        actor && rule.scopes().allows(name) && request.scopes.allows(name)
    };
    let granted = granting.scope();
    let scope = match (scope, granted) {
        (Some(asked), Some(granted))
            if asked.names().all(|name| granted.names().any(|own| own == name) && allows(name)) =>
        {
            Some(asked)
        }
        (Some(_), _) => return Err(RefreshError::Scope.into()),
        (None, None) => None,
        // What rule and client have lost since is lost here too; all of it is no scope at all.
        (None, Some(granted)) => {
            let kept: Vec<&str> = granted.names().filter(|name| allows(name)).collect();
            Some(Scope::parse(&kept.join(" ")).map_err(|_| RefreshError::Scope)?)
        }
    };
    Ok(Asked {
        subject: Some(granting.subject.clone()),
        scope,
        longest: [rule.longest(), actor_rule.and_then(|actor| actor.longest()), granting.longest()]
            .into_iter()
            .flatten()
            .min(),
        claims: granting.claims(|name| rule.gives(name)),
        actors: granting.actors.clone(),
        rule: Some(rule.name().to_owned()),
        audience: Some(granting.audience(audience).ok_or(RefreshError::Audience)?),
        refresh: Refresh::Turn(Box::new(families.renewed(found, rule, actor_rule)?), token),
        ..Asked::default()
    })
}

/// The rule by which a family was granted, if it would grant it still. A family that does not know
/// its rule's name has to have one alone: which of several it was, nobody can tell.
async fn granted_by<'r>(
    families: &Families,
    family: &Granting,
    rules: &'r [ExchangeRule],
) -> Result<Option<&'r ExchangeRule>, RefreshError> {
    let mut found = None;
    for rule in rules.iter().filter(|rule| rule.refreshes(family, rules)) {
        if !families.remembers(&family.trust, rule.trust()).await? {
            continue;
        }
        if let Some(actor) = rule.actor_of(family, rules) {
            let remembered = family.actor_trust.as_deref().unwrap_or_default();
            if !families.remembers(remembered, actor.trust()).await? {
                continue;
            }
        }
        match found {
            None => found = Some(rule),
            Some(_) if family.rule.is_none() => return Ok(None),
            Some(_) => {}
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::{
        Expression, Holder, Impersonation, Mode, Once, OwnTokens, Refreshes, RuleSettings, RuleSource, Terms,
    };
    use countersign_issuer::GrantType;
    use countersign_jose::{Algorithm, SymmetricKey, Timestamp};
    use countersign_keyring::{SealingKey, StoredKeyring};
    use countersign_store::{ManualClock, MemoryStore, Store};
    use countersign_verifier::{KeySource, TrustedIssuer, TrustedIssuerBuilder};
    use std::{sync::Arc, time::Duration};

    fn rule(name: &str) -> ExchangeRule {
        ExchangeRule::new(settings(name)).unwrap()
    }

    fn settings(name: &str) -> RuleSettings {
        RuleSettings {
            name: name.to_owned(),
            clients: ["app".to_owned()].into(),
            grants: [GrantType::TokenExchange].into(),
            mode: Mode::Enforce,
            provider: None,
            source: RuleSource::Own(OwnTokens {
                audiences: ["api://theirs".to_owned()].into(),
                clients: [].into(),
            }),
            terms: Terms::default(),
            scopes: std::iter::empty::<String>().collect(),
            longest: None,
            refresh: Refreshes::ByClients,
            impersonation: Impersonation::Allowed,
            delegation: None,
            holder: Holder::Client,
            id_jags: Vec::new(),
            meeting: None,
            upload: None,
        }
    }

    /// Families of a store in memory, and what one of them remembers.
    fn families() -> Families {
        let clock = Arc::new(ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000)));
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(clock));
        let keyring = StoredKeyring::new(Arc::clone(&store), Arc::new(SealingKey::generate().unwrap().0));
        let hour = Duration::from_secs(3600);
        Families::new(store, keyring, RefreshLimits { grace: hour, idle: hour, absolute: hour, skew: hour })
    }

    fn family(families: &Families, of: &ExchangeRule, named: Option<&str>) -> Granting {
        Granting {
            client: "app".to_owned(),
            provider: String::new(),
            trust: families.remembered(of.trust()).unwrap(),
            grant: GrantType::TokenExchange.name().to_owned(),
            rule: named.map(str::to_owned),
            subject: "login:alice".to_owned(),
            scope: None,
            audiences: vec!["api://default".to_owned()],
            jkt: None,
            claims: None,
            actors: Vec::new(),
            actor_rule: None,
            actor_trust: None,
            longest: None,
        }
    }

    #[tokio::test]
    async fn a_family_that_does_not_know_its_rule_is_refreshed_by_the_only_one_that_fits() {
        let families = families();
        let family = |named: Option<&str>| family(&families, &rule("narrow"), named);
        let rules = [rule("narrow"), rule("wide")];
        let of = async |granting, rules| {
            let found = granted_by(&families, &granting, rules).await.unwrap();
            found.map(|rule| rule.name().to_owned())
        };
        assert_eq!(of(family(None), &rules[..1]).await.as_deref(), Some("narrow"));
        assert_eq!(of(family(None), &rules).await, None);
        assert_eq!(of(family(Some("wide")), &rules).await.as_deref(), Some("wide"));
        assert_eq!(of(family(Some("other")), &rules).await, None);
    }

    /// Each of them believes another token than the one that the family was granted for.
    #[tokio::test]
    async fn a_family_ends_with_a_change_of_anything_that_its_token_was_believed_by() {
        let families = families();
        let own = |audiences: &[&str], clients: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            RuleSource::Own(OwnTokens { audiences: names(audiences), clients: names(clients) })
        };
        let jwt = |changed: fn(TrustedIssuerBuilder) -> TrustedIssuerBuilder| {
            let issuer = TrustedIssuer::builder("https://login.example")
                .algorithms([Algorithm::HS256])
                .audiences(["us"])
                .keys(KeySource::HmacSecret(SymmetricKey::new(vec![1; 32].into())));
            RuleSource::Jwt(Box::new(changed(issuer).build().unwrap()), Once::GivenUp)
        };
        let same: fn(TrustedIssuerBuilder) -> TrustedIssuerBuilder = |issuer| issuer;
        let made = |source, holder, when: Option<&str>| {
            let when = when.map(|text| Expression::compile(text).unwrap());
            let terms = Terms { when, ..Terms::default() };
            ExchangeRule::new(RuleSettings { source, holder, terms, ..settings("it") }).unwrap()
        };
        for (before, after, kept) in [
            (
                made(own(&["a"], &[]), Holder::Client, None),
                made(own(&["a"], &[]), Holder::Client, None),
                true,
            ),
            (
                made(own(&["a"], &[]), Holder::Client, None),
                made(own(&["a"], &[]), Holder::Other, None),
                false,
            ),
            (
                made(own(&["a"], &[]), Holder::Other, None),
                made(own(&["a"], &[]), Holder::Client, None),
                false,
            ),
            (
                made(own(&["a"], &[]), Holder::Client, None),
                made(own(&["a"], &[]), Holder::ClientAlways, None),
                false,
            ),
            (
                made(own(&["a"], &[]), Holder::Client, None),
                made(own(&["b"], &[]), Holder::Client, None),
                false,
            ),
            (
                made(own(&["a"], &[]), Holder::Client, None),
                made(own(&["a", "b"], &[]), Holder::Client, None),
                false,
            ),
            (
                made(own(&["a"], &[]), Holder::Client, None),
                made(own(&["a"], &["c"]), Holder::Client, None),
                false,
            ),
            (
                made(own(&["a"], &[]), Holder::Client, None),
                made(own(&["a"], &[]), Holder::Client, Some("true")),
                false,
            ),
            (made(jwt(same), Holder::Client, None), made(jwt(same), Holder::Client, None), true),
            (
                made(jwt(same), Holder::Client, None),
                made(jwt(|issuer| issuer.accept_fractional_dates()), Holder::Client, None),
                false,
            ),
            (
                made(jwt(same), Holder::Client, None),
                made(
                    jwt(|issuer| issuer.keys(KeySource::HmacSecret(SymmetricKey::new(vec![2; 32].into())))),
                    Holder::Client,
                    None,
                ),
                false,
            ),
        ] {
            let granting = family(&families, &before, Some("it"));
            let rules = [after];
            let found = granted_by(&families, &granting, &rules).await.unwrap();
            assert_eq!(found.is_some(), kept, "{} and {}", before.trust(), rules[0].trust());
        }
    }

    /// Who reads the store has no key to try words with.
    #[test]
    fn what_a_family_remembers_is_another_text_under_another_sealing_key_and_names_nothing() {
        let rule = rule("it");
        let [one, other] =
            [families(), families()].map(|families| families.remembered(rule.trust()).unwrap());
        assert_ne!(one, other);
        let digest = rule.trust().rsplit(':').next().unwrap();
        assert!(!one.contains(digest) && digest.len() == 43, "{one}");
    }
}
