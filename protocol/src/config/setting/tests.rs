//! The conversions of control-protocol 1.2, row by row.

use proptest::prelude::*;

use super::*;
use crate::yaml;

fn convert(kind: Kind, text: &str) -> String {
    let node = yaml::parse(text).unwrap().node;
    match Setting::from_node(kind, &node) {
        Ok(setting) => format!("{setting:?}"),
        Err(error) => error.to_string(),
    }
}

fn word(kind: Kind, text: &str) -> String {
    match Setting::from_word(kind, text) {
        Ok(setting) => format!("{setting:?}"),
        Err(error) => error.to_string(),
    }
}

/// The table "Value conversion" of control-protocol 1.2.
#[test]
fn values_are_converted_as_the_reference_says() {
    let cases = [
        (Kind::Text, "word", r#"Text("word")"#),
        (Kind::Text, "12", r#"Text("12")"#),
        (Kind::Text, "0600", r#"Text("384")"#),
        (Kind::Text, "1.5", r#"Text("1.500000")"#),
        (Kind::Text, "true", r#"Text("true")"#),
        (Kind::Text, "yes", r#"Text("true")"#),
        (Kind::Text, "[a]", "type error (expected string)"),
        (Kind::Text, "{a: b}", "type error (expected string)"),
        (Kind::Text, "", "value cannot be nil"),
        (Kind::Int, "0600", "Int(384)"),
        (Kind::Int, "600", "Int(600)"),
        (Kind::Int, "'0600'", "Int(384)"),
        (Kind::Int, "'0o600'", "Int(384)"),
        (Kind::Int, "'0x180'", "Int(384)"),
        (Kind::Int, "0x180", "Int(384)"),
        (Kind::Int, "'600'", "Int(600)"),
        (Kind::Int, "'0b1_1'", "Int(3)"),
        (Kind::Int, "'-0x10'", "Int(-16)"),
        (Kind::Int, "-rw", r#"strconv.ParseInt: parsing "-rw": invalid syntax"#),
        (Kind::Int, "'1_000'", r#"strconv.ParseInt: parsing "1_000": invalid syntax"#),
        (Kind::Int, "'0x'", r#"strconv.ParseInt: parsing "0x": invalid syntax"#),
        (Kind::Int, "'0x_'", r#"strconv.ParseInt: parsing "0x_": invalid syntax"#),
        (Kind::Int, "'+-1'", r#"strconv.ParseInt: parsing "+-1": invalid syntax"#),
        (Kind::Int, "''", r#"strconv.ParseInt: parsing "": invalid syntax"#),
        (Kind::Int, "'9223372036854775808'", r#"strconv.ParseInt: parsing "9223372036854775808": value out of range"#),
        (Kind::Int, "5.0", "Int(5)"),
        (Kind::Int, "5.5", "type error (expected int)"),
        (Kind::Int, "true", "type error (expected int)"),
        (Kind::Int, "[1]", "type error (expected int)"),
        (Kind::Int, "~", "value cannot be nil"),
        (Kind::Float, "1", "Float(1.0)"),
        (Kind::Float, "1.5", "Float(1.5)"),
        (Kind::Float, "'1.5'", "Float(1.5)"),
        (Kind::Float, "x", r#"strconv.ParseFloat: parsing "x": invalid syntax"#),
        (Kind::Float, "'1e999'", r#"strconv.ParseFloat: parsing "1e999": value out of range"#),
        (Kind::Float, "true", "type error (expected float64)"),
        (Kind::Bool, "true", "Bool(true)"),
        (Kind::Bool, "yes", "Bool(true)"),
        (Kind::Bool, "on", "Bool(true)"),
        (Kind::Bool, "off", "Bool(false)"),
        (Kind::Bool, "'Yes'", "Bool(true)"),
        (Kind::Bool, "'y'", "could not parse y as boolean"),
        (Kind::Bool, "'on'", "could not parse on as boolean"),
        (Kind::Bool, "nope", "could not parse nope as boolean"),
        (Kind::Bool, "1", "type error (expected bool)"),
        (Kind::List, "[a, b]", r#"List(["a", "b"])"#),
        (Kind::List, "[a, 5]", r#"List(["a", "5"])"#),
        (Kind::List, "a", r#"List(["a"])"#),
        (Kind::List, "'[\"a\", \"b\"]'", r#"List(["a", "b"])"#),
        (Kind::List, "'[\"a'", "found unexpected end of stream"),
        (Kind::List, "~", "List([])"),
        (Kind::List, "5", "type error (expected []string)"),
        (Kind::List, "[[a]]", "invalid value [...]: must be type string"),
        (Kind::List, "[~]", "value cannot be nil"),
        (Kind::Costs, "{a: 1, b: 2.5}", r#"Costs([("a", 1.0), ("b", 2.5)])"#),
        (Kind::Costs, "'{\"a\": 1}'", r#"Costs([("a", 1.0)])"#),
        (Kind::Costs, "{a: x}", "invalid value x: must be type float64"),
        (Kind::Costs, "a", "type error (expected map[string]float64)"),
        (Kind::Map, "{a: b, c: 5, d: 1.5}", r#"Map([("a", "b"), ("c", "5"), ("d", "1.5")])"#),
        (Kind::Map, "{5: b}", r#"Map([("5", "b")])"#),
        (Kind::Map, "{n: b}", "invalid key false: must be type string"),
        (Kind::Map, "[a]", "type error (expected map[string]string)"),
        (Kind::Rules, "[{action: accept, 5: [x]}]", r#"Rules([[("action", Some("accept")), ("5", None)]])"#),
        (Kind::Rules, "[a]", "invalid value a: must be type netceptor.FirewallRuleData"),
        (Kind::Rules, "{action: accept}", "type error (expected []netceptor.FirewallRuleData)"),
        (Kind::Quantity, "1.5", r#"Text("1.5")"#),
        (Kind::Duration, "5", r#"Text("5")"#),
    ];
    for (kind, input, expected) in cases {
        assert_eq!(convert(kind, input), expected, "{kind:?} {input}");
    }
}

/// "strings `1 t T Y true TRUE True yes Yes YES` / `0 f F N false FALSE False no No NO`".
#[test]
fn words_that_are_booleans() {
    for text in "1 t T Y true TRUE True yes Yes YES".split(' ') {
        assert_eq!(word(Kind::Bool, text), "Bool(true)", "{text}");
    }
    for text in "0 f F N false FALSE False no No NO".split(' ') {
        assert_eq!(word(Kind::Bool, text), "Bool(false)", "{text}");
    }
}

#[test]
fn a_secret_is_not_shown() {
    assert!(!convert(Kind::Secret, "s3cret").contains("s3cret"));
}

proptest! {
    #[test]
    fn every_whole_number_is_read_in_every_base(number in any::<i64>()) {
        let sign = if number < 0 { "-" } else { "" };
        let size = number.unsigned_abs();
        for text in [
            format!("{sign}{size}"),
            format!("{sign}0x{size:x}"),
            format!("{sign}0X{size:X}"),
            format!("{sign}0o{size:o}"),
            format!("{sign}0{size:o}"),
            format!("{sign}0b{size:b}"),
        ] {
            prop_assert_eq!(parse_int(&text), Ok(number), "{}", text);
        }
    }

    #[test]
    fn no_word_panics(text in "[-+0-9a-fxob_.eEin\\[\\]{}:, \"]{0,24}") {
        for kind in [Kind::Text, Kind::Int, Kind::Float, Kind::Bool, Kind::List, Kind::Map, Kind::Costs, Kind::Rules] {
            let _ = Setting::from_word(kind, &text);
        }
    }
}
