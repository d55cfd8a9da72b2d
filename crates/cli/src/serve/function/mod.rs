//! The same program as an AWS Lambda function: one event at a time, answered by the routes of the
//! server.
//!
//! Lambda freezes the process between events, so nothing runs in the background: the store is
//! looked at before an answer when `store.refresh` has passed, time that was spent frozen counts
//! (`clock`), keys change by scheduled events alone (`schedule`), and each record of the log is
//! written before the answer it belongs to. A start reads the keyring and no more, unless something
//! is missing. A store that is away is no reason to end: requests get 503, and each of them tries
//! again.
//!
//! The caller's address is that of `requestContext`; behind a load balancer nobody's is known, and
//! all callers count as one. `/gate` is not served, because there is no proxy to know by its
//! address. Pinned by `tests/e2e/test_lambda.py` and its neighbours.

mod clock;
mod schedule;

use super::{
    endpoints::Endpoints,
    peer,
    refresh::{Refresh, State},
    request::{objection, refuse},
    started::{self, Place},
};
use crate::{
    authority::{self, Authority},
    commands::{CARRIERS, Context},
    config::{self, Config, Limits},
    failure::{Outcome, configuration, internal},
    rotation::Rotation,
};
use axum::{
    body::Body,
    http::{Method, Request, Response, StatusCode},
};
use bytes::Bytes;
use clock::FunctionClock;
use countersign_issuer::{Issuer, http::Peer};
use countersign_lambda::{
    Event, HttpEvent,
    runtime::{self, Failure as Failed},
};
use countersign_settings::{duration::words, log};
use countersign_store::{Clock, Moment};
use http_body_util::BodyExt;
use ipnet::IpNet;
use serde_json::value::RawValue;
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Mutex;

/// How long a start waits for the keys. After 10 s Lambda would begin it anew.
const START: Duration = Duration::from_secs(8);
/// How long an answer waits for a look at the store. API Gateway gives discovery and JWKS 1.5 s.
const LOOK: Duration = Duration::from_secs(1);
/// The address of a load balancer, which its events do not have, and of callers that nobody has
/// told the address of.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Answers events until Lambda ends the process.
pub(super) async fn run(context: &Context<'_>) -> Outcome {
    runtime::check(context.environment).map_err(configuration)?;
    let config = load(context).await?;
    let most: Vec<_> = CARRIERS.into_iter().chain(runtime::LOG).collect();
    log::start_below(&config.raw.log, &most)?;
    if !config.raw.gate.proxies.is_empty() {
        tracing::warn!("[[gate.proxies]] has no effect here: /gate is not served on Lambda");
    }
    let clock: Arc<dyn Clock> = Arc::new(FunctionClock::start());
    let at_work = match tokio::time::timeout(START, AtWork::open(context, config, &clock)).await {
        Ok(Ok(at_work)) => Some(at_work),
        Ok(Err(why)) if !why.is_internal() => return Err(why),
        Ok(Err(why)) => {
            tracing::error!("the keys cannot be read; this is tried again with each request: {why}");
            None
        }
        Err(_) => {
            tracing::error!(
                "the keys could not be read within {}; this is tried again with each request",
                words(START)
            );
            None
        }
    };
    let function = Function { context, clock, at_work: Mutex::new(at_work) };
    runtime::run(async |event| function.answer(&event).await, async || {}).await.map_err(internal)
}

/// The configuration: a file in the package or on AWS, or variables alone.
async fn load(context: &Context<'_>) -> Outcome<Config> {
    let (environment, http) = (context.environment, context.http);
    if context.has_configuration() {
        return config::load(&context.location, environment, http).await;
    }
    config::from_environment(environment, http).await
}

struct Function<'a> {
    context: &'a Context<'a>,
    clock: Arc<dyn Clock>,
    /// One event at a time is all that Lambda sends. `None` until the store could be opened.
    at_work: Mutex<Option<AtWork>>,
}

/// Everything a request needs.
struct AtWork {
    issuer: Arc<Issuer>,
    endpoints: Endpoints,
    limits: Limits,
    trusted_proxies: Vec<IpNet>,
    refresh: Refresh,
    state: State,
    looked_at: Moment,
}

impl Function<'_> {
    async fn answer(&self, event: &RawValue) -> Result<Box<RawValue>, Failed> {
        match Event::parse(event.get()) {
            Ok(Event::Http(mut event)) => {
                let response = self.respond(&mut event).await;
                event.reply(&response).ok_or_else(|| failed("Internal", "the answer cannot be written"))
            }
            Ok(Event::Schedule) => {
                let outcome = self.scheduled().await;
                outcome.map_err(|why| {
                    tracing::error!("a scheduled turn of the key rotation failed: {why}");
                    failed("RotationFailed", why)
                })
            }
            Err(why) => {
                tracing::error!("{why}");
                Err(failed("UnknownEvent", why))
            }
        }
    }

    async fn respond(&self, event: &mut HttpEvent) -> Response<Bytes> {
        let mut at_work = self.at_work.lock().await;
        let response = match self.ready(&mut at_work).await {
            Ok(at_work) => at_work.respond(event, self.clock.moment()).await,
            Err(why) => {
                tracing::error!("the keys cannot be read: {why}");
                refuse(StatusCode::SERVICE_UNAVAILABLE, "the keys cannot be read now; try again")
            }
        };
        whole(response).await
    }

    /// What is at work, opened if it was not.
    async fn ready<'w>(&self, at_work: &'w mut Option<AtWork>) -> Outcome<&'w mut AtWork> {
        if let Some(at_work) = at_work {
            return Ok(at_work);
        }
        let opened = AtWork::open(self.context, load(self.context).await?, &self.clock).await?;
        Ok(at_work.insert(opened))
    }
}

impl AtWork {
    async fn open(context: &Context<'_>, mut config: Config, clock: &Arc<dyn Clock>) -> Outcome<Self> {
        let environment = context.environment;
        let read = Authority::read(Arc::clone(clock), &config, environment).await?;
        let (authority, keyring) = match read {
            Some(read) => read,
            None => {
                let first_keys = config.first_keys;
                let authority =
                    Authority::open_by(Arc::clone(clock), first_keys, &config, environment).await?;
                let keyring = authority.load(&config).await?;
                (authority, keyring)
            }
        };
        let place = Place::of(&config, environment, context.location.shown());
        let (limits, trusted_proxies) = (config.limits, config.trusted_proxies.clone());
        let (metrics_allow, grants) = (config.metrics_allow.clone(), config.grants.take());
        let webhook = config.webhook.take();
        let resource = config.gate.as_ref().and_then(|gate| gate.resource().cloned());
        let rotation = Rotation::new(&config, &authority);
        let refresh = Refresh::new(&config, &authority, keyring.clone(), rotation);
        let issuer = authority::issuer(config, keyring, Arc::clone(clock))?;
        let issuer = Arc::new(issuer.with_store_times(authority.store_times()));
        started::tell(&place, &issuer, "AWS Lambda");
        super::running::report_profiles_without_key(&issuer);
        refresh.shorten_max_age(&issuer);
        let endpoints = Endpoints::new(&issuer, metrics_allow, grants, webhook, &authority, resource);
        let state = refresh.begin();
        Ok(Self { issuer, endpoints, limits, trusted_proxies, refresh, state, looked_at: clock.moment() })
    }

    async fn respond(&mut self, event: &mut HttpEvent, now: Moment) -> Response<Body> {
        if now.since(self.looked_at) >= self.refresh.every {
            self.look(now, LOOK).await;
        }
        let request = match event.take_request(self.limits.header_bytes) {
            Ok(request) => request,
            Err(why) => return refuse(why.status(), &why.to_string()),
        };
        if let Some(refusal) = objection(&request, &self.limits) {
            return refusal;
        }
        let address = event.address().unwrap_or(UNKNOWN);
        // API Gateway names the address that asked it, which may be that of a proxy that is trusted
        // to say for whom.
        let address = peer::origin(address, request.headers(), &self.trusted_proxies).address;
        self.mint_or_tell(request, Peer(address)).await
    }

    /// A token whose record was lost does not leave.
    async fn mint_or_tell(&self, request: Request<Bytes>, peer: Peer) -> Response<Body> {
        let (may_mint, lost) = (request.method() == Method::POST, log::audit_lost());
        let response = self.endpoints.answer(request.map(Body::from), peer).await;
        if may_mint && response.status().is_success() && log::audit_lost() > lost {
            return refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "the log cannot be written, so that nothing is minted",
            );
        }
        response
    }

    /// Takes up what others have changed. A store that does not answer in time leaves the keys last
    /// read in use, for as long as `store.max_stale_signing` allows.
    async fn look(&mut self, now: Moment, within: Duration) {
        self.looked_at = now;
        let look = self.refresh.look(&self.issuer, &mut self.state);
        if tokio::time::timeout(within, look).await.is_err() {
            tracing::warn!(
                "the store did not answer within {}; the keys last read stay in use",
                words(within)
            );
        }
        self.refresh.shorten_max_age(&self.issuer);
    }
}

async fn whole(response: Response<Body>) -> Response<Bytes> {
    let (parts, body) = response.into_parts();
    // Every body is at hand, so that none fails half way.
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Response::from_parts(parts, body)
}

fn failed(kind: &'static str, why: impl ToString) -> Failed {
    Failed { kind, message: why.to_string() }
}
