//! Every text that follows `ERROR: ` on the control socket, one enum per operation.

use thiserror::Error;

use crate::duration::DurationError;
use crate::json::JsonError;
use crate::quote::quote;

/// Why a line is no request (control-protocol 2.3, 3.1 to 3.6). Decided from the line alone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum RequestError {
    #[error(transparent)]
    Json(JsonError),
    #[error("JSON did not contain a command")]
    NoCommand,
    #[error("command must be a string")]
    CommandType,
    #[error("Unknown command")]
    UnknownCommand,
    #[error("no ping target")]
    NoPingTarget,
    #[error("ping target must be string")]
    PingTargetType,
    #[error("no traceroute target")]
    NoTracerouteTarget,
    #[error("traceroute target must be string")]
    TracerouteTargetType,
    #[error("status command does not take parameters")]
    StatusTakesNoParameters,
    /// A text of ours: the original ends with a panic here.
    #[error("requested_fields must be a list of strings")]
    RequestedFieldsType,
    #[error("each element of requested_fields must be a string")]
    RequestedFieldType,
    #[error("no connect target")]
    NoConnectTarget,
    #[error("too many parameters")]
    TooManyConnectParameters,
    #[error("no connect target node")]
    NoConnectNode,
    #[error("connect target node must be string")]
    ConnectNodeType,
    #[error("no connect target service")]
    NoConnectService,
    #[error("connect target service must be string")]
    ConnectServiceType,
    #[error("connect tls name must be string")]
    ConnectTlsType,
    /// `work` with no or an unknown subcommand.
    #[error("bad command")]
    BadWorkCommand,
    #[error("field {0} missing")]
    FieldMissing(&'static str),
    #[error("field {0} must be a string")]
    FieldType(&'static str),
    #[error("work submit requires a target node and work type")]
    SubmitWithoutTarget,
    #[error("submit parameters must all be strings and {0} is not")]
    SubmitParameterType(String),
    #[error("work {0} requires a unit ID")]
    NoUnitId(&'static str),
    #[error("work {0} does not take parameters after the unit ID")]
    TooManyUnitParameters(&'static str),
    /// work-types 5
    #[error("work prune does not take the parameter {0}")]
    PruneParameter(String),
    #[error("error setting value for older: {0}")]
    PruneOlder(DurationError),
    #[error("error setting value for state: {} is not one of Pending, Running, Succeeded, Failed, Canceled", quote(.0))]
    PruneState(String),
    #[error("older and state are for units, and with cluster no unit is pruned")]
    PruneClusterOnly,
    #[error("field {0} must be a boolean")]
    FieldBoolean(&'static str),
    #[error("work results only takes a unit ID and optional start position")]
    TooManyResultsParameters,
    #[error("error converting start position to integer: {0}")]
    StartPosition(IntegerError),
    /// A numeric text in JSON that is no integer.
    #[error(transparent)]
    StartPosText(IntegerError),
    /// The value as Go prints it with `%s`.
    #[error("field startpos value {0} is not convertible to an int")]
    StartPosType(String),
}

/// Why a text is no integer of 64 bits, in the words of Go's `strconv`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum IntegerError {
    #[error("strconv.ParseInt: parsing {}: invalid syntax", quote(.0))]
    Syntax(String),
    #[error("strconv.ParseInt: parsing {}: value out of range", quote(.0))]
    Range(String),
}

/// Why a session refuses to go on. Texts of ours: the original has no limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SessionError {
    /// A command line is longer than the limit; the connection is closed, as its rest cannot be told from stdin.
    #[error("command line is longer than {limit} bytes")]
    LineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// No further connection is served.
    #[error("too many connections, at most {limit} are served at once")]
    TooManyConnections {
        /// The limit.
        limit: usize,
    },
    /// The node is about to end.
    #[error("node is shutting down")]
    ShuttingDown,
}

/// What a client may not do by the rules `allow` of the control service. Texts of ours.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum Denied {
    /// A whole command.
    #[error("permission denied: {0}")]
    Command(&'static str),
    #[error("permission denied: submit of work type {}", one_line(.0))]
    Submit(String),
    #[error("permission denied: submit to node {}", one_line(.0))]
    Remote(String),
    #[error("permission denied: connect to node {}", one_line(.0))]
    Connect(String),
    #[error("permission denied: {verb} of unit {}", one_line(.unit))]
    Unit { verb: &'static str, unit: String },
}

/// A client's word in an answer that is one line.
fn one_line(word: &str) -> String {
    word.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Why a node cannot be reached with a ping (control-protocol 3.1).
///
/// Given inside a JSON answer, not as an `ERROR:` line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum PingProblem {
    #[error("no route to node")]
    NoRoute,
    #[error("timeout")]
    Timeout,
    #[error("blocked by firewall")]
    BlockedByFirewall,
    /// Out of hops: for a traceroute the normal answer of a node on the way.
    #[error("message expired")]
    MessageExpired,
    #[error("service unknown")]
    ServiceUnknown,
    #[error("{0}")]
    Other(String),
}

/// Why a connection to a service could not be opened (control-protocol 3.4).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum ConnectError {
    #[error("unknown TLS config {0}")]
    UnknownTlsConfig(String),
    /// Another node is there and does not know the service.
    #[error("context canceled")]
    ServiceUnknown,
    /// The own node does not know the service.
    #[error("INTERNAL_ERROR (local): service unknown")]
    OwnServiceUnknown,
    #[error("INTERNAL_ERROR (local): no route to node")]
    NoRoute,
    #[error("{0}")]
    Other(String),
}

/// Why a unit cannot be spoken about (control-protocol 3.6).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum UnitError {
    /// The identifier as it was given, whatever it was.
    #[error("unknown work unit {0}")]
    Unknown(String),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Files of the unit could not be removed, or the like; the system's words.
    #[error("{0}")]
    Other(String),
}

/// Why a signature, or its absence, is not accepted (control-protocol 4.7).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum SignatureError {
    #[error("work type did not expect a signature")]
    NotExpected,
    #[error("could not verify signature: signature is empty")]
    Empty,
    #[error("could not verify signature: verifying key not specified")]
    NoVerifyingKey,
    #[error("could not load verifying key file: {0}")]
    UnreadableVerifyingKey(String),
    /// The reason in the words of the original's token library: `token is expired by 1m0s`.
    #[error("could not verify signature: {0}")]
    Invalid(String),
    #[error("token audience did not match node ID")]
    Audience,
    #[error("cannot sign work: signing key is empty")]
    NoSigningKey,
    #[error("could not load signing key file: {0}")]
    UnreadableSigningKey(String),
    /// What is to be signed cannot be read; a text of ours.
    #[error("cannot sign work: {0}")]
    Unsignable(String),
}

/// Why a parameter of a submit is refused, before the "created" line (control-protocol 4.3, 5.3, work-types 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum ParamError {
    /// Runtime `params` for a command that takes none.
    #[error("extra params provided but not allowed")]
    ExtraParams,
    #[error("{0} provided but not allowed")]
    NotAllowed(&'static str),
    #[error("param secret_kube_config must be provided if AuthMethod=runtime")]
    KubeConfigMissing,
    #[error("params kube_command, kube_image, kube_params not compatible with secret_kube_pod")]
    PodNotCompatible,
    /// `pod_pending_timeout`, of which only the reason is told.
    #[error(transparent)]
    PodPendingTimeout(DurationError),
    #[error("error setting value for {name}: {why}")]
    Malformed { name: &'static str, why: String },
    /// `cmd_timeout` may only shorten (work-types 3).
    #[error("cmd_timeout exceeds the configured timeout")]
    TimeoutTooLong,
    /// `stderr: separate` with a stream method that has one stream alone (work-types 2.4).
    #[error("stderr cannot be separated with streammethod {0} on this cluster")]
    StderrNotSeparated(&'static str),
    #[error("could not read pod: {0}")]
    UnreadablePod(String),
    #[error("could not read kubeconfig: {0}")]
    UnreadableKubeConfig(String),
    /// A kubeconfig given at run time names a program of the daemon's host.
    #[error("secret_kube_config: exec credential plugins are not allowed")]
    ExecPlugin,
    /// A kubeconfig given at run time names a file of the daemon's host; the key of the kubeconfig is told.
    #[error("secret_kube_config: {0} is not allowed")]
    KubeConfigFile(&'static str),
    /// An image that no pattern of `imageallow` matches.
    #[error("image {} is not allowed", quote(.0))]
    ImageNotAllowed(String),
    /// A pod definition holds what `podforbid` forbids.
    #[error("secret_kube_pod: {path}: {what} is not allowed")]
    PodForbidden { path: String, what: &'static str },
    /// A container that may use more than `maxcpulimit` or `maxmemorylimit`.
    #[error("secret_kube_pod: {path} exceeds the maximum of {maximum}")]
    PodLimit { path: String, maximum: String },
    /// A container without a limit where there is a ceiling.
    #[error("secret_kube_pod: {path} is missing: the maximum is {maximum}")]
    PodLimitMissing { path: String, maximum: String },
}

/// Why a submit is refused (control-protocol 3.7).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum SubmitError {
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("ttl option is intended for remote work only")]
    TtlOfLocalWork,
    #[error(transparent)]
    Ttl(DurationError),
    #[error("unknown work type {0}")]
    UnknownWorkType(String),
    #[error("unknown TLS config {0}")]
    UnknownTlsConfig(String),
    #[error("cannot send secrets over a non-TLS connection")]
    SecretsWithoutTls,
    #[error(transparent)]
    Param(#[from] ParamError),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The payload broke off or could not be stored; the unit is Failed.
    #[error("{0}")]
    Payload(String),
    /// The unit could not be started after its payload; it stays in the list as Failed.
    #[error("{0}")]
    Start(String),
    /// The unit's files could not be made.
    #[error("{0}")]
    Store(String),
}

/// What another node answered to a request made for a remote unit (control-protocol 3.9, 4.6).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is explained by its text")]
pub enum RemoteError {
    /// The whole answer line in place of the "created" line.
    #[error("could not parse response: {0}")]
    Refused(String),
    /// What followed `ERROR: ` after the payload.
    #[error("error from remote: {0}")]
    Start(String),
    /// The answer to cancel or release from its seventh character on, its line feed included.
    #[error("error cancelling remote unit: {0}")]
    Cancel(String),
    #[error("while expecting node ID {expected}, got message: {got}")]
    WrongNode { expected: String, got: String },
    #[error("write error sending to {node}: {error}")]
    Write { node: String, error: String },
    #[error("read error reading from {node}: {error}")]
    Read { node: String, error: String },
}

/// Why a reload changed nothing, or not all (control-protocol 1.7). Given inside a JSON answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReloadError {
    /// The named action of the file differs and cannot be reloaded.
    #[error(
        "a non-reloadable config action '{0}' was modified or added. \
         Must restart receptor for these changes to take effect ERRORCODE 3"
    )]
    Modified(String),
    /// The named action is gone from the file and cannot be reloaded.
    #[error(
        "a non-reloadable config action '{0}' was removed. Must restart receptor for changes to take effect ERRORCODE 3"
    )]
    Removed(String),
    /// The file cannot be read, or a backend of it not started: the text of that error.
    #[error("{0} ERRORCODE 4")]
    Failed(String),
    /// The process was started without a file.
    #[error("no configuration file was provided, reload function not set ERRORCODE 4")]
    NoFile,
}
