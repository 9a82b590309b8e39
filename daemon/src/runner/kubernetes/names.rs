//! Names and labels of the objects made in the cluster (work-types 2.5).

use rand::RngExt;

/// Key of the label that holds the node's id.
pub(crate) const NODE_LABEL: &str = "worknode/node";
/// Key of the label that holds the unit's id.
pub(crate) const UNIT_LABEL: &str = "worknode/unit";
/// Key of the label that holds the work type's name.
pub(crate) const WORK_TYPE_LABEL: &str = "worknode/worktype";

/// Longest label value.
const LABEL_LIMIT: usize = 63;
/// What the API server uses for its own suffixes: no vowels, nothing that looks like something else.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;
/// Longest name made from a prefix, as the API server does it: a pod's name becomes its host name.
const NAME_LIMIT: usize = 63;

/// A name of `prefix` and a random suffix: what the API server would make of a `generateName`, but chosen here, so that it
/// is known, and on disk, before the pod is asked for (kubernetes-streams 7).
pub(crate) fn with_suffix(prefix: &str) -> String {
    let mut rng = rand::rng();
    let mut name: String = prefix.chars().take(NAME_LIMIT - SUFFIX_LENGTH).collect();
    for _ in 0..SUFFIX_LENGTH {
        let index = rng.random_range(0..SUFFIX_ALPHABET.len());
        name.extend(SUFFIX_ALPHABET.get(index).copied().map(char::from));
    }
    name
}

/// `value` as a label value: other characters than `A-Za-z0-9._-` become `-`, the ends are alphanumeric, 63 characters at
/// most. One that had to be cut ends with `-` and 8 hexadecimal digits of the SHA-256 of the original, so that two long
/// ones stay different.
pub(crate) fn label_value(value: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let clean: String = value.chars().map(|c| if allowed(c) { c } else { '-' }).collect();
    let clean = clean.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if clean.len() <= LABEL_LIMIT {
        return clean.to_owned();
    }
    let digest = digest(value);
    let kept = clean.get(..LABEL_LIMIT - 1 - digest.len()).unwrap_or_default();
    format!("{kept}-{digest}")
}

/// The first 8 hexadecimal digits of the SHA-256.
fn digest(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn label_values_are_sanitised() {
        for (value, label) in [("awx-1", "awx-1"), ("Node 1/ä", "Node-1"), ("--a--", "a"), ("_.-", ""), ("a:b", "a-b")]
        {
            assert_eq!(label_value(value), label);
        }
        let long = "x".repeat(100);
        let label = label_value(&long);
        assert_eq!(label.len(), 63);
        assert_ne!(label, label_value(&format!("{long}y")));
        assert_eq!(label_value(&"x".repeat(63)), "x".repeat(63));
    }

    #[test]
    fn names_have_a_suffix_of_five() {
        let name = with_suffix("kubeit-");
        assert_eq!((name.len(), name.starts_with("kubeit-")), (12, true));
        assert_ne!(name, with_suffix("kubeit-"));
        assert_eq!(with_suffix(&"x".repeat(300)).len(), 63);
    }

    proptest! {
        #[test]
        fn every_label_value_is_valid(value in any::<String>()) {
            let label = label_value(&value);
            prop_assert!(label.len() <= 63);
            prop_assert!(label.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)));
            prop_assert!(label.is_empty() || label.starts_with(|c: char| c.is_ascii_alphanumeric()));
            prop_assert!(label.is_empty() || label.ends_with(|c: char| c.is_ascii_alphanumeric()));
        }
    }
}
