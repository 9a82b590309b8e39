//! The checks of a real API server that a client is likely to run into.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::refusal::Mistake;
use crate::resource::{Resource, text_at};

/// All annotations together, in bytes.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED_NAME: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

/// Everything that is wrong with a new object.
pub(super) fn mistakes(resource: Resource, object: &Value) -> Vec<Mistake> {
    let mut found = Vec::new();
    metadata(resource, object, &mut found);
    if resource == Resource::Pods {
        pod(object, &mut found);
    }
    found
}

fn metadata(resource: Resource, object: &Value, found: &mut Vec<Mistake>) {
    let name = text_at(object, "metadata.name");
    let is_label = resource == Resource::Namespaces;
    let (valid, rule) = if is_label { (is_rfc1123_label(name), LABEL) } else { (is_subdomain(name), SUBDOMAIN) };
    if name.is_empty() {
        found.push(required("metadata.name", "name or generateName is required"));
    } else if !valid {
        found.push(invalid("metadata.name", name, rule));
    }
    for (key, value) in entries(object.pointer("/metadata/labels")) {
        let plain = key.rsplit('/').next().unwrap_or("");
        if !is_label_value(plain) || plain.is_empty() {
            found.push(invalid("metadata.labels", key, QUALIFIED_NAME));
        }
        let value = value.as_str().unwrap_or("");
        if value.len() > 63 {
            found.push(invalid("metadata.labels", value, "must be no more than 63 bytes"));
        } else if !is_label_value(value) {
            found.push(invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    let annotations = entries(object.pointer("/metadata/annotations"));
    let size: usize = annotations.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > ANNOTATIONS_LIMIT {
        found.push(Mistake {
            reason: "FieldValueTooLong",
            field: "metadata.annotations".to_owned(),
            message: format!("Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"),
        });
    }
}

fn pod(object: &Value, found: &mut Vec<Mistake>) {
    let mut names = BTreeSet::new();
    if list(object, "initContainers").is_empty() && list(object, "containers").is_empty() {
        found.push(required("spec.containers", ""));
    }
    for kind in ["initContainers", "containers"] {
        for (index, container) in list(object, kind).iter().enumerate() {
            self::container(&format!("spec.{kind}[{index}]"), container, &mut names, found);
        }
    }
    let policy = text_at(object, "spec.restartPolicy");
    if !["Always", "Never", "OnFailure"].contains(&policy) {
        found.push(Mistake {
            reason: "FieldValueNotSupported",
            field: "spec.restartPolicy".to_owned(),
            message: format!("Unsupported value: \"{policy}\": supported values: \"Always\", \"OnFailure\", \"Never\""),
        });
    }
    if let Some(seconds) = object.pointer("/spec/activeDeadlineSeconds").and_then(Value::as_i64)
        && seconds < 1
    {
        found.push(Mistake {
            reason: "FieldValueInvalid",
            field: "spec.activeDeadlineSeconds".to_owned(),
            message: format!("Invalid value: {seconds}: must be between 1 and 2147483647, inclusive"),
        });
    }
}

fn container<'a>(path: &str, container: &'a Value, names: &mut BTreeSet<&'a str>, found: &mut Vec<Mistake>) {
    let name = text_at(container, "name");
    if name.is_empty() {
        found.push(required(&format!("{path}.name"), ""));
    } else if !is_rfc1123_label(name) {
        found.push(invalid(&format!("{path}.name"), name, LABEL));
    } else if !names.insert(name) {
        found.push(Mistake {
            reason: "FieldValueDuplicate",
            field: format!("{path}.name"),
            message: format!("Duplicate value: \"{name}\""),
        });
    }
    let image = text_at(container, "image");
    if image.is_empty() {
        found.push(required(&format!("{path}.image"), ""));
    } else if image.trim() != image {
        found.push(invalid(&format!("{path}.image"), image, "must not have leading or trailing whitespace"));
    }
}

fn required(field: &str, hint: &str) -> Mistake {
    let message = if hint.is_empty() { "Required value".to_owned() } else { format!("Required value: {hint}") };
    Mistake { reason: "FieldValueRequired", field: field.to_owned(), message }
}

fn invalid(field: &str, value: &str, rule: &str) -> Mistake {
    Mistake {
        reason: "FieldValueInvalid",
        field: field.to_owned(),
        message: format!("Invalid value: {value:?}: {rule}"),
    }
}

fn entries(map: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    map.and_then(Value::as_object).into_iter().flatten()
}

fn list<'a>(object: &'a Value, kind: &str) -> &'a [Value] {
    object.pointer(&format!("/spec/{kind}")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(|part| is_label_of(part, |c| c.is_ascii_lowercase() || c.is_ascii_digit()))
}

fn is_rfc1123_label(name: &str) -> bool {
    name.len() <= 63 && is_label_of(name, |c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

fn is_label_of(part: &str, letter: fn(char) -> bool) -> bool {
    part.starts_with(letter) && part.ends_with(letter) && part.chars().all(|c| letter(c) || c == '-')
}

fn is_label_value(value: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric();
    value.is_empty()
        || (value.starts_with(letter)
            && value.ends_with(letter)
            && value.chars().all(|c| letter(c) || "-_.".contains(c)))
}
