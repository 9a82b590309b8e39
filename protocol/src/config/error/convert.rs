//! Why a value cannot be converted to what a parameter takes (control-protocol 1.2).

use std::num::IntErrorKind;

use crate::quote::quote;

/// Why a value cannot be converted to what a parameter takes. `Display` is the end of a load error's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// Null for something that is not a list or map.
    #[error("value cannot be nil")]
    Nil,
    /// Another kind of node.
    #[error("type error (expected {0})")]
    Type(&'static str),
    /// Not a whole number.
    #[error("strconv.ParseInt: parsing {}: {fault}", quote(.text))]
    Int {
        /// The text.
        text: String,
        /// What is wrong with it.
        fault: NumberFault,
    },
    /// Not a number.
    #[error("strconv.ParseFloat: parsing {}: {fault}", quote(.text))]
    Float {
        /// The text.
        text: String,
        /// What is wrong with it.
        fault: NumberFault,
    },
    /// Not a boolean.
    #[error("could not parse {0} as boolean")]
    Bool(String),
    /// A member of a list or map of the wrong kind.
    #[error("invalid value {value}: must be type {expected}")]
    Member {
        /// The member.
        value: String,
        /// What it would have to be.
        expected: &'static str,
    },
    /// A key of a map that is no name, such as a bare `N`, which is false.
    #[error("invalid key {0}: must be type string")]
    Key(String),
    /// A text that begins like JSON but is none.
    #[error("{0}")]
    Json(String),
}

/// What is wrong with a number's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberFault {
    /// It is none.
    #[error("invalid syntax")]
    Syntax,
    /// It is too great or too small.
    #[error("value out of range")]
    Range,
}

impl From<&IntErrorKind> for NumberFault {
    fn from(kind: &IntErrorKind) -> Self {
        match kind {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Self::Range,
            _ => Self::Syntax,
        }
    }
}

impl ConvertError {
    /// What would be right, where that can be told.
    pub(super) fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Nil => "write a value, or leave the key out to get the default".to_owned(),
            Self::Type(expected) => format!("write {}", form(expected)),
            Self::Int { .. } => "write a whole number; with a leading 0 it is octal, as in '0660'".to_owned(),
            Self::Float { .. } => "write a number such as 1.0".to_owned(),
            Self::Bool(_) => "write true or false".to_owned(),
            Self::Member { expected, .. } => format!("each member must be {}", form(expected)),
            Self::Key(_) => "write the key in quotes: bare words such as y, n, on and off are booleans".to_owned(),
            Self::Json(_) => "write a YAML list or map, or correct the JSON".to_owned(),
        })
    }
}

/// A type of the reference in plain words.
fn form(expected: &str) -> &str {
    match expected {
        "string" => "a text",
        "int" => "a whole number",
        "float64" => "a number",
        "bool" => "true or false",
        "[]string" => "a list of texts",
        _ if expected.starts_with("map") => "a map of keys and values",
        _ if expected.starts_with("[]") => "a list of maps",
        _ => "a map",
    }
}
