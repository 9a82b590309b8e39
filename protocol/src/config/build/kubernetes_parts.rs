//! The additions to `work-kubernetes`: credentials, worker, shape, operation, image build (work-types 2.2 to 2.7).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::error::{CheckError, ConvertError, NumberFault, Phase, ValueFault};
use crate::config::model::AuthMethod;
use crate::config::model::kubernetes::{
    BuildContext, BuildMethod, Claim, ClaimPolicy, Credentials, EnvSource, IfExists, ImageBuild, ImagePattern,
    ImageTarget, MetricsProvider, Mount, ObjectKind, Operation, PodForbid, PodShape, PodStderr, Probe, ProbeCheck,
    PullPolicy, Quantity, Resources, RestartPolicy, Security, Storage, Worker,
};
use crate::yaml::{self, Node};

use super::reader::{Reader, quantity};

/// Shortest time between two samples.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// Words of `podforbid`, with what they forbid.
const FORBID_WORDS: &[&str] =
    &["privileged", "hostpath", "hostnetwork", "hostpid", "hostipc", "capabilities", "namespace", "serviceaccount"];
const FORBIDDEN: [PodForbid; 8] = [
    PodForbid::Privileged,
    PodForbid::HostPath,
    PodForbid::HostNetwork,
    PodForbid::HostPid,
    PodForbid::HostIpc,
    PodForbid::Capabilities,
    PodForbid::Namespace,
    PodForbid::ServiceAccount,
];

impl Reader<'_, '_> {
    pub(super) fn worker(&mut self) -> Worker {
        let item = self.item;
        if item.filled("script").is_some() && (item.filled("command").is_some() || item.filled("params").is_some()) {
            let text = "can only provide Script when Command and Params are empty";
            self.refuse(Phase::Prepare, "script", CheckError::Combination(text));
        }
        Worker {
            shell: item.filled("shell"),
            script: item.filled("script"),
            working_dir: self.absolute("workingdir"),
            env: item.map("env"),
            env_from: self.members("envfrom", "secret:NAME or configmap:NAME", env_source),
            image_allow: self.image_allow(),
            pod_forbid: self.pod_forbid(),
            probes: [self.probe("livenessprobe"), self.probe("readinessprobe"), self.probe("startupprobe")],
        }
    }

    fn image_allow(&mut self) -> Vec<ImagePattern> {
        let mut allowed = Vec::new();
        for text in self.item.list("imageallow") {
            match ImagePattern::new(text) {
                Ok(pattern) => allowed.push(pattern),
                Err(fault) => self.refuse_value("imageallow", ValueFault::Structure(format!("{text}: {fault}"))),
            }
        }
        allowed
    }

    fn pod_forbid(&mut self) -> Vec<PodForbid> {
        let mut forbidden = Vec::new();
        for text in self.item.list("podforbid") {
            let known = FORBID_WORDS.iter().zip(FORBIDDEN).find(|(word, _)| word.eq_ignore_ascii_case(text));
            match known {
                Some((_, forbid)) => forbidden.push(forbid),
                None => self.refuse_value("podforbid", ValueFault::Word { text: text.clone(), words: FORBID_WORDS }),
            }
        }
        forbidden
    }

    fn probe(&mut self, key: &'static str) -> Option<Probe> {
        let form = "exec:CMD, http:PORT/PATH or tcp:PORT";
        match self.item.node(key)? {
            Node::Text(text) if !text.starts_with('{') => {
                let check = probe_check(text).ok_or_else(|| ValueFault::Form { form, text: text.clone() });
                self.value(key, check).map(Probe::Check)
            }
            _ => self.structure(key).map(Probe::Definition),
        }
    }

    /// A map or list, or a text of JSON or YAML.
    fn structure(&mut self, key: &'static str) -> Option<serde_json::Value> {
        let node = self.item.node(key)?;
        let read = match node {
            Node::Text(text) => yaml::from_str(text).map_err(|error| ValueFault::Structure(error.reason().to_owned())),
            _ => json(node),
        };
        let structure = self.value(key, read)?;
        if structure.is_object() || structure.is_array() {
            return Some(structure);
        }
        self.refuse_value(key, ValueFault::Structure("expected a map or list".to_owned()));
        None
    }

    pub(super) fn credentials(&mut self, method: AuthMethod) -> Credentials {
        let item = self.item;
        let credentials = Credentials {
            context: item.filled("kubecontext"),
            api_server: item.filled("apiserver"),
            token: item.secret("token"),
            token_file: self.existing_file("tokenfile"),
            token_refresh: self.timeout("tokenrefresh"),
            client_certificate: self.existing_file("clientcertificate"),
            client_certificate_data: item.filled("clientcertificatedata"),
            client_key: self.existing_file("clientkey"),
            client_key_data: item.secret("clientkeydata"),
            username: item.filled("username"),
            password: item.secret("password"),
            certificate_authority: self.existing_file("certificateauthority"),
            certificate_authority_data: item.filled("certificateauthoritydata"),
            insecure_skip_tls_verify: item.flag("insecureskiptlsverify"),
            tls_server_name: item.filled("tlsservername"),
            proxy_url: item.filled("proxyurl"),
        };
        for text in credential_faults(&credentials, method) {
            self.refuse(Phase::Prepare, "", CheckError::Combination(text));
        }
        credentials
    }

    pub(super) fn shape(&mut self) -> PodShape {
        let item = self.item;
        PodShape {
            resources: self.resources(),
            active_deadline_seconds: self.number("activedeadlineseconds"),
            storage: self.storage(),
            security: self.security(),
            affinity: self.structure("affinity"),
            tolerations: self.structure("tolerations"),
            node_selector: item.map("nodeselector"),
            priority_class: item.filled("priorityclass"),
            labels: item.map("labels"),
            annotations: item.map("annotations"),
            image_pull_policy: self
                .word("imagepullpolicy", &[PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never]),
            image_pull_secrets: item.list("imagepullsecrets").to_vec(),
            kind: self.word("kind", &[ObjectKind::Pod, ObjectKind::Job]).unwrap_or_default(),
            job: self.existing_file("job"),
            backoff_limit: self.number("backofflimit").unwrap_or_default(),
            ttl_seconds_after_finished: self.number("ttlsecondsafterfinished"),
            restart_policy: self
                .word("restartpolicy", &[RestartPolicy::Never, RestartPolicy::OnFailure])
                .unwrap_or_default(),
        }
    }

    fn resources(&mut self) -> Resources {
        Resources {
            cpu_limit: self.cpu("cpulimit"),
            memory_limit: self.quantity("memorylimit"),
            cpu_request: self.cpu("cpurequest"),
            memory_request: self.quantity("memoryrequest"),
            request_percent: self.percent("requestpercent"),
            extra: self.quantities("extraresources"),
            max_cpu_limit: self.cpu("maxcpulimit"),
            max_memory_limit: self.quantity("maxmemorylimit"),
        }
    }

    fn percent(&mut self, key: &'static str) -> Option<u8> {
        let percent = self.number::<u8>(key)?;
        let range = || ValueFault::Number(ConvertError::Int { text: percent.to_string(), fault: NumberFault::Range });
        self.value(key, Some(percent).filter(|percent| (1..=100).contains(percent)).ok_or_else(range))
    }

    fn quantities(&mut self, key: &'static str) -> BTreeMap<String, Quantity> {
        let mut quantities = BTreeMap::new();
        for (name, text) in self.item.map(key) {
            if let Some(amount) = self.value(key, quantity(&text)) {
                quantities.insert(name, amount);
            }
        }
        quantities
    }

    fn storage(&mut self) -> Storage {
        Storage {
            claims: self.members("volumeclaims", "CLAIM:/PATH[:ro]", claim),
            create_claims: self.members("createclaims", "NAME:/PATH[:SIZE[:MODE[:CLASS]]]", created_claim),
            claim_policy: self.word("claimpolicy", &[ClaimPolicy::Release, ClaimPolicy::Keep]).unwrap_or_default(),
            mounts: self.members("mounts", "secret:NAME:/PATH, configmap:NAME:/PATH or empty:SIZE:/PATH", mount),
        }
    }

    fn security(&mut self) -> Security {
        Security {
            privileged: self.item.flag("privileged"),
            run_as_user: self.user_id("runasuser"),
            run_as_group: self.user_id("runasgroup"),
            fs_group: self.user_id("fsgroup"),
            service_account: self.item.filled("serviceaccount"),
            automount_token: self.item.choice("automounttoken"),
        }
    }

    fn user_id(&mut self, key: &'static str) -> Option<i64> {
        let text = self.item.filled(key)?;
        let id = if text == "root" { Some(0) } else { text.parse().ok().filter(|id| *id >= 0) };
        self.value(key, id.ok_or(ValueFault::User(text)))
    }

    pub(super) fn operation(&mut self) -> Operation {
        let metrics_provider = self
            .word(
                "metricsprovider",
                &[MetricsProvider::None, MetricsProvider::MetricsServer, MetricsProvider::Prometheus],
            )
            .unwrap_or_default();
        if metrics_provider == MetricsProvider::Prometheus && self.item.filled("prometheusurl").is_none() {
            let text = "must provide PrometheusURL when MetricsProvider=prometheus";
            self.refuse(Phase::Prepare, "metricsprovider", CheckError::Combination(text));
        }
        Operation {
            stderr: self.word("stderr", &[PodStderr::Merged, PodStderr::Separate, PodStderr::Auto]).unwrap_or_default(),
            output_guard_fails: self.word("outputguard", &[false, true]).unwrap_or_default(),
            stdin_retry: self.number("stdinretry").unwrap_or_default(),
            prune_on_start: self.item.flag("pruneonstart"),
            max_concurrent: self.number("maxconcurrent").unwrap_or_default(),
            if_exists: self.word("ifexists", &[IfExists::Attach, IfExists::Replace, IfExists::Fail]),
            metrics_provider,
            metrics_interval: self.metrics_interval("metricsinterval"),
            prometheus_url: self.item.filled("prometheusurl"),
        }
    }

    fn metrics_interval(&mut self, key: &'static str) -> Option<Duration> {
        let interval = self.duration(key)?;
        let long_enough = interval >= LEAST_INTERVAL;
        self.value(key, if long_enough { Ok(interval) } else { Err(ValueFault::TooShort("1s")) })
    }

    pub(super) fn image_build(&mut self) -> ImageBuild {
        let item = self.item;
        if item.filled("dockerfile").is_some() && item.filled("buildbase").is_some() {
            let text = "can only provide BuildBase when Dockerfile is empty";
            self.refuse(Phase::Prepare, "buildbase", CheckError::Combination(text));
        }
        ImageBuild {
            method: self
                .word(
                    "buildmethod",
                    &[
                        BuildMethod::None,
                        BuildMethod::Buildah,
                        BuildMethod::Podman,
                        BuildMethod::Docker,
                        BuildMethod::Command,
                    ],
                )
                .unwrap_or_default(),
            command: item.filled("buildcommand"),
            dockerfile: self.existing_file("dockerfile"),
            base: item.filled("buildbase"),
            script: item.filled("buildscript"),
            context: self.word("buildcontext", &[BuildContext::None, BuildContext::Payload]).unwrap_or_default(),
            args: item.map("buildargs"),
            tag: item.filled("buildtag"),
            no_cache: !item.flag("buildcache"),
            timeout: self.timeout("buildtimeout"),
            only: item.flag("buildonly"),
            target: self
                .word(
                    "imagetarget",
                    &[
                        ImageTarget::None,
                        ImageTarget::Registry,
                        ImageTarget::Containerd,
                        ImageTarget::Kind,
                        ImageTarget::Minikube,
                        ImageTarget::Command,
                    ],
                )
                .unwrap_or_default(),
            registry: item.filled("registry"),
            registry_auth_file: self.existing_file("registryauthfile"),
            cluster_name: item.filled("clustername"),
            load_command: item.filled("loadcommand"),
        }
    }
}

/// Combinations of credentials that cannot be used (work-types 2.3).
fn credential_faults(credentials: &Credentials, method: AuthMethod) -> Vec<&'static str> {
    let server = credentials.api_server.is_some();
    let token = credentials.token.is_some() || credentials.token_file.is_some();
    let certificate = credentials.client_certificate.is_some() || credentials.client_certificate_data.is_some();
    let user = credentials.username.is_some() && credentials.password.is_some();
    let authority = credentials.certificate_authority.is_some() || credentials.certificate_authority_data.is_some();
    let checks = [
        (
            method == AuthMethod::Token && !(server && token),
            "must provide APIServer and one of Token, TokenFile when AuthMethod=token",
        ),
        (
            method == AuthMethod::Certificate && !(server && certificate),
            "must provide APIServer and ClientCertificate when AuthMethod=certificate",
        ),
        (
            method == AuthMethod::Basic && !(server && user),
            "must provide APIServer, Username and Password when AuthMethod=basic",
        ),
        (credentials.token.is_some() && credentials.token_file.is_some(), "can only provide one of Token, TokenFile"),
        (
            credentials.insecure_skip_tls_verify && authority,
            "specifying a root certificates file with the insecure flag is not allowed",
        ),
    ];
    checks.into_iter().filter(|(wrong, _)| *wrong).map(|(_, text)| text).collect()
}

/// `secret:NAME` or `configmap:NAME`.
fn env_source(text: &str) -> Option<EnvSource> {
    match text.split_once(':')? {
        (_, "") => None,
        ("secret", name) => Some(EnvSource::Secret(name.to_owned())),
        ("configmap", name) => Some(EnvSource::ConfigMap(name.to_owned())),
        _ => None,
    }
}

/// `CLAIM:/PATH[:ro]`.
fn claim(text: &str) -> Option<Claim> {
    let mut parts = text.split(':');
    let (name, path) = (parts.next()?, parts.next()?);
    let read_only = match (parts.next(), parts.next()) {
        (None, _) => false,
        (Some("ro"), None) => true,
        _ => return None,
    };
    (!name.is_empty() && path.starts_with('/')).then(|| Claim {
        name: name.to_owned(),
        path: path.to_owned(),
        read_only,
    })
}

/// `NAME:/PATH[:SIZE[:MODE[:CLASS]]]`; a relative path is mounted below `/tmp`.
fn created_claim(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split(':').collect();
    let (named, rest) = parts.split_at_checked(2)?;
    let [size, mode, ..] = [rest.first(), rest.get(1), rest.get(2)];
    let well_formed = named.iter().all(|part| !part.is_empty())
        && rest.len() <= 3
        && size.is_none_or(|size| quantity(size).is_ok())
        && mode.is_none_or(|mode| ["RWO", "ROX", "RWX", "RWOP"].contains(mode));
    well_formed.then(|| text.to_owned())
}

/// `secret:NAME:/PATH`, `configmap:NAME:/PATH` or `empty:SIZE:/PATH`.
fn mount(text: &str) -> Option<Mount> {
    let (kind, rest) = text.split_once(':')?;
    let (name, path) = rest.split_once(':')?;
    if name.is_empty() || !path.starts_with('/') {
        return None;
    }
    match kind {
        "secret" => Some(Mount::Secret(name.to_owned(), path.to_owned())),
        "configmap" => Some(Mount::ConfigMap(name.to_owned(), path.to_owned())),
        "empty" => quantity(name).ok().map(|size| Mount::Empty(size, path.to_owned())),
        _ => None,
    }
}

/// `exec:CMD`, `http:PORT/PATH` or `tcp:PORT`.
fn probe_check(text: &str) -> Option<ProbeCheck> {
    match text.split_once(':')? {
        (_, "") => None,
        ("exec", command) => Some(ProbeCheck::Exec(command.to_owned())),
        ("tcp", port) => port.parse().ok().map(ProbeCheck::Tcp),
        ("http", rest) => {
            let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
            port.parse().ok().map(|port| ProbeCheck::Http(port, format!("/{path}")))
        }
        _ => None,
    }
}

/// A node as JSON; keys become texts, numbers that JSON does not have are refused.
fn json(node: &Node) -> Result<serde_json::Value, ValueFault> {
    Ok(match node {
        Node::Null => serde_json::Value::Null,
        Node::Bool(flag) => (*flag).into(),
        Node::Int(number) => (*number).into(),
        Node::Float(number) => serde_json::Number::from_f64(*number)
            .ok_or_else(|| ValueFault::Structure("number is not finite".to_owned()))?
            .into(),
        Node::Text(text) => text.as_str().into(),
        Node::List(list) => list.iter().map(|item| json(&item.node)).collect::<Result<Vec<_>, _>>()?.into(),
        Node::Map(map) => {
            let mut object = serde_json::Map::new();
            for entry in map {
                let key = match json(&entry.key.node)? {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                object.insert(key, json(&entry.value.node)?);
            }
            object.into()
        }
    })
}
