//! The first dialect: a list of actions (control-protocol 1.2).

use std::path::Path;
use std::sync::Arc;

use super::error::{LoadError, Place, Problem};
use super::item::{Defaults, Draft, Item};
use super::reload::ReloadItem;
use super::schema::{self, Action, Rule};
use crate::yaml::{self, Entry, Node, Value};

/// What a file of the first dialect holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// The actions that could be read, in order.
    pub(super) items: Vec<Item>,
    /// What is wrong, in order.
    pub(super) problems: Vec<Problem>,
    /// What is odd but accepted.
    pub(super) notices: Vec<(Place, String)>,
    /// What a later reload compares.
    pub(super) reload: Vec<ReloadItem>,
}

/// Reads a file of the first dialect.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> Parsed {
    let mut parsed = Parsed::default();
    let place = |value: &Value| Place::File(Arc::clone(path), value.position);
    match yaml::parse(text) {
        Ok(Value { node: Node::Null, .. }) => {}
        Ok(Value { node: Node::List(list), .. }) => {
            for value in &list {
                parsed.take(value, path);
            }
        }
        Ok(value) => {
            let error = LoadError::Shape { found: shape(&value.node), expected: "[]interface {}" };
            parsed.problems.push(Problem::load(place(&value), error));
        }
        Err(error) => {
            let place = Place::File(Arc::clone(path), error.position().unwrap_or_default());
            parsed.problems.push(Problem::load(place, LoadError::Yaml(error)));
        }
    }
    parsed
}

impl Parsed {
    fn take(&mut self, value: &Value, path: &Arc<Path>) {
        let place = Place::File(Arc::clone(path), value.position);
        match self.read_item(value, path, &place) {
            Ok(item) => {
                self.reload.push(ReloadItem::new(item.action.name, &value.node));
                self.items.push(item);
            }
            Err(problems) => self.problems.extend(problems),
        }
    }

    fn read_item(&mut self, value: &Value, path: &Arc<Path>, place: &Place) -> Result<Item, Vec<Problem>> {
        let refuse = |error| vec![Problem::load(place.clone(), error)];
        let (name, parameters) = name_and_parameters(&value.node).map_err(refuse)?;
        let action = schema::action(name).ok_or_else(|| refuse(LoadError::UnknownAction(name.to_owned())))?;
        let mut draft = Draft::new(action, name.to_owned(), place.clone());
        match parameters.map(|value| (&value.node, value)) {
            None | Some((Node::Null, _)) => {}
            Some((Node::Text(text), value)) => {
                draft.take_bare(text, Place::File(Arc::clone(path), value.position));
            }
            Some((Node::Map(entries), _)) => {
                for entry in entries {
                    self.take_parameter(&mut draft, entry, path).map_err(refuse)?;
                }
            }
            Some(_) => return Err(refuse(LoadError::InvalidFormat(name.to_owned()))),
        }
        if is_repeated(action, &self.items) {
            return Err(refuse(LoadError::Repeated(action.name)));
        }
        draft.finish(Defaults::First)
    }

    fn take_parameter(&mut self, draft: &mut Draft, entry: &Entry, path: &Arc<Path>) -> Result<(), LoadError> {
        let action = draft.action().name;
        let Some(name) = entry.key.as_text() else {
            return Err(LoadError::InvalidFormat(action.to_owned()));
        };
        let place = Place::File(Arc::clone(path), entry.key.position);
        if draft.take_node(name, &entry.value.node, place.clone()) {
            // Which of two spellings wins is random in receptor; of two equal ones the last.
            self.notices.push((place, format!("{action}: {name} is given more than once; the last one counts")));
        }
        Ok(())
    }
}

/// Takes an item apart into its name and what stands behind it.
fn name_and_parameters(node: &Node) -> Result<(&str, Option<&Value>), LoadError> {
    match node {
        Node::Text(name) => Ok((name, None)),
        Node::Map(entries) => match entries.as_slice() {
            [Entry { key, value }] => key.as_text().map(|name| (name, Some(value))).ok_or(LoadError::NameNotText),
            _ => Err(LoadError::MultipleNames),
        },
        _ => Err(LoadError::UnknownFormat),
    }
}

/// A node as the reference's YAML library names it.
pub(super) fn shape(node: &Node) -> String {
    match node {
        Node::Null => "!!null".to_owned(),
        Node::Bool(flag) => format!("!!bool `{flag}`"),
        Node::Int(number) => format!("!!int `{number}`"),
        Node::Float(number) => format!("!!float `{number}`"),
        Node::Text(text) if text.chars().count() > 10 => {
            format!("!!str `{}...`", text.chars().take(7).collect::<String>())
        }
        Node::Text(text) => format!("!!str `{text}`"),
        Node::List(_) => "!!seq".to_owned(),
        Node::Map(_) => "!!map".to_owned(),
    }
}

/// Whether an action may stand once only and stands in `items` already.
pub(super) fn is_repeated(action: &'static Action, items: &[Item]) -> bool {
    action.rule == Rule::Once && items.iter().any(|item| std::ptr::eq(item.action, action))
}
