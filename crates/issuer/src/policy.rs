//! Mint policy: what one client may have in its tokens. Nothing declared, nothing allowed.
//!
//! Each refusal names the rule that refused, in the words of the configuration, and none of what was asked for.

use crate::{names::Names, request::AudienceRequest};
use countersign_jose::{
    ClaimName,
    json::{Object, same, string},
};
use serde_json::value::RawValue;
use std::{fmt, time::Duration};

/// What a client may ask for.
#[derive(Debug)]
pub struct MintPolicy {
    /// Which audiences, compared exactly. The first one is the default.
    pub audiences: Names,
    /// The longest lifetime.
    pub max_lifetime: Duration,
    /// Which values of the claims `scope` and `scp` (RFC 8693 §4.2).
    pub scopes: Names,
    /// Which claims, with which values.
    pub claims: ClaimRules,
    /// Which shapes of token.
    pub profiles: Names,
    /// What it may do in JaaS meetings.
    pub jaas: JaasGrant,
}

impl Default for MintPolicy {
    /// Allows nothing.
    fn default() -> Self {
        Self {
            audiences: Names::default(),
            max_lifetime: Duration::ZERO,
            scopes: Names::default(),
            claims: ClaimRules::default(),
            profiles: Names::default(),
            jaas: JaasGrant::default(),
        }
    }
}

/// Which claims a client may set.
#[derive(Debug, Default)]
pub struct ClaimRules {
    /// Names it may set.
    pub allow: Names,
    /// Claims it may not set, at the top or inside others, even where `allow` has them.
    pub deny: Vec<ClaimName>,
    /// Claims every token of this client has, whatever it asks for.
    pub fixed: Vec<(String, Box<RawValue>)>,
    /// A JSON Schema the claims it sets must satisfy.
    pub schema: Option<Schema>,
}

/// What a client may grant in 8x8 JaaS meetings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JaasGrant {
    /// Make a user moderator.
    pub moderator: bool,
    /// Tokens for every room (`"*"`).
    pub any_room: bool,
    /// Meeting features.
    pub features: Names,
}

/// The rule of a client's policy that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the configuration key that `name` gives")]
pub enum Rule {
    Audiences,
    MaxLifetime,
    Scopes,
    ClaimsAllow,
    ClaimsDeny,
    ClaimsFixed,
    ClaimsSchema,
    Profiles,
    JaasModerator,
    JaasAnyRoom,
    JaasFeatures,
}

impl Rule {
    /// The configuration key of the rule, below the client.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audiences => "audiences",
            Self::MaxLifetime => "max_lifetime",
            Self::Scopes => "scopes",
            Self::ClaimsAllow => "claims.allow",
            Self::ClaimsDeny => "claims.deny",
            Self::ClaimsFixed => "claims.fixed",
            Self::ClaimsSchema => "claims.schema",
            Self::Profiles => "profiles",
            Self::JaasModerator => "jaas.moderator",
            Self::JaasAnyRoom => "jaas.any_room",
            Self::JaasFeatures => "jaas.features",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl MintPolicy {
    /// Everything, for the operator who holds the keys anyway and mints on the command line.
    pub fn operator() -> Self {
        Self {
            audiences: Names::Any,
            max_lifetime: Duration::MAX,
            scopes: Names::Any,
            claims: ClaimRules { allow: Names::Any, ..ClaimRules::default() },
            profiles: Names::Any,
            jaas: JaasGrant { moderator: true, any_room: true, features: Names::Any },
        }
    }

    /// The audience of a token: what was asked for, if allowed, else the first one allowed.
    pub fn audience(&self, asked: Option<&AudienceRequest>) -> Result<AudienceRequest, Rule> {
        match asked {
            Some(asked) if asked.names().iter().all(|name| self.audiences.allows(name)) => Ok(asked.clone()),
            Some(_) => Err(Rule::Audiences),
            None => {
                let first = self.audiences.first().ok_or(Rule::Audiences)?;
                Ok(AudienceRequest::One(first.to_owned()))
            }
        }
    }

    /// The lifetime of a token: what was asked for, if allowed, else an hour or the most allowed.
    pub fn lifetime(&self, asked: Option<Duration>) -> Result<Duration, Rule> {
        match asked {
            Some(asked) if asked <= self.max_lifetime => Ok(asked),
            Some(_) => Err(Rule::MaxLifetime),
            None => Ok(DEFAULT_LIFETIME.min(self.max_lifetime)),
        }
    }

    /// Checks claims a caller wants to set.
    pub fn check_claims(&self, data: &Object<'_>) -> Result<(), Rule> {
        for (name, value) in data.members() {
            if let Some((_, fixed)) = self.claims.fixed.iter().find(|(n, _)| n == name) {
                // Sending what would be set anyway is harmless.
                if same(fixed, value) {
                    continue;
                }
                return Err(Rule::ClaimsFixed);
            }
            if self.claims.deny.iter().any(|denied| denied.top_level() == Some(name)) {
                return Err(Rule::ClaimsDeny);
            }
            if !self.claims.allow.allows(name) {
                return Err(Rule::ClaimsAllow);
            }
            if matches!(name, "scope" | "scp") && !self.allows_scopes(value) {
                return Err(Rule::Scopes);
            }
        }
        let inside = |denied: &&ClaimName| denied.top_level().is_none();
        if self.claims.deny.iter().filter(inside).any(|denied| denied.find(data).is_some()) {
            return Err(Rule::ClaimsDeny);
        }
        match &self.claims.schema {
            Some(schema) if !schema.accepts(data) => Err(Rule::ClaimsSchema),
            _ => Ok(()),
        }
    }

    /// `scope` is a space-separated string (RFC 8693 §4.2); `scp` is that or a list.
    fn allows_scopes(&self, value: &RawValue) -> bool {
        if self.scopes == Names::Any {
            return true;
        }
        let scopes = match string(value) {
            Some(text) => text.split(' ').map(str::to_owned).collect(),
            None => serde_json::from_str::<Vec<String>>(value.get()).unwrap_or_else(|_| vec![String::new()]),
        };
        scopes.iter().all(|scope| self.scopes.allows(scope))
    }
}

/// The lifetime of a token when nothing else is asked for.
pub(crate) const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// A compiled JSON Schema for the claims a client sets.
pub struct Schema(#[cfg(feature = "json-schema")] jsonschema::Validator);

/// Why a schema can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Not a valid schema.
    #[error("not a valid JSON Schema: {0}")]
    Invalid(String),
    /// This build has no JSON Schema.
    #[error("this build of countersign has no JSON Schema; build it with --features full")]
    NotInThisBuild,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Schema(..)")
    }
}

#[cfg(feature = "json-schema")]
impl Schema {
    /// Compiles a schema. References to other documents are not fetched.
    pub fn compile(schema: &serde_json::Value) -> Result<Self, SchemaError> {
        jsonschema::validator_for(schema).map(Self).map_err(|why| SchemaError::Invalid(why.to_string()))
    }

    fn accepts(&self, data: &Object<'_>) -> bool {
        let value = data
            .members()
            .map(|(name, raw)| Ok((name.to_owned(), serde_json::from_str(raw.get())?)))
            .collect::<Result<serde_json::Map<_, _>, serde_json::Error>>();
        value.is_ok_and(|map| self.0.is_valid(&serde_json::Value::Object(map)))
    }
}

#[cfg(not(feature = "json-schema"))]
impl Schema {
    /// Says that this build has no JSON Schema.
    pub fn compile(_: &serde_json::Value) -> Result<Self, SchemaError> {
        Err(SchemaError::NotInThisBuild)
    }

    fn accepts(&self, _: &Object<'_>) -> bool {
        false
    }
}

#[cfg(feature = "json-schema")]
#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(schema: &serde_json::Value) -> MintPolicy {
        let schema = Schema::compile(schema).unwrap();
        MintPolicy {
            claims: ClaimRules { allow: Names::Any, schema: Some(schema), ..ClaimRules::default() },
            ..MintPolicy::default()
        }
    }

    fn check(policy: &MintPolicy, data: &str) -> Result<(), Rule> {
        policy.check_claims(&Object::parse(data.as_bytes(), 8).unwrap())
    }

    #[test]
    fn claims_outside_the_schema_are_refused() {
        let policy = policy(&json!({
            "type": "object",
            "required": ["sub"],
            "properties": { "sub": { "type": "string", "pattern": "^user:" }, "level": { "maximum": 3 } },
            "additionalProperties": false,
        }));
        assert_eq!(check(&policy, r#"{"sub":"user:1","level":3}"#), Ok(()));
        for data in [r#"{}"#, r#"{"sub":"1"}"#, r#"{"sub":"user:1","level":4}"#, r#"{"sub":"user:1","x":1}"#]
        {
            assert_eq!(check(&policy, data), Err(Rule::ClaimsSchema), "{data}");
        }
    }

    #[test]
    fn a_schema_that_is_none_or_points_elsewhere_is_refused_when_it_is_made() {
        for schema in [
            json!({ "type": "nonsense" }),
            json!({ "$ref": "https://schema.example/x.json" }),
            json!({ "$ref": "file:///etc/passwd" }),
        ] {
            assert!(matches!(Schema::compile(&schema), Err(SchemaError::Invalid(_))), "{schema}");
        }
    }
}

#[cfg(test)]
mod name_tests {
    use super::*;

    fn check(deny: &[&str], fixed: &[(&str, &str)], data: &str) -> Result<(), Rule> {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let claims = ClaimRules {
            allow: Names::Any,
            deny: deny.iter().map(|name| name.parse().unwrap()).collect(),
            fixed: fixed.iter().map(|(name, value)| ((*name).to_owned(), raw(value))).collect(),
            schema: None,
        };
        let policy = MintPolicy { claims, ..MintPolicy::operator() };
        policy.check_claims(&Object::parse(data.as_bytes(), 16).unwrap())
    }

    #[test]
    fn a_denied_name_has_one_reading_and_reaches_inside_claims() {
        let nested = r#"{"realm_access":{"roles":["admin"]}}"#;
        let literal = r#"{"/realm_access/roles":["admin"]}"#;
        for (deny, data, refused) in [
            ("realm_access", nested, true),
            ("realm_access", literal, false),
            ("/realm_access", nested, true),
            ("/realm_access/roles", nested, true),
            ("/realm_access/roles", literal, false),
            ("/realm_access/roles/0", nested, true),
            ("/realm_access/roles/1", nested, false),
            ("/realm_access/groups", nested, false),
            ("/~1realm_access~1roles", literal, true),
            ("/~1realm_access~1roles", nested, false),
        ] {
            let expected = if refused { Err(Rule::ClaimsDeny) } else { Ok(()) };
            assert_eq!(check(&[deny], &[], data), expected, "{deny} {data}");
        }
    }

    #[test]
    fn a_fixed_claim_may_be_sent_with_exactly_its_value_and_no_other_of_the_same_float() {
        let fixed = [("tenant", "36893488147419103232")];
        assert_eq!(check(&[], &fixed, r#"{"tenant":36893488147419103232}"#), Ok(()));
        assert_eq!(check(&[], &fixed, r#"{"tenant":36893488147419103233}"#), Err(Rule::ClaimsFixed));
        assert_eq!(check(&[], &fixed, r#"{"/tenant":1}"#), Ok(()));
    }
}
