//! The daemon's help text, made from the table of actions.

use std::fmt::Write as _;

use super::not_built::{Gap, NOT_BUILT};
use super::schema::{ACTIONS, Action, Param};

const INTRODUCTION: &str = "\
worknoded accepts work over a socket and runs it as local commands or Kubernetes pods.

Usage:
  worknoded [-c FILE]                       run the node that FILE describes
  worknoded --check-config [-c FILE]        say what is wrong with FILE, or what it amounts to
  worknoded --ACTION [PARAM=VALUE ...] ...  run the node that the actions describe
  worknoded --config-v2 [--config FILE]     the same for a file of sections
  worknoded --version | --help

Without FILE and actions /etc/worknode/node.yml is read, or else /etc/receptor/receptor.conf.
Actions and files can be mixed; all actions are taken together, in order.

Examples:
  worknoded --node id=a --local-only --control-service filename=/tmp/a.sock \\
            --work-command worktype=cat command=cat
  worknoded -c node.yml --log-level debug

The same as a file:
  - node: {id: a}
  - local-only:
  - control-service: {filename: /tmp/a.sock}
  - work-command: {worktype: cat, command: cat}

Actions:
";

/// The whole text.
pub(super) fn text() -> String {
    let mut text = INTRODUCTION.to_owned();
    for action in ACTIONS {
        describe(&mut text, action);
    }
    text
}

fn describe(text: &mut String, action: &Action) {
    let built = !NOT_BUILT.contains(&Gap::Action(action.name));
    let later = if built { "" } else { " (not in this version)" };
    let _ = writeln!(text, "\n  --{}: {}{later}", action.name, action.help);
    let missing = |param: &&Param| NOT_BUILT.contains(&Gap::Key(action.name, param.name));
    for param in action.params.iter().filter(|param| !missing(param)) {
        let mut remarks = Vec::new();
        if param.required {
            remarks.push("required".to_owned());
        }
        if let Some(default) = param.default {
            remarks.push(format!("default {default}"));
        }
        let remarks = if remarks.is_empty() { String::new() } else { format!(" ({})", remarks.join(", ")) };
        let _ = writeln!(text, "      {}=<{}>: {}{remarks}", param.name, param.kind.label(), param.help);
    }
    let later: Vec<_> = action.params.iter().filter(missing).map(|param| param.name).collect();
    if !later.is_empty() {
        let _ = writeln!(text, "      not in this version: {}", later.join(", "));
    }
}
