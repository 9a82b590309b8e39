use std::collections::BTreeMap;

use worknode_protocol::mesh::{ConnType, MAX_MESSAGE_LENGTH, RoutingUpdate, ServiceAdvertisement};

use super::*;
use crate::router::OwnService;

const SECOND: Duration = Duration::from_secs(1);

/// How many seeded runs are made.
fn seeds() -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("WORKNODE_SEED").unwrap_or(1);
    first..first + number("WORKNODE_MESH_SEEDS").unwrap_or(10)
}

#[test]
fn meshes_of_each_shape_converge_with_messages_in_proportion_to_links() {
    for shape in Shape::ALL {
        for nodes in [2, 3, 10, 60] {
            let measure = measure(shape, nodes, 1, false).unwrap();
            let most = 2 * measure.nodes * measure.wires + 10 * measure.wires;
            assert!(measure.start.time < Duration::from_millis(600), "{measure:?}");
            assert!(measure.start.messages <= u64::try_from(most).unwrap(), "{measure:?}");
            assert!(measure.cut.messages <= 5 * u64::try_from(measure.wires).unwrap(), "{measure:?}");
        }
    }
}

/// Whatever happens, in the end the routes are the best ones over the wires that work.
#[test]
fn after_all_faults_the_routes_are_the_best_ones() {
    for seed in seeds() {
        let mut world = tormented(seed, 0.0);
        world.set_quality(0.0, false);
        for wire in 0..world.wires() {
            world.restore(wire);
        }
        world.run(60 * SECOND);
        let fault = world.fault();
        assert_eq!(fault, None, "WORKNODE_SEED={seed}");
    }
}

/// The same, but some wires stay cut: parts of the mesh are out of reach of each other.
#[test]
fn after_a_partition_only_what_can_be_reached_has_a_way() {
    for seed in seeds() {
        let mut world = tormented(seed, 0.0);
        world.set_quality(0.0, false);
        for wire in 0..world.wires() {
            if wire % 3 == 0 { world.cut(wire) } else { world.restore(wire) }
        }
        world.run(60 * SECOND);
        let fault = world.fault();
        assert_eq!(fault, None, "WORKNODE_SEED={seed}");
    }
}

/// The same for a mesh of both kinds of nodes. Clocks do not step here: a receptor node would stay unheard.
#[test]
fn worknodes_and_receptor_nodes_find_the_best_routes_together() {
    for seed in seeds() {
        let receptors = [0.2, 0.5, 0.8][usize::try_from(seed % 3).unwrap()];
        let mut world = tormented(seed, receptors);
        world.set_quality(0.0, false);
        for wire in 0..world.wires() {
            world.restore(wire);
        }
        world.run(60 * SECOND);
        let fault = world.fault();
        assert_eq!(fault, None, "WORKNODE_SEED={seed}");
        assert_eq!(world.ended(), 0, "WORKNODE_SEED={seed}");
    }
}

/// A mesh in which much has gone wrong for some minutes, in which a part of the nodes are receptor's.
fn tormented(seed: u64, receptors: f64) -> World {
    let mut random = StdRng::seed_from_u64(seed);
    let nodes = random.random_range(2..25);
    let mut world = World::new(nodes, seed);
    for node in 0..nodes {
        if random.random_bool(receptors) {
            world.make_receptor(node);
        }
    }
    for (a, b) in Shape::Random.links(nodes, seed) {
        let cost = f64::from(random.random_range(1..40_u8)) / 10.0;
        world.connect(a, b, cost, Quality::default());
    }
    if random.random_bool(0.5) {
        let loss = random.random_range(0.0..0.4);
        world.set_quality(loss, random.random());
    }
    for _ in 0..random.random_range(1..40) {
        let wire = random.random_range(0..world.wires());
        match random.random_range(0..10) {
            0..3 => world.cut(wire),
            3..5 => world.silence(wire),
            5..8 => world.restore(wire),
            _ => {
                let step = if receptors > 0.0 || random.random() { 0 } else { random.random_range(-100_000..100_000) };
                world.restart(random.random_range(0..nodes), step);
            }
        }
        world.run(Duration::from_millis(random.random_range(0..15_000)));
    }
    world
}

/// A mesh at rest.
fn settled(shape: Shape, nodes: usize) -> World {
    let mut world = World::in_shape(shape, nodes, 3);
    world.run(3 * SECOND);
    assert_eq!(world.fault(), None);
    world
}

fn forged(node: &str, epoch: u64, sequence: u64, from: &str) -> RoutingUpdate {
    RoutingUpdate {
        node_id: node.to_owned(),
        update_id: format!("{sequence:08}"),
        update_epoch: epoch,
        update_sequence: sequence,
        forwarding_node: from.to_owned(),
        ..RoutingUpdate::default()
    }
}

/// Attack 1 of mesh-protocol 12, in several forms.
#[test]
fn no_word_about_duplicates_ends_or_mutes_a_node() {
    for (step, suspect) in [(-5_i64, true), (5, true), (1_000_000, false), (-5, false)] {
        let mut world = settled(Shape::Grid, 16);
        let (attacker, victim) = (0, 9);
        let epoch = world.epoch(victim);
        for round in 0..10 {
            let mut attack = forged("n9", epoch.saturating_add_signed(step + round), 1, "n0");
            attack.update_id = format!("attack{round}");
            attack.suspected_duplicate = if suspect { epoch } else { 0 };
            world.inject(attacker, &attack.encode().unwrap());
            world.run(Duration::from_millis(500));
        }
        world.run(12 * SECOND);
        assert_eq!(world.fault(), None, "{step} {suspect}");
        assert_eq!(world.troubles().0, 0, "no link was ended");
        assert!(world.troubles().1 > 0 || (step < 0 && !suspect), "an alarm");
    }
}

/// Attack 2: one message keeps a ring of receptor nodes busy for ever.
#[test]
fn a_cancel_circulates_once() {
    for shape in Shape::ALL {
        let mut world = settled(shape, 16);
        let cancel = ServiceAdvertisement {
            node_id: "n3".to_owned(),
            service: "none".to_owned(),
            cancel: true,
            ..ServiceAdvertisement::default()
        };
        let (before, _) = world.traffic();
        world.inject(5, &cancel.encode().unwrap());
        world.run(5 * SECOND);
        let messages = world.traffic().0 - before;
        assert!(messages > 0 && messages <= 2 * u64::try_from(world.wires()).unwrap(), "{messages}");
    }
}

/// Attack 10: nothing is sent that is longer than a frame of TCP.
#[test]
fn no_message_is_longer_than_a_link_carries() {
    let mut world = settled(Shape::Star, 12);
    for length in [1_000, 5_000, 5_900, 6_200, 20_000] {
        let mut update = forged("huge", 1, length, "n3");
        update.connections = (0..length).map(|node| (format!("{node:04}"), 1.0)).collect();
        let text = worknode_protocol::json::to_string(&update);
        world.inject(3, &[b"\x01", text.as_bytes()].concat());
        world.run(SECOND);
    }
    assert!((50_000..=MAX_MESSAGE_LENGTH).contains(&world.longest_message()), "{}", world.longest_message());
    assert_eq!(world.fault(), None);
}

/// Attack 13: with receptor such a node stays unheard.
#[test]
fn a_node_started_again_with_its_clock_set_back_is_heard_at_once() {
    for shape in Shape::ALL {
        let mut world = settled(shape, 12);
        let service = |tag: &str| OwnService {
            name: "control".to_owned(),
            conn_type: ConnType::Stream,
            tags: Some(BTreeMap::from([("type".to_owned(), tag.to_owned())])),
            work_commands: None,
        };
        world.with_router(4, |router, now| router.advertise(now, service("before")));
        world.run(SECOND);
        let before = world.epoch(4);
        world.restart(4, -86_400);
        assert!(world.epoch(4) < before);
        world.run(REDIAL + SECOND);
        assert_eq!(world.fault(), None, "{shape:?}");
        world.with_router(4, |router, now| router.advertise(now, service("after")));
        world.run(6 * SECOND);
        for node in 0..12 {
            let now = Now { clock: world.clock(), wall: wall(world.clock(), 0) };
            let ads = world.router(node).unwrap().status(now).advertisements;
            let tags: Vec<_> = ads.into_iter().map(|ad| ad.tags.unwrap()["type"].clone()).collect();
            assert_eq!(tags, ["after"], "{shape:?} {node}");
        }
    }
}

/// Attack 14, and the memory of the others.
#[test]
fn made_up_nodes_and_advertisements_do_not_fill_the_memory() {
    let limits = Limits { nodes: 200, costs: 1_000, advertisements: 100, ..Limits::default() };
    let mut world = World::with_limits(9, 3, limits);
    for (a, b) in Shape::Grid.links(9, 3) {
        world.connect(a, b, 1.0, Quality::default());
    }
    world.run(3 * SECOND);
    for number in 0..2_000 {
        let mut update = forged(&format!("x{number}"), number, 1, "n4");
        update.connections = BTreeMap::from([("n4".to_owned(), 1.0), (format!("y{number}"), 1.0)]);
        world.inject(4, &update.encode().unwrap());
        let made_up =
            ServiceAdvertisement { node_id: format!("x{number}"), service: "s".to_owned(), ..Default::default() };
        world.inject(4, &made_up.encode().unwrap());
        world.run(Duration::from_millis(1));
    }
    world.run(2 * SECOND);
    for node in 0..9 {
        let (nodes, advertisements) = world.router(node).unwrap().size();
        assert!(nodes <= 200 && advertisements <= 100, "{nodes} {advertisements}");
    }
    assert_eq!(world.fault(), None);
    assert_eq!(world.troubles().0, 0);
}

/// Any bytes from a member: nobody is disturbed but perhaps its own links.
#[test]
fn no_bytes_disturb_the_others() {
    let mut random = StdRng::seed_from_u64(5);
    let mut world = settled(Shape::Grid, 9);
    for _ in 0..3_000 {
        let mut bytes: Vec<u8> = (0..random.random_range(0..60)).map(|_| random.random()).collect();
        if let Some(first) = bytes.first_mut() {
            *first %= 3;
        }
        world.inject(4, &bytes);
        world.run(Duration::from_millis(1));
    }
    world.run(20 * SECOND);
    assert_eq!(world.fault(), None);
    assert_eq!(world.troubles().0, 0);
}
