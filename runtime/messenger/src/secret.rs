//! Who may connect: both sides prove that they know one secret, without saying it.
//!
//! HMAC-SHA256 over the whole greeting (both nonces, nodes, versions, session and lane), with a word for each side so
//! that a proof cannot be sent back as one's own. The caller proves first: a stranger learns nothing to try secrets
//! on. What follows on the connection is neither encrypted nor signed: the data path is for a trusted network.

use crate::wire::{Challenge, Frame, Hello};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::sync::Arc;

/// The cluster's shared secret.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Any bytes; 16 random ones or more, please.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub(crate) fn prove(&self, side: Side, hello: &Hello, challenge: &Challenge) -> [u8; 32] {
        self.mac(side, hello, challenge)
            .finalize()
            .into_bytes()
            .into()
    }

    /// In constant time.
    pub(crate) fn is_proven(
        &self,
        side: Side,
        hello: &Hello,
        challenge: &Challenge,
        proof: &[u8; 32],
    ) -> bool {
        self.mac(side, hello, challenge).verify_slice(proof).is_ok()
    }

    fn mac(&self, side: Side, hello: &Hello, challenge: &Challenge) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        let mut transcript = Vec::with_capacity(96);
        Frame::Hello(*hello).encode(&mut transcript);
        Frame::Challenge(*challenge).encode(&mut transcript);
        mac.update(match side {
            Side::Caller => b"kv caller",
            Side::Listener => b"kv listen",
        });
        mac.update(&transcript);
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Who proves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    Caller,
    Listener,
}

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the kernel has random bytes");
    bytes
}

pub(crate) fn random_u64() -> u64 {
    u64::from_le_bytes(random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_fits_one_secret_one_side_and_one_greeting() {
        let (secret, other) = (Secret::new(b"secret"), Secret::new(b"Secret"));
        let hello = Hello {
            version: 1,
            lane: 2,
            node: 3,
            session: 4,
            nonce: [5; 16],
        };
        let challenge = Challenge {
            version: 1,
            node: 9,
            nonce: [6; 16],
        };
        let proof = secret.prove(Side::Caller, &hello, &challenge);
        assert!(secret.is_proven(Side::Caller, &hello, &challenge, &proof));
        assert!(!secret.is_proven(Side::Listener, &hello, &challenge, &proof));
        assert!(!other.is_proven(Side::Caller, &hello, &challenge, &proof));
        let elsewhere = Hello { lane: 3, ..hello };
        assert!(!secret.is_proven(Side::Caller, &elsewhere, &challenge, &proof));
        let later = Challenge {
            nonce: [7; 16],
            ..challenge
        };
        assert!(!secret.is_proven(Side::Caller, &hello, &later, &proof));
        assert_eq!(
            format!("{secret:?}"),
            "Secret(..)",
            "secrets are not printed"
        );
    }
}
