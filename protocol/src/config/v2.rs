//! The second dialect: a map of sections (control-protocol 1.6), read strictly: what receptor ignores is an error here.

use std::path::Path;
use std::sync::Arc;

use super::error::{LoadError, Place, Problem};
use super::item::{Defaults, Draft, Item};
use super::reload::ReloadItem;
use super::schema::{self, Section};
use super::v1::{Parsed, shape};
use crate::yaml::{self, Entry, Node, Value};

/// What a file of the second dialect holds.
#[derive(Debug, Default)]
pub(super) struct ParsedSections {
    /// What the sections hold, in the order in which receptor runs them.
    pub(super) parsed: Parsed,
    /// The key `version`, which decides where the tuning of the Kubernetes client comes from (control-protocol 1.1).
    pub(super) version: Option<i64>,
}

/// Reads a file of the second dialect.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> ParsedSections {
    let mut sections = ParsedSections::default();
    let place = |value: &Value| Place::File(Arc::clone(path), value.position);
    match yaml::parse(text) {
        Ok(Value { node: Node::Null, .. }) => {}
        Ok(Value { node: Node::Map(entries), .. }) => sections.take_all(&entries, path),
        Ok(value) => {
            let error = LoadError::Shape { found: shape(&value.node), expected: "map[string]interface {}" };
            sections.parsed.problems.push(Problem::load(place(&value), error));
        }
        Err(error) => {
            let place = Place::File(Arc::clone(path), error.position().unwrap_or_default());
            sections.parsed.problems.push(Problem::load(place, LoadError::Yaml(error)));
        }
    }
    sections
}

impl ParsedSections {
    fn take_all(&mut self, entries: &[Entry], path: &Arc<Path>) {
        let mut found: Vec<Option<&Entry>> = vec![None; schema::SECTIONS.len()];
        for entry in entries {
            let place = Place::File(Arc::clone(path), entry.key.position);
            let Some(name) = entry.key.as_text().map(str::to_lowercase) else {
                self.refuse(place, LoadError::NameNotText);
                continue;
            };
            let known = schema::SECTIONS.iter().position(|section| section.name == name);
            match known.and_then(|index| found.get_mut(index)) {
                Some(slot @ None) => *slot = Some(entry),
                Some(Some(_)) => self.refuse(place, LoadError::Repeated(self.name_of(&name))),
                None if name == "version" => self.version = version(&entry.value.node),
                None => self.refuse(place, LoadError::UnknownSection(name)),
            }
        }
        for (section, entry) in schema::SECTIONS.iter().zip(found) {
            if let Some(entry) = entry {
                self.take_section(section, entry, path);
            }
        }
    }

    fn name_of(&self, name: &str) -> &'static str {
        schema::SECTIONS.iter().find(|section| section.name == name).map_or("section", |section| section.name)
    }

    fn take_section(&mut self, section: &'static Section, entry: &Entry, path: &Arc<Path>) {
        let place = Place::File(Arc::clone(path), entry.key.position);
        match &entry.value.node {
            Node::List(list) if section.list => {
                for value in list {
                    self.take_item(section, value, Place::File(Arc::clone(path), value.position), path);
                }
            }
            // In receptor a section that holds nothing counts as absent: a trap for `local-only:` alone, so say it.
            Node::Null if section.name == "local-only" => {
                self.refuse(place, LoadError::InvalidFormat(section.name.to_owned()));
            }
            Node::Null => {}
            _ => self.take_item(section, &entry.value, place, path),
        }
    }

    fn take_item(&mut self, section: &'static Section, value: &Value, place: Place, path: &Arc<Path>) {
        match self.read_item(section, value, place, path) {
            // `local-only: {local: false}` counts as absent too.
            Ok(item) if section.name == "local-only" && !item.flag("local") => {}
            Ok(item) => {
                self.parsed.reload.push(ReloadItem::new(item.action.name, &value.node));
                self.parsed.items.push(item);
            }
            Err(problems) => self.parsed.problems.extend(problems),
        }
    }

    fn read_item(
        &mut self,
        section: &'static Section,
        value: &Value,
        place: Place,
        path: &Arc<Path>,
    ) -> Result<Item, Vec<Problem>> {
        let invalid = || LoadError::InvalidFormat(section.name.to_owned());
        let Node::Map(entries) = &value.node else {
            return Err(vec![Problem::load(place, invalid())]);
        };
        let mut draft = Draft::new(section.action, section.name.to_owned(), place);
        for entry in entries {
            let place = Place::File(Arc::clone(path), entry.key.position);
            let Some(name) = entry.key.as_text() else {
                return Err(vec![Problem::load(place, invalid())]);
            };
            if draft.take_node(name, &entry.value.node, place.clone()) {
                let text = format!("{}: {name} is given more than once; the last one counts", section.name);
                self.parsed.notices.push((place, text));
            }
        }
        draft.finish(Defaults::Second)
    }

    fn refuse(&mut self, place: Place, error: LoadError) {
        self.parsed.problems.push(Problem::load(place, error));
    }
}

fn version(node: &Node) -> Option<i64> {
    match node {
        Node::Int(version) => Some(*version),
        Node::Text(version) => version.parse().ok(),
        _ => None,
    }
}
