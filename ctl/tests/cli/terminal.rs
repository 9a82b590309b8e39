//! What is different on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, tcgetattr};

use crate::fake_node::{Ctl, DEADLINE, FakeNode, Step, asks, eventually, greet, hear, say, signal, status};

/// A terminal, seen from whoever sits before it.
struct Terminal {
    keyboard_and_screen: File,
    line: File,
}

impl Terminal {
    fn open() -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let line = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        Self { keyboard_and_screen: controller.into(), line }
    }

    fn stdio(&self) -> Stdio {
        OwnedFd::from(self.line.try_clone().unwrap()).into()
    }

    fn mode(&self) -> Termios {
        tcgetattr(&self.line).unwrap()
    }

    fn type_in(&mut self, keys: &str) {
        self.keyboard_and_screen.write_all(keys.as_bytes()).unwrap();
    }

    /// All that has been printed, once nobody else holds the line.
    fn screen(self) -> String {
        let Self { mut keyboard_and_screen, line } = self;
        drop(line);
        std::iter::from_fn(|| next(&mut keyboard_and_screen)).collect()
    }

    fn read_until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            text.push(next(&mut self.keyboard_and_screen).unwrap_or_else(|| panic!("{text:?} and no {end:?}")));
        }
        text
    }
}

/// The next character on the screen; `None` once the line is closed, which a terminal tells as an error.
fn next(screen: &mut File) -> Option<char> {
    let deadline = Timespec::try_from(DEADLINE).unwrap();
    let ready = poll(&mut [PollFd::new(screen, PollFlags::IN)], Some(&deadline)).unwrap();
    assert!(ready > 0, "nothing more is printed, and the terminal is not closed");
    let mut byte = [0];
    screen.read_exact(&mut byte).ok().map(|()| char::from(byte[0]))
}

fn start(ctl: &Ctl, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Child {
    // The command must not outlive this line: it holds the streams open.
    ctl.command().stdin(stdin).stdout(stdout).stderr(stderr).spawn().unwrap()
}

fn code(mut child: Child) -> i32 {
    eventually("ctl ends", || child.try_wait().unwrap().is_some());
    child.wait().unwrap().code().unwrap()
}

fn failing(ctl: Ctl) -> String {
    let terminal = Terminal::open();
    let child = start(&ctl, Stdio::null(), Stdio::null(), terminal.stdio());
    assert_eq!(code(child), 1);
    terminal.screen()
}

#[test]
fn errors_are_red_on_a_terminal_unless_colours_are_not_wanted() {
    let ctl = || Ctl::new(&["--socket", "/nope", "status"]);
    assert!(failing(ctl()).starts_with("\u{1b}[31mERROR: Socket path does not exist: /nope\u{1b}[0m\r\n"));
    assert!(failing(ctl().variable("NO_COLOR", "1")).starts_with("ERROR: "));
    assert!(failing(Ctl::new(&["--socket", "/nope", "--color", "never", "status"])).starts_with("ERROR: "));
}

#[test]
fn a_person_is_asked_for_a_payload_option() {
    let terminal = Terminal::open();
    let ctl = Ctl::new(&["--socket", "/nope", "work", "submit", "cat"]);
    let child = start(&ctl, terminal.stdio(), Stdio::null(), terminal.stdio());
    assert_eq!(code(child), 1);
    let screen = terminal.screen();
    assert!(screen.contains("Must provide one of --payload, --no-payload or --payload-literal."), "{screen}");
}

#[test]
fn a_raw_connection_passes_every_key_and_leaves_the_terminal_as_it_was() {
    let (hang_up, hung_up) = signal();
    let node = FakeNode::start(vec![vec![
        greet(),
        hear("connect n2 shell \n"),
        say("Connecting\nlogin: "),
        // Ctrl-C, Ctrl-D and a line feed that the terminal would have made of the return key.
        hear("a\x03\x04\r"),
        Step::Await(hung_up),
        say("bye"),
    ]]);
    let mut terminal = Terminal::open();
    let before = terminal.mode().local_modes;
    assert!(before.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    let ctl = node.ctl(&["connect", "n2", "shell", "--raw"]);
    let child = start(&ctl, terminal.stdio(), terminal.stdio(), terminal.stdio());
    assert_eq!(terminal.read_until("login: "), "login: ");
    eventually("the terminal is raw", || !terminal.mode().local_modes.contains(LocalModes::ICANON));
    terminal.type_in("a\x03\x04\r");
    hang_up.send(()).unwrap();
    assert_eq!(code(child), 0);
    assert_eq!(terminal.mode().local_modes, before);
    assert_eq!(terminal.screen(), "bye\r\n");
    node.finish();
}

#[test]
fn progress_is_drawn_on_a_terminal_and_cleared() {
    let (drawn, was_drawn) = signal();
    let node = FakeNode::start(vec![vec![
        greet(),
        Step::HearCommand(serde_json::json!({
            "command": "work", "subcommand": "submit", "node": "localhost", "worktype": "cat",
        })),
        say("Work unit created with ID K8ouomSS. Send stdin data and EOF.\n"),
        hear("x".repeat(1000)),
        Step::Await(was_drawn),
        Step::HearEnd,
        say("{\"result\":\"Job Started\",\"unitid\":\"K8ouomSS\"}\n"),
    ]]);
    let mut terminal = Terminal::open();
    let ctl = node.ctl(&["work", "submit", "cat", "-p", "-"]).variable("TERM", "xterm");
    let mut child = start(&ctl, Stdio::piped(), Stdio::null(), terminal.stdio());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all("x".repeat(1000).as_bytes()).unwrap();
    let screen = terminal.read_until("sending");
    assert!(!screen.contains("ERROR"), "{screen}");
    drawn.send(()).unwrap();
    drop(stdin);
    assert_eq!(code(child), 0);
    node.finish();
}

#[test]
fn a_followed_unit_draws_nothing_over_its_own_output() {
    let streaming = vec![
        greet(),
        hear("work results a 0\n"),
        say("Streaming results for work unit a\n"),
        Step::HearEnd,
        say("hello\n"),
        Step::Silence(Duration::from_millis(300)),
    ];
    let node = FakeNode::start(vec![streaming, asks("work status a", &status(2, "exit status 0", 6))]);
    let terminal = Terminal::open();
    let ctl = node.ctl(&["work", "results", "a"]).variable("TERM", "xterm");
    let child = start(&ctl, Stdio::null(), terminal.stdio(), terminal.stdio());
    assert_eq!(code(child), 0);
    assert_eq!(terminal.screen(), "hello\r\n");
    node.finish();
}

#[test]
fn progress_of_a_followed_unit_is_drawn_where_its_output_goes_elsewhere() {
    let (drawn, was_drawn) = signal();
    let node = FakeNode::start(vec![
        vec![
            greet(),
            hear("work results a 0\n"),
            say("Streaming results for work unit a\n"),
            Step::HearEnd,
            say("hello\n"),
            Step::Await(was_drawn),
        ],
        asks("work status a", &status(2, "exit status 0", 6)),
    ]);
    let mut terminal = Terminal::open();
    let ctl = node.ctl(&["work", "results", "a"]).variable("TERM", "xterm");
    let child = start(&ctl, Stdio::null(), Stdio::null(), terminal.stdio());
    terminal.read_until("received");
    drawn.send(()).unwrap();
    assert_eq!(code(child), 0);
    node.finish();
}
