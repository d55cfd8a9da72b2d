//! An event of 8x8 JaaS (developer.8x8.com/jaas/docs/webhooks-payload): what it is called, and
//! whose it is.
//!
//! Only what is needed to take it once and to say which it was is read; the rest goes on as it
//! came.

use axum::http::HeaderValue;
use countersign_jose::json::{Object, string};
use std::borrow::Cow;

/// How deep an event may nest.
const MAX_DEPTH: usize = 32;
/// The longest text that is looked at: ids, names of rooms.
const MAX_TEXT: usize = 512;

/// What is read of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The same for each time that it is sent. It goes on in a header.
    pub(crate) idempotency_key: HeaderValue,
    /// `ROOM_CREATED`, `PARTICIPANT_JOINED`, …; new ones come without notice.
    pub(crate) kind: String,
    /// `{AppID}/{room}`.
    pub(crate) room: Option<String>,
    pub(crate) session: Option<String>,
}

/// Why a body that 8x8 has signed is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EventError {
    #[error("the body is not a JSON object")]
    NotAnObject,
    #[error("the event has no `{0}`, or it is not a text of 1 to {MAX_TEXT} plain characters")]
    Member(&'static str),
    #[error("the event is of another AppID than this webhook's (`webhooks.jaas.app_id`)")]
    OtherApp,
}

impl Event {
    /// What it is called, as text.
    pub(crate) fn key(&self) -> &str {
        // Graphic ASCII is text.
        self.idempotency_key.to_str().unwrap_or_default()
    }

    /// Reads an event of this AppID.
    pub(crate) fn parse(body: &[u8], app_id: &str) -> Result<Self, EventError> {
        let object = Object::parse(body, MAX_DEPTH).map_err(|_| EventError::NotAnObject)?;
        let text = |name: &'static str| -> Result<String, EventError> {
            let text = object.get(name).and_then(string).map(Cow::into_owned);
            let is_plain = |text: &String| !text.chars().any(char::is_control);
            let fits = |text: &String| (1..=MAX_TEXT).contains(&text.chars().count()) && is_plain(text);
            text.filter(fits).ok_or(EventError::Member(name))
        };
        let key = text("idempotencyKey")?;
        let is_graphic = key.bytes().all(|byte| byte.is_ascii_graphic());
        let key = Some(key).filter(|_| is_graphic).and_then(|key| HeaderValue::try_from(key).ok());
        let event = Self {
            idempotency_key: key.ok_or(EventError::Member("idempotencyKey"))?,
            kind: text("eventType")?,
            room: text("fqn").ok(),
            session: text("sessionId").ok(),
        };
        if text("appId")? == app_id { Ok(event) } else { Err(EventError::OtherApp) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of 8x8's page.
    const CREATED: &str = r#"{"idempotencyKey":"d11f155d-ced5-4a7e-b6d9-aaa135c64f65","customerId":"c2824d584eac4489a1e32e4e164d5a3c",
        "appId":"app","eventType":"ROOM_CREATED","sessionId":"c3348153-1027-4382-afad-5ae91b433c26","timestamp":1600951800112,
        "fqn":"app/testroom2","data":{"conference":"testroom2@conference.app.stage.8x8.vc"}}"#;

    #[test]
    fn an_event_is_known_by_its_key_and_taken_for_its_own_app_alone() {
        let event = Event::parse(CREATED.as_bytes(), "app").unwrap();
        assert_eq!(event.idempotency_key, "d11f155d-ced5-4a7e-b6d9-aaa135c64f65");
        assert_eq!((event.kind.as_str(), event.room.as_deref()), ("ROOM_CREATED", Some("app/testroom2")));
        assert_eq!(Event::parse(CREATED.as_bytes(), "app2"), Err(EventError::OtherApp));
        for (old, new, why) in [
            ("idempotencyKey", "key", EventError::Member("idempotencyKey")),
            ("eventType", "type", EventError::Member("eventType")),
            ("appId", "app", EventError::Member("appId")),
            (r#""d11f155d-ced5-4a7e-b6d9-aaa135c64f65""#, "7", EventError::Member("idempotencyKey")),
            (r#""d11f155d-ced5-4a7e-b6d9-aaa135c64f65""#, r#""""#, EventError::Member("idempotencyKey")),
            (r#""customerId""#, r#""appId""#, EventError::NotAnObject),
            ("}}", "}", EventError::NotAnObject),
        ] {
            assert_eq!(Event::parse(CREATED.replacen(old, new, 1).as_bytes(), "app"), Err(why), "{new}");
        }
        assert!(Event::parse(CREATED.replace("ROOM_CREATED", "SOMETHING_NEW").as_bytes(), "app").is_ok());
    }
}
