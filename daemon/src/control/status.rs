//! The answer to `status`.

use worknode_protocol::control::{NodeStatus, WorkCommand};

use super::Context;
use crate::work::units::WorkKinds;

/// The answer, with only those of `fields` that exist, or with all for `None`.
pub async fn answer(fields: Option<&[String]>, context: &Context) -> String {
    let own = NodeStatus {
        system_cpu_count: context.machine.cpus,
        system_memory_mib: context.machine.memory_mib,
        version: crate::VERSION.to_owned(),
        node_id: context.node.to_string(),
        ..NodeStatus::default()
    };
    let asked = |field: &str| fields.is_none_or(|fields| fields.iter().any(|name| name == field));
    let status = if NodeStatus::OF_THE_MESH.into_iter().any(asked) { with_mesh(own, context).await } else { own };
    status.to_line(fields)
}

/// Adds what the mesh knows. The own services all show the work types there are now (control-protocol 3.2).
async fn with_mesh(own: NodeStatus, context: &Context) -> NodeStatus {
    let NodeStatus { mut advertisements, connections, known_connection_costs, routing_table, .. } =
        context.mesh.status().await;
    let work_commands = work_commands(context.units.kinds());
    for advertisement in advertisements.iter_mut().filter(|advertisement| advertisement.node_id == own.node_id) {
        advertisement.work_commands.clone_from(&work_commands);
    }
    NodeStatus { advertisements, connections, known_connection_costs, routing_table, ..own }
}

/// The work types that others are told of; none for a node without any.
pub fn work_commands(kinds: &WorkKinds) -> Option<Vec<WorkCommand>> {
    let named = kinds.iter().filter(|kind| !kind.name().is_empty());
    let commands: Vec<_> = named
        .map(|kind| WorkCommand { work_type: kind.name().to_owned(), secure: kind.verifies_signature() })
        .collect();
    (!commands.is_empty()).then_some(commands)
}

/// What the machine has; looked up once, for it costs more than the rest of the answer.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    cpus: usize,
    memory_mib: u64,
}

impl Machine {
    /// This machine.
    pub fn this() -> Self {
        let info = rustix::system::sysinfo();
        Self {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_mib: u64::from(info.mem_unit).saturating_mul(info.totalram) / (1024 * 1024),
        }
    }
}
