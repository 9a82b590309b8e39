//! From a container's spec to what is run: command and environment, as the kubelet puts them together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use serde_json::Value;

use super::process::{MARK, Program};
use crate::options::Image;
use crate::resource::{Resource, text_at};
use crate::store::{Key, Store};

/// Of the busybox image, and of most others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything a program is made from.
pub(super) struct Source<'a> {
    pub(super) store: &'a Store,
    pub(super) pod: &'a Pod,
    pub(super) container: &'a Container,
    pub(super) image: &'a Image,
    /// Scratch directory of this container.
    pub(super) directory: &'a Path,
    /// Where the pod's `emptyDir` volumes are, by their names.
    pub(super) volumes: &'a Path,
    pub(super) mark: &'a str,
}

impl Source<'_> {
    /// `Err` is the message of a `CreateContainerConfigError`.
    pub(super) fn program(&self) -> Result<Program, String> {
        let env = self.environment()?;
        let own = self.container;
        let command = own.command.as_deref().unwrap_or_default();
        let arguments = own.args.as_deref().unwrap_or_default();
        let words: Vec<String> = command.iter().chain(arguments).map(|word| expand(word, &env)).collect();
        let words = if words.is_empty() { self.image.command.clone() } else { words };
        let mounts = self.mounts();
        for (_, directory) in &mounts {
            std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
        }
        let words = words.into_iter().map(|word| moved(&mounts, word));
        let mut all: Vec<(OsString, OsString)> = vec![
            ("PATH".into(), PATH.into()),
            ("HOSTNAME".into(), self.pod_field("metadata.name")?.into()),
            ("HOME".into(), "/root".into()),
            (MARK.into(), self.mark.into()),
        ];
        all.extend(env.into_iter().map(|(name, value)| (name.into(), value.into())));
        Ok(Program {
            argv: words.map(OsString::from).collect(),
            env: all,
            directory: self.working_directory(),
            stdin: own.stdin.unwrap_or(false),
        })
    }

    /// The container's own `workingDir` where this machine has it; else the scratch directory.
    fn working_directory(&self) -> PathBuf {
        let wanted = self.container.working_dir.as_deref().map(PathBuf::from);
        wanted.filter(|path| path.is_absolute() && path.is_dir()).unwrap_or_else(|| self.directory.to_owned())
    }

    /// The `emptyDir` volumes of the container: where it sees them, and where they are.
    fn mounts(&self) -> Vec<(String, PathBuf)> {
        let volumes = self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let empty: Vec<&str> =
            volumes.filter(|volume| volume.empty_dir.is_some()).map(|volume| volume.name.as_str()).collect();
        let mounts = self.container.volume_mounts.iter().flatten();
        let of_empty = mounts.filter(|mount| empty.contains(&mount.name.as_str()));
        of_empty.map(|mount| (mount.mount_path.clone(), self.volumes.join(&mount.name))).collect()
    }

    fn environment(&self) -> Result<BTreeMap<String, String>, String> {
        let mut env = BTreeMap::new();
        for source in self.container.env_from.iter().flatten() {
            let prefix = source.prefix.as_deref().unwrap_or("");
            if let Some(secret) = &source.secret_ref {
                let data = self.data(Resource::Secrets, &secret.name, secret.optional)?;
                env.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
            }
            if let Some(map) = &source.config_map_ref {
                let data = self.data(Resource::ConfigMaps, &map.name, map.optional)?;
                env.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
            }
        }
        for variable in self.container.env.iter().flatten() {
            if let Some(value) = self.value_of(variable, &env)? {
                env.insert(variable.name.clone(), value);
            }
        }
        Ok(env)
    }

    /// `None`: an optional reference that leads nowhere.
    fn value_of(&self, variable: &EnvVar, env: &BTreeMap<String, String>) -> Result<Option<String>, String> {
        let Some(from) = &variable.value_from else {
            return Ok(Some(expand(variable.value.as_deref().unwrap_or(""), env)));
        };
        if let Some(field) = &from.field_ref {
            return self.pod_field(&field.field_path).map(Some);
        }
        let (resource, name, key, optional) = if let Some(secret) = &from.secret_key_ref {
            (Resource::Secrets, &secret.name, &secret.key, secret.optional)
        } else if let Some(map) = &from.config_map_key_ref {
            (Resource::ConfigMaps, &map.name, &map.key, map.optional)
        } else {
            return Ok(Some(String::new()));
        };
        let mut data = self.data(resource, name, optional)?;
        match data.remove(key) {
            None if optional != Some(true) => {
                let namespace = self.namespace();
                Err(format!("couldn't find key {key} in {} {namespace}/{name}", resource.kind()))
            }
            value => Ok(value),
        }
    }

    fn data(&self, resource: Resource, name: &str, optional: Option<bool>) -> Result<BTreeMap<String, String>, String> {
        match self.store.get(&Key::new(resource, self.namespace(), name)) {
            Some(object) => Ok(decode_data(resource, &object.value)),
            None if optional == Some(true) => Ok(BTreeMap::new()),
            None => Err(format!("{} \"{name}\" not found", resource.plural().trim_end_matches('s'))),
        }
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }

    fn pod_field(&self, path: &str) -> Result<String, String> {
        let pod = serde_json::to_value(self.pod).map_err(|error| error.to_string())?;
        let quoted = path.strip_suffix("']").and_then(|path| path.split_once("['"));
        Ok(match quoted {
            Some((map, key)) => {
                let labels = map.split('.').try_fold(&pod, |at, key| at.get(key));
                labels.and_then(|labels| labels.get(key)).and_then(Value::as_str).unwrap_or("").to_owned()
            }
            None => text_at(&pod, path).to_owned(),
        })
    }
}

/// A process sees this machine's files and no mounts: the words of its command name the directories themselves.
fn moved(mounts: &[(String, PathBuf)], word: String) -> String {
    mounts.iter().fold(word, |word, (mount, directory)| word.replace(mount.as_str(), &directory.to_string_lossy()))
}

/// The entries of a Secret (base64) or a ConfigMap, as text.
fn decode_data(resource: Resource, object: &Value) -> BTreeMap<String, String> {
    let entries = object.get("data").and_then(Value::as_object).into_iter().flatten();
    let decoded = entries.filter_map(|(key, value)| {
        let text = value.as_str()?;
        let text = match resource {
            Resource::Secrets => String::from_utf8_lossy(&STANDARD.decode(text).ok()?).into_owned(),
            _ => text.to_owned(),
        };
        Some((key.clone(), text))
    });
    decoded.collect()
}

/// Replaces `$(NAME)` where NAME is known; `$$` stands for one `$`.
fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let reference = after.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((value, after)) = reference.and_then(|(name, after)| Some((env.get(name)?, after))) {
            out.push_str(value);
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_expanded_as_the_kubelet_does() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("$(A)", "1"),
            ("x$(A)y$(A)", "x1y1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(B)", "$(B)"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
        ] {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }
}
