//! A configuration where none exists: `countersign.toml`, the sealing key, the store with a first key, and a first
//! client whose secret is shown once. The file is linked into place last, so a crash leaves either no configuration or
//! a whole one, and of two programs started at the same moment one makes it and the other uses it.

use crate::{
    authority::Authority,
    config::{self, RawConfig},
    failure::{Outcome, configuration, internal, refused, unwritable, usage},
    files::{self, Created, Draft},
    remote, stores,
};
use countersign_issuer::{ClientSecret, HttpIssuer, IssuerUrl};
use countersign_jose::Algorithm;
use countersign_settings::Environment;
use std::{net::SocketAddr, path::Path};

/// The id of the first client.
const FIRST_CLIENT: &str = "first";

/// What is to be made.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) file: &'a Path,
    pub(crate) issuer: String,
    pub(crate) listen: SocketAddr,
    pub(crate) algorithm: Algorithm,
    pub(crate) http: HttpIssuer,
}

/// The first client, with the secret that nobody will see again.
#[derive(Debug)]
pub(crate) struct FirstClient {
    pub(crate) issuer: IssuerUrl,
    pub(crate) secret: ClientSecret,
}

impl FirstClient {
    /// A line that mints a token when it is pasted into a shell.
    pub(crate) fn curl(&self) -> String {
        format!(
            "curl -u {FIRST_CLIENT}:{} -H 'Content-Type: application/json' -d '{{\"data\":{{\"sub\":\"alice\"}}}}' {}",
            self.secret.expose(),
            self.issuer.join("/sign"),
        )
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "issuer": self.issuer.as_str(),
            "client_id": FIRST_CLIENT,
            "client_secret": self.secret.expose(),
            "curl": self.curl(),
        })
    }
}

/// Makes everything `plan` asks for; `None` when another program was faster and its configuration is there now.
pub(crate) async fn create(plan: &Plan<'_>, environment: &Environment) -> Outcome<Option<FirstClient>> {
    let issuer =
        IssuerUrl::parse(&plan.issuer, plan.http).map_err(|why| configuration(format!("issuer: {why}")))?;
    let secret =
        ClientSecret::generate().ok_or_else(|| internal("the operating system gives no random numbers"))?;
    let folder = plan.file.parent().unwrap_or(Path::new("."));
    let unwritable = |why| unwritable(plan.file.display(), &why);
    files::create_folder(folder).map_err(unwritable)?;
    let text = text(plan, &secret);

    // Prove that the configuration works before it is there: open the store with it and make the first key.
    let mut draft = Draft::create(plan.file, 0o600).map_err(unwritable)?;
    draft.write(text.as_bytes()).map_err(unwritable)?;
    let config = config::load(draft.path(), environment, plan.http).await?;
    Authority::open_new(&config, environment).await?.load_and_tell(&config).await?;
    match draft.link().map_err(unwritable)? {
        Created::New => Ok(Some(FirstClient { issuer, secret })),
        Created::AlreadyThere => Ok(None),
    }
}

/// Refuses to make a configuration over another.
pub(crate) fn refuse_existing(file: &Path) -> Outcome {
    if remote::is_remote(file) {
        return Err(usage(
            "a configuration on AWS is written by those who may write there; make one in a file first",
        ));
    }
    if file.exists() {
        let why = format!("{} is there already; nothing was changed", file.display());
        return Err(refused("already_there", why));
    }
    Ok(())
}

fn text(plan: &Plan<'_>, secret: &ClientSecret) -> String {
    format!(
        r#"# Countersign. Every setting: docs/configuration.md, or `countersign config schema --markdown`.

issuer = {issuer:?}

[server]
listen = "{listen}"

[store]
url = "sqlite:countersign.db"

[sealing]
# Anyone who has this file and the store has your private keys. Keep a backup of both, apart.
key = "file:sealing.key"

[rings.default]
algorithm = "{algorithm}"

# The first client may set any claims. Narrow it, or delete it, before anyone else can reach this server.
[[clients]]
id = "{FIRST_CLIENT}"
secret_hashes = ["{hash}"]
audiences = ["api://default"]
max_lifetime = "24h"
scopes = ["*"]
profiles = ["*"]
claims = {{ allow = ["*"] }}
jaas = {{ moderator = true, any_room = true, user = ["*"], features = ["*"] }}
"#,
        issuer = plan.issuer,
        listen = plan.listen,
        algorithm = plan.algorithm,
        hash = secret.hash(),
    )
}

/// A client to be declared.
#[derive(Debug)]
pub(crate) struct NewClient<'a> {
    pub(crate) id: &'a str,
    pub(crate) authentication: Authentication<'a>,
    pub(crate) audiences: &'a [String],
    pub(crate) tokens: NewTokens<'a>,
}

/// How a new client proves who it is.
#[derive(Debug)]
pub(crate) enum Authentication<'a> {
    /// With this secret.
    Secret(&'a ClientSecret),
    /// With an assertion, signed by a key of this JWK Set: a URL, or `file:PATH`.
    Assertion(&'a str),
}

/// What a new client asks for.
#[derive(Debug)]
pub(crate) enum NewTokens<'a> {
    /// Tokens with these claims, at `/sign`.
    Claims(&'a [String]),
    /// Access tokens by these grants, with these scopes, at `/token`.
    Grants(Vec<&'static str>, &'a [String]),
}

/// The configuration of a new client, to paste at the end of the file.
pub(crate) fn client_snippet(client: &NewClient<'_>) -> String {
    let list = |items: &[String]| toml::Value::from(items.to_vec());
    let hashes = match &client.authentication {
        Authentication::Secret(secret) => format!("[\"{}\"]", secret.hash()),
        Authentication::Assertion(_) => "[]".to_owned(),
    };
    let mut text = format!(
        "[[clients]]\nid = {:?}\nsecret_hashes = {hashes}\naudiences = {}\nmax_lifetime = \"1h\"\n",
        client.id,
        list(client.audiences)
    );
    match &client.tokens {
        NewTokens::Claims(claims) => text.push_str(&format!("claims = {{ allow = {} }}\n", list(claims))),
        NewTokens::Grants(grants, scopes) => {
            let grants = toml::Value::from(grants.clone());
            let scopes = list(scopes);
            text.push_str(&format!("grants = {grants}\nprofiles = [\"access_token\"]\nscopes = {scopes}\n"));
        }
    }
    if let Authentication::Assertion(keys) = &client.authentication {
        let name = if keys.starts_with("file:") { "jwks" } else { "keys_url" };
        text.push_str(&format!("assertions = {{ {name} = {} }}\n", toml::Value::from(*keys)));
    }
    text
}

/// The raw configuration as TOML, for `config check`. It holds references and hashes, and no secrets.
pub(crate) fn shown(raw: &RawConfig) -> Outcome<serde_json::Value> {
    let mut value = serde_json::to_value(raw).map_err(internal)?;
    if let Some(clients) = value.get_mut("clients").and_then(serde_json::Value::as_array_mut) {
        for client in clients {
            if let Some(hashes) = client.get_mut("secret_hashes").and_then(serde_json::Value::as_array_mut) {
                hashes.iter_mut().for_each(|hash| *hash = "sha256:***".into());
            }
            if let Some(assertions) = client.get_mut("assertions") {
                hide_pasted_keys(assertions);
            }
        }
    }
    for trust in value.get_mut("trust").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
        hide_pasted_keys(trust);
    }
    for rule in value.get_mut("exchange").and_then(serde_json::Value::as_array_mut).into_iter().flatten() {
        if let Some(trust) = rule.get_mut("trust") {
            hide_pasted_keys(trust);
        }
    }
    if let Some(store) = value.get_mut("store").and_then(serde_json::Value::as_object_mut) {
        store.insert("url".into(), stores::shown(&raw.store.url).into());
    }
    Ok(value)
}

/// People paste private keys where public ones would do.
fn hide_pasted_keys(entry: &mut serde_json::Value) {
    for key in ["jwks", "pem"] {
        let pasted =
            entry.get_mut(key).filter(|text| text.as_str().is_some_and(|text| !text.starts_with("file:")));
        if let Some(text) = pasted {
            *text = "***".into();
        }
    }
}
