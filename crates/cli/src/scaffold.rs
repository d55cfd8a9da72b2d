//! A configuration where none exists: `countersign.toml`, the sealing key, the store with a first
//! key, and a first client whose secret is shown once. The file is linked into place last, so a
//! crash leaves either no configuration or a whole one, and of two programs started at the same
//! moment one makes it and the other uses it.

use crate::{
    authority::Authority,
    config::{self, RawConfig},
    failure::{Outcome, configuration, internal, refused, unwritable},
    files::{self, Created, Draft},
    stores,
};
use countersign_issuer::{ClientSecret, HttpIssuer, IssuerUrl};
use countersign_jose::Algorithm;
use countersign_keyring::{Activation, ImportedKey, RingName};
use countersign_settings::Environment;
use std::{net::SocketAddr, path::Path};

/// The id of the first client.
const FIRST_CLIENT: &str = "first";

/// The variable that says where the store is, and where it is without it.
const STORE_URL: &str = "COUNTERSIGN_STORE__URL";
const STORE: &str = "sqlite:countersign.db";

/// What is to be made.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) file: &'a Path,
    pub(crate) issuer: String,
    pub(crate) listen: SocketAddr,
    pub(crate) algorithm: Algorithm,
    pub(crate) http: HttpIssuer,
    /// The key that signs; without one, a key is made.
    pub(crate) key: Option<ImportedKey>,
    pub(crate) clients: FirstClients,
}

/// Whether a first client is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstClients {
    /// One that may do everything.
    One,
    /// None.
    Nobody,
}

/// What was made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) issuer: IssuerUrl,
    pub(crate) client: Option<FirstClient>,
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

/// Makes everything `plan` asks for; `None` when another program was faster and its configuration
/// is there now.
pub(crate) async fn create(plan: &Plan<'_>, environment: &Environment) -> Outcome<Option<Made>> {
    let issuer =
        IssuerUrl::parse(&plan.issuer, plan.http).map_err(|why| configuration(format!("issuer: {why}")))?;
    let secret =
        ClientSecret::generate().ok_or_else(|| internal("the operating system gives no random numbers"))?;
    let folder = plan.file.parent().unwrap_or(Path::new("."));
    check_not_left_behind(folder, environment)?;
    let unwritable = |why| unwritable(plan.file.display(), &why);
    files::create_folder(folder).map_err(unwritable)?;
    let text = text(plan, &secret, environment);

    // Prove that the configuration works before it is there: open the store with it and make the
    // first key.
    let mut draft = Draft::create(plan.file, 0o600).map_err(unwritable)?;
    draft.write(text.as_bytes()).map_err(unwritable)?;
    let config = config::load_draft(draft.path(), environment, plan.http).await?;
    let authority = Authority::open_new(&config, environment).await?;
    if let Some(key) = &plan.key {
        let ring: RingName = "default".parse().map_err(internal)?;
        refuse_to_only_publish(&authority, &ring, key).await?;
        let keys = std::slice::from_ref(key);
        authority.keyring.import(&ring, keys, Activation::IfRingHasNone, authority.clock.now()).await?;
    }
    authority.load_and_tell(&config).await?;
    match draft.link().map_err(unwritable)? {
        Created::New => {
            let is_one = plan.clients == FirstClients::One;
            let client = is_one.then(|| FirstClient { issuer: issuer.clone(), secret });
            Ok(Some(Made { issuer, client }))
        }
        Created::AlreadyThere => Ok(None),
    }
}

/// In a store whose ring has a key that signs, another one would be published and not sign, which
/// is not what `--key` is for.
async fn refuse_to_only_publish(authority: &Authority, ring: &RingName, key: &ImportedKey) -> Outcome {
    let keyring = authority.keyring.read().await?;
    let Some(active) = keyring.ring(ring).and_then(|ring| ring.active()) else { return Ok(()) };
    if active.public_key() == key.public() && key.kid.as_ref().is_none_or(|kid| *kid == active.kid) {
        return Ok(());
    }
    let why = format!(
        "the store has keys already, and {:?} signs in ring {ring}, so --key would be published and not sign; leave --key out, and then run \
         `countersign keys import FILE --activate`, or name another store (COUNTERSIGN_STORE__URL); nothing was changed",
        active.kid
    );
    Err(refused("ring_has_a_key", why))
}

/// Refuses to begin anew beside a store of variables alone. Its relative path began in this folder
/// and would begin in that of the file, so that the keys would be others from now on, and the old
/// ones in nobody's use.
fn check_not_left_behind(folder: &Path, environment: &Environment) -> Outcome {
    let said = environment.get(STORE_URL);
    let url = said.unwrap_or(STORE);
    let file = |folder: &Path| countersign_store::file_of(url, folder);
    let (Some(here), Some(there)) = (file(&environment.folder), file(folder)) else { return Ok(()) };
    let is_same = match (environment.folder.canonicalize(), folder.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => environment.folder == folder,
    };
    if is_same || here == there || !here.exists() {
        return Ok(());
    }
    let named = if said.is_some() {
        format!("{STORE_URL} {}", stores::shown(url))
    } else {
        format!("the store {url}")
    };
    Err(configuration(format!(
        "{named}: there is one at {here}, and with a configuration file in {folder} this name stands for {there}, which would be \
         another keyring; to go on with the one there is, set {STORE_URL}=sqlite:{whole} (and COUNTERSIGN_SEALING__KEY to an absolute \
         path, too), or move it away",
        here = here.display(),
        folder = folder.display(),
        there = there.display(),
        whole = std::path::absolute(&here).unwrap_or_else(|_| here.clone()).display(),
    )))
}

/// The file. What variables say of the store and the sealing key is written into it, so that it
/// holds without them, too.
fn text(plan: &Plan<'_>, secret: &ClientSecret, environment: &Environment) -> String {
    let said = |name: &str, default: &str| environment.get(name).unwrap_or(default).to_owned();
    let mut store = said(STORE_URL, STORE);
    if stores::holds_secret(&store) {
        store = format!("env:{STORE_URL}");
    }
    let mut text = format!(
        r#"# Countersign. Every setting: docs/configuration.md, or `countersign config schema --markdown`.

issuer = {issuer}

[server]
listen = "{listen}"

[store]
url = {store}

[sealing]
# Anyone who has this file and the store has your private keys. Keep a backup of both, apart.
key = {sealing}

[rings.default]
algorithm = "{algorithm}"
"#,
        issuer = toml::Value::from(plan.issuer.as_str()),
        store = toml::Value::from(store),
        listen = plan.listen,
        algorithm = plan.algorithm,
        sealing = toml::Value::from(said("COUNTERSIGN_SEALING__KEY", "file:sealing.key")),
    );
    if plan.clients == FirstClients::One {
        text.push_str(&first_client(secret));
    }
    text
}

fn first_client(secret: &ClientSecret) -> String {
    format!(
        r#"
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
        hash = secret.hash(),
    )
}

/// The raw configuration as TOML, for `config check`. It holds references and hashes, and no
/// secrets.
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
            let workloads = client.get_mut("workloads").and_then(serde_json::Value::as_array_mut);
            for entry in workloads.into_iter().flatten() {
                if let Some(trust) = entry.get_mut("trust") {
                    hide_pasted_keys(trust);
                }
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
