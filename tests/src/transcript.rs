//! Transcripts: what a client sends and what it must be answered, byte for byte, in text files that read like the
//! reference.
//!
//! ```text
//! == A malformed JSON line yields two error lines
//! C> {
//! S> ERROR: unexpected end of JSON input
//! S> ERROR: Unknown command
//! ```
//!
//! | line | meaning |
//! |---|---|
//! | `# text` | a comment |
//! | `== title` | a scenario: a new connection, whose banner is read and checked |
//! | `== [worknoded] title` | a scenario for one program only |
//! | `@ tcp` | the scenario's connections are over TCP |
//! | `! reason` | why a program differs from the other; every line for one program needs one in its scenario |
//! | `C> line` | the client sends the line and a line feed |
//! | `C\| bytes` | the client sends the bytes; `\n \r \t \0 \\ \xNN` are escapes |
//! | `C<EOF>` | the client closes its sending direction |
//! | `S> line` | the server sends the line and a line feed |
//! | `S\| bytes` | the server sends the bytes |
//! | `S<EOF>` | the server closes |
//! | `R> unit` | waits until the unit is running and its status counts some output |
//! | `W> unit` | waits until the unit has ended |
//! | `C2>`, `S2>` ... | the same on further connections |
//! | `S[receptor]>` ... | the line is for one program only |
//!
//! In lines, `<a=unit>` takes a unit's ID and calls it `a`; `<a>` stands for it from then on. See [`Class`] for what else
//! can be taken. `<node>` is the node's name, `<units>` the directory of its units,
//! `<lt>` the character itself.

mod pattern;
mod script;

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

pub use pattern::Class;
pub use script::{Difference, Script};

use crate::node::Node;
use crate::session::Session;
use crate::work::{State, UnitStatus};
pub(crate) use pattern::{Names, Pattern};
use script::{Act, Scenario, Step};

/// Plays every scenario of a script on a node.
///
/// # Errors
/// Fails with the file's line, what was expected and what came.
pub fn play(script: &Script, node: &Node) -> Result<()> {
    for scenario in script.scenarios.iter().filter(|scenario| scenario.applies_to(node.kind())) {
        Play::new(node, scenario)
            .scenario(scenario)
            .with_context(|| format!("{}, {:?}, on {}", script.name, scenario.title, node.kind().name()))?;
    }
    Ok(())
}

/// One scenario being played.
struct Play<'a> {
    node: &'a Node,
    sessions: BTreeMap<u32, Session>,
    names: Names,
    tcp: bool,
}

impl<'a> Play<'a> {
    fn new(node: &'a Node, scenario: &Scenario) -> Self {
        let units = node.unit_directory("").to_string_lossy().trim_end_matches('/').to_owned();
        let known =
            [("lt".to_owned(), "<".to_owned()), ("node".to_owned(), node.id().to_owned()), ("units".to_owned(), units)];
        Self { node, sessions: BTreeMap::new(), names: Names::from(known), tcp: scenario.tcp }
    }

    fn scenario(&mut self, scenario: &Scenario) -> Result<()> {
        for step in &scenario.steps {
            if step.program.is_none_or(|program| program == self.node.kind()) {
                self.step(step).with_context(|| format!("line {}", step.line))?;
            }
        }
        for (number, mut session) in std::mem::take(&mut self.sessions) {
            // An answer that no line of the script expects would otherwise go unnoticed.
            let _ = session.half_close();
            let rest = session.rest().unwrap_or_default();
            ensure!(rest.is_empty(), "connection {number}: not expected: {}", pattern::escaped(&rest));
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match &step.act {
            Act::WaitRunning(unit) => {
                let unit = Pattern::parse(unit)?.filled(&self.names)?;
                let shown = |status: &UnitStatus| status.state == State::Running && status.stdout_size > 0;
                self.node.wait_status(&unit, shown).map(drop)
            }
            Act::WaitEnded(unit) => {
                let unit = Pattern::parse(unit)?.filled(&self.names)?;
                self.node.wait_ended(&unit).map(drop)
            }
            Act::SendLine(line) => {
                let line = Pattern::parse(line)?.filled(&self.names)?;
                self.session(step)?.send(format!("{line}\n").as_bytes())
            }
            Act::SendBytes(bytes) => self.session(step)?.send(bytes),
            Act::HalfClose => self.session(step)?.half_close(),
            Act::ExpectLine(expected) => {
                let line = self.session(step)?.line_or_end()?;
                let line = line.with_context(|| format!("expected {expected:?}, the server closed"))?;
                Pattern::parse(expected)?
                    .take(&line, &mut self.names)
                    .with_context(|| format!("expected {expected}\n     got {line}"))
            }
            Act::ExpectBytes(expected) => {
                let bytes = self.session(step)?.bytes(expected.len())?;
                if bytes != *expected {
                    bail!("expected {}\n     got {}", pattern::escaped(expected), pattern::escaped(&bytes));
                }
                Ok(())
            }
            Act::ExpectEnd => {
                let rest = self.session(step)?.rest()?;
                ensure!(rest.is_empty(), "expected the end, got {}", pattern::escaped(&rest));
                self.sessions.remove(&step.connection);
                Ok(())
            }
        }
    }

    /// The step's connection, opened at its first use.
    fn session(&mut self, step: &Step) -> Result<&mut Session> {
        let session = match self.sessions.remove(&step.connection) {
            Some(session) => session,
            None if self.tcp => self.node.connect_tcp()?,
            None => self.node.connect()?,
        };
        Ok(self.sessions.entry(step.connection).or_insert(session))
    }
}
