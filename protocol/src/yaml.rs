//! The one place that reads YAML.
//!
//! Configuration files, pod definitions and kubeconfigs were written for readers of YAML 1.1, so a bare `0600` is the
//! number 384 and a bare `yes` or `on` is true (control-protocol 1.2). Of a key given twice the last value counts, as
//! there. Input is a stranger's: its size, depth, node count and the expansion of aliases are bounded.
//!
//! The wording of syntax errors is the reader's own, in the reference's form `yaml: line 5: did not find expected key`.
//! The usual mistakes are described in the same words as there. The line is the one where the mistake is, where the
//! reference often names the one before and for a mistake on the first line none at all.

mod error;
mod value;

use serde::de::DeserializeOwned;

pub use error::YamlError;
pub use value::{Entry, Node, Position, Value};

/// Longest input in bytes: a pod definition cannot be longer, as it arrives inside one command line.
pub const MAX_INPUT_BYTES: usize = 16 * 1024 * 1024;

/// Deepest nesting of lists and maps. Far above any pod definition; keeps the stack of a reading thread small.
const MAX_DEPTH: usize = 64;

/// Most lists, maps and scalars, those that aliases repeat included.
const MAX_NODES: usize = 250_000;

/// Reads one document as a tree that remembers the place of each node. Empty input is [`Node::Null`].
///
/// # Errors
/// If the text is not one YAML document or exceeds a limit.
pub fn parse(text: &str) -> Result<Value, YamlError> {
    from_str(text)
}

/// Reads one document as a `T`.
///
/// ```
/// let mode: u32 = worknode_protocol::yaml::from_str("0600")?;
/// assert_eq!(mode, 384);
/// # Ok::<(), worknode_protocol::yaml::YamlError>(())
/// ```
///
/// # Errors
/// If the text is not one YAML document, is not of the shape of a `T`, or exceeds a limit. The error never quotes a
/// value of the document, for it may be a secret.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    if text.len() > MAX_INPUT_BYTES {
        return Err(YamlError::too_long(text.len()));
    }
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| YamlError::from_reader(&error))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
            max_documents: 2,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_NODES,
            max_replay_stack_depth: MAX_DEPTH,
        },
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        strict_booleans: false,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
        // Snippets would put the document's values, which may be secrets, into error texts.
        with_snippet: false,
    }
}

#[cfg(test)]
mod tests;
