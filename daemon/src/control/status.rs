//! The answer to `status`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use worknode_protocol::control::{Advertisement, ConnectionCost, NodeStatus, WorkCommand};

use super::Context;

/// A stream service without a TLS configuration of the user's (control-protocol 3.2).
const STREAM: u8 = 1;

/// What this node knows of itself and others, now.
pub fn of(context: &Context) -> NodeStatus {
    let view = context.network.view();
    NodeStatus {
        advertisements: own_advertisements(context),
        connections: view.connections.into_iter().map(|(node_id, cost)| ConnectionCost { node_id, cost }).collect(),
        node_id: context.node.to_string(),
        system_cpu_count: context.machine.cpus,
        system_memory_mib: context.machine.memory_mib,
        version: crate::VERSION.to_owned(),
        ..NodeStatus::default()
    }
}

fn own_advertisements(context: &Context) -> Vec<Advertisement> {
    let kinds = context.units.kinds().iter().filter(|kind| !kind.name().is_empty());
    let work_commands: Vec<_> = kinds
        .map(|kind| WorkCommand { work_type: kind.name().to_owned(), secure: kind.verifies_signature() })
        .collect();
    let own = context.services.names().into_iter().map(|service| Advertisement {
        node_id: context.node.to_string(),
        service,
        time: Timestamp::now(),
        conn_type: STREAM,
        tags: Some(BTreeMap::from([("type".to_owned(), "Control Service".to_owned())])),
        work_commands: (!work_commands.is_empty()).then(|| work_commands.clone()),
    });
    own.collect()
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
