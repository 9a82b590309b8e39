use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::duration::GoDuration;
use crate::unit::State;

/// A command line understood as a whole. What it names need not exist: identifiers are as they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `ping NODE`
    Ping {
        /// Node to reach; blanks are part of it, and it may be empty in the JSON form.
        target: String,
    },
    /// `status`
    Status {
        /// Names of the fields to answer, unknown ones among them; `None` for all.
        fields: Option<Vec<String>>,
    },
    /// `traceroute NODE`
    Traceroute {
        /// Node to reach.
        target: String,
    },
    /// `connect NODE SERVICE [TLSCLIENT]`
    Connect {
        /// Node to connect to.
        node: String,
        /// Service on that node.
        service: String,
        /// Name of a TLS client configuration.
        tls: Option<String>,
    },
    /// `reload`, whatever follows
    Reload,
    /// `work ...`
    Work(WorkRequest),
}

/// A `work` command (control-protocol 3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkRequest {
    /// `work submit`
    Submit(Submit),
    /// `work list [ID]`
    List {
        /// The only unit to list; `None` for all.
        unit: Option<String>,
    },
    /// `work status ID`
    Status(UnitCommand),
    /// `work cancel ID`
    Cancel(UnitCommand),
    /// `work release ID`
    Release(UnitCommand),
    /// `work force-release ID`
    ForceRelease(UnitCommand),
    /// `work results ID [START]`
    Results(Results),
    /// `work follow ID`: status and output pushed as they change; between nodes of worknode, see [`follow`](super::follow)
    Follow(Results),
    /// `work describe ID`
    Describe(UnitCommand),
    /// `work prune`
    Prune(Prune),
}

impl WorkRequest {
    /// The token that it carries.
    pub fn signature(&self) -> Option<&Token> {
        match self {
            Self::List { .. } => None,
            Self::Submit(submit) => submit.signature.as_ref(),
            Self::Results(results) | Self::Follow(results) => results.signature.as_ref(),
            Self::Prune(prune) => prune.signature.as_ref(),
            Self::Status(about)
            | Self::Cancel(about)
            | Self::Release(about)
            | Self::ForceRelease(about)
            | Self::Describe(about) => about.signature.as_ref(),
        }
    }

    /// The same request with this token, or without any. A list has no place for one.
    #[must_use]
    pub fn with_signature(mut self, token: Option<Token>) -> Self {
        match &mut self {
            Self::List { .. } => {}
            Self::Submit(submit) => submit.signature = token,
            Self::Results(results) | Self::Follow(results) => results.signature = token,
            Self::Prune(prune) => prune.signature = token,
            Self::Status(about)
            | Self::Cancel(about)
            | Self::Release(about)
            | Self::ForceRelease(about)
            | Self::Describe(about) => about.signature = token,
        }
        self
    }
}

/// What a submit asks for (control-protocol 3.7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submit {
    /// Node to run the work: its identifier, or `localhost` in any case.
    pub node: String,
    /// Work type.
    pub work_type: String,
    /// All further keys.
    pub params: Params,
    /// Name of the TLS client configuration for the connection to the node; only for remote work.
    pub tls_client: Option<String>,
    /// Go duration within which remote work must have started; not yet read, as only remote work may have one.
    pub ttl: Option<String>,
    /// Whether requests to the remote node are to be signed.
    pub sign_work: bool,
    /// Token that proves the right to submit to this node.
    pub signature: Option<Token>,
}

/// A command about one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitCommand {
    /// The identifier as given; possibly of no unit, possibly of a form that no unit has.
    pub unit: String,
    /// Token that proves the right to the command. Never looked at for `work status`.
    pub signature: Option<Token>,
}

/// What `work prune` asks for: to release units that have ended, or to delete objects in clusters that belong to no unit
/// (work-types 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// Objects in clusters; no unit is touched then.
    pub cluster: bool,
    /// Only say what would go.
    pub dry_run: bool,
    /// Only units that ended so long ago, or longer.
    pub older: Option<GoDuration>,
    /// Only units in this state.
    pub state: Option<State>,
    /// Token that proves the right to release.
    pub signature: Option<Token>,
}

/// What `work results` asks for (control-protocol 3.10).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// The identifier as given.
    pub unit: String,
    /// Byte of stdout to begin with. A negative one yields the header and nothing else.
    pub start: i64,
    /// Token that proves the right to the output.
    pub signature: Option<Token>,
    /// Stream to read, `stdout` by default; the original ignores this key (work-types 5).
    pub stream: Option<String>,
}

/// A signature: shown by nothing but [`as_str`](Token::as_str).
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes `text` as a token; `None` if it is empty, which stands for no token.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then_some(Self(text))
    }

    /// Takes a text that is not empty.
    pub(super) fn of(text: String) -> Self {
        Self(text)
    }

    /// The token as it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// Parameters of a submit, sorted by name. `Debug` shows no value whose name begins with `secret_`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// The value of a parameter, with an empty one as none: so all work types read them (control-protocol 5.2).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Sets a parameter, in place of an earlier value.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// Names and values in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a secret among them.
    pub fn has_secrets(&self) -> bool {
        self.0.keys().any(|name| is_secret_name(name))
    }

    /// The parameters as a map.
    pub fn into_map(self) -> BTreeMap<String, String> {
        self.0
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl From<BTreeMap<String, String>> for Params {
    fn from(map: BTreeMap<String, String>) -> Self {
        Self(map)
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| (name, if is_secret_name(name) { "[hidden]" } else { value }));
        f.debug_map().entries(shown).finish()
    }
}

/// Whether a parameter of that name is a secret: `secret_` at its start, in any case (control-protocol 3.7).
pub fn is_secret_name(name: &str) -> bool {
    const PREFIX: &[u8] = b"secret_";
    name.as_bytes().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_name() {
        for name in ["secret_kube_pod", "SECRET_x", "Secret_"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["secret", "secrets_x", "xsecret_", "", "sécret_"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let submit = Submit {
            params: Params::from_iter([("secret_kube_config", "geheim"), ("params", "-v")]),
            signature: Token::new("geheim"),
            ..Submit::default()
        };
        let shown = format!("{:?}", Request::Work(WorkRequest::Submit(submit)));
        assert!(!shown.contains("geheim") && shown.contains("-v") && shown.contains("secret_kube_config"), "{shown}");
    }

    #[test]
    fn an_empty_value_is_none() {
        let params = Params::from_iter([("a", ""), ("b", "x")]);
        assert_eq!((params.get("a"), params.get("b"), params.get("c")), (None, Some("x"), None));
    }
}
