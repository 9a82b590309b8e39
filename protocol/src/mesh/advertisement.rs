use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::{Error as _, MapAccess};
use serde::{Serialize, Serializer};

use super::read::{self, Fields, MessageError, Nested, fill, fill_map};
use super::{MAX_MESSAGE_LENGTH, MessageType};
use crate::control::{Advertisement, WorkCommand};
use crate::json;

/// What a service speaks (mesh-protocol 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnType {
    /// Datagrams.
    Datagram,
    /// Streams with the TLS that is built in, which proves nothing.
    Stream,
    /// Streams with a TLS configuration of the user's.
    StreamTls,
}

impl ConnType {
    /// The number that stands for it on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Datagram => 0,
            Self::Stream => 1,
            Self::StreamTls => 2,
        }
    }
}

/// A service advertisement: a service that a node offers, or its withdrawal, passed on unchanged (mesh-protocol 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceAdvertisement {
    /// The node that offers it.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// The service.
    pub service: String,
    /// When the node said so, by its own clock. Of two the later counts.
    #[serde(serialize_with = "rfc_3339")]
    pub time: Timestamp,
    /// [`ConnType`] as a number.
    pub conn_type: u8,
    /// Tags such as `type`; `null` for none.
    pub tags: Option<BTreeMap<String, String>>,
    /// Work types of the node, only at its control service; `null` for none.
    pub work_commands: Option<Vec<WorkCommand>>,
    /// Whether the service is withdrawn.
    pub cancel: bool,
}

/// Go's zero time, which stands where none is given.
fn zero_time() -> Timestamp {
    const YEAR_ONE: i64 = -62_135_596_800;
    Timestamp::from_second(YEAR_ONE).unwrap_or(Timestamp::MIN)
}

impl Default for ServiceAdvertisement {
    fn default() -> Self {
        Self {
            node_id: String::new(),
            service: String::new(),
            time: zero_time(),
            conn_type: 0,
            tags: None,
            work_commands: None,
            cancel: false,
        }
    }
}

fn rfc_3339<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

impl ServiceAdvertisement {
    /// Reads a message of type [`MessageType::Advertisement`].
    ///
    /// # Errors
    /// If it is of another type, no JSON object, or has a time that is none.
    pub fn decode(message: &[u8]) -> Result<Self, MessageError> {
        match message.split_first_chunk::<1>() {
            Some((&[2], text)) => read::read(text),
            _ => Err(MessageError("not a service advertisement".to_owned())),
        }
    }

    /// The message, `None` if it would be longer than every link carries ([`MAX_MESSAGE_LENGTH`]).
    pub fn encode(&self) -> Option<Vec<u8>> {
        let text = json::to_string(self);
        let mut message = Vec::with_capacity(text.len() + 1);
        message.push(MessageType::Advertisement.byte());
        message.extend_from_slice(text.as_bytes());
        (message.len() <= MAX_MESSAGE_LENGTH).then_some(message)
    }
}

impl From<ServiceAdvertisement> for Advertisement {
    fn from(ad: ServiceAdvertisement) -> Self {
        let ServiceAdvertisement { node_id, service, time, conn_type, tags, work_commands, cancel: _ } = ad;
        Self { node_id, service, time, conn_type, tags, work_commands }
    }
}

impl Fields for ServiceAdvertisement {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "nodeid" => fill(&mut self.node_id, map),
            "service" => fill(&mut self.service, map),
            "time" => {
                if let Some(text) = map.next_value::<Option<String>>()? {
                    self.time = text.parse().map_err(A::Error::custom)?;
                }
                Ok(true)
            }
            "conntype" => fill(&mut self.conn_type, map),
            "tags" => fill_map(&mut self.tags, map),
            "workcommands" => {
                let given = map.next_value::<Option<Vec<Nested<WorkCommand>>>>()?;
                self.work_commands = given.map(|given| given.into_iter().map(|Nested(command)| command).collect());
                Ok(true)
            }
            "cancel" => fill(&mut self.cancel, map),
            _ => Ok(false),
        }
    }
}

impl Fields for WorkCommand {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "worktype" => fill(&mut self.work_type, map),
            "secure" => fill(&mut self.secure, map),
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of mesh-protocol 5.
    const EXAMPLE: &str = "\u{2}{\"NodeID\":\"gonode\",\"Service\":\"control\",\"Time\":\"2026-11-21T01:31:50.918Z\",\"ConnType\":1,\"Tags\":{\"type\":\"Control Service\"},\"WorkCommands\":[{\"WorkType\":\"cat\",\"Secure\":false}],\"Cancel\":false}";

    fn example() -> ServiceAdvertisement {
        ServiceAdvertisement {
            node_id: "gonode".to_owned(),
            service: "control".to_owned(),
            time: "2026-11-21T01:31:50.918Z".parse().unwrap(),
            conn_type: ConnType::Stream.number(),
            tags: Some(BTreeMap::from([("type".to_owned(), "Control Service".to_owned())])),
            work_commands: Some(vec![WorkCommand { work_type: "cat".to_owned(), secure: false }]),
            cancel: false,
        }
    }

    fn decode(text: &str) -> Result<ServiceAdvertisement, MessageError> {
        ServiceAdvertisement::decode(&[b"\x02", text.as_bytes()].concat())
    }

    #[test]
    fn the_example_of_the_reference() {
        assert_eq!(ServiceAdvertisement::decode(EXAMPLE.as_bytes()), Ok(example()));
        assert_eq!(example().encode().unwrap(), EXAMPLE.as_bytes());
    }

    #[test]
    fn nothing_is_null() {
        let ad = ServiceAdvertisement { tags: None, work_commands: None, cancel: true, ..example() };
        let text = String::from_utf8(ad.encode().unwrap()).unwrap();
        assert!(text.ends_with("\"ConnType\":1,\"Tags\":null,\"WorkCommands\":null,\"Cancel\":true}"), "{text}");
        assert_eq!(ServiceAdvertisement::decode(text.as_bytes()), Ok(ad));
    }

    #[test]
    fn times_have_zones_and_nanoseconds() {
        let time = |text: &str| decode(&format!("{{\"Time\":\"{text}\"}}")).map(|ad| ad.time.to_string());
        assert_eq!(time("2026-11-21T02:31:50.918253147+01:00"), Ok("2026-11-21T01:31:50.918253147Z".to_owned()));
        assert_eq!(time("2026-11-21T01:31:50-05:30"), Ok("2026-11-21T07:01:50Z".to_owned()));
        assert_eq!(time("0001-01-01T00:00:00Z"), Ok(zero_time().to_string()));
        assert!(time("").is_err() && time("yesterday").is_err() && time("2026-11-21T01:31:50").is_err());
    }

    /// Receptor's own reader leaves a structure unmade then, and dies of it.
    #[test]
    fn an_empty_object_is_an_empty_advertisement() {
        for text in ["{}", "null", "{\"Time\":null,\"Tags\":null,\"WorkCommands\":null,\"Other\":1}"] {
            assert_eq!(decode(text), Ok(ServiceAdvertisement::default()), "{text}");
        }
        assert_eq!(ServiceAdvertisement::default().time.to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn it_is_read_with_the_tolerance_of_go() {
        let ad = decode(
            "{\"nodeid\":\"a\",\"SERVICE\":\"s\",\"tags\":{\"k\":null},\"workCommands\":[{\"worktype\":\"w\",\"SECURE\":true},null]}",
        );
        let work_commands = vec![
            WorkCommand { work_type: "w".to_owned(), secure: true },
            WorkCommand { work_type: String::new(), secure: false },
        ];
        let expected = ServiceAdvertisement {
            node_id: "a".to_owned(),
            service: "s".to_owned(),
            tags: Some(BTreeMap::from([("k".to_owned(), String::new())])),
            work_commands: Some(work_commands),
            ..ServiceAdvertisement::default()
        };
        assert_eq!(ad, Ok(expected));
        for text in ["", "[]", "{\"ConnType\":256}", "{\"Tags\":{\"a\":1}}", "{\"Cancel\":\"no\"}", "{}{}"] {
            assert!(decode(text).is_err(), "{text}");
        }
        assert!(ServiceAdvertisement::decode(b"").is_err() && ServiceAdvertisement::decode(b"\x01{}").is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ServiceAdvertisement::decode(&[&[2], &bytes[..]].concat());
        }

        #[test]
        fn what_is_written_is_read_back(node_id in any::<String>(), second in 0..4_000_000_000_i64, nano in 0..999_999_999, cancel: bool) {
            let ad = ServiceAdvertisement { node_id, time: Timestamp::new(second, nano).unwrap(), cancel, ..example() };
            prop_assert_eq!(ServiceAdvertisement::decode(&ad.encode().unwrap()), Ok(ad));
        }
    }
}
