//! The mesh as a picture: text for people, DOT and Mermaid for programs that draw.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::cli::GraphForm;
use crate::mesh::{Mesh, Way};

pub(super) fn draw(mesh: &Mesh, form: GraphForm) -> String {
    match form {
        GraphForm::Text => text(mesh),
        GraphForm::Dot => dot(mesh),
        GraphForm::Mermaid => mermaid(mesh),
    }
}

/// A tree of the cheapest ways, then the links that are not part of it, then nodes without a way.
fn text(mesh: &Mesh) -> String {
    let ways = mesh.ways();
    let mut out = tree(mesh, &ways);
    let of_tree = |one: &str, other: &str| ways.get(one).is_some_and(|way| way.from == Some(other));
    let mut others =
        mesh.links.iter().filter(|((one, other), _)| !of_tree(one, other) && !of_tree(other, one)).peekable();
    if others.peek().is_some() {
        out.push_str("\nFurther links\n");
    }
    for ((one, other), link) in others {
        let _ = writeln!(out, "{one} ── {other}  {}", link.label());
    }
    let mut lost = mesh.nodes.keys().filter(|node| !ways.contains_key(node.as_str())).peekable();
    if lost.peek().is_some() {
        out.push_str("\nNo way known\n");
    }
    for node in lost {
        let _ = writeln!(out, "{node}");
    }
    out
}

/// Each node below the one through which it is reached, with the cost of that link.
fn tree(mesh: &Mesh, ways: &BTreeMap<&str, Way<'_>>) -> String {
    let mut below: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (node, way) in ways {
        below.entry(way.from.unwrap_or_default()).or_default().extend(way.from.map(|_| *node));
    }
    let mut out = format!("{}\n", mesh.own);
    // Branches still to be drawn, the next one last: the node above, the node, what stands left of its branch. No
    // recursion: a mesh may be one long chain.
    let mut ahead: Vec<(&str, &str, String, bool)> = Vec::new();
    let mut branches = |above, indent: &str, ahead: &mut Vec<_>| {
        let nodes = below.remove(above).unwrap_or_default();
        ahead.extend(nodes.into_iter().rev().enumerate().map(|(n, node)| (above, node, indent.to_owned(), n == 0)));
    };
    branches(mesh.own.as_str(), "", &mut ahead);
    while let Some((above, node, indent, last)) = ahead.pop() {
        let (branch, beside) = if last { ("└── ", "    ") } else { ("├── ", "│   ") };
        let _ = writeln!(out, "{indent}{branch}{node}  {}", mesh.link_between(above, node).label());
        branches(node, &format!("{indent}{beside}"), &mut ahead);
    }
    out
}

/// For `dot` of Graphviz.
fn dot(mesh: &Mesh) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    let mut out = "graph mesh {\n".to_owned();
    for node in mesh.nodes.keys() {
        let style = if *node == mesh.own { " [style=bold]" } else { "" };
        let _ = writeln!(out, "  {}{style};", quoted(node));
    }
    for ((one, other), link) in &mesh.links {
        let _ = writeln!(out, "  {} -- {} [label=\"{}\"];", quoted(one), quoted(other), link.label());
    }
    out + "}\n"
}

/// For Mermaid, which many pages render as it stands.
fn mermaid(mesh: &Mesh) -> String {
    let numbers: BTreeMap<&str, usize> = mesh.nodes.keys().map(String::as_str).zip(0..).collect();
    let number = |node: &str| numbers.get(node).copied().unwrap_or_default();
    // Its own way to escape; `#` begins an escape.
    let quoted = |name: &str| name.replace('#', "#35;").replace('"', "#quot;").replace('<', "#lt;");
    let mut out = "graph LR\n".to_owned();
    for (node, number) in &numbers {
        let _ = writeln!(out, "  n{number}[\"{}\"]", quoted(node));
    }
    for ((one, other), link) in &mesh.links {
        let _ = writeln!(out, "  n{} ---|\"{}\"| n{}", number(one), link.label(), number(other));
    }
    let _ = writeln!(out, "  style n{} stroke-width:3px", number(&mesh.own));
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mesh::tests::{mesh, triangle};

    #[test]
    fn a_tree_of_the_cheapest_ways_and_the_rest() {
        assert_eq!(
            text(&mesh(triangle())),
            "hub\n\
             └── a  1\n    \
                 └── b  1/1.5\n        \
                     └── c  2\n\n\
             Further links\n\
             b ── hub  3\n\n\
             No way known\n\
             gone\n"
        );
        let star = json!({"NodeID": "m", "KnownConnectionCosts": {"m": {"a": 1, "z": 2.5}, "a": {"b": 1, "c": 1}}});
        assert_eq!(text(&mesh(star)), "m\n├── a  1\n│   ├── b  1\n│   └── c  1\n└── z  2.5\n");
        assert_eq!(text(&mesh(json!({"NodeID": "alone"}))), "alone\n");
    }

    #[test]
    fn a_long_chain_is_drawn() {
        let costs: serde_json::Map<_, _> =
            (0..3000).map(|n| (format!("n{n:04}"), json!({format!("n{:04}", n + 1): 1}))).collect();
        let picture = text(&mesh(json!({"NodeID": "n0000", "KnownConnectionCosts": costs})));
        assert_eq!(picture.lines().count(), 3001);
    }

    #[test]
    fn dot_names_each_node_and_link_once() {
        let odd = json!({"NodeID": "a\"\\", "KnownConnectionCosts": {"a\"\\": {"b": 1}, "b": {"a\"\\": 1}}});
        assert_eq!(
            dot(&mesh(odd)),
            "graph mesh {\n  \"a\\\"\\\\\" [style=bold];\n  \"b\";\n  \"a\\\"\\\\\" -- \"b\" [label=\"1\"];\n}\n"
        );
    }

    #[test]
    fn mermaid_gets_names_that_cannot_be_its_words() {
        let odd = json!({"NodeID": "end", "KnownConnectionCosts": {"end": {"<b\"#": 2}}});
        assert_eq!(
            mermaid(&mesh(odd)),
            "graph LR\n  n0[\"#lt;b#quot;#35;\"]\n  n1[\"end\"]\n  n0 ---|\"2\"| n1\n  style n1 stroke-width:3px\n"
        );
    }
}
