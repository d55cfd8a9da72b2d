//! Strict JSON objects: duplicate members refused at every level, nesting capped, values kept as
//! they were typed.
//!
//! RFC 7515 §4 and RFC 7519 §4 let a reader either refuse duplicate names or take the last; two
//! readers that choose differently see two different tokens, so everything here refuses. A member's
//! value stays the text it was (`RawValue`), so a number beyond 2^53 or `1.0` leaves exactly as it
//! came. Used for headers, claims, JWKs and the body of `/sign`. Pinned by the tests below and the
//! `json` fuzz target.

mod same;

pub use same::same;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, cell::Cell, collections::HashSet, fmt};

/// How deep objects and arrays may nest unless the caller says otherwise.
pub const DEFAULT_DEPTH: usize = 32;
/// Characters of a number that a message repeats.
const MAX_NUMBER: usize = 32;

/// Why a text is not an acceptable JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, not UTF-8, or something behind the value.
    #[error("malformed JSON at line {line} column {column}")]
    Malformed {
        /// Line, counted from 1.
        line: usize,
        /// Column, counted from 1.
        column: usize,
    },
    /// U+FEFF in front, as some editors write it (RFC 8259 §8.1 forbids it to senders).
    #[error("a byte order mark stands in front of the JSON; save or send it as UTF-8 without one")]
    ByteOrderMark,
    /// A JSON value, but not an object.
    #[error("a JSON object is expected")]
    NotAnObject,
    /// The same member name twice in one object.
    #[error("a member name occurs twice in one JSON object")]
    DuplicateMember,
    /// Objects and arrays nested deeper than allowed.
    #[error("JSON is nested too deeply")]
    TooDeep,
    /// A number that is JSON, and that readers would take for infinite or refuse (RFC 8259 §6).
    #[error("the number {number} is too large for readers of JSON, which hold it in 64 bits")]
    NumberTooLarge {
        /// The number, cut where it is long.
        number: String,
    },
}

/// A JSON object whose members are still text. Borrows the document it was parsed from.
#[derive(Debug, Clone, Default)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Parses one object, refusing duplicate members anywhere in it and nesting beyond `max_depth`
    /// (the object itself is depth 1).
    pub fn parse(json: &'a [u8], max_depth: usize) -> Result<Self, JsonError> {
        Self::parse_text(utf8(json)?, max_depth)
    }

    /// The same for what is known to be UTF-8.
    pub fn parse_text(json: &'a str, max_depth: usize) -> Result<Self, JsonError> {
        Self::read(json, Inside::Checked { max_depth })
    }

    /// Parses the members of one object. Objects and arrays among their values are not looked into:
    /// the code that takes one has to parse it, with the depth that is left.
    pub fn parse_outer(json: &'a [u8]) -> Result<Self, JsonError> {
        Self::read(utf8(json)?, Inside::Unread)
    }

    fn read(json: &'a str, inside: Inside) -> Result<Self, JsonError> {
        if json.starts_with('\u{feff}') {
            return Err(JsonError::ByteOrderMark);
        }
        let found = Cell::new(None);
        let mut de = serde_json::Deserializer::from_str(json);
        let members = de
            .deserialize_any(ObjectVisitor { inside, found: &found })
            .and_then(|members| de.end().map(|()| members))
            .map_err(|e| {
                found.take().unwrap_or(JsonError::Malformed { line: e.line(), column: e.column() })
            })?;
        Ok(Self { members })
    }

    /// The members in the order they were written.
    pub fn members(&self) -> impl ExactSizeIterator<Item = (&str, &'a RawValue)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// The text of one member's value.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    /// A member that must be a string when it is there.
    pub fn string(&self, name: &'static str) -> Result<Option<Cow<'a, str>>, WrongType> {
        self.get(name).map(|raw| string(raw).ok_or(WrongType { name, expected: "a string" })).transpose()
    }

    /// The names of the members.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|(name, _)| name.as_ref())
    }
}

/// A member has another JSON type than the specification gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` must be {expected}")]
pub struct WrongType {
    /// The member's name.
    pub name: &'static str,
    /// The type it should have.
    pub expected: &'static str,
}

/// The string a raw value holds, if it is a string.
pub fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    // Without escapes the text between the quotes is the string; serde_json has validated it
    // already.
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) if !inner.contains('\\') => Some(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
        None => None,
    }
}

/// The JSON type of a value, in words that follow "found".
pub fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The first member of this name, found without looking at anything behind it: neither duplicates
/// nor what is wrong there are seen. Only to select what the whole object is checked with later.
pub(crate) fn peek<'a>(json: &'a [u8], name: &str) -> Result<Option<&'a RawValue>, JsonError> {
    let (member, found) = (Cell::new(None), Cell::new(None));
    let mut de = serde_json::Deserializer::from_slice(json);
    let visited = de.deserialize_any(Peek { name, member: &member, found: &found });
    match (member.take(), visited) {
        (Some(raw), _) => Ok(Some(raw)),
        (None, Ok(())) => Ok(None),
        (None, Err(why)) => {
            let malformed = JsonError::Malformed { line: why.line(), column: why.column() };
            Err(found.take().unwrap_or(malformed))
        }
    }
}

struct Peek<'c, 'a> {
    name: &'c str,
    member: &'c Cell<Option<&'a RawValue>>,
    found: &'c Cell<Option<JsonError>>,
}

impl<'a> Visitor<'a> for Peek<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.found.set(Some(JsonError::NotAnObject));
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(MemberName(name)) = map.next_key()? {
            if name == self.name {
                self.member.set(Some(map.next_value()?));
                // Nothing else ends the visit before its time.
                return Err(de::Error::custom("found"));
            }
            // Passed over without recursion, however deep it is.
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Once for the whole document; from bytes every value would be looked at again.
fn utf8(json: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(json).map_err(|why| position(json, why.valid_up_to()))
}

/// Where in a document something is wrong.
fn position(json: &[u8], offset: usize) -> JsonError {
    let before = json.get(..offset).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    JsonError::Malformed { line, column }
}

/// What is done about objects and arrays in an object.
#[derive(Clone, Copy)]
enum Inside {
    /// They are walked; `max_depth` counts the object itself.
    Checked { max_depth: usize },
    /// They are left to the code that takes them.
    Unread,
}

struct ObjectVisitor<'c> {
    inside: Inside,
    found: &'c Cell<Option<JsonError>>,
}

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Reached for any other JSON type.
        self.found.set(Some(JsonError::NotAnObject));
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let depth_left = match self.inside {
            Inside::Checked { max_depth: 0 } => return Err(refuse(self.found, JsonError::TooDeep)),
            Inside::Checked { max_depth } => Some(max_depth - 1),
            Inside::Unread => None,
        };
        let mut members: Self::Value = Vec::with_capacity(16);
        let mut names = Names::default();
        while let Some(MemberName(name)) = map.next_key()? {
            if !names.insert(&name, members.iter().map(|(n, _)| n.as_ref())) {
                return Err(refuse(self.found, JsonError::DuplicateMember));
            }
            let value: &'de RawValue = map.next_value()?;
            check_value(value, depth_left, self.found).map_err(de::Error::custom)?;
            members.push((name, value));
        }
        Ok(members)
    }
}

/// Strings and numbers are validated by `RawValue` itself only in form: a string may still hold a
/// lone surrogate and a number may be beyond what any reader holds (1e400). Those, and everything
/// nested if there is a depth left for it, are walked once more.
fn check_value(
    raw: &RawValue,
    depth: Option<usize>,
    found: &Cell<Option<JsonError>>,
) -> serde_json::Result<()> {
    let text = raw.get();
    let walk = match text.as_bytes().first() {
        Some(b'{' | b'[') => depth.is_some(),
        Some(b'"') => text.contains('\\'),
        Some(b'-' | b'0'..=b'9') => text.len() > 15 || text.bytes().any(|b| matches!(b, b'e' | b'E')),
        _ => false,
    };
    if !walk {
        return Ok(());
    }
    Strict { depth: depth.unwrap_or_default(), found }
        .deserialize(&mut serde_json::Deserializer::from_str(text))
        .map_err(|why| match number_at(text, &why) {
            Some(number) => refuse(found, JsonError::NumberTooLarge { number }),
            None => why,
        })
}

/// The number at which a reading ended because it is too large; `None` if it ended for another
/// reason.
fn number_at(text: &str, why: &serde_json::Error) -> Option<String> {
    // serde_json has no code for it.
    if !why.to_string().starts_with("number out of range") {
        return None;
    }
    let line = text.split('\n').nth(why.line().checked_sub(1)?)?;
    let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let (before, behind) = line.as_bytes().split_at_checked(why.column())?;
    let start = before.len() - before.iter().rev().take_while(|byte| is_part(byte)).count();
    let length = before.len() - start + behind.iter().take_while(|byte| is_part(byte)).count();
    let number = line.get(start..start + length)?;
    Some(match number.get(..MAX_NUMBER) {
        Some(beginning) if number.len() > MAX_NUMBER => format!("{beginning}…"),
        _ => number.to_owned(),
    })
}

fn refuse<E: de::Error>(found: &Cell<Option<JsonError>>, why: JsonError) -> E {
    let message = why.to_string();
    found.set(Some(why));
    E::custom(message)
}

/// Names seen so far: compared one by one while they are few, hashed when they are many.
#[derive(Default)]
struct Names(Option<HashSet<String>>);

impl Names {
    const FEW: usize = 24;

    fn insert<'n>(&mut self, name: &str, seen: impl ExactSizeIterator<Item = &'n str>) -> bool {
        if let Some(set) = &mut self.0 {
            return set.insert(name.to_owned());
        }
        if seen.len() < Self::FEW {
            return seen.into_iter().all(|n| n != name);
        }
        let mut set: HashSet<String> = seen.map(str::to_owned).collect();
        let new = set.insert(name.to_owned());
        self.0 = Some(set);
        new
    }
}

/// A member name, borrowed from the document where it has no escapes.
struct MemberName<'a>(Cow<'a, str>);

impl<'de> de::Deserialize<'de> for MemberName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = MemberName<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member name")
            }
            fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(MemberName(Cow::Borrowed(v)))
            }
            fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
                Ok(MemberName(Cow::Owned(v.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Walks a nested value and keeps nothing: only duplicates, depth and string escapes are looked at.
#[derive(Clone, Copy)]
struct Strict<'c> {
    depth: usize,
    found: &'c Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth, ..self }),
            None => Err(refuse(self.found, JsonError::TooDeep)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(MemberName(name)) = map.next_key()? {
            if !names.insert(name) {
                return Err(refuse(self.found, JsonError::DuplicateMember));
            }
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> JsonError {
        Object::parse(json.as_bytes(), 4).expect_err(json)
    }

    #[test]
    fn keeps_the_text_of_every_value() {
        let json = r#"{"big":12345678901234567890123, "one":1.0, "e":1e2, "s":"\u00e4", "o":{"a":[1,{}]}}"#;
        let object = Object::parse(json.as_bytes(), 8).unwrap();
        let texts: Vec<_> = object.members().map(|(n, v)| (n, v.get())).collect();
        assert_eq!(
            texts,
            [
                ("big", "12345678901234567890123"),
                ("one", "1.0"),
                ("e", "1e2"),
                ("s", r#""\u00e4""#),
                ("o", r#"{"a":[1,{}]}"#)
            ]
        );
        assert_eq!(object.string("s"), Ok(Some("ä".into())));
        assert_eq!(object.string("one"), Err(WrongType { name: "one", expected: "a string" }));
    }

    #[test]
    fn refuses_duplicate_members_at_every_level_and_under_every_spelling() {
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"b":{"a":1,"a":2}}]}"#,
        ] {
            assert_eq!(error(json), JsonError::DuplicateMember, "{json}");
        }
        let mut many: String = (0..40).map(|i| format!("\"k{i}\":0,")).collect();
        many = format!("{{{many}\"k3\":1}}");
        assert_eq!(error(&many), JsonError::DuplicateMember);
    }

    #[test]
    fn an_outer_object_is_checked_but_for_what_is_nested_in_it() {
        let json = r#"{"a":{"x":1,"x":[[[[[]]]]]},"b":["\ud800"],"c":"\u00e4"}"#;
        let outer = Object::parse_outer(json.as_bytes()).unwrap();
        let texts: Vec<_> = outer.members().map(|(n, v)| (n, v.get())).collect();
        assert_eq!(texts, [("a", r#"{"x":1,"x":[[[[[]]]]]}"#), ("b", r#"["\ud800"]"#), ("c", r#""\u00e4""#)]);
        for (json, expected) in
            [(r#"{"a":1,"\u0061":2}"#, JsonError::DuplicateMember), (r#"["a"]"#, JsonError::NotAnObject)]
        {
            assert_eq!(Object::parse_outer(json.as_bytes()).unwrap_err(), expected, "{json}");
        }
        for json in [r#"{"a":"\ud800"}"#, r#"{"a":[1,}"#, r#"{"a":{"x" 1}}"#, r#"{"a":1}}"#] {
            let error = Object::parse_outer(json.as_bytes()).unwrap_err();
            assert!(matches!(error, JsonError::Malformed { .. }), "{json}");
        }
        assert!(matches!(Object::parse_outer(b"{\"a\":\"\xff\"}"), Err(JsonError::Malformed { .. })));
    }

    #[test]
    fn a_number_that_no_reader_holds_is_named_wherever_it_stands() {
        let long = format!("1{}", "0".repeat(400));
        for number in ["1e400", "-1e999", "1.5E+400", "179769313486231580793e289", long.as_str()] {
            let expected = match number.get(..MAX_NUMBER) {
                Some(beginning) if number.len() > MAX_NUMBER => format!("{beginning}…"),
                _ => number.to_owned(),
            };
            let expected = JsonError::NumberTooLarge { number: expected };
            for json in [
                format!(r#"{{"a":{number}}}"#),
                format!(r#"{{"a":1,"b":[0,{number},"c"]}}"#),
                format!(r#"{{"ä":{{"ö":["ü",{{"n": {number} }}]}}}}"#),
                format!("{{\"a\":[\n1e3,\r\n {number}\n]}}"),
            ] {
                assert_eq!(error(&json), expected, "{json}");
            }
            assert_eq!(Object::parse_outer(format!(r#"{{"a":{number}}}"#).as_bytes()).unwrap_err(), expected);
        }
        // The largest that is held, and what is too small to be told from nothing.
        for number in ["1.7976931348623157e308", "-1.7976931348623157e308", "1e-400", "0e999999"] {
            assert!(Object::parse(format!(r#"{{"a":[{number}]}}"#).as_bytes(), 4).is_ok(), "{number}");
        }
    }

    #[test]
    fn a_peek_finds_the_first_member_of_a_name_and_sees_nothing_behind_it() {
        let text = |json: &str| peek(json.as_bytes(), "iss").map(|raw| raw.map(|raw| raw.get().to_owned()));
        let deep = format!("{{\"x\":{}{},\"iss\":1}}", "[".repeat(100_000), "]".repeat(100_000));
        for (json, expected) in [
            (r#"{"iss":"a"}"#, Ok(Some("\"a\""))),
            (r#"{"x":{"iss":"b"},"i\u0073s":["a"],"iss":2}"#, Ok(Some("[\"a\"]"))),
            (r#"{"iss":null"#, Ok(Some("null"))),
            (&deep, Ok(Some("1"))),
            (r#"{"Iss":1,"x":["iss"]}"#, Ok(None)),
            ("{}", Ok(None)),
            (r#"["iss"]"#, Err(JsonError::NotAnObject)),
            (r#""iss""#, Err(JsonError::NotAnObject)),
        ] {
            assert_eq!(text(json), expected.map(|raw| raw.map(str::to_owned)), "{json:.80}");
        }
        for json in ["", "{", r#"{"iss""#, r#"{"iss":"#, r#"{"iss":"a"#, r#"{"x":01,"iss":1}"#] {
            assert!(matches!(text(json), Err(JsonError::Malformed { .. })), "{json}");
        }
        assert!(matches!(peek(b"{\"iss\":\"\xff\"}", "iss"), Err(JsonError::Malformed { .. })));
    }

    #[test]
    fn refuses_nesting_beyond_the_limit_and_accepts_it_at_the_limit() {
        assert!(Object::parse(br#"{"a":{"b":[{}]}}"#, 4).is_ok());
        assert_eq!(error(r#"{"a":{"b":[[{}]]}}"#), JsonError::TooDeep);
        assert_eq!(Object::parse(b"{}", 0).unwrap_err(), JsonError::TooDeep);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(error(&deep), JsonError::TooDeep);
    }

    #[test]
    fn refuses_what_is_not_one_json_object() {
        for json in ["[]", "1", "\"a\"", "null", "true"] {
            assert_eq!(error(json), JsonError::NotAnObject, "{json}");
        }
        for json in ["", "{", "{}{}", "{} x", "{\"a\"}", "{a:1}", "{\"a\":01}", "{\"a\":\"\\ud800\"}"] {
            assert!(matches!(error(json), JsonError::Malformed { .. }), "{json}");
        }
        assert!(matches!(Object::parse(b"{\"a\":\"\xff\"}", 4).unwrap_err(), JsonError::Malformed { .. }));
        assert_eq!(error("\u{feff}{}"), JsonError::ByteOrderMark);
        assert!(matches!(Object::parse(b"\xff", 4).unwrap_err(), JsonError::Malformed { .. }));
    }
}
