//! What is wrong with the rules of a control service.

/// What is wrong with `allow`, or with one of its rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowFault {
    /// Not a list.
    #[error("expected a list of rules")]
    NotAList,
    /// Nobody could do anything.
    #[error("no rule is given, so nobody could do anything")]
    Empty,
    /// A text that is no list of rules in JSON either.
    #[error("{0}")]
    Json(String),
    /// A rule that is no map.
    #[error("expected a map of keys and values")]
    NotAMap,
    /// A key that rules do not have.
    #[error("unknown key: {0}")]
    Key(String),
    /// A value that its key does not take.
    #[error("{key} must be {form}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it takes.
        form: &'static str,
    },
    /// A rule that gives nothing.
    #[error("gives no right")]
    NoRight,
    /// Conditions that no client can meet together.
    #[error(
        "uid and gid are of the Unix socket, node is of the mesh, certificate of TCP and mesh: no client has all of this"
    )]
    Contradiction,
    /// A condition on clients that cannot come.
    #[error("is for clients of listeners that this control service does not have")]
    NoListener,
    /// A condition on certificates that nobody is asked for.
    #[error("certificate needs a tls-server with requireclientcert at this control service")]
    NoCertificates,
}

impl AllowFault {
    /// What would be right, where that can be told.
    pub(super) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotAList | Self::NotAMap | Self::Json(_) => {
                "write rules such as `- {uid: 1000, status: true, submit: [cat]}`"
            }
            Self::Empty => "leave allow out to let everybody do everything",
            Self::Key(_) => {
                "keys are from, uid, gid, certificate, node; status, submit, remote, results, cancel, release, connect, reload, all"
            }
            Self::NoRight => "add a right such as status: true",
            Self::NoListener => "filename, tcplisten and service make the listeners",
            Self::NoCertificates => "set requireclientcert at the tls-server that tls or tcptls names",
            Self::Value { .. } | Self::Contradiction => return None,
        })
    }
}
