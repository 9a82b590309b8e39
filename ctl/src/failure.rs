use std::io;
use std::path::PathBuf;

use thiserror::Error;
use worknode_protocol::control::client::{AnswerError, ClientError, Refused};

use crate::exit::Exit;

/// Why a command could not be carried out. `Display` is the text after `ERROR: `, in the original client's words where
/// it has some (control-protocol 6.1 to 6.3).
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A combination of options that clap cannot refuse.
    #[error("{0}")]
    Usage(String),

    // Finding the node.
    #[error("settings file {}: {error}", file.display())]
    Settings { file: PathBuf, error: String },
    #[error("settings in the environment: {0}")]
    Environment(String),
    #[error("Missing parameter: socket")]
    NoSocket,
    #[error("Invalid socket address {0}")]
    InvalidAddress(String),
    #[error("Cannot specify both config and rootcas, key, cert")]
    ConfigAndFiles,
    #[error("Must specify both config and tlsclient")]
    ConfigWithoutName,
    #[error("{}: {error}", file.display())]
    Config { file: PathBuf, error: String },
    #[error("there is no tls-client {name} in {}", file.display())]
    NoTlsClient { file: PathBuf, name: String },
    #[error("TLS: {}: {error}", file.display())]
    TlsFile { file: PathBuf, error: String },
    #[error("TLS: {0}")]
    Tls(String),

    // Connecting.
    #[error("Socket path does not exist: {}", .0.display())]
    NoSuchSocket(PathBuf),
    #[error("Could not connect to socket {}: {error}", path.display())]
    Socket { path: PathBuf, error: io::Error },
    #[error("Could not connect to host {host} port {port}")]
    Host { host: String, port: u16, why: Option<String> },

    // The dialogue.
    #[error(transparent)]
    Dialogue(#[from] ClientError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("{0}")]
    Connection(io::Error),
    /// An answer that refuses.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// `connect` tells the whole line of a refusal.
    #[error("{}", .0.line())]
    NotConnected(Refused),
    #[error("node {0} does not support this command")]
    Unsupported(String),

    // Submit.
    #[error("Must provide one of --payload, --no-payload or --payload-literal.")]
    NoPayload,
    #[error("Cannot provide more than one of --payload, --no-payload and --payload-literal.")]
    TwoPayloads,
    #[error("Failed to load payload file: {}", python_error(error, file))]
    PayloadFile { file: String, error: io::Error },
    /// Of the parameter with this number, from 0, that has no `=`.
    #[error("dictionary update sequence element #{0} has length 1; 2 is required")]
    ParamWithoutValue(usize),
    #[error("string index out of range")]
    EmptyParam(String),
    #[error("Duplicate or illegal parameter {0}")]
    IllegalParam(String),
    #[error("{0} does not exist")]
    NoParamFile(String),
    #[error("could not read from file {file}")]
    ParamFile { file: String, error: String },
    #[error("Failed to start work unit: {0}")]
    NotStarted(Refused),
    #[error("Remote error: {}", .0.line())]
    Remote(Refused),
    #[error("Failed to start work unit")]
    NotCreated,
    #[error("the payload could not be read: {0}")]
    PayloadRead(io::Error),
    /// Anything in the course of a submit, which ends with a code of its own.
    #[error(transparent)]
    Submit(Box<Self>),

    // Units.
    #[error("Failed to get results: {0}")]
    NoResults(Refused),
    /// The line feed leaves an empty line behind the text, as the original's does.
    #[error("Remote unit failed: {0}\n")]
    UnitFailed(String),
    #[error("{unit}: ERROR: {error}")]
    OfUnit { unit: String, error: Box<Self> },
    #[error("timed out waiting for {0}")]
    TimedOut(String),

    // Our own end.
    #[error("{0}")]
    Terminal(io::Error),
    #[error("{0}")]
    Output(io::Error),
}

impl Failure {
    pub(crate) fn in_submit(self) -> Self {
        Self::Submit(Box::new(self))
    }

    pub(crate) fn of_unit(self, unit: &str) -> Self {
        Self::OfUnit { unit: unit.to_owned(), error: Box::new(self) }
    }

    /// How the process ends after it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::UsageOrNoReply,
            Self::Unsupported(_) => Exit::Unsupported,
            Self::Submit(_) => Exit::SubmitFailed,
            Self::TimedOut(_) => Exit::TimedOut,
            _ => Exit::Error,
        }
    }

    /// Whether whoever read our output has gone, which is no error.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What to do next, told after a blank line.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSocket => {
                "neither /run/worknode/worknode.sock nor /run/receptor/receptor.sock exists; name the node's control \
                 socket with --socket, WORKNODE_CTL_SOCKET, or the key socket in ~/.config/worknode/ctl.toml"
            }
            Self::InvalidAddress(_) => {
                "an address is a path without colons, unix:PATH, tcp://HOST:PORT or tls://HOST:PORT"
            }
            Self::NoSuchSocket(_) => {
                "is the node running, and does control-service in its configuration have this filename?"
            }
            Self::Socket { error, .. } => match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "the socket's mode is set by permissions of control-service in the node's configuration"
                }
                io::ErrorKind::ConnectionRefused => "nobody listens on this socket any more; start the node again",
                _ => return None,
            },
            Self::Host { why, .. } => return why.clone(),
            Self::Dialogue(ClientError::NoBanner) => {
                "this is not a control service, or it wants TLS: use tls://HOST:PORT for a control-service with tcptls"
            }
            Self::Dialogue(ClientError::LineTooLong { .. }) => "narrow the question, for instance with --unit_id",
            Self::ConfigWithoutName => "name the section with --tls-client",
            Self::NoTlsClient { .. } => "the name is the value of name in an action tls-client",
            Self::NoPayload => "pipe the payload in, or use -n for none",
            Self::ParamFile { error, .. } => return Some(error.clone()),
            Self::ParamWithoutValue(_) => "a parameter is written --param KEY=VALUE or --param KEY=@FILE",
            Self::EmptyParam(name) => return Some(format!("{name} has no value; leave it out instead")),
            Self::IllegalParam(name) => {
                return Some(format!("{name} is given twice, or is no parameter; see ctl work submit --help"));
            }
            Self::NotStarted(refused) | Self::Refused(refused) | Self::NoResults(refused) => return next_step(refused),
            Self::UnitFailed(_) => "ctl work status shows the unit, ctl work release deletes it",
            Self::OfUnit { error, .. } | Self::Submit(error) => return error.hint(),
            Self::TimedOut(_) => "the units go on; wait again, or end them with ctl work cancel",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// What to do after a refusal of the node.
fn next_step(refused: &Refused) -> Option<String> {
    let text = refused.text();
    let hint = if refused.is_unknown_unit() {
        "ctl work list -q shows the units of this node; for those of another use --node"
    } else if text.starts_with("unknown work type") {
        "ctl status lists the work types of each node"
    } else if text.ends_with("provided but not allowed") {
        "the work type's configuration must permit this parameter, see allowruntime... in its section"
    } else if text.starts_with("unknown TLS config") {
        "the name is that of a tls-client in the node's own configuration"
    } else if text == "cannot send secrets over a non-TLS connection" {
        "name a tls-client of the node's configuration with --tls-client"
    } else if text.contains("no route to node") {
        "ctl status lists the nodes that can be reached"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

/// A failure to open a file in the words of the original client: `[Errno 2] No such file or directory: '/nope'`.
fn python_error(error: &io::Error, file: &str) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => {
            let words = text.split(" (os error").next().unwrap_or_default();
            format!("[Errno {number}] {words}: '{file}'")
        }
        None => text,
    }
}
