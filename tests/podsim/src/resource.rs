//! The kinds of object that are served.

use serde_json::Value;

/// A kind of object, namespaced or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    Pods,
    Namespaces,
    Events,
    Secrets,
    ConfigMaps,
    ServiceAccounts,
    Quotas,
}

impl Resource {
    pub(crate) const ALL: [Self; 7] = [
        Self::Pods,
        Self::Namespaces,
        Self::Events,
        Self::Secrets,
        Self::ConfigMaps,
        Self::ServiceAccounts,
        Self::Quotas,
    ];

    /// As in a path.
    pub(crate) fn plural(self) -> &'static str {
        match self {
            Self::Pods => "pods",
            Self::Namespaces => "namespaces",
            Self::Events => "events",
            Self::Secrets => "secrets",
            Self::ConfigMaps => "configmaps",
            Self::ServiceAccounts => "serviceaccounts",
            Self::Quotas => "resourcequotas",
        }
    }

    /// As in an object's `kind`.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Pods => "Pod",
            Self::Namespaces => "Namespace",
            Self::Events => "Event",
            Self::Secrets => "Secret",
            Self::ConfigMaps => "ConfigMap",
            Self::ServiceAccounts => "ServiceAccount",
            Self::Quotas => "ResourceQuota",
        }
    }

    pub(crate) fn namespaced(self) -> bool {
        self != Self::Namespaces
    }

    pub(crate) fn from_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.plural() == plural)
    }

    /// Fields that a `fieldSelector` may name.
    pub(crate) fn selectable(self) -> &'static [&'static str] {
        match self {
            Self::Pods => &[
                "metadata.name",
                "metadata.namespace",
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.serviceAccountName",
                "status.phase",
                "status.podIP",
            ],
            Self::Events => &[
                "metadata.name",
                "metadata.namespace",
                "involvedObject.kind",
                "involvedObject.name",
                "involvedObject.namespace",
                "involvedObject.uid",
                "reason",
                "type",
            ],
            Self::Namespaces => &["metadata.name", "status.phase"],
            _ => &["metadata.name", "metadata.namespace"],
        }
    }
}

/// The text at a dotted path such as `metadata.name`; empty where there is none.
pub(crate) fn text_at<'a>(object: &'a Value, path: &str) -> &'a str {
    path.split('.').try_fold(object, |at, key| at.get(key)).and_then(Value::as_str).unwrap_or("")
}
