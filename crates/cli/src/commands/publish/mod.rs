//! `countersign publish`: the public documents as files, the same bytes that the server answers.
//!
//! Keys are written before what refers to them, each file whole or not at all, and only where its bytes differ, so that it can be
//! run again after it was cut off, by two at once, or every minute. Files of keys that are gone are removed last.

use super::Context;
use crate::{
    args::PublishArgs,
    authority::{self, Authority},
    failure::{Outcome, configuration, refused},
    output,
};
use countersign_issuer::{Issuer, PublicDocuments};
use countersign_verifier::{Fetch, FetchLimits, HttpsFetch, KeyUrl};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};

/// The folder of the PEM files, whose names come and go with the keys.
const ASAP: &str = "asap";

pub(super) async fn run(context: &Context<'_>, args: &PublishArgs) -> Outcome {
    let config = context.load()?;
    let authority = Authority::open(&config, context.environment).await?;
    let keyring = authority.load(&config).await?;
    let issuer = authority::issuer(config, keyring, Arc::clone(&authority.clock))?;
    match &args.folder {
        Some(folder) => write(context, &issuer.documents(), folder),
        None => check(context, &issuer).await,
    }
}

fn write(context: &Context<'_>, documents: &PublicDocuments, folder: &Path) -> Outcome {
    let about = |path: &Path| {
        let shown = path.display().to_string();
        move |why: io::Error| configuration(format!("{shown} can not be written: {why}"))
    };
    let mut all: Vec<_> = documents.iter().collect();
    // Discovery, which refers to the others, comes last.
    all.sort_by_key(|(path, _)| {
        path.contains("openid-configuration") || path.contains("authorization-server")
    });
    let mut written = Vec::new();
    for (path, document) in &all {
        let file = folder.join(path.trim_start_matches('/'));
        if fs::read(&file).is_ok_and(|bytes| bytes == document.body) {
            continue;
        }
        replace(&file, &document.body).map_err(about(&file))?;
        written.push(*path);
    }
    let removed = remove_gone(documents, &folder.join(ASAP)).map_err(about(&folder.join(ASAP)))?;
    if context.json {
        let rows = all.iter().map(|(path, document)| {
            serde_json::json!({
                "path": path, "content_type": document.content_type, "cache_control": document.cache_control,
                "written": written.contains(path),
            })
        });
        let report = serde_json::json!({ "documents": rows.collect::<Vec<_>>(), "removed": removed });
        output::line(&report.to_string());
        return Ok(());
    }
    output::line(&format!("{} of {} documents written to {}", written.len(), all.len(), folder.display()));
    for (path, document) in all {
        output::line(&format!("  {path}  {}; {}", document.content_type, document.cache_control));
    }
    for path in removed {
        output::line(&format!("  {path}  removed"));
    }
    Ok(())
}

/// Puts a file in place of another as a whole; anyone may read it.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let aside = folder.join(format!(".{name}.{}.new", std::process::id()));
    let placed = (|| {
        let mut open = fs::OpenOptions::new();
        let mut new = open.write(true).create(true).truncate(true).mode(0o644).open(&aside)?;
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(&aside, file)
    })();
    if placed.is_err() {
        let _ = fs::remove_file(&aside);
    }
    placed
}

/// Removes the PEM files of keys that are gone, and nothing that could be somebody else's.
fn remove_gone(documents: &PublicDocuments, folder: &Path) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(removed),
        Err(why) => return Err(why),
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let ours = name.strip_suffix(".pem").is_some_and(|hash| {
            hash.len() == 64 && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        let path = format!("/{ASAP}/{name}");
        if ours && documents.get(&path).is_none() {
            fs::remove_file(folder.join(&name))?;
            removed.push(path);
        }
    }
    removed.sort();
    Ok(removed)
}

/// Compares what the world is served with what it should be.
async fn check(context: &Context<'_>, issuer: &Issuer) -> Outcome {
    let fetch = HttpsFetch::new(FetchLimits::default());
    let mut wrong = Vec::new();
    let documents = issuer.documents();
    for (path, document) in documents.iter() {
        let url = issuer.settings().issuer.join(path);
        let parsed = KeyUrl::parse(&url).map_err(|why| configuration(format!("{url}: {why}")))?;
        let verdict = match fetch.fetch(&parsed).await {
            Ok(answer) if answer.body == document.body => None,
            Ok(_) => Some("is not what it should be".to_owned()),
            Err(why) => Some(why.to_string()),
        };
        if let Some(why) = verdict {
            wrong.push(format!("{url}: {why}"));
        }
    }
    if !wrong.is_empty() {
        return Err(refused("published_differs", wrong.join("; ")));
    }
    let count = documents.iter().count();
    if context.json {
        output::line(&serde_json::json!({ "checked": count }).to_string());
    } else {
        output::line(&format!("{count} documents at {} are what they should be", issuer.settings().issuer));
    }
    Ok(())
}
