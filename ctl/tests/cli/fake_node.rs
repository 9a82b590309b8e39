use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;

/// How long anything may take that is going to happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// What the node does next on a connection.
pub(crate) enum Step {
    /// Sends these bytes.
    Say(Vec<u8>),
    /// Receives exactly these bytes.
    Hear(Vec<u8>),
    /// Receives a command line, in JSON, that has these fields and no others.
    HearCommand(serde_json::Value),
    /// Receives the end of the client's sending half, and nothing before it.
    HearEnd,
    /// Lets the client end its sending half, whatever it still sends.
    HearClose,
    /// Keeps the connection open until the client has closed it altogether.
    HearHangUp,
    /// Cuts the connection: nothing after it is played, and over TLS the end is not announced.
    Cut,
    /// Waits until another connection, or the test, gives this signal.
    Await(Receiver<()>),
    /// Gives a signal.
    Signal(SyncSender<()>),
    /// Says nothing for this long: silence cannot be had otherwise.
    Silence(Duration),
}

pub(crate) fn say(text: impl AsRef<[u8]>) -> Step {
    Step::Say(text.as_ref().to_vec())
}

pub(crate) fn hear(text: impl AsRef<[u8]>) -> Step {
    Step::Hear(text.as_ref().to_vec())
}

pub(crate) fn greet() -> Step {
    say("Receptor Control, node n1\n")
}

/// A connection on which one command is given and answered, and which the client then closes.
pub(crate) fn asks(line: &str, answer: &str) -> Vec<Step> {
    vec![greet(), hear(format!("{line}\n")), say(format!("{answer}\n")), Step::HearClose]
}

/// A connection that streams `output` for a request for results, and ends.
pub(crate) fn streams(line: &str, unit: &str, output: impl AsRef<[u8]>) -> Vec<Step> {
    let header = format!("Streaming results for work unit {unit}\n");
    vec![greet(), hear(format!("{line}\n")), say(header), Step::HearEnd, say(output)]
}

/// The answer to `work status`.
pub(crate) fn status(state: i64, detail: &str, size: u64) -> String {
    let name = ["Pending", "Running", "Succeeded", "Failed", "Canceled"][usize::try_from(state).unwrap()];
    format!(
        r#"{{"Detail":"{detail}","ExtraData":null,"State":{state},"StateName":"{name}","StdoutSize":{size},"WorkType":"sh"}}"#
    )
}

pub(crate) fn signal() -> (SyncSender<()>, Receiver<()>) {
    sync_channel(1)
}

/// A node on a Unix socket in a directory of its own.
pub(crate) struct FakeNode {
    directory: TempDir,
    served: JoinHandle<Result<(), String>>,
}

impl FakeNode {
    /// Starts a node that plays these connections in the order in which they are made.
    pub(crate) fn start(connections: Vec<Vec<Step>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("n1.sock")).unwrap();
        let served = std::thread::spawn(move || serve(&listener, connections));
        Self { directory, served }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("n1.sock")
    }

    /// A `ctl` that finds this node and nothing else.
    pub(crate) fn ctl(&self, words: &[&str]) -> Ctl {
        Ctl::new(words).variable("WORKNODE_CTL_SOCKET", self.socket().to_str().unwrap())
    }

    /// Waits until all connections have been played.
    pub(crate) fn finish(self) {
        self.served.join().unwrap().unwrap();
    }
}

/// Plays one dialogue with one call of `ctl`.
pub(crate) fn play(words: &[&str], connections: Vec<Vec<Step>>) -> Outcome {
    let node = FakeNode::start(connections);
    let outcome = node.ctl(words).run();
    if outcome.connected() {
        node.finish();
    }
    outcome
}

fn serve(listener: &UnixListener, connections: Vec<Vec<Step>>) -> Result<(), String> {
    let mut players = Vec::new();
    for (number, steps) in connections.into_iter().enumerate() {
        let stream = accept(listener).map_err(|error| format!("connection {number}: {error}"))?;
        players.push(std::thread::spawn(move || {
            play_steps(stream, steps).map_err(|error| format!("connection {number}, {error}"))
        }));
    }
    players.into_iter().try_for_each(|player| player.join().unwrap())
}

fn accept(listener: &UnixListener) -> Result<UnixStream, String> {
    let timeout = Timespec::try_from(DEADLINE).unwrap();
    let ready = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&timeout)).map_err(|error| error.to_string())?;
    if ready == 0 {
        return Err("was never made".to_owned());
    }
    let (stream, _) = listener.accept().map_err(|error| error.to_string())?;
    Ok(stream)
}

/// A stream whose sending half can be closed on its own.
pub(crate) trait Conversation: Read + Write + AsFd {
    fn close_sending(&mut self);
}

impl Conversation for UnixStream {
    fn close_sending(&mut self) {
        // The client may have closed already.
        let _ = self.shutdown(Shutdown::Write);
    }
}

fn play_steps(mut stream: UnixStream, steps: Vec<Step>) -> Result<(), String> {
    stream.set_read_timeout(Some(DEADLINE)).map_err(|error| error.to_string())?;
    converse(&mut stream, steps)
}

pub(crate) fn converse(stream: &mut impl Conversation, steps: Vec<Step>) -> Result<(), String> {
    for (number, step) in steps.into_iter().enumerate() {
        if matches!(step, Step::Cut) {
            return Ok(());
        }
        play_step(stream, step).map_err(|error| format!("step {number}: {error}"))?;
    }
    stream.close_sending();
    Ok(())
}

fn play_step(stream: &mut impl Conversation, step: Step) -> Result<(), String> {
    match step {
        Step::Say(bytes) => stream.write_all(&bytes).and_then(|()| stream.flush()).map_err(|error| error.to_string()),
        Step::Hear(expected) => {
            let mut heard = vec![0; expected.len()];
            let outcome = stream.read_exact(&mut heard);
            if outcome.is_err() || heard != expected {
                let (heard, expected) = (String::from_utf8_lossy(&heard), String::from_utf8_lossy(&expected));
                return Err(format!("heard {heard:?} for {expected:?} ({outcome:?})"));
            }
            Ok(())
        }
        Step::HearCommand(expected) => {
            let line = read_line(stream)?;
            let heard: serde_json::Value = serde_json::from_str(&line).map_err(|error| format!("{line:?}: {error}"))?;
            if heard == expected { Ok(()) } else { Err(format!("heard {heard} for {expected}")) }
        }
        Step::HearEnd => match read_to_end(stream)? {
            rest if rest.is_empty() => Ok(()),
            rest => Err(format!("heard {:?} for the end", String::from_utf8_lossy(&rest))),
        },
        Step::HearClose => read_to_end(stream).map(drop),
        Step::HearHangUp => await_hang_up(stream.as_fd()),
        Step::Cut => Ok(()),
        Step::Await(signal) => signal.recv_timeout(DEADLINE).map_err(|error| error.to_string()),
        Step::Signal(signal) => signal.send(()).map_err(|error| error.to_string()),
        Step::Silence(time) => {
            let (_keep, never) = signal();
            let _ = never.recv_timeout(time);
            Ok(())
        }
    }
}

/// A connection is hung up once both of its halves are closed.
fn await_hang_up(connection: BorrowedFd<'_>) -> Result<(), String> {
    let timeout = Timespec::try_from(DEADLINE).unwrap();
    let mut fds = [PollFd::from_borrowed_fd(connection, PollFlags::empty())];
    match poll(&mut fds, Some(&timeout)) {
        Ok(0) => Err("the client keeps the connection open".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

fn read_line(stream: &mut impl Read) -> Result<String, String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\n") {
        stream.read_exact(&mut byte).map_err(|error| error.to_string())?;
        line.push(byte[0]);
    }
    String::from_utf8(line).map_err(|error| error.to_string())
}

fn read_to_end(stream: &mut impl Read) -> Result<Vec<u8>, String> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => Ok(rest),
        // Over TLS a client that has nothing more to say may close without announcing it.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => Ok(rest),
        Err(error) => Err(error.to_string()),
    }
}

/// One call of `ctl`, in an environment that holds nothing but what is given here.
pub(crate) struct Ctl {
    words: Vec<String>,
    variables: BTreeMap<String, String>,
    stdin: Vec<u8>,
}

impl Ctl {
    pub(crate) fn new(words: &[&str]) -> Self {
        let variables = [("HOME", "/nonexistent"), ("SSL_CERT_FILE", "/nonexistent")];
        Self {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            stdin: Vec::new(),
        }
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().to_vec();
        self
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctl"));
        command.args(&self.words).env_clear().envs(&self.variables);
        command
    }

    /// Starts it with its three streams as pipes.
    pub(crate) fn spawn(&self) -> Child {
        self.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(crate) fn run(self) -> Outcome {
        let mut child = self.spawn();
        let mut pipe = child.stdin.take().unwrap();
        let stdin = self.stdin;
        let feeder = std::thread::spawn(move || {
            // A `ctl` that needs no stdin does not read it.
            let _ = pipe.write_all(&stdin);
        });
        let outcome = Outcome::of(child);
        feeder.join().unwrap();
        outcome
    }
}

/// How a call ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Waits for the end of `child`, which is killed if it does not come.
    pub(crate) fn of(child: Child) -> Self {
        let pid = rustix::process::Pid::from_child(&child);
        let (done, over) = sync_channel::<()>(1);
        let watchdog = std::thread::spawn(move || {
            if over.recv_timeout(2 * DEADLINE).is_err() {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        });
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        done.send(()).unwrap();
        watchdog.join().unwrap();
        Self {
            code: status.code().unwrap_or_else(|| panic!("ctl did not end: {status}")),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Whether it got as far as speaking to the node.
    fn connected(&self) -> bool {
        !self.stderr.starts_with("error: ")
    }

    /// The error or warning without the advice that follows it.
    pub(crate) fn told(&self) -> &str {
        self.stderr.split("\nhint: ").next().unwrap().trim_end_matches('\n')
    }

    #[track_caller]
    pub(crate) fn assert(&self, code: i32, stdout: &str, told: &str) {
        assert_eq!((self.code, self.stdout.as_str(), self.told()), (code, stdout, told), "{self:?}");
    }
}

/// Calls `attempt` until it holds; fails at the deadline.
#[track_caller]
pub(crate) fn eventually(what: &str, mut attempt: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !attempt() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}
