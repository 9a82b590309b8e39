//! One action of a configuration with its parameters, read but not yet judged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use secrecy::SecretString;

use super::error::{ConvertError, LoadError, Place, Problem};
use super::schema::{Action, Param};
use super::setting::{RuleEntries, Setting};
use crate::yaml::Node;

/// An action with all its parameters, defaults filled in.
#[derive(Debug)]
pub(super) struct Item {
    /// The action.
    pub(super) action: &'static Action,
    /// Where it stands.
    pub(super) place: Place,
    settings: BTreeMap<&'static str, Given>,
}

#[derive(Debug)]
struct Given {
    setting: Setting,
    place: Place,
}

impl Item {
    /// An action nobody wrote, with its defaults.
    pub(super) fn implicit(action: &'static Action) -> Self {
        let mut draft = Draft::new(action, action.name.to_owned(), Place::Default);
        draft.fill_in_defaults(Defaults::First);
        draft.item
    }

    /// Whether a parameter was written, as opposed to having its default.
    pub(super) fn given(&self, name: &str) -> bool {
        self.get(name).is_some_and(|given| given.place != Place::Default)
    }

    /// Where a parameter stands, or else its action.
    pub(super) fn place_of(&self, name: &str) -> Place {
        match self.get(name) {
            Some(given) if given.place != Place::Default => given.place.clone(),
            _ => self.place.clone(),
        }
    }

    /// A text; empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        match self.setting(name) {
            Some(Setting::Text(text)) => text,
            _ => "",
        }
    }

    /// A text that is not empty.
    pub(super) fn filled(&self, name: &str) -> Option<String> {
        Some(self.text(name)).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// The name of a file, if it is not empty.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.filled(name).map(PathBuf::from)
    }

    /// A secret that is not empty.
    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        use secrecy::ExposeSecret;
        match self.setting(name) {
            Some(Setting::Secret(secret)) if !secret.expose_secret().is_empty() => Some(secret.clone()),
            _ => None,
        }
    }

    /// A boolean; false where there is none.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.choice(name).unwrap_or(false)
    }

    /// A boolean, if there is one.
    pub(super) fn choice(&self, name: &str) -> Option<bool> {
        match self.setting(name) {
            Some(Setting::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// A whole number, if there is one.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        match self.setting(name) {
            Some(Setting::Int(number)) => Some(*number),
            _ => None,
        }
    }

    /// A number, if there is one.
    pub(super) fn float(&self, name: &str) -> Option<f64> {
        match self.setting(name) {
            Some(Setting::Float(number)) => Some(*number),
            _ => None,
        }
    }

    /// Texts; none where there are none.
    pub(super) fn list(&self, name: &str) -> &[String] {
        match self.setting(name) {
            Some(Setting::List(list)) => list,
            _ => &[],
        }
    }

    /// Texts by name; of a name given twice the last counts.
    pub(super) fn map(&self, name: &str) -> BTreeMap<String, String> {
        match self.setting(name) {
            Some(Setting::Map(map)) => map.iter().cloned().collect(),
            _ => BTreeMap::new(),
        }
    }

    /// Numbers by name; of a name given twice the last counts.
    pub(super) fn costs(&self, name: &str) -> BTreeMap<String, f64> {
        match self.setting(name) {
            Some(Setting::Costs(costs)) => costs.iter().cloned().collect(),
            _ => BTreeMap::new(),
        }
    }

    /// Firewall rules.
    pub(super) fn rules(&self, name: &str) -> &[RuleEntries] {
        match self.setting(name) {
            Some(Setting::Rules(rules)) => rules,
            _ => &[],
        }
    }

    /// A node as it stands, unless it is empty.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        match self.setting(name) {
            Some(Setting::Any(Node::Null)) => None,
            Some(Setting::Any(node)) => Some(node),
            _ => None,
        }
    }

    fn setting(&self, name: &str) -> Option<&Setting> {
        self.get(name).map(|given| &given.setting)
    }

    fn get(&self, name: &str) -> Option<&Given> {
        debug_assert!(self.action.param(name).is_some(), "{} has no parameter {name}", self.action.name);
        self.settings.get(name)
    }
}

/// An action whose parameters are still being read.
pub(super) struct Draft {
    /// The action as it was written; on the command line with its dashes.
    written: String,
    item: Item,
    /// What could not be taken.
    failed: Vec<Problem>,
}

/// Which dialect's defaults are filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defaults {
    /// Those of control-protocol 1.4.
    First,
    /// Those of control-protocol 1.6: an empty value counts as none.
    Second,
}

impl Draft {
    pub(super) fn new(action: &'static Action, written: String, place: Place) -> Self {
        let item = Item { action, place, settings: BTreeMap::new() };
        Self { written, item, failed: Vec::new() }
    }

    pub(super) fn action(&self) -> &'static Action {
        self.item.action
    }

    /// Takes a parameter of a file. Tells whether the same was given before.
    pub(super) fn take_node(&mut self, written: &str, node: &Node, place: Place) -> bool {
        match self.item.action.param(written) {
            Some(param) => {
                let again = self.item.settings.contains_key(param.name);
                self.put(param, written, Setting::from_node(param.kind, node), place);
                again
            }
            None => {
                self.unknown_field(written, place);
                false
            }
        }
    }

    /// Takes `name=value` of the command line; a list given again grows.
    pub(super) fn take_word(&mut self, name: &str, value: &str) {
        match self.item.action.param(name) {
            Some(param) => {
                let setting = Setting::from_word(param.kind, value);
                let before = self.item.settings.remove(param.name);
                let setting = match before {
                    Some(before) => setting.map(|later| before.setting.then(later)),
                    None => setting,
                };
                self.put(param, &name.to_lowercase(), setting, Place::CommandLine);
            }
            None => self.unknown_field(&name.to_lowercase(), Place::CommandLine),
        }
    }

    /// Takes a lone value, if the action takes one.
    pub(super) fn take_bare(&mut self, value: &str, place: Place) {
        match self.item.action.bare_param() {
            Some(param) => {
                let written = param.bare.unwrap_or(param.name);
                self.put(param, written, Setting::from_word(param.kind, value), place);
            }
            None => {
                let error = LoadError::NoBareValue(self.written.clone());
                self.failed.push(Problem::load(place, error));
            }
        }
    }

    fn put(&mut self, param: &'static Param, written: &str, setting: Result<Setting, ConvertError>, place: Place) {
        match setting {
            Ok(setting) => {
                self.item.settings.insert(param.name, Given { setting, place });
            }
            Err(why) => {
                let error = LoadError::Convert { action: self.written.clone(), field: written.to_owned(), why };
                self.failed.push(Problem::load(place.clone(), error));
                // It was given, if wrongly: not to be told missing as well.
                self.item.settings.insert(param.name, Given { setting: Setting::Any(Node::Null), place });
            }
        }
    }

    fn unknown_field(&mut self, written: &str, place: Place) {
        let error = LoadError::UnknownField {
            action: self.written.clone(),
            field: written.to_owned(),
            known: self.item.action,
        };
        self.failed.push(Problem::load(place, error));
    }

    /// The whole item, or what is wrong with it.
    pub(super) fn finish(mut self, defaults: Defaults) -> Result<Item, Vec<Problem>> {
        if defaults == Defaults::Second {
            self.item.settings.retain(|name, given| !stands_for_default(self.item.action, name, &given.setting));
        }
        let names: Vec<_> = self
            .item
            .action
            .params
            .iter()
            .filter(|param| param.required && !self.item.settings.contains_key(param.name))
            .map(|param| param.name)
            .collect();
        if !names.is_empty() {
            let error = LoadError::Missing { action: self.written.clone(), names };
            self.failed.push(Problem::load(self.item.place.clone(), error));
        }
        if !self.failed.is_empty() {
            return Err(self.failed);
        }
        self.fill_in_defaults(defaults);
        Ok(self.item)
    }

    fn fill_in_defaults(&mut self, defaults: Defaults) {
        for param in self.item.action.params {
            let text = match (defaults, param.name) {
                // The one default that the second dialect lacks (control-protocol 1.6).
                (Defaults::Second, "deletepodonrestart") => Some("false"),
                _ => param.default,
            };
            let setting = text.and_then(|text| Setting::from_word(param.kind, text).ok());
            if let Some(setting) = setting {
                self.item.settings.entry(param.name).or_insert(Given { setting, place: Place::Default });
            }
        }
    }
}

/// Whether the second dialect takes a value for none: empty or zero, where there is a default.
fn stands_for_default(action: &Action, name: &str, setting: &Setting) -> bool {
    let has_default = action.param(name).is_some_and(|param| param.default.is_some());
    has_default
        && match setting {
            Setting::Text(text) => text.is_empty(),
            Setting::Int(number) => *number == 0,
            Setting::Float(number) => *number == 0.0,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::super::schema::ACTIONS;
    use super::*;

    #[test]
    fn every_default_can_be_converted() {
        for action in ACTIONS {
            let item = Item::implicit(action);
            for param in action.params.iter().filter(|param| param.default.is_some()) {
                assert!(item.setting(param.name).is_some(), "{} {}", action.name, param.name);
                assert!(!item.given(param.name));
            }
        }
    }
}
