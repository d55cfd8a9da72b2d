//! Kinds of keys that sign nothing here, by name: for the one message that says which was found.
//!
//! Only names of this table are ever shown: what a key calls itself is somebody else's text.

use super::KeyError;

/// Its name as people say it, what JWKs call it (RFC 8037, RFC 8812), and its object identifier.
const KNOWN: [(&str, &str, &str); 17] = [
    (
        "an RSA key for PSS alone (id-RSASSA-PSS); make it an ordinary one: openssl genrsa",
        "",
        "1.2.840.113549.1.1.10",
    ),
    ("an RSA key for OAEP", "", "1.2.840.113549.1.1.7"),
    ("a DSA key", "", "1.2.840.10040.4.1"),
    ("a Diffie-Hellman key", "", "1.2.840.113549.1.3.1"),
    ("an Ed448 key", "Ed448", "1.3.101.113"),
    ("an X25519 key, which agrees on secrets and signs nothing", "X25519", "1.3.101.110"),
    ("an X448 key, which agrees on secrets and signs nothing", "X448", "1.3.101.111"),
    ("an ML-DSA key", "AKP", "2.16.840.1.101.3.4.3.18"),
    ("an EC key of the curve secp256k1", "secp256k1", "1.3.132.0.10"),
    ("an EC key of the curve P-192", "P-192", "1.2.840.10045.3.1.1"),
    ("an EC key of the curve P-224", "P-224", "1.3.132.0.33"),
    ("an EC key of the curve brainpoolP256r1", "BP-256", "1.3.36.3.3.2.8.1.1.7"),
    ("an EC key of the curve brainpoolP320r1", "BP-320", "1.3.36.3.3.2.8.1.1.9"),
    ("an EC key of the curve brainpoolP384r1", "BP-384", "1.3.36.3.3.2.8.1.1.11"),
    ("an EC key of the curve brainpoolP512r1", "BP-512", "1.3.36.3.3.2.8.1.1.13"),
    ("an EC key of the curve SM2", "SM2", "1.2.156.10197.1.301"),
    ("an RSA key of more than two primes", "", ""),
];

/// An RSA key with `oth` (RFC 7518 §6.3.2.7) or further primes (RFC 8017 §3.2).
pub(super) fn many_primes() -> KeyError {
    found(|(said, _, _)| said.contains("primes"))
}

/// By the object identifier of an algorithm or a curve.
pub(super) fn of_oid(oid: &str) -> KeyError {
    found(|(_, _, known)| !known.is_empty() && *known == oid)
}

/// By the `kty` or `crv` of a JWK.
pub(super) fn of_name(name: &str) -> KeyError {
    found(|(_, known, _)| !known.is_empty() && *known == name)
}

fn found(is_it: impl Fn(&(&str, &str, &str)) -> bool) -> KeyError {
    KeyError::UnsupportedKind { found: KNOWN.iter().find(|row| is_it(row)).map(|(said, _, _)| *said) }
}
