//! Public keys that are well-formed and yet keep nobody out: anyone can sign with them, or compute
//! the private half. Refused whenever a key is bound to an algorithm, and never looked at again.
//!
//! RSA: small factors (NIST SP 800-89 §5.3.3, primes below 752), 2^n ± 1, two primes close together
//! (CVE-2022-26320) and keys of the Infineon library (ROCA, CVE-2017-15361). Ed25519: points of
//! small order, under which a signature that is no secret verifies every message, and second
//! encodings (RFC 8032 §5.1.3). Points off their NIST curve are refused by aws-lc.
//! Pinned by `tests/attacks/weak_keys.rs`.

use super::{PublicKey, significant_bits};
use num_bigint::BigUint;

/// What makes a key worthless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// The modulus has a factor that anybody finds.
    #[error("its RSA modulus is divisible by {0}")]
    SmallFactor(u32),
    /// The modulus is 2^n + 1 or 2^n - 1: a placeholder, or prime.
    #[error("its RSA modulus is a power of two plus or minus one")]
    PowerOfTwo,
    /// The two primes lie so close together that their product gives them away.
    #[error("its RSA modulus is the product of two primes that are close together (CVE-2022-26320)")]
    CloseFactors,
    /// The modulus has the structure of a key made by Infineon's library.
    #[error("its RSA modulus is one of the factorable keys of CVE-2017-15361 (ROCA)")]
    Roca,
    /// An Ed25519 point of order 1, 2, 4 or 8.
    #[error("its Ed25519 point is of small order, so that everybody's signature would verify")]
    SmallOrder,
    /// An Ed25519 point written with a y of p or more.
    #[error("its Ed25519 point is not encoded as RFC 8032 has it")]
    SecondEncoding,
}

/// Primes up to here are tried as factors.
const SMALL: u32 = 752;
/// The primes whose product the 1024-bit and larger moduli of the Infineon library are built on.
const ROCA_PRIMES: u32 = 353;
/// The generator of the subgroup their moduli lie in.
const ROCA_GENERATOR: u32 = 65_537;
/// Steps of Fermat's method: the primes of the keys that were found in the wild need one.
const FERMAT_STEPS: u32 = 8;

/// Refuses a key that keeps nobody out.
pub(super) fn check(key: &PublicKey) -> Result<(), Weakness> {
    match key {
        PublicKey::Rsa { n, .. } => check_rsa(n),
        PublicKey::Ed25519 { x } => check_ed25519(x),
        PublicKey::Ec { .. } => Ok(()),
    }
}

fn check_rsa(modulus: &[u8]) -> Result<(), Weakness> {
    let mut roca = significant_bits(modulus) >= 992;
    for prime in (2..SMALL).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0)) {
        let residue = residue(modulus, prime);
        if residue == 0 {
            return Err(Weakness::SmallFactor(prime));
        }
        roca = roca && (!(3..=ROCA_PRIMES).contains(&prime) || is_power(residue, prime));
    }
    if roca {
        return Err(Weakness::Roca);
    }
    let n = BigUint::from_bytes_be(modulus);
    let one = BigUint::from(1u32);
    // Odd here, so the one of the two that is a power of two has all of its neighbour's bits.
    if (&n + &one).count_ones() == 1 || (&n - &one).count_ones() == 1 {
        return Err(Weakness::PowerOfTwo);
    }
    if has_close_factors(&n) { Err(Weakness::CloseFactors) } else { Ok(()) }
}

/// The rest of a big-endian number, four bytes at a time.
fn residue(modulus: &[u8], prime: u32) -> u32 {
    let rest = modulus.chunks(4).fold(0, |rest: u64, bytes| {
        bytes.iter().fold(rest, |number, byte| (number << 8) | u64::from(*byte)) % u64::from(prime)
    });
    u32::try_from(rest).unwrap_or_default()
}

/// Whether a residue is a power of the generator modulo this prime.
fn is_power(residue: u32, prime: u32) -> bool {
    let step = ROCA_GENERATOR % prime;
    let mut power = 1;
    for _ in 0..prime {
        if power == residue {
            return true;
        }
        power = power * step % prime;
    }
    false
}

/// Fermat: n = a² - b² with a just above its root, if n = (a - b)(a + b) has close factors. A
/// square has the factors a and a.
fn has_close_factors(n: &BigUint) -> bool {
    let one = BigUint::from(1u32);
    let root = n.sqrt();
    let mut a = if &root * &root == *n { root } else { root + &one };
    for _ in 0..FERMAT_STEPS {
        let difference = &a * &a - n;
        if is_square(&difference) {
            return true;
        }
        a += &one;
    }
    false
}

/// A root is dear, and of a hundred numbers that are no square all but one are told by their rest.
fn is_square(number: &BigUint) -> bool {
    // What a square leaves when it is divided by each of these.
    let may_be = [64_u32, 63, 65, 11].into_iter().all(|divisor| {
        let rest = u32::try_from(number % divisor).unwrap_or_default();
        (0..divisor).any(|root| root * root % divisor == rest)
    });
    may_be && {
        let root = number.sqrt();
        &root * &root == *number
    }
}

/// 2^255 - 19, as the bytes of a point's y (RFC 8032 §5.1.2, little-endian).
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    p[0] = 0xed;
    p[31] = 0x7f;
    p
};

/// The y of the points of order 8; those of smaller order are 0, 1 and p - 1.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5,
        0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a,
        0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

fn check_ed25519(point: &[u8]) -> Result<(), Weakness> {
    // The top bit says which of two points of the same y is meant; both have the same order.
    let mut y = point.to_vec();
    if let Some(top) = y.last_mut() {
        *top &= 0x7f;
    }
    if y.iter().rev().ge(P.iter().rev()) {
        return Err(Weakness::SecondEncoding);
    }
    let number = |low: u8, rest: u8, top: u8| {
        let inner = y.get(1..31).unwrap_or_default().iter().all(|byte| *byte == rest);
        y.first() == Some(&low) && inner && y.last() == Some(&top)
    };
    let small = number(0, 0, 0) || number(1, 0, 0) || number(0xec, 0xff, 0x7f);
    if small || ORDER_8.iter().any(|order_8| y == order_8) { Err(Weakness::SmallOrder) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_number_does_not_depend_on_how_it_is_read() {
        let bytes: Vec<u8> = (1..=67).map(|n: u8| n.wrapping_mul(151)).collect();
        for length in 0..bytes.len() {
            let number = &bytes[..length];
            for prime in [2, 3, 257, 751] {
                let expected = u32::try_from(BigUint::from_bytes_be(number) % prime).unwrap();
                assert_eq!(residue(number, prime), expected, "{length} bytes, {prime}");
            }
        }
    }

    #[test]
    fn every_square_is_found_and_nothing_else() {
        let squares: Vec<u32> = (0..200).map(|root| root * root).collect();
        for number in 0..=199 * 199 {
            assert_eq!(is_square(&BigUint::from(number)), squares.binary_search(&number).is_ok(), "{number}");
        }
        let root = BigUint::from_bytes_be(&[0xc5; 128]);
        let square = &root * &root;
        assert!(is_square(&square) && !is_square(&(&square + 1u32)) && !is_square(&(&square - 1u32)));
        // A number that the rests let through.
        assert!(!is_square(&(&square + 64u32 * 63 * 65 * 11)));
    }
}
