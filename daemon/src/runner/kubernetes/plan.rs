//! What a submission may say, and what becomes of it (control-protocol 5.2, 5.3, work-types 2.1).

use std::{path::Path, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use worknode_protocol::{
    config::model::{AuthMethod, KubernetesType, PodStderr, StreamMethod},
    duration::GoDuration,
    unit::KubernetesExtra,
};

use super::{auth, pod::Wanted, policy};
use crate::runner::{Found, Params, PlanError, Secrets};

/// The unit file that holds what `ExtraData` must not (work-types 2.8).
pub(crate) const SECRETS_FILE: &str = "secrets.json";

/// A checked submission.
#[derive(Clone)]
pub(crate) struct Order {
    /// What is shown of it.
    pub(crate) extra: KubernetesExtra,
    /// The text of a pod definition.
    pub(crate) pod: Option<SecretString>,
    /// The text of the client's own kubeconfig.
    pub(crate) kubeconfig: Option<SecretString>,
    /// Time from the pod's creation until its worker must run.
    pub(crate) pending_timeout: Option<Duration>,
}

/// The contents of `secrets.json`.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct SecretsFile {
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_kube_config: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_kube_pod: Option<String>,
}

impl Order {
    /// Checks the parameters of a submission, in the original's order. Reads the configured files: they count as they are now.
    pub(crate) fn plan(kind: &KubernetesType, params: &Params) -> Result<Self, PlanError> {
        let mut pod = read_file(kind.pod.as_deref()).map_err(PlanError::UnreadablePod)?;
        // Read for its error only: the file is read again at each connection, for what it holds may change.
        read_file(kind.kubeconfig.as_deref()).map_err(PlanError::UnreadableKubeConfig)?;
        check_streams(kind)?;
        let given = Given::check(kind, params)?;
        if kind.auth_method == AuthMethod::Runtime && given.kubeconfig.is_none() {
            return Err(PlanError::KubeConfigMissing);
        }
        if given.pod.is_some() && (given.params.is_some() || given.command.is_some() || given.image.is_some()) {
            return Err(PlanError::PodNotCompatible);
        }
        let pending_timeout = match given.pending_timeout {
            Some(text) => Some(text.parse::<GoDuration>().map_err(PlanError::PodPendingTimeout)?.to_std_or_zero()),
            None => kind.pod_pending_timeout,
        };
        if let Some(text) = given.kubeconfig.filter(|_| !kind.allow_kubeconfig_exec) {
            auth::check_runtime(text, kind.credentials.context.as_deref())?;
        }
        let text = |value: Option<&str>, configured: &Option<String>| {
            value.map(str::to_owned).or_else(|| configured.clone()).unwrap_or_default()
        };
        let mut extra =
            KubernetesExtra { kube_namespace: text(given.namespace, &kind.namespace), ..KubernetesExtra::default() };
        match given.pod {
            Some(definition) => pod = Some(definition.to_owned()),
            None => {
                extra.image = text(given.image, &kind.image);
                extra.command = text(given.command, &kind.command);
                extra.params = join(kind.params.as_deref(), given.params);
            }
        }
        let order = Self {
            extra,
            pod: pod.map(Into::into),
            kubeconfig: given.kubeconfig.map(|text| text.to_owned().into()),
            // A timeout of nothing is none: with the original, no time limit.
            pending_timeout: pending_timeout.filter(|limit| !limit.is_zero()),
        };
        policy::check(kind, &order.wanted(), given.pod.is_some())?;
        Ok(order)
    }

    /// The order of a unit found on disk. Blocks.
    pub(crate) fn of_found(found: &Found) -> Self {
        let mut extra = KubernetesExtra::from_value(&found.status.extra_data).unwrap_or_default();
        // Receptor keeps both in clear in the status.
        let clear = |text: &mut String| Some(std::mem::take(text)).filter(|text| !text.is_empty());
        let (clear_config, clear_pod) = (clear(&mut extra.kube_config), clear(&mut extra.kube_pod));
        let secrets = auth::read(&found.dir.file(SECRETS_FILE)).ok();
        let secrets: SecretsFile = secrets.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        Self {
            extra,
            pod: secrets.secret_kube_pod.or(clear_pod).map(Into::into),
            kubeconfig: secrets.secret_kube_config.or(clear_config).map(Into::into),
            pending_timeout: None,
        }
    }

    /// What belongs into the unit's `secrets.json`.
    pub(crate) fn secrets(&self) -> Option<Secrets> {
        let reveal = |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose_secret().to_owned());
        let file = SecretsFile { secret_kube_config: reveal(&self.kubeconfig), secret_kube_pod: reveal(&self.pod) };
        if file.secret_kube_config.is_none() && file.secret_kube_pod.is_none() {
            return None;
        }
        serde_json::to_string(&file).ok().map(Secrets::new)
    }

    /// The pod that is wanted.
    pub(crate) fn wanted(&self) -> Wanted {
        match &self.pod {
            Some(definition) => Wanted::Definition(definition.expose_secret().to_owned()),
            None => Wanted::Container {
                image: self.extra.image.clone(),
                command: self.extra.command.clone(),
                params: self.extra.params.clone(),
            },
        }
    }
}

/// Standard error can be kept apart only where it comes apart (work-types 2.4).
fn check_streams(kind: &KubernetesType) -> Result<(), PlanError> {
    let method = match kind.stream_method {
        StreamMethod::Attach => return Ok(()),
        StreamMethod::Logger => "logger",
        StreamMethod::Shim => "shim",
        StreamMethod::Tcp => "tcp",
    };
    match kind.operation.stderr {
        PodStderr::Separate => Err(PlanError::StderrNotSeparated(method)),
        PodStderr::Merged | PodStderr::Auto => Ok(()),
    }
}

/// The runtime parameters, permitted.
struct Given<'a> {
    command: Option<&'a str>,
    image: Option<&'a str>,
    params: Option<&'a str>,
    namespace: Option<&'a str>,
    kubeconfig: Option<&'a str>,
    pod: Option<&'a str>,
    pending_timeout: Option<&'a str>,
}

impl<'a> Given<'a> {
    /// The seven parameters of receptor in its order; the first that is not permitted answers.
    fn check(kind: &KubernetesType, params: &'a Params) -> Result<Self, PlanError> {
        let allowed = |name: &'static str, permission: bool| match params.get(name) {
            Some(_) if !permission => Err(PlanError::NotAllowed(name)),
            value => Ok(value),
        };
        Ok(Self {
            command: allowed("kube_command", kind.allow_runtime_command)?,
            image: allowed("kube_image", kind.allow_runtime_command)?,
            params: allowed("kube_params", kind.allow_runtime_params)?,
            namespace: allowed("kube_namespace", kind.allow_runtime_auth)?,
            kubeconfig: allowed("secret_kube_config", kind.allow_runtime_auth)?,
            pod: allowed("secret_kube_pod", kind.allow_runtime_pod)?,
            pending_timeout: allowed("pod_pending_timeout", kind.allow_runtime_params)?,
        })
    }
}

fn read_file(path: Option<&Path>) -> Result<Option<String>, String> {
    let Some(path) = path else { return Ok(None) };
    let text = auth::read(path).map_err(|fault| auth::open_error(path, &fault))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Runtime arguments stand behind the configured ones, after a blank.
fn join(configured: Option<&str>, given: Option<&str>) -> String {
    let parts: Vec<&str> = [configured, given].into_iter().flatten().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests;
