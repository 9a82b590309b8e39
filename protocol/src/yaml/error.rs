//! Why a text is not the document that was asked for.

use std::fmt;

use serde_saphyr::Error;

use super::{MAX_INPUT_BYTES, Position};

/// Why a text is not the document that was asked for. `Display` is `yaml: line 5: ` and the reason; it quotes nothing of
/// the document but names of fields and anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    position: Option<Position>,
    reason: String,
}

impl YamlError {
    /// Where the mistake is, if it has one place.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn too_long(bytes: usize) -> Self {
        Self { position: None, reason: format!("{bytes} bytes are more than the {MAX_INPUT_BYTES} allowed") }
    }

    pub(super) fn from_reader(error: &Error) -> Self {
        let error = error.without_snippet();
        Self { position: error.location().map(Position::from), reason: reason(error) }
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "yaml: line {}: {}", position.line, self.reason),
            None => write!(f, "yaml: {}", self.reason),
        }
    }
}

impl std::error::Error for YamlError {}

fn reason(error: &Error) -> String {
    match error {
        Error::ExternalMessage { msg, .. } => in_words_of_the_reference(msg).to_owned(),
        Error::MultipleDocuments { .. } => "more than one document".to_owned(),
        Error::UnknownAnchor { .. } => "unknown anchor referenced".to_owned(),
        // These carry values of the document in their usual texts.
        Error::SerdeInvalidType { expected, .. } | Error::SerdeInvalidValue { expected, .. } => {
            format!("expected {expected}")
        }
        Error::InvalidScalar { ty, .. } => format!("expected {ty}"),
        Error::NonFiniteFloat { .. } => "number is not finite".to_owned(),
        Error::SerdeUnknownVariant { expected, .. } => {
            format!("expected one of {}", expected.join(", "))
        }
        Error::Message { .. } => "unexpected value".to_owned(),
        other => without_place(&other.to_string()).to_owned(),
    }
}

/// The reader descends from the one of the reference and keeps many of its words. Of the others, the common ones are
/// brought back; a text that begins "while parsing a block mapping, " loses that part, as it does there.
fn in_words_of_the_reference(text: &str) -> &str {
    match text {
        "unclosed bracket '{'" => "did not find expected ',' or '}'",
        "unclosed bracket '['" | "while parsing a flow sequence, expected ',' or ']'" => {
            "did not find expected ',' or ']'"
        }
        "unclosed quote" => "found unexpected end of stream",
        _ if text.starts_with("unexpected character: ") => "found character that cannot start any token",
        _ => match text.split_once(", ") {
            Some((context, problem)) if context.starts_with("while ") => problem,
            _ => text,
        },
    }
}

/// Leaves out " at line 1, column 8", which `Display` puts first.
fn without_place(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.rsplit_once(" at line ").map_or(line, |(problem, _)| problem)
}
