//! Values as parameters take them: the conversions of control-protocol 1.2.

mod words;

use secrecy::SecretString;
use words::{parse_bool, parse_float, parse_int};

use super::error::ConvertError;
use super::schema::{Kind, Shape};
use crate::yaml::{self, Entry, Node, Value};

/// Keys and values of a firewall rule; `None` for a value that is no text.
pub(super) type RuleEntries = Vec<(String, Option<String>)>;

/// A value, converted to the shape that its parameter takes.
#[derive(Debug, Clone)]
pub(super) enum Setting {
    /// A text.
    Text(String),
    /// A text that is not to be shown.
    Secret(SecretString),
    /// A whole number.
    Int(i64),
    /// A number.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// Texts.
    List(Vec<String>),
    /// Texts by name.
    Map(Vec<(String, String)>),
    /// Numbers by name.
    Costs(Vec<(String, f64)>),
    /// Firewall rules.
    Rules(Vec<RuleEntries>),
    /// A node as it stands.
    Any(Node),
}

impl Setting {
    /// Converts a node of a file.
    pub(super) fn from_node(kind: Kind, node: &Node) -> Result<Self, ConvertError> {
        if kind == Kind::Secret {
            return text(node).map(|text| Self::Secret(text.into()));
        }
        match kind.shape() {
            Shape::Text => text(node).map(Self::Text),
            Shape::Scalar => scalar(node).map(Self::Text),
            Shape::Int => int(node).map(Self::Int),
            Shape::Float => float(node).map(Self::Float),
            Shape::Bool => boolean(node).map(Self::Bool),
            Shape::List => list(node).map(Self::List),
            Shape::Map => map(node).map(Self::Map),
            Shape::Costs => costs(node).map(Self::Costs),
            Shape::Rules => rules(node).map(Self::Rules),
            Shape::Any => Ok(Self::Any(node.clone())),
        }
    }

    /// Converts a word of the command line.
    pub(super) fn from_word(kind: Kind, word: &str) -> Result<Self, ConvertError> {
        Self::from_node(kind, &Node::Text(word.to_owned()))
    }

    /// Adds what a parameter given again adds: lists grow, everything else is replaced.
    pub(super) fn then(self, later: Self) -> Self {
        match (self, later) {
            (Self::List(mut list), Self::List(more)) => {
                list.extend(more);
                Self::List(list)
            }
            (_, later) => later,
        }
    }
}

fn text(node: &Node) -> Result<String, ConvertError> {
    match node {
        Node::Text(text) => Ok(text.clone()),
        Node::Int(number) => Ok(number.to_string()),
        Node::Float(number) => Ok(format!("{number:.6}")),
        Node::Bool(flag) => Ok(flag.to_string()),
        Node::Null => Err(ConvertError::Nil),
        Node::List(_) | Node::Map(_) => Err(ConvertError::Type("string")),
    }
}

/// A text in which `1.5` stays `1.5`; for values the reference does not have.
fn scalar(node: &Node) -> Result<String, ConvertError> {
    match node {
        Node::Float(number) => Ok(number.to_string()),
        _ => text(node),
    }
}

fn int(node: &Node) -> Result<i64, ConvertError> {
    match node {
        Node::Int(number) => Ok(*number),
        // Beyond 2^53 a float is no longer the number that was written.
        #[allow(clippy::cast_possible_truncation)]
        Node::Float(number) if number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0 => Ok(*number as i64),
        Node::Text(text) => parse_int(text),
        Node::Null => Err(ConvertError::Nil),
        _ => Err(ConvertError::Type("int")),
    }
}

fn float(node: &Node) -> Result<f64, ConvertError> {
    match node {
        Node::Float(number) => Ok(*number),
        // The reference converts likewise.
        #[allow(clippy::cast_precision_loss)]
        Node::Int(number) => Ok(*number as f64),
        Node::Text(text) => parse_float(text),
        Node::Null => Err(ConvertError::Nil),
        _ => Err(ConvertError::Type("float64")),
    }
}

fn boolean(node: &Node) -> Result<bool, ConvertError> {
    match node {
        Node::Bool(flag) => Ok(*flag),
        Node::Text(text) => parse_bool(text),
        Node::Null => Err(ConvertError::Nil),
        _ => Err(ConvertError::Type("bool")),
    }
}

fn list(node: &Node) -> Result<Vec<String>, ConvertError> {
    match node {
        Node::Null => Ok(Vec::new()),
        Node::List(items) => items.iter().map(|item| member(&item.node, "string", text)).collect(),
        Node::Text(text) if text.starts_with('[') => list(&json(text)?),
        Node::Text(text) => Ok(vec![text.clone()]),
        _ => Err(ConvertError::Type("[]string")),
    }
}

fn map(node: &Node) -> Result<Vec<(String, String)>, ConvertError> {
    entries(node, "map[string]string", |value| member(value, "string", scalar))
}

fn costs(node: &Node) -> Result<Vec<(String, f64)>, ConvertError> {
    entries(node, "map[string]float64", |value| match value {
        Node::Text(_) => Err(ConvertError::Member { value: brief(value), expected: "float64" }),
        _ => member(value, "float64", float),
    })
}

fn entries<T>(
    node: &Node,
    expected: &'static str,
    convert: impl Fn(&Node) -> Result<T, ConvertError> + Copy,
) -> Result<Vec<(String, T)>, ConvertError> {
    match node {
        Node::Null => Ok(Vec::new()),
        Node::Map(map) => {
            map.iter().map(|Entry { key, value }| Ok((name(&key.node)?, convert(&value.node)?))).collect()
        }
        Node::Text(text) if text.starts_with('{') => match json(text)? {
            Node::Text(_) => Err(ConvertError::Type(expected)),
            parsed => entries(&parsed, expected, convert),
        },
        _ => Err(ConvertError::Type(expected)),
    }
}

/// A key of a map. Booleans are refused: whoever writes `N: 5` means a name.
fn name(node: &Node) -> Result<String, ConvertError> {
    match node {
        Node::Text(_) | Node::Int(_) => text(node),
        _ => Err(ConvertError::Key(brief(node))),
    }
}

fn rules(node: &Node) -> Result<Vec<RuleEntries>, ConvertError> {
    match node {
        Node::Null => Ok(Vec::new()),
        Node::List(items) => items.iter().map(|item| rule(&item.node)).collect(),
        Node::Text(text) if text.starts_with('[') => rules(&json(text)?),
        _ => Err(ConvertError::Type("[]netceptor.FirewallRuleData")),
    }
}

fn rule(node: &Node) -> Result<RuleEntries, ConvertError> {
    let Node::Map(map) = node else {
        return Err(ConvertError::Member { value: brief(node), expected: "netceptor.FirewallRuleData" });
    };
    Ok(map.iter().map(|Entry { key, value }| (brief(&key.node), value.as_text().map(str::to_owned))).collect())
}

/// Converts a member of a list or map, whose kind is told in other words than that of a parameter.
fn member<T>(
    node: &Node,
    expected: &'static str,
    convert: impl Fn(&Node) -> Result<T, ConvertError>,
) -> Result<T, ConvertError> {
    convert(node).map_err(|error| match error {
        ConvertError::Type(_) => ConvertError::Member { value: brief(node), expected },
        other => other,
    })
}

/// A node in a word, for error texts.
fn brief(node: &Node) -> String {
    match node {
        Node::List(_) => "[...]".to_owned(),
        Node::Map(_) => "map[...]".to_owned(),
        Node::Null => "<nil>".to_owned(),
        _ => scalar(node).unwrap_or_default(),
    }
}

/// Reads JSON, which is YAML.
fn json(text: &str) -> Result<Node, ConvertError> {
    let Value { node, .. } = yaml::parse(text).map_err(|error| ConvertError::Json(error.reason().to_owned()))?;
    Ok(node)
}

#[cfg(test)]
mod tests;
