//! Identifiers, checked on entry: one that exists is safe to join to a path and to print on one line.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

/// Length in characters of a newly drawn unit identifier (control-protocol 4.1).
pub const NEW_UNIT_ID_LENGTH: usize = 8;

/// Longest unit identifier accepted from a client, a peer or a data directory, in characters.
///
/// The original draws eight and never checks; the limit leaves room for other generators and keeps a directory name
/// and an answer line short.
pub const MAX_UNIT_ID_LENGTH: usize = 64;

/// Longest node identifier in bytes: what one directory name can hold on Linux (`NAME_MAX`).
pub const MAX_NODE_ID_LENGTH: usize = 255;

/// The 62 characters of which identifiers of units consist (control-protocol 4.1).
const UNIT_ID_ALPHABET: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Identifier of a work unit: 1 to 64 ASCII letters and digits.
///
/// Peers match `with ID ([a-zA-Z0-9]+)\.` (control-protocol 3.7), and the identifier names a directory, so nothing else
/// is let in. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct UnitId(Arc<str>);

/// Why a text is no [`UnitId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitIdError {
    /// Nothing was given.
    #[error("a unit ID cannot be empty")]
    Empty,
    /// More than [`MAX_UNIT_ID_LENGTH`] characters.
    #[error("a unit ID has at most {MAX_UNIT_ID_LENGTH} characters")]
    TooLong,
    /// A character other than an ASCII letter or digit.
    #[error("a unit ID consists of letters and digits only")]
    BadCharacter,
}

impl UnitId {
    /// Checks `text` and takes it as an identifier.
    ///
    /// # Errors
    /// If `text` is empty, too long, or holds anything but ASCII letters and digits.
    pub fn parse(text: &str) -> Result<Self, UnitIdError> {
        if text.is_empty() {
            return Err(UnitIdError::Empty);
        }
        if text.len() > MAX_UNIT_ID_LENGTH {
            return Err(UnitIdError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(UnitIdError::BadCharacter);
        }
        Ok(Self(text.into()))
    }

    /// Draws a new identifier of [`NEW_UNIT_ID_LENGTH`] characters.
    ///
    /// `below(n)` must answer a random number from `0` to `n - 1`; a larger one is folded back. Whether the identifier
    /// is still free is for the caller to see.
    pub fn draw(mut below: impl FnMut(usize) -> usize) -> Self {
        let size = UNIT_ID_ALPHABET.len();
        let text: String = (0..NEW_UNIT_ID_LENGTH)
            .filter_map(|_| UNIT_ID_ALPHABET.get(below(size) % size))
            .map(|byte| char::from(*byte))
            .collect();
        Self(text.into())
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Identifier of a node: the name of a directory under the data directory and a word of the banner.
///
/// Node identifiers of the original are unchecked and may hold `/` (control-protocol 1.4); here they are 1 to 255 bytes
/// without `/` and control characters, and neither `.` nor `..`. Blanks and colons are allowed. Case is significant.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct NodeId(Arc<str>);

/// Why a text is no [`NodeId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdError {
    /// Nothing was given.
    #[error("a node ID cannot be empty")]
    Empty,
    /// More than [`MAX_NODE_ID_LENGTH`] bytes.
    #[error("a node ID has at most {MAX_NODE_ID_LENGTH} bytes")]
    TooLong,
    /// `localhost` in any case, the name by which every node calls itself (control-protocol 1.4).
    #[error("node ID \"localhost\" is reserved")]
    Reserved,
    /// `.`, `..`, a slash or a control character: no name of a directory, or no single line.
    #[error("a node ID must be usable as a directory name: no slash, no control character, not . or ..")]
    NoDirectoryName,
}

impl NodeId {
    /// Checks `text` and takes it as an identifier.
    ///
    /// # Errors
    /// If `text` is empty, too long, reserved, or could not name a directory.
    pub fn parse(text: &str) -> Result<Self, NodeIdError> {
        if text.is_empty() {
            return Err(NodeIdError::Empty);
        }
        if text.len() > MAX_NODE_ID_LENGTH {
            return Err(NodeIdError::TooLong);
        }
        if text.eq_ignore_ascii_case("localhost") {
            return Err(NodeIdError::Reserved);
        }
        if matches!(text, "." | "..") || text.chars().any(|c| c == '/' || c.is_control()) {
            return Err(NodeIdError::NoDirectoryName);
        }
        Ok(Self(text.into()))
    }

    /// The identifier as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `target`, as a client names it in a submit or a ping, is this node: its own identifier to the letter, or
    /// `localhost` in any case (control-protocol 3.7).
    pub fn is_called(&self, target: &str) -> bool {
        target == self.as_str() || target.eq_ignore_ascii_case("localhost")
    }
}

macro_rules! checked_text {
    ($name:ident, $error:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }

        impl FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, $error> {
                Self::parse(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl AsRef<std::path::Path> for $name {
            fn as_ref(&self) -> &std::path::Path {
                self.as_str().as_ref()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

checked_text!(UnitId, UnitIdError);
checked_text!(NodeId, NodeIdError);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unit_ids_are_letters_and_digits() {
        for good in ["fdHK6b5O", "0", "FAKE0001", &"a".repeat(64)] {
            assert_eq!(UnitId::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(UnitId::parse(""), Err(UnitIdError::Empty));
        assert_eq!(UnitId::parse(&"a".repeat(65)), Err(UnitIdError::TooLong));
        for bad in ["../n2", "a b", "a\n", "é", ".", "a/b", "a\0"] {
            assert_eq!(UnitId::parse(bad), Err(UnitIdError::BadCharacter), "{bad:?}");
        }
    }

    #[test]
    fn drawn_unit_ids_use_the_whole_alphabet() {
        let mut next = 0;
        let drawn: String = (0..8)
            .map(|_| {
                UnitId::draw(|n| {
                    assert_eq!(n, 62);
                    next += 1;
                    next - 1
                })
                .to_string()
            })
            .collect();
        assert_eq!(drawn, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01");
        assert_eq!(UnitId::draw(|_| usize::MAX).as_str().len(), NEW_UNIT_ID_LENGTH);
    }

    #[test]
    fn node_ids_name_directories() {
        for good in ["n1", "a b:c", "12", "knoten-é", "...", "a..b"] {
            assert_eq!(NodeId::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(NodeId::parse(""), Err(NodeIdError::Empty));
        assert_eq!(NodeId::parse(&"x".repeat(256)), Err(NodeIdError::TooLong));
        for bad in [".", "..", "a/b", "a b:c/..", "a\nb", "a\0"] {
            assert_eq!(NodeId::parse(bad), Err(NodeIdError::NoDirectoryName), "{bad:?}");
        }
        let reserved = NodeId::parse("LocalHost").unwrap_err();
        assert_eq!(reserved.to_string(), "node ID \"localhost\" is reserved");
    }

    #[test]
    fn a_node_is_called_by_its_name_or_localhost() {
        let node = NodeId::parse("n1").unwrap();
        assert!(node.is_called("n1") && node.is_called("LOCALHOST"));
        assert!(!node.is_called("N1") && !node.is_called(""));
    }

    proptest! {
        #[test]
        fn an_accepted_unit_id_is_one_path_component(text in "\\PC{0,12}") {
            if let Ok(id) = UnitId::parse(&text) {
                let path = std::path::Path::new("/d").join(&id);
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("/d")));
            }
        }

        #[test]
        fn an_accepted_node_id_is_one_path_component(text in any::<String>()) {
            if let Ok(id) = NodeId::parse(&text) {
                let path = std::path::Path::new("/d").join(&id);
                prop_assert_eq!(path.parent(), Some(std::path::Path::new("/d")));
                prop_assert!(!id.as_str().contains('\n'));
            }
        }
    }
}
