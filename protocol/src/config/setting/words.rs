//! Numbers and booleans in texts, as Go's `strconv` reads them.

use crate::config::error::{ConvertError, NumberFault};

/// Reads a whole number with its base in front: `0x`, `0o`, `0b`, or `0` for octal.
pub(super) fn parse_int(text: &str) -> Result<i64, ConvertError> {
    let syntax = || ConvertError::Int { text: text.to_owned(), fault: NumberFault::Syntax };
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = unsigned.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, lower.get(2..)),
        [b'0', b'o', ..] => (8, lower.get(2..)),
        [b'0', b'b', ..] => (2, lower.get(2..)),
        [b'0', _, ..] => (8, lower.get(1..)),
        _ => (10, lower.get(0..)),
    };
    let digits = digits.unwrap_or_default();
    let prefixed = digits.len() < lower.len();
    let digits = without_separators(digits, prefixed).ok_or_else(syntax)?;
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(syntax());
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix)
        .map_err(|error| ConvertError::Int { text: text.to_owned(), fault: error.kind().into() })
}

/// Takes out underscores, which are allowed between digits and after a base, and only in numbers that name their base.
fn without_separators(digits: &str, prefixed: bool) -> Option<String> {
    if !digits.contains('_') {
        return Some(digits.to_owned());
    }
    let well_placed = prefixed && !digits.ends_with('_') && !digits.contains("__");
    well_placed.then(|| digits.replace('_', ""))
}

/// Reads a decimal number.
pub(super) fn parse_float(text: &str) -> Result<f64, ConvertError> {
    let number: f64 =
        text.parse().map_err(|_| ConvertError::Float { text: text.to_owned(), fault: NumberFault::Syntax })?;
    if number.is_infinite() && text.contains(|c: char| c.is_ascii_digit()) {
        return Err(ConvertError::Float { text: text.to_owned(), fault: NumberFault::Range });
    }
    Ok(number)
}

/// Reads one of the words that stand for a boolean.
pub(super) fn parse_bool(text: &str) -> Result<bool, ConvertError> {
    match text {
        "1" | "t" | "T" | "Y" | "true" | "TRUE" | "True" | "yes" | "Yes" | "YES" => Ok(true),
        "0" | "f" | "F" | "N" | "false" | "FALSE" | "False" | "no" | "No" | "NO" => Ok(false),
        _ => Err(ConvertError::Bool(text.to_owned())),
    }
}
