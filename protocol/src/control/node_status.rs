use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::json;

/// Answer to `status` (control-protocol 3.2). Its keys are fixed: clients print any further one as unknown data.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeStatus {
    /// One entry per node and service known, the own ones included.
    pub advertisements: Vec<Advertisement>,
    /// The direct neighbours.
    pub connections: Vec<ConnectionCost>,
    /// Cost of the link from a node (outer key) to another (inner key).
    pub known_connection_costs: BTreeMap<String, BTreeMap<String, f64>>,
    /// The own identifier.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Next hop by destination.
    pub routing_table: BTreeMap<String, String>,
    /// Logical processors.
    #[serde(rename = "SystemCPUCount")]
    pub system_cpu_count: usize,
    /// Physical memory in MiB.
    #[serde(rename = "SystemMemoryMiB")]
    pub system_memory_mib: u64,
    /// Version of the node.
    pub version: String,
}

/// A service that a node tells the others about.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Advertisement {
    /// The node.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// The service.
    pub service: String,
    /// When the node told it; for own services the time of the answer.
    #[serde(serialize_with = "rfc_3339")]
    pub time: Timestamp,
    /// 0 datagrams, 1 streams, 2 streams with a TLS configuration of the user's.
    pub conn_type: u8,
    /// Tags such as `type`; `null` for none.
    pub tags: Option<BTreeMap<String, String>>,
    /// Work types of the node, without `remote`; `null` for none.
    pub work_commands: Option<Vec<WorkCommand>>,
}

fn rfc_3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// A work type as advertised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct WorkCommand {
    /// Its name.
    pub work_type: String,
    /// Whether it demands signatures.
    pub secure: bool,
}

/// A direct neighbour.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ConnectionCost {
    /// The neighbour.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Cost of the link.
    pub cost: f64,
}

impl NodeStatus {
    /// The keys that tell of other nodes.
    pub const OF_THE_MESH: [&str; 4] = ["Advertisements", "Connections", "KnownConnectionCosts", "RoutingTable"];

    /// The answer as one line, with only those of `fields` that exist, or with all for `None`.
    pub fn to_line(&self, fields: Option<&[String]>) -> String {
        let Some(fields) = fields else {
            return json::to_line(self);
        };
        // Fails for maps with keys that are no text; there are none.
        let Ok(Value::Object(mut all)) = serde_json::to_value(self) else {
            return json::to_line(self);
        };
        all.retain(|name, _| fields.iter().any(|field| field == name));
        json::to_line(&all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advertisement(node: &str, time: &str) -> Advertisement {
        Advertisement {
            node_id: node.to_owned(),
            service: "control".to_owned(),
            time: time.parse().unwrap(),
            conn_type: 1,
            tags: Some(BTreeMap::from([("type".to_owned(), "Control Service".to_owned())])),
            work_commands: None,
        }
    }

    /// A lone node in control-protocol 3.2.
    fn lone() -> NodeStatus {
        NodeStatus {
            advertisements: vec![advertisement("r2", "2026-11-21T01:37:54.728753147Z")],
            node_id: "r2".to_owned(),
            system_cpu_count: 2,
            system_memory_mib: 24105,
            ..NodeStatus::default()
        }
    }

    #[test]
    fn a_lone_node() {
        assert_eq!(
            lone().to_line(None),
            "{\"Advertisements\":[{\"NodeID\":\"r2\",\"Service\":\"control\",\"Time\":\"2026-11-21T01:37:54.728753147Z\",\"ConnType\":1,\"Tags\":{\"type\":\"Control Service\"},\"WorkCommands\":null}],\"Connections\":[],\"KnownConnectionCosts\":{},\"NodeID\":\"r2\",\"RoutingTable\":{},\"SystemCPUCount\":2,\"SystemMemoryMiB\":24105,\"Version\":\"\"}\n"
        );
    }

    /// The second answer of control-protocol 3.2.
    #[test]
    fn a_node_with_a_neighbour() {
        let own = Advertisement {
            work_commands: Some(vec![WorkCommand { work_type: "cat".to_owned(), secure: false }]),
            ..advertisement("n1", "2026-11-21T03:44:48.001325019Z")
        };
        let link = |from: &str, to: &str| (from.to_owned(), BTreeMap::from([(to.to_owned(), 1.0)]));
        let status = NodeStatus {
            advertisements: vec![advertisement("n2", "2026-11-21T03:44:52.951391715Z"), own],
            connections: vec![ConnectionCost { node_id: "n1".to_owned(), cost: 1.0 }],
            known_connection_costs: BTreeMap::from([link("n2", "n1"), link("n1", "n2")]),
            node_id: "n2".to_owned(),
            routing_table: BTreeMap::from([("n1".to_owned(), "n1".to_owned())]),
            ..lone()
        };
        assert_eq!(
            status.to_line(None),
            "{\"Advertisements\":[{\"NodeID\":\"n2\",\"Service\":\"control\",\"Time\":\"2026-11-21T03:44:52.951391715Z\",\"ConnType\":1,\"Tags\":{\"type\":\"Control Service\"},\"WorkCommands\":null},{\"NodeID\":\"n1\",\"Service\":\"control\",\"Time\":\"2026-11-21T03:44:48.001325019Z\",\"ConnType\":1,\"Tags\":{\"type\":\"Control Service\"},\"WorkCommands\":[{\"WorkType\":\"cat\",\"Secure\":false}]}],\"Connections\":[{\"NodeID\":\"n1\",\"Cost\":1}],\"KnownConnectionCosts\":{\"n1\":{\"n2\":1},\"n2\":{\"n1\":1}},\"NodeID\":\"n2\",\"RoutingTable\":{\"n1\":\"n1\"},\"SystemCPUCount\":2,\"SystemMemoryMiB\":24105,\"Version\":\"\"}\n"
        );
    }

    #[test]
    fn requested_fields_select_and_unknown_ones_are_ignored() {
        let line = |fields: &[&str]| lone().to_line(Some(&fields.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>()));
        assert_eq!(line(&["Version", "NodeID"]), "{\"NodeID\":\"r2\",\"Version\":\"\"}\n");
        assert_eq!(line(&["version", "Nope"]), "{}\n");
        assert_eq!(line(&[]), "{}\n");
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        for time in ["2026-11-21T01:37:54Z", "2026-11-21T01:37:54.7Z", "2026-11-21T01:37:54.000000001Z"] {
            assert!(json::to_string(&advertisement("n", time)).contains(&format!("\"Time\":\"{time}\"")), "{time}");
        }
    }
}
