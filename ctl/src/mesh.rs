//! What the answer to `status` says of the mesh (control-protocol 3.2): nodes, links and the cheapest ways.
//!
//! Other nodes have written most of it. What has another form than expected is left out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::output::one_line;

/// The mesh as one node sees it.
#[derive(Debug, Default)]
pub(crate) struct Mesh {
    /// The node that was asked.
    pub(crate) own: String,
    /// All that it knows, itself included.
    pub(crate) nodes: BTreeMap<String, Node>,
    /// From node to node; by each link's two ends, the lesser name first.
    pub(crate) links: BTreeMap<(String, String), Link>,
}

/// What is known of a node.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// The neighbour through which messages to it go.
    pub(crate) via: Option<String>,
    pub(crate) services: BTreeSet<String>,
    pub(crate) work_types: BTreeSet<String>,
    /// Those that want signed requests.
    pub(crate) secure_work_types: BTreeSet<String>,
    /// When it was last heard of, in RFC 3339; empty if its services were never told.
    pub(crate) last_seen: String,
}

/// What it costs to go over a link. Each end says it for itself, so one may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Link {
    /// From the lesser name to the greater.
    there: Option<f64>,
    back: Option<f64>,
}

/// The cheapest way from the own node to another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Way<'a> {
    /// The last node before it; `None` for the own node.
    pub(crate) from: Option<&'a str>,
    pub(crate) cost: f64,
}

impl Mesh {
    pub(crate) fn of(status: &Map<String, Value>) -> Self {
        let own = status.get("NodeID").and_then(Value::as_str).map(one_line).unwrap_or_default();
        let mut mesh = Self { own, ..Self::default() };
        let own = mesh.own.clone();
        mesh.node(&own);
        for connection in list(status.get("Connections")) {
            mesh.link(&own, &text(connection, "NodeID"), connection.get("Cost"));
        }
        for (from, peers) in entries(status.get("KnownConnectionCosts")) {
            mesh.node(&from);
            entries(Some(peers)).for_each(|(to, cost)| mesh.link(&from, &to, Some(cost)));
        }
        for (to, via) in entries(status.get("RoutingTable")) {
            mesh.node(&to).via = via.as_str().map(one_line);
        }
        for service in list(status.get("Advertisements")) {
            mesh.node(&text(service, "NodeID")).add(service);
        }
        mesh
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.entry(name.to_owned()).or_default()
    }

    fn link(&mut self, from: &str, to: &str, cost: Option<&Value>) {
        let Some(cost) = cost.and_then(Value::as_f64).filter(|cost| cost.is_finite() && *cost >= 0.0) else { return };
        self.node(from);
        self.node(to);
        let link = self.links.entry(ends(from, to)).or_default();
        *(if from <= to { &mut link.there } else { &mut link.back }) = Some(cost);
    }

    /// The cheapest ways to all nodes that can be reached, by node (Dijkstra). Of equal ones that over the lesser name.
    pub(crate) fn ways(&self) -> BTreeMap<&str, Way<'_>> {
        let mut neighbours: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
        for ((one, other), link) in &self.links {
            neighbours.entry(one).or_default().push((other, link.cost(true)));
            neighbours.entry(other).or_default().push((one, link.cost(false)));
        }
        let mut ways = BTreeMap::new();
        // The bits of floating point numbers that are not negative are in the order of the numbers.
        let mut ahead: BTreeSet<(u64, &str, &str)> = BTreeSet::from([(0, "", self.own.as_str())]);
        while let Some((bits, from, node)) = ahead.pop_first() {
            if ways.contains_key(node) {
                continue;
            }
            let cost = f64::from_bits(bits);
            ways.insert(node, Way { from: (node != self.own).then_some(from), cost });
            for (next, step) in neighbours.get(node).into_iter().flatten() {
                ahead.insert(((cost + step).to_bits(), node, next));
            }
        }
        ways
    }

    /// The link between two nodes.
    pub(crate) fn link_between(&self, one: &str, other: &str) -> Link {
        self.links.get(&ends(one, other)).copied().unwrap_or_default()
    }
}

impl Node {
    fn add(&mut self, service: &Value) {
        self.services.insert(text(service, "Service"));
        for command in list(service.get("WorkCommands")) {
            let secure = command.get("Secure").and_then(Value::as_bool).unwrap_or(false);
            let types = if secure { &mut self.secure_work_types } else { &mut self.work_types };
            types.insert(text(command, "WorkType"));
        }
        // Of one zone mostly, and then in the order of time.
        self.last_seen = std::mem::take(&mut self.last_seen).max(text(service, "Time"));
    }
}

impl Link {
    fn cost(self, there: bool) -> f64 {
        let (first, second) = if there { (self.there, self.back) } else { (self.back, self.there) };
        first.or(second).unwrap_or_default()
    }

    /// `1`, or both costs where they differ: `1/2.5`, the lesser name's first.
    pub(crate) fn label(self) -> String {
        match (self.there, self.back) {
            (Some(there), Some(back)) if there.to_bits() != back.to_bits() => format!("{there}/{back}"),
            _ => self.cost(true).to_string(),
        }
    }
}

fn ends(one: &str, other: &str) -> (String, String) {
    let (least, greatest) = if one <= other { (one, other) } else { (other, one) };
    (least.to_owned(), greatest.to_owned())
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten().map(|(name, value)| (one_line(name), value))
}

fn text(object: &Value, name: &str) -> String {
    object.get(name).and_then(Value::as_str).map(one_line).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn mesh(status: Value) -> Mesh {
        match status {
            Value::Object(status) => Mesh::of(&status),
            other => panic!("{other}"),
        }
    }

    /// Hub and two leaves, of which `b` has a second, dearer link to the hub's neighbour `a`, and a node without a way.
    pub(crate) fn triangle() -> Value {
        json!({
            "NodeID": "hub",
            "Connections": [{"NodeID": "a", "Cost": 1}, {"NodeID": "b", "Cost": 3}],
            "KnownConnectionCosts": {
                "hub": {"a": 1, "b": 3}, "a": {"hub": 1, "b": 1}, "b": {"hub": 3, "a": 1.5, "c": 2}, "c": {"b": 2},
            },
            "RoutingTable": {"a": "a", "b": "a", "c": "a"},
            "Advertisements": [
                {"NodeID": "gone", "Service": "control", "Time": "2026-11-21T01:00:00Z", "WorkCommands": null},
                {"NodeID": "b", "Service": "control", "Time": "2026-11-21T01:38:00Z", "WorkCommands": [
                    {"WorkType": "cat", "Secure": false}, {"WorkType": "run", "Secure": true},
                ]},
                {"NodeID": "b", "Service": "echo", "Time": "2026-11-21T01:37:00Z", "WorkCommands": null},
            ],
        })
    }

    #[test]
    fn the_cheapest_way_counts() {
        let mesh = mesh(triangle());
        let ways = mesh.ways();
        let way = |node| ways.get(node).map(|way| (way.from, way.cost));
        assert_eq!(way("hub"), Some((None, 0.0)));
        assert_eq!(way("b"), Some((Some("a"), 2.0)));
        assert_eq!(way("c"), Some((Some("b"), 4.0)));
        assert_eq!(way("gone"), None);
    }

    #[test]
    fn a_link_tells_both_its_costs_where_they_differ() {
        let mesh = mesh(triangle());
        assert_eq!(mesh.link_between("b", "a").label(), "1/1.5");
        assert_eq!(mesh.link_between("hub", "b").label(), "3");
        assert_eq!(Link { there: None, back: Some(2.0) }.label(), "2");
    }

    #[test]
    fn a_node_is_what_its_services_say() {
        let mesh = mesh(triangle());
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(
            mesh.nodes.get("b"),
            Some(&Node {
                via: Some("a".to_owned()),
                services: set(&["control", "echo"]),
                work_types: set(&["cat"]),
                secure_work_types: set(&["run"]),
                last_seen: "2026-11-21T01:38:00Z".to_owned(),
            })
        );
        assert_eq!(mesh.nodes.keys().collect::<Vec<_>>(), ["a", "b", "c", "gone", "hub"]);
    }

    #[test]
    fn what_has_another_form_is_left_out() {
        for status in [
            json!({}),
            json!({"NodeID": 7, "Connections": {}, "KnownConnectionCosts": [], "RoutingTable": 1, "Advertisements": "x"}),
            json!({"NodeID": "a", "KnownConnectionCosts": {"a": {"b": "x", "c": -1, "d": null}}, "Connections": [1]}),
        ] {
            let mesh = mesh(status);
            assert_eq!((mesh.nodes.len(), mesh.links.len(), mesh.ways().len()), (1, 0, 1));
        }
        assert_eq!(mesh(json!({"NodeID": "a\u{1b}[31m\n"})).own, "a [31m ");
    }
}
