//! Values as the original client, a Python program, prints them.

use std::fmt::Write as _;
use std::io;

use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter};
use serde_json::{Number, Value};

/// As `json.dumps(value, indent=4, sort_keys=True)`: keys sorted, everything beyond ASCII escaped.
pub(crate) fn indented(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    let mut out = Vec::new();
    let formatter = Ascii { inner: PrettyFormatter::with_indent(b"    ") };
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // A value has only texts as keys and writing to memory cannot fail.
    let _ = sorted.serialize(&mut serializer);
    String::from_utf8(out).unwrap_or_default()
}

/// The pretty form of `serde_json`, with everything beyond ASCII escaped, and numbers spelt as Python does.
struct Ascii {
    inner: PrettyFormatter<'static>,
}

impl Formatter for Ascii {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        for c in fragment.chars() {
            if matches!(c, ' '..='~') {
                write!(writer, "{c}")?;
                continue;
            }
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.inner.end_object_value(writer)
    }
}

/// A number as `str()` gives it: `1`, `1.5`, `1e+21`.
pub(crate) fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => float(value),
        _ => number.to_string(),
    }
}

/// A float as `repr()` gives it: plain between 1e-4 and 1e16 with a fraction always, else with an exponent of two digits.
fn float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        let plain = format!("{value}");
        return if plain.contains('.') { plain } else { format!("{plain}.0") };
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A value as `repr()` gives it: `{'type': 'Control Service'}`.
pub(crate) fn repr(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(value) => number(value),
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", list(items.iter().map(repr).collect())),
        Value::Object(map) => {
            let pairs = map.iter().map(|(name, value)| format!("{}: {}", quoted(name), repr(value)));
            format!("{{{}}}", list(pairs.collect()))
        }
    }
}

fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        // Writing to a String cannot fail.
        let _ = match c {
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            c if c == quote => write!(out, "\\{c}"),
            c if c.is_control() && u32::from(c) < 0x100 => write!(out, "\\x{:02x}", u32::from(c)),
            c => out.write_char(c),
        };
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_that_of_python() {
        // What json.dumps(..., indent=4, sort_keys=True) prints for the same value.
        let value =
            json!({"b": [1, 1.5, 2.0, 1e21, null, true], "a": {}, "é😀": "ü<\n\u{7f}\"\\", "c": [], "B": {"x": "y"}});
        let printed = r#"{
    "B": {
        "x": "y"
    },
    "a": {},
    "b": [
        1,
        1.5,
        2.0,
        1e+21,
        null,
        true
    ],
    "c": [],
    "\u00e9\ud83d\ude00": "\u00fc<\n\u007f\"\\"
}"#;
        assert_eq!(indented(&value), printed);
    }

    #[test]
    fn values_are_those_of_repr() {
        for (value, text) in [
            (json!({"type": "Control Service", "n": 1}), "{'type': 'Control Service', 'n': 1}"),
            (json!("it's"), "\"it's\""),
            (json!("it's \"x\"\\\n\u{1}é"), "'it\\'s \"x\"\\\\\\n\\x01é'"),
            (json!([null, true, false, 0.1, 1e-5, 1e16]), "[None, True, False, 0.1, 1e-05, 1e+16]"),
        ] {
            assert_eq!(repr(&value), text);
        }
    }
}
