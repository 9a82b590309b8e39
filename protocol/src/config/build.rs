//! From actions to one [`NodeConfig`]: the checks of control-protocol 1.4, 2.1 and 5.1, in the order of 1.3.

mod allow;
mod certs;
mod control;
mod kubernetes;
mod kubernetes_parts;
mod mesh;
mod node;
mod nomad;
mod reader;
mod tls;
mod work;

use std::collections::BTreeSet;

use super::error::{CheckError, ConfigError, Phase, Place, Problem};
use super::host::Host;
use super::item::Item;
use super::model::mesh::MeshConfig;
use super::model::nomad::NomadType;
use super::model::{
    ControlLimits, ControlService, KubeTuning, LogLevel, NodeConfig, NodeSection, TlsClient, TlsServer, WorkSigning,
    WorkType, WorkVerification,
};
use super::not_built;
use super::schema;
pub(super) use certs::certificates;
use reader::Reader;

/// What a configuration amounts to.
pub(super) struct Built {
    /// The configuration; to be used only if there are no problems. Without a usable node ID there is none.
    pub(super) config: Option<NodeConfig>,
    /// What is wrong, in receptor's order.
    pub(super) problems: Vec<Problem>,
    /// What is odd but accepted.
    pub(super) notices: Vec<(Place, String)>,
}

/// Judges the actions of all files and of the command line. `tuning_in_node` is whether the Kubernetes client is tuned
/// by the node's parameters instead of the environment (control-protocol 1.1).
pub(super) fn build(mut items: Vec<Item>, host: &dyn Host, tuning_in_node: bool) -> Built {
    if !items.iter().any(|item| item.action.name == "node") {
        items.push(Item::implicit(&schema::NODE));
    }
    let mut builder = Builder {
        host,
        tuning_in_node,
        names: Names::collect(&items),
        parts: Parts::default(),
        problems: Vec::new(),
        notices: Vec::new(),
    };
    builder.tune_kubernetes_by_environment();
    for (order, item) in items.iter().enumerate() {
        builder.take(order, item);
    }
    builder.set_limits(items.iter().find(|item| item.action.name == "daemon"));
    builder.problems.sort_by_key(|(phase, order, _)| (*phase, *order));
    Built {
        config: builder.parts.join(),
        problems: builder.problems.into_iter().map(|(_, _, problem)| problem).collect(),
        notices: builder.notices,
    }
}

/// The parts of a [`NodeConfig`], as far as they have been read.
#[derive(Default)]
struct Parts {
    node: Option<NodeSection>,
    log_level: Option<LogLevel>,
    local_only: bool,
    control_services: Vec<ControlService>,
    tls_servers: Vec<TlsServer>,
    tls_clients: Vec<TlsClient>,
    work_types: Vec<WorkType>,
    nomad_types: Vec<NomadType>,
    work_signing: Option<WorkSigning>,
    work_verification: Option<WorkVerification>,
    mesh: MeshConfig,
    kube_tuning: KubeTuning,
    limits: ControlLimits,
}

impl Parts {
    fn join(self) -> Option<NodeConfig> {
        Some(NodeConfig {
            node: self.node?,
            log_level: self.log_level.unwrap_or(LogLevel::Info),
            local_only: self.local_only,
            control_services: self.control_services,
            tls_servers: self.tls_servers,
            tls_clients: self.tls_clients,
            work_types: self.work_types,
            nomad_types: self.nomad_types,
            work_signing: self.work_signing,
            work_verification: self.work_verification,
            mesh: self.mesh,
            kube_tuning: self.kube_tuning,
            limits: self.limits,
        })
    }
}

/// Names that actions refer to, wherever in the list they stand.
struct Names {
    tls_servers: BTreeSet<String>,
    tls_clients: BTreeSet<String>,
    /// Those of `tls_servers` that take no client without a certificate.
    tls_asking_clients: BTreeSet<String>,
    /// Those that on the mesh hold the certificate against the node that a client comes from.
    tls_checking_nodes: BTreeSet<String>,
    /// Whether there is a key to verify signatures with.
    verification: bool,
}

impl Names {
    fn collect(items: &[Item]) -> Self {
        let of = |action: &'static str| {
            let named = items.iter().filter(move |item| item.action.name == action);
            named.map(|item| item.text("name").to_owned()).collect()
        };
        let verification =
            items.iter().any(|item| item.action.name == "work-verification" && item.filled("publickey").is_some());
        let servers = |wanted: fn(&Item) -> bool| {
            let servers = items.iter().filter(|item| item.action.name == "tls-server");
            servers.filter(|item| wanted(item)).map(|item| item.text("name").to_owned()).collect()
        };
        Self {
            tls_servers: of("tls-server"),
            tls_clients: of("tls-client"),
            tls_asking_clients: servers(|item| item.flag("requireclientcert") || item.filled("clientcas").is_some()),
            tls_checking_nodes: servers(|item| item.flag("requireclientcert")),
            verification,
        }
    }
}

struct Builder<'a> {
    host: &'a dyn Host,
    tuning_in_node: bool,
    names: Names,
    parts: Parts,
    problems: Vec<(Phase, usize, Problem)>,
    notices: Vec<(Place, String)>,
}

impl Builder<'_> {
    fn take(&mut self, order: usize, item: &Item) {
        self.problems.extend(not_built::problems(item).map(|problem| (Phase::Built, order, problem)));
        let mut reader = Reader { builder: self, item, order };
        match item.action.name {
            "node" => reader.node(),
            "local-only" => reader.builder.parts.local_only = true,
            "log-level" => reader.log_level(),
            "control-service" => reader.control_service(),
            "tls-server" => reader.tls_server(),
            "tls-client" => reader.tls_client(),
            "tcp-listener" | "udp-listener" | "ws-listener" => reader.listener(),
            "tcp-peer" | "udp-peer" | "ws-peer" => reader.peer(),
            "command-service" | "tcp-server" | "udp-server" | "tcp-client" | "udp-client" | "unix-socket-server"
            | "unix-socket-client" => reader.bridge(),
            "ip-router" => reader.ip_router(),
            "work-signing" => reader.work_signing(),
            "work-verification" => reader.work_verification(),
            "work-command" => reader.work_command(),
            "work-kubernetes" => reader.work_kubernetes(),
            "work-nomad" => reader.work_nomad(),
            "work-python" => reader.refuse(Phase::Run, "", CheckError::WorkPython),
            // Without effect (`trace`), dealt with before (`version`, `cert-init`) or after (`daemon`), or refused by name.
            _ => {}
        }
    }

    /// Whether a work type of this name exists; `remote` always does.
    fn has_work_type(&self, name: &str) -> bool {
        name == "remote"
            || self.parts.work_types.iter().map(WorkType::name).any(|other| other == name)
            || self.parts.nomad_types.iter().any(|nomad| nomad.work_type == name)
    }

    fn refuse(&mut self, phase: Phase, order: usize, place: Place, error: CheckError) {
        self.problems.push((phase, order, Problem { place, phase, error: ConfigError::Check(error) }));
    }
}
