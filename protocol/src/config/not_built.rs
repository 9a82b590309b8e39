//! What can be configured but not done yet.
//!
//! Everything is read and checked from the start, so that a file is never understood in part; what this version cannot
//! do refuses to start, by name. Whoever builds a part takes its line out of [`NOT_BUILT`], and nothing else.

use std::fmt;

use super::error::{CheckError, ConfigError, Phase, Problem};
use super::item::Item;

/// Something that can be configured but not done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// A whole action.
    Action(&'static str),
    /// A key of an action.
    Key(&'static str, &'static str),
    /// A word for a key of an action.
    Word(&'static str, &'static str, &'static str),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Action(action) => write!(f, "action {action}"),
            Self::Key(action, key) => write!(f, "key {key} of {action}"),
            Self::Word(action, key, word) => write!(f, "{key} {word} of {action}"),
        }
    }
}

use Gap::{Action, Key, Word};

const K8S: &str = "work-kubernetes";
const CMD: &str = "work-command";

/// What this version does not do.
#[rustfmt::skip]
pub const NOT_BUILT: &[Gap] = &[
    // Other engines.
    Action("work-nomad"),
    // A process of receptor's own.
    Action("command-runner"),
    // Commands: work-types 3.
    Key(CMD, "memorymax"), Key(CMD, "cpumax"),
    // Kubernetes core: work-types 2.2.
    Key(K8S, "shell"), Key(K8S, "script"), Key(K8S, "workingdir"), Key(K8S, "env"), Key(K8S, "envfrom"),
    // Kubernetes authentication: work-types 2.3.
    Word(K8S, "authmethod", "token"), Word(K8S, "authmethod", "certificate"), Word(K8S, "authmethod", "basic"),
    Word(K8S, "authmethod", "auto"),
    Key(K8S, "kubecontext"), Key(K8S, "apiserver"), Key(K8S, "token"), Key(K8S, "tokenfile"),
    Key(K8S, "tokenrefresh"), Key(K8S, "clientcertificate"), Key(K8S, "clientcertificatedata"),
    Key(K8S, "clientkey"), Key(K8S, "clientkeydata"), Key(K8S, "username"), Key(K8S, "password"),
    Key(K8S, "certificateauthority"), Key(K8S, "certificateauthoritydata"), Key(K8S, "insecureskiptlsverify"),
    Key(K8S, "tlsservername"), Key(K8S, "proxyurl"),
    // The pod's shape: work-types 2.4.
    Key(K8S, "cpulimit"), Key(K8S, "memorylimit"), Key(K8S, "cpurequest"), Key(K8S, "memoryrequest"),
    Key(K8S, "requestpercent"), Key(K8S, "extraresources"),
    Key(K8S, "activedeadlineseconds"),
    Key(K8S, "volumeclaims"), Key(K8S, "createclaims"), Key(K8S, "claimpolicy"), Key(K8S, "mounts"),
    Key(K8S, "privileged"), Key(K8S, "runasuser"), Key(K8S, "runasgroup"), Key(K8S, "fsgroup"),
    Key(K8S, "serviceaccount"), Key(K8S, "automounttoken"), Key(K8S, "affinity"), Key(K8S, "tolerations"),
    Key(K8S, "nodeselector"), Key(K8S, "priorityclass"), Key(K8S, "labels"), Key(K8S, "annotations"),
    Key(K8S, "imagepullpolicy"), Key(K8S, "imagepullsecrets"),
    Key(K8S, "livenessprobe"), Key(K8S, "readinessprobe"), Key(K8S, "startupprobe"),
    Key(K8S, "kind"), Key(K8S, "job"), Key(K8S, "backofflimit"), Key(K8S, "ttlsecondsafterfinished"),
    Key(K8S, "restartpolicy"), 
    Key(K8S, "maxconcurrent"),
    Key(K8S, "metricsprovider"), Key(K8S, "metricsinterval"), Key(K8S, "prometheusurl"), Key(K8S, "allowexec"),
    Key(K8S, "ifexists"),
    // Image build: work-types 2.7.
    Key(K8S, "buildmethod"), Key(K8S, "buildcommand"), Key(K8S, "dockerfile"), Key(K8S, "buildbase"),
    Key(K8S, "buildscript"), Key(K8S, "buildcontext"), Key(K8S, "buildargs"), Key(K8S, "buildtag"),
    Key(K8S, "buildcache"), Key(K8S, "buildtimeout"), Key(K8S, "buildonly"), Key(K8S, "imagetarget"),
    Key(K8S, "registry"), Key(K8S, "registryauthfile"), Key(K8S, "clustername"), Key(K8S, "loadcommand"),
    // Permissions for parameters that are not there yet.
    Key(K8S, "allowruntimejob"), Key(K8S, "allowruntimeenv"), Key(K8S, "allowruntimeresources"),
    Key(K8S, "allowruntimevolumes"), Key(K8S, "allowruntimesecurity"), Key(K8S, "allowruntimescheduling"),
    Key(K8S, "allowruntimelabels"), Key(K8S, "allowruntimename"), Key(K8S, "allowruntimebuild"),
];

/// What of an item cannot be done.
pub(super) fn problems(item: &Item) -> impl Iterator<Item = Problem> {
    NOT_BUILT.iter().filter_map(move |gap| {
        let key = match *gap {
            Action(action) if action == item.action.name => "",
            Key(action, key) if action == item.action.name && item.given(key) => key,
            Word(action, key, word) if action == item.action.name && is_word(item, key, word) => key,
            _ => return None,
        };
        let place = if key.is_empty() { item.place.clone() } else { item.place_of(key) };
        Some(Problem { place, phase: Phase::Built, error: ConfigError::Check(CheckError::NotBuilt(*gap)) })
    })
}

/// Further spellings of a word (`in_cluster`, `basic_auth`) begin with it or differ by an underscore.
fn is_word(item: &Item, key: &str, word: &str) -> bool {
    let given = item.text(key).to_lowercase();
    given == word
        || (key == "authmethod"
            && matches!((given.as_str(), word), ("certificate_file", "certificate") | ("basic_auth", "basic")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{self, Kind};

    #[test]
    fn every_gap_names_something_that_exists() {
        for (index, gap) in NOT_BUILT.iter().enumerate() {
            assert!(NOT_BUILT.iter().skip(index + 1).all(|other| other != gap), "{gap} stands twice");
            let (name, key) = match *gap {
                Action(action) => (action, None),
                Key(action, key) | Word(action, key, _) => (action, Some(key)),
            };
            let action = schema::action(name).unwrap_or_else(|| panic!("{gap}"));
            let param = key.map(|key| action.param(key).unwrap_or_else(|| panic!("{gap}")));
            if let Word(_, _, word) = gap {
                let Some(Kind::Word(words)) = param.map(|param| param.kind) else { panic!("{gap}") };
                assert!(words.contains(word), "{gap}");
            }
        }
    }
}
