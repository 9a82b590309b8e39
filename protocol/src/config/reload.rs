//! What a reload may change (control-protocol 1.7).
//!
//! Backends can be exchanged in a running node; everything else must be as it was at start-up. Items are compared by
//! what they say: the order of keys and of items, comments and quotes around plain words do not matter; the case of
//! keys does.

use std::fmt::{self, Write as _};

use super::StartError;
use crate::control::ReloadError;
use crate::yaml::Node;

/// Beginnings of the names of actions that a reload may change.
const RELOADABLE: [&str; 7] =
    ["tcp-peer", "tcp-listener", "ws-peer", "ws-listener", "udp-peer", "udp-listener", "local-only"];

/// The items of configuration files, as far as a reload compares them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadItems(Vec<ReloadItem>);

/// One item of a file in a form that can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReloadItem {
    action: &'static str,
    /// A digest would do, but the text holds nothing that the running configuration does not hold.
    canonical: Canonical,
}

/// What an item says, in one spelling. Not to be shown: it may hold secrets.
#[derive(Clone, PartialEq, Eq)]
struct Canonical(String);

impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[item]")
    }
}

impl ReloadItem {
    pub(super) fn new(action: &'static str, node: &Node) -> Self {
        let mut canonical = format!("{action} ");
        write_canonical(node, &mut canonical);
        Self { action, canonical: Canonical(canonical) }
    }
}

impl ReloadItems {
    pub(super) fn extend(&mut self, items: Vec<ReloadItem>) {
        let fixed = |item: &ReloadItem| !RELOADABLE.iter().any(|name| item.action.starts_with(name));
        self.0.extend(items.into_iter().filter(fixed));
    }
}

/// Writes a node so that equal nodes are written alike: keys sorted, of equal keys the last one.
fn write_canonical(node: &Node, to: &mut String) {
    match node {
        Node::List(list) => {
            to.push('[');
            for item in list {
                write_canonical(&item.node, to);
                to.push(',');
            }
            to.push(']');
        }
        Node::Map(map) => {
            let mut sorted = std::collections::BTreeMap::new();
            for entry in map {
                let (mut key, mut value) = (String::new(), String::new());
                write_canonical(&entry.key.node, &mut key);
                write_canonical(&entry.value.node, &mut value);
                sorted.insert(key, value);
            }
            to.push('{');
            for (key, value) in sorted {
                let _ = write!(to, "{key}:{value},");
            }
            to.push('}');
        }
        // A text is quoted, so that `'5'` and `5` differ, as they do for the original.
        scalar => {
            let _ = write!(to, "{scalar:?}");
        }
    }
}

impl From<StartError> for ReloadError {
    fn from(error: StartError) -> Self {
        Self::Failed(error.text())
    }
}

/// Compares what must not change.
///
/// # Errors
/// If an item was changed, added or removed that needs a restart.
pub fn compare(old: &ReloadItems, new: &ReloadItems) -> Result<(), ReloadError> {
    let missing = |here: &ReloadItems, there: &ReloadItems| {
        here.0.iter().find(|item| !there.0.contains(item)).map(|item| item.action.to_owned())
    };
    if let Some(added) = missing(new, old) {
        return Err(ReloadError::Modified(added));
    }
    missing(old, new).map_or(Ok(()), |removed| Err(ReloadError::Removed(removed)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::config::v1;

    fn items(text: &str) -> ReloadItems {
        let parsed = v1::parse(text, &Arc::from(Path::new("/rx/a.yml")));
        assert_eq!(parsed.problems, []);
        let mut items = ReloadItems::default();
        items.extend(parsed.reload);
        items
    }

    fn answer(old: &str, new: &str) -> String {
        compare(&items(old), &items(new)).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    const START: &str = "- node: {id: a}\n- local-only:\n- work-command: {worktype: cat, command: cat}\n";

    /// The texts of control-protocol 1.7.
    #[test]
    fn changes_that_need_a_restart_are_named() {
        let changed = START.replace("command: cat", "command: dog");
        assert_eq!(
            answer(START, &changed),
            "a non-reloadable config action 'work-command' was modified or added. Must restart receptor for these changes to take effect ERRORCODE 3"
        );
        assert_eq!(
            answer(START, "- node: {id: a}\n- local-only:\n"),
            "a non-reloadable config action 'work-command' was removed. Must restart receptor for changes to take effect ERRORCODE 3"
        );
    }

    /// "order of keys and of items does not matter, case of keys and spelling of values does"
    #[test]
    fn only_what_is_said_is_compared() {
        let reordered =
            "- work-command:\n    command: 'cat' # the same\n    worktype: cat\n- node: {id: a}\n- local-only\n";
        assert_eq!(answer(START, reordered), "ok");
        assert!(answer(START, &START.replace("command: cat", "Command: cat")).ends_with("ERRORCODE 3"));
        assert_eq!(answer("- control-service: {permissions: 0660}", "- control-service: {permissions: 432}"), "ok");
        assert!(
            answer("- control-service: {permissions: 0660}", "- control-service: {permissions: '0660'}")
                .ends_with("ERRORCODE 3")
        );
    }

    #[test]
    fn backends_may_come_and_go() {
        let with_backends = format!("{START}- tcp-listener: {{port: 1}}\n- ws-peer: ws://a:1\n- udp-peer: a:1\n");
        assert_eq!(answer(START, &with_backends), "ok");
        assert_eq!(answer(&with_backends, START), "ok");
        assert_eq!(answer(START, &START.replace("- local-only:\n", "")), "ok");
    }

    /// After a refused reload receptor's bookkeeping is left dirty; here nothing is kept.
    #[test]
    fn a_refused_reload_leaves_no_trace() {
        let added = format!("{START}- work-command: {{worktype: a, command: b}}\n");
        assert!(answer(START, &added).contains("was modified or added"));
        assert!(answer(START, "- node: {id: a}\n").contains("was removed"));
    }

    #[test]
    fn items_are_not_shown() {
        assert!(!format!("{:?}", items("- work-kubernetes: {worktype: a, token: s3cret}")).contains("s3cret"));
    }
}
