//! Who may do what at a control service: the key `allow`.

/// A rule: whoever is meant by `who` gets these rights. Rules only give; what none gives is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowRule {
    /// Whom it is for.
    pub who: Who,
    /// What they may do.
    pub rights: Rights,
}

/// Whom a rule is for. Each list that is not empty must hold something of the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// Listeners through which the client came.
    pub from: Vec<Origin>,
    /// User IDs of clients on the Unix socket.
    pub uids: Vec<u32>,
    /// Group IDs of clients on the Unix socket.
    pub gids: Vec<u32>,
    /// Names, one of which the client's certificate carries.
    pub certificates: Vec<String>,
    /// Nodes from which a client of the mesh comes.
    pub nodes: Vec<String>,
}

/// The listener of a control service through which a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The Unix socket.
    Unix,
    /// The TCP port, with or without TLS.
    Tcp,
    /// The service on the mesh.
    Mesh,
}

/// What clients may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// `status`, `ping`, `traceroute`, `work list`, `work status`.
    pub status: bool,
    /// `reload`.
    pub reload: bool,
    /// `work submit`, by work type.
    pub submit: Names,
    /// Other nodes that work may be submitted to, beside the work type.
    pub remote: Names,
    /// `connect`, by node.
    pub connect: Names,
    /// `work results`, `work describe`.
    pub results: Units,
    /// `work cancel`.
    pub cancel: Units,
    /// `work release`, `work force-release`; of any unit `work prune`, too.
    pub release: Units,
}

impl Rights {
    /// Everything.
    #[must_use]
    pub const fn all() -> Self {
        Self {
            status: true,
            reload: true,
            submit: Names::Any,
            remote: Names::Any,
            connect: Names::Any,
            results: Units::Any,
            cancel: Units::Any,
            release: Units::Any,
        }
    }
}

/// Which work types, or which nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Names {
    /// None.
    #[default]
    None,
    /// These.
    Only(Vec<String>),
    /// All.
    Any,
}

impl Names {
    /// Whether this one is among them.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Only(names) => names.iter().any(|other| other == name),
            Self::Any => true,
        }
    }
}

/// Which units; each includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Units {
    /// None.
    #[default]
    None,
    /// Those that the client has submitted itself.
    Own,
    /// All.
    Any,
}
