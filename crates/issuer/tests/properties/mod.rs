//! What holds for any body of `POST /sign`. Called by the property tests and by the fuzz target
//! `sign_body`.

use countersign_issuer::SignRequest;
use countersign_jose::json::Object;
use serde_json::Value;

/// Reading a body never panics, and what is read is what was sent.
///
/// # Panics
///
/// When that does not hold.
#[cfg_attr(test, expect(unreachable_pub, reason = "a test has no outside; the fuzz crate needs it public"))]
pub fn sign_body(body: &[u8]) {
    let Ok(request) = SignRequest::parse(body, 16) else { return };
    Object::parse(body, 16).expect("an accepted body is acceptable as a whole");
    let sent: Value = serde_json::from_slice(body).expect("an accepted body is JSON");
    let data = sent.get("data").and_then(Value::as_object).expect("an accepted body has `data`");
    assert_eq!(request.data.members().len(), data.len());
    for (name, raw) in request.data.members() {
        let value: Value = serde_json::from_str(raw.get()).expect("a claim is JSON");
        assert_eq!(data.get(name), Some(&value));
    }
    if let Some(duration) = request.duration {
        assert_eq!(sent.pointer("/metadata/duration").and_then(Value::as_u64), Some(duration.as_secs()));
        assert!(duration.as_secs() > 0);
    }
    if let Some(audience) = &request.audience {
        assert!(!audience.names().is_empty());
        assert!(audience.names().iter().all(|name| !name.is_empty()));
    }
    // The members come back in an object of their own exactly as they were.
    let rebuilt: Vec<String> =
        request.data.members().map(|(name, raw)| format!("{}:{}", Value::from(name), raw.get())).collect();
    let rebuilt = format!("{{{}}}", rebuilt.join(","));
    let again = Object::parse(rebuilt.as_bytes(), 16).expect("the members make an object again");
    assert!(again.members().map(|(n, v)| (n, v.get())).eq(request.data.members().map(|(n, v)| (n, v.get()))));
}
