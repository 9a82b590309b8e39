//! The node itself: identity, firewall, log level, tuning, limits.

use std::path::Path;
use std::time::Duration;

use crate::config::error::{CheckError, ConfigError, FirewallFault, Phase, Place, Problem};
use crate::config::host;
use crate::config::item::Item;
use crate::config::model::mesh::{FirewallAction, FirewallRule, Pattern};
use crate::config::model::{LogLevel, NodeSection, RateLimiter};
use crate::config::settings;
use crate::duration;
use crate::id::NodeId;

use super::Builder;
use super::reader::Reader;

/// Silence after which a mesh connection is lost, and the least that can be set.
const IDLE_TIMEOUT: Duration = Duration::from_secs(21);

impl Reader<'_, '_> {
    pub(super) fn node(&mut self) {
        let id = self.node_id();
        let firewall_rules = self.firewall_rules();
        let max_idle_connection_timeout = self.idle_timeout().unwrap_or(IDLE_TIMEOUT);
        let data_dir = Path::new(self.item.text("datadir")).to_path_buf();
        self.builder.parts.node =
            id.map(|id| NodeSection { id, data_dir, firewall_rules, max_idle_connection_timeout });
        if self.builder.tuning_in_node {
            self.tune_kubernetes();
        }
    }

    fn node_id(&mut self) -> Option<NodeId> {
        let id = match self.item.filled("id") {
            Some(id) => id,
            None => self.host_name()?,
        };
        NodeId::parse(&id).map_err(|error| self.refuse(Phase::Init, "id", error.into())).ok()
    }

    fn host_name(&mut self) -> Option<String> {
        let error = match self.builder.host.host_name() {
            Ok(name) => {
                let lower = name.to_lowercase();
                if lower != "localhost" && !lower.starts_with("localhost.") {
                    return Some(name);
                }
                CheckError::HostNameIsLocalhost
            }
            Err(error) => CheckError::NoHostName(host::reason(&error)),
        };
        self.refuse(Phase::Init, "id", error);
        None
    }

    fn idle_timeout(&mut self) -> Option<Duration> {
        let key = "maxidleconnectiontimeout";
        let text = self.item.filled(key)?;
        let error = match duration::parse_go(&text) {
            Ok(span) if span.to_std_or_zero() >= IDLE_TIMEOUT => return span.to_std(),
            Ok(span) => {
                let least = duration::GoDuration::from(IDLE_TIMEOUT);
                CheckError::IdleTimeoutTooShort(span.nanos(), least.nanos())
            }
            Err(_) => CheckError::IdleTimeout,
        };
        self.refuse(Phase::Init, key, error);
        None
    }

    fn firewall_rules(&mut self) -> Vec<FirewallRule> {
        let mut rules = Vec::new();
        for (index, entries) in self.item.rules("firewallrules").iter().enumerate() {
            match firewall_rule(entries) {
                Ok(rule) => rules.push(rule),
                Err(fault) => {
                    self.refuse(Phase::Init, "firewallrules", CheckError::FirewallRule(index, fault));
                }
            }
        }
        rules
    }

    pub(super) fn log_level(&mut self) {
        let name = self.item.text("level");
        match LogLevel::from_name(name) {
            Some(level) => self.builder.parts.log_level = Some(level),
            None => self.refuse(Phase::Init, "level", CheckError::LogLevel(name.to_owned())),
        }
    }

    /// Takes the tuning of a file that says `version: 2`, and of nothing else (control-protocol 5.7).
    fn tune_kubernetes(&mut self) {
        let names = ["supportreconnect", "clientsetqps", "clientsetburst", "clientsetratelimiter"];
        let values = names.map(|name| self.item.filled(&format!("receptorkube{name}")));
        let place = self.item.place.clone();
        self.builder.tune(values, &place);
    }
}

impl Builder<'_> {
    pub(super) fn tune_kubernetes_by_environment(&mut self) {
        if !self.tuning_in_node {
            let names = ["SUPPORT_RECONNECT", "CLIENTSET_QPS", "CLIENTSET_BURST", "CLIENTSET_RATE_LIMITER"];
            let values = names.map(|name| self.host.variable(&format!("RECEPTOR_KUBE_{name}")));
            self.tune(values, &Place::Environment);
        }
    }

    /// Reconnecting, queries per second, burst, rule (control-protocol 5.7). What cannot be read is left at its default.
    fn tune(&mut self, [reconnect, qps, burst, rule]: [Option<String>; 4], place: &Place) {
        let qps = qps.and_then(|text| self.tuning_number("QPS", &text, place));
        let burst = burst.and_then(|text| self.tuning_number("burst", &text, place));
        let tuning = &mut self.parts.kube_tuning;
        tuning.support_reconnect = reconnect.map(|word| matches!(word.as_str(), "enabled" | "auto"));
        tuning.qps = qps;
        tuning.burst = burst;
        tuning.rate_limiter = match rule.as_deref() {
            Some("always") => RateLimiter::AlwaysAccept,
            Some("never") => RateLimiter::NeverAccept,
            _ => RateLimiter::TokenBucket,
        };
    }

    fn tuning_number(&mut self, what: &str, text: &str, place: &Place) -> Option<u32> {
        let number = text.parse().ok().filter(|number| *number > 0);
        if number.is_none() {
            let text = format!("the {what} of the Kubernetes client is not a number above 0; the default is used");
            self.notices.push((place.clone(), text));
        }
        number
    }

    /// Takes the limits of the action `daemon`, overlaid by the environment.
    pub(super) fn set_limits(&mut self, item: Option<&Item>) {
        match settings::limits(item, self.host) {
            Ok(limits) => self.parts.limits = limits,
            Err((place, error)) => {
                let phase = Phase::Init;
                self.problems.push((phase, usize::MAX, Problem { place, phase, error: ConfigError::Check(error) }));
            }
        }
    }
}

/// Keys in any case; the first that is wrong is told.
fn firewall_rule(entries: &[(String, Option<String>)]) -> Result<FirewallRule, FirewallFault> {
    let mut action = String::new();
    let mut patterns = [const { None }; 4];
    let [from_node, to_node, from_service, to_service] = &mut patterns;
    for (key, value) in entries {
        let value = value.as_deref().ok_or_else(|| FirewallFault::NotText(key.clone()))?;
        let slot = match key.to_lowercase().as_str() {
            "action" => {
                value.clone_into(&mut action);
                continue;
            }
            "fromnode" => &mut *from_node,
            "tonode" => to_node,
            "fromservice" => from_service,
            "toservice" => to_service,
            _ => return Err(FirewallFault::Key(key.clone())),
        };
        *slot = pattern(value)?;
    }
    let action = match action.to_lowercase().as_str() {
        "accept" => FirewallAction::Accept,
        "reject" => FirewallAction::Reject,
        "drop" => FirewallAction::Drop,
        _ => return Err(FirewallFault::Action(action)),
    };
    let [from_node, to_node, from_service, to_service] = patterns;
    Ok(FirewallRule { action, from_node, to_node, from_service, to_service })
}

/// A value that begins with `/` is a regular expression between slashes; an empty one is no condition.
fn pattern(value: &str) -> Result<Option<Pattern>, FirewallFault> {
    if value.is_empty() {
        return Ok(None);
    }
    let Some(rest) = value.strip_prefix('/') else {
        return Ok(Some(Pattern::Exact(value.to_owned())));
    };
    let regex = rest.strip_suffix('/').ok_or_else(|| FirewallFault::Enclosure(value.to_owned()))?;
    // The original drops a condition that does not compile, which leaves a rule for everything.
    let anchored = format!("^{regex}$");
    match regex::Regex::new(&anchored) {
        Ok(_) => Ok(Some(Pattern::Regex(regex.to_owned()))),
        Err(_) => Err(FirewallFault::Regex(anchored)),
    }
}
