//! Whatever breaks: a unit is started there at most once, and its output is whole.

use worknode_protocol::unit::State;

use super::world::{Talk, World, created, ended, output, receptor, send, status, until};
use crate::runner::Started;

/// The dialogue of control-protocol 4.6 (of which `tlsclient` is left out: the name means nothing there).
#[tokio::test]
async fn a_node_of_receptor_hears_what_it_knows() {
    let (world, mut listener) = World::new().await;
    let (unit, ()) = tokio::join!(world.started(b"stdin-data"), async {
        let mut talk = Talk::greeted(&mut listener).await;
        assert_eq!(
            talk.hear().await,
            r#"{"command":"work","foo":"bar","node":"n3","params":"a b","subcommand":"submit","worktype":"wt"}"#
        );
        talk.say(&created("FAKE0001")).await;
        assert_eq!(talk.payload().await.unwrap(), b"stdin-data");
        talk.say("{\"result\":\"Job Started\",\"unitid\":\"FAKE0001\"}\n").await;
        talk.close().await;
    });
    let mut first = Talk::greeted(&mut listener).await;
    assert_eq!(first.hear().await, "work follow FAKE0001 0");
    first.say("ERROR: bad command\n").await;
    let mut results = Talk::greeted(&mut listener).await;
    assert_eq!(results.hear().await, "work results FAKE0001 0");
    assert_eq!(first.hear().await, "work status FAKE0001");
    first.say(&status(1, "Running: PID 7", 0)).await;
    until(&unit, |status| status.detail == "Running: PID 7" && status.state == State::Running).await;
    results.say("Streaming results for work unit FAKE0001\nhello\n").await;
    assert_eq!(first.hear().await, "work status FAKE0001");
    first.say(&status(2, "exit status 0", 6)).await;
    assert_eq!(ended(&unit).await, (State::Succeeded, "exit status 0".to_owned()));
    assert_eq!(output(&unit), b"hello\n");
    receptor(listener, "FAKE0001", "hello\n", 2);
    unit.release(false).await.unwrap();
    assert!(world.units.all().is_empty());
}

#[tokio::test]
async fn what_breaks_before_the_unit_is_named_is_tried_again() {
    let (world, mut listener) = World::new().await;
    let ((unit, started), ()) = tokio::join!(world.submit(b"data"), async {
        let mut talk = Talk::greeted(&mut listener).await;
        talk.hear().await;
        talk.abort();
    });
    assert_eq!(started.unwrap(), Started::Later);
    Talk::greeted(&mut listener).await.take_submit("SECOND01", b"data").await;
    receptor(listener, "SECOND01", "out", 2);
    assert_eq!(ended(&unit).await.0, State::Succeeded);
    assert_eq!(output(&unit), b"out");
}

#[tokio::test]
async fn what_breaks_within_the_payload_is_released_and_tried_again() {
    let (world, mut listener) = World::new().await;
    let unit = world.create(&[]).await;
    let early = unit.begin_early().await.unwrap();
    let mut talk = Talk::greeted(&mut listener).await;
    talk.hear().await;
    talk.say(&created("FIRST001")).await;
    until(&unit, |status| status.extra_data["RemoteUnitID"] == "FIRST001").await;
    talk.abort();
    std::fs::write(unit.dir().stdin(), b"data").unwrap();
    early.upload.send_modify(|upload| upload.bytes = 4);
    let far = async {
        // It cannot have started: its payload had no end.
        let mut talk = Talk::greeted(&mut listener).await;
        assert_eq!(talk.hear().await, "work release FIRST001");
        talk.say("{\"released\":\"FIRST001\"}\n").await;
        Talk::greeted(&mut listener).await.take_submit("SECOND01", b"data").await;
    };
    let (started, ()) = tokio::join!(unit.seal(early), far);
    started.unwrap();
    receptor(listener, "SECOND01", "", 2);
    assert_eq!(ended(&unit).await.0, State::Succeeded);
}

/// Takes a submission and its whole payload, and breaks before the answer.
async fn vanish(mut talk: Talk) {
    talk.hear().await;
    talk.say(&created("FIRST001")).await;
    talk.payload().await.unwrap();
    talk.abort();
}

#[tokio::test]
async fn a_unit_that_started_unheard_is_not_started_again() {
    let (world, mut listener) = World::new().await;
    let ((unit, started), ()) =
        tokio::join!(world.submit(b"data"), async { vanish(Talk::greeted(&mut listener).await).await });
    assert_eq!(started.unwrap(), Started::Later);
    let mut talk = Talk::greeted(&mut listener).await;
    assert_eq!(talk.hear().await, "work status FIRST001");
    talk.say(&status(1, "Running: PID 9", 0)).await;
    receptor(listener, "FIRST001", "out", 2);
    assert_eq!(ended(&unit).await.0, State::Succeeded);
    assert_eq!(unit.status().extra_data["RemoteStarted"], true);
}

#[tokio::test]
async fn a_unit_whose_payload_was_cut_is_started_anew() {
    let (world, mut listener) = World::new().await;
    let ((unit, _), ()) =
        tokio::join!(world.submit(b"data"), async { vanish(Talk::greeted(&mut listener).await).await });
    let mut talk = Talk::greeted(&mut listener).await;
    talk.hear().await;
    // It may still find out that its connection is gone.
    talk.say(&status(0, "Waiting for Input Data", 0)).await;
    let mut talk = Talk::greeted(&mut listener).await;
    talk.hear().await;
    talk.say(&status(3, "Error reading input data: timeout: no recent network activity", 0)).await;
    let mut talk = Talk::greeted(&mut listener).await;
    assert_eq!(talk.hear().await, "work release FIRST001");
    talk.say("{\"released\":\"FIRST001\"}\n").await;
    Talk::greeted(&mut listener).await.take_submit("SECOND01", b"data").await;
    receptor(listener, "SECOND01", "", 2);
    assert_eq!(ended(&unit).await.0, State::Succeeded);
}

#[tokio::test]
async fn a_unit_that_may_have_run_and_is_gone_fails() {
    let (world, mut listener) = World::new().await;
    let ((unit, _), ()) =
        tokio::join!(world.submit(b"data"), async { vanish(Talk::greeted(&mut listener).await).await });
    let mut talk = Talk::greeted(&mut listener).await;
    talk.hear().await;
    talk.say("ERROR: unknown work unit FIRST001\n").await;
    assert_eq!(ended(&unit).await, (State::Failed, "Remote work unit is gone".to_owned()));
}

#[tokio::test]
async fn a_later_daemon_asks_before_it_submits() {
    let (world, mut listener) = World::new().await;
    let ((unit, _), ()) =
        tokio::join!(world.submit(b"data"), async { vanish(Talk::greeted(&mut listener).await).await });
    let id = unit.id().clone();
    drop(unit);
    let world = world.restart().await;
    let unit = world.units.get(id.as_str()).unwrap();
    let mut talk = Talk::next(&mut listener).await;
    talk.say("Receptor Control, node n3\n").await;
    assert_eq!(talk.hear().await, "work status FIRST001");
    talk.say(&status(1, "Running: PID 9", 0)).await;
    receptor(listener, "FIRST001", "out", 2);
    assert_eq!(ended(&unit).await.0, State::Succeeded);
}

#[tokio::test]
async fn output_goes_on_from_what_is_here() {
    let (world, mut listener) = World::new().await;
    let (unit, ()) = tokio::join!(world.started(b""), async {
        Talk::greeted(&mut listener).await.take_submit("FIRST001", b"").await
    });
    let mut talk = Talk::greeted(&mut listener).await;
    talk.hear().await;
    talk.say("Following work unit FIRST001\n{\"Output\":10}\nhello").await;
    while output(&unit) != b"hello" {
        tokio::task::yield_now().await;
    }
    talk.abort();
    let mut talk = Talk::greeted(&mut listener).await;
    assert_eq!(talk.hear().await, "work follow FIRST001 5");
    talk.say("Following work unit FIRST001\n{\"Detail\":\"x\",\"State\":1}\n{\"Output\":5}\nworld").await;
    talk.say("{\"Detail\":\"exit status 4\",\"State\":3,\"StdoutSize\":10}\n").await;
    assert_eq!(ended(&unit).await, (State::Failed, "exit status 4".to_owned()));
    assert_eq!(output(&unit), b"helloworld");
}

#[tokio::test]
async fn secrets_are_kept_apart_and_only_until_the_start() {
    let (world, mut listener) = World::new().await;
    let unit = world.create(&[("secret_kube_pod", "geheim"), ("params", "-v")]).await;
    let on_disk = |name: &str| std::fs::read_to_string(unit.dir().file(name)).unwrap_or_default();
    assert!(on_disk("secrets.json").contains("geheim"));
    let (started, line) = tokio::join!(send(&unit, b""), async {
        let mut talk = Talk::greeted(&mut listener).await;
        let line = talk.hear().await;
        talk.say(&created("FIRST001")).await;
        talk.payload().await.unwrap();
        assert!(!on_disk("status").contains("geheim") && on_disk("status").contains("FIRST001"));
        talk.say("{\"result\":\"Job Started\",\"unitid\":\"FIRST001\"}\n").await;
        line
    });
    started.unwrap();
    assert!(line.contains(r#""secret_kube_pod":"geheim""#), "{line}");
    assert!(!on_disk("status").contains("geheim") && !unit.dir().file("secrets.json").exists());
}
