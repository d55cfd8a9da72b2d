//! `countersign store create`: makes a store that is not there yet.
//!
//! For a DynamoDB table, which nothing else makes: that needs rights a server should not have, and
//! costs. The other engines get what they would get when they are first opened. Done again it says
//! that the store is there. While it waits, it says for what on a terminal.

use super::{super::Context, clock};
use crate::{failure::Outcome, output, stores};
use std::io::IsTerminal;

pub(super) async fn run(context: &Context<'_>, url: Option<&str>) -> Outcome {
    let (typed, folder) = match url {
        Some(url) => (url.to_owned(), context.environment.folder.clone()),
        None => {
            let config = context.load().await?;
            (config.raw.store.url, config.folder)
        }
    };
    let url = stores::url(&typed, &folder, context.environment).await?;
    let is_watched = std::io::stderr().is_terminal();
    let progress = |text: &str| {
        if is_watched {
            output::error_line(&format!("{text} …"));
        }
    };
    let created = countersign_store::create(&url, &folder, clock()?, &progress).await?;
    if context.json {
        let body = serde_json::json!({ "made": created.made, "notes": created.notes });
        output::line(&body.to_string());
        return Ok(());
    }
    let shown = stores::shown(&typed);
    output::line(&if created.made { format!("made {shown}") } else { format!("{shown} is there already") });
    for note in &created.notes {
        output::line(&format!("  {note}"));
    }
    Ok(())
}
