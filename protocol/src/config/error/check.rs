//! Why a configuration cannot be used (control-protocol 1.4, 2.1, 5.1; work-types 2 to 4).

use crate::config::not_built::Gap;
use crate::duration::DurationError;
use crate::id::NodeIdError;
use crate::quote::quote;

use super::{AllowFault, ConvertError};

/// Why a configuration cannot be used. `Display` is the text after `Error: `.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // The texts say what the variants are; fields are the names in them.
pub enum CheckError {
    // Node.
    #[error("{0}")]
    NodeId(#[from] NodeIdError),
    #[error("no node ID specified and local host name is localhost")]
    HostNameIsLocalhost,
    #[error("no node ID specified and local host name cannot be read: {0}")]
    NoHostName(String),
    #[error(
        "failed to parse MaxIdleConnectionTimeout from configuration file -- valid examples include '1.5h', '30m', '30m10s'"
    )]
    IdleTimeout,
    #[error("user defined maxIdleConnectionTimeout [{0}] is less than the default default timeout [{1}]")]
    IdleTimeoutTooShort(i64, i64),
    #[error("error in rule {0}: {1}")]
    FirewallRule(usize, FirewallFault),
    #[error("{0} is not a valid log level name")]
    LogLevel(String),

    // Control services.
    #[error("no listeners specified")]
    NoListeners,
    // "Unix socket" is what the original says for the mesh listener too.
    #[error("error opening Unix socket: service name {0} too long")]
    ServiceNameTooLong(String),
    #[error("error opening Unix socket: service {0} is already listening")]
    ServiceNameTaken(String),
    #[error("{0} is not a mode of a file")]
    Permissions(i64),
    /// A rule of `allow`, counted from 1; 0 for all of them.
    #[error("error in control-service: {}: {fault}", allow(.number))]
    Allow { number: usize, fault: AllowFault },
    #[error("invalid {key}: must be at least {least}")]
    Limit { key: &'static str, least: usize },
    #[error("invalid setting of the daemon: {0}")]
    Setting(String),

    // TLS.
    #[error("unknown TLS config {0}")]
    UnknownTls(String),
    #[error("must provide a name")]
    NoTlsName,
    #[error("error preparing tls server config: {0}")]
    TlsServer(TlsFault),
    #[error("error preparing tls client config: {0}")]
    TlsClient(TlsFault),

    // Mesh.
    #[error("connection cost must be positive")]
    Cost,
    #[error("connection cost must be positive for {0}")]
    NodeCost(String),
    #[error("address {address}: {fault}")]
    Address { address: String, fault: &'static str },
    #[error("address {address} is not a valid URL: parse {}: {fault}", quote(.address))]
    Url { address: String, fault: &'static str },
    #[error("extra header must be in the form key:value")]
    ExtraHeader,
    #[error("listen {network}: address {port}: invalid port")]
    Port { network: &'static str, port: i64 },

    // Keys.
    #[error("{0} does not exist")]
    KeyFileMissing(String),
    #[error("{0}")]
    KeyFile(String),
    #[error("failed to parse TokenExpiration -- valid examples include '1.5h', '30m', '30m10s'")]
    TokenExpiration,
    #[error("{0}")]
    CertRequest(&'static str),
    #[error("a key has 2048, 3072 or 4096 bits, not {0}")]
    KeyBits(i64),
    #[error("invalid DNS name: {0}")]
    DnsName(String),
    #[error("invalid IP address: {0}")]
    IpAddress(String),
    #[error("parsing time {} as \"2006-01-02T15:04:05Z07:00\": no such time", quote(.0))]
    Moment(String),

    // Work types.
    #[error("work type {0} already registered")]
    WorkTypeTaken(String),
    #[error("VerifySignature for work command '{0}' is true, but the work verification public key is not specified")]
    NoVerificationKey(String),
    #[error(
        "[DEPRECATION WARNING] 'work-python' option is not currently being used. This feature will be removed from receptor in a future release"
    )]
    WorkPython,
    #[error("invalid AuthMethod: {0}")]
    AuthMethod(String),
    #[error("stream mode must be logger or tcp")]
    StreamMethod,
    /// Combinations of keys; the bare text given with the key.
    #[error("{0}")]
    Combination(&'static str),
    #[error("error accessing {key} file: {why}")]
    WorkFile { key: &'static str, why: String },
    #[error("error in {action}: invalid {key}: {why}")]
    Value { action: &'static str, key: &'static str, why: ValueFault },

    // The whole.
    #[error("Nothing to do - no backends are running.")]
    NothingToDo,

    // Parts to come.
    #[error("{0} is not available in this version of worknode")]
    NotBuilt(Gap),
}

fn allow(number: &usize) -> String {
    if *number == 0 { "allow".to_owned() } else { format!("allow rule {number}") }
}

/// What is wrong with a firewall rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FirewallFault {
    /// An action that is none of accept, reject, drop.
    #[error("unknown action: {0}")]
    Action(String),
    /// A key that rules do not have.
    #[error("invalid filewall rule. unknown key: {0}")]
    Key(String),
    /// A value that is not a text.
    #[error("invalid firewall rule. {0} must be a string")]
    NotText(String),
    /// A regular expression without its closing slash. The reference drops the condition without a word.
    #[error("regex not enclosed in //: {0}")]
    Enclosure(String),
    /// A regular expression that does not compile. The reference drops the condition without a word.
    #[error("regex failed to compile: {0}")]
    Regex(String),
}

/// What is wrong with named TLS settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// A certificate or key that cannot be opened: `open /nope: no such file or directory`.
    #[error("{0}")]
    File(String),
    /// An authority file that cannot be opened.
    #[error("error reading client CAs file: {0}")]
    ClientCas(String),
    /// An authority file that cannot be opened.
    #[error("error reading root CAs file: {0}")]
    RootCas(String),
    /// A fingerprint that is not hexadecimal.
    #[error("error decoding fingerprints: error decoding fingerprint")]
    FingerprintDigits,
    /// A fingerprint of another length.
    #[error("error decoding fingerprints: fingerprints must be 32 or 64 bytes for sha256 or sha512")]
    FingerprintLength,
    /// A certificate without a key, or the reverse.
    #[error("cert and key must both be supplied or neither")]
    HalfIdentity,
}

/// What is wrong with a value of a work type's key (the column WHY of work-types 2.1).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValueFault {
    /// Not a duration.
    #[error("{0}")]
    Duration(#[from] DurationError),
    /// A duration below zero.
    #[error("{0} is negative")]
    Negative(String),
    /// A duration below the least one that works.
    #[error("cannot be lower than {0}")]
    TooShort(&'static str),
    /// A number, converted or out of range.
    #[error("{0}")]
    Number(ConvertError),
    /// Not a quantity.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Quantity,
    /// A quantity with an unknown suffix.
    #[error("unable to parse quantity's suffix")]
    QuantitySuffix,
    /// Not one of the words.
    #[error("{} is not one of {}", quote(.text), .words.join(", "))]
    Word {
        /// The text.
        text: String,
        /// The words.
        words: &'static [&'static str],
    },
    /// Not of the form.
    #[error("expected {form}, got {}", quote(.text))]
    Form {
        /// The form, such as `CLAIM:/PATH[:ro]`.
        form: &'static str,
        /// The text.
        text: String,
    },
    /// A relative path.
    #[error("path must be absolute: {0}")]
    RelativePath(String),
    /// A user that is neither a number nor `root`.
    #[error("user must be numeric or root: {0}")]
    User(String),
    /// A structure that cannot be read.
    #[error("{0}")]
    Structure(String),
}

impl CheckError {
    /// What would be right, where that can be told.
    pub(super) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NodeId(_) | Self::HostNameIsLocalhost | Self::NoHostName(_) => {
                "name the node with `- node: {id: NAME}`"
            }
            Self::IdleTimeoutTooShort(..) => "write 21s or more",
            Self::IdleTimeout | Self::TokenExpiration | Self::Value { why: ValueFault::Duration(_), .. } => {
                "write a number with a unit: ms, s, m or h"
            }
            Self::FirewallRule(_, FirewallFault::Action(_)) => "write accept, reject or drop",
            Self::FirewallRule(_, FirewallFault::Key(_)) => {
                "keys are action, fromnode, tonode, fromservice and toservice"
            }
            Self::Allow { fault, .. } => fault.hint()?,
            Self::LogLevel(_) => "write error, warning, info or debug",
            Self::NothingToDo => "add `- local-only:`",
            Self::NoListeners => "set filename, tcplisten or service",
            Self::Permissions(_) => "write an octal mode such as '0660'",
            Self::Moment(_) => "write a time such as 2030-01-31T12:00:00Z",
            Self::UnknownTls(_) => "add a tls-server or tls-client of that name",
            Self::WorkTypeTaken(_) => "give each work type a name of its own; `remote` is taken",
            Self::NoVerificationKey(_) => "add `- work-verification: {publickey: FILE}`",
            Self::WorkPython => "take the action out; use work-command",
            Self::AuthMethod(_) => "write kubeconfig, incluster or runtime",
            Self::Address { .. } => "write HOST:PORT",
            Self::Url { .. } => "write ws://HOST:PORT/PATH or wss://HOST:PORT/PATH",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
