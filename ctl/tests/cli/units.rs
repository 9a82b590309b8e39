//! List, status, cancel, release.

use crate::fake_node::{Step, asks, greet, hear, play, say, status};

fn list() -> String {
    let (a, b) = (status(2, "exit status 0", 11), status(1, "Running: PID 7", 0));
    format!(r#"{{"K8ouomSS":{a},"A1":{b}}}"#)
}

#[test]
fn a_list_is_sorted_json_and_ids_keep_the_order_of_the_node() {
    let outcome = play(&["work", "list"], vec![asks("work list", &list())]);
    assert_eq!(outcome.code, 0);
    let printed: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(printed, serde_json::from_str::<serde_json::Value>(&list()).unwrap());
    assert!(outcome.stdout.starts_with("{\n    \"A1\": {\n        \"Detail\": \"Running: PID 7\",\n"));
    play(&["work", "list", "-q"], vec![asks("work list", &list())]).assert(0, "K8ouomSS\nA1\n", "");
    let outcome = play(&["work", "list", "-q", "--json"], vec![asks("work list", &list())]);
    outcome.assert(0, "[\"K8ouomSS\",\"A1\"]\n", "");
    play(&["work", "list"], vec![asks("work list", "{}")]).assert(0, "{}\n", "");
}

#[test]
fn a_list_can_be_narrowed() {
    let only =
        |words: &[&str], line: &str| play(&[&["work", "list", "-q"], words].concat(), vec![asks(line, &list())]).stdout;
    assert_eq!(only(&["--unit_id", "A1"], "work list A1"), "K8ouomSS\nA1\n");
    assert_eq!(only(&["--state", "running"], "work list"), "A1\n");
    assert_eq!(only(&["--worktype", "sh"], "work list"), "K8ouomSS\nA1\n");
    assert_eq!(only(&["--worktype", "cat"], "work list"), "");
}

#[test]
fn a_list_as_a_table() {
    play(&["work", "list", "--table"], vec![asks("work list", &list())]).assert(
        0,
        "ID        TYPE  STATE      SIZE  DETAIL\n\
         K8ouomSS  sh    Succeeded  11 B  exit status 0\n\
         A1        sh    Running    0 B   Running: PID 7\n",
        "",
    );
}

#[test]
fn a_list_of_another_node_goes_through_this_one() {
    let steps = vec![
        greet(),
        hear("connect n2 control mytls\n"),
        say("Connecting\nReceptor Control, node n2\n"),
        hear("work list\n"),
        say("{}\n"),
        Step::HearClose,
    ];
    let words = ["work", "list", "--node", "n2", "--tls-client", "mytls"];
    play(&words, vec![steps]).assert(0, "{}\n", "");
    let refused = vec![asks("connect n3 control ", "ERROR: INTERNAL_ERROR (local): no route to node")];
    let outcome = play(&["work", "list", "--node", "n3"], refused);
    outcome.assert(1, "", "ERROR: ERROR: INTERNAL_ERROR (local): no route to node");
}

#[test]
fn the_status_of_a_unit() {
    let answer = status(3, "exit status 4", 5);
    let asked = || vec![asks("work status a", &answer)];
    let text = "State: Failed\nDetail: exit status 4\nStdoutSize: 5\nWorkType: sh\n";
    play(&["work", "status", "a"], asked()).assert(0, text, "");
    play(&["work", "status", "a", "--json"], asked()).assert(0, &format!("{answer}\n"), "");
    let outcome = play(&["work", "status", "a"], vec![asks("work status a", "ERROR: unknown work unit a")]);
    outcome.assert(1, "", "ERROR: unknown work unit a");
    assert!(outcome.stderr.contains("\n\nhint: ctl work list -q"), "{}", outcome.stderr);
}

#[test]
fn all_that_is_known_of_a_unit() {
    let unit = format!(
        r#""unit":"a","status":{},"stdin":7,"secrets":["secret_kube_pod"]"#,
        status(3, "exit status 4", 5).trim()
    );
    let object = r#"{"kind":"pod","step":"ended","name":"kubeit-x","uid":"","askedAt":1795271234567,"attempts":1,"ran":true,"stdinCut":false,"exitCode":4,"startedAt":"2026-11-21T13:00:00Z","gaps":[],"end":null}"#;
    let answer = format!("{{{unit},\"object\":{object}}}\n");
    let text = "Unit\n  ID                a\n  Work type         sh\n  State             Failed\n  \
                Detail            exit status 4\n  Payload           7 bytes\n  Output            5 bytes\n  \
                Secrets given     secret_kube_pod\nPod\n  Step              ended\n  Name              kubeit-x\n  \
                Asked at          2026-11-21T14:27:14.567Z\n  Attempts          1\n  Ran               yes\n  \
                Exit code         4\n  Started at        2026-11-21T13:00:00Z\n";
    play(&["work", "describe", "a"], vec![asks("work describe a", &answer)]).assert(0, text, "");
    let of_a_command = format!("{{{unit},\"object\":null}}\n");
    let outcome = play(&["work", "describe", "a"], vec![asks("work describe a", &of_a_command)]);
    assert!(outcome.stdout.ends_with("secret_kube_pod\n") && outcome.code == 0, "{}", outcome.stdout);
}

#[test]
fn units_are_ended_one_after_the_other_on_one_connection() {
    for (words, line, outcome, heading) in [
        (&["work", "cancel", "a", "b"][..], "work cancel", "cancelled", "Cancelled:"),
        (&["work", "release", "a", "b"], "work release", "released", "Released:"),
        (&["work", "release", "--force", "a", "b"], "work force-release", "released", "Released:"),
        (&["work", "release", "a", "b"], "work release", "release pending", "Released:"),
    ] {
        let answer = |unit: &str| format!("{{\"{outcome}\":\"{unit}\"}}\n");
        let steps = || {
            vec![vec![
                greet(),
                hear(format!("{line} a\n")),
                say(answer("a")),
                hear(format!("{line} b\n")),
                say(answer("b")),
                Step::HearClose,
            ]]
        };
        play(words, steps()).assert(0, &format!("{heading}\n(a, {outcome})\n(b, {outcome})\n"), "");
        let words = [words, &["--json"]].concat();
        play(&words, steps()).assert(0, &(answer("a") + &answer("b")), "");
    }
}

#[test]
fn the_first_failure_stops() {
    let steps = asks("work cancel nosuch", "ERROR: unknown work unit nosuch");
    let outcome = play(&["work", "cancel", "nosuch", "b"], vec![steps]);
    outcome.assert(1, "Cancelled:\n", "ERROR: nosuch: ERROR: unknown work unit nosuch");
}

#[test]
fn all_units() {
    let steps = |commands: &[(&str, &str)]| {
        let mut steps = vec![greet(), hear("work list\n"), say(list() + "\n")];
        for (line, answer) in commands {
            steps.extend([hear(format!("{line}\n")), say(format!("{answer}\n"))]);
        }
        steps.push(Step::HearClose);
        vec![steps]
    };
    let released =
        [("work release K8ouomSS", r#"{"released":"K8ouomSS"}"#), ("work release A1", r#"{"released":"A1"}"#)];
    let outcome = play(&["work", "release", "--all"], steps(&released));
    outcome.assert(0, "Released:\n(K8ouomSS, released)\n(A1, released)\n", "");
    // Only the unit that has not ended.
    let outcome = play(&["work", "cancel", "--all"], steps(&[("work cancel A1", r#"{"cancelled":"A1"}"#)]));
    outcome.assert(0, "Cancelled:\n(A1, cancelled)\n", "");
    play(&["work", "release", "--all"], vec![asks("work list", "{}")]).assert(0, "Released:\n", "");
}

#[test]
fn without_ids_nothing_is_done() {
    for verb in ["cancel", "release"] {
        let outcome = play(&["work", verb], Vec::new());
        outcome.assert(0, "", "Warning: No unit IDs supplied: Not doing anything");
    }
}
