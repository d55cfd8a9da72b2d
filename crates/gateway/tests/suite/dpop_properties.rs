//! Properties of what proofs are compared by: URLs have one form, whatever they are, and no text is
//! taken for another's.

use countersign_verifier::dpop::HttpUri;
use proptest::prelude::*;

/// A path as a client sends it, with escapes of all kinds.
fn path() -> impl Strategy<Value = String> {
    let segment = proptest::collection::vec(
        prop_oneof![
            "[A-Za-z0-9._~!$&'()*+,;=:@-]".boxed(),
            "%[0-9A-Fa-f]{2}".boxed(),
            Just(".".to_owned()).boxed(),
        ],
        0..6,
    );
    let segment = segment.prop_map(|parts| parts.concat());
    proptest::collection::vec(segment, 0..5).prop_map(|segments| format!("/{}", segments.join("/")))
}

fn origin() -> impl Strategy<Value = String> {
    ("https?", "[a-z0-9]([a-z0-9]{0,3}-?[a-z0-9])?\\.example", proptest::option::of(1024u16..)).prop_map(
        |(scheme, host, port)| match port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        },
    )
}

/// The same URL, spelled in another way.
fn respelled(text: &str, seed: u64) -> String {
    let mut spelled = String::new();
    let start = text.find("://").unwrap() + 3;
    let authority_ends = text[start..].find('/').map_or(text.len(), |at| start + at);
    let mut escape = 0;
    for (at, c) in text.char_indices() {
        let coin = (seed >> (at % 61)) & 1 == 1;
        if c == '%' {
            escape = 3;
        }
        let in_escape = escape > 0;
        escape = u32::saturating_sub(escape, 1);
        match c {
            c if at < authority_ends && coin => spelled.push(c.to_ascii_uppercase()),
            c if in_escape && coin => spelled.push(c.to_ascii_uppercase()),
            c if in_escape => spelled.push(c.to_ascii_lowercase()),
            c if at >= authority_ends && c.is_ascii_alphanumeric() && coin => {
                spelled.push_str(&format!("%{:02x}", c as u32));
            }
            c => spelled.push(c),
        }
    }
    spelled
}

proptest! {
    #[test]
    fn a_normalised_url_is_its_own_normal_form(origin in origin(), path in path()) {
        let url = HttpUri::parse(&format!("{origin}{path}")).unwrap();
        prop_assert_eq!(HttpUri::parse(url.as_str()).unwrap(), url.clone());
        prop_assert!(!url.as_str().contains("/../") && !url.as_str().contains("/./"));
    }

    #[test]
    fn spellings_of_one_url_are_equal(origin in origin(), path in path(), seed: u64, query in "[a-z=&?/]{0,8}") {
        let text = format!("{origin}{path}");
        let other = format!("{}?{query}#{query}", respelled(&text, seed));
        prop_assert_eq!(HttpUri::parse(&text).unwrap(), HttpUri::parse(&other).unwrap(), "{}", other);
    }

    #[test]
    fn urls_that_differ_in_a_plain_path_are_not_equal(
        origin in origin(), one in "(/[a-z0-9]{1,4}){0,4}/?", other in "(/[a-z0-9]{1,4}){0,4}/?",
    ) {
        let url = |path: &str| HttpUri::parse(&format!("{origin}{path}")).unwrap();
        let root = |path: &str| if path.is_empty() { "/".to_owned() } else { path.to_owned() };
        prop_assert_eq!(url(&one) == url(&other), root(&one) == root(&other));
    }

    #[test]
    fn a_path_behind_a_base_stays_on_the_origin_of_the_base(origin in origin(), path in "\\PC{0,24}") {
        let base = HttpUri::parse(&origin).unwrap();
        if let Ok(url) = base.join(&path) {
            prop_assert!(url.as_str().starts_with(base.as_str()), "{} {}", base.as_str(), url.as_str());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,64}", base in "https?:[/\\\\]{0,3}\\PC{0,24}") {
        let _ = HttpUri::parse(&text);
        if let Ok(base) = HttpUri::parse(&base) {
            let _ = base.join(&text);
        }
    }
}
