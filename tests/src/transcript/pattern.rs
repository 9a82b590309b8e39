//! Lines with places: text in which `<...>` stands for what differs from run to run.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

/// What the places of a scenario have been filled with so far.
pub(crate) type Names = BTreeMap<String, String>;

/// What a place takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// `unit`: eight characters of `0-9a-zA-Z` (control-protocol 4.1).
    Unit,
    /// `number`: a decimal number without sign.
    Number,
    /// `duration`: a Go duration text such as `321.399µs`.
    Duration,
    /// `time`: an RFC 3339 time.
    Time,
    /// `text`: anything, nothing included.
    Text,
}

impl Class {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "unit" => Self::Unit,
            "number" => Self::Number,
            "duration" => Self::Duration,
            "time" => Self::Time,
            "text" => Self::Text,
            _ => return None,
        })
    }

    fn accepts(self, text: &str) -> bool {
        let all = |allowed: fn(char) -> bool| !text.is_empty() && text.chars().all(allowed);
        match self {
            Self::Unit => text.len() == 8 && all(|c| c.is_ascii_alphanumeric()),
            Self::Number => all(|c| c.is_ascii_digit()),
            Self::Duration => {
                all(|c| c.is_ascii_digit() || ".µnmsh".contains(c))
                    && text.starts_with(|c: char| c.is_ascii_digit())
                    && text.ends_with('s')
            }
            Self::Time => all(|c| c.is_ascii_digit() || "-:.TZ+".contains(c)) && text.len() >= 20 && text.contains('T'),
            Self::Text => true,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// Takes a text of the class, and calls it by the name if one is given.
    Place {
        class: Class,
        name: Option<String>,
    },
    /// Stands for what the name was given to.
    Known(String),
}

/// A line with places.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('<') {
            let (inside, behind) = after.split_once('>').with_context(|| format!("an open < in {text:?}"))?;
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            parts.push(place(inside)?);
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The line with every name put in place.
    pub(crate) fn filled(&self, names: &Names) -> Result<String> {
        let mut line = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => line.push_str(text),
                Part::Known(name) => line.push_str(known(name, names)?),
                Part::Place { class, .. } => {
                    bail!("nothing is known to send for a place of class {class:?}")
                }
            }
        }
        Ok(line)
    }

    /// Compares a line, and remembers what its named places held.
    pub(crate) fn take(&self, line: &str, names: &mut Names) -> Result<()> {
        let mut taken = names.clone();
        ensure!(matches(&self.parts, line, &mut taken)?, "the line is not as expected");
        *names = taken;
        Ok(())
    }
}

fn place(inside: &str) -> Result<Part> {
    if let Some((name, class)) = inside.split_once('=') {
        let class = Class::named(class).with_context(|| format!("no class {class:?}"))?;
        return Ok(Part::Place { class, name: Some(name.to_owned()) });
    }
    Ok(match Class::named(inside) {
        Some(class) => Part::Place { class, name: None },
        None => Part::Known(inside.to_owned()),
    })
}

fn known<'a>(name: &str, names: &'a Names) -> Result<&'a str> {
    names.get(name).map(String::as_str).with_context(|| format!("<{name}> has not been given a value"))
}

/// Whether the parts make up the whole line; places take as much as they can.
fn matches(parts: &[Part], line: &str, names: &mut Names) -> Result<bool> {
    let Some((first, later)) = parts.split_first() else {
        return Ok(line.is_empty());
    };
    let rest = match first {
        Part::Literal(text) => line.strip_prefix(text.as_str()),
        Part::Known(name) => line.strip_prefix(known(name, names)?),
        Part::Place { class, name } => {
            let ends = line.char_indices().map(|(at, _)| at).chain([line.len()]);
            for (text, rest) in ends.rev().filter_map(|at| line.split_at_checked(at)) {
                if !class.accepts(text) {
                    continue;
                }
                let mut tried = names.clone();
                if let Some(name) = name {
                    tried.insert(name.clone(), text.to_owned());
                }
                if matches(later, rest, &mut tried)? {
                    *names = tried;
                    return Ok(true);
                }
            }
            None
        }
    };
    rest.map_or(Ok(false), |rest| matches(later, rest, names))
}

/// Bytes as a text for error messages.
pub(super) fn escaped(bytes: &[u8]) -> String {
    const SHOWN: usize = 400;
    let shown = bytes.get(..SHOWN).unwrap_or(bytes);
    let more = if bytes.len() > SHOWN { format!(" and {} bytes more", bytes.len() - SHOWN) } else { String::new() };
    format!("{:?}{more}", String::from_utf8_lossy(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pattern: &str, line: &str) -> Option<Names> {
        let mut names = Names::new();
        Pattern::parse(pattern).unwrap().take(line, &mut names).ok().map(|()| names)
    }

    #[test]
    fn places_take_only_their_class() {
        assert!(taken("t <duration>.", "t 321.399µs.").is_some());
        assert!(taken("t <duration>.", "t soon.").is_none());
        assert!(taken("<number>", "").is_none());
        assert!(taken("a<text>", "a").is_some());
        assert!(taken("<unit>", "abc12XYZ").is_some());
        assert!(taken("<unit>", "abc12XY").is_none());
    }

    #[test]
    fn a_name_is_kept_and_put_in_place() {
        let names = taken("unit <a=unit> and <a>", "unit abcd1234 and abcd1234").unwrap();
        assert_eq!(Pattern::parse("work status <a>").unwrap().filled(&names).unwrap(), "work status abcd1234");
        assert!(taken("unit <a=unit> and <a>", "unit abcd1234 and abcd1235").is_none());
        assert!(Pattern::parse("<b>").unwrap().filled(&names).is_err());
    }

    #[test]
    fn the_whole_line_counts() {
        assert!(taken("abc", "abcd").is_none());
        assert!(taken("abc", "ab").is_none());
    }
}
