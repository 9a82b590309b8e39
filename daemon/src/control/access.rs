//! Who may do what: the rules `allow` of a control service, held against the client of one session.
//!
//! A service without rules lets everybody do everything, as receptor does. The decision is made before a command is looked
//! at further, so that a refusal changes nothing.

use std::{fmt, path::PathBuf, sync::Arc};

use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use worknode_mesh::tls::certificate_names;
use worknode_protocol::{
    config::model::allow::{AllowRule, Names, Origin, Rights, Units, Who},
    control::{Denied, Request, WorkRequest},
};

use super::{Context, stream::Carrier};
use crate::work::unit::UnitHandle;

/// The file of a unit that says who submitted it. Apart from what runners write: they replace their files as a whole.
const FILE: &str = "owner.json";
/// An owner's file is not longer than a certificate's names.
const FILE_LIMIT: u64 = 256 * 1024;

/// The rules of one control service; none let everybody do everything.
#[derive(Clone, Debug, Default)]
pub struct Rules(Option<Arc<[AllowRule]>>);

impl Rules {
    /// Rules as they were configured.
    pub fn new(allow: Option<&[AllowRule]>) -> Self {
        Self(allow.map(Into::into))
    }

    /// What they give to this client.
    pub fn judge(&self, client: Client) -> Access {
        let rights = self.0.as_ref().map(|rules| {
            rules.iter().filter(|rule| client.is_meant(&rule.who)).fold(Rights::default(), |sum, rule| {
                let Rights { status, reload, submit, remote, connect, results, cancel, release } = rule.rights.clone();
                Rights {
                    status: sum.status || status,
                    reload: sum.reload || reload,
                    submit: joined(sum.submit, submit),
                    remote: joined(sum.remote, remote),
                    connect: joined(sum.connect, connect),
                    results: sum.results.max(results),
                    cancel: sum.cancel.max(cancel),
                    release: sum.release.max(release),
                }
            })
        });
        Access { client, rights }
    }
}

fn joined(one: Names, other: Names) -> Names {
    match (one, other) {
        (Names::Any, _) | (_, Names::Any) => Names::Any,
        (Names::None, names) | (names, Names::None) => names,
        (Names::Only(mut names), Names::Only(more)) => {
            names.extend(more);
            Names::Only(names)
        }
    }
}

/// A client, as far as its connection tells who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Client {
    /// On the Unix socket: what the kernel says of the process that connected. `None` where it does not say.
    Unix {
        /// User and group that the process had at that moment.
        ids: Option<(u32, u32)>,
    },
    /// On the TCP port.
    Tcp {
        /// The names in its certificate; none without one.
        names: Vec<String>,
    },
    /// On the mesh.
    Mesh {
        /// The node in the header of its packets, which only a required certificate proves.
        node: String,
        /// The names in its certificate; none without one.
        names: Vec<String>,
    },
}

impl Client {
    /// The names of a client that has shown these certificates, its own first. Names that cannot be read are none.
    pub fn names(certificates: Option<&[CertificateDer<'_>]>) -> Vec<String> {
        let own = certificates.and_then(<[_]>::first);
        let mut names = own.and_then(|own| certificate_names(own).ok()).unwrap_or_default();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn is_meant(&self, who: &Who) -> bool {
        let (origin, ids, node, names) = match self {
            Self::Unix { ids } => (Origin::Unix, *ids, None, &[][..]),
            Self::Tcp { names } => (Origin::Tcp, None, None, &names[..]),
            Self::Mesh { node, names } => (Origin::Mesh, None, Some(node), &names[..]),
        };
        (who.from.is_empty() || who.from.contains(&origin))
            && (who.uids.is_empty() || ids.is_some_and(|(uid, _)| who.uids.contains(&uid)))
            && (who.gids.is_empty() || ids.is_some_and(|(_, gid)| who.gids.contains(&gid)))
            && (who.nodes.is_empty() || node.is_some_and(|node| who.nodes.contains(node)))
            && (who.certificates.is_empty() || names.iter().any(|name| who.certificates.contains(name)))
    }

    /// Who owns what this client submits; nobody where nothing tells one client from another.
    fn owner(&self) -> Option<Owner> {
        match self {
            Self::Unix { ids } => ids.map(|(uid, _)| Owner::Unix { uid }),
            Self::Tcp { names } if names.is_empty() => None,
            Self::Tcp { names } => Some(Owner::Certificate { names: names.clone() }),
            Self::Mesh { node, names } => Some(Owner::Mesh { node: node.clone(), names: names.clone() }),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix { ids: Some((uid, gid)) } => write!(f, "user {uid}, group {gid}"),
            Self::Unix { ids: None } => f.write_str("a client of the Unix socket"),
            Self::Tcp { names } if names.is_empty() => f.write_str("a client of the TCP port"),
            Self::Tcp { names } => write!(f, "certificate {}", names.join(", ")),
            Self::Mesh { node, names } if names.is_empty() => write!(f, "node {node}, not proven"),
            Self::Mesh { node, .. } => write!(f, "node {node}"),
        }
    }
}

/// Who submitted a unit. A node that has proven its name by a certificate is another owner than one that has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "from")]
enum Owner {
    Unix { uid: u32 },
    Certificate { names: Vec<String> },
    Mesh { node: String, names: Vec<String> },
}

/// A client and what it may do.
#[derive(Clone, Debug)]
pub struct Access {
    client: Client,
    /// None: everything.
    rights: Option<Rights>,
}

impl Access {
    /// How the client is connected.
    pub fn carrier(&self) -> Carrier {
        match self.client {
            Client::Unix { .. } => Carrier::Unix,
            Client::Tcp { .. } => Carrier::Tcp,
            Client::Mesh { .. } => Carrier::Mesh,
        }
    }

    /// Whether the client may have this carried out. A unit that is not there is nobody's, and is answered as unknown to
    /// those who may do this to some unit.
    ///
    /// # Errors
    /// It may not.
    pub async fn check(&self, request: &Request, context: &Context) -> Result<(), Denied> {
        let Some(rights) = &self.rights else { return Ok(()) };
        let judged = match request {
            Request::Ping { .. } => command(rights.status, "ping"),
            Request::Traceroute { .. } => command(rights.status, "traceroute"),
            Request::Status { .. } => command(rights.status, "status"),
            Request::Reload => command(rights.reload, "reload"),
            Request::Connect { node, .. } => {
                let own = context.node.is_called(node) && rights.connect.holds(context.node.as_str());
                if own || rights.connect.holds(node) { Ok(()) } else { Err(Denied::Connect(node.clone())) }
            }
            Request::Work(work) => self.check_work(work, rights, context).await,
        };
        judged.inspect_err(|denied| tracing::info!("{}: {denied}", self.client))
    }

    async fn check_work(&self, request: &WorkRequest, rights: &Rights, context: &Context) -> Result<(), Denied> {
        let (may, verb, unit) = match request {
            WorkRequest::List { .. } => return command(rights.status, "work list"),
            WorkRequest::Status(_) => return command(rights.status, "work status"),
            WorkRequest::Prune(_) => return command(rights.release == Units::Any, "work prune"),
            WorkRequest::Submit(submit) if !rights.submit.holds(&submit.work_type) => {
                return Err(Denied::Submit(submit.work_type.clone()));
            }
            WorkRequest::Submit(submit) => {
                let near = context.node.is_called(&submit.node);
                let may = near || rights.remote.holds(&submit.node);
                return if may { Ok(()) } else { Err(Denied::Remote(submit.node.clone())) };
            }
            WorkRequest::Results(wanted) | WorkRequest::Follow(wanted) => (rights.results, "results", &wanted.unit),
            WorkRequest::Describe(order) => (rights.results, "describe", &order.unit),
            WorkRequest::Cancel(order) => (rights.cancel, "cancel", &order.unit),
            WorkRequest::Release(order) => (rights.release, "release", &order.unit),
            WorkRequest::ForceRelease(order) => (rights.release, "force-release", &order.unit),
        };
        let may = match may {
            Units::Any => true,
            Units::None => false,
            Units::Own => match context.units.get(unit) {
                Some(unit) => self.owns(&unit).await,
                None => true,
            },
        };
        if may { Ok(()) } else { Err(Denied::Unit { verb, unit: unit.clone() }) }
    }

    async fn owns(&self, unit: &UnitHandle) -> bool {
        let Some(client) = self.client.owner() else { return false };
        let file = unit.dir().file(FILE);
        let owner = tokio::task::spawn_blocking(move || read(&file)).await;
        owner.ok().flatten() == Some(client)
    }

    /// Notes with a new unit whose it is, before anybody has been told of it. Without rules nobody asks.
    ///
    /// # Errors
    /// The file system's.
    pub async fn claim(&self, unit: &UnitHandle) -> std::io::Result<()> {
        let Some(owner) = self.rights.as_ref().and_then(|_| self.client.owner()) else { return Ok(()) };
        let dir = unit.dir().clone();
        let write = move || dir.replace_file(FILE, serde_json::to_string(&owner)?.as_bytes());
        tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other)?
    }
}

fn command(may: bool, name: &'static str) -> Result<(), Denied> {
    if may { Ok(()) } else { Err(Denied::Command(name)) }
}

/// A file that is not there or cannot be read makes the unit nobody's.
fn read(file: &PathBuf) -> Option<Owner> {
    use std::io::Read;
    let mut text = Vec::new();
    std::fs::File::open(file).and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut text)).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests;
