//! `countersign store`: make a store, look through one, or move one to another.

mod check;
mod copy;
mod create;

use super::Context;
use crate::{args::StoreCommand, authority, failure::Outcome, stores};
use countersign_store::{Clock, Store, SystemClock};
use std::sync::Arc;

pub(super) async fn run(context: &Context<'_>, command: &StoreCommand) -> Outcome {
    match command {
        StoreCommand::Create { url } => create::run(context, url.as_deref()).await,
        StoreCommand::Check { url, empty_ok } => check::run(context, url.as_deref(), *empty_ok).await,
        StoreCommand::Copy { from, to } => copy::run(context, from, to).await,
    }
}

/// The store at a URL of the command line, where relative paths begin in the current folder. It has
/// to be there: a typing error must not make an empty one.
async fn existing(context: &Context<'_>, typed: &str) -> Outcome<Arc<dyn Store>> {
    let folder = &context.environment.folder;
    let url = stores::url(typed, folder, context.environment).await?;
    Ok(countersign_store::open_existing(&url, folder, clock()?).await?)
}

/// The clock that expiries are judged by. One that was never set would take everything to be alive.
fn clock() -> Outcome<Arc<dyn Clock>> {
    authority::check_clock(SystemClock.now())?;
    Ok(Arc::new(SystemClock))
}
