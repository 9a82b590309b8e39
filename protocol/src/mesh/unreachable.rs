use serde::Serialize;
use serde::de::MapAccess;

use super::read::{self, Fields, MessageError, fill};
use crate::json;

/// Why a datagram did not arrive (mesh-protocol 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nobody listens on the service.
    #[error("service unknown")]
    ServiceUnknown,
    /// The last hop was taken before the node was reached.
    #[error("message expired")]
    MessageExpired,
    /// A firewall rule rejects it.
    #[error("blocked by firewall")]
    BlockedByFirewall,
}

/// A notice that a datagram did not arrive: the payload of a datagram from `unreach` to `unreach` (mesh-protocol 6).
///
/// All names are those of the datagram that failed. Who reports it is the source of the notice's own datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Unreachable {
    /// Node it came from.
    pub from_node: String,
    /// Node it was for.
    pub to_node: String,
    /// Service it came from.
    pub from_service: String,
    /// Service it was for.
    pub to_service: String,
    /// The text of a [`Problem`], or another one of a stranger's.
    pub problem: String,
}

impl Unreachable {
    /// Reads the payload of a notice.
    ///
    /// # Errors
    /// If it is no JSON object.
    pub fn decode(payload: &[u8]) -> Result<Self, MessageError> {
        read::read(payload)
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        json::to_string(self).into_bytes()
    }

    /// Whether this is what went wrong.
    pub fn is(&self, problem: Problem) -> bool {
        self.problem == problem.to_string()
    }
}

impl Fields for Unreachable {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "fromnode" => fill(&mut self.from_node, map),
            "tonode" => fill(&mut self.to_node, map),
            "fromservice" => fill(&mut self.from_service, map),
            "toservice" => fill(&mut self.to_service, map),
            "problem" => fill(&mut self.problem, map),
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form and the texts of mesh-protocol 6.
    #[test]
    fn a_notice_is_written_and_read() {
        for (problem, text) in [
            (Problem::ServiceUnknown, "service unknown"),
            (Problem::MessageExpired, "message expired"),
            (Problem::BlockedByFirewall, "blocked by firewall"),
        ] {
            let notice = Unreachable {
                from_node: "a".to_owned(),
                to_node: "b".to_owned(),
                from_service: "uWTAlgE3".to_owned(),
                to_service: "nothere".to_owned(),
                problem: problem.to_string(),
            };
            let expected = format!(
                "{{\"FromNode\":\"a\",\"ToNode\":\"b\",\"FromService\":\"uWTAlgE3\",\"ToService\":\"nothere\",\"Problem\":\"{text}\"}}"
            );
            assert_eq!(String::from_utf8(notice.encode()).unwrap(), expected);
            assert_eq!(Unreachable::decode(expected.as_bytes()), Ok(notice.clone()));
            assert!(notice.is(problem));
        }
    }

    #[test]
    fn it_is_read_with_the_tolerance_of_go() {
        let notice = Unreachable::decode(b"{\"problem\":\"other\",\"X\":1,\"ToNode\":null}").unwrap();
        assert_eq!(notice, Unreachable { problem: "other".to_owned(), ..Unreachable::default() });
        assert!(!notice.is(Problem::ServiceUnknown));
        assert!(Unreachable::decode(b"").is_err() && Unreachable::decode(b"[]").is_err());
    }
}
