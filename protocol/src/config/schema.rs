//! The one table of actions and their parameters (control-protocol 1.4, work-types 2 to 4).
//!
//! All dialects, the help text and the check for parts not built yet read it. The order of parameters is that of the
//! references.

mod certs;
mod kubernetes;
mod mesh;
mod node;
mod nomad;
mod work;

pub(super) use node::NODE;

/// An action of the first dialect.
#[derive(Debug, PartialEq)]
pub struct Action {
    /// Name in a file and, with two dashes before it, on the command line.
    pub name: &'static str,
    /// How often and beside what it may stand.
    pub rule: Rule,
    /// What it does, in a few words.
    pub help: &'static str,
    /// Its parameters.
    pub params: &'static [Param],
}

/// How often and beside what an action may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Any number of times.
    Any,
    /// Once.
    Once,
    /// Alone, with nothing else in file or command line.
    Alone,
}

/// A parameter of an action.
#[derive(Debug, PartialEq)]
pub struct Param {
    /// Name in lower case.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether it must be given.
    pub required: bool,
    /// Whether a lone value is this parameter's; then the name that the original's texts give it.
    pub bare: Option<&'static str>,
    /// Value where it is not given, as a text to be converted.
    pub default: Option<&'static str>,
    /// What it means, in a few words.
    pub help: &'static str,
}

/// What a parameter takes. What several kinds share, such as a text that is looked at only later, is [`Kind::shape`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A text that must not be shown.
    Secret,
    /// Name of a file.
    File,
    /// One of some words, in any case.
    Word(&'static [&'static str]),
    /// A Go duration.
    Duration,
    /// A Kubernetes quantity.
    Quantity,
    /// A user ID, or `root`.
    UserId,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A boolean.
    Bool,
    /// Texts.
    List,
    /// Texts of the form `NAME:/PATH...`.
    Volumes,
    /// Texts by name.
    Map,
    /// Quantities by name.
    QuantityMap,
    /// Costs by node.
    Costs,
    /// Firewall rules.
    Rules,
    /// A map or list as the API has it, or a text of JSON.
    Structure,
    /// A short form of a probe, or a structure.
    Probe,
    /// Anything; never looked at.
    Ignored,
}

/// What a value is converted to when it is read; the second step is for the action's own check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text; numbers in the reference's spelling.
    Text,
    /// A text; numbers as they stand.
    Scalar,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// A boolean.
    Bool,
    /// A list of texts.
    List,
    /// A map of texts.
    Map,
    /// A map of numbers.
    Costs,
    /// A list of maps.
    Rules,
    /// Any node.
    Any,
}

impl Kind {
    /// What a value is converted to when it is read.
    #[must_use]
    pub const fn shape(self) -> Shape {
        match self {
            Self::Text | Self::Secret | Self::File | Self::Word(_) | Self::Duration => Shape::Text,
            Self::Quantity | Self::UserId => Shape::Scalar,
            Self::Int => Shape::Int,
            Self::Float => Shape::Float,
            Self::Bool => Shape::Bool,
            Self::List | Self::Volumes => Shape::List,
            Self::Map | Self::QuantityMap => Shape::Map,
            Self::Costs => Shape::Costs,
            Self::Rules => Shape::Rules,
            Self::Structure | Self::Probe | Self::Ignored => Shape::Any,
        }
    }

    /// The kind in a word, for the help text.
    #[must_use]
    pub fn label(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Secret => "secret".to_owned(),
            Self::File => "file".to_owned(),
            Self::Word(words) => words.join("|"),
            Self::Duration => "duration".to_owned(),
            Self::Quantity => "quantity".to_owned(),
            Self::UserId | Self::Int => "number".to_owned(),
            Self::Float => "decimal".to_owned(),
            Self::Bool => "true|false".to_owned(),
            Self::List | Self::Volumes => "list".to_owned(),
            Self::Map | Self::QuantityMap | Self::Costs => "map".to_owned(),
            Self::Rules => "list of maps".to_owned(),
            Self::Structure | Self::Probe | Self::Ignored => "map or list".to_owned(),
        }
    }
}

impl Action {
    const fn new(name: &'static str, help: &'static str, params: &'static [Param]) -> Self {
        Self { name, rule: Rule::Any, help, params }
    }

    const fn once(mut self) -> Self {
        self.rule = Rule::Once;
        self
    }

    const fn alone(mut self) -> Self {
        self.rule = Rule::Alone;
        self
    }

    /// The parameter called `name`, in any case.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'static Param> {
        let lower = name.to_lowercase();
        self.params.iter().find(|param| param.name == lower)
    }

    /// The parameter that takes a lone value.
    #[must_use]
    pub fn bare_param(&self) -> Option<&'static Param> {
        self.params.iter().find(|param| param.bare.is_some())
    }
}

impl Param {
    const fn new(name: &'static str, kind: Kind, help: &'static str) -> Self {
        Self { name, kind, required: false, bare: None, default: None, help }
    }

    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn bare(mut self, spelling: &'static str) -> Self {
        self.bare = Some(spelling);
        self
    }

    const fn default(mut self, value: &'static str) -> Self {
        self.default = Some(value);
        self
    }
}

const fn text(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::Text, help)
}

const fn file(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::File, help)
}

const fn flag(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::Bool, help).default("false")
}

const fn int(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::Int, help)
}

const fn list(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::List, help)
}

const fn map(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::Map, help)
}

const fn duration(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::Duration, help)
}

const fn quantity(name: &'static str, help: &'static str) -> Param {
    Param::new(name, Kind::Quantity, help)
}

const fn word(name: &'static str, words: &'static [&'static str], help: &'static str) -> Param {
    Param::new(name, Kind::Word(words), help)
}

/// All actions, in the order of the help text.
pub static ACTIONS: &[&Action] = &[
    &NODE,
    &node::LOCAL_ONLY,
    &node::LOG_LEVEL,
    &node::TRACE,
    &node::CONTROL_SERVICE,
    &node::DAEMON,
    &node::TLS_SERVER,
    &node::TLS_CLIENT,
    &mesh::TCP_LISTENER,
    &mesh::UDP_LISTENER,
    &mesh::WS_LISTENER,
    &mesh::TCP_PEER,
    &mesh::UDP_PEER,
    &mesh::WS_PEER,
    &mesh::COMMAND_SERVICE,
    &mesh::TCP_SERVER,
    &mesh::UDP_SERVER,
    &mesh::TCP_CLIENT,
    &mesh::UDP_CLIENT,
    &mesh::UNIX_SOCKET_SERVER,
    &mesh::UNIX_SOCKET_CLIENT,
    &mesh::IP_ROUTER,
    &work::WORK_SIGNING,
    &work::WORK_VERIFICATION,
    &work::WORK_COMMAND,
    &kubernetes::WORK_KUBERNETES,
    &nomad::WORK_NOMAD,
    &work::WORK_PYTHON,
    &work::COMMAND_RUNNER,
    &node::VERSION,
    &certs::CERT_INIT,
    &certs::CERT_MAKEREQ,
    &certs::CERT_SIGNREQ,
];

/// The action called `name`, in lower case.
#[must_use]
pub fn action(name: &str) -> Option<&'static Action> {
    ACTIONS.iter().copied().find(|action| action.name == name)
}

/// A section of the second dialect (control-protocol 1.6).
#[derive(Debug)]
pub struct Section {
    /// Name in the file.
    pub name: &'static str,
    /// The action whose parameters it takes.
    pub action: &'static Action,
    /// Whether it holds a list of them.
    pub list: bool,
}

const fn many(name: &'static str, action: &'static Action) -> Section {
    Section { name, action, list: true }
}

const fn one(name: &'static str, action: &'static Action) -> Section {
    Section { name, action, list: false }
}

/// All sections of the second dialect, in the order in which receptor runs them.
pub static SECTIONS: &[Section] = &[
    one("cert-init", &certs::CERT_INIT),
    many("cert-makereqs", &certs::CERT_MAKEREQ),
    many("cert-signreqs", &certs::CERT_SIGNREQ),
    one("node", &NODE),
    one("trace", &node::TRACE),
    one("log-level", &node::LOG_LEVEL),
    many("control-services", &node::CONTROL_SERVICE),
    many("tls-clients", &node::TLS_CLIENT),
    many("tls-servers", &node::TLS_SERVER),
    many("work-commands", &work::WORK_COMMAND),
    many("work-kubernetes", &kubernetes::WORK_KUBERNETES),
    many("work-nomad", &nomad::WORK_NOMAD),
    one("work-signing", &work::WORK_SIGNING),
    one("work-verification", &work::WORK_VERIFICATION),
    many("iprouters", &mesh::IP_ROUTER),
    many("tcp-clients", &mesh::TCP_CLIENT),
    many("tcp-servers", &mesh::TCP_SERVER),
    many("udp-clients", &mesh::UDP_CLIENT),
    many("udp-servers", &mesh::UDP_SERVER),
    many("unix-socket-clients", &mesh::UNIX_SOCKET_CLIENT),
    many("unix-socket-servers", &mesh::UNIX_SOCKET_SERVER),
    many("tcp-listeners", &mesh::TCP_LISTENER),
    many("udp-listeners", &mesh::UDP_LISTENER),
    many("ws-listeners", &mesh::WS_LISTENER),
    many("tcp-peers", &mesh::TCP_PEER),
    many("udp-peers", &mesh::UDP_PEER),
    many("ws-peers", &mesh::WS_PEER),
    one("local-only", &node::LOCAL_ONLY),
    one("daemon", &node::DAEMON),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_lower_case() {
        for (index, action) in ACTIONS.iter().enumerate() {
            assert_eq!(action.name, action.name.to_lowercase());
            assert!(ACTIONS.iter().skip(index + 1).all(|other| other.name != action.name), "{}", action.name);
            for (index, param) in action.params.iter().enumerate() {
                assert_eq!(param.name, param.name.to_lowercase());
                let mut others = action.params.iter().skip(index + 1);
                assert!(others.all(|other| other.name != param.name), "{} {}", action.name, param.name);
            }
        }
    }
}
