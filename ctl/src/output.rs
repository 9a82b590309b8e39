//! What is printed, and how: the only place that writes to stdout and stderr.

mod python;
mod table;

use std::fmt::Display;
use std::io::{self, Write};

use clap::ColorChoice;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use worknode_protocol::json;

pub(crate) use self::python::{number, repr};
pub(crate) use self::table::{one_line, table};
use crate::cli::OutputArgs;
use crate::environment::Environment;
use crate::failure::Failure;

const RED: &str = "\x1b[31m";
const MAGENTA: &str = "\x1b[35m";
const RESET: &str = "\x1b[0m";

/// Writes data to stdout and everything else to stderr.
pub(crate) struct Printer {
    json: bool,
    colour: bool,
    stdout_is_terminal: bool,
    stderr_is_terminal: bool,
}

/// A failure to write to stdout ends the command.
pub(crate) type Printed = Result<(), Failure>;

impl Printer {
    pub(crate) fn new(options: OutputArgs, environment: &Environment) -> Self {
        let colour = match options.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => environment.stderr_is_terminal && environment.variable("NO_COLOR").is_none(),
        };
        Self {
            json: options.json,
            colour,
            stdout_is_terminal: environment.stdout_is_terminal,
            stderr_is_terminal: environment.stderr_is_terminal,
        }
    }

    /// Whether JSON was asked for.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Bytes to stdout as they are, through no buffer that would hold them back.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Printed {
        let mut rest = bytes;
        while !rest.is_empty() {
            match rustix::io::write(rustix::stdio::stdout(), rest) {
                Ok(0) => return Err(Failure::Output(io::ErrorKind::WriteZero.into())),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(Failure::Output(error.into())),
            }
        }
        Ok(())
    }

    /// A line to stdout.
    pub(crate) fn line(&mut self, text: impl Display) -> Printed {
        self.data(format!("{text}\n").as_bytes())
    }

    /// A value as the original client prints it for people: indented by four, keys sorted, ASCII only.
    pub(crate) fn indented(&mut self, value: &Value) -> Printed {
        self.line(python::indented(value))
    }

    /// A value as one line, its keys in their order: the answer of the node as it came.
    pub(crate) fn compact(&mut self, value: &Value) -> Printed {
        self.data(json::to_line(value).as_bytes())
    }

    /// `ERROR: text`, and what to do next.
    pub(crate) fn failure(&mut self, failure: &Failure) {
        let text = failure.to_string();
        self.error(&text);
        if let Some(hint) = failure.hint() {
            // One text has the blank line at its end already.
            let gap = if text.ends_with('\n') { "" } else { "\n" };
            self.aside(&format!("{gap}hint: {hint}\n"));
        }
    }

    /// `ERROR: text` without further advice.
    pub(crate) fn error(&mut self, text: impl Display) {
        self.coloured(RED, &format!("ERROR: {text}"));
    }

    /// `Warning: text`
    pub(crate) fn warning(&mut self, text: impl Display) {
        self.coloured(MAGENTA, &format!("Warning: {text}"));
    }

    fn coloured(&mut self, colour: &str, text: &str) {
        if self.colour {
            self.aside(&format!("{colour}{text}{RESET}\n"));
        } else {
            self.aside(&format!("{text}\n"));
        }
    }

    /// To stderr. That it cannot be written is nothing that could be told anywhere.
    fn aside(&mut self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    /// Progress of sending `total` bytes, or of an unknown number. Nothing is drawn unless stderr is a terminal.
    pub(crate) fn sending(&self, total: Option<u64>) -> ProgressBar {
        self.progress("sending", total, self.stderr_is_terminal)
    }

    /// Progress of receiving. Where the data itself goes to the terminal it is progress enough.
    pub(crate) fn receiving(&self) -> ProgressBar {
        self.progress("received", None, self.stderr_is_terminal && !self.stdout_is_terminal)
    }

    fn progress(&self, what: &'static str, total: Option<u64>, shown: bool) -> ProgressBar {
        if !shown {
            return ProgressBar::hidden();
        }
        let template = match total {
            Some(_) => "{msg} {wide_bar} {bytes} of {total_bytes} {bytes_per_sec} {eta}",
            None => "{spinner} {msg} {bytes} {bytes_per_sec} {elapsed}",
        };
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        bar.set_draw_target(ProgressDrawTarget::stderr());
        // The templates are constants; should one be refused, the plain bar is drawn.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.with_message(what)
    }
}
