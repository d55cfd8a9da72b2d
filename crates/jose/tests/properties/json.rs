//! `json::Object` against serde_json: it accepts exactly the objects serde_json accepts that are
//! free of duplicates and not too deep, and reads the same values from them.

use countersign_jose::json::{JsonError, Object};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Checks the strict reader against the ordinary one, at several depth limits.
pub fn json(data: &[u8]) {
    let expected = Reading::of(data);
    for limit in [1, 2, 4, 16, 32] {
        match (Object::parse(data, limit), &expected) {
            (Ok(object), Some(reading)) => {
                assert!(
                    reading.is_object && !reading.duplicate && reading.depth <= limit,
                    "accepted: {reading:?}"
                );
                same_values(&object, data);
            }
            (Ok(_), None) => panic!("accepts what serde_json does not"),
            (Err(why), Some(reading)) => {
                let fine = reading.is_object && !reading.duplicate && reading.depth <= limit;
                assert!(!fine, "refused: {why:?}");
                if why == JsonError::DuplicateMember {
                    assert!(reading.duplicate);
                }
                assert_eq!(why == JsonError::NotAnObject, !reading.is_object, "{why:?}");
            }
            (Err(_), None) => {}
        }
    }
}

fn same_values(object: &Object<'_>, data: &[u8]) {
    let Ok(Value::Object(whole)) = serde_json::from_slice(data) else { panic!("not an object") };
    assert_eq!(object.members().len(), whole.len());
    for (name, raw) in object.members() {
        let value: Value = serde_json::from_str(raw.get()).expect("a member is JSON");
        assert_eq!(whole.get(name), Some(&value));
        assert_eq!(object.get(name).map(|raw| raw.get()), Some(raw.get()));
        let text = countersign_jose::json::string(raw);
        assert_eq!(text.as_deref(), value.as_str());
    }
}

/// What serde_json's own tokens say about a document; nothing of the crate under test is used.
#[derive(Debug, Default)]
struct Reading {
    is_object: bool,
    duplicate: bool,
    depth: usize,
}

impl Reading {
    fn of(data: &[u8]) -> Option<Self> {
        serde_json::from_slice(data).ok()
    }
}

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadingVisitor)
    }
}

struct ReadingVisitor;

impl<'de> Visitor<'de> for ReadingVisitor {
    type Value = Reading;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Reading, E> {
        Ok(Reading::default())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Reading, E> {
        Ok(Reading::default())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Reading, E> {
        Ok(Reading::default())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Reading, E> {
        Ok(Reading::default())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<Reading, E> {
        Ok(Reading::default())
    }
    fn visit_unit<E: Error>(self) -> Result<Reading, E> {
        Ok(Reading::default())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Reading, A::Error> {
        let mut all = Reading::default();
        while let Some(one) = seq.next_element::<Reading>()? {
            all.duplicate |= one.duplicate;
            all.depth = all.depth.max(one.depth);
        }
        Ok(Reading { is_object: false, depth: all.depth + 1, ..all })
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Reading, A::Error> {
        let (mut all, mut names) = (Reading::default(), Vec::new());
        while let Some((name, one)) = map.next_entry::<String, Reading>()? {
            all.duplicate |= one.duplicate || names.contains(&name);
            all.depth = all.depth.max(one.depth);
            names.push(name);
        }
        Ok(Reading { is_object: true, depth: all.depth + 1, ..all })
    }
}
