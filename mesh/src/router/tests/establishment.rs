use std::collections::BTreeMap;
use std::time::Duration;

use worknode_protocol::mesh::{MAX_MESSAGE_LENGTH, REJECT};

use super::super::{CloseReason, Event, LinkId, LinkSettings};
use super::support::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_link_is_greeted_each_second_and_given_up_after_eleven() {
    let mut bench = Bench::new("a");
    bench.open(1, LinkSettings::default());
    let updates = bench.updates(1);
    assert_eq!(updates.len(), 1);
    assert_eq!((updates[0].node_id.as_str(), updates[0].forwarding_node.as_str()), ("a", "a"));
    assert_eq!((updates[0].update_epoch, updates[0].update_sequence), (EPOCH, 1));
    assert!(updates[0].connections.is_empty());
    assert!(updates[0].update_id.len() == 8 && updates[0].update_id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    bench.pass(SECOND);
    assert_eq!(bench.updates(1).len(), 2);
    bench.pass(9 * SECOND);
    assert_eq!(bench.updates(1).len(), 11);
    assert!(bench.closed.is_empty());
    bench.pass(SECOND);
    assert_eq!(bench.updates(1).len(), 11);
    assert_eq!(bench.closed, [(LinkId(1), CloseReason::NoGreeting)]);
}

#[test]
fn the_first_update_names_the_peer_by_its_forwarding_node() {
    let mut bench = Bench::new("a");
    bench.open(1, LinkSettings::default());
    bench.receive(1, b"\x02{\"NodeID\":\"x\",\"Service\":\"s\"}");
    bench.receive(1, b"\x07");
    bench.receive(1, b"");
    bench.receive(1, b"\x01{\"NodeID\":\"\"}");
    assert!(bench.events.is_empty() && bench.closed.is_empty());
    bench.update(1, &via("peer", update("other", 5, &[("peer", 1.0)])));
    assert_eq!(bench.events, [Event::LinkUp { link: LinkId(1), peer: "peer".into(), cost: 1.0 }]);
    bench.forget_sent();
    bench.pass(Duration::from_millis(100));
    let updates = bench.updates(1);
    assert_eq!(updates.len(), 1, "one update within 100 ms, and no more greetings");
    assert_eq!(updates[0].connections, BTreeMap::from([("peer".to_owned(), 1.0)]));
    assert_eq!(bench.way("peer"), 1);
    bench.update(1, &update("peer", 6, &[("a", 1.0)]));
    assert_eq!(bench.events, [Event::LinkConfirmed { link: LinkId(1), peer: "peer".into() }]);
}

#[test]
fn a_peer_that_is_not_wanted_is_rejected() {
    let allowed = LinkSettings { allowed_peers: vec!["b".to_owned()], ..LinkSettings::default() };
    let certified = LinkSettings { certified: Some(vec!["b".to_owned()]), ..LinkSettings::default() };
    let nobody = LinkSettings { certified: Some(vec![]), ..LinkSettings::default() };
    for (settings, name, reason) in [
        (LinkSettings::default(), "a", CloseReason::OwnId),
        (allowed, "c", CloseReason::NotAllowed("c".to_owned())),
        (certified, "c", CloseReason::NotCertified("c".to_owned())),
        (nobody, "c", CloseReason::NotCertified("c".to_owned())),
        (LinkSettings::default(), &"x".repeat(256), CloseReason::BadName),
        (LinkSettings::default(), "Localhost", CloseReason::BadName),
    ] {
        let mut bench = Bench::new("a");
        bench.open(1, settings);
        bench.update(1, &update(name, 1, &[]));
        assert_eq!(bench.closed, [(LinkId(1), reason)]);
        assert_eq!(bench.sent.last().map(|(_, message)| &**message), Some(REJECT));
        assert_eq!(bench.router.table.len(), 1);
    }
}

#[test]
fn a_peer_that_is_allowed_and_certified_is_accepted() {
    let names = || vec!["x".to_owned(), "b".to_owned()];
    let mut bench = Bench::new("a");
    bench.open(1, LinkSettings { allowed_peers: names(), certified: Some(names()), ..LinkSettings::default() });
    bench.update(1, &update("b", 1, &[]));
    assert!(bench.closed.is_empty());
}

#[test]
fn node_costs_go_before_the_cost() {
    let mut bench = Bench::new("a");
    let node_costs = BTreeMap::from([("b".to_owned(), 2.5)]);
    bench.open(1, LinkSettings { cost: 4.0, node_costs, ..LinkSettings::default() });
    bench.update(1, &update("b", 1, &[]));
    bench.update(1, &update("b", 2, &[("a", 2.5)]));
    assert!(bench.closed.is_empty());
    assert_eq!(bench.router.status(bench.now()).connections[0].cost, 2.5);
}

#[test]
fn a_reject_ends_the_link_before_and_after_establishment() {
    let mut bench = Bench::new("a");
    bench.open(1, LinkSettings::default());
    bench.receive(1, REJECT);
    bench.connect(2, "b");
    bench.receive(2, REJECT);
    let reasons: Vec<_> = bench.closed.iter().map(|(_, reason)| reason.clone()).collect();
    assert_eq!(reasons, [CloseReason::Rejected, CloseReason::Rejected]);
    assert_eq!(bench.rejects(1) + bench.rejects(2), 0);
    assert_eq!(bench.way("b"), 0);
}

/// The three cases of mesh-protocol 2, 6.
#[test]
fn a_direct_peer_is_held_to_what_it_says_of_the_link() {
    let connected = || {
        let mut bench = Bench::new("a");
        bench.connect(1, "b");
        bench.update(1, &update("b", 2, &[("a", 1.0)]));
        assert!(bench.closed.is_empty());
        bench
    };
    let mut bench = connected();
    bench.update(1, &update("b", 3, &[]));
    assert_eq!(bench.closed, [(LinkId(1), CloseReason::NoLongerListed("b".to_owned()))]);
    assert_eq!(bench.rejects(1), 1);

    let mut bench = connected();
    bench.update(1, &update("b", 3, &[("a", 1.000_000_000_000_000_2)]));
    let text = bench.closed[0].1.to_string();
    assert_eq!(text, "we disagree about the connection cost with \"b\": 1 here, 1.0000000000000002 there");

    let mut bench = connected();
    bench.update(1, &via("c", update("d", 3, &[])));
    assert_eq!(bench.closed, [(LinkId(1), CloseReason::IdChanged("b".to_owned(), "c".to_owned()))]);
}

#[test]
fn a_late_greeting_is_answered_and_not_processed() {
    let mut bench = Bench::new("a");
    bench.connect(1, "b");
    bench.pass(SECOND);
    bench.forget_sent();
    bench.update(1, &update("b", 2, &[("x", 1.0)]));
    assert!(bench.closed.is_empty());
    let updates = bench.updates(1);
    assert_eq!(updates.len(), 1);
    assert!(updates[0].connections.contains_key("b"));
    assert!(!bench.router.status(bench.now()).known_connection_costs["b"].contains_key("x"));
}

#[test]
fn a_receptor_node_is_never_given_a_second_link() {
    let mut bench = Bench::new("a");
    bench.connect(1, "b");
    bench.connect(2, "b");
    assert_eq!(bench.closed, [(LinkId(2), CloseReason::AlreadyConnected("b".to_owned()))]);
    assert_eq!(bench.rejects(2), 1);
    assert_eq!(bench.rejects(1), 0);
    // Nor when only one of the two says that it is a worknode: it is another process then.
    bench.open(3, LinkSettings::default());
    bench.update(3, &own_kind(None, update("b", 1, &[])));
    assert_eq!(bench.rejects(3), 1);
}

/// On a link that loses messages the first one may be an update of another node.
#[test]
fn a_worknode_is_recognized_by_its_own_update_not_by_one_it_passes_on() {
    let mut bench = Bench::new("a");
    bench.open(1, LinkSettings::default());
    bench.update(1, &via("b", own_kind(None, update("x", 7, &[]))));
    bench.pass(SECOND);
    let costs = |bench: &Bench| -> Vec<_> {
        bench.updates(1).iter().map(|update| update.worknode.unwrap().link_cost).collect()
    };
    assert!(costs(&bench).iter().all(Option::is_none));
    bench.update(1, &own_kind(Some(1.0), update("b", 1, &[("a", 1.0)])));
    bench.forget_sent();
    bench.pass(10 * SECOND);
    assert_eq!(costs(&bench), [Some(1.0)]);
    bench.open(2, LinkSettings::default());
    bench.update(2, &own_kind(None, update("b", 2, &[("a", 1.0)])));
    assert_eq!(bench.rejects(2), 0);
}

#[test]
fn a_stranger_does_not_get_a_link_beside_that_of_a_worknode() {
    let mut bench = Bench::new("a");
    bench.open(1, LinkSettings::default());
    bench.update(1, &own_kind(None, update("b", 1, &[])));
    for (link, mut other) in [(2, own_kind(None, update("b", 1, &[]))), (3, own_kind(None, update("x", 1, &[])))] {
        other.update_epoch += u64::from(link == 2);
        other.forwarding_node = "b".to_owned();
        bench.open(link, LinkSettings::default());
        bench.update(link, &other);
        assert_eq!(bench.rejects(link), 1, "{link}");
    }
    assert!(bench.closed.iter().all(|(link, _)| *link != LinkId(1)));
}

#[test]
fn a_certified_newer_process_takes_over_and_an_uncertified_one_does_not() {
    for (certified, expected) in [(Some(vec!["b".to_owned()]), 1), (None, 2)] {
        let mut bench = Bench::new("a");
        bench.connect(1, "b");
        let mut newer = update("b", 1, &[]);
        newer.update_epoch += 1;
        bench.open(2, LinkSettings { certified, ..LinkSettings::default() });
        bench.update(2, &newer);
        assert_eq!(bench.closed.len(), 1);
        assert_eq!(bench.closed[0].0, LinkId(expected));
    }
}

#[test]
fn worknodes_use_the_best_of_several_links_and_another_takes_over() {
    let mut pair = Pair::new();
    let cost = |cost| LinkSettings { cost, ..LinkSettings::default() };
    pair.join(1, cost(3.0), cost(3.0));
    assert_eq!((pair.a.way("b"), pair.b.way("a")), (1, 1));
    pair.join(2, cost(1.0), cost(1.0));
    pair.join(3, cost(2.0), cost(2.0));
    pair.pass(30 * SECOND);
    assert!(pair.a.closed.is_empty() && pair.b.closed.is_empty(), "{:?} {:?}", pair.a.closed, pair.b.closed);
    assert_eq!((pair.a.way("b"), pair.b.way("a")), (2, 2));

    // Only a notices that the best link is gone; b still lists the old cost.
    pair.cut(2);
    pair.a.close(2);
    assert_eq!(pair.a.way("b"), 3, "at once");
    pair.pass(SECOND);
    assert_eq!((pair.a.way("b"), pair.b.way("a")), (3, 2));
    pair.b.close(2);
    pair.pass(SECOND);
    assert_eq!((pair.a.way("b"), pair.b.way("a")), (3, 3));
    let confirmed = pair.a.events.iter().filter(|event| matches!(event, Event::LinkConfirmed { .. })).count();
    assert_eq!(confirmed, 3);
    assert!(pair.a.closed.is_empty() && pair.b.closed.is_empty());
    assert_eq!(pair.a.router.status(pair.a.now()).connections.len(), 1);
}

#[test]
fn of_several_links_only_the_one_with_two_costs_is_ended() {
    let mut pair = Pair::new();
    pair.join(1, LinkSettings::default(), LinkSettings::default());
    pair.join(
        2,
        LinkSettings { cost: 2.0, ..LinkSettings::default() },
        LinkSettings { cost: 3.0, ..LinkSettings::default() },
    );
    pair.pass(SECOND);
    let mut ended: Vec<_> = pair.a.closed.iter().chain(&pair.b.closed).map(|(link, _)| link.0).collect();
    ended.dedup();
    assert_eq!(ended, [2]);
    assert_eq!((pair.a.way("b"), pair.b.way("a")), (1, 1));
}

/// A longer update would break the link of a receptor node (mesh-protocol 12.10).
#[test]
fn a_node_has_no_more_peers_than_its_update_can_list() {
    let mut bench = Bench::new("a");
    let mut peers = 0;
    while bench.closed.is_empty() {
        peers += 1;
        bench.connect(peers, &format!("{peers:0200}"));
        assert!(peers < 1_000);
    }
    assert_eq!(bench.closed, [(LinkId(peers), CloseReason::TooManyPeers)]);
    bench.forget_sent();
    bench.pass(10 * SECOND);
    let longest = bench.sent.iter().map(|(_, message)| message.len()).max().unwrap();
    assert!(longest > 50_000 && longest <= MAX_MESSAGE_LENGTH, "{longest}");
}
