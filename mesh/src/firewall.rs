//! Firewall rules: which datagrams pass (mesh-protocol 9). Pure.
//!
//! Every datagram is judged at every node, whether it goes out, comes in or passes through, with all of QUIC, ping and
//! notices. Answers need to be allowed, too. Routing updates and advertisements are not judged. Who sent a datagram is
//! not proved by anything: any member of the mesh can give any source.

use std::borrow::Cow;

use regex::Regex;
use worknode_protocol::config::model::mesh::{FirewallAction, FirewallRule, Pattern};
use worknode_protocol::mesh::ServiceName;

/// Where a datagram comes from and where it goes to.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// Node it comes from, by its own word.
    pub from_node: &'a str,
    /// Service it comes from, by its own word.
    pub from_service: ServiceName,
    /// Node it goes to.
    pub to_node: &'a str,
    /// Service it goes to.
    pub to_service: ServiceName,
}

/// The rules of a node, made ready.
#[derive(Clone, Debug, Default)]
pub struct Firewall {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    action: FirewallAction,
    from_node: Option<Condition>,
    to_node: Option<Condition>,
    from_service: Option<Condition>,
    to_service: Option<Condition>,
}

#[derive(Clone, Debug)]
enum Condition {
    Exact(String),
    Regex(Regex),
}

impl Firewall {
    /// Makes `rules` ready.
    ///
    /// # Errors
    /// If a regular expression does not compile. The reference leaves such a condition out, and its rule then decides
    /// about more than was meant (mesh-protocol 12.15); the configuration check refuses it before it comes here.
    pub fn new(rules: &[FirewallRule]) -> Result<Self, regex::Error> {
        Ok(Self { rules: rules.iter().map(Rule::new).collect::<Result<_, _>>()? })
    }

    /// What the first rule that fits does with a datagram; without one it is accepted.
    pub fn judge(&self, route: &Route<'_>) -> FirewallAction {
        if self.rules.is_empty() {
            return FirewallAction::Accept;
        }
        let (from_service, to_service) = (text(&route.from_service), text(&route.to_service));
        let fits = |rule: &&Rule| {
            holds(rule.from_node.as_ref(), route.from_node)
                && holds(rule.to_node.as_ref(), route.to_node)
                && holds(rule.from_service.as_ref(), &from_service)
                && holds(rule.to_service.as_ref(), &to_service)
        };
        self.rules.iter().find(fits).map_or(FirewallAction::Accept, |rule| rule.action)
    }
}

impl Rule {
    fn new(rule: &FirewallRule) -> Result<Self, regex::Error> {
        let condition = |pattern: &Option<Pattern>| pattern.as_ref().map(Condition::new).transpose();
        Ok(Self {
            action: rule.action,
            from_node: condition(&rule.from_node)?,
            to_node: condition(&rule.to_node)?,
            from_service: condition(&rule.from_service)?,
            to_service: condition(&rule.to_service)?,
        })
    }
}

impl Condition {
    fn new(pattern: &Pattern) -> Result<Self, regex::Error> {
        match pattern {
            Pattern::Exact(text) => Ok(Self::Exact(text.clone())),
            Pattern::Regex(text) => Regex::new(&format!("^{text}$")).map(Self::Regex),
        }
    }
}

fn holds(condition: Option<&Condition>, name: &str) -> bool {
    match condition {
        None => true,
        Some(Condition::Exact(text)) => text == name,
        Some(Condition::Regex(regex)) => regex.is_match(name),
    }
}

fn text(service: &ServiceName) -> Cow<'_, str> {
    String::from_utf8_lossy(service.as_bytes())
}

#[cfg(test)]
mod tests {
    use FirewallAction::{Accept, Drop, Reject};

    use super::*;

    const ANY: FirewallRule =
        FirewallRule { action: Accept, from_node: None, to_node: None, from_service: None, to_service: None };

    fn exact(text: &str) -> Option<Pattern> {
        Some(Pattern::Exact(text.to_owned()))
    }

    fn regex(text: &str) -> Option<Pattern> {
        Some(Pattern::Regex(text.to_owned()))
    }

    fn judge(rules: &[FirewallRule], from: (&str, &str), to: (&str, &str)) -> FirewallAction {
        let service = |name| ServiceName::parse(name).unwrap();
        let route =
            Route { from_node: from.0, from_service: service(from.1), to_node: to.0, to_service: service(to.1) };
        Firewall::new(rules).unwrap().judge(&route)
    }

    #[test]
    fn without_a_rule_that_fits_all_is_accepted() {
        assert_eq!(judge(&[], ("a", "s"), ("b", "t")), Accept);
        let rule = FirewallRule { action: Drop, from_node: exact("c"), ..ANY };
        assert_eq!(judge(&[rule], ("a", "s"), ("b", "t")), Accept);
    }

    #[test]
    fn a_rule_without_conditions_always_fits() {
        assert_eq!(judge(&[FirewallRule { action: Reject, ..ANY }], ("a", "s"), ("b", "t")), Reject);
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = [
            FirewallRule { action: Accept, to_service: exact("ping"), ..ANY },
            FirewallRule { action: Drop, from_node: exact("a"), ..ANY },
            FirewallRule { action: Reject, from_node: exact("a"), to_node: exact("b"), ..ANY },
        ];
        assert_eq!(judge(&rules, ("a", "x"), ("b", "ping")), Accept);
        assert_eq!(judge(&rules, ("a", "x"), ("b", "control")), Drop);
        assert_eq!(judge(&rules, ("c", "x"), ("b", "control")), Accept);
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold() {
        let rule = FirewallRule {
            action: Drop,
            from_node: exact("a"),
            from_service: exact("s"),
            to_node: exact("b"),
            to_service: exact("t"),
        };
        let rules = [rule];
        assert_eq!(judge(&rules, ("a", "s"), ("b", "t")), Drop);
        for (from, to) in [
            (("x", "s"), ("b", "t")),
            (("a", "x"), ("b", "t")),
            (("a", "s"), ("x", "t")),
            (("a", "s"), ("b", "x")),
            (("A", "s"), ("b", "t")),
        ] {
            assert_eq!(judge(&rules, from, to), Accept);
        }
    }

    #[test]
    fn expressions_are_anchored_as_the_reference_does_it() {
        let rules = |text| [FirewallRule { action: Drop, from_node: regex(text), ..ANY }];
        for (text, node, action) in [
            ("a.*b", "axxb", Drop),
            ("a.*b", "axxbc", Accept),
            ("a.*b", "caxxb", Accept),
            // The anchors stand around the text, not around its alternatives.
            ("a|b", "axyz", Drop),
            ("a|b", "xyzb", Drop),
            ("a|b", "xyz", Accept),
            ("(a|b)", "axyz", Accept),
            ("(?i)NODE", "node", Drop),
            ("", "x", Accept),
        ] {
            assert_eq!(judge(&rules(text), (node, "s"), ("b", "t")), action, "{text} {node}");
        }
    }

    #[test]
    fn an_expression_that_does_not_compile_is_an_error() {
        assert!(Firewall::new(&[FirewallRule { from_node: regex("a("), ..ANY }]).is_err());
    }

    #[test]
    fn names_of_services_may_be_any_bytes() {
        let firewall = Firewall::new(&[FirewallRule { action: Drop, to_service: regex(".*"), ..ANY }]).unwrap();
        let service = ServiceName::from_wire([0xff; 8]);
        let route = Route { from_node: "a", from_service: service, to_node: "b", to_service: service };
        assert_eq!(firewall.judge(&route), Drop);
    }
}
