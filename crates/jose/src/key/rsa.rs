//! RSA private keys that came without their CRT members: the primes are recovered from `n`, `e` and
//! `d`.
//!
//! RFC 7518 §6.3.2 lets a JWK carry `d` alone. The method is that of NIST SP 800-56B appendix C.1
//! with fixed bases in place of random ones. It runs once, when a key is loaded by its owner, so
//! its timing tells nobody anything; the result is checked by aws-lc like any other key.

use super::{KeyError, MAX_RSA_BITS};
use num_bigint::BigUint;
use zeroize::Zeroizing;

/// The members a JWK may leave out.
pub(super) struct CrtMembers {
    pub(super) p: Zeroizing<Vec<u8>>,
    pub(super) q: Zeroizing<Vec<u8>>,
    pub(super) dp: Zeroizing<Vec<u8>>,
    pub(super) dq: Zeroizing<Vec<u8>>,
    pub(super) qi: Zeroizing<Vec<u8>>,
}

/// Bases tried; each one that fails does so with probability at most one half for a valid key.
const BASES: [u32; 40] = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167, 173,
];

pub(super) fn recover_crt(n: &[u8], e: &[u8], d: &[u8]) -> Result<CrtMembers, KeyError> {
    let limit = MAX_RSA_BITS / 8;
    if n.len() > limit || e.len() > 5 || d.len() > limit {
        return Err(KeyError::Inconsistent);
    }
    let (n, e, d) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e), BigUint::from_bytes_be(d));
    let (zero, one) = (BigUint::ZERO, BigUint::from(1u32));
    if !n.bit(0) || n <= one || d == zero || e == zero {
        return Err(KeyError::Inconsistent);
    }
    let (p, q) = factor(&n, &(&e * &d - &one)).ok_or(KeyError::Inconsistent)?;
    // By custom p is the larger prime.
    let (p, q) = if p > q { (p, q) } else { (q, p) };
    let inverse = q.modinv(&p).ok_or(KeyError::Inconsistent)?;
    let bytes = |v: BigUint| Zeroizing::new(v.to_bytes_be());
    Ok(CrtMembers {
        dp: bytes(&d % (&p - &one)),
        dq: bytes(&d % (&q - &one)),
        qi: bytes(inverse),
        p: bytes(p),
        q: bytes(q),
    })
}

/// Finds the two factors of `n`, given `k`, a multiple of λ(n).
fn factor(n: &BigUint, k: &BigUint) -> Option<(BigUint, BigUint)> {
    let one = BigUint::from(1u32);
    let minus_one = n - &one;
    let twos = k.trailing_zeros()?;
    if twos == 0 {
        return None;
    }
    let odd = k >> twos;
    'bases: for base in BASES {
        let mut x = BigUint::from(base).modpow(&odd, n);
        if x == one || x == minus_one {
            continue;
        }
        for _ in 0..twos {
            let square = &x * &x % n;
            if square == one {
                // x is a square root of 1 other than ±1, so it shares one prime with x - 1.
                let p = gcd(&x - &one, n.clone());
                let q = n / &p;
                return (&p * &q == *n && p != one && q != one).then_some((p, q));
            }
            if square == minus_one {
                continue 'bases;
            }
            x = square;
        }
        // base^k is not 1, so k is no multiple of λ(n): d belongs to another key, and no other base
        // can help.
        return None;
    }
    None
}

fn gcd(mut a: BigUint, mut b: BigUint) -> BigUint {
    while b != BigUint::ZERO {
        (a, b) = (b.clone(), a % b);
    }
    a
}
