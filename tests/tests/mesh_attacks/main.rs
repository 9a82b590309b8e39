//! Attacks on a mesh, each against real processes (mesh-protocol 12; the table in `docs/security.md`): the node that is attacked
//! stays up and answers, the link of its neighbour stays up, and its memory stays bounded.
//!
//! With `WORKNODED_BIN` naming a Go receptor, they show what it does there.

#![allow(clippy::indexing_slicing, reason = "an index out of range fails the test, as it should")]

mod raw;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use worknode_protocol::mesh::{REJECT, RoutingUpdate, ServiceAdvertisement};
use worknode_tests::wait::Deadline;
use worknode_tests::work::answer;
use worknode_tests::{Harness, Node, process};

use raw::{Raw, is_data, websocket};

/// How long messages are counted that should not come. At receptor thousands come in each second.
const WHILE: Duration = Duration::from_secs(2);

/// The most memory that a node may have when it is full of made-up names, in bytes.
const MOST_MEMORY: u64 = 128 << 20;

const MIB: u64 = 1 << 20;

/// Two nodes or more with links between each other, and the ports of their listeners.
struct World {
    nodes: Vec<Node>,
    tcp: Vec<u16>,
    udp: u16,
    ws: u16,
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn listener(port: u16) -> Value {
    json!({"bindaddr": "127.0.0.1", "port": port})
}

impl World {
    /// `n1`, ... of which each dials the one before it; in a ring the first dials the last, too. `n1` has all kinds of listeners.
    fn new(count: usize, ring: bool) -> Result<Self> {
        let tcp = (0..count).map(|_| free_port()).collect::<Result<Vec<_>>>()?;
        let (udp, ws) = (UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port(), free_port()?);
        let mut nodes = Vec::new();
        for place in 0..count {
            let mut harness =
                Harness::new()?.id(&format!("n{}", place + 1)).action("tcp-listener", listener(tcp[place]));
            if place == 0 {
                harness = harness.action("udp-listener", listener(udp)).action("ws-listener", listener(ws));
            }
            let before = if place > 0 { Some(place - 1) } else { ring.then(|| count - 1) };
            if let Some(before) = before {
                harness = harness.action("tcp-peer", json!({"address": format!("127.0.0.1:{}", tcp[before])}));
            }
            nodes.push(harness.start()?);
        }
        let world = Self { nodes, tcp, udp, ws };
        let links = if ring { count } else { count - 1 };
        for (place, node) in world.nodes.iter().enumerate() {
            for other in world.nodes.iter().filter(|other| other.id() != node.id()) {
                until(node, "ways to all", |status| status["RoutingTable"].get(other.id()).is_some())?;
            }
            let links = if ring || (place > 0 && place < links) { 2 } else { 1 };
            until(node, "its links", |status| status["Connections"].as_array().map(Vec::len) == Some(links))?;
        }
        world.each_pings()?;
        Ok(world)
    }

    /// Each node answers on its control socket, and the node before it answers its ping.
    fn each_pings(&self) -> Result<()> {
        for (place, node) in self.nodes.iter().enumerate() {
            let target = &self.nodes[if place == 0 { 1 } else { place - 1 }];
            let pong = answer(&node.connect()?.ask(&format!("ping {}", target.id()))?)?;
            ensure!(pong["Success"] == true, "{} to {}: {pong}", node.id(), target.id());
        }
        Ok(())
    }

    /// All processes are there and reach each other, and no link between them was ever lost.
    fn unharmed(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            let ended = node.ended()?;
            ensure!(ended.is_none(), "{} has ended: {ended:?}\n{}", node.id(), node.log_tail());
        }
        self.each_pings()?;
        for node in &self.nodes {
            let log = node.log();
            let lost = log.lines().find(|line| {
                line.contains("disconnected")
                    && self.nodes.iter().any(|other| line.contains(&format!("peer={}", other.id())))
            });
            ensure!(lost.is_none(), "{}: {lost:?}", node.id());
            ensure!(!log.contains("panicked"), "{}: {log}", node.id());
        }
        Ok(())
    }

    /// CPU time of all nodes so far.
    fn cpu(&self) -> Result<Duration> {
        self.nodes.iter().map(|node| Ok(process::stat(node.pid()?)?.cpu)).sum()
    }

    fn resident(&self) -> Result<u64> {
        Ok(process::memory(self.nodes[0].pid()?)?.resident)
    }
}

/// Asks for the status until it is as wanted.
fn until(node: &Node, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    let deadline = Deadline::default();
    let mut session = node.connect()?;
    loop {
        let status = answer(&session.ask("status")?)?;
        if wanted(&status) {
            return Ok(status);
        }
        deadline.left(what).with_context(|| format!("{}: {status}\n{}", node.id(), node.log_tail()))?;
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn all(_: &RoutingUpdate) -> bool {
    true
}

/// Weakness 1: a word that the victim is a duplicate, told to its neighbour and to itself.
#[test]
fn no_member_can_end_a_node_by_calling_it_a_duplicate() -> Result<()> {
    let mut world = World::new(2, false)?;
    let mut raw = Raw::join(world.tcp[1], "raw", "n2")?;
    let mut near = Raw::join(world.tcp[0], "near", "n1")?;
    let epoch = near.update_of("n1", all)?.update_epoch;
    for later in [epoch + 1, epoch - 1] {
        for peer in [&mut raw, &mut near] {
            peer.update("n1", later, 1, BTreeMap::new(), epoch)?;
        }
    }
    world.unharmed()?;
    let deadline = Deadline::default();
    while !world.nodes[0].log().to_lowercase().contains("uses the id of this one") {
        deadline.left("an alarm in the log").with_context(|| world.nodes[0].log_tail())?;
        std::thread::park_timeout(Duration::from_millis(20));
    }
    world.unharmed()
}

/// Weakness 2: a withdrawal of a service that nobody knows, in a ring.
#[test]
fn a_withdrawal_does_not_go_round_in_a_ring() -> Result<()> {
    let mut world = World::new(3, true)?;
    let mut raw = Raw::join(world.tcp[0], "raw", "n1")?;
    let leaf = Raw::join(world.tcp[2], "leaf", "n3")?;
    let mut ad = ServiceAdvertisement { conn_type: 1, cancel: true, ..ServiceAdvertisement::default() };
    // The time is that of a service that is told of.
    let told = until(&world.nodes[0], "an advertisement", |status| status["Advertisements"][0]["Time"].is_string())?;
    ad.time = told["Advertisements"][0]["Time"].as_str().unwrap_or_default().parse()?;
    for node in ["n2", "raw", "nobody"] {
        (ad.node_id, ad.service) = (node.to_owned(), "gone".to_owned());
        raw.send(&ad.encode().context("too long")?)?;
    }
    let before = world.cpu()?;
    let withdrawal = |message: &[u8]| ServiceAdvertisement::decode(message).is_ok_and(|ad| ad.cancel);
    let came = leaf.count(WHILE, withdrawal);
    let back = raw.count(Duration::ZERO, withdrawal);
    let cpu = world.cpu()? - before;
    println!("of 3 withdrawals {came} came to another leaf, {back} back; {cpu:?} of CPU time in {WHILE:?}");
    ensure!(came <= 3 && back <= 3, "{came} came, {back} back");
    ensure!(cpu < WHILE / 4, "{cpu:?}");
    world.unharmed()
}

/// Weakness 9: one empty message, from anybody, on each backend.
#[test]
fn empty_messages_end_nothing() -> Result<()> {
    let mut world = World::new(2, false)?;
    // The bytes of an empty binary message: masked, as a client must.
    let empty = [0x82, 0x80, 1, 2, 3, 4];
    for _ in 0..100 {
        Raw::connect(world.tcp[0], "raw")?.send(b"")?;
        UdpSocket::bind("127.0.0.1:0")?.send_to(b"", ("127.0.0.1", world.udp))?;
    }
    for _ in 0..10 {
        websocket(world.ws)?.write_all(&empty)?;
    }
    world.unharmed()?;
    // From a member as well.
    let mut raw = Raw::join(world.tcp[0], "raw", "n1")?;
    for _ in 0..100 {
        raw.send(b"")?;
    }
    world.unharmed()
}

/// Frames of all lengths that hold nothing that makes sense, and frames that are never finished.
#[test]
fn garbage_ends_at_most_its_own_link() -> Result<()> {
    let mut world = World::new(2, false)?;
    let before = world.resident()?;
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..300 {
        let mut raw = Raw::connect(world.tcp[0], "raw")?;
        if round % 2 == 0 {
            raw.greet(&[])?;
        }
        let mut message = vec![0; random.random_range(0..65_536)];
        random.fill(&mut message[..]);
        if let Some(first) = message.first_mut() {
            *first = [0, 1, 2, 3, 4][round % 5];
        }
        // The node may end the link at any point: that is its right.
        let _ = raw.send(&message);
        let _ = raw.bytes(&message);
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.send_to(&message[..message.len().min(60_000)], ("127.0.0.1", world.udp))?;
    }
    // A text message, one of 2^63 bytes, and one in a frame of an unknown kind.
    for bytes in
        [&b"\x81\x82\0\0\0\0hi"[..], b"\x82\xff\x80\0\0\0\0\0\0\0\x01\x02\x03\x04abc", b"\xff\xff\xff\xff\xff\xff"]
    {
        websocket(world.ws)?.write_all(bytes)?;
    }
    let mut unfinished = Vec::new();
    for _ in 0..256 {
        let mut raw = Raw::connect(world.tcp[0], "raw")?;
        raw.bytes(&[&[0xff, 0xff], &[1; 60_000][..]].concat())?;
        unfinished.push(raw);
    }
    world.unharmed()?;
    let after = world.resident()?;
    println!("resident: {} MiB before, {} MiB with 256 unfinished frames of 64 KiB", before / MIB, after / MIB);
    ensure!(after < before + 128 * MIB, "{before} {after}");
    Ok(())
}

/// Weakness 4: peers in the name of the node itself, and of one that is connected.
#[test]
fn a_forged_name_is_rejected() -> Result<()> {
    let mut world = World::new(2, false)?;
    for name in ["n1", "n2"] {
        let mut raw = Raw::connect(world.tcp[0], name)?;
        raw.greet(&["n1"])?;
        assert_eq!(raw.end()?, REJECT, "as {name}");
    }
    world.unharmed()
}

/// Weakness 14: names without end.
#[test]
fn made_up_nodes_and_services_fill_a_bounded_memory() -> Result<()> {
    const NAMES: u64 = 100_000;
    let mut world = World::new(2, false)?;
    let mut raw = Raw::join(world.tcp[0], "raw", "n1")?;
    let before = world.resident()?;
    let mut ad = ServiceAdvertisement { conn_type: 1, ..ServiceAdvertisement::default() };
    ad.time = "2100-01-01T00:00:00Z".parse()?;

    for number in 0..NAMES {
        let node = format!("made-up-{number}");
        raw.update(&node, 1 << 54, 1, [("raw".to_owned(), 1.0), (format!("other-{number}"), 1.0)].into(), 0)?;
        (ad.node_id, ad.service) = (node, "svc".to_owned());
        raw.send(&ad.encode().context("too long")?)?;
        if number % 10_000 == 0 {
            // The others are heard all the while.
            world.each_pings()?;
        }
    }
    // What comes last is read last.
    raw.data(("raw", "probe"), ("n1", "ping"), b"")?;
    world.each_pings()?;
    world.unharmed()?;
    let peak = world.nodes.iter().map(|node| process::peak_memory(node.pid()?)).collect::<Result<Vec<_>>>()?;
    println!(
        "resident: {} MiB before, at most {:?} MiB",
        before / MIB,
        peak.iter().map(|peak| peak / MIB).collect::<Vec<_>>()
    );
    ensure!(peak.iter().all(|peak| *peak < MOST_MEMORY), "{peak:?}");
    Ok(())
}

/// No attack: what a node takes that knows a thousand others, each with four links.
#[test]
fn a_thousand_nodes_fit_into_thirty_megabytes() -> Result<()> {
    const NODES: usize = 1000;
    let mut world = World::new(2, false)?;
    let mut raw = Raw::join(world.tcp[0], "raw", "n1")?;
    let before = world.resident()?;
    let name = |number: usize| format!("node-{:04}", number % NODES);
    for number in 0..NODES {
        let mut links: BTreeMap<_, _> =
            [1, 37, NODES - 1, NODES - 37].map(|step| (name(number + step), 1.0)).into_iter().collect();
        if number == 0 {
            links.insert("raw".to_owned(), 1.0);
        }
        raw.update(&name(number), 1 << 54, 1, links, 0)?;
    }
    raw.greet(&["n1", &name(0)])?;
    for node in &world.nodes {
        let routes = |status: &Value| status["RoutingTable"].as_object().is_some_and(|routes| routes.len() > NODES);
        until(node, "ways to all", routes)?;
    }
    world.unharmed()?;
    let after = world.resident()?;
    println!("resident: {} kB before, {} kB with {NODES} nodes known", before / 1000, after / 1000);
    ensure!(after < 30_000_000, "{after}");
    Ok(())
}

/// Weakness 13: the epoch that the others remember is far ahead of that of a node that starts now.
#[test]
fn a_node_whose_clock_was_set_back_is_heard() -> Result<()> {
    let world = World::new(2, false)?;
    // The life before: as `n3`, with a clock far in the future.
    let earlier = Raw::join_as(world.tcp[1], "n3", "n2", 1 << 60)?;
    for node in &world.nodes {
        until(node, "the earlier n3", |status| status["RoutingTable"].get("n3").is_some())?;
    }
    drop(earlier);
    let (port, peer) = (free_port()?, |port: u16| json!({"address": format!("127.0.0.1:{port}")}));
    let later = Harness::new()?.id("n3").action("tcp-listener", listener(port));
    let later = later.action("tcp-peer", peer(world.tcp[1])).start()?;
    until(&later, "a way to n1", |status| status["RoutingTable"]["n1"] == "n2")?;
    // What the later one says of its links is heard as well.
    let behind = Harness::new()?.id("n4").action("tcp-peer", peer(port)).start()?;
    until(&world.nodes[0], "a way to n4", |status| status["RoutingTable"]["n4"] == "n2")?;
    until(&behind, "a way to n1", |status| status["RoutingTable"]["n1"] == "n3")?;
    // The nodes between may calculate a little later.
    let deadline = Deadline::default();
    while answer(&world.nodes[0].connect()?.ask("ping n4")?)?["Success"] != true {
        deadline.left("an answer of n4")?;
    }
    Ok(())
}

/// The same as an attack: an update in the name of a living node, from the future.
#[test]
fn an_update_forged_for_the_future_mutes_nobody() -> Result<()> {
    let mut world = World::new(3, false)?;
    let mut raw = Raw::join(world.tcp[0], "raw", "n1")?;
    for node in ["n1", "n2", "n3"] {
        raw.update(node, 1 << 60, 1, BTreeMap::new(), 0)?;
    }
    // What is new at n3 is heard at n1 all the same.
    let peer = json!({"address": format!("127.0.0.1:{}", world.tcp[2])});
    let late = Harness::new()?.id("late").action("tcp-peer", peer).start()?;
    until(&world.nodes[0], "a way to the late one", |status| status["RoutingTable"]["late"] == "n2")?;
    until(&late, "a way to n1", |status| status["RoutingTable"]["n1"] == "n3")?;
    world.unharmed()
}

/// A ping in the name of the service that answers pings: two receptor nodes answer each other for ever.
#[test]
fn a_ping_between_ping_services_is_answered_by_nobody() -> Result<()> {
    let mut world = World::new(2, false)?;
    let mut raw = Raw::join(world.tcp[0], "raw", "n1")?;
    let before = world.cpu()?;
    for _ in 0..16 {
        raw.data(("n2", "ping"), ("n1", "ping"), b"")?;
        raw.data(("n2", "unreach"), ("n1", "nosuch"), b"")?;
        raw.data(("raw", "ping"), ("n1", "ping"), b"")?;
    }
    let came = raw.count(WHILE, is_data);
    let cpu = world.cpu()? - before;
    println!("{came} datagrams came; {cpu:?} of CPU time in {WHILE:?}");
    ensure!(came == 0, "{came}");
    ensure!(cpu < WHILE / 4, "{cpu:?}");
    world.unharmed()
}

/// Weaknesses 11, 12: datagrams without end to a service, whose node then stops.
#[test]
fn a_flood_delays_nobody_and_the_end_comes_in_order() -> Result<()> {
    let mut world = World::new(2, false)?;
    let mut raw = Raw::join(world.tcp[0], "raw", "n1")?;
    let before = world.resident()?;
    let flood = std::thread::spawn(move || {
        // Until the node has stopped.
        while raw.data(("raw", "mine"), ("n1", "control"), &[0; 30_000]).is_ok() {}
    });
    for _ in 0..50 {
        world.each_pings()?;
    }
    let after = world.resident()?;
    println!("resident: {} MiB before, {} MiB in the flood", before / MIB, after / MIB);
    ensure!(after < before + 64 * MIB, "{before} {after}");
    world.unharmed()?;
    let status = world.nodes[0].stop()?;
    ensure!(status.success(), "{status}\n{}", world.nodes[0].log_tail());
    ensure!(!world.nodes[0].log().contains("panicked"), "{}", world.nodes[0].log_tail());
    flood.join().map_err(|_| anyhow::anyhow!("the flood failed"))
}
