use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use worknode_protocol::control::WorkCommand;
use worknode_protocol::mesh::{ConnType, ServiceAdvertisement};

use super::super::{Limits, OwnService};
use super::support::*;

const SECOND: Duration = Duration::from_secs(1);

fn start() -> Timestamp {
    START.parse().unwrap()
}

fn ad(node: &str, service: &str, second: i64) -> ServiceAdvertisement {
    ServiceAdvertisement {
        node_id: node.to_owned(),
        service: service.to_owned(),
        time: start() + SignedDuration::from_secs(second),
        conn_type: 1,
        ..ServiceAdvertisement::default()
    }
}

fn cancel(node: &str, service: &str, second: i64) -> ServiceAdvertisement {
    ServiceAdvertisement { cancel: true, ..ad(node, service, second) }
}

fn receive(bench: &mut Bench, link: u64, ad: &ServiceAdvertisement) {
    bench.receive(link, &ad.encode().unwrap());
}

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

fn control() -> OwnService {
    OwnService {
        name: "control".to_owned(),
        conn_type: ConnType::Stream,
        tags: Some(BTreeMap::from([("type".to_owned(), "Control Service".to_owned())])),
        work_commands: Some(vec![WorkCommand { work_type: "cat".to_owned(), secure: false }]),
    }
}

#[test]
fn an_own_service_is_told_at_once_each_minute_and_to_newcomers() {
    let mut bench = between_two();
    bench.router.advertise(bench.now(), control());
    bench.drain();
    let text = "\u{2}{\"NodeID\":\"a\",\"Service\":\"control\",\"Time\":\"2026-11-21T01:31:51.918Z\",\"ConnType\":1,\"Tags\":{\"type\":\"Control Service\"},\"WorkCommands\":[{\"WorkType\":\"cat\",\"Secure\":false}],\"Cancel\":false}";
    assert_eq!(bench.sent.iter().map(|(_, message)| &**message).collect::<Vec<_>>(), [text.as_bytes(); 2]);
    bench.connect(3, "d");
    bench.pass(Duration::from_millis(100));
    assert_eq!(bench.ads(3).len(), 1);
    bench.forget_sent();
    bench.pass(120 * SECOND);
    assert_eq!(bench.ads(1).len(), 2);
    let mut times: Vec<_> = bench.ads(1).iter().map(|ad| ad.time).collect();
    times.dedup();
    assert_eq!(times.len(), 2);
}

#[test]
fn a_withdrawn_service_is_cancelled_and_told_no_more() {
    let mut bench = between_two();
    bench.router.advertise(bench.now(), control());
    bench.router.withdraw(bench.now(), "control");
    bench.router.withdraw(bench.now(), "nothing");
    bench.drain();
    let ads = bench.ads(1);
    assert_eq!(ads.len(), 2);
    assert!(ads[1].cancel && ads[1].time > ads[0].time && ads[1].tags.is_none() && ads[1].conn_type == 1);
    bench.forget_sent();
    bench.connect(3, "d");
    bench.pass(120 * SECOND);
    assert!(bench.ads(1).is_empty() && bench.ads(3).is_empty());
    assert!(bench.router.status(bench.now()).advertisements.is_empty());
}

#[test]
fn an_advertisement_is_passed_on_unchanged_if_it_is_newer() {
    let mut bench = between_two();
    let text = b"\x02{\"nodeid\":\"d\",\"Service\":\"s\", \"Time\":\"2026-11-21T02:31:50.918+01:00\",\"Extra\":[1]}";
    bench.receive(1, text);
    assert_eq!(bench.sent.len(), 1);
    assert_eq!((bench.sent[0].0.0, &*bench.sent[0].1), (2, &text[..]));
    bench.forget_sent();
    receive(&mut bench, 2, &ad("d", "s", 0));
    receive(&mut bench, 2, &ad("d", "s", -1));
    assert!(bench.sent.is_empty());
    receive(&mut bench, 2, &ad("d", "s", 1));
    assert_eq!(bench.ads(1), [ad("d", "s", 1)]);
    assert!(bench.ads(2).is_empty());
    let status = bench.router.status(bench.now());
    assert_eq!(status.advertisements.len(), 1);
    assert_eq!(status.advertisements[0].time, ad("d", "s", 1).time);
}

/// Attack 2 of mesh-protocol 12: in a ring of receptor nodes one such message circles for ever.
#[test]
fn a_cancel_is_passed_on_once() {
    let mut bench = between_two();
    for _ in 0..100 {
        receive(&mut bench, 1, &cancel("d", "s", 5));
        receive(&mut bench, 2, &cancel("d", "s", 5));
    }
    assert_eq!((bench.ads(1).len(), bench.ads(2).len()), (0, 1));
    receive(&mut bench, 1, &ad("d", "s", 4));
    assert!(bench.router.status(bench.now()).advertisements.is_empty(), "older than the cancel");
    bench.forget_sent();
    bench.connect(3, "e");
    bench.pass(SECOND);
    assert!(bench.ads(3).is_empty(), "a receptor newcomer would pass the cancel on");
    receive(&mut bench, 1, &ad("d", "s", 6));
    assert_eq!(bench.router.status(bench.now()).advertisements.len(), 1);
}

/// In a ring of three Go nodes one ordinary withdrawal was seen to go round 3,000 times a second, and not to end.
#[test]
fn a_withdrawal_is_kept_from_receptor_nodes_that_form_a_circle() {
    for (ring, all, expected) in
        [(["x", "y", "z", "x"], true, 0), (["x", "y", "z", "x"], false, 1), (["x", "y", "z", "b"], true, 1)]
    {
        let mut bench = between_two();
        let mut links: Vec<_> = ring.windows(2).map(|pair| (pair[0], pair[1])).collect();
        links.extend([("b", "x"), ("a", "b"), ("a", "c")]);
        if ring[3] == "b" {
            links.retain(|link| *link != ("b", "x"));
        }
        for node in ["x", "y", "z", "b"] {
            let mine = links.iter().filter(|(from, to)| *from == node || *to == node);
            let costs: Vec<_> = mine.map(|(from, to)| (if *from == node { *to } else { *from }, 1.0)).collect();
            let mut told = via("b", update(node, 5, &costs));
            if node == "y" && !all {
                told = own_kind(None, told);
            }
            bench.update(1, &told);
        }
        bench.pass(SECOND);
        bench.router.advertise(bench.now(), control());
        bench.drain();
        bench.forget_sent();
        bench.router.withdraw(bench.now(), "control");
        bench.drain();
        assert_eq!(bench.ads(2).len(), expected, "{ring:?} {all}");
        receive(&mut bench, 1, &cancel("x", "s", 9));
        assert_eq!(bench.ads(2).len(), 2 * expected, "{ring:?} {all}");
    }
}

#[test]
fn advertisements_expire_when_not_repeated_and_with_their_node() {
    let mut bench = between_two();
    receive(&mut bench, 1, &ad("b", "s", 0));
    receive(&mut bench, 1, &ad("b", "again", 0));
    receive(&mut bench, 1, &ad("gone", "s", 0));
    let services = |bench: &Bench| {
        let ads = bench.router.status(bench.now()).advertisements;
        ads.iter().map(|ad| format!("{}:{}", ad.node_id, ad.service)).collect::<Vec<_>>()
    };
    bench.pass(50 * SECOND);
    assert_eq!(services(&bench), ["b:again", "b:s", "gone:s"]);
    bench.pass(30 * SECOND);
    assert_eq!(services(&bench), ["b:again", "b:s"]);
    receive(&mut bench, 1, &ad("b", "again", 1));
    bench.pass(150 * SECOND);
    assert_eq!(services(&bench), ["b:again"]);
    bench.close(1);
    bench.pass(20 * SECOND);
    assert!(services(&bench).is_empty(), "not told for more than a minute, and out of reach");
}

#[test]
fn a_node_started_again_with_its_clock_set_back_can_advertise() {
    let mut bench = between_two();
    receive(&mut bench, 1, &ad("b", "s", 1_000_000));
    receive(&mut bench, 1, &ad("b", "s", 0));
    let time = |bench: &Bench| bench.router.status(bench.now()).advertisements[0].time;
    assert_eq!(time(&bench), ad("b", "s", 1_000_000).time);
    let mut restarted = update("b", 1, &[("a", 1.0)]);
    restarted.update_epoch += 1;
    bench.update(1, &restarted);
    receive(&mut bench, 1, &ad("b", "s", 0));
    assert_eq!(time(&bench), ad("b", "s", 0).time);
}

#[test]
fn what_others_say_of_an_own_service_is_corrected() {
    let mut bench = between_two();
    bench.router.advertise(bench.now(), control());
    bench.drain();
    bench.forget_sent();
    receive(&mut bench, 1, &cancel("a", "control", 3_600));
    receive(&mut bench, 1, &ad("a", "other", 3_600));
    assert!(bench.sent.is_empty());
    assert_eq!(bench.router.status(bench.now()).advertisements.len(), 1);
    bench.pass(5 * SECOND);
    assert_eq!(bench.ads(2).len(), 1);
    assert!(bench.ads(2)[0].time > cancel("a", "control", 3_600).time);
}

#[test]
fn made_up_advertisements_do_not_grow_the_store_without_end() {
    let limits = Limits { advertisements: 50, advertisement_bytes: 20_000, ..Limits::default() };
    let mut bench = Bench::with("a", EPOCH, limits);
    bench.connect(1, "b");
    bench.pass(SECOND);
    bench.router.advertise(bench.now(), control());
    receive(&mut bench, 1, &ad("b", "real", 0));
    for number in 0..5_000 {
        let made_up = format!("x{number}");
        let make = if number % 2 == 0 { ad } else { cancel };
        receive(&mut bench, 1, &make(&made_up, "s", 0));
        assert!(bench.router.ads.len() <= 50);
    }
    let ads = bench.router.status(bench.now()).advertisements;
    assert!(ads.iter().any(|ad| ad.service == "real") && ads.iter().any(|ad| ad.node_id == "a"));
    assert!(bench.router.ads.iter().map(|ad| ad.message.len()).sum::<usize>() <= 20_000);
}
