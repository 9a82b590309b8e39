//! Making RSA keys. The primes come from `crypto-primes`; what follows from them is computed here once and checked by ring,
//! which does all signing, before a key is used (decision 14).

use crypto_bigint::{BoxedUint, ConcatenatingMul, NonZero, Odd, Resize};
use crypto_primes::{
    Flavor,
    hazmat::{SetBits, SmallFactorsSieveFactory},
    is_prime, sieve_and_find,
};
use rand::CryptoRng;
use worknode_protocol::config::model::certs::KeyBits;

use super::{CertError, der};

/// The public exponent of everybody.
const EXPONENT: u64 = 65_537;
/// Leading bits in which the primes must differ: FIPS 186-5, A.1.3.
const DISTANCE: u32 = 100;

/// Numbers that make no key; with good random numbers it does not happen.
#[derive(Debug)]
pub(super) struct NoKey;

impl NoKey {
    pub(super) fn in_file(self, file: &str) -> CertError {
        CertError::Unusable { file: file.to_owned(), why: "no primes were found" }
    }
}

/// A new key as `RSAPrivateKey` of PKCS#1.
pub(super) fn generate(bits: KeyBits, random: &mut impl CryptoRng) -> Result<Vec<u8>, NoKey> {
    let half = bits.get() / 2;
    let first = prime(half, random)?;
    let second = loop {
        let second = prime(half, random)?;
        let distance = if first > second { first.wrapping_sub(&second) } else { second.wrapping_sub(&first) };
        if distance.bits() > half.saturating_sub(DISTANCE) {
            break second;
        }
    };
    let (p, q) = if first > second { (first, second) } else { (second, first) };
    private_key(&p, &q, bits.get())
}

/// A prime with its two highest bits set, so that a product of two has all its bits, and with `p - 1` prime to the
/// exponent.
fn prime(bits: u32, random: &mut impl CryptoRng) -> Result<BoxedUint, NoKey> {
    let sieve = SmallFactorsSieveFactory::new(Flavor::Any, bits, SetBits::TwoMsb).map_err(|_| NoKey)?;
    let exponent = NonZero::new(BoxedUint::from(EXPONENT)).into_option().ok_or(NoKey)?;
    let fits = |candidate: &BoxedUint| {
        is_prime(Flavor::Any, candidate) && candidate.rem_vartime(&exponent) != BoxedUint::one()
    };
    sieve_and_find(random, sieve, |_, candidate| fits(candidate)).ok().flatten().ok_or(NoKey)
}

/// Everything that follows from the primes, of which `p` is the larger.
fn private_key(p: &BoxedUint, q: &BoxedUint, bits: u32) -> Result<Vec<u8>, NoKey> {
    let (one, modulus) = (BoxedUint::one(), p.concatenating_mul(q));
    let (p1, q1) = (p.wrapping_sub(&one), q.wrapping_sub(&one));
    let nonzero = |number: &BoxedUint| NonZero::new(number.clone()).into_option().ok_or(NoKey);
    let totient = nonzero(&p1.concatenating_mul(&q1))?;
    let d = BoxedUint::from(EXPONENT).resize(bits).invert_mod(&totient).into_option().ok_or(NoKey)?;
    let (dp, dq) = (d.rem(&nonzero(&p1)?), d.rem(&nonzero(&q1)?));
    let odd = Odd::new(p.clone()).into_option().ok_or(NoKey)?;
    let coefficient = q.invert_odd_mod(&odd).into_option().ok_or(NoKey)?;
    let number = |number: &BoxedUint| der::integer(&number.to_be_bytes());
    Ok(der::sequence(&[
        &der::integer(&[0]),
        &number(&modulus),
        &der::integer(&EXPONENT.to_be_bytes()),
        &number(&d),
        &number(p),
        &number(q),
        &number(&dp),
        &number(&dq),
        &number(&coefficient),
    ]))
}
