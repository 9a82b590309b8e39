use std::collections::BTreeMap;

use super::{Prune, Request, Results, Submit, UnitCommand, WorkRequest};
use crate::json;

impl Request {
    /// The command line that asks for this, with its line feed.
    ///
    /// The string form where it can say it, as `receptorctl` does, else the JSON form. [`parse`](super::parse()) reads
    /// either back as the same request.
    pub fn to_line(&self) -> String {
        let mut line = self.string_form().unwrap_or_else(|| self.json_form());
        line.push('\n');
        line
    }

    fn string_form(&self) -> Option<String> {
        Some(match self {
            Self::Ping { target } => format!("ping {}", rest(target)?),
            Self::Traceroute { target } => format!("traceroute {}", rest(target)?),
            Self::Status { fields: None } => "status".to_owned(),
            Self::Status { fields: Some(_) } => return None,
            Self::Reload => "reload".to_owned(),
            Self::Connect { node, service, tls } => {
                // Without a name the blank before it stays: so does receptorctl, and an empty third word means none.
                format!("connect {} {} {}", word(node)?, word(service)?, word(tls.as_deref().unwrap_or_default())?)
            }
            Self::Work(work) => format!("work {}", work.string_form()?),
        })
    }

    fn json_form(&self) -> String {
        let command = |name, fields: &[(&'static str, &str)]| {
            let fields = fields.iter().copied().chain([("command", name)]);
            json::to_string(&fields.collect::<BTreeMap<_, _>>())
        };
        match self {
            Self::Ping { target } => command("ping", &[("target", target)]),
            Self::Traceroute { target } => command("traceroute", &[("target", target)]),
            Self::Reload => command("reload", &[]),
            Self::Status { fields } => {
                let mut line = serde_json::Map::new();
                line.insert("command".to_owned(), "status".into());
                if let Some(fields) = fields {
                    line.insert("requested_fields".to_owned(), fields.clone().into());
                }
                json::to_string(&line)
            }
            Self::Connect { node, service, tls } => {
                let tls = tls.as_deref().map(|tls| ("tls", tls));
                let named: Vec<_> = [("node", node.as_str()), ("service", service)].into_iter().chain(tls).collect();
                command("connect", &named)
            }
            Self::Work(work) => work.json_form(),
        }
    }
}

impl WorkRequest {
    /// What a bound token is made for: all of the request but its token, written in one way whatever it was read from
    /// (`docs/decisions/0018-bound-tokens.md`).
    pub fn bound_text(&self) -> String {
        self.clone().with_signature(None).json_form()
    }

    fn string_form(&self) -> Option<String> {
        let about = |subcommand: &str, command: &UnitCommand| {
            let unsigned = command.signature.is_none();
            unsigned.then_some(())?;
            Some(format!("{subcommand} {}", word(&command.unit)?))
        };
        match self {
            Self::Submit(_) => None,
            Self::List { unit: None } => Some("list".to_owned()),
            Self::List { unit: Some(unit) } => Some(format!("list {}", word(unit)?)),
            Self::Status(command) => about("status", command),
            Self::Describe(command) => about("describe", command),
            Self::Cancel(command) => about("cancel", command),
            Self::Release(command) => about("release", command),
            Self::ForceRelease(command) => about("force-release", command),
            Self::Results(results) => results.string_form("results"),
            Self::Follow(results) => results.string_form("follow"),
            Self::Prune(prune) => prune.string_form(),
        }
    }

    fn json_form(&self) -> String {
        let mut line = BTreeMap::from([("command", "work".into())]);
        let mut about = |subcommand: &str, unit: &str, signature: &Option<super::Token>| {
            line.insert("subcommand", subcommand.into());
            line.insert("unitid", unit.into());
            if let Some(signature) = signature {
                line.insert("signature", signature.as_str().into());
            }
        };
        match self {
            Self::Submit(submit) => return submit.json_form(),
            Self::Prune(prune) => return prune.json_form(),
            Self::List { unit: Some(unit) } => about("list", unit, &None),
            Self::List { unit: None } => {
                line.insert("subcommand", "list".into());
            }
            Self::Status(command) => about("status", &command.unit, &command.signature),
            Self::Describe(command) => about("describe", &command.unit, &command.signature),
            Self::Cancel(command) => about("cancel", &command.unit, &command.signature),
            Self::Release(command) => about("release", &command.unit, &command.signature),
            Self::ForceRelease(command) => about("force-release", &command.unit, &command.signature),
            Self::Results(results) | Self::Follow(results) => {
                let subcommand = if matches!(self, Self::Follow(_)) { "follow" } else { "results" };
                about(subcommand, &results.unit, &results.signature);
                line.insert("startpos", serde_json::Value::from(results.start));
                if let Some(stream) = &results.stream {
                    line.insert("stream", stream.as_str().into());
                }
            }
        }
        json::to_string(&line)
    }
}

impl Results {
    fn string_form(&self, subcommand: &str) -> Option<String> {
        let plain = self.signature.is_none() && self.stream.is_none();
        plain.then_some(())?;
        Some(format!("{subcommand} {} {}", word(&self.unit)?, self.start))
    }
}

impl Prune {
    fn string_form(&self) -> Option<String> {
        self.signature.is_none().then_some(())?;
        let mut words = "prune".to_owned();
        words.push_str(if self.cluster { " cluster" } else { "" });
        words.push_str(if self.dry_run { " dryrun" } else { "" });
        if let Some(older) = &self.older {
            words.push_str(&format!(" older={older}"));
        }
        if let Some(state) = self.state {
            words.push_str(&format!(" state={}", state.name()));
        }
        Some(words)
    }

    fn json_form(&self) -> String {
        let mut line = BTreeMap::from([
            ("command", "work".into()),
            ("subcommand", "prune".into()),
            ("cluster", serde_json::Value::from(self.cluster)),
            ("dryrun", self.dry_run.into()),
        ]);
        line.extend(self.older.as_ref().map(|older| ("older", older.to_string().into())));
        line.extend(self.state.map(|state| ("state", state.name().into())));
        line.extend(self.signature.as_ref().map(|token| ("signature", token.as_str().into())));
        json::to_string(&line)
    }
}

impl Submit {
    /// Parameters named like a field of the submit itself cannot be told apart from it; the field wins.
    fn json_form(&self) -> String {
        let mut line: BTreeMap<&str, &str> = self.params.iter().collect();
        for field in ["tlsclient", "ttl", "signwork", "signature"] {
            line.remove(field);
        }
        line.extend([
            ("command", "work"),
            ("subcommand", "submit"),
            ("node", &self.node),
            ("worktype", &self.work_type),
        ]);
        line.extend(self.tls_client.as_deref().map(|name| ("tlsclient", name)));
        line.extend(self.ttl.as_deref().map(|ttl| ("ttl", ttl)));
        line.extend(self.sign_work.then_some(("signwork", "true")));
        line.extend(self.signature.as_ref().map(|token| ("signature", token.as_str())));
        json::to_string(&line)
    }
}

/// `text` as the rest of a string command: not empty, and nothing in it that a line would lose.
fn rest(text: &str) -> Option<&str> {
    (!text.is_empty() && !text.contains(['\r', '\n'])).then_some(text)
}

/// `text` as one word of a string command, possibly empty.
fn word(text: &str) -> Option<&str> {
    (!text.contains([' ', '\r', '\n'])).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Params, Parsed, Token, parse};
    use super::*;
    use crate::duration::GoDuration;
    use crate::unit::State;

    fn command(unit: &str) -> UnitCommand {
        UnitCommand { unit: unit.to_owned(), signature: None }
    }

    #[test]
    fn a_bound_text_has_all_of_the_request_but_its_token() {
        let submit = Submit {
            node: "n3".to_owned(),
            work_type: "wt".to_owned(),
            params: Params::from_iter([("secret_x", "s"), ("foo", "bar")]),
            signature: Token::new("t"),
            ..Submit::default()
        };
        assert_eq!(
            WorkRequest::Submit(submit).bound_text(),
            r#"{"command":"work","foo":"bar","node":"n3","secret_x":"s","subcommand":"submit","worktype":"wt"}"#
        );
        let line = r#"{ "unitid":"a\u0062", "subcommand":"cancel", "x":1, "signature":"t", "command":"work" }"#;
        let Parsed::Request(Request::Work(cancel)) = parse(line.as_bytes()) else { panic!() };
        assert_eq!(cancel.bound_text(), r#"{"command":"work","subcommand":"cancel","unitid":"ab"}"#);
    }

    #[test]
    fn lines_are_those_that_receptorctl_sends() {
        let unit = || command("fdHK6b5O");
        for (request, line) in [
            (Request::Ping { target: "n2".to_owned() }, "ping n2"),
            (Request::Traceroute { target: "n2".to_owned() }, "traceroute n2"),
            (Request::Status { fields: None }, "status"),
            (
                Request::Status { fields: Some(vec!["Version".to_owned()]) },
                r#"{"command":"status","requested_fields":["Version"]}"#,
            ),
            (Request::Reload, "reload"),
            (
                Request::Connect { node: "n2".to_owned(), service: "control".to_owned(), tls: None },
                "connect n2 control ",
            ),
            (Request::Work(WorkRequest::List { unit: None }), "work list"),
            (Request::Work(WorkRequest::List { unit: Some("a".to_owned()) }), "work list a"),
            (Request::Work(WorkRequest::Status(unit())), "work status fdHK6b5O"),
            (Request::Work(WorkRequest::Cancel(unit())), "work cancel fdHK6b5O"),
            (Request::Work(WorkRequest::Release(unit())), "work release fdHK6b5O"),
            (Request::Work(WorkRequest::ForceRelease(unit())), "work force-release fdHK6b5O"),
            (
                Request::Work(WorkRequest::Results(Results { unit: "fdHK6b5O".to_owned(), ..Results::default() })),
                "work results fdHK6b5O 0",
            ),
        ] {
            assert_eq!(request.to_line(), format!("{line}\n"));
        }
    }

    /// Lines that one node sends to another, control-protocol 4.6.
    #[test]
    fn lines_of_remote_work() {
        let submit = Submit {
            node: "n3".to_owned(),
            work_type: "wt".to_owned(),
            params: Params::from_iter([("foo", "bar"), ("params", "a b")]),
            signature: Token::new("<JWT>"),
            ..Submit::default()
        };
        assert_eq!(
            Request::Work(WorkRequest::Submit(submit)).to_line(),
            "{\"command\":\"work\",\"foo\":\"bar\",\"node\":\"n3\",\"params\":\"a b\",\"signature\":\"\\u003cJWT\\u003e\",\"subcommand\":\"submit\",\"worktype\":\"wt\"}\n"
        );
        let results = Results { unit: "FAKE0001".to_owned(), signature: Token::new("jwt"), ..Results::default() };
        assert_eq!(
            Request::Work(WorkRequest::Results(results)).to_line(),
            "{\"command\":\"work\",\"signature\":\"jwt\",\"startpos\":0,\"subcommand\":\"results\",\"unitid\":\"FAKE0001\"}\n"
        );
        let release = UnitCommand { unit: "FAKE0001".to_owned(), signature: Token::new("jwt") };
        assert_eq!(
            Request::Work(WorkRequest::Release(release)).to_line(),
            "{\"command\":\"work\",\"signature\":\"jwt\",\"subcommand\":\"release\",\"unitid\":\"FAKE0001\"}\n"
        );
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof!["[a-z0-9]{1,8}", "[a-z \r\n<é{\"]{0,6}", any::<String>()]
    }

    fn any_name() -> impl Strategy<Value = Option<String>> {
        prop::option::of(any_text().prop_filter("an empty name is none", |name| !name.is_empty()))
    }

    fn any_token() -> impl Strategy<Value = Option<Token>> {
        any_name().prop_map(|token| token.and_then(Token::new))
    }

    fn any_unit_command() -> impl Strategy<Value = UnitCommand> {
        (any_text(), any_token()).prop_map(|(unit, signature)| UnitCommand { unit, signature })
    }

    fn any_submit() -> impl Strategy<Value = Submit> {
        let params = prop::collection::btree_map("[a-z_]{1,12}", any_text(), 0..4).prop_map(|mut params| {
            let fields = ["command", "subcommand", "node", "worktype", "tlsclient", "ttl", "signwork", "signature"];
            params.retain(|name, _| !fields.contains(&name.as_str()));
            Params::from(params)
        });
        (any_text(), any_text(), params, any_name(), any_name(), any::<bool>(), any_token()).prop_map(
            |(node, work_type, params, tls_client, ttl, sign_work, signature)| Submit {
                node,
                work_type,
                params,
                tls_client,
                ttl,
                sign_work,
                signature,
            },
        )
    }

    fn any_prune() -> impl Strategy<Value = Prune> {
        let state = prop::sample::select(vec![State::Succeeded, State::Failed, State::Canceled]);
        let older = prop::option::of(any::<i64>().prop_map(GoDuration::from_nanos));
        (any::<bool>(), any::<bool>(), older, prop::option::of(state), any_token()).prop_map(
            |(cluster, dry_run, older, state, signature)| Prune {
                cluster,
                dry_run,
                older: older.filter(|_| !cluster),
                state: state.filter(|_| !cluster),
                signature,
            },
        )
    }

    fn any_request() -> impl Strategy<Value = Request> {
        let work = prop_oneof![
            any_submit().prop_map(WorkRequest::Submit),
            prop::option::of(any_text()).prop_map(|unit| WorkRequest::List { unit }),
            any_unit_command().prop_map(WorkRequest::Status),
            any_unit_command().prop_map(WorkRequest::Cancel),
            any_unit_command().prop_map(WorkRequest::Release),
            any_unit_command().prop_map(WorkRequest::ForceRelease),
            (any_text(), any::<i64>(), any_token(), any_name()).prop_map(|(unit, start, signature, stream)| {
                WorkRequest::Results(Results { unit, start, signature, stream })
            }),
            any_prune().prop_map(WorkRequest::Prune),
        ];
        prop_oneof![
            any_text().prop_map(|target| Request::Ping { target }),
            any_text().prop_map(|target| Request::Traceroute { target }),
            prop::option::of(prop::collection::vec(any_text(), 0..3)).prop_map(|fields| Request::Status { fields }),
            (any_text(), any_text(), any_name()).prop_map(|(node, service, tls)| Request::Connect {
                node,
                service,
                tls
            }),
            Just(Request::Reload),
            work.prop_map(Request::Work),
        ]
    }

    proptest! {
        #[test]
        fn every_request_survives_the_wire(request in any_request()) {
            let line = request.to_line();
            let (command, rest) = line.split_once('\n').unwrap();
            prop_assert_eq!(rest, "");
            prop_assert_eq!(parse(command.as_bytes()), Parsed::Request(request));
        }

        /// Both ends of a connection write the same text, whatever the token and the form on the wire.
        #[test]
        fn a_request_is_bound_as_it_is_understood(request in any_request(), token in any_token()) {
            let Request::Work(work) = request else { return Ok(()) };
            let signed = work.clone().with_signature(token.clone());
            let line = Request::Work(signed.clone()).to_line();
            let Parsed::Request(Request::Work(read)) = parse(line.trim_end_matches('\n').as_bytes()) else {
                return Err(TestCaseError::fail(line));
            };
            prop_assert_eq!(read.bound_text(), work.bound_text());
            prop_assert_eq!(signed.signature().is_some(), token.is_some() && !matches!(work, WorkRequest::List { .. }));
        }
    }
}
