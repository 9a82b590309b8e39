//! Verbs about the node: texts and exit codes of control-protocol 6.3 and 6.4.

use crate::fake_node::{Step, asks, greet, hear, play, say};

/// The node `n1` of control-protocol 6.4, as its answer must have been.
const STATUS: &str = r#"{"Advertisements":[{"NodeID":"n1","Service":"control","Time":"2026-11-21T01:38:00.1Z","ConnType":1,"Tags":{"type":"Control Service"},"WorkCommands":[{"WorkType":"cat","Secure":false},{"WorkType":"echoint","Secure":false},{"WorkType":"sleep","Secure":false},{"WorkType":"sh","Secure":false},{"WorkType":"nosuch","Secure":false},{"WorkType":"signed","Secure":true}]},{"NodeID":"n2","Service":"control","Time":"2026-11-21T01:37:49.5Z","ConnType":1,"Tags":{"type":"Control Service"},"WorkCommands":[{"WorkType":"cat","Secure":false},{"WorkType":"sleep","Secure":false},{"WorkType":"sh","Secure":false},{"WorkType":"echoint","Secure":false},{"WorkType":"signed","Secure":true}]}],"Connections":[{"NodeID":"n2","Cost":1}],"KnownConnectionCosts":{"n1":{"n2":1},"n2":{"n1":1}},"NodeID":"n1","RoutingTable":{"n2":"n2"},"SystemCPUCount":2,"SystemMemoryMiB":24105,"Version":""}"#;

/// control-protocol 6.4, to the letter.
const STATUS_TEXT: &str = "\
Node ID: n1
Version: \n\
System CPU Count: 2
System Memory MiB: 24105

Connection   Cost
n2           1

Known Node   Known Connections
n1           n2: 1 \n\
n2           n1: 1 \n\n\
Route        Via
n2           n2

Node         Service   Type       Last Seen             Tags
n1           control   Stream     2026-11-21 01:38:00   {'type': 'Control Service'}
n2           control   Stream     2026-11-21 01:37:49   {'type': 'Control Service'}

Node         Work Types
n1           cat, echoint, sleep, sh, nosuch
n2           cat, sleep, sh, echoint

Node         Secure Work Types
n1           signed
n2           signed
";

#[test]
fn status_as_text() {
    play(&["status"], vec![asks("status", STATUS)]).assert(0, STATUS_TEXT, "");
}

#[test]
fn status_of_a_wide_mesh() {
    let answer = r#"{"NodeID":"n1","Version":"1.4.9","SystemCPUCount":2,"SystemMemoryMiB":1,"Connections":[{"NodeID":"a-node-with-a-long-name","Cost":1.5}],"KnownConnectionCosts":{},"RoutingTable":{},"Advertisements":[{"NodeID":"n2","Service":"x","Time":"2026-11-21T01:37:49Z","ConnType":0,"Tags":null,"WorkCommands":null},{"NodeID":"n3","Service":"y","Time":"2026-11-21T01:37:49Z","ConnType":2,"Tags":{"a":"it's"},"WorkCommands":null}],"New":{"b":1,"a":"é"}}"#;
    play(&["status"], vec![asks("status", answer)]).assert(
        0,
        "Node ID: n1\nVersion: 1.4.9\nSystem CPU Count: 2\nSystem Memory MiB: 1\n\n\
         Connection              Cost\na-node-with-a-long-name 1.5\n\n\
         Node                    Service   Type       Last Seen             Tags\n\
         n2                      x         Datagram   2026-11-21 01:37:49   -               \n\
         n3                      y         StreamTLS  2026-11-21 01:37:49   {'a': \"it's\"}   \n\
         Additional data returned from Receptor:\n\
         {\n    \"New\": {\n        \"a\": \"\\u00e9\",\n        \"b\": 1\n    }\n}\n",
        "",
    );
}

#[test]
fn status_as_json() {
    let answer = r#"{"NodeID":"n1","Connections":[],"SystemCPUCount":2}"#;
    let printed = "{\n    \"Connections\": [],\n    \"NodeID\": \"n1\",\n    \"SystemCPUCount\": 2\n}\n";
    play(&["status", "--json"], vec![asks("status", answer)]).assert(0, printed, "");
    play(&["--json", "status"], vec![asks("status", answer)]).assert(0, printed, "");
}

#[test]
fn status_without_its_fields_is_an_error() {
    play(&["status"], vec![asks("status", "{}")]).assert(1, "", "ERROR: the answer has no field NodeID");
}

/// Both ends of the link say what it costs.
#[test]
fn the_mesh_as_a_picture() {
    for (words, picture) in [
        (&["status", "--graph"][..], "n1\n└── n2  1\n"),
        (&["status", "--graph=text"], "n1\n└── n2  1\n"),
        (
            &["status", "--graph=dot"],
            "graph mesh {\n  \"n1\" [style=bold];\n  \"n2\";\n  \"n1\" -- \"n2\" [label=\"1\"];\n}\n",
        ),
        (
            &["status", "--graph=mermaid"],
            "graph LR\n  n0[\"n1\"]\n  n1[\"n2\"]\n  n0 ---|\"1\"| n1\n  style n0 stroke-width:3px\n",
        ),
    ] {
        play(words, vec![asks("status", STATUS)]).assert(0, picture, "");
    }
}

#[test]
fn the_nodes_of_the_mesh() {
    let outcome = play(&["node", "list"], vec![asks("status", STATUS)]);
    outcome.assert(
        0,
        "NODE  VIA  COST  SERVICES  WORK TYPES                           LAST SEEN\n\
         n1    -    0     control   cat,echoint,nosuch,sh,sleep,signed*  2026-11-21 01:38:00\n\
         n2    n2   1     control   cat,echoint,sh,sleep,signed*         2026-11-21 01:37:49\n",
        "",
    );
    let outcome = play(&["node", "list", "--json"], vec![asks("status", STATUS)]);
    let nodes: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(nodes[1]["node"], "n2");
    assert_eq!((&nodes[1]["via"], &nodes[1]["cost"], &nodes[1]["self"]), (&"n2".into(), &1.0.into(), &false.into()));
}

#[test]
fn verbs_about_the_node_go_to_another_one_as_well() {
    for (words, line, answer, printed) in [
        (&["status", "--graph"][..], "status", STATUS, "n1\n└── n2  1\n"),
        (&["reload"], "reload", r#"{"Success":true}"#, "Reload successful\n"),
        (
            &["node", "list"],
            "status",
            r#"{"NodeID":"n2"}"#,
            "NODE  VIA  COST  SERVICES  WORK TYPES  LAST SEEN\nn2    -    0     -         -           -\n",
        ),
    ] {
        let steps = vec![
            greet(),
            hear("connect n2 control mytls\n"),
            say("Connecting\nReceptor Control, node n2\n"),
            hear(format!("{line}\n")),
            say(format!("{answer}\n")),
            Step::HearClose,
        ];
        let words = [words, &["--node", "n2", "--tls-client", "mytls"]].concat();
        play(&words, vec![steps]).assert(0, printed, "");
    }
}

const REPLY: &str = r#"{"From":"n2","Success":true,"Time":272256,"TimeStr":"272.256µs"}"#;

#[test]
fn pings_go_over_one_connection() {
    let failed = r#"{"Error":"no route to node","Success":false}"#;
    let late = r#"{"Error":"timeout","From":"n3","Success":false,"TimeStr":"10s"}"#;
    let mut steps = vec![greet()];
    for answer in [REPLY, failed, late] {
        steps.extend([hear("ping n2\n"), say(format!("{answer}\n"))]);
    }
    steps.push(Step::HearClose);
    let outcome = play(&["ping", "n2", "--count", "3", "--delay", "0"], vec![steps]);
    outcome.assert(2, "Reply from n2 in 272.256µs\n", "ERROR: no route to node\nERROR: timeout from n3 in 10s");
}

#[test]
fn a_ping_as_json_is_the_answer() {
    let outcome = play(&["--json", "ping", "n2", "--count", "1"], vec![asks("ping n2", REPLY)]);
    outcome.assert(0, &format!("{REPLY}\n"), "");
}

#[test]
fn a_refused_ping_is_an_error() {
    let outcome = play(&["ping", "n2", "--count", "1"], vec![asks("ping n2", "ERROR: no ping target")]);
    outcome.assert(1, "", "ERROR: no ping target");
}

#[test]
fn traceroutes_end_well_even_without_a_way() {
    let answer = r#"{"0":{"From":"n1","Time":198496,"TimeStr":"198.496µs"},"1":{"Error":"no route to node","From":"n1","Time":2344,"TimeStr":"2.344µs"},"10":{"From":"x","Time":1,"TimeStr":"1ns"},"2":{"From":"y","Time":1,"TimeStr":"1ns"}}"#;
    play(&["traceroute", "n2"], vec![asks("traceroute n2", answer)]).assert(
        0,
        "0: n1 in 198.496µs\n2: y in 1ns\n10: x in 1ns\n",
        "ERROR: 1: Error no route to node from n1 in 2.344µs",
    );
    let outcome = play(&["traceroute", "n2", "--json"], vec![asks("traceroute n2", answer)]);
    outcome.assert(0, &format!("{answer}\n"), "");
}

#[test]
fn reloads_end_with_the_code_of_their_error() {
    play(&["reload"], vec![asks("reload", r#"{"Success":true}"#)]).assert(0, "Reload successful\n", "");
    for (error, code) in [
        ("a non-reloadable config action 'work-command' was modified or added. ERRORCODE 3", 3),
        ("no configuration file was provided, reload function not set ERRORCODE 4", 4),
        ("something else", 5),
    ] {
        let answer = format!(r#"{{"Error":"{error}","Success":false}}"#);
        let outcome = play(&["reload"], vec![asks("reload", &answer)]);
        outcome.assert(code, "", &format!("ERROR: {error}"));
        let outcome = play(&["reload", "--json"], vec![asks("reload", &answer)]);
        outcome.assert(code, &format!("{answer}\n"), "");
    }
}

#[test]
fn versions() {
    let ours = env!("CARGO_PKG_VERSION");
    let asked = || vec![asks(r#"{"command":"status","requested_fields":["Version"]}"#, r#"{"Version":"1.4.9"}"#)];
    play(&["version"], asked()).assert(0, &format!("ctl          {ours}\nreceptor     1.4.9\n"), "");
    let json = format!("{{\"ctl\":\"{ours}\",\"receptor\":\"1.4.9\"}}\n");
    play(&["version", "--json"], asked()).assert(0, &json, "");
}

#[test]
fn a_command_that_the_node_does_not_know_ends_with_12() {
    let outcome = play(&["traceroute", "n2"], vec![asks("traceroute n2", "ERROR: Unknown command")]);
    outcome.assert(12, "", "ERROR: node n1 does not support this command");
}

#[test]
fn a_connection_carries_both_directions_without_a_terminal() {
    use crate::fake_node::FakeNode;
    let node = FakeNode::start(vec![vec![
        greet(),
        hear("connect n2 control \n"),
        say("Connecting\nReceptor Control, node n2\n"),
        hear("ping n1\n"),
        say("first\n"),
        Step::HearEnd,
        say("last \0\n"),
    ]]);
    let outcome = node.ctl(&["connect", "n2", "control"]).stdin("ping n1\n").run();
    outcome.assert(0, "Receptor Control, node n2\nfirst\nlast \0\n", "");
    node.finish();
}

#[test]
fn a_connection_carries_much_in_both_directions_at_once() {
    use crate::fake_node::FakeNode;
    let much = vec![b'x'; 8 << 20];
    let node = FakeNode::start(vec![vec![
        greet(),
        hear("connect n2 echo mytls\n"),
        say("Connecting\n"),
        // The node sends all before it reads any: whoever waits for the other direction waits for ever.
        say(&much),
        hear(&much),
        Step::HearEnd,
    ]]);
    let outcome = node.ctl(&["connect", "n2", "echo", "--tls-client", "mytls", "-r"]).stdin(&much).run();
    assert_eq!((outcome.code, outcome.stdout.len(), outcome.stderr.as_str()), (0, much.len(), ""));
    node.finish();
}

#[test]
fn a_refused_connection_is_told_as_a_whole_line() {
    let refusal = "ERROR: context canceled";
    let outcome = play(&["connect", "n2", "nosuch"], vec![asks("connect n2 nosuch ", refusal)]);
    outcome.assert(1, "", "ERROR: ERROR: context canceled");
}
