//! Work that runs in a Kubernetes cluster: receptor's checks in receptor's order, then those of the additions.

use crate::config::error::{CheckError, Phase, ValueFault};
use crate::config::host;
use crate::config::model::kubernetes::{DeletePodPolicy, KubernetesType, Permissions};
use crate::config::model::{AuthMethod, StreamMethod, TcpStreams, WorkType};

use super::reader::Reader;

impl Reader<'_, '_> {
    pub(super) fn work_kubernetes(&mut self) {
        let auth_method = self.auth_method();
        self.check_namespace(auth_method);
        self.check_kubeconfig(auth_method);
        self.check_image();
        let stream_method = self.stream_method();
        let kubernetes = self.kubernetes_type(auth_method, stream_method);
        self.check_work_type(&kubernetes.work_type);
        self.builder.parts.work_types.push(WorkType::Kubernetes(Box::new(kubernetes)));
    }

    fn kubernetes_type(&mut self, auth_method: AuthMethod, stream_method: StreamMethod) -> KubernetesType {
        let item = self.item;
        KubernetesType {
            work_type: item.text("worktype").to_owned(),
            namespace: item.filled("namespace"),
            image: item.filled("image"),
            command: item.filled("command"),
            params: item.filled("params"),
            pod: item.path("pod"),
            auth_method,
            kubeconfig: item.path("kubeconfig"),
            stream_method,
            tcp: self.tcp_streams(),
            allow_runtime_auth: item.flag("allowruntimeauth"),
            allow_runtime_command: item.flag("allowruntimecommand"),
            allow_runtime_params: item.flag("allowruntimeparams"),
            allow_runtime_pod: item.flag("allowruntimepod"),
            verify_signature: item.flag("verifysignature"),
            delete_pod_on_restart: item.flag("deletepodonrestart"),
            pod_pending_timeout: self.timeout("podpendingtimeout"),
            worker: self.worker(),
            credentials: self.credentials(auth_method),
            allow_kubeconfig_exec: item.flag("allowkubeconfigexec"),
            api_retry_timeout: self.duration("apiretrytimeout").unwrap_or(KubernetesType::DEFAULT_API_RETRY_TIMEOUT),
            shape: self.shape(),
            fail_on_exit_code: item.flag("failonexitcode"),
            grace_period: self.duration("graceperiod"),
            delete_pod_policy: self
                .word(
                    "deletepodpolicy",
                    &[
                        DeletePodPolicy::Release,
                        DeletePodPolicy::Always,
                        DeletePodPolicy::OnSuccess,
                        DeletePodPolicy::Never,
                    ],
                )
                .unwrap_or_default(),
            operation: self.operation(),
            label_units: item.flag("labelunits"),
            build: self.image_build(),
            permissions: self.kubernetes_permissions(),
        }
    }

    fn tcp_streams(&mut self) -> TcpStreams {
        let address = self.item.filled("tcpaddress").and_then(|text| {
            let read = text.parse().map_err(|_| ValueFault::Form { form: "an IP address", text });
            self.value("tcpaddress", read)
        });
        TcpStreams { address, token: self.item.flag("tcptoken") }
    }

    fn auth_method(&mut self) -> AuthMethod {
        let given = self.item.text("authmethod");
        match given.to_lowercase().as_str() {
            "kubeconfig" => AuthMethod::Kubeconfig,
            "incluster" | "in_cluster" => AuthMethod::InCluster,
            "runtime" => AuthMethod::Runtime,
            "token" => AuthMethod::Token,
            "certificate" | "certificate_file" => AuthMethod::Certificate,
            "basic" | "basic_auth" => AuthMethod::Basic,
            "auto" => AuthMethod::Auto,
            _ => {
                self.refuse(Phase::Prepare, "authmethod", CheckError::AuthMethod(given.to_owned()));
                // Complains least about the keys that follow.
                AuthMethod::Kubeconfig
            }
        }
    }

    fn check_namespace(&mut self, method: AuthMethod) {
        let elsewhere = matches!(method, AuthMethod::Kubeconfig | AuthMethod::Auto);
        if self.item.text("namespace").is_empty() && !elsewhere && !self.item.flag("allowruntimeauth") {
            let text = "must provide namespace when AuthMethod is not kubeconfig";
            self.refuse(Phase::Prepare, "", CheckError::Combination(text));
        }
    }

    fn check_kubeconfig(&mut self, method: AuthMethod) {
        let Some(path) = self.item.path("kubeconfig") else {
            return;
        };
        if !matches!(method, AuthMethod::Kubeconfig | AuthMethod::Auto) {
            let text = "can only provide KubeConfig when AuthMethod=kubeconfig";
            self.refuse(Phase::Prepare, "kubeconfig", CheckError::Combination(text));
        } else if let Err(error) = self.builder.host.stat(&path) {
            let why = host::system_text("stat", &path, &error);
            self.refuse(Phase::Prepare, "kubeconfig", CheckError::WorkFile { key: "kubeconfig", why });
        }
    }

    fn check_image(&mut self) {
        let given = |key| !self.item.text(key).is_empty();
        let allowed = self.item.flag("allowruntimecommand") || self.item.flag("allowruntimepod");
        // A Job definition or a build brings an image of its own.
        let image = given("image") || given("job") || given("dockerfile") || given("buildbase");
        let text = if given("pod") && (given("image") || given("command") || given("params")) {
            "can only provide Pod when Image, Command, and Params are empty"
        } else if !given("pod") && !image && !allowed {
            "must specify a container image to run"
        } else {
            return;
        };
        self.refuse(Phase::Prepare, "", CheckError::Combination(text));
    }

    fn stream_method(&mut self) -> StreamMethod {
        match self.item.text("streammethod").to_lowercase().as_str() {
            "logger" => StreamMethod::Logger,
            "tcp" => StreamMethod::Tcp,
            "attach" => StreamMethod::Attach,
            "shim" => StreamMethod::Shim,
            _ => {
                self.refuse(Phase::Prepare, "streammethod", CheckError::StreamMethod);
                StreamMethod::Logger
            }
        }
    }

    fn kubernetes_permissions(&self) -> Permissions {
        let item = self.item;
        Permissions {
            job: item.flag("allowruntimejob"),
            env: item.flag("allowruntimeenv"),
            resources: item.flag("allowruntimeresources"),
            volumes: item.flag("allowruntimevolumes"),
            security: item.flag("allowruntimesecurity"),
            scheduling: item.flag("allowruntimescheduling"),
            labels: item.flag("allowruntimelabels"),
            name: item.flag("allowruntimename"),
            build: item.flag("allowruntimebuild"),
            exec: item.flag("allowexec"),
        }
    }
}
