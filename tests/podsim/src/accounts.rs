//! Who may do what: bearer tokens and rules, in the texts of Kubernetes' RBAC.

use std::sync::{Mutex, PoisonError};

/// Paths that anyone with a token may read.
const DISCOVERY_PATHS: [&str; 3] = ["/api", "/apis", "/openapi"];
/// Who asks, when there is no token at all.
const ANONYMOUS: &str = "system:anonymous";
/// Paths that anyone may read.
const PUBLIC_PATHS: [&str; 4] = ["/version", "/healthz", "/livez", "/readyz"];

/// What an account may do: every verb in `verbs` on every resource in `resources`, in `namespace` or, if that is
/// `None`, everywhere. `*` stands for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The one namespace it holds in.
    pub namespace: Option<String>,
    /// As in RBAC: `pods`, `pods/log`, ...
    pub resources: Vec<String>,
    /// As in RBAC: `get`, `list`, ...
    pub verbs: Vec<String>,
}

impl Rule {
    /// A rule for one namespace.
    pub fn within(namespace: &str, resources: &[&str], verbs: &[&str]) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..Self::everywhere(resources, verbs) }
    }

    /// A rule for all namespaces and for what has none.
    pub fn everywhere(resources: &[&str], verbs: &[&str]) -> Self {
        let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Self { namespace: None, resources: owned(resources), verbs: owned(verbs) }
    }

    /// The role that AWX's documentation gives a container group: attach by `create` alone, so that the `get` of a
    /// WebSocket is refused.
    pub fn stock_awx_role(namespace: &str) -> Vec<Self> {
        vec![
            Self::within(namespace, &["pods"], &["get", "list", "watch", "create", "delete"]),
            Self::within(namespace, &["pods/log"], &["get"]),
            Self::within(namespace, &["pods/attach"], &["create"]),
            Self::within(namespace, &["secrets"], &["get", "create", "delete"]),
        ]
    }

    fn allows(&self, verb: &str, resource: &str, namespace: Option<&str>) -> bool {
        let among = |words: &[String], wanted: &str| words.iter().any(|word| word == "*" || word == wanted);
        among(&self.verbs, verb)
            && among(&self.resources, resource)
            && self.namespace.as_deref().is_none_or(|own| Some(own) == namespace)
    }
}

/// A user with a token.
#[derive(Clone)]
struct Account {
    user: String,
    token: String,
    rules: Vec<Rule>,
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) user: String,
    rules: Vec<Rule>,
}

impl Identity {
    pub(crate) fn may(&self, verb: &str, resource: &str, namespace: Option<&str>) -> bool {
        self.rules.iter().any(|rule| rule.allows(verb, resource, namespace))
    }

    /// For paths that are no resource: whoever has a token may read the API's description, and who may do everything
    /// may read everything.
    pub(crate) fn may_read(&self, path: &str) -> bool {
        let under = |base: &&str| path.strip_prefix(*base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        PUBLIC_PATHS.iter().any(under)
            || (self.user != ANONYMOUS && DISCOVERY_PATHS.iter().any(under))
            || self.may("*", "*", None)
    }
}

/// All accounts.
#[derive(Default)]
pub(crate) struct Accounts(Mutex<Vec<Account>>);

impl Accounts {
    /// Makes an account, or gives a known user new rules, and returns its token.
    pub(crate) fn add(&self, user: &str, rules: Vec<Rule>) -> String {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = accounts.iter_mut().find(|account| account.user == user) {
            known.rules = rules;
            return known.token.clone();
        }
        let token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        accounts.push(Account { user: user.to_owned(), token: token.clone(), rules });
        token
    }

    /// Makes another token the only one valid for this user. `None`: there is no such user.
    pub(crate) fn renew(&self, user: &str) -> Option<String> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.iter_mut().find(|account| account.user == user)?;
        account.token = format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
        Some(account.token.clone())
    }

    /// Who the value of an `Authorization` header stands for. `None`: it is not valid, which is a 401; no header at
    /// all is somebody: the anonymous user, who may do next to nothing.
    pub(crate) fn identify(&self, authorization: Option<&str>) -> Option<Identity> {
        let Some(authorization) = authorization else {
            return Some(Identity { user: ANONYMOUS.to_owned(), rules: Vec::new() });
        };
        let (scheme, token) = authorization.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.iter().find(|account| account.token == token.trim())?;
        Some(Identity { user: account.user.clone(), rules: account.rules.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stock_role_attaches_by_create_only() {
        let accounts = Accounts::default();
        let token = accounts.add("runner", Rule::stock_awx_role("default"));
        let who = accounts.identify(Some(&format!("Bearer {token}"))).unwrap();
        assert!(who.may("create", "pods/attach", Some("default")));
        assert!(!who.may("get", "pods/attach", Some("default")));
        assert!(who.may("watch", "pods", Some("default")));
        assert!(!who.may("watch", "pods", Some("other")));
        assert!(!who.may("list", "pods", None));
    }

    #[test]
    fn a_bad_token_is_nobody_and_none_is_anonymous() {
        let accounts = Accounts::default();
        let old = accounts.add("someone", vec![Rule::everywhere(&["*"], &["*"])]);
        assert!(accounts.identify(Some("Bearer wrong")).is_none());
        assert!(accounts.identify(Some("Basic x")).is_none());
        assert_eq!(accounts.identify(None).unwrap().user, ANONYMOUS);
        let new = accounts.renew("someone").unwrap();
        assert!(accounts.identify(Some(&format!("Bearer {old}"))).is_none());
        assert!(accounts.identify(Some(&format!("Bearer {new}"))).is_some());
    }
}
