//! The provider of a rule of exchange (`[exchange.upstream]`): as typed, and checked.

use super::{
    raw::RawExchange,
    values::{at, duration, parse},
};
use crate::failure::Outcome;
use countersign_gateway::settings::Surroundings;
use countersign_grants::{ApplicationSecret, Upstream, UpstreamSettings};
use countersign_settings::SecretRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A provider whose opaque tokens, or authorization codes, a rule takes.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUpstream {
    /// `x`, `github`, `google`, `facebook`; `introspection`: any authorization server with RFC
    /// 7662; `userinfo`: any provider that answers a bearer with a profile.
    pub(crate) preset: String,
    /// The id of your application at the provider. Its tokens are taken, and its codes.
    #[serde(default)]
    pub(crate) client_id: Option<String>,
    /// Its secret, as `env:NAME`, `file:PATH` (readable by its owner alone), `shared-file:PATH`,
    /// `ssm:/NAME` or `secretsmanager:ARN`.
    #[serde(default)]
    pub(crate) client_secret: Option<String>,
    /// Where the provider may send authorization codes to, compared exactly. With one, the rule
    /// takes codes and redeems them at the provider; without, it takes none.
    #[serde(default)]
    pub(crate) redirect_uris: Vec<String>,
    /// Applications whose tokens are taken: `google`, beside `client_id`; `introspection`, values
    /// of `client_id` in its answer.
    #[serde(default)]
    pub(crate) applications: Vec<String>,
    /// `introspection`: audiences one of which a token must have.
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    /// `userinfo`: members of the profile that prove for which application a token was issued, and
    /// the values each may have. Without it, only codes are taken.
    #[serde(default)]
    pub(crate) binding: BTreeMap<String, Vec<String>>,
    /// The provider's scopes that a token must have.
    #[serde(default)]
    pub(crate) require_scopes: Vec<String>,
    /// `x`, `facebook`: members of the profile beyond those that are always there.
    #[serde(default)]
    pub(crate) fields: Vec<String>,
    /// `introspection`, `userinfo`: the member that is the subject; `sub` if not said.
    #[serde(default)]
    pub(crate) subject: Option<String>,
    /// Where codes are redeemed. The presets of one provider know it.
    #[serde(default)]
    pub(crate) token_url: Option<String>,
    /// Where a token is checked: introspection, GitHub's token check, `tokeninfo`, `debug_token`.
    #[serde(default)]
    pub(crate) check_url: Option<String>,
    /// Where the profile is. All addresses are `https`, or `http` on loopback.
    #[serde(default)]
    pub(crate) profile_url: Option<String>,
    /// How long an answer about a token is kept, at most 5 minutes: so long, a token that was
    /// revoked at the provider is still taken. `0s`: the provider is asked for each request.
    #[serde(default = "ten_seconds")]
    pub(crate) cache: String,
    /// `x`, `userinfo`: take tokens though nothing proves for which application they were issued.
    /// Then anyone who runs another application that your users log in to can log in here as them.
    #[serde(default)]
    pub(crate) dangerously_accept_any_application: bool,
}

fn ten_seconds() -> String {
    "10s".into()
}

impl RawUpstream {
    /// Whether it takes access tokens, which can be shown as often as anyone likes, beside codes.
    pub(super) fn takes_tokens(&self) -> bool {
        match self.preset.as_str() {
            "x" => self.dangerously_accept_any_application,
            "userinfo" => self.dangerously_accept_any_application || !self.binding.is_empty(),
            _ => true,
        }
    }
}

/// The provider, at work.
pub(super) fn upstream(raw: &RawUpstream, about: &str, around: Surroundings<'_>) -> Outcome<Upstream> {
    let key = |name: &str| format!("{about}.{name}");
    let secret = |reference: &String| -> Outcome<ApplicationSecret> {
        let key = key("client_secret");
        let reference: SecretRef = parse(&key, reference)?;
        let secret = reference.read(around.folder, around.environment).map_err(|why| at(&key, why))?;
        // An editor puts a line end behind a secret, which is not part of it.
        Ok(ApplicationSecret::from(secret.trim_end_matches(['\r', '\n']).to_owned()))
    };
    let settings = UpstreamSettings {
        preset: parse(&key("preset"), &raw.preset)?,
        client_id: raw.client_id.clone(),
        client_secret: raw.client_secret.as_ref().map(secret).transpose()?,
        applications: raw.applications.clone(),
        audiences: raw.audiences.clone(),
        redirect_uris: raw.redirect_uris.clone(),
        require_scopes: raw.require_scopes.clone(),
        binding: raw.binding.clone(),
        subject: raw.subject.clone(),
        fields: raw.fields.clone(),
        token_url: raw.token_url.clone(),
        check_url: raw.check_url.clone(),
        profile_url: raw.profile_url.clone(),
        cache: duration(&key("cache"), &raw.cache)?,
        any_application: raw.dangerously_accept_any_application,
    };
    Upstream::new(settings).map_err(|why| at(&key(why.setting), why.why))
}

/// Refuses an address at which a client would receive codes of several providers: it could not tell
/// whose code it was given, and would have it sent to another (RFC 9700 §4.4).
pub(super) fn check_redirects(rules: &[RawExchange]) -> Outcome {
    let mut known = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let Some(upstream) = &rule.upstream else { continue };
        let provider = (&upstream.preset, &upstream.token_url);
        let each = |client| upstream.redirect_uris.iter().map(move |uri| (client, uri));
        for (client, uri) in rule.clients.iter().flat_map(each) {
            if *known.entry((client, uri)).or_insert(provider) != provider {
                let why = format!(
                    "client {client:?} receives codes of another provider at {uri:?} too, and could not tell them apart; give \
                     each provider an address of its own"
                );
                return Err(at(&format!("exchange[{index}].upstream.redirect_uris"), why));
            }
        }
    }
    Ok(())
}
