//! Every answer of the API that is not a success, as the `Status` object a real API server sends. All texts are here.

use serde::Serialize;
use serde_json::Value;

/// A refusal: HTTP code, reason and message of a `Status` (kubernetes-streams 1.5, 4.4, 7).
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) details: Option<Box<Details>>,
    /// Seconds for the `Retry-After` header.
    pub(crate) retry_after: Option<u32>,
    /// Sent as `text/plain`, message alone.
    pub(crate) plain: bool,
}

/// What a refusal is about.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Details {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    kind: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<Cause>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

#[derive(Debug, Clone, Serialize)]
struct Cause {
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    field: String,
}

/// A `Status` object; its fields in the order in which an API server writes them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Metadata,
    status: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a Details>,
    code: u16,
}

#[derive(Debug, Serialize)]
struct Metadata {}

/// One mistake in a submitted object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// `FieldValueInvalid`, `FieldValueRequired`, ...
    pub(crate) reason: &'static str,
    /// Path in the object, such as `spec.containers[0].name`.
    pub(crate) field: String,
    /// What stands behind `FIELD: ` in the message.
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            details: None,
            retry_after: None,
            plain: false,
        }
    }

    fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// `text/plain` with the message alone, as errors of the kubelet are handed through.
    pub(crate) fn text(code: u16, message: impl Into<String>) -> Self {
        Self { plain: true, ..Self::new(code, "", message) }
    }

    pub(crate) fn not_found(resource: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{resource} \"{name}\" not found"))
            .with_details(details_of(resource, Some(name)))
    }

    /// A path that no API serves.
    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").with_details(Details::default())
    }

    /// What the API server makes of the kubelet's 404: the pod is bound, but its kubelet does not know it yet.
    pub(crate) fn unknown_to_kubelet(sub: &str, pod: &str) -> Self {
        let kind = format!("pods/{sub}");
        Self::new(404, "NotFound", format!("the server could not find the requested resource ( {kind} {pod})"))
            .with_details(Details {
                causes: vec![Cause {
                    reason: "UnexpectedServerResponse",
                    message: "unknown".to_owned(),
                    field: String::new(),
                }],
                ..details_of(&kind, Some(pod))
            })
    }

    /// A body in a format that is not simulated.
    pub(crate) fn unsupported_media_type(found: &str, accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}; it was {found}"
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(Details::default())
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// `user` may not do `verb`; `namespace` is `None` for what is asked of the whole cluster.
    pub(crate) fn forbidden(
        user: &str,
        verb: &str,
        resource: &str,
        name: Option<&str>,
        namespace: Option<&str>,
    ) -> Self {
        let kind = resource.split('/').next().unwrap_or(resource);
        let subject = match name {
            Some(name) => format!("{kind} \"{name}\""),
            None => kind.to_owned(),
        };
        let place = match namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        let message = format!(
            "{subject} is forbidden: User \"{user}\" cannot {verb} resource \"{resource}\" in API group \"\" {place}"
        );
        Self::new(403, "Forbidden", message).with_details(details_of(kind, name))
    }

    /// The same for a path that is no resource, such as `/metrics`.
    pub(crate) fn forbidden_path(user: &str, verb: &str, path: &str) -> Self {
        Self::new(403, "Forbidden", format!("forbidden: User \"{user}\" cannot {verb} path \"{path}\""))
            .with_details(Details::default())
    }

    /// Refused by admission, for example `exceeded quota: ...`.
    pub(crate) fn admission(resource: &str, name: &str, why: &str) -> Self {
        Self::new(403, "Forbidden", format!("{resource} \"{name}\" is forbidden: {why}"))
            .with_details(details_of(resource, Some(name)))
    }

    /// Nothing new may be made in a namespace that is going.
    pub(crate) fn namespace_terminating(resource: &str, name: &str, namespace: &str) -> Self {
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = Cause {
            reason: "NamespaceTerminating",
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        };
        Self::admission(resource, name, &why)
            .with_details(Details { causes: vec![cause], ..details_of(resource, Some(name)) })
    }

    pub(crate) fn already_exists(resource: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{resource} \"{name}\" already exists"))
            .with_details(details_of(resource, Some(name)))
    }

    /// The name is taken by an object that is on its way out.
    pub(crate) fn being_deleted(resource: &str, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("object is being deleted: {resource} \"{name}\" already exists"))
            .with_details(details_of(resource, Some(name)))
    }

    /// Named by its kind, not by its resource, as a real API server does here.
    pub(crate) fn uid_conflict(kind: &str, name: &str, wanted: &str, found: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {kind} \"{name}\": the UID in the precondition ({wanted}) does not match the UID in record ({found}). The object might have been deleted and then recreated"
        );
        Self::new(409, "Conflict", message).with_details(details_of(kind, Some(name)))
    }

    pub(crate) fn version_conflict(kind: &str, name: &str, wanted: &str, found: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {kind} \"{name}\": the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({found}). The object might have been modified"
        );
        Self::new(409, "Conflict", message).with_details(details_of(kind, Some(name)))
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// `kind` as in `Pod`; at least one mistake.
    pub(crate) fn invalid(kind: &str, name: &str, mistakes: &[Mistake]) -> Self {
        let texts: Vec<String> = mistakes.iter().map(|m| format!("{}: {}", m.field, m.message)).collect();
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes =
            mistakes.iter().map(|m| Cause { reason: m.reason, message: m.message.clone(), field: m.field.clone() });
        Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {list}"))
            .with_details(Details { causes: causes.collect(), ..details_of(kind, Some(name)) })
    }

    /// A query parameter of a create that cannot be.
    pub(crate) fn invalid_option(mistake: Mistake) -> Self {
        let mut refusal = Self::invalid("CreateOptions.meta.k8s.io", "", &[mistake]);
        if let Some(details) = &mut refusal.details {
            details.group = "meta.k8s.io";
            details.kind = "CreateOptions".to_owned();
        }
        refusal
    }

    /// The resource version asked for is no longer in the history.
    pub(crate) fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// The same for a list.
    pub(crate) fn list_expired() -> Self {
        Self::new(410, "Expired", "The resourceVersion for the provided list is too old.")
    }

    /// A list at a version that has not been yet.
    pub(crate) fn future_version(asked: u64, current: u64) -> Self {
        let cause = Cause {
            reason: "ResourceVersionTooLarge",
            message: "Too large resource version".to_owned(),
            field: String::new(),
        };
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        let details = Details { causes: vec![cause], retry_after_seconds: Some(1), ..Details::default() };
        Self { retry_after: Some(1), ..Self::new(504, "Timeout", message).with_details(details) }
    }

    /// A version that is no number: 500 for a watch, 400 for a list.
    pub(crate) fn garbled_version(text: &str, watch: bool) -> Self {
        let why = format!(
            "resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \"{text}\": invalid syntax"
        );
        match watch {
            true => Self::new(500, "", why),
            false => Self::bad_request(format!("invalid resource version: {why}")),
        }
    }

    pub(crate) fn internal(what: &str) -> Self {
        let cause = Cause { reason: "", message: what.to_owned(), field: String::new() };
        Self::new(500, "InternalError", format!("Internal error occurred: {what}"))
            .with_details(Details { causes: vec![cause], ..Details::default() })
    }

    pub(crate) fn body_too_large(limit: usize) -> Self {
        Self::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {limit}"))
    }

    /// An object that the store behind a real API server does not take. Final, although it is a 500.
    pub(crate) fn object_too_large() -> Self {
        Self::new(500, "", "etcdserver: request is too large")
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> Value {
        serde_json::to_value(self.as_status()).unwrap_or_default()
    }

    /// The `Status` object as it is sent.
    pub(crate) fn json(&self) -> String {
        // Texts and numbers can always be written.
        serde_json::to_string(&self.as_status()).unwrap_or_default()
    }

    fn as_status(&self) -> Status<'_> {
        Status {
            kind: "Status",
            api_version: "v1",
            metadata: Metadata {},
            status: "Failure",
            message: &self.message,
            reason: &self.reason,
            details: self.details.as_deref(),
            code: self.code,
        }
    }
}

fn details_of(kind: &str, name: Option<&str>) -> Details {
    Details { name: name.unwrap_or("").to_owned(), kind: kind.to_owned(), ..Details::default() }
}
