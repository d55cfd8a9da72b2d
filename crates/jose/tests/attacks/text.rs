//! Attacks on the text of a token: parts missing or added, a second spelling of the same bytes,
//! other serializations, and length. RFC 7515 §2 and §7.1, RFC 7516 §7.1.

use super::{
    forge::{SECRET, hs256, hs256_key, input, with_claims, with_header},
    verify,
};
use countersign_jose::{MAX_TOKEN_BYTES, TokenError, Unverified, base64url::encode};

const HEADER: &str = r#"{"alg":"HS256"}"#;

#[test]
fn accepts_the_token_that_the_attacks_start_from() {
    assert_eq!(verify(&with_claims("{}"), &hs256_key()).unwrap().payload(), b"{}");
}

#[test]
fn refuses_a_text_that_is_not_three_parts() {
    let token = with_claims("{}");
    let two = input(HEADER, "{}");
    let jwe = encode(br#"{"alg":"dir","enc":"A128GCM"}"#) + "..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA";
    for text in [
        "",
        "e30",
        "JWT",
        "bearer token",
        &two,
        &format!("{token}.AAAA"),
        &format!("{token}.AAAA.AAAA"),
        &format!("AAAA.{token}"),
        &format!(".{token}"),
        &format!("{token}."),
        &jwe,
    ] {
        assert!(matches!(Unverified::parse(text), Err(TokenError::NotCompact { .. })), "{text}");
    }
}

#[test]
fn refuses_the_json_serializations() {
    let token = with_claims("{}");
    let [protected, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let flat = format!(r#"{{"payload":"{payload}","protected":"{protected}","signature":"{signature}"}}"#);
    let general = format!(
        r#"{{"payload":"{payload}","signatures":[{{"protected":"{protected}","signature":"{signature}"}}]}}"#
    );
    for text in [&flat, &general] {
        assert!(matches!(Unverified::parse(text), Err(TokenError::NotCompact { .. })), "{text}");
    }
    // The python-jwt hole (CVE-2022-39227): JSON whose member names make it look like three parts.
    let mixed = format!(r#"{{" {protected}.{payload}.{signature}":"","payload":"e30"}}"#);
    assert!(matches!(Unverified::parse(&mixed), Err(TokenError::NotBase64Url { .. })));
}

#[test]
fn refuses_an_empty_part() {
    let token = with_claims("{}");
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!(Unverified::parse(&format!("{header}.{payload}.")), Err(TokenError::Unsigned));
    assert_eq!(Unverified::parse(".."), Err(TokenError::Unsigned));
    assert!(matches!(Unverified::parse(&format!(".{payload}.{signature}")), Err(TokenError::Header(_))));
    // The payload is part of what is signed, so leaving it out breaks the signature.
    assert_eq!(verify(&format!("{header}..{signature}"), &hs256_key()), Err(TokenError::BadSignature));
}

#[test]
fn refuses_padding_and_foreign_characters_in_every_part_even_when_signed_like_that() {
    for junk in ["=", "==", " ", "\n", "\r\n", "\t", "\0", "+", "/", "%3D", "ä", "\u{feff}", ",", "~", "*"] {
        let (header, payload) = (encode(HEADER.as_bytes()), encode(b"{}"));
        for front in [false, true] {
            let add = |part: &str| if front { format!("{junk}{part}") } else { format!("{part}{junk}") };
            let in_header = hs256(&format!("{}.{payload}", add(&header)), &SECRET);
            let in_payload = hs256(&format!("{header}.{}", add(&payload)), &SECRET);
            let signed = hs256(&format!("{header}.{payload}"), &SECRET);
            let (input, signature) = signed.rsplit_once('.').unwrap();
            let in_signature = format!("{input}.{}", add(signature));
            for token in [in_header, in_payload, in_signature] {
                assert!(
                    matches!(verify(&token, &hs256_key()), Err(TokenError::NotBase64Url { .. })),
                    "{token:?}"
                );
            }
        }
    }
}

#[test]
fn refuses_trailing_bits_that_are_not_zero_in_every_part() {
    // The final character of each part is moved by one: the same bytes to a lax decoder.
    let next = |part: &str| {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let (rest, last) = part.split_at(part.len() - 1);
        let at = alphabet.iter().position(|c| *c == last.as_bytes()[0]).unwrap();
        format!("{rest}{}", char::from(alphabet[at + 1]))
    };
    for header in [r#"{"alg":"HS256"} "#, r#"{"alg":"HS256"}  "#] {
        let header = encode(header.as_bytes());
        let payload = encode(b"{}");
        let control = hs256(&format!("{header}.{payload}"), &SECRET);
        assert!(verify(&control, &hs256_key()).is_ok());
        let (input, signature) = control.rsplit_once('.').unwrap();
        for token in [
            hs256(&format!("{}.{payload}", next(&header)), &SECRET),
            hs256(&format!("{header}.{}", next(&payload)), &SECRET),
            format!("{input}.{}", next(signature)),
        ] {
            assert!(matches!(verify(&token, &hs256_key()), Err(TokenError::NotBase64Url { .. })), "{token}");
        }
    }
}

#[test]
fn accepts_a_token_of_the_greatest_length_and_refuses_one_byte_more() {
    let longest = with_claims(&" ".repeat(12_239));
    assert_eq!(longest.len(), MAX_TOKEN_BYTES);
    assert!(verify(&longest, &hs256_key()).is_ok());
    let longer = with_claims(&" ".repeat(12_240));
    assert_eq!(longer.len(), MAX_TOKEN_BYTES + 1);
    assert_eq!(Unverified::parse(&longer), Err(TokenError::TooLong));
}

#[test]
fn refuses_a_kid_of_64_kib_before_looking_at_it() {
    let token = with_header(&format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(64 * 1024)));
    assert_eq!(Unverified::parse(&token), Err(TokenError::TooLong));
}
