//! The two forms of an ECDSA signature: R‖S of fixed width in a JWS (RFC 7518 §3.4), DER in
//! certificates and from a KMS.
//!
//! Reading is strict: one SEQUENCE of two minimal positive INTEGERs that fit the curve, and nothing
//! behind it. What has another form is no signature. (RFC 3279 §2.2.3, `Ecdsa-Sig-Value`; X.690
//! §8.3.2, §10.1)

use countersign_jose::{Algorithm, KeyKind};
use der::{Encode, asn1::UintRef};

/// The DER of R‖S; `None` if it does not have the width of the algorithm's curve.
pub(crate) fn to_der(signature: &[u8], algorithm: Algorithm) -> Option<Vec<u8>> {
    let width = width(algorithm)?;
    let (r, s) = signature.split_at_checked(width).filter(|(_, s)| s.len() == width)?;
    [UintRef::new(r).ok()?, UintRef::new(s).ok()?].to_der().ok()
}

/// R‖S of DER; `None` if it is not exactly that.
#[cfg(feature = "kms")]
pub(crate) fn from_der(signature: &[u8], algorithm: Algorithm) -> Option<Vec<u8>> {
    use der::Decode;
    let width = width(algorithm)?;
    let Signature { r, s } = Signature::from_der(signature).ok()?;
    let mut fixed = Vec::with_capacity(2 * width);
    for number in [r.as_bytes(), s.as_bytes()] {
        let zeros = width.checked_sub(number.len())?;
        if number.iter().all(|byte| *byte == 0) {
            return None;
        }
        fixed.resize(fixed.len() + zeros, 0);
        fixed.extend_from_slice(number);
    }
    Some(fixed)
}

#[cfg(feature = "kms")]
#[derive(der::Sequence)]
struct Signature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

fn width(algorithm: Algorithm) -> Option<usize> {
    match algorithm.key_kind() {
        KeyKind::Ec(curve) => Some(curve.coordinate_bytes()),
        KeyKind::Rsa | KeyKind::Ed25519 | KeyKind::Oct { .. } => None,
    }
}

#[cfg(all(test, feature = "kms"))]
#[expect(clippy::unwrap_used, reason = "tests say what they expect by failing")]
mod tests {
    use super::*;

    /// SEQUENCE { INTEGER r, INTEGER s } of these contents, whatever they are.
    fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
        let integer = |bytes: &[u8]| [&[2, u8::try_from(bytes.len()).unwrap()][..], bytes].concat();
        let inside = [integer(r), integer(s)].concat();
        let length = u8::try_from(inside.len()).unwrap();
        let head = if length < 0x80 { vec![0x30, length] } else { vec![0x30, 0x81, length] };
        [head, inside].concat()
    }

    #[test]
    fn short_numbers_are_padded_and_the_zero_of_a_high_bit_is_not_kept() {
        let mut high = vec![0x80; 32];
        high.insert(0, 0);
        let fixed = from_der(&der(&[5], &high), Algorithm::ES256).unwrap();
        assert_eq!(fixed, [vec![0; 31], vec![5], vec![0x80; 32]].concat());
        let fixed = from_der(&der(&[1; 66], &[0x7f]), Algorithm::ES512).unwrap();
        assert_eq!(fixed, [vec![1; 66], vec![0; 65], vec![0x7f]].concat());
    }

    #[test]
    fn both_directions_agree_for_numbers_of_every_length() {
        for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
            let width = width(algorithm).unwrap();
            for (r, s) in (1..=width).flat_map(|r| [(r, 1), (r, width), (1, r), (width, r)]) {
                for top in [0x01, 0x7f, 0x80, 0xff] {
                    let number =
                        |length| [vec![0; width - length], vec![top], vec![0xa5; length - 1]].concat();
                    let fixed = [number(r), number(s)].concat();
                    let der = to_der(&fixed, algorithm).unwrap();
                    assert_eq!(from_der(&der, algorithm), Some(fixed), "{algorithm} {r} {s} {top}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_exactly_two_positive_numbers_of_the_curve_is_refused() {
        let good = der(&[1; 32], &[2; 32]);
        assert!(from_der(&good, Algorithm::ES256).is_some());
        let zero_in_front = [&[0][..], &[0x80; 32]].concat();
        for (what, bad) in [
            ("empty", vec![]),
            ("r zero", der(&[0], &[2; 32])),
            ("s zero", der(&[1; 32], &[0])),
            ("r negative", der(&[0x80; 32], &[2; 32])),
            ("s negative", der(&[1; 32], &[0xff])),
            ("r too long", der(&[1; 33], &[2; 32])),
            ("s too long", der(&[1; 32], &[2; 33])),
            ("a needless zero", der(&[&[0][..], &[1; 31]].concat(), &[2; 32])),
            ("two zeros", der(&[&[0, 0][..], &[0x80; 31]].concat(), &[2; 32])),
            ("no r", der(&[], &[2; 32])),
            ("bytes behind it", [good.as_slice(), &[0]].concat()),
            ("a byte too few", good[..good.len() - 1].to_vec()),
            ("R and S as they stand in a JWS", vec![1; 64]),
            ("a long length for a short one", [&[0x30, 0x81, 0x44][..], &good[2..]].concat()),
            ("a third number", {
                let mut three = good.clone();
                three.extend_from_slice(&[2, 1, 1]);
                three[1] += 3;
                three
            }),
            ("another kind of number", {
                let mut bits = good.clone();
                bits[2] = 3;
                bits
            }),
        ] {
            assert_eq!(from_der(&bad, Algorithm::ES256), None, "{what}");
        }
        assert!(from_der(&der(&zero_in_front, &zero_in_front), Algorithm::ES256).is_some());
        assert_eq!(from_der(&good, Algorithm::RS256), None, "RSA has no such form");
    }
}
