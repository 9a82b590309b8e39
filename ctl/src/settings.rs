//! What need not be typed each time: settings files and environment, laid over each other by the `config` crate.
//!
//! Lowest first: `/etc/worknode/ctl.toml`, `~/.config/worknode/ctl.toml` (or `$XDG_CONFIG_HOME/worknode/ctl.toml`), the
//! original client's `RECEPTORCTL_*` variables, `WORKNODE_CTL_*` variables. Options of the command line go above all.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::environment::Environment;
use crate::failure::Failure;

/// Settings of all users of the machine.
const SYSTEM_FILE: &str = "/etc/worknode/ctl.toml";

/// Keys, as in the files, with the variables that set them; the first that is set counts.
const VARIABLES: [(&str, &[&str]); 7] = [
    ("socket", &["WORKNODE_CTL_SOCKET", "RECEPTORCTL_SOCKET"]),
    ("config", &["WORKNODE_CTL_CONFIG", "RECEPTORCTL_CONFIG"]),
    ("tls_client", &["WORKNODE_CTL_TLS_CLIENT", "RECEPTORCTL_TLSCLIENT"]),
    ("rootcas", &["WORKNODE_CTL_ROOTCAS"]),
    ("key", &["WORKNODE_CTL_KEY"]),
    ("cert", &["WORKNODE_CTL_CERT"]),
    ("insecureskipverify", &["WORKNODE_CTL_INSECURESKIPVERIFY"]),
];

/// The keys of a settings file. All may be left out; one that is not here is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Control socket, as `--socket`.
    pub(crate) socket: Option<String>,
    /// Configuration file of a node, as `--config`.
    pub(crate) config: Option<String>,
    /// Name in that file, as `--tls-client`.
    pub(crate) tls_client: Option<String>,
    /// As `--rootcas`.
    pub(crate) rootcas: Option<String>,
    /// As `--key`.
    pub(crate) key: Option<String>,
    /// As `--cert`.
    pub(crate) cert: Option<String>,
    /// As `--insecureskipverify`.
    pub(crate) insecureskipverify: Option<bool>,
}

impl Settings {
    /// Reads files and variables.
    ///
    /// # Errors
    /// If a file exists and cannot be read, is not TOML, or holds a key or value that is none of ours.
    pub(crate) fn load(environment: &Environment) -> Result<Self, Failure> {
        let files = [Some(PathBuf::from(SYSTEM_FILE)), user_file(environment)];
        Self::layered(files.iter().flatten().map(PathBuf::as_path), environment)
    }

    fn layered<'f>(files: impl Iterator<Item = &'f Path>, environment: &Environment) -> Result<Self, Failure> {
        let mut layers = config::Config::builder();
        for file in files {
            let Some(text) = read(file)? else { continue };
            // Each file is checked alone first, so that a mistake is told with its file.
            let layer = || config::File::from_str(&text, config::FileFormat::Toml);
            let alone = config::Config::builder().add_source(layer()).build();
            alone
                .and_then(config::Config::try_deserialize::<Self>)
                .map_err(|error| Failure::Settings { file: file.to_owned(), error: error.to_string() })?;
            layers = layers.add_source(layer());
        }
        let unreadable = |error: config::ConfigError| Failure::Environment(error.to_string());
        for (key, variables) in VARIABLES {
            let value = variables.iter().find_map(|name| environment.variable(name));
            layers = layers.set_override_option(key, value).map_err(unreadable)?;
        }
        layers.build().and_then(config::Config::try_deserialize).map_err(unreadable)
    }
}

fn user_file(environment: &Environment) -> Option<PathBuf> {
    let directory = environment
        .variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| environment.variable("HOME").map(|home| Path::new(home).join(".config")))?;
    Some(directory.join("worknode/ctl.toml"))
}

fn read(file: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::Settings { file: file.to_owned(), error: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Environment { variables, ..Environment::default() }
    }

    fn layered(files: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let files: Vec<_> = files
            .iter()
            .enumerate()
            .map(|(number, text)| {
                let file = directory.path().join(format!("{number}.toml"));
                std::fs::write(&file, text).unwrap();
                file
            })
            .collect();
        Settings::layered(files.iter().map(PathBuf::as_path), &environment(variables))
    }

    #[test]
    fn later_layers_win_key_by_key() {
        let files = ["socket = 'a'\nkey = 'k'", "socket = 'b'\ninsecureskipverify = true"];
        let settings = layered(&files, &[]).unwrap();
        assert_eq!((settings.socket.as_deref(), settings.key.as_deref()), (Some("b"), Some("k")));
        assert_eq!(settings.insecureskipverify, Some(true));

        let receptor = [("RECEPTORCTL_SOCKET", "r"), ("RECEPTORCTL_TLSCLIENT", "t"), ("WORKNODE_CTL_SOCKET", "")];
        let settings = layered(&files, &receptor).unwrap();
        assert_eq!((settings.socket.as_deref(), settings.tls_client.as_deref()), (Some("r"), Some("t")));

        let ours = [("RECEPTORCTL_SOCKET", "r"), ("WORKNODE_CTL_SOCKET", "w")];
        assert_eq!(layered(&files, &ours).unwrap().socket.as_deref(), Some("w"));
        let truth = [("WORKNODE_CTL_INSECURESKIPVERIFY", "false"), ("WORKNODE_CTL_NEW", "x")];
        assert_eq!(layered(&files, &truth).unwrap().insecureskipverify, Some(false));
    }

    #[test]
    fn mistakes_are_told_with_their_file() {
        for text in ["sockets = 'a'", "socket = ['a']", "socket = ", "insecureskipverify = 'maybe'"] {
            let failure = layered(&["socket = 'a'", text], &[]).unwrap_err().to_string();
            assert!(failure.contains("1.toml"), "{text}: {failure}");
        }
        assert!(layered(&[], &[("WORKNODE_CTL_INSECURESKIPVERIFY", "maybe")]).is_err());
        assert_eq!(layered(&[], &[]).unwrap(), Settings::default());
    }

    #[test]
    fn the_user_file_is_looked_for_where_xdg_says() {
        let at_home = user_file(&environment(&[("HOME", "/home/a")]));
        assert_eq!(at_home, Some(PathBuf::from("/home/a/.config/worknode/ctl.toml")));
        let elsewhere = user_file(&environment(&[("HOME", "/home/a"), ("XDG_CONFIG_HOME", "/x")]));
        assert_eq!(elsewhere, Some(PathBuf::from("/x/worknode/ctl.toml")));
        assert_eq!(user_file(&environment(&[])), None);
    }
}
