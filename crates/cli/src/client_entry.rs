//! The configuration of a new client, as `countersign client new` prints it: its entry, and for
//! grants by rules a rule.
//!
//! What is printed starts as it is; whose tokens a rule takes, if that was not said, is an example
//! to replace. `config::check_entry` has the checks. Pinned by `tests/e2e/test_client_new.py`.

use countersign_issuer::{ClientSecret, GrantType};
use std::{collections::BTreeMap, fmt::Write};
use toml::Value;

/// A client to be declared.
#[derive(Debug)]
pub(crate) struct NewClient<'a> {
    pub(crate) id: &'a str,
    pub(crate) authentication: Authentication<'a>,
    pub(crate) audiences: &'a [String],
    pub(crate) tokens: NewTokens<'a>,
    pub(crate) more: NewRules<'a>,
}

/// What else an entry may say; what is empty or false is left out.
#[derive(Debug)]
pub(crate) struct NewRules<'a> {
    pub(crate) lifetime: &'a str,
    /// Empty: what goes with its grants, or `jwt`.
    pub(crate) profiles: &'a [String],
    pub(crate) scopes: &'a [String],
    pub(crate) deny: &'a [String],
    pub(crate) fixed: toml::Table,
    pub(crate) schema: Option<&'a str>,
    pub(crate) default_scope: &'a [String],
    pub(crate) introspect: &'a [String],
    pub(crate) dpop: bool,
    pub(crate) uploads: &'a [String],
    pub(crate) jaas: NewMeetings<'a>,
    pub(crate) jitsi: NewMeetings<'a>,
}

/// What it may put into tokens of meetings.
#[derive(Debug)]
pub(crate) struct NewMeetings<'a> {
    pub(crate) moderator: bool,
    pub(crate) any_room: bool,
    pub(crate) rooms: &'a [String],
    /// Only 8x8 has these.
    pub(crate) regex: &'a [String],
    pub(crate) user: &'a [String],
    pub(crate) features: &'a [String],
}

impl NewMeetings<'_> {
    fn table(&self) -> toml::Table {
        let mut table = toml::Table::new();
        for (name, is_so) in [("moderator", self.moderator), ("any_room", self.any_room)] {
            if is_so {
                table.insert(name.to_owned(), true.into());
            }
        }
        for (name, values) in
            [("rooms", self.rooms), ("regex", self.regex), ("user", self.user), ("features", self.features)]
        {
            if !values.is_empty() {
                table.insert(name.to_owned(), list(values));
            }
        }
        table
    }
}

impl NewRules<'_> {
    /// The claims: what may be set, must not be, is always so.
    fn claims(&self, allow: &[String]) -> toml::Table {
        let mut table = toml::Table::new();
        for (name, values) in [("allow", allow), ("deny", self.deny)] {
            if !values.is_empty() {
                table.insert(name.to_owned(), list(values));
            }
        }
        if !self.fixed.is_empty() {
            table.insert("fixed".to_owned(), self.fixed.clone().into());
        }
        if let Some(file) = self.schema {
            let file = file.strip_prefix("file:").unwrap_or(file);
            table.insert("schema".to_owned(), format!("file:{file}").into());
        }
        table
    }
}

/// How a new client proves who it is.
#[derive(Debug)]
pub(crate) enum Authentication<'a> {
    /// With this secret.
    Secret(&'a ClientSecret),
    /// With an assertion.
    Assertion(&'a NewAssertions),
    /// With a token of its platform.
    Workload(&'a NewWorkload),
    /// Not at all.
    Nothing,
}

/// With which keys a client signs assertions.
#[derive(Debug)]
pub(crate) struct NewAssertions {
    /// `keys_url`, `jwks` or `pem`.
    pub(crate) name: &'static str,
    /// Where they are: a URL, or `file:PATH`.
    pub(crate) keys: String,
    /// The algorithms, where they are said.
    pub(crate) algorithms: Vec<String>,
}

/// Which tokens of a platform are the client's.
#[derive(Debug)]
pub(crate) struct NewWorkload {
    /// `issuer`, or `preset` and `id`.
    pub(crate) issuer: Vec<(&'static str, String)>,
    pub(crate) claims: BTreeMap<String, Value>,
    /// Whether each token is taken once, where it is said.
    pub(crate) once: Option<bool>,
}

/// What a new client asks for.
#[derive(Debug)]
pub(crate) enum NewTokens<'a> {
    /// Tokens with these claims, at `/sign`.
    Claims(&'a [String]),
    /// Access tokens by grants, at `/token`.
    Grants(NewGrants<'a>),
}

/// What a new client asks for at `/token`.
#[derive(Debug)]
pub(crate) struct NewGrants<'a> {
    pub(crate) grants: &'a [GrantType],
    pub(crate) scopes: &'a [String],
    /// Whose tokens it may exchange, with the grants that need it.
    pub(crate) issuer: &'a str,
    pub(crate) provider: &'a str,
}

impl NewGrants<'_> {
    fn by_rule(&self) -> Vec<&'static str> {
        let rules = [GrantType::JwtBearer, GrantType::TokenExchange];
        self.grants.iter().filter(|grant| rules.contains(grant)).map(|grant| grant.name()).collect()
    }
}

/// The entry of a new client, and its rule, to paste at the end of the file.
pub(crate) fn client_entry(client: &NewClient<'_>) -> String {
    let hashes = match &client.authentication {
        Authentication::Secret(secret) => format!("[\"{}\"]", secret.hash()),
        _ => "[]".to_owned(),
    };
    let mut text = format!(
        "[[clients]]\nid = {}\nsecret_hashes = {hashes}\naudiences = {}\nmax_lifetime = {}\n",
        Value::from(client.id),
        list(client.audiences),
        Value::from(client.more.lifetime),
    );
    let mut add = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    let more = &client.more;
    let profiles = match (&client.tokens, more.profiles) {
        (NewTokens::Claims(_), []) => Vec::new(),
        (NewTokens::Grants(_), []) => vec!["access_token".to_owned()],
        (_, profiles) => profiles.to_vec(),
    };
    let allow = match &client.tokens {
        NewTokens::Claims(claims) => *claims,
        NewTokens::Grants(_) => &[],
    };
    let claims = more.claims(allow);
    if !claims.is_empty() {
        add(format!("claims = {}", Value::from(claims)));
    }
    if let NewTokens::Grants(grants) = &client.tokens {
        let names: Vec<&str> = grants.grants.iter().map(|grant| grant.name()).collect();
        add(format!("grants = {}", Value::from(names)));
    }
    if !profiles.is_empty() {
        add(format!("profiles = {}", list(&profiles)));
    }
    if matches!(client.tokens, NewTokens::Grants(_)) || !more.scopes.is_empty() {
        add(format!("scopes = {}", list(more.scopes)));
    }
    for (name, values) in
        [("default_scope", more.default_scope), ("introspect", more.introspect), ("uploads", more.uploads)]
    {
        if !values.is_empty() {
            add(format!("{name} = {}", list(values)));
        }
    }
    if more.dpop {
        add("dpop_bound_access_tokens = true".to_owned());
    }
    for (name, meetings) in [("jaas", &more.jaas), ("jitsi", &more.jitsi)] {
        let table = meetings.table();
        if !table.is_empty() {
            add(format!("{name} = {}", Value::from(table)));
        }
    }
    match &client.authentication {
        Authentication::Secret(_) => {}
        Authentication::Nothing => add("public = true".to_owned()),
        Authentication::Assertion(assertions) => {
            let NewAssertions { name, keys, algorithms } = assertions;
            let algorithms = match algorithms.as_slice() {
                [] => String::new(),
                named => format!(", algorithms = {}", list(named)),
            };
            add(format!("assertions = {{ {name} = {}{algorithms} }}", Value::from(keys.as_str())));
        }
        Authentication::Workload(workload) => {
            add("\n[[clients.workloads]]".to_owned());
            if let Some(once) = workload.once {
                add(format!("once = {once}"));
            }
            add("[clients.workloads.trust]".to_owned());
            for (name, value) in &workload.issuer {
                add(format!("{name} = {}", Value::from(value.as_str())));
            }
            let claims: toml::Table = workload.claims.clone().into_iter().collect();
            add(format!("claims = {}", Value::from(claims)));
        }
    }
    if let NewTokens::Grants(grants) = &client.tokens {
        rule(&mut text, client.id, grants);
    }
    text
}

/// A rule of exchange for the grants that need one.
fn rule(text: &mut String, id: &str, grants: &NewGrants<'_>) {
    let names = grants.by_rule();
    if names.is_empty() {
        return;
    }
    // There is no actor where nobody has said who may be one.
    let exchanges = grants.grants.contains(&GrantType::TokenExchange);
    let impersonate = if exchanges { "impersonate = true\n" } else { "" };
    let refresh = grants.grants.contains(&GrantType::RefreshToken);
    let refresh = if refresh { "refresh = true\n" } else { "" };
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "\n[[exchange]]\nclients = [{}]\ngrants = {}\nprovider = {}\nscopes = {}\n{impersonate}{refresh}\n\
         [exchange.trust]\nissuer = {}\n",
        Value::from(id),
        Value::from(names),
        Value::from(grants.provider),
        list(grants.scopes),
        Value::from(grants.issuer),
    );
}

fn list(items: &[String]) -> Value {
    Value::from(items.to_vec())
}
