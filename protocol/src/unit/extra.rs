use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The `ExtraData` shown for a unit whose work type is not configured now (control-protocol 4.1).
pub const UNKNOWN_WORK_TYPE: &str = "Unknown WorkType";

/// `ExtraData` of a running command unit (control-protocol 4.1).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CommandExtra {
    /// Process that keeps the job: the runner, not the job itself.
    pub pid: i64,
    /// Parameters of the command, those of the config and of the submit joined by a blank. Shown to everybody.
    pub params: String,
}

/// `ExtraData` of a Kubernetes unit (control-protocol 5.6).
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KubernetesExtra {
    /// Image of the container.
    pub image: String,
    /// Command of the container, before splitting.
    pub command: String,
    /// Arguments of the container, before splitting.
    pub params: String,
    /// Namespace of the pod.
    pub kube_namespace: String,
    /// Contents of a kubeconfig. Empty in answers; empty on disk too unless the original wrote the file.
    pub kube_config: String,
    /// Contents of a pod definition. Empty in answers; empty on disk too unless the original wrote the file.
    pub kube_pod: String,
    /// Name of the pod, empty until it has been created.
    pub pod_name: String,
}

impl fmt::Debug for KubernetesExtra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesExtra")
            .field("image", &self.image)
            .field("command", &self.command)
            .field("params", &self.params)
            .field("kube_namespace", &self.kube_namespace)
            .field("pod_name", &self.pod_name)
            .finish_non_exhaustive()
    }
}

/// `ExtraData` of a unit that runs on another node (control-protocol 4.1, 4.6).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RemoteExtra {
    /// Node that does the work.
    pub remote_node: String,
    /// Work type over there.
    pub remote_work_type: String,
    /// Parameters of the submit; those beginning `secret_` are left out of answers.
    pub remote_params: BTreeMap<String, String>,
    /// Identifier of the unit over there; empty until known.
    #[serde(rename = "RemoteUnitID")]
    pub remote_unit_id: String,
    /// Whether the other node has started the unit.
    pub remote_started: bool,
    /// Whether a cancel was asked for here.
    pub local_cancelled: bool,
    /// Whether a release was asked for here.
    pub local_released: bool,
    /// Whether requests to the other node are signed.
    pub sign_work: bool,
    /// Name of the TLS client configuration for the connection.
    #[serde(rename = "TLSClient")]
    pub tls_client: String,
    /// When an unstarted unit expires: RFC 3339 with nanoseconds; [`RemoteExtra::NEVER`] for never.
    pub expiration: String,
}

impl RemoteExtra {
    /// The time that means "no expiration".
    pub const NEVER: &str = "0001-01-01T00:00:00Z";
}

impl Default for RemoteExtra {
    fn default() -> Self {
        Self {
            remote_node: String::new(),
            remote_work_type: String::new(),
            remote_params: BTreeMap::new(),
            remote_unit_id: String::new(),
            remote_started: false,
            local_cancelled: false,
            local_released: false,
            sign_work: false,
            tls_client: String::new(),
            expiration: Self::NEVER.to_owned(),
        }
    }
}

impl fmt::Debug for RemoteExtra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteExtra")
            .field("remote_node", &self.remote_node)
            .field("remote_work_type", &self.remote_work_type)
            .field("remote_unit_id", &self.remote_unit_id)
            .field("remote_started", &self.remote_started)
            .field("local_cancelled", &self.local_cancelled)
            .field("local_released", &self.local_released)
            .finish_non_exhaustive()
    }
}

macro_rules! extra_data {
    ($($name:ident),*) => {$(
        impl From<&$name> for Value {
            fn from(extra: &$name) -> Self {
                // Fails for maps with keys that are no text; these structures have none.
                serde_json::to_value(extra).unwrap_or_default()
            }
        }

        impl From<$name> for Value {
            fn from(extra: $name) -> Self {
                Self::from(&extra)
            }
        }

        impl $name {
            /// Reads the `ExtraData` of a status; `None` if it is `null`, a text, or of another shape.
            ///
            /// Fields that are missing or `null` have their zero value, unknown ones are passed over.
            pub fn from_value(value: &Value) -> Option<Self> {
                let Value::Object(fields) = value else { return None };
                let given: Map<String, Value> =
                    fields.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
                serde_json::from_value(Value::Object(given)).ok()
            }
        }
    )*};
}

extra_data!(CommandExtra, KubernetesExtra, RemoteExtra);

/// `extra` as answers may show it: without kubeconfig and pod definition, without parameters called `secret_...`.
///
/// Decided by the names of the fields and not by the work type, so that nothing slips out where a type is unknown.
pub(super) fn without_secrets(extra: &Value) -> Value {
    let Value::Object(fields) = extra else {
        return extra.clone();
    };
    let shown = fields.iter().map(|(name, value)| {
        let value = match (name.as_str(), value) {
            ("KubeConfig" | "KubePod", _) => Value::String(String::new()),
            ("RemoteParams", Value::Object(params)) => sorted_public_params(params),
            _ => value.clone(),
        };
        (name.clone(), value)
    });
    Value::Object(shown.collect())
}

fn sorted_public_params(params: &Map<String, Value>) -> Value {
    let mut public: Map<String, Value> = params
        .iter()
        .filter(|(name, _)| !crate::control::is_secret_name(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    public.sort_keys();
    Value::Object(public)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn extra_data_keeps_the_order_of_declaration() {
        let command = CommandExtra { pid: 24031, params: "1000".to_owned() };
        assert_eq!(json::to_string(&Value::from(command)), r#"{"Pid":24031,"Params":"1000"}"#);
        assert_eq!(
            json::to_string(&Value::from(KubernetesExtra::default())),
            r#"{"Image":"","Command":"","Params":"","KubeNamespace":"","KubeConfig":"","KubePod":"","PodName":""}"#
        );
        let remote = RemoteExtra {
            remote_node: "n2".to_owned(),
            remote_work_type: "cat".to_owned(),
            remote_unit_id: "3wDv8c6H".to_owned(),
            remote_started: true,
            ..RemoteExtra::default()
        };
        assert_eq!(
            json::to_string(&Value::from(remote)),
            r#"{"RemoteNode":"n2","RemoteWorkType":"cat","RemoteParams":{},"RemoteUnitID":"3wDv8c6H","RemoteStarted":true,"LocalCancelled":false,"LocalReleased":false,"SignWork":false,"TLSClient":"","Expiration":"0001-01-01T00:00:00Z"}"#
        );
    }

    #[test]
    fn extra_data_is_read_back_and_tolerates_strangers() {
        let read = |text: &str| CommandExtra::from_value(&json::parse(text.as_bytes()).unwrap());
        assert_eq!(read(r#"{"Pid":7,"Params":"x","New":1}"#), Some(CommandExtra { pid: 7, params: "x".to_owned() }));
        assert_eq!(read(r#"{"Pid":7,"Params":null}"#), Some(CommandExtra { pid: 7, params: String::new() }));
        assert_eq!(read("null"), None);
        assert_eq!(read(r#""Unknown WorkType""#), None);
        assert_eq!(read(r#"{"Pid":"x"}"#), None);
    }

    #[test]
    fn debug_shows_no_secrets() {
        let kubernetes = KubernetesExtra {
            kube_config: "geheim".to_owned(),
            kube_pod: "geheim".to_owned(),
            ..KubernetesExtra::default()
        };
        let remote = RemoteExtra {
            remote_params: BTreeMap::from([("secret_kube_pod".to_owned(), "geheim".to_owned())]),
            ..RemoteExtra::default()
        };
        assert!(!format!("{kubernetes:?} {remote:?}").contains("geheim"));
    }
}
