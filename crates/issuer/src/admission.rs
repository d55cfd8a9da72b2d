//! Admission: the one place that applies a client's policy to what it asks for, whatever the
//! profile.
//!
//! Profiles, names of claims (allow, deny, fixed), types of registered claims, scopes, schema,
//! audience and lifetime are judged here and nowhere else, before a profile sees anything:
//! `Profile::shape` takes an [`Admitted`], which only [`admit`] makes. [`check_policy`] is the same
//! at the start: a setting that one of the client's profiles would ignore is refused there. A name
//! in `deny` that begins with `/` is a JSON Pointer and reaches inside claims; a claim whose own
//! name looks like one is never minted (docs/decisions/0029). Pinned by `tests/policy.rs` and
//! `tests/mint_properties.rs`.

use crate::{
    grant::IdJag,
    names::Names,
    policy::{Audience, Denial, MeetingGrant, MintPolicy, Rule},
    profile::{Profile, Refusal, Takes, Ways},
    request::SignRequest,
    schema::{EXACT_NUMBERS, Unaccepted},
    scope::Scope,
    upload::{AdmittedUpload, UploadRequest},
};
use countersign_jose::{
    ClaimName, MAX_CLAIMS_DEPTH, Timestamp, check_registered_claim,
    json::{Object, kind, same},
    quoted,
};
use serde_json::value::RawValue;
use std::time::Duration;

/// What a profile may shape: a request that its caller's policy allows.
#[derive(Debug)]
pub struct Admitted<'a> {
    claims: Claims<'a>,
    audience: Option<Audience<'a>>,
    granted: Option<AdmittedGrant<'a>>,
    upload: Option<AdmittedUpload<'a>>,
    lifetime: Duration,
    policy: &'a MintPolicy,
}

impl<'a> Admitted<'a> {
    /// What was sent, with the fixed claims of the client.
    pub fn claims(&self) -> Claims<'a> {
        self.claims
    }

    /// The audience, for a profile that has one of the caller's choice.
    pub fn audience(&self) -> Option<Audience<'a>> {
        self.audience
    }

    /// What a grant says of the token, where it came by one.
    pub fn granted(&self) -> Option<AdmittedGrant<'a>> {
        self.granted
    }

    /// What is to be uploaded, for a profile whose tokens are for that.
    pub fn upload(&self) -> Option<AdmittedUpload<'a>> {
        self.upload
    }

    /// From `iat` to `exp`.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The policy, for what a profile grants beyond claims.
    pub fn policy(&self) -> &'a MintPolicy {
        self.policy
    }
}

/// What a grant may say of a token.
#[derive(Debug, Clone, Copy)]
pub struct AdmittedGrant<'a> {
    /// Whom it is about; the client itself if none.
    pub subject: Option<&'a str>,
    /// What it is good for: scopes of the client's policy.
    pub scope: Option<&'a str>,
    /// The key that it is bound to.
    pub jkt: Option<&'a str>,
    /// Who acts for the subject, the one that acts now first.
    pub actors: &'a [String],
    /// What an ID-JAG says beside.
    pub id_jag: Option<IdJag<'a>>,
}

/// Claims that were sent and those that are fixed, each name once. A fixed claim has its fixed
/// value.
#[derive(Debug, Clone, Copy)]
pub struct Claims<'a> {
    sent: &'a Object<'a>,
    fixed: &'a [(String, Box<RawValue>)],
}

impl<'a> Claims<'a> {
    /// Name and value of each, the fixed ones first.
    pub fn members(self) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
        let fixed = self.fixed.iter().map(|(name, value)| (name.as_str(), value.as_ref()));
        fixed.chain(self.sent.members().filter(move |(name, _)| !self.is_fixed(name)))
    }

    /// The text of one value.
    pub fn get(self, name: &str) -> Option<&'a RawValue> {
        let fixed = self.fixed.iter().find(|(fixed, _)| fixed == name);
        fixed.map(|(_, value)| value.as_ref()).or_else(|| self.sent.get(name))
    }

    fn is_fixed(self, name: &str) -> bool {
        self.fixed.iter().any(|(fixed, _)| fixed == name)
    }

    /// What was sent, as it will leave: a fixed claim that was sent too has its fixed value.
    fn sent(self) -> impl Iterator<Item = (&'a str, &'a RawValue)> {
        self.sent.members().map(move |(name, value)| (name, self.get(name).unwrap_or(value)))
    }
}

/// Applies a policy to a request.
///
/// # Errors
///
/// The first rule that the request breaks.
pub(crate) fn admit<'a>(
    profile: &dyn Profile,
    request: &'a SignRequest<'_>,
    policy: &'a MintPolicy,
    now: Timestamp,
) -> Result<Admitted<'a>, Refusal> {
    let takes = profile.takes();
    if !policy.profiles.allows(profile.name()) {
        let what = format!("the profile {}", quoted(profile.name()));
        return Err(Denial::new(Rule::Profiles, what).into());
    }
    let granted = granted(profile, request, policy)?;
    let upload = uploaded(profile, request.upload.as_ref(), policy)?;
    let claims = Claims { sent: &request.data, fixed: &policy.claims.fixed };
    check_data(profile, policy, &request.data)?;
    let audience = match (takes, request.audience.as_ref()) {
        (Takes::Claims, asked) => Some(policy.audience(asked)?),
        (Takes::Members(_), None) => None,
        (Takes::Members(_), Some(_)) => {
            let why = format!("`metadata.audience` has no place in profile {}", profile.name());
            return Err(Refusal::Invalid(format!("{why}; its audience is always the same").into()));
        }
    };
    let lifetime = policy.lifetime(request.duration)?;
    let by_grant = request.granted.as_ref().and_then(|granted| granted.longest);
    let by_profile = profile.longest(upload.as_ref(), request.duration, now)?;
    let longest = by_grant.into_iter().chain(by_profile).min();
    let lifetime = longest.map_or(lifetime, |longest| lifetime.min(longest));
    if let Some(schema) = &policy.claims.schema {
        schema.check(claims.sent()).map_err(|why| Denial::new(Rule::ClaimsSchema, unaccepted(why)))?;
    }
    Ok(Admitted { claims, audience, granted, upload, lifetime, policy })
}

/// Whether the profile is minted by the way the request came, and the scope is one of the client's.
fn granted<'a>(
    profile: &dyn Profile,
    request: &'a SignRequest<'_>,
    policy: &MintPolicy,
) -> Result<Option<AdmittedGrant<'a>>, Refusal> {
    match (&request.granted, profile.ways()) {
        (None, Ways::Asked | Ways::Both) => Ok(None),
        (Some(granted), Ways::Granted | Ways::Both) => {
            if let Some(scope) = granted.scope {
                policy.check_scope_names(scope.names())?;
            }
            let scope = granted.scope.map(Scope::as_str);
            let (subject, actors, jkt) = (granted.subject, granted.actors, granted.jkt);
            Ok(Some(AdmittedGrant { subject, scope, actors, jkt, id_jag: granted.id_jag }))
        }
        (None, Ways::Granted) => {
            let why = format!("tokens of profile {} are minted by the grants of POST /token", profile.name());
            Err(Refusal::Invalid(why.into()))
        }
        (Some(_), Ways::Asked) => {
            let why = format!("tokens of profile {} are not minted by a grant", profile.name());
            Err(Refusal::Invalid(why.into()))
        }
    }
}

/// The upload that is asked for, if the client may use its destination: the one that is named, or
/// the only one there is.
pub(crate) fn uploaded<'a>(
    profile: &dyn Profile,
    asked: Option<&'a UploadRequest<'_>>,
    policy: &'a MintPolicy,
) -> Result<Option<AdmittedUpload<'a>>, Refusal> {
    if !profile.takes_upload() {
        return match asked {
            None => Ok(None),
            Some(_) => {
                Err(Refusal::Invalid(format!("`upload` has no place in profile {}", profile.name()).into()))
            }
        };
    }
    let only = || match &policy.uploads {
        Names::Listed(names) => <&[String; 1]>::try_from(names.as_slice()).ok().map(|[only]| only.as_str()),
        Names::Any => None,
    };
    let to = asked.and_then(|asked| asked.to.as_deref()).or_else(only);
    let to = to.ok_or(Refusal::Invalid("`upload.to` is missing: the name of a destination".into()))?;
    if !policy.uploads.allows(to) {
        return Err(Denial::new(Rule::Uploads, format!("uploads to {}", quoted(to))).into());
    }
    Ok(Some(AdmittedUpload {
        to,
        content_type: asked.and_then(|asked| asked.content_type.as_deref()),
        bytes: asked.and_then(|asked| asked.bytes),
        sha256: asked.and_then(|asked| asked.sha256.as_deref()),
    }))
}

/// What may be sent, name by name.
fn check_data(profile: &dyn Profile, policy: &MintPolicy, data: &Object<'_>) -> Result<(), Refusal> {
    let takes = profile.takes();
    for (name, value) in data.members() {
        check_name(profile, takes, name)?;
        check_rules(policy, takes, name, value)?;
    }
    let inside = |denied: &&ClaimName| denied.top_level().is_none();
    match policy.claims.deny.iter().filter(inside).find(|denied| denied.find(data).is_some()) {
        Some(denied) => {
            Err(Denial::new(Rule::ClaimsDeny, format!("the claim {}", quoted(denied.as_str()))).into())
        }
        None => Ok(()),
    }
}

/// A member that the profile does not take, no matter who asks.
fn check_name(profile: &dyn Profile, takes: Takes, name: &str) -> Result<(), Refusal> {
    let invalid = |why: String| Err(Refusal::Invalid(why.into()));
    match takes {
        Takes::Claims if ISSUER_CLAIMS.contains(&name) => {
            invalid(format!("the claim `{name}` is set by the issuer; leave it out of `data`"))
        }
        Takes::Claims if GRANT_CLAIMS.contains(&name) => invalid(format!(
            "the claim `{name}` says who a token was given to or who acts with it, and is set by grants of POST /token alone"
        )),
        Takes::Claims if is_pointer(name) => invalid(format!(
            "the claim {} begins with `/`, so some verifiers would read its name as a JSON Pointer; use another name",
            quoted(name)
        )),
        Takes::Members(known) if !known.contains(&name) => invalid(format!(
            "unknown member {} in `data`; profile {} takes {}",
            quoted(name),
            profile.name(),
            listed(known)
        )),
        Takes::Claims | Takes::Members(_) => Ok(()),
    }
}

/// The rules of a client for one member.
fn check_rules(policy: &MintPolicy, takes: Takes, name: &str, value: &RawValue) -> Result<(), Refusal> {
    let denied = |rule, what: &str| Err(Denial::new(rule, format!("{what} {}", quoted(name))).into());
    if let Some((_, fixed)) = policy.claims.fixed.iter().find(|(fixed, _)| fixed == name) {
        // Sending what would be set anyway is harmless.
        return if same(fixed, value) {
            Ok(())
        } else {
            denied(Rule::ClaimsFixed, "another value of the fixed claim")
        };
    }
    if policy.claims.deny.iter().any(|denied| denied.top_level() == Some(name)) {
        return denied(Rule::ClaimsDeny, "the claim");
    }
    // The members of other profiles are allowed by grants of their own.
    if takes == Takes::Claims {
        if !policy.claims.allow.allows(name) {
            return denied(Rule::ClaimsAllow, "the claim");
        }
        check_type(name, value)?;
        if matches!(name, "scope" | "scp") {
            policy.check_scopes(name, value)?;
        }
    }
    Ok(())
}

/// What our own verifier would refuse is not minted.
fn check_type(name: &str, value: &RawValue) -> Result<(), Refusal> {
    check_registered_claim(name, value)
        .map_err(|why| Refusal::Invalid(format!("{why}; found {}", kind(value)).into()))
}

fn unaccepted(why: Unaccepted) -> String {
    match why {
        Unaccepted::Number(name) => {
            format!("the claim {}: a number in it cannot be compared exactly; {EXACT_NUMBERS}", quoted(&name))
        }
        Unaccepted::Value(place) if place.is_empty() => "these claims: they do not fit the schema".to_owned(),
        Unaccepted::Value(place) => format!("the value at {}: it does not fit the schema", quoted(&place)),
    }
}

/// Claims that come from the issuer only.
const ISSUER_CLAIMS: [&str; 7] = ["iss", "aud", "iat", "nbf", "exp", "jti", "cnf"];

/// Claims that say who a token was given to (RFC 8693 §4.3), and who acts or may act with it (§4.1,
/// §4.4): nobody may say so of themselves.
pub(crate) const GRANT_CLAIMS: [&str; 3] = ["client_id", "act", "may_act"];

fn is_pointer(name: &str) -> bool {
    name.starts_with('/')
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A setting of a client that does not do what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {why}")]
pub struct PolicyError {
    /// The setting, below the client.
    pub setting: &'static str,
    /// What is wrong and what to do.
    pub why: String,
}

/// Whether rules of exchange give a client's tokens claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleClaims {
    /// None does.
    None,
    /// One does, within what the client's policy allows.
    Some,
}

/// Checks that each setting of a policy takes effect: what narrows it, in every profile that the
/// client may use; what widens it, in one of them. `profiles` are those that are configured,
/// `by_rules` says whether a rule of exchange gives its tokens claims.
///
/// # Errors
///
/// The first setting that does not.
pub fn check_policy(
    policy: &MintPolicy,
    profiles: &[&dyn Profile],
    backdate: Duration,
    by_rules: RuleClaims,
) -> Result<(), PolicyError> {
    let claims = &policy.claims;
    let used = || profiles.iter().filter(|profile| policy.profiles.allows(profile.name()));
    let fail = |setting, why: String| Err(PolicyError { setting, why });
    let allowed = match &claims.allow {
        Names::Any => &[][..],
        Names::Listed(names) => names.as_slice(),
    };
    let fixed = claims.fixed.iter().map(|(name, _)| name);
    let names = allowed.iter().map(|name| ("claims.allow", name));
    for (setting, name) in names.chain(fixed.map(|name| ("claims.fixed", name))) {
        if is_pointer(name) {
            return fail(
                setting,
                format!("no claim whose name begins with `/` is minted; found {}", quoted(name)),
            );
        }
        if ISSUER_CLAIMS.contains(&name.as_str()) {
            return fail(setting, format!("`{name}` is set by the issuer"));
        }
        if GRANT_CLAIMS.contains(&name.as_str()) {
            return fail(setting, format!("`{name}` is set by grants of POST /token alone; leave it out"));
        }
    }
    for profile in used() {
        check_fixed(policy, *profile)?;
        let backdate = backdate.max(profile.backdate());
        if policy.max_lifetime.as_secs() <= backdate.as_secs() {
            let (longest, backdate) = (policy.max_lifetime.as_secs(), backdate.as_secs());
            return fail(
                "max_lifetime",
                format!(
                    "{longest} s is not more than the {backdate} s by which tokens of profile {} are backdated, so each would have expired before it is used",
                    profile.name()
                ),
            );
        }
    }
    // "Any profile" includes those that are configured later.
    let Names::Listed(listed_profiles) = &policy.profiles else { return Ok(()) };
    if listed_profiles.is_empty() {
        return Ok(());
    }
    let takes_claims = used().any(|profile| profile.takes() == Takes::Claims);
    let is_upload = used().any(|profile| profile.takes_upload());
    let uses = |name: &str| used().any(|profile| profile.name() == name);
    let names = listed_profiles.join(", ");
    let idle = |setting, instead: &str| fail(setting, format!("has no effect in profile {names}; {instead}"));
    if !takes_claims {
        let instead = "what it takes is allowed by a table of its own, like `jaas`";
        for (setting, is_set) in [
            ("claims.allow", claims.allow != Names::default()),
            ("audiences", policy.audiences != Names::default()),
            ("scopes", policy.scopes != Names::default()),
        ] {
            if is_set {
                return idle(setting, instead);
            }
        }
        let taken = |name: &ClaimName| used().any(|profile| profile.takes().takes(name.top()));
        if let Some(name) = claims.deny.iter().find(|name| !taken(name)) {
            let name = quoted(name.as_str());
            return idle("claims.deny", &format!("it has no member {name} that could be denied"));
        }
    }
    if used().all(|profile| profile.ways() == Ways::Granted) && by_rules == RuleClaims::None {
        for (setting, is_set) in [
            ("claims.allow", claims.allow != Names::default()),
            ("claims.deny", !claims.deny.is_empty()),
            ("claims.schema", claims.schema.is_some()),
        ] {
            if is_set {
                let why =
                    "nothing is put into its tokens: no rule (`exchange`) has `claims` for it; leave it out";
                return idle(setting, why);
            }
        }
    }
    let nothing = MeetingGrant::default();
    if !uses("jaas") && policy.jaas != nothing {
        return idle("jaas", "it is for profile jaas; add that to `profiles`, or leave it out");
    }
    if !is_upload && policy.uploads != Names::default() {
        return idle("uploads", "it is for profile upload; add that to `profiles`, or leave it out");
    }
    if !uses("jitsi") && policy.jitsi != nothing {
        return idle("jitsi", "it is for profile jitsi; add that to `profiles`, or leave it out");
    }
    Ok(())
}

/// The fixed claims must be claims of the profile, of the right types, within its grants, and not
/// nested so deeply that a verifier would refuse the token.
fn check_fixed(policy: &MintPolicy, profile: &dyn Profile) -> Result<(), PolicyError> {
    let fail = |why: String| Err(PolicyError { setting: "claims.fixed", why });
    for (name, value) in &policy.claims.fixed {
        if !profile.takes().takes(name) {
            let (name, profile) = (quoted(name), profile.name());
            return fail(format!(
                "{name} has no effect in profile {profile}, whose tokens have no such claim; leave it out, or take {profile} from `profiles`"
            ));
        }
        if profile.takes() == Takes::Claims
            && let Err(Refusal::Invalid(why)) = check_type(name, value)
        {
            return fail(why.into_owned());
        }
        let nested = format!("{{\"\":{}}}", value.get());
        if let Err(why) = Object::parse(nested.as_bytes(), MAX_CLAIMS_DEPTH) {
            return fail(format!("{}: {why}", quoted(name)));
        }
    }
    let claims = Claims { sent: &Object::default(), fixed: &policy.claims.fixed };
    match profile.check_fixed(claims, policy) {
        Ok(()) => Ok(()),
        Err(Refusal::Invalid(why)) => fail(why.into_owned()),
        Err(Refusal::Denied(denial)) => fail(denial.to_string()),
        Err(Refusal::Unprepared(why)) => fail(why),
    }
}

#[cfg(test)]
mod tests;
