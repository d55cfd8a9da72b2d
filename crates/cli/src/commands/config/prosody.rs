//! `countersign config prosody`: what to write into the configuration of a Jitsi's Prosody, so that
//! it takes tokens of profile `jitsi`.
//!
//! Everything that has to be the same on both sides comes from our configuration. A shared secret
//! is not printed: Prosody reads it from a file or a variable. Options of jitsi-meet's plugins
//! mod_auth_token and mod_token_verification. Pinned by tests/e2e/test_jitsi.py, which starts a
//! Prosody with it.

use super::Context;
use crate::{
    config::Config,
    failure::{Outcome, configuration, usage},
    output,
};
use countersign_settings::SecretRef;
use serde_json::json;

pub(super) async fn run(context: &Context<'_>, asap: bool, muc: Option<&str>) -> Outcome {
    let config = context.load().await?;
    let Some(jitsi) = config.raw.profiles.jitsi.clone() else {
        return Err(configuration("there is no [profiles.jitsi]; docs/jitsi.md says what to write there"));
    };
    let muc = muc.map_or_else(|| format!("conference.{}", jitsi.domain), str::to_owned);
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if muc.is_empty() || !muc.chars().all(is_host) {
        return Err(usage("--muc is the name of a host"));
    }
    let lines = keys(&config, &jitsi, asap)?;
    let mut text = vec![
        "-- Who is let into the rooms: tokens of Countersign, profile jitsi.".to_owned(),
        "-- Into /etc/prosody/conf.avail/, in place of what is there for this host and its rooms.".to_owned(),
        format!("VirtualHost {}", quoted(&jitsi.domain)),
        "    authentication = \"token\"".to_owned(),
        format!("    app_id = {}", quoted(&jitsi.app_id)),
    ];
    text.extend(lines.iter().map(|line| format!("    {line}")));
    text.extend([
        format!("    asap_accepted_issuers = {{ {} }}", quoted(&jitsi.app_id)),
        format!("    asap_accepted_audiences = {{ {} }}", quoted(&jitsi.audience)),
        "    asap_require_room_claim = true".to_owned(),
        "    allow_empty_token = false".to_owned(),
        "    enable_domain_verification = true".to_owned(),
        String::new(),
        format!("Component {} \"muc\"", quoted(&muc)),
        "    modules_enabled = { \"token_verification\" } -- beside those that are there already".to_owned(),
    ]);
    let text = text.join("\n");
    if context.json {
        output::line(&json!({ "prosody": text }).to_string());
    } else {
        output::line(&text);
    }
    Ok(())
}

/// How Prosody comes to the key.
fn keys(config: &Config, jitsi: &crate::config::RawJitsiProfile, asap: bool) -> Outcome<Vec<String>> {
    let Some(secret) = &jitsi.secret else {
        let ring = jitsi.ring.as_deref().unwrap_or("default");
        let found = config.rings.iter().find(|known| known.spec.name.as_str() == ring);
        let algorithm = found.map(|ring| ring.spec.algorithm.to_string());
        let algorithm = algorithm.filter(|name| name.starts_with("RS")).ok_or_else(|| {
            configuration(format!(
                "profiles.jitsi.ring: ring {ring:?} makes keys that Prosody does not take; it takes RS256, RS384 and RS512"
            ))
        })?;
        let source = if asap {
            ("asap_key_server", config.issuer.join("/asap"))
        } else {
            ("cache_keys_url", config.issuer.join("/.well-known/jwks-rsa.json"))
        };
        return Ok(vec![
            format!("signature_algorithm = {}", quoted(&algorithm)),
            format!("{} = {}", source.0, quoted(&source.1)),
        ]);
    };
    if asap {
        return Err(usage("--asap is for keys that are published, and profiles.jitsi has a secret"));
    }
    let secret = match secret.parse() {
        Ok(SecretRef::Env(name)) => format!("os.getenv({})", quoted(&name)),
        Ok(SecretRef::SharedFile(path)) => {
            format!("io.lines({})()", quoted(&config.folder.join(path).display().to_string()))
        }
        // Prosody's user cannot read a private file of ours.
        _ => "io.lines(\"/etc/prosody/jitsi.secret\")() -- the same secret, in a file that Prosody alone can read".to_owned(),
    };
    Ok(vec!["signature_algorithm = \"HS256\"".to_owned(), format!("app_secret = {secret}")])
}

/// A text of Lua: JSON's escapes are Lua's but for `\u`, and control characters are in none of
/// these.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
