use proptest::prelude::*;

use super::*;

fn node(text: &str) -> Node {
    parse(text).unwrap_or_else(|error| panic!("{text:?}: {error}")).node
}

fn text(word: &str) -> Node {
    Node::Text(word.to_owned())
}

fn refusal(text: &str) -> String {
    parse(text).map_or_else(|error| error.to_string(), |value| panic!("{text:?} was read as {value:?}"))
}

#[test]
fn reads_scalars_as_yaml_1_1() {
    let cases = [
        // control-protocol 1.2: `0600` is octal 384, `600` is decimal 600.
        ("0600", Node::Int(384)),
        ("600", Node::Int(600)),
        ("'0600'", text("0600")),
        ("\"0600\"", text("0600")),
        ("0o600", Node::Int(384)),
        ("0x180", Node::Int(384)),
        ("0b110000000", Node::Int(384)),
        ("-0600", Node::Int(-384)),
        ("1_000", Node::Int(1000)),
        ("+5", Node::Int(5)),
        ("08", Node::Float(8.0)),
        ("1.5", Node::Float(1.5)),
        ("1e3", Node::Float(1000.0)),
        (".5", Node::Float(0.5)),
        ("18446744073709551615", Node::Float(18_446_744_073_709_551_615.0)),
        ("true", Node::Bool(true)),
        ("True", Node::Bool(true)),
        // "YAML booleans incl. bare yes/on".
        ("yes", Node::Bool(true)),
        ("on", Node::Bool(true)),
        ("y", Node::Bool(true)),
        ("off", Node::Bool(false)),
        ("NO", Node::Bool(false)),
        ("'yes'", text("yes")),
        ("", Node::Null),
        ("# only a remark\n", Node::Null),
        ("~", Node::Null),
        ("null", Node::Null),
        ("2026-11-21", text("2026-11-21")),
        ("1:30", text("1:30")),
        ("30m", text("30m")),
        ("!!str 0600", text("0600")),
        ("--- a\n...\n", text("a")),
    ];
    for (input, expected) in cases {
        assert_eq!(node(input), expected, "{input:?}");
    }
}

#[test]
fn remembers_the_place_of_every_node() {
    let tree = parse("- local-only:\n- log-level: debug\r\n- node:\n    id: é, b # first\n    x: [1, 2]\n").unwrap();
    let mut places = Vec::new();
    collect(&tree, &mut places);
    let expected = [
        (1, 1, "list"),
        (1, 3, "map"),
        (1, 3, "local-only"),
        (1, 13, "null"),
        (2, 3, "map"),
        (2, 3, "log-level"),
        (2, 14, "debug"),
        (3, 3, "map"),
        (3, 3, "node"),
        (4, 5, "map"),
        (4, 5, "id"),
        (4, 9, "é, b"),
        (5, 5, "x"),
        (5, 8, "list"),
        (5, 9, "1"),
        (5, 12, "2"),
    ];
    let expected: Vec<_> = expected.map(|(line, column, what)| (line, column, what.to_owned())).into();
    assert_eq!(places, expected);
}

fn collect(value: &Value, into: &mut Vec<(u64, u64, String)>) {
    let Position { line, column } = value.position;
    let mut push = |what: &str| into.push((line, column, what.to_owned()));
    match &value.node {
        Node::Null => push("null"),
        Node::Bool(flag) => push(&flag.to_string()),
        Node::Int(number) => push(&number.to_string()),
        Node::Float(number) => push(&number.to_string()),
        Node::Text(text) => push(text),
        Node::List(list) => {
            push("list");
            list.iter().for_each(|item| collect(item, into));
        }
        Node::Map(map) => {
            push("map");
            for entry in map {
                collect(&entry.key, into);
                collect(&entry.value, into);
            }
        }
    }
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    let map: std::collections::BTreeMap<String, i64> = from_str("{a: 1, b: 3, a: 2}").unwrap();
    assert_eq!(map, [("a".to_owned(), 2), ("b".to_owned(), 3)].into());
    let Node::Map(entries) = node("{a: 1, b: 3, a: 2}") else { panic!("not a map") };
    assert_eq!(entries.last().map(|entry| &entry.value.node), Some(&Node::Int(2)));
}

#[test]
fn merge_keys_fill_in_only() {
    let Node::List(items) = node("- &base {a: 1, b: 1}\n- <<: *base\n  a: 2\n") else { panic!("not a list") };
    let Node::Map(merged) = &items[1].node else { panic!("not a map") };
    let pairs: Vec<_> = merged.iter().map(|entry| (entry.key.as_text(), &entry.value.node)).collect();
    assert_eq!(pairs, [(Some("a"), &Node::Int(2)), (Some("b"), &Node::Int(1))]);
}

#[test]
fn aliases_repeat_their_anchor() {
    let Node::List(items) = node("- &mode 0600\n- *mode\n") else { panic!("not a list") };
    assert_eq!(items[1], Value { position: Position { line: 2, column: 3 }, node: Node::Int(384) });
}

/// Where the place differs from the reference's, ours is the one of the mistake.
#[test]
fn syntax_errors_name_the_line() {
    let cases = [
        ("- a: b\n c\n", "yaml: line 2: did not find expected '-' indicator"),
        ("a: |\n  x\n y\n", "yaml: line 3: did not find expected key"),
        ("a: b: c\n", "yaml: line 1: mapping values are not allowed in this context"),
        ("- node: {id: a\n", "yaml: line 1: did not find expected ',' or '}'"),
        ("- [a b\n", "yaml: line 1: did not find expected ',' or ']'"),
        ("- @a\n", "yaml: line 1: found character that cannot start any token"),
        ("- x: 1\n- {a: ]}\n", "yaml: line 2: mismatched bracket '{' closed by ']'"),
        ("a: 'b", "yaml: line 1: found unexpected end of stream"),
        ("- *nobody\n", "yaml: line 1: unknown anchor referenced"),
        ("- &a [*a]\n", "yaml: line 1: recursive references require weak recursion types"),
        ("- a\n---\n- b\n", "yaml: line 3: more than one document"),
    ];
    for (input, expected) in cases {
        assert_eq!(refusal(input), expected, "{input:?}");
    }
    assert_eq!(parse("a: b: c\n").unwrap_err().position(), Some(Position { line: 1, column: 5 }));
}

#[test]
fn errors_do_not_quote_values() {
    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Shape {
        #[allow(dead_code)]
        port: u16,
        #[allow(dead_code)]
        kind: Kind,
    }
    #[derive(Debug, serde::Deserialize)]
    enum Kind {
        Pod,
    }
    let cases = [
        ("port: s3cret\nkind: Pod", "yaml: line 1: expected u16"),
        ("port: [s3cret]\nkind: Pod", "yaml: line 1: expected string scalar"),
        ("port: 1\nkind: s3cret", "yaml: line 2: expected one of Pod"),
        ("s3cret", "yaml: line 1: expected mapping start"),
    ];
    for (input, expected) in cases {
        assert_eq!(from_str::<Shape>(input).unwrap_err().to_string(), expected, "{input:?}");
    }
}

#[test]
fn a_stranger_cannot_exhaust_memory() {
    let mut bomb = "- &a0 [x]\n".to_owned();
    for level in 1..40 {
        let alias = format!("*a{}, ", level - 1);
        bomb.push_str(&format!("- &a{level} [{}]\n", alias.repeat(10)));
    }
    assert!(parse(&bomb).is_err());
    assert!(parse(&"[".repeat(100_000)).is_err());
    assert!(parse(&"- ".repeat(100_000)).is_err());
    assert!(parse(&"{a: ".repeat(100_000)).is_err());
    assert!(parse(&"- x\n".repeat(MAX_NODES + 1)).is_err());
    let expected = format!("yaml: {} bytes are more than the {MAX_INPUT_BYTES} allowed", MAX_INPUT_BYTES + 1);
    assert_eq!(refusal(&" ".repeat(MAX_INPUT_BYTES + 1)), expected);
}

#[test]
fn nesting_up_to_the_limit_is_read() {
    let deep = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(parse(&deep).is_ok());
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn no_text_of_yaml_characters_panics(text in "[-a0:{}\\[\\],&*!|>'\"%@#?~<. \\n\\t]{0,80}") {
        let _ = parse(&text);
        let _ = from_str::<serde_json::Value>(&text);
    }

    #[test]
    fn json_is_yaml(words in proptest::collection::vec("\\PC{0,12}", 0..8)) {
        let json = serde_json::to_string(&words).unwrap();
        prop_assert_eq!(from_str::<Vec<String>>(&json).ok(), Some(words));
    }
}
