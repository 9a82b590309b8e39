//! Writing of v1 configuration files (control-protocol 1.2).

use serde_json::Value;

/// The actions of a configuration file, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Config {
    actions: Vec<(String, Value)>,
}

impl Config {
    /// Adds an action with its map of parameters, its bare parameter, or null.
    pub(crate) fn push(&mut self, action: &str, parameters: Value) {
        self.actions.push((action.to_owned(), parameters));
    }

    /// Whether an action of this name has been added.
    pub(crate) fn has(&self, action: &str) -> bool {
        self.actions.iter().any(|(name, _)| name == action)
    }

    /// Adds all actions of another list.
    pub(crate) fn append(&mut self, other: &Self) {
        self.actions.extend_from_slice(&other.actions);
    }

    /// The file's text. JSON is a subset of YAML, so that no value needs quoting of its own.
    pub(crate) fn text(&self) -> String {
        self.actions.iter().map(|(name, parameters)| format!("- {name}: {parameters}\n")).collect()
    }
}
