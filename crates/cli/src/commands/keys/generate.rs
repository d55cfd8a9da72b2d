//! `countersign keys generate --jaas`: a key for 8x8 JaaS, and how it comes to sign.
//!
//! 8x8 gives a key its name when its public half is uploaded, and a key cannot be in the keyring
//! without one. So the private half waits in a file that its owner alone can read, until
//! `countersign keys import` takes it over. Neither store nor keyring is touched, and no key is
//! ever written over another. Pinned by tests/e2e/test_jaas_keys.py.

use super::Context;
use crate::{
    args::GenerateArgs,
    failure::{Outcome, internal, refused, unwritable},
    files::{self, Created},
    output,
};
use countersign_jose::{Algorithm, KeySize, PrivateKey};
use countersign_settings::Environment;

/// What there is to know of the AppID and the ring before the key has a name.
struct Place {
    app_id: String,
    ring: String,
    has_profile: bool,
}

impl Place {
    async fn of(context: &Context<'_>) -> Outcome<Self> {
        let unknown = |environment: &Environment| {
            let app_id = environment.get("JAAS_APP_ID").unwrap_or("APPID").to_owned();
            Self { app_id, ring: "jaas".to_owned(), has_profile: false }
        };
        if !context.has_configuration() {
            return Ok(unknown(context.environment));
        }
        let config = context.load().await?;
        Ok(match &config.raw.profiles.jaas {
            Some(jaas) => Self { app_id: jaas.app_id.clone(), ring: jaas.ring.clone(), has_profile: true },
            None => unknown(context.environment),
        })
    }
}

pub(super) async fn run(context: &Context<'_>, args: &GenerateArgs) -> Outcome {
    let size = match args.rsa_bits {
        2048 => KeySize::Rsa2048,
        3072 => KeySize::Rsa3072,
        _ => KeySize::Rsa4096,
    };
    let place = Place::of(context).await?;
    let file = context.environment.folder.join(&args.out);
    let shown = args.out.display();
    let key = PrivateKey::generate(Algorithm::RS256, size).map_err(internal)?;
    let public = key.public_key().to_pem().map_err(internal)?;
    let private = key.to_pem().map_err(internal)?;
    match files::create(&file, private.as_bytes()).map_err(|why| unwritable(file.display(), &why))? {
        Created::New => {}
        Created::AlreadyThere => {
            let why = format!(
                "{shown} is there already, and no key is written over another; name a file with --out"
            );
            return Err(refused("file_exists", why));
        }
    }
    let Place { app_id, ring, has_profile } = &place;
    let import = format!("countersign keys import {shown} --ring {ring} --kid {app_id}/KEYID --activate");
    if context.json {
        let line =
            serde_json::json!({ "public_key": public, "private_key_file": args.out, "import": import });
        output::line(&line.to_string());
        return Ok(());
    }
    output::line(public.trim_end());
    output::line("");
    output::line(
        "1. Upload this public key in the JaaS console (https://jaas.8x8.vc): API keys, Add API key.",
    );
    output::line(&format!(
        "2. The console shows the key's id, {app_id}/KEYID. Import the private key under it:"
    ));
    output::line(&format!("     {import}"));
    output::line(&format!(
        "3. Delete {shown}: from then on the key is sealed in the store, and nobody needs the file."
    ));
    if !has_profile {
        output::line(
            "The configuration needs the profile for that: [profiles.jaas] with app_id (docs/jaas.md).",
        );
    }
    output::line(
        "If another key signed before: 8x8 accepts both until you delete the old one in the console. Do that when its last token \
         has expired, and at once if it was stolen.",
    );
    Ok(())
}
