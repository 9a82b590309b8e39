//! The first dialect on the command line (control-protocol 1.5).

use std::path::PathBuf;

use super::error::{LoadError, Place, Problem};
use super::item::{Defaults, Draft, Item};
use super::schema;

/// One thing that the command line holds.
#[derive(Debug)]
pub(super) enum Part {
    /// An action.
    Item(Item),
    /// `-c FILE`: the actions of a file stand here.
    File(PathBuf),
    /// Something that is neither.
    Wrong(Problem),
}

/// What the command line asks for.
#[derive(Debug, Default)]
pub(super) struct CommandLine {
    /// What it holds, in order.
    pub(super) parts: Vec<Part>,
    /// `--help` or `-h`.
    pub(super) help: bool,
    /// `--check-config`.
    pub(super) check: bool,
}

/// Reads the words after the program's name.
pub(super) fn parse(words: &[String]) -> CommandLine {
    let mut line = CommandLine::default();
    let mut state = State::Nothing;
    for word in words {
        let lower = word.to_lowercase();
        match lower.as_str() {
            "-h" | "--help" => line.help = true,
            "--check-config" => line.check = true,
            _ if lower.starts_with('-') => {
                line.close(std::mem::replace(&mut state, State::Nothing));
                let name = lower.strip_prefix("--").or_else(|| lower.strip_prefix('-')).unwrap_or(&lower);
                state = line.open(name, word);
            }
            _ => state = line.take_word(state, word),
        }
    }
    line.close(state);
    line
}

/// What the next word belongs to.
enum State {
    /// No action yet.
    Nothing,
    /// `-c`, whose file name comes next.
    File,
    /// An action.
    Action(Box<Draft>),
    /// An action that there is not; what belongs to it is no further problem.
    Unknown,
}

impl CommandLine {
    fn open(&mut self, name: &str, written: &str) -> State {
        if matches!(name, "config" | "c") {
            return State::File;
        }
        match schema::action(name) {
            Some(action) => State::Action(Box::new(Draft::new(action, written.to_owned(), Place::CommandLine))),
            None => {
                self.refuse(LoadError::UnknownAction(name.to_owned()));
                State::Unknown
            }
        }
    }

    fn take_word(&mut self, mut state: State, word: &str) -> State {
        match &mut state {
            State::Nothing => self.refuse(LoadError::ParameterFirst),
            State::File => {
                self.parts.push(Part::File(PathBuf::from(word)));
                return State::Nothing;
            }
            State::Action(draft) => match word.split_once('=') {
                Some((name, value)) => draft.take_word(name, value),
                None => draft.take_bare(word, Place::CommandLine),
            },
            State::Unknown => {}
        }
        state
    }

    fn close(&mut self, state: State) {
        match state {
            State::Nothing | State::Unknown => {}
            State::File => self.refuse(LoadError::NoFileName),
            State::Action(draft) => match draft.finish(Defaults::First) {
                Ok(item) => self.parts.push(Part::Item(item)),
                Err(problems) => self.parts.extend(problems.into_iter().map(Part::Wrong)),
            },
        }
    }

    fn refuse(&mut self, error: LoadError) {
        self.parts.push(Part::Wrong(Problem::load(Place::CommandLine, error)));
    }
}
