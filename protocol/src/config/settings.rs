//! The daemon's own settings: the action `daemon`, overlaid by the environment.

use std::collections::HashMap;

use serde::Deserialize;

use super::error::{CheckError, Place};
use super::host::Host;
use super::item::Item;
use super::model::ControlLimits;

/// Beginning of the variables that win over the file.
const PREFIX: &str = "WORKNODE";

/// Settings: the name behind [`PREFIX`] in the environment, and the key in a file.
const SETTINGS: [(&str, &str); 2] = [("CONTROL_LINE_LIMIT", "controllinelimit"), ("MAX_CONNECTIONS", "maxconnections")];

/// Least longest command line in bytes; with less, plain commands would be refused.
const LEAST_LINE: usize = 1024;

#[derive(Deserialize)]
#[serde(default)]
struct Settings {
    control_line_limit: usize,
    max_connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let ControlLimits { command_line_bytes, connections } = ControlLimits::default();
        Self { control_line_limit: command_line_bytes, max_connections: connections }
    }
}

/// The limits by file and environment.
pub(super) fn limits(item: Option<&Item>, host: &dyn Host) -> Result<ControlLimits, (Place, CheckError)> {
    let mut variables = HashMap::new();
    let mut layers = ::config::Config::builder();
    for (name, key) in SETTINGS {
        if let Some(number) = item.and_then(|item| item.int(key)) {
            layers = layers.set_default(name.to_lowercase(), number).map_err(|error| refuse(item, None, &error))?;
        }
        let variable = format!("{PREFIX}_{name}");
        if let Some(value) = host.variable(&variable) {
            variables.insert(variable, value);
        }
    }
    let overlaid = !variables.is_empty();
    let environment =
        ::config::Environment::with_prefix(PREFIX).prefix_separator("_").try_parsing(true).source(Some(variables));
    let settings: Settings = layers
        .add_source(environment)
        .build()
        .and_then(::config::Config::try_deserialize)
        .map_err(|error| refuse(item, overlaid.then_some(Place::Environment), &error))?;
    check(&settings, item)
}

fn check(settings: &Settings, item: Option<&Item>) -> Result<ControlLimits, (Place, CheckError)> {
    let checks = [
        ("controllinelimit", settings.control_line_limit, LEAST_LINE),
        ("maxconnections", settings.max_connections, 1),
    ];
    for (key, value, least) in checks {
        if value < least {
            let place = item.map_or(Place::Environment, |item| item.place_of(key));
            return Err((place, CheckError::Limit { key, least }));
        }
    }
    Ok(ControlLimits { command_line_bytes: settings.control_line_limit, connections: settings.max_connections })
}

fn refuse(item: Option<&Item>, place: Option<Place>, error: &::config::ConfigError) -> (Place, CheckError) {
    let place = place.or_else(|| item.map(|item| item.place.clone())).unwrap_or(Place::Environment);
    (place, CheckError::Setting(error.to_string()))
}
