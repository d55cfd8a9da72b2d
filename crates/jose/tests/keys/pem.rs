//! PEM as openssl writes it and as it travels: each format, line ends, one-line variables, text
//! around the block.

use super::{
    assert_pair,
    openssl::{KINDS, OpenSsl},
    private_error, public_error,
};
use countersign_jose::{Curve, Instead, KeyError, KeyKind, PrivateKey, PublicKey};

#[test]
fn reads_pkcs8_and_spki_of_every_kind() {
    let openssl = OpenSsl::new("reads_pkcs8_and_spki");
    for (name, kind) in KINDS {
        let private = openssl.genpkey(kind, "key.pem");
        assert!(private.starts_with("-----BEGIN PRIVATE KEY-----"));
        let public = openssl.text("pkey -in key.pem -pubout");
        assert!(public.starts_with("-----BEGIN PUBLIC KEY-----"));
        let (key, public) = (PrivateKey::from_pem(&private).unwrap(), PublicKey::from_pem(&public).unwrap());
        assert_eq!(key.public_key(), public, "{name}");
        assert_eq!(PublicKey::from_pem(&private).unwrap(), public, "the public half of a private key");
        assert_eq!(key.kind(), public.kind());
        assert_pair(&key, &public, name);
        assert_eq!(private_error(&openssl.text("pkey -in key.pem -pubout")), KeyError::NotPrivate);
    }
}

#[test]
fn reads_rsa_keys_in_their_traditional_format() {
    let openssl = OpenSsl::new("reads_traditional_rsa");
    for bits in [2048, 3072] {
        openssl.run(&format!("genrsa -traditional -out key.pem {bits}"));
        let text = openssl.read("key.pem");
        assert!(text.starts_with("-----BEGIN RSA PRIVATE KEY-----"));
        let key = PrivateKey::from_pem(&text).unwrap();
        assert_eq!(key.public_key().bits(), bits);
        let public = openssl.text("rsa -in key.pem -RSAPublicKey_out");
        assert!(public.starts_with("-----BEGIN RSA PUBLIC KEY-----"));
        let public = PublicKey::from_pem(&public).unwrap();
        assert_eq!(key.public_key(), public);
        let spki = PublicKey::from_pem(&openssl.text("rsa -in key.pem -pubout")).unwrap();
        assert_eq!(spki, public);
        assert_pair(&key, &public, "RSA");
    }
}

#[test]
fn reads_ec_keys_in_sec1_with_and_without_the_parameters_block() {
    let openssl = OpenSsl::new("reads_sec1");
    for (name, curve) in [("prime256v1", Curve::P256), ("secp384r1", Curve::P384), ("secp521r1", Curve::P521)]
    {
        openssl.run(&format!("ecparam -name {name} -genkey -out key.pem"));
        let text = openssl.read("key.pem");
        assert!(text.starts_with("-----BEGIN EC PARAMETERS-----"));
        assert!(text.contains("-----BEGIN EC PRIVATE KEY-----"));
        let key = PrivateKey::from_pem(&text).unwrap();
        assert_eq!(key.kind(), KeyKind::Ec(curve));
        let alone = &text[text.find("-----BEGIN EC PRIVATE").unwrap()..];
        assert_eq!(PrivateKey::from_pem(alone).unwrap().public_key(), key.public_key());
        let public = PublicKey::from_pem(&openssl.text("ec -in key.pem -pubout")).unwrap();
        assert_eq!(key.public_key(), public);
        assert_pair(&key, &public, name);
        // The point may be left out; it follows from the scalar.
        let short = openssl.text("ec -in key.pem -no_public");
        assert!(short.len() < alone.len());
        assert_eq!(PrivateKey::from_pem(&short).unwrap().public_key(), public);
        let short = openssl.text("pkcs8 -topk8 -nocrypt -in key.pem");
        assert_eq!(PrivateKey::from_pem(&short).unwrap().public_key(), public);
    }
}

#[test]
fn reads_the_one_line_form_of_environment_variables_and_every_line_end() {
    let openssl = OpenSsl::new("reads_one_line");
    for (name, kind) in KINDS {
        let private = openssl.genpkey(kind, "key.pem");
        let public = PrivateKey::from_pem(&private).unwrap().public_key();
        let variants = [
            private.replace('\n', "\\n"),
            private.replace('\n', "\\r\\n"),
            private.replace('\n', "\r\n"),
            private.trim_end().to_owned(),
            format!("\n\n{private}\n\n"),
            format!("Bag Attributes\n    friendlyName: key\nKey Attributes: <No Attributes>\n{private}"),
            format!("# comment\n{private}# comment\n"),
        ];
        for text in variants {
            assert_eq!(PrivateKey::from_pem(&text).unwrap().public_key(), public, "{name}: {text}");
            assert_eq!(PublicKey::from_pem(&text).unwrap(), public, "{name}");
        }
    }
}

#[test]
fn refuses_two_keys_in_one_text_whichever_they_are() {
    let openssl = OpenSsl::new("refuses_two_keys");
    let private = openssl.genpkey("ED25519", "key.pem");
    let public = openssl.text("pkey -in key.pem -pubout");
    let other = openssl.genpkey(KINDS[2].1, "other.pem");
    for text in [
        private.repeat(2),
        public.repeat(2),
        format!("{private}{public}"),
        format!("{public}{private}"),
        format!("{private}{other}"),
        format!("{private}\n{other}").replace('\n', "\\n"),
    ] {
        assert_eq!(private_error(&text), KeyError::MoreThanOneKey);
        assert_eq!(public_error(&text), KeyError::MoreThanOneKey);
    }
}

#[test]
fn passes_over_a_certificate_beside_the_key_and_finds_none_in_a_certificate_alone() {
    let openssl = OpenSsl::new("passes_over_a_certificate");
    let private = openssl.genpkey(KINDS[2].1, "key.pem");
    let certificate = openssl.text("req -x509 -key key.pem -subj /CN=test -days 1");
    assert!(certificate.starts_with("-----BEGIN CERTIFICATE-----"));
    assert_eq!(private_error(&certificate), KeyError::NoKeyFound(Instead::Certificate));
    assert_eq!(public_error(&certificate), KeyError::NoKeyFound(Instead::Certificate));
    for text in [format!("{certificate}{private}"), format!("{private}{certificate}")] {
        let public = PrivateKey::from_pem(&private).unwrap().public_key();
        assert_eq!(PrivateKey::from_pem(&text).unwrap().public_key(), public);
    }
    let request = openssl.text("req -new -key key.pem -subj /CN=test");
    assert_eq!(private_error(&request), KeyError::NoKeyFound(Instead::CertificateRequest));
    // What a Windows machine exports, and a block that is whole and of some other kind.
    openssl.run("req -x509 -key key.pem -subj /CN=test -days 1 -out cert.pem");
    let bundle = openssl.text("crl2pkcs7 -nocrl -certfile cert.pem");
    assert_eq!(private_error(&bundle), KeyError::NoKeyFound(Instead::Pkcs7));
    let parameters = openssl.text("dhparam -dsaparam 512");
    assert_eq!(private_error(&parameters), KeyError::NoKeyFound(Instead::Other));
}

#[test]
fn finds_no_key_in_what_is_not_pem() {
    let openssl = OpenSsl::new("finds_no_key");
    let private = openssl.genpkey("ED25519", "key.pem");
    let body = private.lines().nth(1).unwrap();
    for text in [
        "",
        "key.pem",
        "-----BEGIN PRIVATE KEY-----",
        body,
        &private.replace("-----END PRIVATE KEY-----", ""),
        &private.replace("-----END PRIVATE KEY-----", "-----END PUBLIC KEY-----"),
        &private.replace("-----", "----"),
        &private.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY"),
        r#"{"kty":"oct","k":"AAAA"}"#,
    ] {
        assert!(matches!(private_error(text), KeyError::NoKeyFound(_)), "{text}");
        assert!(matches!(public_error(text), KeyError::NoKeyFound(_)), "{text}");
    }
}
