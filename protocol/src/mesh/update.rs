use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::MapAccess;

use super::read::{self, Fields, MessageError, Nested, fill, fill_map};
use super::{MAX_MESSAGE_LENGTH, MessageType};
use crate::json;

/// A routing update: what one node says of itself, passed on by all (mesh-protocol 4.1).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RoutingUpdate {
    /// The node described.
    #[serde(rename = "NodeID")]
    pub node_id: String,
    /// Identity of this update: eight letters and digits, drawn by the node described.
    #[serde(rename = "UpdateID")]
    pub update_id: String,
    /// When that node's process was started: seconds since 1970 times 2^24, and 24 random bits. Exceeds 2^53.
    pub update_epoch: u64,
    /// Counts the updates of that process.
    pub update_sequence: u64,
    /// Its direct neighbours and the costs of the links to them.
    pub connections: BTreeMap<String, f64>,
    /// Who put the update on this link. The first one names the peer (mesh-protocol 2).
    pub forwarding_node: String,
    /// 0, or the epoch of a process believed to be a duplicate of the node described.
    pub suspected_duplicate: u64,
    /// What nodes of this kind tell each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worknode: Option<Extension>,
}

/// What worknode says in a routing update beyond the reference. Receptor ignores the field, and loses it in what it
/// passes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Extension {
    /// Longest message that all links of the node carry, in bytes with the header.
    pub max_message: u32,
    /// On a link between two such nodes, and there alone: the sender's cost of this very link, once it is established.
    /// With it there may be several links between the two, each of its own cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link_cost: Option<f64>,
}

impl RoutingUpdate {
    /// Reads a message of type [`MessageType::Routing`].
    ///
    /// # Errors
    /// If it is of another type, no JSON object, or a cost is negative: a path could then be shortened without end.
    pub fn decode(message: &[u8]) -> Result<Self, MessageError> {
        let Some((&[1], text)) = message.split_first_chunk::<1>() else {
            return Err(MessageError("not a routing update".to_owned()));
        };
        let update: Self = read::read(text)?;
        let link_cost = update.worknode.and_then(|extension| extension.link_cost);
        if update.connections.values().copied().chain(link_cost).any(|cost| cost < 0.0) {
            return Err(MessageError("a cost is negative".to_owned()));
        }
        Ok(update)
    }

    /// The message, `None` if it would be longer than every link carries ([`MAX_MESSAGE_LENGTH`]).
    pub fn encode(&self) -> Option<Vec<u8>> {
        let text = json::to_string(self);
        let mut message = Vec::with_capacity(text.len() + 1);
        message.push(MessageType::Routing.byte());
        message.extend_from_slice(text.as_bytes());
        (message.len() <= MAX_MESSAGE_LENGTH).then_some(message)
    }
}

impl Fields for RoutingUpdate {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "nodeid" => fill(&mut self.node_id, map),
            "updateid" => fill(&mut self.update_id, map),
            "updateepoch" => fill(&mut self.update_epoch, map),
            "updatesequence" => fill(&mut self.update_sequence, map),
            "connections" => {
                let mut connections = None;
                fill_map(&mut connections, map)?;
                self.connections = connections.unwrap_or_default();
                Ok(true)
            }
            "forwardingnode" => fill(&mut self.forwarding_node, map),
            "suspectedduplicate" => fill(&mut self.suspected_duplicate, map),
            "worknode" => {
                self.worknode = map.next_value::<Option<Nested<Extension>>>()?.map(|Nested(extension)| extension);
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Fields for Extension {
    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "maxmessage" => fill(&mut self.max_message, map),
            "linkcost" => {
                self.link_cost = map.next_value()?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of mesh-protocol 4.1.
    const EXAMPLE: &str = "\u{1}{\"NodeID\":\"gonode\",\"UpdateID\":\"uWTAlgE3\",\"UpdateEpoch\":30118872685188754,\"UpdateSequence\":4,\"Connections\":{\"rust1\":1,\"rust2\":1},\"ForwardingNode\":\"gonode\",\"SuspectedDuplicate\":0}";

    fn example() -> RoutingUpdate {
        RoutingUpdate {
            node_id: "gonode".to_owned(),
            update_id: "uWTAlgE3".to_owned(),
            update_epoch: 30_118_872_685_188_754,
            update_sequence: 4,
            connections: BTreeMap::from([("rust1".to_owned(), 1.0), ("rust2".to_owned(), 1.0)]),
            forwarding_node: "gonode".to_owned(),
            suspected_duplicate: 0,
            worknode: None,
        }
    }

    fn decode(text: &str) -> Result<RoutingUpdate, MessageError> {
        RoutingUpdate::decode(&[b"\x01", text.as_bytes()].concat())
    }

    #[test]
    fn the_example_of_the_reference() {
        assert_eq!(RoutingUpdate::decode(EXAMPLE.as_bytes()), Ok(example()));
        assert_eq!(example().encode().unwrap(), EXAMPLE.as_bytes());
    }

    #[test]
    fn no_neighbours_are_an_empty_map() {
        let update = RoutingUpdate { connections: BTreeMap::new(), ..example() };
        let text = String::from_utf8(update.encode().unwrap()).unwrap();
        assert!(text.contains("\"Connections\":{},"), "{text}");
    }

    #[test]
    fn costs_and_names_are_written_as_go_writes_them() {
        let connections = BTreeMap::from([("b<".to_owned(), 1.5), ("a".to_owned(), 1e21), ("é".to_owned(), 1e-7)]);
        let text = RoutingUpdate { connections, ..example() }.encode().unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\"Connections\":{\"a\":1e+21,\"b\\u003c\":1.5,\"é\":1e-7},"), "{text}");
    }

    #[test]
    fn it_is_read_with_the_tolerance_of_go() {
        let empty = Ok(RoutingUpdate::default());
        assert_eq!(decode("{}"), empty);
        assert_eq!(decode("null"), empty);
        assert_eq!(decode("{\"NodeID\":null,\"Connections\":null,\"UpdateEpoch\":null,\"Worknode\":null}"), empty);
        assert_eq!(decode("{\"Other\":{\"NodeID\":[1,{}]}}"), empty);
        let update =
            decode(" {\"nodeid\" : \"a\", \"NODEID\":\"b\", \"connections\":{\"x\":null,\"y\":2e0}} \n").unwrap();
        assert_eq!(update.node_id, "b");
        assert_eq!(update.connections, BTreeMap::from([("x".to_owned(), 0.0), ("y".to_owned(), 2.0)]));
        let update = decode("{\"UpdateEpoch\":18446744073709551615}").unwrap();
        assert_eq!(update.update_epoch, u64::MAX);
    }

    #[test]
    fn texts_that_are_not_unicode_are_mended_as_go_does() {
        assert_eq!(decode("{\"NodeID\":\"\\ud800\"}").unwrap().node_id, "\u{fffd}");
        let update = RoutingUpdate::decode(b"\x01{\"NodeID\":\"a\xff\xfe\"}").unwrap();
        assert_eq!(update.node_id, "a\u{fffd}\u{fffd}");
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            "{",
            "[]",
            "{} x",
            "\"a\"",
            "{\"NodeID\":1}",
            "{\"UpdateEpoch\":1.5}",
            "{\"UpdateEpoch\":-1}",
            "{\"UpdateEpoch\":18446744073709551616}",
            "{\"Connections\":{\"a\":\"1\"}}",
            "{\"Connections\":{\"a\":1e999}}",
        ] {
            assert!(decode(text).is_err(), "{text}");
        }
        assert!(RoutingUpdate::decode(b"").is_err());
        assert!(RoutingUpdate::decode(b"\x02{}").is_err());
    }

    #[test]
    fn negative_costs_are_refused() {
        assert!(decode("{\"Connections\":{\"a\":-1}}").is_err());
        assert!(decode("{\"Worknode\":{\"LinkCost\":-1}}").is_err());
    }

    #[test]
    fn the_extension_stands_at_the_end() {
        let extension = Extension { max_message: 65_507, link_cost: Some(1.0) };
        let update = RoutingUpdate { worknode: Some(extension), ..example() };
        let text = String::from_utf8(update.encode().unwrap()).unwrap();
        assert!(
            text.ends_with("\"SuspectedDuplicate\":0,\"Worknode\":{\"MaxMessage\":65507,\"LinkCost\":1}}"),
            "{text}"
        );
        assert_eq!(RoutingUpdate::decode(text.as_bytes()), Ok(update));
        let update = decode("{\"Worknode\":{\"MaxMessage\":9,\"More\":[]}}").unwrap();
        assert_eq!(update.worknode, Some(Extension { max_message: 9, link_cost: None }));
    }

    /// A TCP frame of the reference wraps its length above 65,535 (mesh-protocol 12.10).
    #[test]
    fn an_update_too_long_for_a_link_is_not_made() {
        let connections = (0..7_000).map(|node| (format!("node{node}"), 1.0)).collect();
        assert_eq!(RoutingUpdate { connections, ..example() }.encode(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = RoutingUpdate::decode(&bytes);
            let _ = RoutingUpdate::decode(&[&[1], &bytes[..]].concat());
        }

        #[test]
        fn what_is_written_is_read_back(
            node_id in any::<String>(),
            numbers in any::<(u64, u64, u64)>(),
            connections in proptest::collection::btree_map(any::<String>(), 0.0..1e300_f64, 0..5),
        ) {
            let (update_epoch, update_sequence, suspected_duplicate) = numbers;
            let update = RoutingUpdate { node_id, update_epoch, update_sequence, suspected_duplicate, connections, ..example() };
            prop_assert_eq!(RoutingUpdate::decode(&update.encode().unwrap()), Ok(update));
        }
    }
}
