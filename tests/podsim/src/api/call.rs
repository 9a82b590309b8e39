//! What a request asks for: path, method and query, as the API server understands them.

use http::Method;

use crate::resource::Resource;

/// A request, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// As in RBAC, or the HTTP method in lower case for what is no resource.
    pub(crate) verb: &'static str,
    pub(crate) target: Target,
    pub(crate) query: Query,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A path that is no resource: `/version`, `/api/v1`, ...
    Path(String),
    /// A resource that is not simulated.
    Unknown,
    Resource {
        resource: Resource,
        /// `None`: of all namespaces, or a resource without.
        namespace: Option<String>,
        /// `None`: the collection.
        name: Option<String>,
        /// Such as `log`.
        sub: Option<String>,
    },
}

/// Decoded `a=b&c=d`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key), percent_decode(value))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The first value, or nothing if it is empty.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or("")
    }

    /// As the API server converts booleans: given and neither `false` nor `0`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    /// A number, if there is one; an error names the text that is none.
    pub(crate) fn number(&self, key: &str) -> Result<Option<i64>, String> {
        match self.get(key) {
            None | Some("") => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
            }
        }
    }
}

impl Call {
    pub(crate) fn parse(method: &Method, path: &str, query: &str) -> Self {
        let query = Query::parse(query);
        let target = Target::parse(path);
        let verb = match &target {
            Target::Resource { name, sub, .. } => verb(method, name.as_deref(), sub.as_deref(), &query),
            _ => match *method {
                Method::GET => "get",
                Method::POST => "post",
                Method::PUT => "put",
                Method::PATCH => "patch",
                Method::DELETE => "delete",
                _ => "head",
            },
        };
        Self { verb, target, query }
    }

    /// As in RBAC: `pods/log`; the path for what is no resource.
    pub(crate) fn resource(&self) -> String {
        match &self.target {
            Target::Path(path) => path.clone(),
            Target::Unknown => "unknown".to_owned(),
            Target::Resource { resource, sub: None, .. } => resource.plural().to_owned(),
            Target::Resource { resource, sub: Some(sub), .. } => format!("{}/{sub}", resource.plural()),
        }
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        match &self.target {
            // RBAC takes a namespace object to be in the namespace that it is.
            Target::Resource { resource: Resource::Namespaces, name, .. } => name.as_deref(),
            Target::Resource { namespace, .. } => namespace.as_deref(),
            _ => None,
        }
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match &self.target {
            Target::Resource { name, .. } => name.as_deref(),
            _ => None,
        }
    }
}

impl Target {
    fn parse(path: &str) -> Self {
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(percent_decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let ["api", "v1", rest @ ..] = parts.as_slice() else { return Self::Path(path.to_owned()) };
        let (namespace, rest) = match rest {
            [] => return Self::Path(path.to_owned()),
            ["namespaces", namespace, rest @ ..]
                if rest.first().is_some_and(|resource| !["status", "finalize"].contains(resource)) =>
            {
                (Some((*namespace).to_owned()), rest)
            }
            rest => (None, rest),
        };
        let [plural, rest @ ..] = rest else { return Self::Unknown };
        let Some(resource) = Resource::from_plural(plural) else { return Self::Unknown };
        // What lives in a namespace has no path without one, but the collection has.
        let placed = resource.namespaced() == namespace.is_some() || (resource.namespaced() && rest.is_empty());
        let (name, sub) = match rest {
            [] => (None, None),
            [name] => (Some((*name).to_owned()), None),
            [name, sub] => (Some((*name).to_owned()), Some((*sub).to_owned())),
            _ => return Self::Unknown,
        };
        if placed { Self::Resource { resource, namespace, name, sub } } else { Self::Unknown }
    }
}

fn verb(method: &Method, name: Option<&str>, sub: Option<&str>, query: &Query) -> &'static str {
    match *method {
        Method::GET | Method::HEAD if sub.is_none() && query.flag("watch") => "watch",
        Method::GET | Method::HEAD if name.is_none() => "list",
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if name.is_none() => "deletecollection",
        Method::DELETE => "delete",
        _ => "options",
    }
}

/// `%3D` → `=`, `+` → space. What is no escape stays as it is.
fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escape = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let decoded = escape.filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        rest = after;
        match decoded {
            Some(decoded) => {
                out.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            None => out.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(method: Method, target: &str) -> (&'static str, String, Option<String>, Option<String>) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let call = Call::parse(&method, path, query);
        (call.verb, call.resource(), call.namespace().map(str::to_owned), call.name().map(str::to_owned))
    }

    #[test]
    fn calls() {
        let own = |text: &str| Some(text.to_owned());
        for (method, target, expected) in [
            (Method::GET, "/version", ("get", "/version", None, None)),
            (Method::GET, "/api/v1/pods", ("list", "pods", None, None)),
            (Method::GET, "/api/v1/pods?watch=1", ("watch", "pods", None, None)),
            (Method::POST, "/api/v1/namespaces/n/pods", ("create", "pods", own("n"), None)),
            (Method::GET, "/api/v1/namespaces/n/pods/p", ("get", "pods", own("n"), own("p"))),
            (Method::GET, "/api/v1/namespaces/n/pods/p/log", ("get", "pods/log", own("n"), own("p"))),
            (Method::POST, "/api/v1/namespaces/n/pods/p/attach", ("create", "pods/attach", own("n"), own("p"))),
            (Method::DELETE, "/api/v1/namespaces/n", ("delete", "namespaces", own("n"), own("n"))),
            (Method::DELETE, "/api/v1/namespaces/n/pods", ("deletecollection", "pods", own("n"), None)),
            (Method::GET, "/api/v1/pods/p", ("get", "unknown", None, None)),
            (Method::GET, "/api/v1/bogus", ("get", "unknown", None, None)),
        ] {
            let (verb, resource, namespace, name) = expected;
            assert_eq!(call(method, target), (verb, resource.to_owned(), namespace, name), "{target}");
        }
    }

    #[test]
    fn queries() {
        let query = Query::parse("a=1%2C2&b&c=false&d=+x&limit=9&bad=%zz");
        assert_eq!(query.text("a"), "1,2");
        assert!(query.flag("b") && !query.flag("c") && !query.flag("none"));
        assert_eq!(query.text("d"), " x");
        assert_eq!(query.number("limit"), Ok(Some(9)));
        assert!(query.number("d").is_err());
        assert_eq!(query.text("bad"), "%zz");
    }
}
