use serde::Serialize;
use serde_json::{Map, Value};

use super::State;
use super::extra::without_secrets;
use crate::json::{self, JsonError};

/// What a unit's `status` file holds (control-protocol 4.1).
///
/// Fields stand in the order of the file. `extra_data` is `null`, a text, or an object whose keys keep their order:
/// make it from [`CommandExtra`](super::CommandExtra), [`KubernetesExtra`](super::KubernetesExtra) or
/// [`RemoteExtra`](super::RemoteExtra).
#[derive(Clone, PartialEq)]
pub struct Status {
    /// Where the unit is in its life.
    pub state: State,
    /// The same in words; see [`Detail`](super::Detail).
    pub detail: String,
    /// Bytes of stdout so far; exact once the unit is complete.
    pub stdout_size: u64,
    /// Name of the work type.
    pub work_type: String,
    /// What the type keeps beside it. May hold secrets, so it is not shown by `Debug`.
    pub extra_data: Value,
}

/// Why the contents of a `status` file are no status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// Not JSON. An empty file, as a reader without the lock can meet, is `unexpected end of JSON input`.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// JSON, but not an object.
    #[error("a status is a JSON object")]
    NoObject,
    /// A field is of another type than it has.
    #[error("field {0} of the status has another type")]
    WrongType(&'static str),
}

impl Status {
    /// The status of a unit that has just been made: pending, nothing written, no extra data.
    pub fn created(work_type: impl Into<String>) -> Self {
        Self {
            state: State::Pending,
            detail: super::Detail::UnitCreated.to_string(),
            stdout_size: 0,
            work_type: work_type.into(),
            extra_data: Value::Null,
        }
    }

    /// Reads the contents of a `status` file.
    ///
    /// As tolerant as the original's reader: blanks around the object, fields unknown, missing, `null` or in other case.
    /// Beyond it, zero bytes at the end are passed over, and a negative size counts as none.
    ///
    /// # Errors
    /// If `contents` is not one JSON object, or a field has another type.
    pub fn parse(contents: &[u8]) -> Result<Self, StatusError> {
        let end = contents.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Self::from_value(&json::parse(contents.get(..end).unwrap_or_default())?)
    }

    /// Reads a status from an object: of a file, or of an answer to `work status`.
    ///
    /// # Errors
    /// If `value` is not an object, or a field has another type.
    pub fn from_value(value: &Value) -> Result<Self, StatusError> {
        let Value::Object(fields) = value else {
            return Err(StatusError::NoObject);
        };
        let whole = |name| match field(fields, name) {
            None => Ok(0),
            Some(value) => value.as_i64().ok_or(StatusError::WrongType(name)),
        };
        let text = |name| match field(fields, name) {
            None => Ok(String::new()),
            Some(value) => value.as_str().map(str::to_owned).ok_or(StatusError::WrongType(name)),
        };
        Ok(Self {
            state: State::from_number(whole("State")?),
            detail: text("Detail")?,
            stdout_size: u64::try_from(whole("StdoutSize")?).unwrap_or(0),
            work_type: text("WorkType")?,
            extra_data: field(fields, "ExtraData").cloned().unwrap_or_default(),
        })
    }

    /// The contents of the file: one line of JSON with its line feed.
    pub fn to_line(&self) -> String {
        self.to_padded_line(0)
    }

    /// As [`to_line`](Self::to_line), filled up with blanks before the line feed to at least `length` bytes.
    ///
    /// A file written over in place by a text that is not shorter is whole again after a single write, and every reader
    /// takes the blanks.
    pub fn to_padded_line(&self, length: usize) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct File<'s> {
            state: i64,
            detail: &'s str,
            stdout_size: u64,
            work_type: &'s str,
            extra_data: &'s Value,
        }
        let mut line = json::to_string(&File {
            state: self.state.number(),
            detail: &self.detail,
            stdout_size: self.stdout_size,
            work_type: &self.work_type,
            extra_data: &self.extra_data,
        });
        let blanks = length.saturating_sub(line.len() + 1);
        line.extend(std::iter::repeat_n(' ', blanks));
        line.push('\n');
        line
    }

    /// What `work status` and `work list` answer: `StateName` added, secrets of the extra data left out.
    pub fn answer(&self) -> StatusAnswer<'_> {
        StatusAnswer {
            detail: &self.detail,
            extra_data: without_secrets(&self.extra_data),
            state: self.state.number(),
            state_name: self.state.name(),
            stdout_size: self.stdout_size,
            work_type: &self.work_type,
        }
    }
}

impl std::fmt::Debug for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Status")
            .field("state", &self.state)
            .field("detail", &self.detail)
            .field("stdout_size", &self.stdout_size)
            .field("work_type", &self.work_type)
            .finish_non_exhaustive()
    }
}

/// A status as answered, keys in byte order (control-protocol 3.8).
#[derive(Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct StatusAnswer<'s> {
    detail: &'s str,
    extra_data: Value,
    state: i64,
    state_name: String,
    stdout_size: u64,
    work_type: &'s str,
}

/// The field called `name`, by preference to the letter, else in any case; `None` also where it is `null`.
fn field<'m>(fields: &'m Map<String, Value>, name: &str) -> Option<&'m Value> {
    fields
        .get(name)
        .or_else(|| fields.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
        .filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::CommandExtra;
    use super::*;

    /// The four lines of control-protocol 4.1.
    const LINES: [&str; 4] = [
        r#"{"State":1,"Detail":"Running: PID 24043","StdoutSize":0,"WorkType":"sleep","ExtraData":{"Pid":24031,"Params":"1000"}}"#,
        r#"{"State":2,"Detail":"exit status 0","StdoutSize":11,"WorkType":"cat","ExtraData":null}"#,
        r#"{"State":4,"Detail":"Canceled","StdoutSize":0,"WorkType":"sleep","ExtraData":null}"#,
        r#"{"State":2,"Detail":"exit status 0","StdoutSize":8,"WorkType":"remote","ExtraData":{"RemoteNode":"n2","RemoteWorkType":"cat","RemoteParams":{},"RemoteUnitID":"3wDv8c6H","RemoteStarted":true,"LocalCancelled":false,"LocalReleased":false,"SignWork":false,"TLSClient":"","Expiration":"0001-01-01T00:00:00Z"}}"#,
    ];

    #[test]
    fn lines_of_the_original_survive_to_the_byte() {
        for line in LINES {
            let line = format!("{line}\n");
            assert_eq!(Status::parse(line.as_bytes()).unwrap().to_line(), line);
        }
        let running = Status::parse(LINES[0].as_bytes()).unwrap();
        assert_eq!(running.state, State::Running);
        assert_eq!(
            CommandExtra::from_value(&running.extra_data),
            Some(CommandExtra { pid: 24031, params: "1000".to_owned() })
        );
    }

    #[test]
    fn reading_is_tolerant() {
        let plain = Status::parse(LINES[1].as_bytes()).unwrap();
        for same in [
            format!("  {}   \n\n", LINES[1]),
            format!("{}\n\0\0\0", LINES[1]),
            r#"{"state":2,"DETAIL":"exit status 0","stdoutsize":11,"Worktype":"cat","New":{"x":[]}}"#.to_owned(),
            r#"{"detail":"no","Detail":"exit status 0","State":2,"StdoutSize":11,"WorkType":"cat"}"#.to_owned(),
        ] {
            assert_eq!(Status::parse(same.as_bytes()).unwrap(), plain, "{same}");
        }
        let empty = Status::parse(b"{}").unwrap();
        assert_eq!((empty.state, empty.stdout_size, empty.work_type.as_str()), (State::Pending, 0, ""));
        assert_eq!(Status::parse(br#"{"StdoutSize":-1,"State":9}"#).unwrap().state, State::Unknown(9));
    }

    #[test]
    fn what_is_no_status_is_refused_with_words() {
        for (text, words) in [
            ("", "unexpected end of JSON input"),
            ("{\"State\":", "unexpected end of JSON input"),
            ("[]", "a status is a JSON object"),
            (r#"{"State":"1"}"#, "field State of the status has another type"),
            (r#"{"StdoutSize":1.5}"#, "field StdoutSize of the status has another type"),
            (r#"{"Detail":[]}"#, "field Detail of the status has another type"),
        ] {
            assert_eq!(Status::parse(text.as_bytes()).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn a_padded_line_has_its_length_and_reads_back() {
        let status = Status::created("cat");
        let padded = status.to_padded_line(200);
        assert_eq!((padded.len(), padded.lines().count()), (200, 1));
        assert_eq!(Status::parse(padded.as_bytes()).unwrap(), status);
        assert_eq!(status.to_padded_line(3), status.to_line());
        assert_eq!(
            status.to_line(),
            "{\"State\":0,\"Detail\":\"Unit Created\",\"StdoutSize\":0,\"WorkType\":\"cat\",\"ExtraData\":null}\n"
        );
    }

    #[test]
    fn the_answer_is_that_of_control_protocol_3_8() {
        let status = Status::parse(LINES[1].as_bytes()).unwrap();
        assert_eq!(
            json::to_string(&status.answer()),
            r#"{"Detail":"exit status 0","ExtraData":null,"State":2,"StateName":"Succeeded","StdoutSize":11,"WorkType":"cat"}"#
        );
    }

    #[test]
    fn the_answer_hides_secrets_that_the_file_holds() {
        let file = br#"{"ExtraData":{"Image":"i","KubeConfig":"geheim","KubePod":"geheim","PodName":"p"}}"#;
        assert_eq!(
            json::to_string(&Status::parse(file).unwrap().answer().extra_data),
            r#"{"Image":"i","KubeConfig":"","KubePod":"","PodName":"p"}"#
        );
        let file = br#"{"ExtraData":{"RemoteNode":"n3","RemoteParams":{"z":"1","SECRET_kube_pod":"geheim","a":"2"}}}"#;
        let status = Status::parse(file).unwrap();
        assert_eq!(
            json::to_string(&status.answer().extra_data),
            r#"{"RemoteNode":"n3","RemoteParams":{"a":"2","z":"1"}}"#
        );
        assert!(status.to_line().contains("geheim") && !format!("{status:?}").contains("geheim"));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            state in -2_i64..8, detail in any::<String>(), size in 0..=i64::MAX, work_type in any::<String>(), pid in any::<i64>(),
        ) {
            let status = Status {
                state: State::from_number(state),
                detail,
                stdout_size: size.unsigned_abs(),
                work_type,
                extra_data: CommandExtra { pid, params: "x".to_owned() }.into(),
            };
            prop_assert_eq!(Status::parse(status.to_line().as_bytes()), Ok(status));
        }

        #[test]
        fn no_bytes_make_the_reader_fall(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Status::parse(&bytes);
        }
    }
}
