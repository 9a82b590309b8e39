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
//! | `$ command` | a shell's command line; `ctl` is the client, with the node's socket |
//! | `? 101` | its exit code; without this line 0 |
//! | `1> line`, `2> line` | lines of standard output and standard error |
//! | `1\| text` | the end of standard output, without a line feed |
//! | `1[ctl]> line` ... | the line is printed by one client only |
//!
//! Lines have places as in [`crate::transcript`]; `<root>` is a directory for files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::node::Node;
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
pub fn play(name: &str, text: &str, client: &Client, node: &Node) -> Result<()> {
    let applies = |only: &Option<String>| only.as_deref().is_none_or(|only| only == client.kind.name());
    for scenario in parse(name, text)?.iter().filter(|scenario| applies(&scenario.only)) {
        let mut names = Names::from([
            ("lt".to_owned(), "<".to_owned()),
            ("node".to_owned(), node.id().to_owned()),
            ("root".to_owned(), node.root().to_string_lossy().into_owned()),
            ("socket".to_owned(), node.socket().to_string_lossy().into_owned()),
        ]);
        for typed in &scenario.commands {
            run(typed, client, node, &mut names)
                .with_context(|| format!("{name}:{}, {:?}, {}", typed.line, scenario.title, client.kind.name()))?;
        }
    }
    Ok(())
}

fn run(typed: &Typed, client: &Client, node: &Node, names: &mut Names) -> Result<()> {
    let command = Pattern::parse(&typed.command)?.filled(names)?;
    let output = Command::new("timeout")
        .args(["60", "sh", "-c"])
        .arg(format!("ctl() {{ \"$CTL\" --socket \"$SOCKET\" \"$@\"; }}\n{command}"))
        .current_dir(node.root())
        .env("CTL", &client.path)
        .env("SOCKET", node.socket())
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

/// The Python client: `RECEPTORCTL_BIN`, or an own installation below `directory`, made with pip where it is missing.
///
/// # Errors
/// Fails with the reason if it cannot be installed.
pub fn receptorctl(directory: &Path) -> Result<Client> {
    let path = match std::env::var_os("RECEPTORCTL_BIN") {
        Some(path) => path.into(),
        None => installed(directory)?,
    };
    Ok(Client { kind: ClientKind::Receptorctl, path })
}

/// The version of the Python client that the reference was written with.
const RECEPTORCTL: &str = "receptorctl==1.6.9";

fn installed(directory: &Path) -> Result<PathBuf> {
    let environment = directory.join("receptorctl");
    let program = environment.join("bin/receptorctl");
    if program.exists() {
        return Ok(program);
    }
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    succeed(Command::new(environment.join("bin/pip")).args(["install", "--quiet", RECEPTORCTL]))?;
    Ok(program)
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
