//! What daemon and keepers say to each other.
//!
//! Requests go over a stream socket, each as a frame: length of the body (u32), number of the launch (u64), both little
//! endian, then a [`Launch`] as JSON. Events come back over a packet socket, each one packet of JSON.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use worknode_protocol::unit::{Detail, State};

/// A request longer than this is a fault of the writer: parameters and environment come out of one command line.
pub(super) const REQUEST_LIMIT: usize = 256 * 1024 * 1024;

/// Bytes before the body of a frame.
pub(super) const HEADER: usize = 12;

/// Everything the keeper of one job has to know. May hold secrets, so it is not shown by `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Launch {
    /// Directory of the unit.
    pub(super) dir: PathBuf,
    /// The program: a path, or a name to be looked up in `PATH`.
    pub(super) command: String,
    /// Its arguments, already split.
    pub(super) args: Vec<String>,
    /// Variables added to the environment.
    pub(super) env: BTreeMap<String, String>,
    /// More of them stand in the unit's `secrets.json`.
    pub(super) secret_env: bool,
    /// Of the daemon's environment take a few variables only.
    pub(super) clean_env: bool,
    /// Working directory, the daemon's if not given. `{unitdir}` in it stands for `dir`.
    pub(super) working_dir: Option<String>,
    /// `NAME` or `UID[:GID]` to run as.
    pub(super) user: Option<String>,
    /// Keep stderr apart from stdout, in the unit's `stderr`.
    pub(super) separate_stderr: bool,
    /// Scheduling priority, -20 to 19.
    pub(super) nice: Option<i32>,
    /// The end of the job when it is told to stop.
    pub(super) stop: StopRule,
    /// Longest run time.
    pub(super) timeout: Option<Timeout>,
}

/// How a job is ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct StopRule {
    /// Time from SIGINT until everything must be gone.
    pub(super) grace: Duration,
    /// Kill what the job left behind, too.
    pub(super) kill_tree: bool,
}

impl StopRule {
    /// When SIGKILL follows SIGINT: a little before the grace period ends, so that all is over when it ends.
    pub(super) fn kill_after(self) -> Duration {
        self.grace - (self.grace / 20).min(Duration::from_millis(500))
    }
}

/// A time limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Timeout {
    /// How long the job may run.
    pub(super) after: Duration,
    /// The same as Go writes it: `1h0m0s`.
    pub(super) text: String,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Outcome {
    /// Number of the final state.
    state: i64,
    /// Its detail.
    detail: String,
    /// The job was stopped, but processes of it would not go.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) leftover: bool,
}

impl Outcome {
    /// An outcome of which nothing is left.
    pub(super) fn new(state: State, detail: &Detail) -> Self {
        Self { state: state.number(), detail: detail.to_string(), leftover: false }
    }

    /// The final state.
    pub(super) fn state(&self) -> State {
        State::from_number(self.state)
    }

    /// Its detail.
    pub(super) fn detail(&self) -> Detail {
        Detail::Verbatim(self.detail.clone())
    }

    /// Its detail as text.
    pub(super) fn detail_text(&self) -> &str {
        &self.detail
    }
}

/// What keepers and their parent tell the daemon of one launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Event {
    /// The job has been running for a moment. Not told of jobs that end sooner.
    Running {
        /// The keeper.
        keeper: i32,
        /// The job.
        job: i32,
    },
    /// The job is over, and the unit's files say so.
    Ended(Outcome),
    /// Nothing was started: the unit is not pending, or has a keeper already.
    Refused,
    /// The unit's files could not be read or written, so nothing was started.
    Unusable(String),
    /// There is no keeper: the system refused to make a process, for this reason (errno).
    NotForked(i32),
    /// The keeper ended out of turn, or has more to say than fits here: the unit's files say the rest.
    KeeperGone,
}

/// One packet.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Packet {
    /// The launch it is about.
    pub(super) launch: u64,
    /// What happened.
    pub(super) event: Event,
}

/// Longest packet in bytes. The longest texts in one are paths.
pub(super) const PACKET_LIMIT: usize = 8 * 1024;

/// A packet. What would be too long for one is in the unit's files, too, where [`Event::KeeperGone`] sends the reader.
pub(super) fn packet(launch: u64, event: &Event) -> Vec<u8> {
    let write = |event: &Event| serde_json::to_vec(&Packet { launch, event: event.clone() }).ok();
    let whole = write(event).filter(|packet| packet.len() <= PACKET_LIMIT);
    whole.or_else(|| write(&Event::KeeperGone)).unwrap_or_default()
}

/// A frame.
///
/// # Errors
/// The launch cannot be written as JSON (a path that is not UTF-8), or is too large.
pub(super) fn frame(number: u64, launch: &Launch) -> Result<Vec<u8>, String> {
    let mut frame = vec![0; HEADER];
    serde_json::to_writer(&mut frame, launch).map_err(|fault| fault.to_string())?;
    let length = frame.len() - HEADER;
    let short = u32::try_from(length).ok().filter(|_| length <= REQUEST_LIMIT).ok_or("parameters are too large")?;
    let (head, tail) = frame.split_at_mut(4);
    head.copy_from_slice(&short.to_le_bytes());
    if let Some(field) = tail.get_mut(..8) {
        field.copy_from_slice(&number.to_le_bytes());
    }
    Ok(frame)
}

/// Length of the body and number of the launch.
pub(super) fn read_header(header: [u8; HEADER]) -> (usize, u64) {
    let [a, b, c, d, number @ ..] = header;
    (u32::from_le_bytes([a, b, c, d]) as usize, u64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kill_comes_before_the_grace_period_ends() {
        for (grace, kill) in [(10_000, 9_500), (60_000, 59_500), (1_000, 950), (0, 0)] {
            let rule = StopRule { grace: Duration::from_millis(grace), kill_tree: true };
            assert_eq!(rule.kill_after(), Duration::from_millis(kill));
        }
    }

    #[test]
    fn an_event_too_long_for_a_packet_sends_the_reader_to_the_files() {
        let ended =
            |program: String| Event::Ended(Outcome::new(State::Failed, &Detail::CannotExecute { program, errno: 2 }));
        let read = |event: &Event| serde_json::from_slice::<Packet>(&packet(7, event)).unwrap();
        let short = ended("/bin/x".to_owned());
        assert_eq!(read(&short), Packet { launch: 7, event: short });
        assert_eq!(read(&ended("x".repeat(PACKET_LIMIT))), Packet { launch: 7, event: Event::KeeperGone });
    }

    fn launch(command: String, args: Vec<String>, env: BTreeMap<String, String>) -> Launch {
        Launch {
            dir: "/D/n1/K8ouomSS".into(),
            command,
            args,
            env,
            secret_env: false,
            clean_env: false,
            working_dir: None,
            user: None,
            separate_stderr: false,
            nice: None,
            stop: StopRule { grace: Duration::from_secs(10), kill_tree: true },
            timeout: None,
        }
    }

    proptest::proptest! {
        #[test]
        fn a_frame_is_read_as_it_was_written(number: u64, command: String, args: Vec<String>, env: BTreeMap<String, String>) {
            let written = frame(number, &launch(command.clone(), args.clone(), env.clone())).unwrap();
            let (header, body) = written.split_first_chunk().unwrap();
            proptest::prop_assert_eq!(read_header(*header), (body.len(), number));
            let read: Launch = serde_json::from_slice(body).unwrap();
            proptest::prop_assert_eq!((read.command, read.args, read.env), (command, args, env));
        }
    }
}
