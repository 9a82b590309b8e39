//! `ctl node list`: the nodes of the mesh, as one of them knows them.

use serde_json::{Value, json};
use worknode_protocol::control::Request;

use super::Node;
use super::status::last_seen;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::mesh::Mesh;
use crate::output::{Printer, table};

const HEADINGS: [&str; 6] = ["NODE", "VIA", "COST", "SERVICES", "WORK TYPES", "LAST SEEN"];

pub(super) fn run(node: &Node, printer: &mut Printer) -> Result<Exit, Failure> {
    let answer = node.session()?.ask(&Request::Status { fields: None })?;
    let mesh = Mesh::of(answer.fields());
    if printer.json() {
        printer.indented(&json(&mesh))?;
    } else {
        printer.data(text(&mesh).as_bytes())?;
    }
    Ok(Exit::Done)
}

/// The own node first. Work types that want signed requests have a star.
fn text(mesh: &Mesh) -> String {
    let ways = mesh.ways();
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    let (own, others): (Vec<_>, Vec<_>) = mesh.nodes.iter().partition(|(name, _)| **name == mesh.own);
    rows.extend(own.into_iter().chain(others).map(|(name, node)| {
        let types = node.work_types.iter().cloned().chain(node.secure_work_types.iter().map(|name| format!("{name}*")));
        [
            name.clone(),
            node.via.clone().unwrap_or_else(|| "-".to_owned()),
            ways.get(name.as_str()).map_or_else(|| "-".to_owned(), |way| way.cost.to_string()),
            words(node.services.iter().cloned()),
            words(types),
            if node.last_seen.is_empty() { "-".to_owned() } else { last_seen(&node.last_seen) },
        ]
    }));
    table(&rows)
}

fn words(names: impl Iterator<Item = String>) -> String {
    let joined = names.collect::<Vec<_>>().join(",");
    if joined.is_empty() { "-".to_owned() } else { joined }
}

fn json(mesh: &Mesh) -> Value {
    let ways = mesh.ways();
    let nodes = mesh.nodes.iter().map(|(name, node)| {
        json!({
            "node": name,
            "self": *name == mesh.own,
            "via": node.via,
            "cost": ways.get(name.as_str()).map(|way| way.cost),
            "services": node.services,
            "worktypes": node.work_types,
            "secureworktypes": node.secure_work_types,
            "lastseen": (!node.last_seen.is_empty()).then_some(&node.last_seen),
        })
    });
    nodes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::tests::{mesh, triangle};

    #[test]
    fn a_line_for_each_node() {
        assert_eq!(
            text(&mesh(triangle())),
            "NODE  VIA  COST  SERVICES      WORK TYPES  LAST SEEN\n\
             hub   -    0     -             -           -\n\
             a     a    1     -             -           -\n\
             b     a    2     control,echo  cat,run*    2026-11-21 01:38:00\n\
             c     a    4     -             -           -\n\
             gone  -    -     control       -           2026-11-21 01:00:00\n"
        );
    }

    #[test]
    fn json_has_the_same() {
        let nodes = json(&mesh(triangle()));
        assert_eq!(
            nodes.get(1),
            Some(&json!({
                "node": "b", "self": false, "via": "a", "cost": 2.0, "services": ["control", "echo"],
                "worktypes": ["cat"], "secureworktypes": ["run"], "lastseen": "2026-11-21T01:38:00Z",
            }))
        );
        assert_eq!(nodes.get(4).and_then(|node| node.get("self")), Some(&json!(true)));
    }
}
