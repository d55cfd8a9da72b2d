//! An event as Lambda gets it, recognised by the members that only its source writes.
//!
//! | source | known by |
//! |---|---|
//! | load balancer | `requestContext.elb` |
//! | HTTP API 2.0, function URL | `version` 2.0 and `requestContext.http`; the domain tells them apart |
//! | REST API, HTTP API 1.0 | `httpMethod` and a `requestContext` with its own; an HTTP API has a `version` |
//! | schedule | `source` `aws.events` or `aws.scheduler`, and `detail-type` `Scheduled Event` |
//!
//! Members that are not needed are passed over, whatever they are. A member that is needed and has
//! another type makes the event an unknown one.

use serde::Deserialize;
use std::{collections::BTreeMap, net::IpAddr};

/// An event that this function takes.
#[derive(Debug)]
pub enum Event {
    /// A request somebody has sent.
    Http(Box<HttpEvent>),
    /// A schedule of EventBridge has come round.
    Schedule,
}

/// Why an event is not one of those. Holds nothing of the event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this function takes requests of API Gateway, function URLs and load balancers, and schedules; {0}")]
pub struct Unknown(String);

/// Where an HTTP event comes from, which is also the form of its reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// REST API.
    Rest,
    /// HTTP API, payload format 1.0.
    HttpV1,
    /// HTTP API, payload format 2.0.
    HttpV2,
    /// Function URL.
    FunctionUrl,
    /// Application load balancer. Its target group has one value for each header, or all of them.
    LoadBalancer {
        /// `lambda.multi_value_headers.enabled` is on.
        multi_value_headers: bool,
    },
}

impl Source {
    /// The name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST API",
            Self::HttpV1 => "HTTP API, payload 1.0",
            Self::HttpV2 => "HTTP API, payload 2.0",
            Self::FunctionUrl => "function URL",
            Self::LoadBalancer { .. } => "load balancer",
        }
    }
}

/// A request as its event has it.
#[derive(Debug)]
pub struct HttpEvent {
    pub(crate) source: Source,
    pub(crate) raw: Raw,
}

pub(crate) type Single = BTreeMap<String, Option<String>>;
pub(crate) type Multi = BTreeMap<String, Option<Vec<Option<String>>>>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Raw {
    version: Option<String>,
    r#type: Option<String>,
    source: Option<String>,
    #[serde(rename = "detail-type")]
    detail_type: Option<String>,
    pub(crate) http_method: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) raw_path: Option<String>,
    pub(crate) raw_query_string: Option<String>,
    pub(crate) path_parameters: Option<Single>,
    pub(crate) headers: Option<Single>,
    pub(crate) multi_value_headers: Option<Multi>,
    pub(crate) query_string_parameters: Option<Single>,
    pub(crate) multi_value_query_string_parameters: Option<Multi>,
    pub(crate) cookies: Option<Vec<String>>,
    pub(crate) body: Option<String>,
    pub(crate) is_base64_encoded: Option<bool>,
    pub(crate) request_context: Option<Context>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Context {
    elb: Option<serde::de::IgnoredAny>,
    pub(crate) http: Option<Http>,
    http_method: Option<String>,
    identity: Option<Identity>,
    pub(crate) stage: Option<String>,
    pub(crate) domain_name: Option<String>,
    connection_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Http {
    pub(crate) method: String,
    source_ip: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    source_ip: Option<String>,
}

impl Event {
    /// Recognises an event.
    ///
    /// # Errors
    ///
    /// [`Unknown`]: the event is not one that this function takes.
    pub fn parse(json: &str) -> Result<Self, Unknown> {
        // What does not fit serde_json quotes, and it may be a secret.
        let raw: Raw = serde_json::from_str(json).map_err(|why| {
            Unknown(format!("this event is of another shape (line {}, column {})", why.line(), why.column()))
        })?;
        let text = |text: &Option<String>| text.as_deref().map(str::to_owned).unwrap_or_default();
        let (version, detail_type, from) = (text(&raw.version), text(&raw.detail_type), text(&raw.source));
        if raw.r#type.is_some() {
            return unknown("this is one of an authorizer, which is the program countersign-authorizer");
        }
        let Some(context) = &raw.request_context else {
            return match (from.as_str(), detail_type.as_str()) {
                ("aws.events" | "aws.scheduler", "Scheduled Event") => Ok(Self::Schedule),
                _ => unknown("this event has neither a requestContext nor the source of a schedule"),
            };
        };
        let source = if context.elb.is_some() {
            Source::LoadBalancer { multi_value_headers: raw.multi_value_headers.is_some() }
        } else if version == "2.0" && context.http.is_some() {
            match &context.domain_name {
                Some(domain) if domain.contains(".lambda-url.") => Source::FunctionUrl,
                _ => Source::HttpV2,
            }
        } else if context.connection_id.is_some() {
            return unknown("this is one of a WebSocket API");
        } else if raw.http_method.is_some() && context.http_method.is_some() {
            match version.as_str() {
                "" => Source::Rest,
                "1.0" => Source::HttpV1,
                _ => return unknown("the version of its payload is neither 1.0 nor 2.0"),
            }
        } else {
            return unknown("the requestContext of this event is of none of them");
        };
        Ok(Self::Http(Box::new(HttpEvent { source, raw })))
    }
}

fn unknown(why: &str) -> Result<Event, Unknown> {
    Err(Unknown(why.to_owned()))
}

impl HttpEvent {
    /// Where it comes from.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// The address of the caller, as API Gateway or the function URL has seen it; load balancers
    /// tell it in a header alone.
    pub fn address(&self) -> Option<IpAddr> {
        let context = self.raw.request_context.as_ref()?;
        let text = match self.source {
            Source::Rest | Source::HttpV1 => context.identity.as_ref()?.source_ip.as_deref(),
            Source::HttpV2 | Source::FunctionUrl => context.http.as_ref()?.source_ip.as_deref(),
            Source::LoadBalancer { .. } => None,
        };
        text?.parse().ok()
    }
}
