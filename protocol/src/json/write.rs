use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// `value` as one JSON text without blanks, escaped as the original does.
///
/// Fails only where a value cannot be JSON at all (a map whose keys are no text), never for what the types of this
/// crate hold; `null` is written then, as there is nothing better to answer.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> String {
    let mut out = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, WireFormatter);
    match value.serialize(&mut serializer) {
        Ok(()) => String::from_utf8(out).unwrap_or_else(|_| "null".to_owned()),
        Err(_) => "null".to_owned(),
    }
}

/// `value` as [`to_string`] gives it, and the line feed that ends an answer or a status file.
pub fn to_line<T: Serialize + ?Sized>(value: &T) -> String {
    let mut line = to_string(value);
    line.push('\n');
    line
}

/// Adds to the compact form of `serde_json` what Go escapes beyond it, and Go's spelling of fractions.
struct WireFormatter;

impl Formatter for WireFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut following = special.chars();
            if let Some(c) = following.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = following.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(go_float(value).as_bytes())
    }
}

/// A finite number as Go's `encoding/json` writes it: shortest digits that read back equal, plain notation between
/// 1e-6 and 1e21, else an exponent of which single digits are not padded (`1e-7`, `1e+21`).
fn go_float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{value}");
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => scientific,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::parse;
    use super::*;

    #[test]
    fn escapes_are_those_of_control_protocol_2_3() {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Extra {
            params: &'static str,
        }
        let seen = Extra { params: "-c 'a<b>&c \u{2028} é'" };
        assert_eq!(to_string(&seen), r#"{"Params":"-c 'a\u003cb\u003e\u0026c \u2028 é'"}"#);
        assert_eq!(to_string("\u{2029}<"), r#""\u2029\u003c""#);
        assert_eq!(to_line("a"), "\"a\"\n");
    }

    #[test]
    fn control_characters_are_escaped_as_go_does() {
        assert_eq!(
            to_string("\x01\x08\t\n\x0b\x0c\r\x1f\x7f\"\\/"),
            r#""\u0001\b\t\n\u000b\f\r\u001f"#.to_owned() + "\x7f\\\"\\\\/\""
        );
    }

    #[test]
    fn keys_of_maps_are_sorted_by_byte() {
        let map = BTreeMap::from([("b", 1), ("B", 2), ("é", 3), ("a", 4)]);
        assert_eq!(to_string(&map), r#"{"B":2,"a":4,"b":1,"é":3}"#);
    }

    #[test]
    fn numbers_are_spelt_as_go_does() {
        // Each right side is what Go's json.Marshal prints for the left side.
        for (value, text) in [
            (1.0, "1"),
            (1.5, "1.5"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (0.000_001, "0.000001"),
            (1e-7, "1e-7"),
            (-2.5e-10, "-2.5e-10"),
        ] {
            assert_eq!(to_string(&value), text);
        }
        assert_eq!(to_string(&json!([321_399_i64, u64::MAX, null, true])), "[321399,18446744073709551615,null,true]");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_equal(text in any::<String>(), key in any::<String>(), number in any::<i64>()) {
            let value = json!({ key: [text, number, null, false] });
            let written = to_string(&value);
            let escaped = ['<', '>', '&', '\u{2028}', '\n'];
            prop_assert!(!written.contains(escaped));
            prop_assert_eq!(parse(written.as_bytes()), Ok(value));
        }
    }
}
