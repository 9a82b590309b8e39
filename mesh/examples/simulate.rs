//! Prints how meshes of growing size behave: `simulate [receptor] [briefly] [shapes...] [nodes...]`, by default all shapes of
//! 10, 100 and 1,000 worknodes. With `receptor` the nodes follow the reference's rules instead; `briefly` leaves out the
//! minute's rest.
#![allow(clippy::print_stdout, reason = "a command talks to its terminal")]

use std::time::Instant;

use worknode_mesh::sim::{Figures, Measure, Shape, measure, measure_receptor};

fn main() -> Result<(), String> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let mut sizes: Vec<usize> = given.iter().filter_map(|argument| argument.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![10, 100, 1_000];
    }
    let named = |shape: &Shape| given.iter().any(|argument| argument == shape.name());
    let mut shapes: Vec<Shape> = Shape::ALL.into_iter().filter(named).collect();
    if shapes.is_empty() {
        shapes = Shape::ALL.to_vec();
    }
    let briefly = given.iter().any(|argument| argument == "briefly");
    let measure = if given.iter().any(|argument| argument == "receptor") { measure_receptor } else { measure };
    println!(
        "| shape | nodes | links | start: ms | messages per node | KiB per node | messages per link and node | link cut: ms | messages per link | newcomer: ms | messages per link | a minute's rest: messages per node | KiB per node | seconds |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for nodes in sizes {
        for shape in &shapes {
            let begin = Instant::now();
            row(&measure(*shape, nodes, 1, briefly)?, begin.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "figures are rounded anyway")]
fn row(measure: &Measure, seconds: f64) {
    let (nodes, links) = (measure.nodes as f64, measure.wires as f64);
    let messages = |figures: &Figures| figures.messages as f64;
    let kib = |figures: &Figures| figures.bytes as f64 / 1024.0;
    let Measure { start, cut, newcomer, .. } = measure;
    let rest = measure
        .rest
        .map_or("– | –".to_owned(), |rest| format!("{:.0} | {:.0}", messages(&rest) / nodes, kib(&rest) / nodes));
    println!(
        "| {} | {} | {} | {} | {:.0} | {:.0} | {:.1} | {} | {:.1} | {} | {:.1} | {rest} | {seconds:.1} |",
        measure.shape.name(),
        measure.nodes,
        measure.wires,
        start.time.as_millis(),
        messages(start) / nodes,
        kib(start) / nodes,
        messages(start) / nodes / links,
        cut.time.as_millis(),
        messages(cut) / links,
        newcomer.time.as_millis(),
        messages(newcomer) / links,
    );
}
