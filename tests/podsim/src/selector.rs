//! `labelSelector` and `fieldSelector`.

use serde_json::Value;

use crate::resource::{Resource, text_at};

/// Which objects a list or watch wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    labels: Vec<LabelTerm>,
    fields: Vec<FieldTerm>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct LabelTerm {
    key: String,
    test: LabelTest,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum LabelTest {
    Present,
    Absent,
    In(Vec<String>),
    /// True also where the label is absent.
    NotIn(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldTerm {
    path: String,
    value: String,
    equal: bool,
}

impl Selector {
    /// `Err` holds the message for a 400.
    pub(crate) fn parse(resource: Resource, labels: &str, fields: &str) -> Result<Self, String> {
        let labels = split_outside_parentheses(labels).into_iter().map(LabelTerm::parse).collect::<Result<_, _>>()?;
        let fields = fields
            .split(',')
            .filter(|term| !term.is_empty())
            .map(|term| FieldTerm::parse(resource, term))
            .collect::<Result<_, _>>()?;
        Ok(Self { labels, fields })
    }

    /// The one name that can match, if the selector gives it.
    pub(crate) fn single_name(&self) -> Option<&str> {
        let term = self.fields.iter().find(|term| term.path == "metadata.name" && term.equal)?;
        Some(&term.value)
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        let label = |key: &str| labels.and_then(|all| all.get(key)).and_then(Value::as_str);
        self.fields.iter().all(|term| (text_at(object, &term.path) == term.value) == term.equal)
            && self.labels.iter().all(|term| term.test.passes(label(&term.key)))
    }
}

impl LabelTerm {
    fn parse(term: &str) -> Result<Self, String> {
        let term = term.trim();
        let (key, test) = if let Some((key, rest)) = term.split_once(" notin ") {
            (key, LabelTest::NotIn(set(rest)?))
        } else if let Some((key, rest)) = term.split_once(" in ") {
            (key, LabelTest::In(set(rest)?))
        } else if let Some((key, value)) = term.split_once("!=") {
            (key, LabelTest::NotIn(vec![value.trim().to_owned()]))
        } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (key, LabelTest::In(vec![value.trim().to_owned()]))
        } else if let Some(key) = term.strip_prefix('!') {
            (key, LabelTest::Absent)
        } else {
            (term, LabelTest::Present)
        };
        let key = key.trim();
        if let Some((_, found)) = key.split_once(char::is_whitespace) {
            let found = found.trim();
            return Err(format!(
                "unable to parse requirement: found '{found}', expected: in, notin, =, ==, !=, gt, lt"
            ));
        }
        let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._/".contains(c));
        match plain {
            true => Ok(Self { key: key.to_owned(), test }),
            false => Err(format!("unable to parse requirement: <nil>: Invalid value: \"{key}\"")),
        }
    }
}

impl LabelTest {
    fn passes(&self, value: Option<&str>) -> bool {
        match self {
            Self::Present => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Self::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
        }
    }
}

impl FieldTerm {
    fn parse(resource: Resource, term: &str) -> Result<Self, String> {
        let (path, value, equal) = if let Some((path, value)) = term.split_once("!=") {
            (path, value, false)
        } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
            (path, value, true)
        } else {
            return Err(format!("invalid selector: '{term}'; can't understand '{term}'"));
        };
        if !resource.selectable().contains(&path) {
            return Err(format!("field label not supported: {path}"));
        }
        Ok(Self { path: path.to_owned(), value: value.to_owned(), equal })
    }
}

/// `(a, b)` → `a`, `b`.
fn set(text: &str) -> Result<Vec<String>, String> {
    let inner = text.trim().strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let inner = inner.ok_or_else(|| format!("unable to parse requirement: found '{text}' expected: '('"))?;
    Ok(inner.split(',').map(|value| value.trim().to_owned()).collect())
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
    .filter(|term| !term.trim().is_empty())
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({"metadata": {"name": "a", "labels": {"app": "web", "tier": "front"}}, "status": {"phase": "Running"}})
    }

    #[test]
    fn label_terms() {
        for (text, expected) in [
            ("", true),
            ("app=web", true),
            ("app==web,tier=front", true),
            ("app=web,tier=back", false),
            ("app!=web", false),
            ("other!=web", true),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("app in (db, web)", true),
            ("app notin (db, web)", false),
            ("other notin (db),tier in (front)", true),
        ] {
            let selector = Selector::parse(Resource::Pods, text, "").unwrap();
            assert_eq!(selector.matches(&pod()), expected, "{text}");
        }
    }

    #[test]
    fn field_terms() {
        for (text, expected) in [
            ("metadata.name=a", true),
            ("metadata.name=b", false),
            ("status.phase!=Running", false),
            ("metadata.name==a,status.phase=Running", true),
        ] {
            let selector = Selector::parse(Resource::Pods, "", text).unwrap();
            assert_eq!(selector.matches(&pod()), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        assert!(Selector::parse(Resource::Pods, "", "spec.bogus=1").is_err());
        assert!(Selector::parse(Resource::Pods, "a b", "").is_err());
    }
}
