//! Why a text is not a configuration (control-protocol 1.2, 1.5).

use crate::config::error::{ConvertError, Place};
use crate::config::schema::{self, Action};
use crate::yaml::YamlError;

/// Why a text is not a configuration. The text depends on whether it came from a file or from the command line.
#[derive(Debug, Clone, PartialEq)]
pub enum LoadError {
    /// A file that could not be read: `open /nope: no such file or directory`.
    File(String),
    /// Not YAML.
    Yaml(YamlError),
    /// YAML of another shape at the top, told as the reference's YAML tag, such as `!!map`.
    Shape {
        /// What was found.
        found: String,
        /// What the dialect begins with.
        expected: &'static str,
    },
    /// An item of a list that is neither a name nor a map.
    UnknownFormat,
    /// An item with no name or with several.
    MultipleNames,
    /// A name that is not a text.
    NameNotText,
    /// A name that no action has.
    UnknownAction(String),
    /// A section that the second dialect does not have.
    UnknownSection(String),
    /// Parameters that are neither a text nor a map.
    InvalidFormat(String),
    /// A value without a name for an action that takes none.
    NoBareValue(String),
    /// A parameter that the action does not have.
    UnknownField {
        /// The action as written.
        action: String,
        /// The parameter as written.
        field: String,
        /// The action as known.
        known: &'static Action,
    },
    /// A value that the parameter does not take.
    Convert {
        /// The action as written.
        action: String,
        /// The parameter as written.
        field: String,
        /// Why not.
        why: ConvertError,
    },
    /// A second item of an action that is allowed once.
    Repeated(&'static str),
    /// Required parameters that are missing.
    Missing {
        /// The action as written; on the command line with its dashes.
        action: String,
        /// The parameters, in the order of the action's table.
        names: Vec<&'static str>,
    },
    /// Something beside an action that must stand alone.
    NotAlone(&'static str),
    /// A word of the command line before any action.
    ParameterFirst,
    /// `--config` at the end of the command line.
    NoFileName,
    /// A word that the command line of the second dialect does not take.
    UnknownFlag(String),
    /// No file named, and none in the usual places.
    NoConfigFile(String),
}

impl LoadError {
    /// The text, without `error loading config file: `.
    pub(super) fn text(&self, place: &Place) -> String {
        let in_file = matches!(place, Place::File(..));
        match self {
            Self::File(text) | Self::NoConfigFile(text) => text.clone(),
            Self::Yaml(error) => error.to_string(),
            Self::Shape { found, expected } => {
                format!("yaml: unmarshal errors:\n  line 1: cannot unmarshal {found} into {expected}")
            }
            Self::UnknownFormat => "unknown config file format".to_owned(),
            Self::MultipleNames => "config format invalid: item has multiple names".to_owned(),
            Self::NameNotText => "section key is not a string".to_owned(),
            Self::UnknownAction(name) if in_file => {
                format!("could not get config type for command {name}: unknown config type {name}")
            }
            Self::UnknownAction(name) => format!("command error: unknown config type {name}"),
            Self::UnknownSection(name) => format!("unknown section {name}"),
            Self::InvalidFormat(action) => format!("invalid config format for {action}"),
            Self::NoBareValue(action) if in_file => {
                format!("could not get barevalue for command {action}: command does not allow bare values")
            }
            Self::NoBareValue(_) => "config error: command does not allow bare values".to_owned(),
            Self::UnknownField { action, field, .. } if in_file => {
                format!("field {field} not defined for command {action}: unknown field name {field}")
            }
            Self::UnknownField { field, .. } => format!("config error: unknown field name {field}"),
            Self::Convert { action, field, why } if in_file => {
                format!("error setting field {field} in command {action}: {why}")
            }
            Self::Convert { field, why, .. } => {
                format!("error setting config value for field {field}: {why}")
            }
            Self::Repeated(action) if in_file => format!("only one {action} directive is allowed"),
            Self::Repeated(action) => format!("directive \"{action}\" is only allowed once"),
            Self::Missing { action, names } => {
                let plural = if names.len() > 1 { "s" } else { "" };
                format!("error in {action}: required parameter{plural} missing: {}", names.join(", "))
            }
            Self::NotAlone(action) => format!("cannot specify any other options with {action}"),
            Self::ParameterFirst => "parameter specified before command".to_owned(),
            Self::NoFileName => "--config needs the name of a file".to_owned(),
            Self::UnknownFlag(word) => format!("unknown flag: {word}"),
        }
    }

    /// Whether the file alone is wrong, as opposed to all files and the command line together.
    pub(super) fn is_about_the_file(&self) -> bool {
        !matches!(self, Self::NotAlone(_))
    }

    /// What would be right, where that can be told.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Yaml(_) => Some("look at indentation, quotes and brackets up to this place".to_owned()),
            Self::Shape { expected, .. } if expected.starts_with('[') => {
                Some("begin each action with `- `; a file of sections needs --config-v2".to_owned())
            }
            Self::Shape { .. } => {
                Some("write sections such as `node:`; a list of actions needs no --config-v2".to_owned())
            }
            Self::UnknownFormat | Self::NameNotText => Some("write `- action:` or `- action: {key: value}`".to_owned()),
            Self::MultipleNames => Some("begin each action with its own `- `".to_owned()),
            Self::UnknownAction(name) => Some(unknown_action_hint(name)),
            Self::UnknownSection(name) => {
                nearest(name, schema::SECTIONS.iter().map(|section| section.name)).map(did_you_mean)
            }
            Self::InvalidFormat(_) | Self::NoBareValue(_) => Some("write its parameters as `{key: value}`".to_owned()),
            Self::UnknownField { field, known, .. } => Some(unknown_field_hint(field, known)),
            Self::Convert { why, .. } => why.hint(),
            Self::Repeated(_) => Some("keep one of them".to_owned()),
            Self::Missing { names, .. } => Some(format!("add {}", names.join(" and "))),
            _ => None,
        }
    }
}

fn unknown_action_hint(name: &str) -> String {
    let lower = name.to_lowercase();
    if schema::action(&lower).is_some() {
        return format!("write `{lower}`: names of actions are lower case in a file");
    }
    nearest(&lower, schema::ACTIONS.iter().map(|action| action.name))
        .map_or_else(|| "worknoded --help lists the actions".to_owned(), did_you_mean)
}

fn unknown_field_hint(field: &str, action: &Action) -> String {
    let names = || action.params.iter().map(|param| param.name);
    nearest(&field.to_lowercase(), names()).map_or_else(
        || match action.params {
            [] => format!("{} takes no parameters", action.name),
            _ => format!("{} takes {}", action.name, names().collect::<Vec<_>>().join(", ")),
        },
        did_you_mean,
    )
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean `{name}`?")
}

/// The name that is closest to `written`, if it is close enough to be meant.
fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (written.len() / 3).max(1);
    names
        .map(|name| (distance(written, name), name))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Characters to insert, delete or replace to make `left` into `right`.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut costs: Vec<usize> = (0..=right.len()).collect();
    for (row, from) in left.chars().enumerate() {
        let mut diagonal = row;
        let mut before = row + 1;
        for (cost, to) in costs.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cost;
            *cost = replaced.min(before + 1).min(diagonal + 1);
            before = *cost;
        }
        if let Some(first) = costs.first_mut() {
            *first = row + 1;
        }
    }
    costs.last().copied().unwrap_or_default()
}
