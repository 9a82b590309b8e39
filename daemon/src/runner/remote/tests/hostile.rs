//! A remote node that refuses, is silent, or makes no sense.

use std::time::Duration;

use worknode_protocol::unit::State;

use super::world::{SOON, Talk, World, created, ended, output, receptor, status, until};
use crate::runner::{CancelOutcome, Started};

async fn started(world: &World, listener: &mut worknode_mesh::Listener) -> crate::work::unit::UnitHandle {
    let (unit, ()) =
        tokio::join!(world.started(b""), async { Talk::greeted(listener).await.take_submit("FIRST001", b"").await });
    unit
}

#[tokio::test]
async fn a_refusal_is_the_answer() {
    for (answers, text, detail) in [
        (
            &["ERROR: unknown work type zzz\n"][..],
            "could not parse response: ERROR: unknown work type zzz",
            "Error starting worker: could not parse response: ERROR: unknown work type zzz",
        ),
        (
            &["Work unit created with ID FAKE0001. Send stdin data and EOF.\n", "ERROR: nope\n"][..],
            "error from remote: nope",
            "Error starting worker: error from remote: nope",
        ),
    ] {
        let (world, mut listener) = World::new().await;
        let ((unit, answer), ()) = tokio::join!(world.submit(b"data"), async {
            let mut talk = Talk::greeted(&mut listener).await;
            talk.hear().await;
            talk.say(answers[0]).await;
            if let Some(second) = answers.get(1) {
                talk.payload().await.unwrap();
                talk.say(second).await;
            }
            // Until the other side has read it.
            let _ = talk.payload().await;
        });
        assert_eq!(answer.unwrap_err().to_string(), text);
        assert_eq!(ended(&unit).await, (State::Failed, detail.to_owned()));
    }
}

#[tokio::test]
async fn strangers_are_no_control_service() {
    for greeting in ["Receptor Control, node n4\n", "SSH-2.0-OpenSSH_9.2\n", "ERROR: too many connections\n", ""] {
        let (world, mut listener) = World::new().await;
        let ((unit, answer), ()) = tokio::join!(world.submit(b"data"), async {
            let mut talk = Talk::next(&mut listener).await;
            talk.say(greeting).await;
            talk.close().await;
        });
        assert_eq!(answer.unwrap(), Started::Later, "{greeting:?}");
        let status = unit.status();
        assert_eq!((status.state, status.detail.as_str()), (State::Pending, "Starting Worker"), "{greeting:?}");
        assert_eq!(unit.cancel().await, CancelOutcome::Cancelled);
        assert_eq!(ended(&unit).await, (State::Failed, "Locally Cancelled".to_owned()));
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_not_taken() {
    let (world, mut listener) = World::new().await;
    let ((unit, answer), ()) = tokio::join!(world.submit(b"data"), async {
        let mut talk = Talk::greeted(&mut listener).await;
        talk.hear().await;
        talk.say(&created("../../../etc")).await;
        assert!(talk.payload().await.is_err(), "the payload is not sent to it");
    });
    assert_eq!(answer.unwrap(), Started::Later);
    assert_eq!(unit.status().extra_data["RemoteUnitID"], "");
}

#[tokio::test]
async fn nonsense_ends_the_unit_in_words() {
    for nonsense in [
        "what?\n",
        "{\"Detail\":1}\n",
        "{\"State\":77,\"Detail\":\"\",\"StdoutSize\":0}\n",
        "ERROR: database is down\n",
    ] {
        let (world, mut listener) = World::new().await;
        let unit = started(&world, &mut listener).await;
        let far = tokio::spawn(async move {
            loop {
                let mut talk = Talk::greeted(&mut listener).await;
                tokio::spawn(async move {
                    while let line = talk.hear().await
                        && !line.is_empty()
                    {
                        talk.say(if line.contains("follow") { "ERROR: bad command\n" } else { nonsense }).await;
                    }
                });
            }
        });
        let (state, detail) = ended(&unit).await;
        assert!(
            state == State::Failed && detail.starts_with("The end of the remote work unit is unknown: "),
            "{detail}"
        );
        far.abort();
    }
}

#[tokio::test]
async fn a_line_without_end_is_not_kept() {
    let (world, mut listener) = World::new().await;
    let unit = started(&world, &mut listener).await;
    let far = tokio::spawn(async move {
        loop {
            let mut talk = Talk::greeted(&mut listener).await;
            talk.hear().await;
            talk.say("Following work unit FIRST001\n").await;
            for _ in 0..40 {
                talk.say(&"x".repeat(64 * 1024)).await;
            }
        }
    });
    let (state, detail) = ended(&unit).await;
    assert!(state == State::Failed && detail.ends_with("a line of more than 1048576 bytes"), "{detail}");
    far.abort();
}

#[tokio::test]
async fn silence_is_waited_out() {
    let (world, mut listener) = World::new().await;
    let unit = started(&world, &mut listener).await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut talk = Talk::greeted(&mut listener).await;
        talk.hear().await;
        silent.push(talk);
    }
    assert_eq!(unit.status().state, State::Pending);
    receptor(listener, "FIRST001", "out", 2);
    assert_eq!(ended(&unit).await.0, State::Succeeded);
}

#[tokio::test]
async fn output_that_never_comes_is_said_to_be_missing() {
    let (world, mut listener) = World::new().await;
    let unit = started(&world, &mut listener).await;
    let far = tokio::spawn(async move {
        loop {
            let mut talk = Talk::greeted(&mut listener).await;
            tokio::spawn(async move {
                while let line = talk.hear().await
                    && !line.is_empty()
                {
                    if line.contains("follow") {
                        talk.say("ERROR: bad command\n").await;
                    } else if line.contains("status") {
                        talk.say(&status(2, "exit status 0", 100)).await;
                    } else {
                        let more = if line.ends_with(" 0") { "hello" } else { "" };
                        talk.say(&format!("Streaming results for work unit FIRST001\n{more}")).await;
                        return talk.close().await;
                    }
                }
            });
        }
    });
    assert_eq!(ended(&unit).await, (State::Failed, "exit status 0; output was cut at byte 5".to_owned()));
    assert_eq!(output(&unit), b"hello");
    far.abort();
}

/// control-protocol 3.9: two blanks, and the line feed of the other node's answer.
#[tokio::test]
async fn a_cancel_that_is_refused_is_answered_so() {
    let (world, mut listener) = World::new().await;
    let unit = started(&world, &mut listener).await;
    let mut following = Talk::greeted(&mut listener).await;
    following.hear().await;
    following.say("Following work unit FIRST001\n{\"Detail\":\"Running: PID 7\",\"State\":1}\n").await;
    until(&unit, |status| status.state == State::Running).await;
    let (outcome, ()) = tokio::join!(unit.cancel(), async {
        let mut talk = Talk::greeted(&mut listener).await;
        assert_eq!(talk.hear().await, "work cancel FIRST001");
        talk.say("ERROR: cannot\n").await;
        let _ = talk.payload().await;
    });
    let CancelOutcome::Refused(words) = outcome else { panic!("{outcome:?}") };
    assert_eq!(words.to_string(), "error cancelling remote unit:  cannot\n");
    assert_eq!(unit.status().state, State::Running);
    following.say("{\"Detail\":\"exit status 0\",\"State\":2,\"StdoutSize\":0}\n").await;
    assert_eq!(ended(&unit).await.0, State::Succeeded);
}

#[tokio::test]
async fn a_release_that_is_refused_leaves_the_unit_and_goes_on_watching() {
    let (world, mut listener) = World::new().await;
    let unit = started(&world, &mut listener).await;
    let mut following = Talk::greeted(&mut listener).await;
    following.hear().await;
    following.say("Following work unit FIRST001\n").await;
    let (released, ()) = tokio::join!(unit.release(false), async {
        let mut talk = Talk::greeted(&mut listener).await;
        assert_eq!(talk.hear().await, "work release FIRST001");
        talk.say("ERROR: cannot\n").await;
        let _ = talk.payload().await;
    });
    assert_eq!(released.unwrap_err().to_string(), "error cancelling remote unit:  cannot\n");
    receptor(listener, "FIRST001", "out", 2);
    assert_eq!(ended(&unit).await.0, State::Succeeded);
    tokio::time::timeout(SOON, unit.release(false)).await.unwrap().unwrap();
    assert!(world.units.all().is_empty());
}

#[tokio::test]
async fn nothing_loops_at_full_speed() {
    let (world, mut listener) = World::new().await;
    let (_unit, _) = tokio::join!(world.submit(b""), async { Talk::next(&mut listener).await.close().await });
    let mut connections = 0;
    let _ = tokio::time::timeout(Duration::from_millis(400), async {
        loop {
            Talk::next(&mut listener).await.close().await;
            connections += 1;
        }
    })
    .await;
    // Pauses of at least half of 20 ms, once they have grown.
    assert!((1..=60).contains(&connections), "{connections}");
}
