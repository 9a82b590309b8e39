use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Serialize;
use serde_json::{Map, Value};

use super::PingProblem;
use crate::duration::GoDuration;
use crate::id::{NodeId, UnitId};
use crate::json;
use crate::unit::Status;

/// Sent once the stream to the other node is open; from then on bytes are bridged (control-protocol 3.4).
pub const CONNECTING: &str = "Connecting\n";

/// The first line of every session (control-protocol 2.3).
pub fn banner(node: &NodeId) -> String {
    format!("Receptor Control, node {node}\n")
}

/// Tells the unit of a submit and asks for its stdin (control-protocol 3.7).
pub fn created(unit: &UnitId) -> String {
    format!("Work unit created with ID {unit}. Send stdin data and EOF.\n")
}

/// The header before the bytes of `work results` (control-protocol 3.10).
pub fn streaming(unit: &UnitId) -> String {
    format!("Streaming results for work unit {unit}\n")
}

/// The line that answers a request which could not be carried out. A line feed within `error` is not escaped
/// (control-protocol 3.9).
pub fn error_line(error: &(impl Display + ?Sized)) -> String {
    format!("ERROR: {error}\n")
}

/// Answer to `ping` (control-protocol 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PingAnswer {
    /// The node answered.
    Reply {
        /// Identifier of the node that answered.
        from: String,
        /// Time there and back.
        time: GoDuration,
    },
    /// It did not.
    Failed(PingProblem),
}

impl PingAnswer {
    /// The answer as one line.
    pub fn to_line(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Reply<'a> {
            from: &'a str,
            success: bool,
            time: i64,
            time_str: String,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Failed {
            error: String,
            success: bool,
        }
        match self {
            Self::Reply { from, time } => {
                json::to_line(&Reply { from, success: true, time: time.nanos(), time_str: time.to_string() })
            }
            Self::Failed(problem) => json::to_line(&Failed { error: problem.to_string(), success: false }),
        }
    }
}

/// Answer to `traceroute`: the nodes on the way in order (control-protocol 3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracerouteAnswer {
    hops: BTreeMap<String, Hop>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Hop {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    from: String,
    time: i64,
    time_str: String,
}

impl TracerouteAnswer {
    /// Adds the next hop: the node that answered, and what kept the way from going on, if anything did.
    pub fn push(&mut self, from: impl Into<String>, time: GoDuration, problem: Option<&PingProblem>) {
        let hop = Hop {
            error: problem.map(ToString::to_string),
            from: from.into(),
            time: time.nanos(),
            time_str: time.to_string(),
        };
        self.hops.insert(self.hops.len().to_string(), hop);
    }

    /// The answer as one line.
    pub fn to_line(&self) -> String {
        json::to_line(&self.hops)
    }
}

/// Answer to `reload` (control-protocol 1.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadAnswer(pub Result<(), super::ReloadError>);

impl ReloadAnswer {
    /// The answer as one line.
    pub fn to_line(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Line {
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<String>,
            success: bool,
        }
        let error = self.0.as_ref().err().map(ToString::to_string);
        json::to_line(&Line { success: error.is_none(), error })
    }
}

/// Answer to `work submit`, after the payload (control-protocol 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitAnswer {
    /// The unit has been started.
    Started,
    /// The other node cannot be reached yet; this one keeps trying.
    Submitted,
}

impl SubmitAnswer {
    /// The answer as one line.
    pub fn to_line(self, unit: &UnitId) -> String {
        #[derive(Serialize)]
        struct Line<'a> {
            result: &'a str,
            unitid: &'a UnitId,
        }
        let result = match self {
            Self::Started => "Job Started",
            Self::Submitted => "Job Submitted",
        };
        json::to_line(&Line { result, unitid: unit })
    }
}

/// Answer to `work cancel` (control-protocol 3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAnswer {
    /// Done, or nothing was left to do.
    Cancelled,
    /// The other node cannot be reached now; this one keeps trying.
    Pending,
}

impl CancelAnswer {
    /// The answer as one line.
    pub fn to_line(self, unit: &UnitId) -> String {
        one_entry(
            match self {
                Self::Cancelled => "cancelled",
                Self::Pending => "cancel pending",
            },
            unit,
        )
    }
}

/// Answer to `work release` and `work force-release` (control-protocol 3.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseAnswer {
    /// Done.
    Released,
    /// The other node cannot be reached now; this one keeps trying.
    Pending,
}

impl ReleaseAnswer {
    /// The answer as one line.
    pub fn to_line(self, unit: &UnitId) -> String {
        one_entry(
            match self {
                Self::Released => "released",
                Self::Pending => "release pending",
            },
            unit,
        )
    }
}

/// Answer to `work describe` (work-types 5): all that the node knows of a unit, secrets aside.
#[derive(Clone, Debug, Serialize)]
pub struct DescribeAnswer {
    /// The unit.
    pub unit: UnitId,
    /// Its status, told as `work status` tells it.
    #[serde(serialize_with = "answered")]
    pub status: Status,
    /// Bytes of its payload.
    pub stdin: u64,
    /// Names of the secrets that came with it.
    pub secrets: Vec<String>,
    /// What the unit did in a cluster: the contents of its `worknode.json` (work-types 2.8); null without one.
    pub object: Option<Map<String, Value>>,
}

fn answered<S: serde::Serializer>(status: &Status, serializer: S) -> Result<S::Ok, S::Error> {
    status.answer().serialize(serializer)
}

impl DescribeAnswer {
    /// The answer as one line.
    pub fn to_line(&self) -> String {
        json::to_line(self)
    }
}

/// Answer to `work prune` (work-types 5). What was only looked at for a dry run is told in the same way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PruneAnswer {
    /// Units that were released.
    pub units: Vec<UnitId>,
    /// Objects that were deleted: `pods/NAME`.
    pub objects: Vec<String>,
    /// What could not be done: `fdHK6b5O: words`, `pods/NAME: words`, or `work type T: words` where a cluster could not be
    /// asked. Left out if there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

impl PruneAnswer {
    /// The answer as one line.
    pub fn to_line(&self) -> String {
        json::to_line(self)
    }
}

/// Clients print the first entry of this object, so it has only one.
fn one_entry(outcome: &str, unit: &UnitId) -> String {
    json::to_line(&BTreeMap::from([(outcome, unit)]))
}

/// Answer to `work list` (control-protocol 3.8): identifiers in byte order.
#[derive(Clone, Debug, Default)]
pub struct UnitListAnswer {
    units: BTreeMap<UnitId, Status>,
}

impl UnitListAnswer {
    /// The answer as one line; `{}` without units.
    pub fn to_line(&self) -> String {
        let answers: BTreeMap<_, _> = self.units.iter().map(|(unit, status)| (unit, status.answer())).collect();
        json::to_line(&answers)
    }
}

impl FromIterator<(UnitId, Status)> for UnitListAnswer {
    fn from_iter<I: IntoIterator<Item = (UnitId, Status)>>(units: I) -> Self {
        Self { units: units.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ReloadError;
    use super::*;

    fn unit() -> UnitId {
        UnitId::parse("fdHK6b5O").unwrap()
    }

    fn nanos(nanos: i64) -> GoDuration {
        GoDuration::from_nanos(nanos)
    }

    #[test]
    fn lines_around_streams_are_those_of_the_reference() {
        assert_eq!(banner(&NodeId::parse("n1").unwrap()), "Receptor Control, node n1\n");
        assert_eq!(created(&unit()), "Work unit created with ID fdHK6b5O. Send stdin data and EOF.\n");
        assert_eq!(streaming(&unit()), "Streaming results for work unit fdHK6b5O\n");
        assert_eq!(error_line("Unknown command"), "ERROR: Unknown command\n");
    }

    /// control-protocol 3.1
    #[test]
    fn ping() {
        let reply = PingAnswer::Reply { from: "n2".to_owned(), time: nanos(321_399) };
        assert_eq!(reply.to_line(), "{\"From\":\"n2\",\"Success\":true,\"Time\":321399,\"TimeStr\":\"321.399µs\"}\n");
        for (problem, text) in [
            (PingProblem::NoRoute, "no route to node"),
            (PingProblem::Timeout, "timeout"),
            (PingProblem::BlockedByFirewall, "blocked by firewall"),
            (PingProblem::MessageExpired, "message expired"),
            (PingProblem::ServiceUnknown, "service unknown"),
        ] {
            let failed = PingAnswer::Failed(problem);
            assert_eq!(failed.to_line(), format!("{{\"Error\":\"{text}\",\"Success\":false}}\n"));
        }
    }

    /// control-protocol 3.3
    #[test]
    fn traceroute() {
        let mut answer = TracerouteAnswer::default();
        answer.push("n1", nanos(92_888), None);
        answer.push("n2", nanos(425_014), None);
        assert_eq!(
            answer.to_line(),
            "{\"0\":{\"From\":\"n1\",\"Time\":92888,\"TimeStr\":\"92.888µs\"},\"1\":{\"From\":\"n2\",\"Time\":425014,\"TimeStr\":\"425.014µs\"}}\n"
        );
        let mut answer = TracerouteAnswer::default();
        answer.push("n1", nanos(111_556), None);
        answer.push("n1", nanos(2_023), Some(&PingProblem::NoRoute));
        assert_eq!(
            answer.to_line(),
            "{\"0\":{\"From\":\"n1\",\"Time\":111556,\"TimeStr\":\"111.556µs\"},\"1\":{\"Error\":\"no route to node\",\"From\":\"n1\",\"Time\":2023,\"TimeStr\":\"2.023µs\"}}\n"
        );
    }

    #[test]
    fn keys_of_a_long_traceroute_are_in_byte_order() {
        let mut answer = TracerouteAnswer::default();
        (0..11).for_each(|_| answer.push("n", GoDuration::ZERO, None));
        let line = answer.to_line();
        assert!(line.find("\"10\":").unwrap() < line.find("\"2\":").unwrap(), "{line}");
    }

    /// control-protocol 1.7
    #[test]
    fn reload() {
        assert_eq!(ReloadAnswer(Ok(())).to_line(), "{\"Success\":true}\n");
        for (error, line) in [
            (
                ReloadError::Modified("work-command".to_owned()),
                r#"{"Error":"a non-reloadable config action 'work-command' was modified or added. Must restart receptor for these changes to take effect ERRORCODE 3","Success":false}"#,
            ),
            (
                ReloadError::Removed("work-command".to_owned()),
                r#"{"Error":"a non-reloadable config action 'work-command' was removed. Must restart receptor for changes to take effect ERRORCODE 3","Success":false}"#,
            ),
            (
                ReloadError::Failed("listen tcp 127.0.0.1:21901: bind: address already in use".to_owned()),
                r#"{"Error":"listen tcp 127.0.0.1:21901: bind: address already in use ERRORCODE 4","Success":false}"#,
            ),
            (
                ReloadError::NoFile,
                r#"{"Error":"no configuration file was provided, reload function not set ERRORCODE 4","Success":false}"#,
            ),
        ] {
            assert_eq!(ReloadAnswer(Err(error)).to_line(), format!("{line}\n"));
        }
    }

    /// work-types 5
    #[test]
    fn describe() {
        let file =
            br#"{"State":2,"Detail":"Finished","StdoutSize":11,"WorkType":"kubeit","ExtraData":{"KubePod":"secret"}}"#;
        let answer = DescribeAnswer {
            unit: unit(),
            status: Status::parse(file).unwrap(),
            stdin: 5,
            secrets: vec!["secret_kube_pod".to_owned()],
            object: Some([("exitCode".to_owned(), 0.into())].into_iter().collect()),
        };
        let line = answer.to_line();
        assert!(line.starts_with("{\"unit\":\"fdHK6b5O\",\"status\":{\"Detail\":\"Finished\","), "{line}");
        assert!(
            line.ends_with(",\"stdin\":5,\"secrets\":[\"secret_kube_pod\"],\"object\":{\"exitCode\":0}}\n"),
            "{line}"
        );
        assert!(line.contains("\"StateName\":\"Succeeded\"") && !line.contains("\"secret\""), "{line}");
        assert!(DescribeAnswer { object: None, ..answer }.to_line().ends_with(",\"object\":null}\n"));
    }

    /// work-types 5
    #[test]
    fn prune() {
        assert_eq!(PruneAnswer::default().to_line(), "{\"units\":[],\"objects\":[]}\n");
        let answer = PruneAnswer {
            units: vec![unit()],
            objects: vec!["pods/a".to_owned()],
            failed: vec!["pods/b: forbidden".to_owned()],
        };
        let line = r#"{"units":["fdHK6b5O"],"objects":["pods/a"],"failed":["pods/b: forbidden"]}"#;
        assert_eq!(answer.to_line(), format!("{line}\n"));
    }

    /// control-protocol 3.7 to 3.9
    #[test]
    fn work() {
        assert_eq!(SubmitAnswer::Started.to_line(&unit()), "{\"result\":\"Job Started\",\"unitid\":\"fdHK6b5O\"}\n");
        assert_eq!(
            SubmitAnswer::Submitted.to_line(&unit()),
            "{\"result\":\"Job Submitted\",\"unitid\":\"fdHK6b5O\"}\n"
        );
        assert_eq!(CancelAnswer::Cancelled.to_line(&unit()), "{\"cancelled\":\"fdHK6b5O\"}\n");
        assert_eq!(CancelAnswer::Pending.to_line(&unit()), "{\"cancel pending\":\"fdHK6b5O\"}\n");
        assert_eq!(ReleaseAnswer::Released.to_line(&unit()), "{\"released\":\"fdHK6b5O\"}\n");
        assert_eq!(ReleaseAnswer::Pending.to_line(&unit()), "{\"release pending\":\"fdHK6b5O\"}\n");
        assert_eq!(UnitListAnswer::default().to_line(), "{}\n");
        let file = br#"{"State":2,"Detail":"exit status 0","StdoutSize":11,"WorkType":"cat","ExtraData":null}"#;
        let list = UnitListAnswer::from_iter([(unit(), Status::parse(file).unwrap())]);
        assert_eq!(
            list.to_line(),
            "{\"fdHK6b5O\":{\"Detail\":\"exit status 0\",\"ExtraData\":null,\"State\":2,\"StateName\":\"Succeeded\",\"StdoutSize\":11,\"WorkType\":\"cat\"}}\n"
        );
    }
}
