//! How a mesh behaves as it grows.

use std::time::Duration;

use super::{Quality, Shape, World};

/// What is measured in a world, one after the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// Shape of the mesh.
    pub shape: Shape,
    /// Nodes.
    pub nodes: usize,
    /// Wires.
    pub wires: usize,
    /// All wires come up within 100 ms.
    pub start: Figures,
    /// A wire is cut.
    pub cut: Figures,
    /// A node is added, at one wire.
    pub newcomer: Figures,
    /// Nothing happens for a minute. `None`: not measured; in a large mesh that is most of the work.
    pub rest: Option<Figures>,
}

/// What a change in the mesh took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Until the last node had its last routes.
    pub time: Duration,
    /// Messages sent, by all nodes together.
    pub messages: u64,
    /// Bytes sent, by all nodes together.
    pub bytes: u64,
}

/// Time for each change. All three are over before the first periodic updates, so that these are not counted.
const LOOK: Duration = Duration::from_millis(2_800);

/// Measures a mesh, `briefly` without the minute's rest.
///
/// # Errors
/// If routes are wrong in the end; with where.
pub fn measure(shape: Shape, nodes: usize, seed: u64, briefly: bool) -> Result<Measure, String> {
    measure_in(World::new(nodes, seed), shape, seed, briefly)
}

/// The same for a mesh of receptor nodes, as far as they are described here.
///
/// # Errors
/// If routes are wrong in the end; with where.
pub fn measure_receptor(shape: Shape, nodes: usize, seed: u64, briefly: bool) -> Result<Measure, String> {
    let mut world = World::new(nodes, seed);
    (0..nodes).for_each(|node| world.make_receptor(node));
    measure_in(world, shape, seed, briefly)
}

fn measure_in(mut world: World, shape: Shape, seed: u64, briefly: bool) -> Result<Measure, String> {
    let nodes = world.nodes();
    for (number, (a, b)) in shape.links(nodes, seed).into_iter().enumerate() {
        world.connect(a, b, 1.0, Quality::default());
        // In ten goes of 10 ms.
        if (number + 1) % (nodes / 10).max(1) == 0 && world.clock() < Duration::from_millis(100) {
            world.run(Duration::from_millis(10));
        }
    }
    let wires = world.wires();
    let start = world.figures(LOOK)?;
    world.cut(wires.saturating_sub(1));
    let cut = world.figures(LOOK)?;
    let newcomer = world.add_node();
    world.connect(nodes / 2, newcomer, 1.0, Quality::default());
    let newcomer = world.figures(LOOK)?;
    let rest = if briefly { None } else { Some(world.figures(Duration::from_secs(60))?) };
    Ok(Measure { shape, nodes, wires, start, cut, newcomer, rest })
}

impl World {
    /// What the change took that was made just now; it is over after `time`.
    fn figures(&mut self, time: Duration) -> Result<Figures, String> {
        let begin = self.clock();
        let (messages, bytes) = self.traffic();
        self.run(time);
        let (messages_after, bytes_after) = self.traffic();
        if let Some(fault) = self.fault() {
            return Err(fault);
        }
        let last = self.nodes.iter().map(|node| node.routes_at).max().unwrap_or_default();
        Ok(Figures {
            time: last.saturating_sub(begin),
            messages: messages_after - messages,
            bytes: bytes_after - bytes,
        })
    }
}
