//! What can be wrong with a configuration: the texts of start-up and reload, all of them, in one place.
//!
//! The daemon prints the first problem in receptor's order and words (`Error: ...`, control-protocol 1.2 to 1.4); the
//! check mode prints all of them, each with its place and what would be right.

mod allow;
mod check;
mod convert;
mod load;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::yaml::Position;

pub use allow::AllowFault;
pub use check::{CheckError, FirewallFault, TlsFault, ValueFault};
pub use convert::{ConvertError, NumberFault};
pub use load::LoadError;

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// When receptor would have come upon it.
    pub phase: Phase,
    /// What it is.
    pub error: ConfigError,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigError {
    /// The text is not a configuration.
    Load(LoadError),
    /// The configuration cannot be used.
    Check(CheckError),
}

/// The steps of start-up, in order (control-protocol 1.3). The first error of the earliest step is the one told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Reading arguments and files.
    Load,
    /// Node and log level.
    Init,
    /// TLS settings, keys, Kubernetes settings, costs.
    Prepare,
    /// Listeners, peers, control services, work types.
    Run,
    /// Whether this version can do what is asked.
    Built,
}

/// Where something was configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File(Arc<Path>, Position),
    /// On the command line.
    CommandLine,
    /// In an environment variable.
    Environment,
    /// Nowhere: a default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, position) if position.line == 0 => write!(f, "{}", path.display()),
            Self::File(path, position) => write!(f, "{}:{position}", path.display()),
            Self::CommandLine => f.write_str("command line"),
            Self::Environment => f.write_str("environment"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Problem {
    /// A problem met while arguments and files were read.
    pub(super) fn load(place: Place, error: LoadError) -> Self {
        Self { place, phase: Phase::Load, error: ConfigError::Load(error) }
    }

    /// The text after `Error: ` at start-up.
    #[must_use]
    pub fn startup_text(&self) -> String {
        match (&self.error, &self.place) {
            (ConfigError::Load(error), Place::File(..)) if error.is_about_the_file() => {
                format!("error loading config file: {}", error.text(&self.place))
            }
            (ConfigError::Load(error), place) => error.text(place),
            (ConfigError::Check(error), _) => error.to_string(),
        }
    }

    /// What is wrong, without the words that only say that a file was being read.
    #[must_use]
    pub fn what(&self) -> String {
        match &self.error {
            ConfigError::Load(error) => error.text(&self.place),
            ConfigError::Check(error) => error.to_string(),
        }
    }

    /// What would be right, where that can be told.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match &self.error {
            ConfigError::Load(error) => error.hint(),
            ConfigError::Check(error) => error.hint(),
        }
    }
}
