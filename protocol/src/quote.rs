//! Quoting as Go prints it: `%q` of a text, and the quoted character of a JSON error.

/// `text` in double quotes with Go's escapes, as `strconv.Quote` gives it.
///
/// Used by error texts that repeat what a client sent: `strconv.ParseInt: parsing "y": invalid syntax`.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if c == '"' {
            out.push_str("\\\"");
        } else {
            push_escaped(&mut out, c);
        }
    }
    out.push('"');
    out
}

/// One byte of malformed JSON in single quotes, as the messages of Go's `encoding/json` show it.
///
/// The byte is taken for the character of that number, so a byte above 127 appears as a Latin-1 character.
pub(crate) fn quote_byte(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => {
            let mut out = String::from("'");
            push_escaped(&mut out, char::from(byte));
            out.push('\'');
            out
        }
    }
}

fn push_escaped(out: &mut String, c: char) {
    use std::fmt::Write as _;

    // Writing to a String cannot fail.
    let _ = match c {
        '\\' => out.write_str("\\\\"),
        '\x07' => out.write_str("\\a"),
        '\x08' => out.write_str("\\b"),
        '\x0c' => out.write_str("\\f"),
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        '\x0b' => out.write_str("\\v"),
        c if is_printable(c) => out.write_char(c),
        c if u32::from(c) < 0x20 || c == '\x7f' => write!(out, "\\x{:02x}", u32::from(c)),
        c if u32::from(c) < 0x1_0000 => write!(out, "\\u{:04x}", u32::from(c)),
        c => write!(out, "\\U{:08x}", u32::from(c)),
    };
}

/// Whether Go's `strconv.IsPrint` holds: letters, marks, numbers, punctuation, symbols and the ASCII blank.
fn is_printable(c: char) -> bool {
    // Rust decides the same question for `escape_debug`. Two characters differ: quotes, which it escapes though they
    // are printable, and a combining mark, which it escapes only at the start of a text, hence the letter before it.
    let mut buffer = [0; 5];
    let (letter, rest) = buffer.split_at_mut(1);
    letter.fill(b'a');
    let length = 1 + c.encode_utf8(rest).len();
    let text = buffer.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
    matches!(c, '\'' | '"') || text.is_some_and(|text| text.escape_debug().count() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_go_does() {
        // Each right side is what Go's strconv.Quote prints for the left side.
        for (text, quoted) in [
            ("y", r#""y""#),
            ("", r#""""#),
            ("a\"b'c\\", r#""a\"b'c\\""#),
            ("\x07\x08\x0c\n\r\t\x0b", r#""\a\b\f\n\r\t\v""#),
            ("\0\x1b\x7f", r#""\x00\x1b\x7f""#),
            ("é µ 漢 😀 e\u{301}", "\"é µ 漢 😀 e\u{301}\""),
            ("\u{80}\u{a0}\u{ad}\u{2028}\u{feff}", r#""\u0080\u00a0\u00ad\u2028\ufeff""#),
            ("\u{e0001}\u{10ffff}", r#""\U000e0001\U0010ffff""#),
            ("\u{fffd}", "\"\u{fffd}\""),
        ] {
            assert_eq!(quote(text), quoted);
        }
    }

    #[test]
    fn bytes_are_quoted_as_json_errors_show_them() {
        for (byte, quoted) in [
            (b't', "'t'"),
            (b'\'', r"'\''"),
            (b'"', "'\"'"),
            (b'\n', r"'\n'"),
            (b'\\', r"'\\'"),
            (0, r"'\x00'"),
            (0x7f, r"'\x7f'"),
            (0x80, r"'\u0080'"),
            (0xc3, "'Ã'"),
            (0xad, r"'\u00ad'"),
        ] {
            assert_eq!(quote_byte(byte), quoted);
        }
    }
}
