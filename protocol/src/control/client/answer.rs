use serde_json::{Map, Value};

use crate::json;
use crate::unit::{Status, StatusError};

/// An answer that is one JSON object. Keys keep the order in which they arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(Map<String, Value>);

/// Why an answer does not say what its command asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// A field that must be there is not, or is of another type.
    #[error("the answer has no field {0}")]
    Missing(&'static str),
    /// The status of a unit cannot be read.
    #[error("the status of unit {unit} cannot be read: {error}")]
    Status {
        /// Identifier of the unit as answered; empty for `work status`, which does not repeat it.
        unit: String,
        /// What is wrong with it.
        error: StatusError,
    },
    /// An object that must have an entry has none.
    #[error("the answer is empty")]
    Empty,
}

impl Answer {
    pub(super) fn read(line: &str) -> Option<Self> {
        match json::parse(line.as_bytes()) {
            Ok(Value::Object(fields)) => Some(Self(fields)),
            _ => None,
        }
    }

    /// The fields as they arrived.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The answer as a JSON value.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// A field that holds a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// Whether a field holds `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// The answer to `work status` (control-protocol 3.8).
    ///
    /// # Errors
    /// If a field has another type than it must have.
    pub fn status(&self) -> Result<Status, AnswerError> {
        read_status("", &Value::Object(self.0.clone()))
    }

    /// The answer to `work list` (control-protocol 3.8), units in the order of the answer.
    ///
    /// # Errors
    /// If the status of a unit cannot be read.
    pub fn units(&self) -> Result<Vec<(String, Status)>, AnswerError> {
        self.0.iter().map(|(unit, status)| Ok((unit.clone(), read_status(unit, status)?))).collect()
    }

    /// The answer to a submit (control-protocol 3.7): its result and the identifier of the unit.
    ///
    /// # Errors
    /// If one of them is missing.
    pub fn submitted(&self) -> Result<(&str, &str), AnswerError> {
        let field = |name| self.text(name).ok_or(AnswerError::Missing(name));
        Ok((field("result")?, field("unitid")?))
    }

    /// The answer to cancel or release (control-protocol 3.9): the outcome and the identifier of the unit. Only the
    /// first entry counts.
    ///
    /// # Errors
    /// If there is none, or it holds no text.
    pub fn outcome(&self) -> Result<(&str, &str), AnswerError> {
        let (outcome, unit) = self.0.iter().next().ok_or(AnswerError::Empty)?;
        Ok((outcome, unit.as_str().ok_or(AnswerError::Empty)?))
    }
}

fn read_status(unit: &str, value: &Value) -> Result<Status, AnswerError> {
    Status::from_value(value).map_err(|error| AnswerError::Status { unit: unit.to_owned(), error })
}

/// An `ERROR:` line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Refused {
    line: String,
}

impl Refused {
    pub(super) fn read(line: &str) -> Option<Self> {
        line.starts_with("ERROR:").then(|| Self { line: line.to_owned() })
    }

    /// The line as it came, without blanks around it: `ERROR: unknown work type zzz`.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The line from its eighth character on (control-protocol 6.2): `unknown work type zzz`.
    pub fn text(&self) -> &str {
        let mut rest = self.line.chars();
        rest.by_ref().take(7).for_each(drop);
        rest.as_str()
    }

    /// Whether the server does not know the unit asked about (control-protocol 3.6).
    pub fn is_unknown_unit(&self) -> bool {
        self.text().starts_with("unknown work unit")
    }

    /// Whether the server does not know the command (control-protocol 3, 3.6; work-types 5).
    pub fn is_unknown_command(&self) -> bool {
        matches!(self.text(), "Unknown command" | "bad command")
    }
}
