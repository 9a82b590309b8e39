use proptest::prelude::*;
use serde_json::json;

use super::*;

fn refusal(text: &[u8]) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn refusals_have_the_words_of_go() {
    // Each right side is what Go's json.Unmarshal answers for the left side.
    for (text, words) in [
        ("", "unexpected end of JSON input"),
        ("{", "unexpected end of JSON input"),
        ("{\"a", "unexpected end of JSON input"),
        ("{\"a\"", "unexpected end of JSON input"),
        ("{\"a\":1", "unexpected end of JSON input"),
        ("[1,", "unexpected end of JSON input"),
        ("{\"a\":tr", "invalid character ' ' in literal true (expecting 'u')"),
        ("{\"a\":-", "invalid character ' ' in numeric literal"),
        ("{\"a\":1.", "invalid character ' ' after decimal point in numeric literal"),
        ("{\"a\":1e", "invalid character ' ' in exponent of numeric literal"),
        ("{\"\\", "invalid character ' ' in string escape code"),
        ("{\"\\u00", "invalid character ' ' in \\u hexadecimal character escape"),
        ("{x", "invalid character 'x' looking for beginning of object key string"),
        ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
        ("{\"a\" 1}", "invalid character '1' after object key"),
        ("{\"a\":}", "invalid character '}' looking for beginning of value"),
        ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
        ("[1 2]", "invalid character '2' after array element"),
        ("{} trailing", "invalid character 't' after top-level value"),
        ("{}\0", "invalid character '\\x00' after top-level value"),
        ("{\"a\tb\":1}", "invalid character '\\t' in string literal"),
        ("{\"\\x\":1}", "invalid character 'x' in string escape code"),
        ("{\"\\u00g0\":1}", "invalid character 'g' in \\u hexadecimal character escape"),
        ("{\"a\":nul}", "invalid character '}' in literal null (expecting 'l')"),
        ("{\"a\":faLse}", "invalid character 'L' in literal false (expecting 'l')"),
        ("{\"a\":01}", "invalid character '1' after object key:value pair"),
        ("{\"a\":1e999}", "json: cannot unmarshal number 1e999 into Go value of type float64"),
        ("{\"a\":1e999", "unexpected end of JSON input"),
        ("é", "invalid character 'Ã' looking for beginning of value"),
        ("'", "invalid character '\\'' looking for beginning of value"),
    ] {
        assert_eq!(refusal(text.as_bytes()), words, "{text:?}");
    }
}

#[test]
fn strings_are_repaired_as_go_repairs_them() {
    for (text, read) in [
        (&b"\"a\xff\xfeb\""[..], "a\u{fffd}\u{fffd}b"),
        (b"\"\xe2\x82\"", "\u{fffd}\u{fffd}"),
        (br#""\ud800""#, "\u{fffd}"),
        (br#""\ud800\u0041""#, "\u{fffd}A"),
        (br#""\udc00\ud800x""#, "\u{fffd}\u{fffd}x"),
        (br#""\ud83d\ude00\u00e9\/\b\f\n\r\t\"\\""#, "😀é/\x08\x0c\n\r\t\"\\"),
    ] {
        assert_eq!(parse(text), Ok(json!(read)));
    }
}

#[test]
fn the_last_of_equal_keys_wins_and_keys_keep_their_order() {
    let value = parse(br#" {"b":1, "a":[ ], "b":{"z":-0,"y":1.5e2}} "#).unwrap();
    assert_eq!(crate::json::to_string(&value), r#"{"b":{"z":-0,"y":150},"a":[]}"#);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(refusal(nested(MAX_DEPTH + 1).as_bytes()), "invalid character '[' exceeded max depth");
    assert_eq!(refusal(&vec![b'['; 1 << 20]), "invalid character '[' exceeded max depth");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_fall(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn json_like_text_is_accepted_exactly_when_serde_json_accepts_it(
        text in r#"[\[\]{}:,"a\\u0-9eE.+\- tfnrl]{0,24}"#
    ) {
        // Lone surrogates and numbers out of range are where the two readers differ on purpose.
        prop_assume!(!text.contains("\\u") && !text.contains(['e', 'E']));
        let ours = parse(text.as_bytes());
        let theirs = serde_json::from_str::<Value>(&text);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok());
        if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
            prop_assert_eq!(ours, theirs);
        }
    }
}
