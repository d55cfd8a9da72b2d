//! Which claim a name means: every reading that two programs have had of one text, at the place
//! that settles it.
//!
//! The same names are tried through each setting that takes one in
//! `crates/gateway/tests/suite/claim_names.rs`. RFC 6901 §3 to §5; its own examples are the last
//! test.

#![expect(clippy::unwrap_used, reason = "tests")]

use countersign_jose::{ClaimName, ClaimNameError, json::Object};

/// What a name finds in these claims.
fn found(claims: &str, name: &str) -> Option<String> {
    let object = Object::parse(claims.as_bytes(), 16).unwrap();
    let name: ClaimName = name.parse().unwrap();
    name.find(&object).map(|raw| raw.get().to_owned())
}

#[test]
fn a_name_with_a_slash_in_front_is_a_pointer_and_nothing_else() {
    let claims = r#"{
        "/roles/admin": "literal", "/roles": "literal too", "roles": {"admin": "nested", "/admin": "inner"},
        "a~b": 1, "": "empty", "cognito:groups": ["x", {"y": "z"}], "https://a.example/roles": 2, "n": null
    }"#;
    for (name, expected) in [
        ("/roles/admin", Some("\"nested\"")),
        ("/~1roles~1admin", Some("\"literal\"")),
        ("/~1roles", Some("\"literal too\"")),
        ("/roles/~1admin", Some("\"inner\"")),
        ("roles/admin", None),
        ("/a~0b", Some("1")),
        ("a~b", Some("1")),
        ("/", Some("\"empty\"")),
        ("/cognito:groups/0", Some("\"x\"")),
        ("/cognito:groups/1/y", Some("\"z\"")),
        ("/cognito:groups/01", None),
        ("/cognito:groups/-", None),
        ("/cognito:groups/+1", None),
        ("/cognito:groups/2", None),
        ("/cognito:groups/99999999999999999999", None),
        ("https://a.example/roles", Some("2")),
        ("/https:~1~1a.example~1roles", Some("2")),
        ("/n", Some("null")),
        ("/n/x", None),
        ("/roles/admin/x", None),
    ] {
        assert_eq!(found(claims, name).as_deref(), expected, "{name}");
    }
    // Without the nested claim, the one that is only named like the pointer is not it.
    assert_eq!(found(r#"{"/roles/admin": true}"#, "/roles/admin"), None);
}

#[test]
fn a_member_is_found_by_its_own_name_whatever_is_in_it_and_shown_as_settings_have_it() {
    for member in ["sub", "/a", "/a/b", "/", "~", "a/b", "~1", "/~0"] {
        let claims = serde_json::json!({ member: "found" }).to_string();
        let name = ClaimName::member(member);
        let object = Object::parse(claims.as_bytes(), 16).unwrap();
        assert_eq!(name.find(&object).map(|raw| raw.get()), Some("\"found\""), "{member}");
        assert_eq!(name.top_level(), Some(member));
        assert_eq!(found(&claims, name.as_str()).as_deref(), Some("\"found\""), "{member}: {name}");
    }
    assert_eq!("/a/b".parse::<ClaimName>().unwrap().top_level(), None);
}

#[test]
fn a_text_that_is_no_name_is_refused() {
    assert_eq!("".parse::<ClaimName>(), Err(ClaimNameError::Empty));
    for text in ["/~", "/a~", "/a~2", "/~~1", "/a/b~"] {
        assert_eq!(text.parse::<ClaimName>(), Err(ClaimNameError::Escape), "{text}");
    }
    assert!("~2".parse::<ClaimName>().is_ok(), "not a pointer, so not escaped");
}

#[test]
fn the_examples_of_rfc_6901() {
    let claims =
        r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
    for (pointer, expected) in [
        ("/foo", r#"["bar","baz"]"#),
        ("/foo/0", "\"bar\""),
        ("/", "0"),
        ("/a~1b", "1"),
        ("/c%d", "2"),
        ("/e^f", "3"),
        ("/g|h", "4"),
        ("/i\\j", "5"),
        ("/k\"l", "6"),
        ("/ ", "7"),
        ("/m~0n", "8"),
    ] {
        assert_eq!(found(claims, pointer).as_deref(), Some(expected), "{pointer}");
    }
}
