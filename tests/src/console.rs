//! Console transcripts: command lines of a client, and what they print.
//!
//! ```text
//! == Submit, follow and release
//! $ echo hello | ctl work submit cat -p - -f --rm
//! 1> hello
//! 1> (<unit>, released)
//! ```
//!
//! | line | meaning |
//! |---|---|
//! | `# text`, `== title`, `! reason` | as in [`crate::transcript`] |
//! | `$ command` | a shell's command line; `ctl` is the client, with what it needs to find the node |
//! | `? 101` | its exit code; without this line 0 |
//! | `1> line`, `2> line` | lines of standard output and standard error |
//! | `1\| text` | the end of standard output, without a line feed |
//! | `1[ctl]> line` ... | the line is printed by one client only |
//!
//! Lines have places as in [`crate::transcript`]; `<root>` is a directory for files.

use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::node::Node;
use crate::python::{RECEPTORCTL, RECEPTORCTL_1_4, environment};
use crate::transcript::{Names, Pattern};

/// What Go receptor's client says of every daemon that is not of its own version.
const OTHER_VERSION: &str = "Warning: receptorctl and receptor are different versions, they may not be compatible";

/// A client to be run.
#[derive(Debug, Clone)]
pub struct Client {
    /// Which one it is.
    pub kind: ClientKind,
    /// The executable.
    pub path: PathBuf,
}

/// Which client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// This project's client.
    Ctl,
    /// The Python client of the Go daemon.
    Receptorctl,
}

impl ClientKind {
    fn name(self) -> &'static str {
        match self {
            Self::Ctl => "ctl",
            Self::Receptorctl => "receptorctl",
        }
    }
}

/// Where a client finds a node, and what it must say to be let in.
#[derive(Debug, Clone)]
pub struct Access {
    /// For `--socket`.
    pub socket: String,
    /// More options, without blanks.
    pub options: Vec<String>,
}

impl Access {
    /// By the node's Unix socket.
    #[must_use]
    pub fn unix(node: &Node) -> Self {
        Self { socket: node.socket().to_string_lossy().into_owned(), options: Vec::new() }
    }

    /// Over TCP, to a node of [`crate::Harness::tcp`].
    ///
    /// # Errors
    /// Fails if the node listens on no port.
    pub fn tcp(node: &Node) -> Result<Self> {
        Ok(Self { socket: format!("tcp://localhost:{}", node.tcp_address()?.port()), options: Vec::new() })
    }

    /// Over TLS, with the files of [`crate::certificates`] in the node's directory.
    ///
    /// # Errors
    /// Fails if the node listens on no port.
    pub fn tls(node: &Node) -> Result<Self> {
        let file = |name: &str| node.root().join(name).to_string_lossy().into_owned();
        let options = [("--rootcas", "ca.pem"), ("--cert", "client.pem"), ("--key", "client.key")];
        Ok(Self {
            socket: format!("tls://localhost:{}", node.tcp_address()?.port()),
            options: options.into_iter().flat_map(|(option, name)| [option.to_owned(), file(name)]).collect(),
        })
    }
}

/// A scenario: command lines and what they print.
#[derive(Debug)]
struct Scenario {
    title: String,
    only: Option<String>,
    reasons: usize,
    commands: Vec<Typed>,
}

#[derive(Debug, Default)]
struct Typed {
    line: usize,
    command: String,
    exit: i32,
    output: Vec<Expected>,
    errors: Vec<Expected>,
}

#[derive(Debug)]
struct Expected {
    only: Option<String>,
    text: String,
    line_feed: bool,
}

/// Plays a console transcript with a client on a node.
///
/// # Errors
/// Fails with the file's line, what was expected and what was printed.
pub fn play(name: &str, text: &str, client: &Client, node: &Node, access: &Access) -> Result<()> {
    let applies = |only: &Option<String>| only.as_deref().is_none_or(|only| only == client.kind.name());
    for scenario in parse(name, text)?.iter().filter(|scenario| applies(&scenario.only)) {
        let mut names = Names::from([
            ("lt".to_owned(), "<".to_owned()),
            ("node".to_owned(), node.id().to_owned()),
            ("root".to_owned(), node.root().to_string_lossy().into_owned()),
            ("socket".to_owned(), node.socket().to_string_lossy().into_owned()),
        ]);
        for typed in &scenario.commands {
            run(typed, client, node, access, &mut names)
                .with_context(|| format!("{name}:{}, {:?}, {}", typed.line, scenario.title, client.kind.name()))?;
        }
    }
    Ok(())
}

fn run(typed: &Typed, client: &Client, node: &Node, access: &Access, names: &mut Names) -> Result<()> {
    let command = Pattern::parse(&typed.command)?.filled(names)?;
    let output = Command::new("timeout")
        .args(["60", "sh", "-c"])
        .arg(format!("ctl() {{ \"$CTL\" --socket \"$SOCKET\" $OPTIONS \"$@\"; }}\n{command}"))
        .current_dir(node.root())
        .env("CTL", &client.path)
        .env("SOCKET", &access.socket)
        .env("OPTIONS", access.options.join(" "))
        .env("NO_COLOR", "1")
        .env_remove("RECEPTORCTL_SOCKET")
        .stdin(Stdio::null())
        .output()?;
    let printed = Printed {
        command: &command,
        exit: output.status.code(),
        output: String::from_utf8(output.stdout).context("standard output")?,
        errors: without_version_warning(&String::from_utf8(output.stderr).context("standard error")?),
    };
    ensure!(printed.exit == Some(typed.exit), "expected exit code {}\n{printed}", typed.exit);
    compare(&typed.output, &printed.output, client.kind, names)
        .with_context(|| format!("standard output of\n{printed}"))?;
    compare(&typed.errors, &printed.errors, client.kind, names).with_context(|| format!("standard error of\n{printed}"))
}

fn without_version_warning(errors: &str) -> String {
    errors.split_inclusive('\n').filter(|line| line.trim_end() != OTHER_VERSION).collect()
}

fn compare(expected: &[Expected], printed: &str, client: ClientKind, names: &mut Names) -> Result<()> {
    let mut lines = printed.split_inclusive('\n');
    for expected in expected.iter().filter(|line| line.only.as_deref().is_none_or(|only| only == client.name())) {
        let line = lines.next().with_context(|| format!("missing: {}", expected.text))?;
        let text = line.strip_suffix('\n');
        ensure!(text.is_some() == expected.line_feed, "line feed at the end of {line:?}");
        Pattern::parse(&expected.text)?
            .take(text.unwrap_or(line), names)
            .with_context(|| format!("expected {}\n     got {line}", expected.text))?;
    }
    match lines.next() {
        None => Ok(()),
        Some(line) => bail!("not expected: {line}"),
    }
}

/// All that a command has shown, for error texts.
struct Printed<'a> {
    command: &'a str,
    exit: Option<i32>,
    output: String,
    errors: String,
}

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$ {}\n{}--- errors\n{}--- exit code {:?}", self.command, self.output, self.errors, self.exit)
    }
}

fn parse(name: &str, text: &str) -> Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    for (index, line) in text.lines().enumerate() {
        read(&mut scenarios, index + 1, line).with_context(|| format!("{name}:{}: {line}", index + 1))?;
    }
    for scenario in &scenarios {
        let lines = || scenario.commands.iter().flat_map(|typed| typed.output.iter().chain(&typed.errors));
        let differs = scenario.only.is_some() || lines().any(|line| line.only.is_some());
        ensure!(differs == (scenario.reasons > 0), "{name}, {:?}: a difference needs a reason", scenario.title);
    }
    Ok(scenarios)
}

fn read(scenarios: &mut Vec<Scenario>, number: usize, line: &str) -> Result<()> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    if let Some(title) = line.strip_prefix("== ") {
        let (only, title) = bracketed(title)?;
        scenarios.push(Scenario { title: title.trim().to_owned(), only, reasons: 0, commands: Vec::new() });
        return Ok(());
    }
    let scenario = scenarios.last_mut().context("a line before the first scenario")?;
    if line.starts_with("! ") {
        scenario.reasons += 1;
        return Ok(());
    }
    if let Some(command) = line.strip_prefix("$ ") {
        scenario.commands.push(Typed { line: number, command: command.to_owned(), ..Typed::default() });
        return Ok(());
    }
    let typed = scenario.commands.last_mut().context("a line before the first command")?;
    if let Some(exit) = line.strip_prefix("? ") {
        typed.exit = exit.parse()?;
        return Ok(());
    }
    let (target, rest) = match line.split_at_checked(1) {
        Some(("1", rest)) => (&mut typed.output, rest),
        Some(("2", rest)) => (&mut typed.errors, rest),
        _ => bail!("not a line of a console transcript"),
    };
    let (only, rest) = bracketed(rest)?;
    let (line_feed, text) = match rest.split_at_checked(1) {
        Some((">", text)) => (true, text),
        Some(("|", text)) => (false, text),
        _ => bail!("no mark"),
    };
    let text = text.strip_prefix(' ').unwrap_or(text).to_owned();
    target.push(Expected { only, text, line_feed });
    Ok(())
}

/// `[ctl] rest` → the client and the rest.
fn bracketed(text: &str) -> Result<(Option<String>, &str)> {
    let Some(inner) = text.strip_prefix('[') else { return Ok((None, text)) };
    let (name, rest) = inner.split_once(']').context("no closing bracket")?;
    ensure!(["ctl", "receptorctl"].contains(&name), "no client {name:?}");
    Ok((Some(name.to_owned()), rest))
}

/// The Python client: `RECEPTORCTL_BIN`, or else installed from PyPI. Nothing, and a reason printed, where it cannot be.
#[must_use]
pub fn receptorctl() -> Option<Client> {
    let path = match std::env::var_os("RECEPTORCTL_BIN") {
        Some(path) => path.into(),
        None => environment(RECEPTORCTL)?.program("receptorctl"),
    };
    Some(Client { kind: ClientKind::Receptorctl, path })
}

/// The Python client of 2024, installed from PyPI. Nothing, and a reason printed, where it cannot be.
#[must_use]
pub fn older_receptorctl() -> Option<Client> {
    let path = environment(RECEPTORCTL_1_4)?.program("receptorctl");
    Some(Client { kind: ClientKind::Receptorctl, path })
}
