//! Rules of control services: who may do what.

use crate::config::error::{AllowFault, CheckError, Phase, Place};
use crate::config::model::ControlService;
use crate::config::model::allow::{AllowRule, Names, Origin, Rights, Units, Who};
use crate::yaml::{self, Entry, Node, Position, Value};

use super::reader::Reader;

/// What the keys of a rule take.
const NUMBERS: &str = "a number or a list of numbers";
const NAMES: &str = "a name or a list of names";
const NAMES_OR_ANY: &str = "any, a name or a list of names";
const UNITS: &str = "own or any";
const FLAG: &str = "true or false";
const ORIGINS: &str = "unix, tcp or mesh, or a list of them";

/// A fault and where it is; line 0 where that cannot be told.
type Misplaced = (Position, AllowFault);

impl Reader<'_, '_> {
    /// The rules of `allow`. They are checked against the service's listeners: a rule that can hold for nobody is a
    /// mistake, and would be found only when somebody is refused.
    pub(super) fn allow_rules(&mut self, service: &ControlService) -> Option<Vec<AllowRule>> {
        if !self.item.given("allow") {
            return None;
        }
        let read = self.item.node("allow").map_or(Err(AllowFault::Empty), list_of_rules);
        let values = match read {
            Ok(values) => values,
            Err(fault) => {
                self.refuse_rule(0, Position::default(), fault);
                return None;
            }
        };
        let mut rules = Vec::new();
        for (number, value) in (1..).zip(&values) {
            let judged = rule(value).and_then(|rule| {
                self.check_listeners(number, service, &rule.who).map_err(|fault| (value.position, fault))?;
                Ok(rule)
            });
            match judged {
                Ok(rule) => rules.push(rule),
                Err((position, fault)) => self.refuse_rule(number, position, fault),
            }
        }
        Some(rules)
    }

    fn refuse_rule(&mut self, number: usize, position: Position, fault: AllowFault) {
        let place = match self.item.place_of("allow") {
            Place::File(file, _) if position.line != 0 => Place::File(file, position),
            place => place,
        };
        self.builder.refuse(Phase::Run, self.order, place, CheckError::Allow { number, fault });
    }

    fn check_listeners(&mut self, number: usize, service: &ControlService, who: &Who) -> Result<(), AllowFault> {
        let mut origins = vec![Origin::Unix, Origin::Tcp, Origin::Mesh];
        origins.retain(|origin| who.can_come_from(*origin));
        if origins.is_empty() {
            return Err(AllowFault::Contradiction);
        }
        origins.retain(|origin| service.listens_on(*origin));
        if origins.is_empty() {
            return Err(AllowFault::NoListener);
        }
        let names = &self.builder.names;
        let asked = |origin: &Origin| service.tls_of(*origin).is_some_and(|tls| names.tls_asking_clients.contains(tls));
        if !who.certificates.is_empty() && !origins.iter().any(asked) {
            return Err(AllowFault::NoCertificates);
        }
        let proven = service.tls.as_ref().is_some_and(|tls| names.tls_checking_nodes.contains(tls));
        if !who.nodes.is_empty() && !proven {
            self.notice(
                "allow",
                format!(
                    "control-service: allow rule {number} trusts the names that nodes give themselves; with a tls-server that has requireclientcert they must prove them"
                ),
            );
        }
        Ok(())
    }
}

impl Who {
    fn can_come_from(&self, origin: Origin) -> bool {
        (self.from.is_empty() || self.from.contains(&origin))
            && (origin == Origin::Unix || (self.uids.is_empty() && self.gids.is_empty()))
            && (origin == Origin::Mesh || self.nodes.is_empty())
            && (origin != Origin::Unix || self.certificates.is_empty())
    }
}

impl ControlService {
    fn listens_on(&self, origin: Origin) -> bool {
        match origin {
            Origin::Unix => self.filename.is_some(),
            Origin::Tcp => self.tcp_listen.is_some(),
            Origin::Mesh => !self.service.is_empty(),
        }
    }

    fn tls_of(&self, origin: Origin) -> Option<&String> {
        match origin {
            Origin::Unix => None,
            Origin::Tcp => self.tcp_tls.as_ref(),
            Origin::Mesh => self.tls.as_ref(),
        }
    }
}

/// The members of the list; on the command line it is JSON.
fn list_of_rules(node: &Node) -> Result<Vec<Value>, AllowFault> {
    match node {
        Node::List(rules) if rules.is_empty() => Err(AllowFault::Empty),
        Node::List(rules) => Ok(rules.clone()),
        Node::Text(text) if text.starts_with('[') => {
            let parsed = yaml::parse(text).map_err(|error| AllowFault::Json(error.reason().to_owned()))?;
            // The places are within the text, not the file.
            let mut rules = list_of_rules(&parsed.node)?;
            rules.iter_mut().for_each(|rule| rule.position = Position::default());
            Ok(rules)
        }
        _ => Err(AllowFault::NotAList),
    }
}

fn rule(value: &Value) -> Result<AllowRule, Misplaced> {
    let Node::Map(entries) = &value.node else { return Err((value.position, AllowFault::NotAMap)) };
    let mut rule = AllowRule::default();
    let mut all = false;
    for Entry { key, value: given } in entries {
        // Inside a text there are no places.
        let at = |fault| (if value.position.line == 0 { value.position } else { key.position }, fault);
        let name = key.as_text().unwrap_or_default().to_lowercase();
        if name == "all" {
            all = flag("all", &given.node).map_err(at)?;
        } else {
            take(&mut rule, &name, &given.node).map_err(at)?;
        }
    }
    if all {
        rule.rights = Rights::all();
    }
    if rule.rights == Rights::default() {
        return Err((value.position, AllowFault::NoRight));
    }
    Ok(rule)
}

fn take(rule: &mut AllowRule, name: &str, node: &Node) -> Result<(), AllowFault> {
    let AllowRule { who, rights } = rule;
    match name {
        "from" => who.from = list("from", ORIGINS, node, origin)?,
        "uid" => who.uids = list("uid", NUMBERS, node, number)?,
        "gid" => who.gids = list("gid", NUMBERS, node, number)?,
        "certificate" => who.certificates = list("certificate", NAMES, node, text)?,
        "node" => who.nodes = list("node", NAMES, node, text)?,
        "status" => rights.status = flag("status", node)?,
        "reload" => rights.reload = flag("reload", node)?,
        "submit" => rights.submit = names("submit", node)?,
        "remote" => rights.remote = names("remote", node)?,
        "connect" => rights.connect = names("connect", node)?,
        "results" => rights.results = units("results", node)?,
        "cancel" => rights.cancel = units("cancel", node)?,
        "release" => rights.release = units("release", node)?,
        _ => return Err(AllowFault::Key(name.to_owned())),
    }
    Ok(())
}

/// One value or a list of them. An empty list is refused: it would say everybody where nobody is meant.
fn list<T>(
    key: &'static str,
    form: &'static str,
    node: &Node,
    read: impl Fn(&Node) -> Option<T>,
) -> Result<Vec<T>, AllowFault> {
    let members = match node {
        Node::List(members) => members.iter().map(|member| read(&member.node)).collect::<Option<Vec<_>>>(),
        one => read(one).map(|one| vec![one]),
    };
    members.filter(|members| !members.is_empty()).ok_or(AllowFault::Value { key, form })
}

fn text(node: &Node) -> Option<String> {
    match node {
        Node::Text(text) if !text.is_empty() => Some(text.clone()),
        Node::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(node: &Node) -> Option<u32> {
    match node {
        Node::Int(number) => u32::try_from(*number).ok(),
        Node::Text(text) => text.parse().ok(),
        _ => None,
    }
}

fn origin(node: &Node) -> Option<Origin> {
    match text(node)?.to_lowercase().as_str() {
        "unix" => Some(Origin::Unix),
        "tcp" => Some(Origin::Tcp),
        "mesh" => Some(Origin::Mesh),
        _ => None,
    }
}

fn flag(key: &'static str, node: &Node) -> Result<bool, AllowFault> {
    match node {
        Node::Bool(flag) => Ok(*flag),
        _ => Err(AllowFault::Value { key, form: FLAG }),
    }
}

fn names(key: &'static str, node: &Node) -> Result<Names, AllowFault> {
    if matches!(node, Node::Text(text) if text == "any") {
        return Ok(Names::Any);
    }
    list(key, NAMES_OR_ANY, node, text).map(Names::Only)
}

fn units(key: &'static str, node: &Node) -> Result<Units, AllowFault> {
    match node {
        Node::Text(text) if text == "own" => Ok(Units::Own),
        Node::Text(text) if text == "any" => Ok(Units::Any),
        _ => Err(AllowFault::Value { key, form: UNITS }),
    }
}
