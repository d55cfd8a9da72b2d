//! Events that others send to this server, of 8x8 JaaS so far: `POST /webhooks/jaas`.
//!
//! A request is walked in one direction: signature header and its time (`signature`) → body → HMAC
//! → event (`event`) → taken once, on all servers (`once`) → handed to the log or to one HTTP
//! target (`target`) → remembered. What could not be handed on is not remembered and is answered
//! with 503, so that 8x8 sends it again (`route`). The target's address and all secrets come from
//! the configuration; nothing of a request chooses where anything goes. Decision 0058.

mod event;
mod once;
mod route;
mod signature;
mod target;

pub use route::{JaasWebhook, JaasWebhookSettings, PATH};
pub use signature::{MAX_SECRETS, WebhookSecret, WebhookSecretError};
pub use target::{Target, TargetError, TargetToken};
