//! Whatever claims say, nobody writes outside their prefix.

#![expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]

use countersign_uploads::{KeyTemplate, escaped};
use proptest::prelude::*;
use std::borrow::Cow;

/// Texts of claims: any, and those that are made to leave a folder.
fn claims() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "/",
        "..",
        ".",
        "\\",
        "~",
        "~2F",
        "%2f",
        "%",
        "${filename}",
        "{sub}",
        "{uuid}",
        "a",
        "B",
        "\0",
        "\r\n",
        " ",
        "ä",
        "\u{202e}",
        ":",
        "|",
        "-",
        "_",
        "*",
        "=",
        "+",
        "&",
    ]);
    prop_oneof![".{1,40}", prop::collection::vec(parts, 1..8).prop_map(|parts| parts.concat())]
}

fn key(template: &str, tenant: &str, sub: &str, jti: &str, uuid: [u8; 16]) -> Option<(String, String)> {
    let template: KeyTemplate = template.parse().unwrap();
    let claim = |name: &str| match name {
        "tenant" => Some(Cow::Borrowed(tenant)),
        "sub" => Some(Cow::Borrowed(sub)),
        _ => None,
    };
    let key = template.key(claim, jti, uuid).ok()?;
    Some((key.as_str().to_owned(), key.prefix().to_owned()))
}

const TEMPLATES: [&str; 3] = [
    "uploads/{tenant}/{sub}/{uuid}",
    "uploads/{tenant}/x/{sub}/f-{jti}.png",
    "uploads/{sub}/{tenant}/{uuid}",
];

proptest! {
    #[test]
    fn a_key_has_the_segments_of_its_template_and_plain_characters_alone(
        tenant in claims(), sub in claims(), which in 0..3_usize, uuid: [u8; 16]
    ) {
        let template = TEMPLATES.get(which).copied().unwrap();
        if let Some((key, prefix)) = key(template, &tenant, &sub, "j", uuid) {
            prop_assert_eq!(key.matches('/').count(), template.matches('/').count());
            prop_assert!(key.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~=".contains(&b)), "{}", key);
            prop_assert!(key.split('/').all(|segment| !segment.is_empty() && segment != "." && segment != ".."));
            prop_assert!(key.split('/').all(|segment| !segment.starts_with('.') && segment.len() <= 255));
            prop_assert!(key.len() <= 1024 && key.starts_with(&prefix) && prefix.starts_with("uploads/"));
            let inside = key.strip_prefix(&prefix).unwrap();
            prop_assert!(!inside.is_empty() && !inside.contains('/'));
        }
    }

    #[test]
    fn nobody_has_the_prefix_of_another_or_one_inside_it(
        one in (claims(), claims()), other in (claims(), claims()), which in 0..3_usize
    ) {
        let template = TEMPLATES.get(which).copied().unwrap();
        let of = |(tenant, sub): &(String, String)| key(template, tenant, sub, "j", [0; 16]);
        if let (Some((_, mine)), Some((theirs, prefix))) = (of(&one), of(&other)) {
            prop_assert_eq!(one == other, mine == prefix);
            prop_assert_eq!(one == other, theirs.starts_with(&mine), "{} below {}", theirs, mine);
        }
    }

    #[test]
    fn two_uploads_of_one_person_have_two_names(sub in claims(), one: [u8; 16], other: [u8; 16]) {
        // Six bits of a UUID say that it is one.
        let same = |at: usize, mask: u8| one[at] & mask == other[at] & mask;
        let alike = (0..16).all(|at| same(at, match at { 6 => 0x0f, 8 => 0x3f, _ => 0xff }));
        let of = |uuid| key("uploads/{sub}/{uuid}", "", &sub, "j", uuid);
        if let (Some(one), Some(other)) = (of(one), of(other)) {
            prop_assert_eq!(alike, one == other);
        }
    }

    #[test]
    fn what_is_escaped_can_be_told_apart(one in claims(), other in claims()) {
        prop_assert_eq!(one == other, escaped(&one) == escaped(&other));
    }
}
