//! The cluster's secret: who knows it may give orders and take part in transfers.
//!
//! It travels as a bearer token, so it is for networks that are trusted, or for TLS ([`super::Tls`]).

use std::fmt;
use std::path::{Path, PathBuf};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Request, Status};

/// Shorter ones can be guessed.
const CHARACTERS_MIN: usize = 16;

/// Longer ones do not fit into a header everywhere.
const CHARACTERS_MAX: usize = 1024;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// A secret that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file.
    #[error("secret file {}: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What was seen.
        why: std::io::Error,
    },
    /// Its text.
    #[error(
        "secret of {0} characters or with others than printable ones, expected {CHARACTERS_MIN} to {CHARACTERS_MAX} \
         printable ASCII characters on one line"
    )]
    Text(usize),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// From a text; white space around it does not count.
    ///
    /// # Errors
    /// If it is too short, too long, or not printable.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let good = text.bytes().all(|byte| byte.is_ascii_graphic());
        if !good || !(CHARACTERS_MIN..=CHARACTERS_MAX).contains(&text.len()) {
            return Err(SecretError::Text(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// From a file.
    ///
    /// # Errors
    /// If it cannot be read, or as [`Self::new`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let text = std::fs::read_to_string(path).map_err(|why| SecretError::File {
            path: path.into(),
            why,
        })?;
        Self::new(&text)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// A request that shows it.
    pub(crate) fn shown<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let value: MetadataValue<Ascii> = format!("Bearer {}", self.0)
            .parse()
            .expect("printable ASCII is a header's value");
        request.metadata_mut().insert("authorization", value);
        request
    }

    /// Who asks must know it.
    pub(crate) fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let shown = metadata.get("authorization");
        let shown = shown.and_then(|value| value.as_encoded_bytes().strip_prefix(b"Bearer "));
        match shown {
            Some(shown) if equal(shown, self.as_bytes()) => Ok(()),
            Some(_) => Err(Status::unauthenticated("the secret is another one")),
            None => Err(Status::unauthenticated("no secret was shown")),
        }
    }
}

/// In a time that depends on the lengths alone.
fn equal(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_secret_is_let_in_and_it_is_not_printed() {
        let secret = Secret::new("  correct-horse-battery\n").expect("long enough");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        let right = secret.shown(());
        assert!(secret.check(right.metadata()).is_ok());
        for other in ["correct-horse-batterx", "correct-horse-battery-staple"] {
            let other = Secret::new(other).expect("long enough").shown(());
            assert!(secret.check(other.metadata()).is_err());
        }
        assert!(secret.check(Request::new(()).metadata()).is_err());
    }

    #[test]
    fn what_can_be_guessed_or_not_sent_is_refused() {
        for text in ["", "short", "with a space between", "sixteen letters and ü"] {
            assert!(Secret::new(text).is_err(), "{text}");
        }
        assert!(Secret::read(Path::new("/nowhere/at/all")).is_err());
    }
}
