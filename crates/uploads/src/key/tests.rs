//! Templates, and claims that try to leave their segment.

use super::*;

const UUID: [u8; 16] = [0xff; 16];

fn key(template: &str, claims: &[(&str, &str)]) -> Result<String, KeyError> {
    let template: KeyTemplate = template.parse().unwrap();
    let claim = |name: &str| claims.iter().find(|(n, _)| *n == name).map(|(_, value)| Cow::Borrowed(*value));
    template.key(claim, "j-t_i", UUID).map(|key| {
        assert!(key.as_str().starts_with(key.prefix()) && key.prefix().ends_with('/'));
        key.as_str().to_owned()
    })
}

#[test]
fn a_key_is_made_of_fixed_text_claims_and_a_random_name() {
    let claims = [("sub", "alice"), ("tenant", "acme")];
    let uuid = "ffffffff-ffff-4fff-bfff-ffffffffffff";
    for (template, expected) in [
        ("uploads/{sub}/{uuid}", format!("uploads/alice/{uuid}")),
        ("in/{tenant}/{sub}/{jti}.png", "in/acme/alice/j-t_i.png".to_owned()),
        ("in/{jti}", "in/j-t_i".to_owned()),
        ("a.b/year=2026/{sub}/photo-{uuid}.jpg", format!("a.b/year=2026/alice/photo-{uuid}.jpg")),
    ] {
        assert_eq!(key(template, &claims), Ok(expected), "{template}");
    }
}

#[test]
fn a_template_that_lets_a_claim_choose_or_an_upload_replace_is_refused() {
    use KeyTemplateError as E;
    let long = format!("a/{}/{{uuid}}", "b".repeat(512));
    for (template, why) in [
        ("", E::Empty),
        ("/", E::Empty),
        ("/uploads/{uuid}", E::Empty),
        ("uploads/{uuid}/", E::Empty),
        ("uploads//{uuid}", E::Empty),
        ("uploads/../{uuid}", E::Dots),
        ("./{uuid}", E::Dots),
        ("uploads", E::NotUnique),
        ("uploads/{sub}", E::NotUnique),
        ("uploads/{sub}/file.png", E::NotUnique),
        ("uploads/{uuid}{uuid}", E::NotUnique),
        ("uploads/{uuid}{sub}", E::NotUnique),
        ("uploads/{uuid}/{jti}", E::UniqueFolder),
        ("{sub}/{uuid}", E::FirstIsAClaim),
        ("{uuid}", E::FirstIsAClaim),
        ("a{uuid}", E::FirstIsAClaim),
        ("uploads/{tenant}-{sub}/{uuid}", E::PartOfASegment("tenant".to_owned())),
        ("uploads/u-{sub}/{uuid}", E::PartOfASegment("sub".to_owned())),
        ("uploads/{sub/{uuid}", E::Brackets),
        ("uploads/sub}/{uuid}", E::Brackets),
        ("uploads/{{sub}}/{uuid}", E::Brackets),
        ("uploads/{}/{uuid}", E::Claim(String::new())),
        ("uploads/{a b}/{uuid}", E::Claim("a b".to_owned())),
        ("uploads/{/a}/{uuid}", E::Brackets),
        ("uploads/${filename}/{uuid}", E::PartOfASegment("filename".to_owned())),
        ("uploads/${uuid}", E::Character('$')),
        ("up loads/{uuid}", E::Character(' ')),
        ("up~loads/{uuid}", E::Character('~')),
        ("uploads/ü/{uuid}", E::Character('ü')),
        ("uploads/\0/{uuid}", E::Character('\0')),
        (&long, E::TooLong),
        (&format!("{}/{{uuid}}", "b".repeat(256)), E::SegmentTooLong),
        (&format!("a/{}/{{sub}}/{{jti}}", "b".repeat(256)), E::SegmentTooLong),
        (&format!("a/{}{{uuid}}.png", "b".repeat(216)), E::SegmentTooLong),
    ] {
        assert_eq!(template.parse::<KeyTemplate>(), Err(why), "{template:?}");
    }
}

#[test]
fn templates_that_could_meet_are_known() {
    for (one, other, expected) in [
        ("uploads/{sub}/{uuid}", "uploads/{sub}/{uuid}", true),
        ("uploads/{sub}/{uuid}", "uploads/{tenant}/{jti}.png", true),
        ("uploads/{sub}/{uuid}", "uploads/admin/{uuid}", true),
        ("uploads/{sub}/{uuid}", "uploads/{uuid}", true),
        ("uploads/a=b/{uuid}", "uploads/{sub}/{uuid}", false),
        ("uploads/{sub}/{uuid}", "papers/{sub}/{uuid}", false),
        ("uploads/a/{sub}/{uuid}", "uploads/b/{sub}/{uuid}", false),
        ("uploads/{sub}/a/{uuid}", "uploads/{sub}/b/{uuid}", false),
    ] {
        let parse = |text: &str| text.parse::<KeyTemplate>().unwrap();
        assert_eq!(parse(one).overlaps(&parse(other)), expected, "{one} {other}");
        assert_eq!(parse(other).overlaps(&parse(one)), expected, "{other} {one}");
    }
}

#[test]
fn a_hostile_claim_stays_in_its_segment() {
    let claim = |value: &str| key("uploads/{sub}/{jti}", &[("sub", value)]);
    for (value, segment) in [
        ("alice", "alice"),
        ("alice@example.org", "alice~40example.org"),
        ("firebase:Xy_1-2", "firebase~3AXy_1-2"),
        ("auth0|5f7c", "auth0~7C5f7c"),
        (".", "~2E"),
        ("..", "~2E~2E"),
        ("...", "~2E.~2E"),
        ("../bob", "~2E.~2Fbob"),
        ("/etc", "~2Fetc"),
        ("a/b", "a~2Fb"),
        ("a\\b", "a~5Cb"),
        ("a%2fb", "a~252fb"),
        ("${filename}", "~24~7Bfilename~7D"),
        ("{uuid}", "~7Buuid~7D"),
        ("~2F", "~7E2F"),
        ("a b", "a~20b"),
        ("a\0b\r\n\u{7f}", "a~00b~0D~0A~7F"),
        ("ä", "~C3~A4"),
        ("\u{202e}x", "~E2~80~AEx"),
        ("*?", "~2A~3F"),
        ("\"'<&>", "~22~27~3C~26~3E"),
    ] {
        assert_eq!(claim(value), Ok(format!("uploads/{segment}/j-t_i")), "{value:?}");
    }
    for longest in [format!("{}/{{uuid}}", "b".repeat(255)), format!("a/{}{{uuid}}.png", "b".repeat(215))] {
        let key = key(&longest, &[]).unwrap();
        assert_eq!(key.split('/').map(str::len).max(), Some(255), "{longest}");
    }
    let name = || "sub".to_owned();
    assert_eq!(claim(""), Err(KeyError::Empty(name())));
    assert_eq!(key("uploads/{sub}/{jti}", &[]), Err(KeyError::Missing(name())));
    assert!(claim(&"a".repeat(255)).is_ok());
    for huge in ["a".repeat(256), "/".repeat(86), "a".repeat(1 << 20)] {
        assert_eq!(claim(&huge), Err(KeyError::TooLong(name())));
    }
    let five: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|name| (*name, "x".repeat(255))).collect();
    let five: Vec<_> = five.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(key("u/{a}/{b}/{c}/{d}/{e}/{uuid}", &five), Err(KeyError::KeyTooLong));
}
