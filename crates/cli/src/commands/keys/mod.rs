//! `countersign keys`: look at keys and move them along, export public ones, import private ones.

mod accept_loss;
mod adopt;
mod correct_times;
mod generate;
mod import;
mod init;
mod key_texts;
mod life;
mod list;
mod prepare;
mod reached;
mod reseal;
mod revoke;
mod rotate;

use super::Context;
use crate::{
    args::{ExportFormat, KeysCommand},
    authority::Authority,
    failure::{Failure, Outcome, refused, usage},
    files, output,
};
use countersign_issuer::x509_map;
use countersign_jose::{Algorithm, KeyError, PublicJwk};
use countersign_keyring::{Activation, Certificate, ImportedKey, ImportedMaterial, RingName};
use zeroize::Zeroizing;

pub(super) async fn run(context: &Context<'_>, command: KeysCommand) -> Outcome {
    match command {
        KeysCommand::List => list::run(context).await,
        KeysCommand::Init => init::run(context).await,
        KeysCommand::AcceptLoss { kids, sequence } => accept_loss::run(context, &kids, sequence).await,
        KeysCommand::CorrectTimes => correct_times::run(context).await,
        KeysCommand::Prepare { ring, show_secret } => prepare::run(context, &ring, show_secret).await,
        KeysCommand::Publish { kid } => life::publish(context, &kid).await,
        KeysCommand::Activate { kid, force } => life::activate(context, &kid, force).await,
        KeysCommand::Retire { kid } => life::retire(context, &kid).await,
        KeysCommand::Revoke { kid } => revoke::run(context, &kid).await,
        KeysCommand::Remove { kid, signed_nothing } => life::remove(context, &kid, signed_nothing).await,
        KeysCommand::Adopt { digest } => adopt::run(context, digest.as_deref()).await,
        KeysCommand::Rotate(args) => rotate::run(context, &args).await,
        KeysCommand::Export { public: _, format, ring } => export(context, format, ring.as_ref()).await,
        KeysCommand::Reseal { new_data_key } => reseal::run(context, new_data_key).await,
        KeysCommand::Generate(args) => generate::run(context, &args).await,
        KeysCommand::Import { from, ring, kid, algorithm, activate } => {
            let activation = if activate { Activation::Now } else { Activation::IfRingHasNone };
            import::run(context, from, import::Into { ring, kid, algorithm, activation }).await
        }
    }
}

/// The one private key of a file, or of standard input, with its name and algorithm.
pub(super) fn read_one(file: &str, kid: Option<&str>, algorithm: Option<Algorithm>) -> Outcome<ImportedKey> {
    let text = match file {
        "-" => files::read_standard_input().map_err(|why| usage(format!("standard input: {why}")))?,
        file => files::read_text(file.as_ref()).map_err(|why| usage(format!("--key {file}: {why}")))?,
    };
    let about = |why: Failure| why.about(format!("--key {file}"));
    let mut read = key_texts::of_text(&Zeroizing::new(text)).map_err(about)?;
    let (Some(key), true) = (read.pop(), read.is_empty()) else {
        return Err(usage(format!(
            "--key {file}: there are several keys; import them with `countersign keys import`"
        )));
    };
    let own = || match &key.material {
        ImportedMaterial::Private(key) => Algorithm::default_for(key.kind()),
        ImportedMaterial::Secret(_) | ImportedMaterial::Remote { .. } => None,
    };
    let algorithm = algorithm.or(key.algorithm).or_else(own);
    let algorithm = algorithm.ok_or_else(|| about(refused("key_no_algorithm", KeyError::NoAlgorithm)))?;
    let key = ImportedKey { kid: kid.map(str::to_owned).or(key.kid), algorithm, material: key.material };
    key.signer().map_err(|why| about(refused(why.code(), why)))?;
    Ok(key)
}

async fn export(context: &Context<'_>, format: ExportFormat, ring: Option<&RingName>) -> Outcome {
    let config = context.load().await?;
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority.keyring.read().await?;
    if let Some(ring) = ring.filter(|ring| keyring.ring(ring).is_none()) {
        config.ring(ring)?;
    }
    let chosen = keyring.rings().filter(|(name, _)| ring.is_none_or(|ring| ring == *name));
    let keys: Vec<(PublicJwk, Option<&Certificate>)> = chosen
        .flat_map(|(_, ring)| ring.keys())
        .filter_map(|key| Some((key.public_jwk()?, key.certificate())))
        .collect();
    if keys.is_empty() {
        return Err(refused("no_public_keys", "there are no public keys to export"));
    }
    match format {
        ExportFormat::Jwks => {
            let keys: Vec<_> = keys.iter().map(|(jwk, _)| jwk).collect();
            output::line(&serde_json::json!({ "keys": keys }).to_string());
        }
        ExportFormat::X509 => {
            for (jwk, _) in keys.iter().filter(|(_, certificate)| certificate.is_none()) {
                tracing::warn!(
                    kid = jwk.kid,
                    "this key has no certificate yet; it gets one at the next change of the keyring"
                );
            }
            let certified = keys.iter().filter_map(|(jwk, certificate)| Some((jwk, (*certificate)?)));
            output::line(&x509_map(certified));
        }
        ExportFormat::Pem if context.json => {
            let pems = keys.iter().map(|(jwk, _)| jwk.key.to_pem()).collect::<Result<Vec<_>, _>>();
            let pems = pems.map_err(|why| refused(why.code(), why))?;
            output::line(&serde_json::json!({ "pem": pems }).to_string());
        }
        ExportFormat::Pem => {
            for (jwk, _) in keys {
                output::line(jwk.key.to_pem().map_err(|why| refused(why.code(), why))?.trim_end());
            }
        }
    }
    Ok(())
}
