use std::time::Duration;

use worknode_protocol::mesh::RoutingUpdate;

use super::super::{Event, Limits, LinkId, LinkSettings};
use super::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// A node `a` with the receptor nodes `b` and `c` as peers, all at rest.
fn between_two() -> Bench {
    let mut bench = Bench::new("a");
    for (link, peer) in [(1, "b"), (2, "c")] {
        bench.connect(link, peer);
        bench.update(link, &update(peer, 2, &[("a", 1.0)]));
    }
    bench.pass(SECOND);
    bench.forget_sent();
    bench
}

/// Updates passed on, not the own ones.
fn passed_on(bench: &Bench, link: u64) -> Vec<RoutingUpdate> {
    bench.updates(link).into_iter().filter(|update| update.node_id != "a").collect()
}

#[test]
fn an_update_is_passed_on_once_to_all_but_its_sender() {
    let mut bench = between_two();
    let news = via("b", update("d", 7, &[("b", 1.0)]));
    bench.update(1, &news);
    bench.update(1, &news);
    bench.update(2, &via("c", update("d", 7, &[("b", 1.0)])));
    assert_eq!(passed_on(&bench, 1), []);
    assert_eq!(passed_on(&bench, 2), [via("a", news)]);
}

#[test]
fn an_older_update_is_dropped_and_a_newer_epoch_counts() {
    let mut bench = between_two();
    bench.update(1, &via("b", update("d", 7, &[("b", 1.0)])));
    bench.forget_sent();
    bench.update(1, &via("b", update("d", 6, &[])));
    let mut older = via("b", update("d", 900, &[]));
    older.update_epoch -= 1;
    bench.update(1, &older);
    assert_eq!(passed_on(&bench, 2), []);
    let mut newer = via("b", update("d", 1, &[("b", 3.0)]));
    newer.update_epoch += 1;
    bench.update(1, &newer);
    assert_eq!(passed_on(&bench, 2), [via("a", newer)]);
}

#[test]
fn a_way_counts_when_both_ends_list_it() {
    let mut bench = between_two();
    bench.update(1, &via("b", update("d", 1, &[("b", 1.0)])));
    bench.pass(SECOND);
    assert_eq!(bench.way("d"), 0, "b has not listed d");
    assert!(bench.router.routes().by_name("d").is_some(), "but it may stand in a header");
    bench.update(1, &update("b", 3, &[("a", 1.0), ("d", 1.0)]));
    bench.pass(SECOND);
    let routes = bench.router.routes();
    let way = routes.way("d").unwrap();
    assert_eq!((way.link, &**way.next_hop, way.cost, way.hops, way.max_message), (LinkId(1), "b", 2.0, 2, None));
    // d lists b no longer: mesh-protocol 4.2, 5 takes it from b's list as well.
    bench.update(1, &via("b", update("d", 2, &[])));
    bench.pass(SECOND);
    assert_eq!(bench.way("d"), 0);
    let costs = bench.router.status(bench.now()).known_connection_costs;
    assert!(!costs["b"].contains_key("d") && costs["d"].is_empty());
}

/// A neighbour merely mentioned by others cannot be a destination (mesh-protocol 4.4).
#[test]
fn a_node_that_is_only_mentioned_is_no_destination() {
    let mut bench = between_two();
    bench.update(1, &update("b", 3, &[("a", 1.0), ("z", 1.0)]));
    bench.pass(SECOND);
    assert!(bench.router.routes().by_name("z").is_none());
    let status = bench.router.status(bench.now());
    assert_eq!(status.known_connection_costs["b"]["z"], 1.0);
    assert!(!status.known_connection_costs.contains_key("z"));
}

#[test]
fn the_cheaper_way_is_taken_and_equal_ones_do_not_change_places() {
    let mut bench = between_two();
    bench.update(1, &update("b", 3, &[("a", 1.0), ("d", 1.0)]));
    bench.update(2, &update("c", 3, &[("a", 1.0), ("d", 1.0)]));
    bench.update(1, &via("b", update("d", 1, &[("b", 1.0), ("c", 1.0)])));
    bench.pass(SECOND);
    assert_eq!(bench.way("d"), 1);
    bench.update(1, &update("b", 4, &[("a", 1.0), ("d", 1.5)]));
    bench.pass(SECOND);
    assert_eq!(bench.way("d"), 2);
    bench.update(1, &update("b", 5, &[("a", 1.0), ("d", 1.0)]));
    bench.pass(SECOND);
    assert_eq!(bench.way("d"), 1);
}

#[test]
fn a_lost_link_is_followed_by_an_update_and_new_routes() {
    let mut bench = between_two();
    bench.update(1, &update("b", 3, &[("a", 1.0), ("c", 1.0)]));
    bench.update(2, &update("c", 3, &[("a", 1.0), ("b", 1.0)]));
    bench.pass(SECOND);
    bench.forget_sent();
    bench.close(1);
    assert_eq!(bench.way("b"), 2, "at once");
    bench.pass(Duration::from_millis(100));
    let updates = bench.updates(2);
    assert_eq!(updates.len(), 1);
    assert!(!updates[0].connections.contains_key("b"));
}

#[test]
fn own_updates_are_repeated_within_ten_seconds() {
    let mut bench = between_two();
    bench.pass(60 * SECOND);
    for link in [1, 2] {
        let updates = bench.updates(link);
        assert!((6..=7).contains(&updates.len()), "{}", updates.len());
        assert!(updates.is_sorted_by_key(|update| update.update_sequence));
    }
}

#[test]
fn an_update_without_news_is_passed_on_every_third_time_among_worknodes() {
    for (all_worknodes, expected) in [(true, vec![1, 4, 7, 10]), (false, (1..=10).collect())] {
        let mut bench = Bench::new("a");
        for (link, peer) in [(1, "b"), (2, "c")] {
            bench.open(link, LinkSettings::default());
            bench.update(link, &own_kind(None, update(peer, 1, &[])));
            bench.update(link, &own_kind(Some(1.0), update(peer, 2, &[("a", 1.0)])));
        }
        if !all_worknodes {
            bench.update(2, &via("c", update("go", 1, &[("c", 1.0)])));
        }
        bench.pass(SECOND);
        for sequence in 0..10 {
            bench.update(1, &via("b", own_kind(None, update("d", 1 + sequence, &[("b", 1.0)]))));
            bench.pass(10 * SECOND);
        }
        let passed_on = passed_on(&bench, 2).into_iter().filter(|update| update.node_id == "d");
        assert_eq!(passed_on.map(|update| update.update_sequence).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn an_unknown_receptor_node_is_told_of_us_soon_and_a_worknode_not_needlessly() {
    let mut bench = between_two();
    bench.update(1, &via("b", update("d", 1, &[("b", 1.0)])));
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.updates(1).len(), 1);

    let mut bench = Bench::new("a");
    bench.open(1, LinkSettings::default());
    bench.update(1, &own_kind(None, update("b", 1, &[])));
    bench.update(1, &own_kind(Some(1.0), update("b", 2, &[("a", 1.0)])));
    bench.pass(SECOND);
    bench.forget_sent();
    bench.update(1, &via("b", own_kind(None, update("d", 1, &[("b", 1.0)]))));
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.updates(1), []);
}

#[test]
fn a_new_link_is_told_all_that_is_known() {
    let mut bench = between_two();
    for node in 0..300 {
        bench.update(1, &via("b", update(&format!("n{node}"), 1, &[("b", 1.0)])));
    }
    let listed: Vec<_> = (0..300).map(|node| format!("n{node}")).collect();
    let mut connections: Vec<_> = listed.iter().map(|name| (name.as_str(), 1.0)).collect();
    connections.push(("a", 1.0));
    bench.update(1, &update("b", 3, &connections));
    bench.connect(3, "e");
    bench.pass(SECOND);
    let told = passed_on(&bench, 3);
    assert_eq!(told.len(), 302);
    assert!(told.iter().all(|update| update.forwarding_node == "a" && update.worknode.is_none()));
    assert!(told.contains(&via("a", update("n7", 1, &[("b", 1.0)]))));
}

#[test]
fn many_new_links_are_told_by_and_by() {
    let mut bench = between_two();
    for node in 0..200 {
        bench.update(1, &via("b", update(&format!("n{node}"), 1, &[("b", 1.0)])));
    }
    for link in 10..110 {
        bench.connect(link, &format!("p{link}"));
    }
    let (mut most, mut all) = (0, 0);
    for _ in 0..200 {
        bench.forget_sent();
        bench.router.timers(bench.now());
        bench.drain();
        most = most.max(passed_on(&bench, 10).len());
        all += passed_on(&bench, 109).iter().filter(|update| update.node_id.starts_with('n')).count();
        assert!(bench.sent.len() < 2_500, "{}", bench.sent.len());
        bench.clock += Duration::from_millis(10);
    }
    assert_eq!(most, 20, "a hundred links share 2,048 messages each 10 ms");
    assert_eq!(all, 200);
}

#[test]
fn a_link_on_which_something_was_lost_is_told_all_again() {
    let mut bench = between_two();
    bench.update(1, &via("b", update("d", 7, &[("b", 1.0)])));
    bench.update(1, &update("b", 3, &[("a", 1.0), ("d", 1.0)]));
    bench.pass(10 * SECOND);
    bench.forget_sent();
    bench.router.lost(LinkId(2));
    bench.pass(10 * SECOND);
    assert!(passed_on(&bench, 2).iter().any(|update| update.node_id == "d"));
    assert!(passed_on(&bench, 1).is_empty());
    bench.forget_sent();
    bench.pass(10 * SECOND);
    assert!(passed_on(&bench, 2).is_empty());
}

/// Attack 1 of mesh-protocol 12: receptor ends on one such message.
#[test]
fn nobody_can_end_the_node_by_calling_it_a_duplicate() {
    let mut bench = between_two();
    let mut attack = via("b", update("a", 1, &[]));
    attack.update_epoch = EPOCH - 5;
    attack.suspected_duplicate = EPOCH;
    for _ in 0..100 {
        bench.update(1, &attack);
    }
    assert_eq!(
        bench.events,
        [Event::Duplicate { epoch: EPOCH - 5, accused: true, via: "b".into() }],
        "one alarm a second"
    );
    assert!(bench.closed.is_empty());
    assert_eq!((bench.way("b"), bench.way("c")), (1, 2));
}

#[test]
fn a_newer_process_of_our_name_is_told_of_as_receptor_does() {
    let mut bench = between_two();
    let mut other = via("b", update("a", 1, &[]));
    other.update_epoch = EPOCH + 5;
    bench.update(1, &other);
    let notices = bench.updates(2);
    assert_eq!(notices.len(), 1);
    assert_eq!((notices[0].update_epoch, notices[0].suspected_duplicate), (EPOCH, EPOCH + 5));
    other.update_epoch = EPOCH - 5;
    bench.pass(2 * SECOND);
    bench.forget_sent();
    bench.update(1, &other);
    bench.pass(Duration::from_millis(100));
    assert!(bench.events.is_empty() && bench.updates(2).is_empty());
}

/// Mesh-protocol 4.2, 3.
#[test]
fn a_notice_of_a_duplicate_puts_the_older_process_back() {
    let mut bench = between_two();
    let mut newer = via("b", update("d", 50, &[("b", 1.0)]));
    newer.update_epoch = EPOCH + 9;
    bench.update(1, &newer);
    bench.update(1, &via("b", update("d", 60, &[("b", 2.0)])));
    let costs =
        |bench: &Bench| bench.router.table.find("d").and_then(|d| bench.router.table.entry(d)).unwrap().costs()[0].1;
    assert_eq!(costs(&bench), 1.0);
    let mut notice = via("b", update("d", 61, &[("b", 2.0)]));
    notice.suspected_duplicate = EPOCH + 9;
    bench.forget_sent();
    bench.update(1, &notice);
    bench.update(1, &notice);
    assert_eq!(costs(&bench), 1.0, "costs are untouched");
    assert_eq!(passed_on(&bench, 2), [via("a", notice)]);
    bench.update(1, &via("b", update("d", 62, &[("b", 2.0)])));
    assert_eq!(costs(&bench), 2.0);
}

#[test]
fn a_notice_cannot_mute_a_node() {
    let mut bench = between_two();
    bench.update(1, &via("b", update("d", 1, &[("b", 1.0)])));
    let mut attack = via("b", update("d", 2, &[]));
    attack.suspected_duplicate = EPOCH;
    attack.update_epoch = u64::MAX;
    bench.update(1, &attack);
    bench.forget_sent();
    bench.update(1, &via("b", update("d", 3, &[("b", 4.0)])));
    assert_eq!(passed_on(&bench, 2).len(), 1);
}

/// Attack 13 of mesh-protocol 12: a node started again with its clock set back.
#[test]
fn a_lower_epoch_is_believed_when_the_higher_one_is_silent() {
    let mut bench = between_two();
    bench.update(1, &via("b", update("d", 50, &[("b", 1.0)])));
    let mut back = via("b", update("d", 1, &[("b", 2.0)]));
    back.update_epoch = EPOCH - 1_000;
    bench.pass(90 * SECOND);
    bench.forget_sent();
    bench.update(1, &back);
    assert_eq!(passed_on(&bench, 2), []);
    bench.pass(10 * SECOND);
    bench.forget_sent();
    bench.update(1, &back);
    assert_eq!(passed_on(&bench, 2), [via("a", back)]);
}

/// Whoever holds the word of a former process is told so that the word comes to the one there is now.
#[test]
fn who_passes_on_a_lower_epoch_is_told_of_the_higher_one() {
    let mut bench = between_two();
    let known = via("b", update("d", 50, &[("b", 1.0)]));
    bench.update(1, &known);
    bench.forget_sent();
    let mut back = via("c", update("d", 1, &[("c", 2.0)]));
    back.update_epoch = EPOCH - 1_000;
    bench.update(2, &back);
    assert_eq!(passed_on(&bench, 2), [via("a", known)]);
    bench.update(2, &via("c", update("d", 49, &[])));
    assert_eq!((passed_on(&bench, 1).len(), passed_on(&bench, 2).len()), (0, 1), "a lower sequence is merely late");
}

/// The same, when a peer still holds the word of the former process: it is told to the newcomer, who objects.
#[test]
fn a_node_with_its_clock_set_back_is_heard_again_at_once() {
    let mut pair = Pair::new();
    pair.join(1, LinkSettings::default(), LinkSettings::default());
    let status = |bench: &Bench| bench.router.status(bench.now()).known_connection_costs;
    assert!(status(&pair.a)["b"].contains_key("a"));
    pair.cut(1);
    pair.a.close(1);
    pair.b = Bench::with("b", EPOCH - 7, Limits::default());
    pair.b.clock = pair.a.clock;
    pair.join(2, LinkSettings::default(), LinkSettings::default());
    pair.pass(2 * SECOND);
    let entry = pair.a.router.table.find("b").and_then(|b| pair.a.router.table.entry(b)).unwrap();
    assert_eq!(entry.word.as_ref().unwrap().epoch, EPOCH - 7);
    assert!(status(&pair.a)["b"].contains_key("a"));
}

#[test]
fn a_way_of_worknodes_alone_takes_what_its_smallest_link_carries() {
    let mut bench = Bench::new("a");
    bench.open(1, LinkSettings { max_message: 60_000, ..LinkSettings::default() });
    bench.update(1, &own_kind(None, update("b", 1, &[])));
    let mut of_b = own_kind(Some(1.0), update("b", 2, &[("a", 1.0), ("d", 1.0)]));
    bench.update(1, &of_b);
    let mut of_d = via("b", own_kind(None, update("d", 1, &[("b", 1.0), ("e", 1.0)])));
    of_d.worknode.as_mut().unwrap().max_message = 50_000;
    bench.update(1, &of_d);
    bench.update(1, &via("b", update("e", 1, &[("d", 1.0)])));
    bench.pass(SECOND);
    let max = |bench: &Bench, node| bench.router.routes().way(node).unwrap().max_message;
    assert_eq!((max(&bench, "b"), max(&bench, "d"), max(&bench, "e")), (Some(60_000), Some(50_000), None));
    // What comes through a receptor node has lost the field, and nothing is forgotten for that.
    of_d.worknode = None;
    of_d.update_sequence = 9;
    bench.update(1, &of_d);
    of_b.update_sequence = 9;
    of_b.worknode.as_mut().unwrap().max_message = 40_000;
    bench.update(1, &of_b);
    bench.pass(SECOND);
    assert_eq!((max(&bench, "b"), max(&bench, "d"), max(&bench, "e")), (Some(40_000), Some(40_000), None));
}

/// Attack 14 of mesh-protocol 12.
#[test]
fn made_up_nodes_do_not_grow_the_table_without_end() {
    let limits = Limits { nodes: 100, costs: 200, ..Limits::default() };
    let mut bench = Bench::with("a", EPOCH, limits);
    bench.connect(1, "b");
    bench.update(1, &update("b", 2, &[("a", 1.0), ("d", 1.0)]));
    bench.update(1, &via("b", update("d", 1, &[("b", 1.0)])));
    bench.pass(SECOND);
    for node in 0..10_000 {
        let names: Vec<_> = (0..node % 9).map(|other| format!("m{node}-{other}")).collect();
        let costs: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
        bench.update(1, &via("b", update(&format!("x{node}"), 1, &costs)));
        assert!(bench.router.table.len() <= 100);
    }
    bench.pass(SECOND);
    assert!(bench.router.table.positions() <= 110);
    assert_eq!((bench.way("b"), bench.way("d")), (1, 1));
    // One update that alone is too much is refused.
    let names: Vec<_> = (0..150).map(|other| format!("big{other}")).collect();
    let costs: Vec<_> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
    bench.forget_sent();
    bench.update(1, &via("b", update("big", 1, &costs)));
    assert!(matches!(bench.events[..], [Event::Dropped { link: LinkId(1), .. }]));
    assert_eq!((bench.way("b"), bench.way("d")), (1, 1));
}

#[test]
fn a_node_out_of_reach_is_forgotten_after_an_hour() {
    let mut bench = between_two();
    bench.update(1, &via("b", update("d", 1, &[("b", 1.0)])));
    let keep = |bench: &mut Bench, time: u32| {
        for _ in 0..time / 10 {
            bench.pass(10 * SECOND);
        }
    };
    keep(&mut bench, 3_500);
    assert!(bench.router.table.find("d").is_some());
    keep(&mut bench, 200);
    assert!(bench.router.table.find("d").is_none());
    assert!(bench.router.routes().by_name("d").is_none());
    assert_eq!(bench.way("b"), 1);
}

#[test]
fn what_cannot_be_read_is_dropped_and_the_link_stays() {
    let mut bench = between_two();
    for message in [&b"\x01"[..], b"\x01{", b"\x01[]", b"\x02", b"\x02{}", b"\x09", b"", b"\x00", b"\x02{\"NodeID\":7}"]
    {
        bench.receive(1, message);
    }
    assert!(bench.closed.is_empty() && bench.sent.is_empty());
    assert_eq!(bench.events.len(), 6);
    bench.receive(99, b"\x01{}");
    assert_eq!(bench.events.len(), 6);
}
