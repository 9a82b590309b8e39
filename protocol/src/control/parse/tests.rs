use proptest::prelude::*;

use super::super::Params;
use super::*;

fn request(line: &str) -> Request {
    match parse(line.as_bytes()) {
        Parsed::Request(request) => request,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn answer(line: &[u8]) -> String {
    match parse(line) {
        Parsed::Refused(refusal) => refusal.to_lines(),
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(line)),
    }
}

/// Each line is answered with `ERROR: ` and the text.
fn refused(rows: &[(&str, &str)]) {
    for (line, text) in rows {
        assert_eq!(answer(line.as_bytes()), format!("ERROR: {text}\n"), "{line:?}");
    }
}

fn ping(target: &str) -> Request {
    Request::Ping { target: target.to_owned() }
}

fn work(line: &str) -> WorkRequest {
    match request(line) {
        Request::Work(work) => work,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn unit(unit: &str) -> UnitCommand {
    UnitCommand { unit: unit.to_owned(), signature: None }
}

fn results(unit: &str, start: i64) -> WorkRequest {
    WorkRequest::Results(Results { unit: unit.to_owned(), start, ..Results::default() })
}

/// control-protocol 2.3
#[test]
fn lines_of_both_forms() {
    assert_eq!(parse(b""), Parsed::Nothing);
    assert_eq!(parse(b"\r\r"), Parsed::Nothing);
    assert_eq!(request("pi\rng n1\r"), ping("n1"));
    assert_eq!(request("PING n2"), ping("n2"));
    assert_eq!(request("Status"), Request::Status { fields: None });
    assert_eq!(request("status "), Request::Status { fields: None });
    assert_eq!(request("WORK list"), Request::Work(WorkRequest::List { unit: None }));
    assert_eq!(request("work LIST"), Request::Work(WorkRequest::List { unit: None }));
    assert_eq!(work(r#"{"command":"work","subcommand":"STATUS","unitid":"a"}"#), WorkRequest::Status(unit("a")));
    assert_eq!(request(r#"{"command":"x","command":"reload"}"#), Request::Reload);
    refused(&[
        ("   ", "Unknown command"),
        (r#" {"command":"status"}"#, "Unknown command"),
        ("bogus", "Unknown command"),
        ("[1]", "Unknown command"),
        (r#"{"command":"Status"}"#, "Unknown command"),
        (r#"{"command":""}"#, "Unknown command"),
    ]);
    assert_eq!(answer(br#"{"Command":"status"}"#), "ERROR: JSON did not contain a command\nERROR: Unknown command\n");
}

/// The transcript of control-protocol 2.3, byte for byte.
#[test]
fn malformed_json_is_answered_with_two_lines() {
    for (line, text) in [
        ("{", "unexpected end of JSON input"),
        ("{}", "JSON did not contain a command"),
        (r#"{"command":1}"#, "command must be a string"),
        (r#"{"command":"status"} trailing"#, "invalid character 't' after top-level value"),
        (r#"{"command":"ping","x":1e999}"#, "json: cannot unmarshal number 1e999 into Go value of type float64"),
    ] {
        assert_eq!(answer(line.as_bytes()), format!("ERROR: {text}\nERROR: Unknown command\n"), "{line}");
    }
    assert_eq!(
        answer(b"{\xff}"),
        "ERROR: invalid character 'ÿ' looking for beginning of object key string\nERROR: Unknown command\n"
    );
}

/// control-protocol 3.1
#[test]
fn pings() {
    assert_eq!(request("ping n2 and  more "), ping("n2 and  more "));
    assert_eq!(request(r#"{"command":"ping","target":"n2"}"#), ping("n2"));
    assert_eq!(request(r#"{"command":"ping","target":""}"#), ping(""));
    refused(&[
        ("ping", "no ping target"),
        ("ping ", "no ping target"),
        (r#"{"command":"ping"}"#, "no ping target"),
        (r#"{"command":"ping","target":7}"#, "ping target must be string"),
        (r#"{"command":"ping","target":null}"#, "ping target must be string"),
    ]);
}

/// control-protocol 3.2
#[test]
fn statuses() {
    let fields = |names: &[&str]| Request::Status { fields: Some(names.iter().map(|n| (*n).to_owned()).collect()) };
    assert_eq!(
        request(r#"{"command":"status","requested_fields":["Version","NodeID"]}"#),
        fields(&["Version", "NodeID"])
    );
    assert_eq!(request(r#"{"command":"status","requested_fields":[]}"#), fields(&[]));
    assert_eq!(request(r#"{"command":"status"}"#), Request::Status { fields: None });
    refused(&[
        ("status x", "status command does not take parameters"),
        (
            r#"{"command":"status","requested_fields":["Version",1]}"#,
            "each element of requested_fields must be a string",
        ),
        (r#"{"command":"status","requested_fields":"Version"}"#, "requested_fields must be a list of strings"),
        (r#"{"command":"status","requested_fields":null}"#, "requested_fields must be a list of strings"),
    ]);
}

/// control-protocol 3.3 and 3.5
#[test]
fn traceroutes_and_reloads() {
    let traceroute = |target: &str| Request::Traceroute { target: target.to_owned() };
    assert_eq!(request("traceroute n2"), traceroute("n2"));
    assert_eq!(request(r#"{"command":"traceroute","target":"nosuch"}"#), traceroute("nosuch"));
    refused(&[
        ("traceroute", "no traceroute target"),
        (r#"{"command":"traceroute"}"#, "no traceroute target"),
        (r#"{"command":"traceroute","target":[]}"#, "traceroute target must be string"),
    ]);
    for line in ["reload", "reload foo bar", r#"{"command":"reload","x":1}"#] {
        assert_eq!(request(line), Request::Reload);
    }
}

/// control-protocol 3.4
#[test]
fn connects() {
    let connect = |node: &str, service: &str, tls: Option<&str>| Request::Connect {
        node: node.to_owned(),
        service: service.to_owned(),
        tls: tls.map(str::to_owned),
    };
    assert_eq!(request("connect n2 control"), connect("n2", "control", None));
    assert_eq!(request("connect n2 control "), connect("n2", "control", None));
    assert_eq!(request("connect n2 control mytls"), connect("n2", "control", Some("mytls")));
    assert_eq!(request("connect  n2 control"), connect("", "n2", Some("control")));
    assert_eq!(
        request(r#"{"command":"connect","node":"n2","service":"control","tls":""}"#),
        connect("n2", "control", None)
    );
    assert_eq!(request(r#"{"command":"connect","node":"n 2","service":"c"}"#), connect("n 2", "c", None));
    refused(&[
        ("connect", "no connect target"),
        ("connect n2", "no connect target"),
        ("connect n2 control tls more", "too many parameters"),
        (r#"{"command":"connect"}"#, "no connect target node"),
        (r#"{"command":"connect","node":1}"#, "connect target node must be string"),
        (r#"{"command":"connect","node":"n"}"#, "no connect target service"),
        (r#"{"command":"connect","node":"n","service":null}"#, "connect target service must be string"),
        (r#"{"command":"connect","node":"n","service":"s","tls":1}"#, "connect tls name must be string"),
    ]);
}

/// control-protocol 3.6
#[test]
fn work_commands_about_units() {
    assert_eq!(work("work list nosuch more words"), WorkRequest::List { unit: Some("nosuch".to_owned()) });
    assert_eq!(work("work list "), WorkRequest::List { unit: Some(String::new()) });
    assert_eq!(work(r#"{"command":"work","subcommand":"list","unitid":5}"#), WorkRequest::List { unit: None });
    assert_eq!(
        work(r#"{"command":"work","subcommand":"list","unitid":"x"}"#),
        WorkRequest::List { unit: Some("x".to_owned()) }
    );
    assert_eq!(work("work status "), WorkRequest::Status(unit("")));
    assert_eq!(work("work cancel a"), WorkRequest::Cancel(unit("a")));
    assert_eq!(work("work release ../n2"), WorkRequest::Release(unit("../n2")));
    assert_eq!(work("work Force-Release a"), WorkRequest::ForceRelease(unit("a")));
    let signed = WorkRequest::Cancel(UnitCommand { unit: "a".to_owned(), signature: Token::new("t") });
    assert_eq!(work(r#"{"command":"work","subcommand":"cancel","unitid":"a","signature":"t"}"#), signed);
    assert_eq!(
        work(r#"{"command":"work","subcommand":"cancel","unitid":"a","signature":5}"#),
        WorkRequest::Cancel(unit("a"))
    );
    refused(&[
        ("work", "bad command"),
        ("work bogus", "bad command"),
        ("work  list", "bad command"),
        (r#"{"command":"work","subcommand":"bogus"}"#, "bad command"),
        (r#"{"command":"work"}"#, "field subcommand missing"),
        (r#"{"command":"work","subcommand":1}"#, "field subcommand must be a string"),
        ("work status", "work status requires a unit ID"),
        ("work status a b", "work status does not take parameters after the unit ID"),
        ("work status a ", "work status does not take parameters after the unit ID"),
        ("work cancel", "work cancel requires a unit ID"),
        ("work release", "work release requires a unit ID"),
        ("work force-release a b", "work force-release does not take parameters after the unit ID"),
        (r#"{"command":"work","subcommand":"release"}"#, "field unitid missing"),
        (r#"{"command":"work","subcommand":"status","unitid":1}"#, "field unitid must be a string"),
    ]);
}

/// work-types 5
#[test]
fn work_describe() {
    let wanted = WorkRequest::Describe(UnitCommand { unit: "fdHK6b5O".to_owned(), signature: None });
    assert_eq!(work("work describe fdHK6b5O"), wanted);
    assert_eq!(work(r#"{"command":"work","subcommand":"describe","unitid":"fdHK6b5O"}"#), wanted);
    refused(&[
        ("work describe", "work describe requires a unit ID"),
        ("work describe a b", "work describe does not take parameters after the unit ID"),
    ]);
}

/// work-types 5
#[test]
fn work_prune() {
    let prune = |cluster, dry_run, older: Option<i64>, state| {
        let older = older.map(|seconds| GoDuration::from_nanos(seconds * 1_000_000_000));
        WorkRequest::Prune(Prune { cluster, dry_run, older, state, signature: None })
    };
    assert_eq!(work("work prune"), prune(false, false, None, None));
    assert_eq!(work("work prune dryrun cluster"), prune(true, true, None, None));
    assert_eq!(work("work prune older=1m state=failed"), prune(false, false, Some(60), Some(State::Failed)));
    assert_eq!(work(r#"{"command":"work","subcommand":"prune"}"#), prune(false, false, None, None));
    let json =
        r#"{"command":"work","subcommand":"prune","cluster":false,"dryrun":true,"older":"1m","state":"Canceled"}"#;
    assert_eq!(work(json), prune(false, true, Some(60), Some(State::Canceled)));
    refused(&[
        ("work prune all", "work prune does not take the parameter all"),
        ("work prune cluster=1", "work prune does not take the parameter cluster=1"),
        ("work prune older=soon", "error setting value for older: time: invalid duration \"soon\""),
        (
            "work prune state=x",
            "error setting value for state: \"x\" is not one of Pending, Running, Succeeded, Failed, Canceled",
        ),
        ("work prune cluster older=1h", "older and state are for units, and with cluster no unit is pruned"),
        (r#"{"command":"work","subcommand":"prune","cluster":"true"}"#, "field cluster must be a boolean"),
        (r#"{"command":"work","subcommand":"prune","state":1}"#, "field state must be a string"),
    ]);
}

/// control-protocol 3.6 and 3.10
#[test]
fn work_results() {
    assert_eq!(work("work results fdHK6b5O 6"), results("fdHK6b5O", 6));
    assert_eq!(work("work results a"), results("a", 0));
    assert_eq!(work("work results a -5"), results("a", -5));
    assert_eq!(work("work results a +5"), results("a", 5));
    let json =
        |startpos: &str| format!(r#"{{"command":"work","subcommand":"results","unitid":"a","startpos":{startpos}}}"#);
    for (startpos, start) in
        [("0", 0), ("6", 6), ("6.9", 6), ("-1.5", -1), ("9e18", 9_000_000_000_000_000_000), ("1e30", i64::MIN)]
    {
        assert_eq!(work(&json(startpos)), results("a", start), "{startpos}");
    }
    assert_eq!(
        work(
            r#"{"command":"work","subcommand":"results","unitid":"a","startpos":0,"signature":"t","stream":"stderr"}"#
        ),
        WorkRequest::Results(Results {
            unit: "a".to_owned(),
            start: 0,
            signature: Token::new("t"),
            stream: Some("stderr".to_owned()),
        })
    );
    refused(&[
        ("work results", "work results requires a unit ID"),
        ("work results a b c", "work results only takes a unit ID and optional start position"),
        (
            "work results x y",
            "error converting start position to integer: strconv.ParseInt: parsing \"y\": invalid syntax",
        ),
        (
            "work results x ",
            "error converting start position to integer: strconv.ParseInt: parsing \"\": invalid syntax",
        ),
        (
            "work results x 99999999999999999999",
            "error converting start position to integer: strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
        ),
        (r#"{"command":"work","subcommand":"results","startpos":0}"#, "field unitid missing"),
        (r#"{"command":"work","subcommand":"results","unitid":"a"}"#, "field startpos missing"),
        (&json("\"5\""), "field startpos value 5 is not convertible to an int"),
        (&json("\"z\""), "strconv.ParseInt: parsing \"z\": invalid syntax"),
        (&json("[]"), "field startpos value [] is not convertible to an int"),
        (&json("null"), "field startpos value %!s(<nil>) is not convertible to an int"),
        (&json("true"), "field startpos value %!s(bool=true) is not convertible to an int"),
        (
            &json(r#"["a",null,{"b":"x","a":2}]"#),
            "field startpos value [a <nil> map[a:%!s(float64=2) b:x]] is not convertible to an int",
        ),
    ]);
}

/// control-protocol 3.6 and 3.7
#[test]
fn work_submits() {
    assert_eq!(
        work(r#"{"command": "work", "subcommand": "submit", "node": "localhost", "worktype": "cat"}"#),
        WorkRequest::Submit(Submit { node: "localhost".to_owned(), work_type: "cat".to_owned(), ..Submit::default() })
    );
    let string_form = |params: &[(&str, &str)]| {
        WorkRequest::Submit(Submit {
            node: "n1".to_owned(),
            work_type: "sh".to_owned(),
            params: params.iter().copied().collect(),
            ..Submit::default()
        })
    };
    assert_eq!(work("work submit n1 sh"), string_form(&[]));
    assert_eq!(work("work submit n1 sh "), string_form(&[("params", "")]));
    assert_eq!(work("work submit n1 sh -c  'a b'"), string_form(&[("params", "-c  'a b'")]));
    assert_eq!(
        work(
            r#"{"command":"work","subcommand":"submit","node":"n3","worktype":"wt","tlsclient":"t","ttl":"20s","signwork":"true","signature":"s","foo":"bar","secret_kube_pod":"p"}"#
        ),
        WorkRequest::Submit(Submit {
            node: "n3".to_owned(),
            work_type: "wt".to_owned(),
            params: Params::from_iter([("foo", "bar"), ("secret_kube_pod", "p")]),
            tls_client: Some("t".to_owned()),
            ttl: Some("20s".to_owned()),
            sign_work: true,
            signature: Token::new("s"),
        })
    );
    let plain = r#"{"command":"work","subcommand":"submit","node":"n","worktype":"w","tlsclient":"","ttl":"","signwork":"True","signature":""}"#;
    assert_eq!(
        work(plain),
        WorkRequest::Submit(Submit { node: "n".to_owned(), work_type: "w".to_owned(), ..Submit::default() })
    );
    refused(&[
        ("work submit", "work submit requires a target node and work type"),
        ("work submit n1", "work submit requires a target node and work type"),
        (r#"{"command":"work","subcommand":"submit","worktype":"w"}"#, "field node missing"),
        (r#"{"command":"work","subcommand":"submit","node":"n"}"#, "field worktype missing"),
        (
            r#"{"command":"work","subcommand":"submit","node":"n","x":1}"#,
            "submit parameters must all be strings and x is not",
        ),
        (
            r#"{"command":"work","subcommand":"submit","z":null,"node":1,"a":"b"}"#,
            "submit parameters must all be strings and node is not",
        ),
    ]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_parser_fall(line in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Parsed::Refused(refusal) = parse(&line) {
            prop_assert!(refusal.to_lines().starts_with("ERROR: "));
        }
    }

    #[test]
    fn no_line_of_known_words_makes_the_parser_fall(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "work", "submit", "list", "status", "cancel", "release", "force-release", "results", "ping", "connect",
                "traceroute", "reload", "", "a", "-1", "{", "}", "\"", "é", "\u{130}", "\0",
            ]),
            0..6,
        ),
    ) {
        let _ = parse(words.join(" ").as_bytes());
    }

    #[test]
    fn no_json_command_makes_the_parser_fall(
        command in prop::sample::select(vec!["work", "ping", "status", "connect", "traceroute", "reload", "x"]),
        subcommand in prop::sample::select(vec!["submit", "list", "status", "cancel", "release", "results", "x"]),
        key in prop::sample::select(
            vec!["target", "requested_fields", "node", "service", "tls", "unitid", "startpos", "signature", "worktype"]
        ),
        value in prop::sample::select(vec!["null", "1", "-1e308", "[]", "[1]", "{}", "\"\"", "\"a\"", "true"]),
    ) {
        let line = format!(r#"{{"command":"{command}","subcommand":"{subcommand}","unitid":"u","{key}":{value}}}"#);
        let _ = parse(line.as_bytes());
    }
}
