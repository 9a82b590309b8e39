//! Whether an image can be had.

use crate::options::Image;

/// What looking for an image came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup<'a> {
    Found(&'a Image),
    /// `InvalidImageName`, with its message.
    Invalid(String),
    /// `ErrImagePull`, with its message.
    Missing(String),
    /// `ErrImageNeverPull`, with its message.
    NeverPull(String),
}

pub(super) fn look_up<'a>(images: &'a [Image], name: &str, pull_policy: Option<&str>) -> Lookup<'a> {
    if !valid(name) {
        return Lookup::Invalid(format!(
            "Failed to apply default image tag \"{name}\": couldn't parse image name \"{name}\": invalid reference format"
        ));
    }
    match images.iter().find(|image| image.name == name) {
        Some(image) => Lookup::Found(image),
        None if pull_policy == Some("Never") => {
            Lookup::NeverPull(format!("Container image \"{name}\" is not present with pull policy of Never"))
        }
        None => {
            let full = full_name(name);
            Lookup::Missing(format!(
                "rpc error: code = NotFound desc = failed to pull and unpack image \"{full}\": failed to resolve reference \"{full}\": {full}: not found"
            ))
        }
    }
}

/// `busybox` → `docker.io/library/busybox:latest`.
pub(super) fn full_name(name: &str) -> String {
    let (repository, _) = split_tag(name);
    let tagged = if repository.len() == name.len() { format!("{name}:latest") } else { name.to_owned() };
    let first = name.split('/').next().unwrap_or("");
    if !name.contains('/') {
        format!("docker.io/library/{tagged}")
    } else if first.contains(['.', ':']) || first == "localhost" {
        tagged
    } else {
        format!("docker.io/{tagged}")
    }
}

/// The reference grammar of container registries: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`, path in lower case.
fn valid(name: &str) -> bool {
    let (repository, tag) = split_tag(name);
    let tag_is_valid = tag.is_none_or(|tag| {
        (1..=128).contains(&tag.len())
            && !tag.starts_with(['.', '-'])
            && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.-:@".contains(c))
    });
    let mut parts = repository.split('/').peekable();
    let first = parts.peek().copied().unwrap_or("");
    if repository.contains('/') && (first.contains(['.', ':']) || first == "localhost") {
        parts.next();
    }
    tag_is_valid && parts.all(valid_path_part)
}

fn valid_path_part(part: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    part.starts_with(alphanumeric)
        && part.ends_with(alphanumeric)
        && part.chars().all(|c| alphanumeric(c) || "._-".contains(c))
}

/// Repository, and what stands behind it: a tag, a digest or both.
fn split_tag(name: &str) -> (&str, Option<&str>) {
    let path_start = name.rfind('/').map_or(0, |slash| slash + 1);
    let tag = name.get(path_start..).and_then(|last| last.find([':', '@']));
    match tag.and_then(|at| name.split_at_checked(path_start + at)) {
        Some((repository, tag)) => (repository, tag.get(1..)),
        None => (name, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in ["busybox", "busybox:1", "a/b:x", "quay.io/a/b", "localhost:5000/x:1", "a@sha256:0123"] {
            assert!(valid(name), "{name}");
        }
        for name in ["", "Busybox", "busybox:", "a//b", "bad name", "busybox:-x", "UPPER/x", "-a"] {
            assert!(!valid(name), "{name}");
        }
    }

    #[test]
    fn full_names() {
        for (name, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("busybox:1", "docker.io/library/busybox:1"),
            ("test/x", "docker.io/test/x:latest"),
            ("127.0.0.1:5000/x:1", "127.0.0.1:5000/x:1"),
        ] {
            assert_eq!(full_name(name), full);
        }
    }
}
