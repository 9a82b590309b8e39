//! `work follow`: one stream that tells all that becomes of a unit, between nodes of worknode.
//!
//! A node of receptor asks for the status of a unit each second and for its output on a connection of its own
//! (control-protocol 4.6). This command has both pushed instead. A server that does not know it answers `bad command` and
//! the session goes on, so that whoever asks needs to know nothing of the other node beforehand.
//!
//! ```text
//! C> {"command":"work","startpos":0,"subcommand":"follow","unitid":"fdHK6b5O"}
//! S> Following work unit fdHK6b5O
//! S> {"Detail":"Running: PID 24043","State":1}
//! S> {"Output":6}
//! S> hello\n                                            as many bytes as were said
//! S> {"Detail":"exit status 0","State":2,"StdoutSize":6}
//! <server closes>
//! ```
//!
//! `StdoutSize` stands in the last frame alone: all output came before it. A unit that is released ends the stream with
//! `{"Released":true}`.

use serde::Serialize;
use serde_json::Value;

use crate::{
    id::UnitId,
    json,
    unit::{State, Status},
};

/// Longest line of a frame taken, in bytes: a detail holds what an API server or a program wrote.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// The header before the frames.
pub fn following(unit: &UnitId) -> String {
    format!("Following work unit {unit}\n")
}

/// One frame, without the bytes that may follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// The unit's state or detail, new.
    Status {
        /// The state, not final.
        state: State,
        /// The same in words.
        detail: String,
    },
    /// So many bytes of output follow the line.
    Output(u64),
    /// The unit has ended, and all of its output was sent.
    End {
        /// How.
        state: State,
        /// The same in words.
        detail: String,
        /// Bytes of output in all.
        size: u64,
    },
    /// The unit is no more.
    Released,
}

/// A line that is no frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a frame of a followed unit: {0}")]
pub struct FrameError(String);

impl Frame {
    /// What a status says. `size` counts for one that is final alone.
    pub fn of_status(status: &Status) -> Self {
        let (state, detail) = (status.state, status.detail.clone());
        if state.is_final() {
            Self::End { state, detail, size: status.stdout_size }
        } else {
            Self::Status { state, detail }
        }
    }

    /// The line with its line feed.
    pub fn to_line(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Line<'l> {
            detail: &'l str,
            state: i64,
            #[serde(skip_serializing_if = "Option::is_none")]
            stdout_size: Option<u64>,
        }
        match self {
            Self::Status { state, detail } => json::to_line(&Line { detail, state: state.number(), stdout_size: None }),
            Self::End { state, detail, size } => {
                json::to_line(&Line { detail, state: state.number(), stdout_size: Some(*size) })
            }
            Self::Output(bytes) => format!("{{\"Output\":{bytes}}}\n"),
            Self::Released => "{\"Released\":true}\n".to_owned(),
        }
    }

    /// Reads a line, given with or without its line feed.
    ///
    /// # Errors
    /// The line is no frame.
    pub fn read(line: &[u8]) -> Result<Self, FrameError> {
        let wrong = || {
            let shown: String = json::decode_lossy(line).trim().chars().take(80).collect();
            FrameError(shown)
        };
        let Ok(Value::Object(fields)) = json::parse(line) else { return Err(wrong()) };
        if let Some(bytes) = fields.get("Output") {
            return bytes.as_u64().map(Self::Output).ok_or_else(wrong);
        }
        if fields.get("Released") == Some(&Value::Bool(true)) {
            return Ok(Self::Released);
        }
        let state = fields.get("State").and_then(Value::as_i64).map(State::from_number).ok_or_else(wrong)?;
        let detail = fields.get("Detail").and_then(Value::as_str).ok_or_else(wrong)?.to_owned();
        match (state, fields.get("StdoutSize").map(Value::as_u64)) {
            (State::Unknown(_), _) | (_, Some(None)) => Err(wrong()),
            (state, None) if !state.is_final() => Ok(Self::Status { state, detail }),
            (state, Some(Some(size))) if state.is_final() => Ok(Self::End { state, detail, size }),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_have_these_lines() {
        for (frame, line) in [
            (
                Frame::Status { state: State::Running, detail: "Running: PID 24043".to_owned() },
                "{\"Detail\":\"Running: PID 24043\",\"State\":1}\n",
            ),
            (Frame::Output(6), "{\"Output\":6}\n"),
            (
                Frame::End { state: State::Succeeded, detail: "exit status 0".to_owned(), size: 6 },
                "{\"Detail\":\"exit status 0\",\"State\":2,\"StdoutSize\":6}\n",
            ),
            (Frame::Released, "{\"Released\":true}\n"),
        ] {
            assert_eq!(frame.to_line(), line);
            assert_eq!(Frame::read(line.as_bytes()), Ok(frame));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "",
            "hello",
            "[]",
            "{}",
            r#"{"Output":-1}"#,
            r#"{"Output":"6"}"#,
            r#"{"Released":false}"#,
            r#"{"State":1}"#,
            r#"{"State":9,"Detail":""}"#,
            // The end without a size, and a size without an end.
            r#"{"State":2,"Detail":""}"#,
            r#"{"State":1,"Detail":"","StdoutSize":3}"#,
        ] {
            assert!(Frame::read(line.as_bytes()).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_fall(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frame::read(&bytes);
        }

        #[test]
        fn what_is_written_reads_back(state in 0_i64..5, detail in any::<String>(), size in any::<u64>()) {
            let status = Status {
                state: State::from_number(state), detail, stdout_size: size, work_type: String::new(), extra_data: Value::Null,
            };
            let frame = Frame::of_status(&status);
            prop_assert_eq!(Frame::read(frame.to_line().as_bytes()), Ok(frame));
        }
    }
}
