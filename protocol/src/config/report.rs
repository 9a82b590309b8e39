//! What the check mode prints: everything that is wrong, or what the configuration amounts to.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::error::{Place, Problem};
use super::model::{AuthMethod, CertCommand, ControlService, KubernetesType, NodeConfig, WorkType};

/// What the check mode prints.
#[derive(Debug, Clone)]
pub struct CheckReport {
    /// Lines to print.
    pub text: String,
    /// Whether the configuration can be run.
    pub usable: bool,
    /// The configuration, if it is a usable one of a node: what else can be looked at before a start.
    pub config: Option<Box<NodeConfig>>,
    /// The files that were read.
    files: String,
}

impl CheckReport {
    /// Exit code of the check: 0 if the configuration can be run, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.usable)
    }

    /// The report on a configuration that cannot be run after all, for the reason that the start would tell.
    #[must_use]
    pub fn refused(self, reason: &str) -> Self {
        Self { text: format!("{}: error: {reason}\n1 error\n", self.files), usable: false, config: None, ..self }
    }
}

/// Writes the report. Without problems there must be a configuration.
pub(super) fn report(
    files: &[PathBuf],
    config: Option<&NodeConfig>,
    problems: &[Problem],
    notices: &[(Place, String)],
) -> CheckReport {
    let mut text = String::new();
    for problem in problems {
        let _ = writeln!(text, "{}: error: {}", problem.place, problem.what());
        if let Some(hint) = problem.hint() {
            let _ = writeln!(text, "    {hint}");
        }
    }
    for (place, notice) in notices {
        let _ = writeln!(text, "{place}: warning: {notice}");
    }
    let usable = problems.is_empty();
    match config {
        Some(config) if usable => summary(&mut text, files, config),
        _ => {
            let count = problems.len();
            let _ = writeln!(text, "{count} error{}", if count == 1 { "" } else { "s" });
        }
    }
    let config = config.filter(|_| usable).cloned().map(Box::new);
    CheckReport { text, usable, config, files: names(files) }
}

/// Writes the report on an action that stands alone and can be carried out.
pub(super) fn alone(files: &[PathBuf], command: &CertCommand) -> CheckReport {
    let action = match command {
        CertCommand::Init(_) => "cert-init",
        CertCommand::Request(_) => "cert-makereq",
        CertCommand::Sign(_) => "cert-signreq",
    };
    let files = names(files);
    CheckReport { text: format!("{files}: OK\n  {action}\n"), usable: true, config: None, files }
}

fn names(files: &[PathBuf]) -> String {
    let names: Vec<_> = files.iter().map(|path| path.display().to_string()).collect();
    if names.is_empty() { "command line".to_owned() } else { names.join(", ") }
}

fn summary(text: &mut String, files: &[PathBuf], config: &NodeConfig) {
    let _ = writeln!(text, "{}: OK", names(files));
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "  {label:<12} {value}");
    };
    line(
        "node",
        format!("{}, data in {}", config.node.id, config.node.data_dir.join(config.node.id.as_str()).display()),
    );
    line("log level", config.log_level.to_string());
    for service in &config.control_services {
        line("control", control_service(service));
    }
    for server in &config.tls_servers {
        line("tls-server", server.name.clone());
    }
    for client in &config.tls_clients {
        line("tls-client", client.name.clone());
    }
    for work_type in &config.work_types {
        line("work type", describe(work_type));
    }
    let limits = config.limits;
    line("limits", format!("command lines of {} bytes, {} connections", limits.command_line_bytes, limits.connections));
}

fn control_service(service: &ControlService) -> String {
    let with_tls = |text: String, tls: &Option<String>| match tls {
        Some(name) => format!("{text} with TLS {name}"),
        None => text,
    };
    let socket = service.filename.as_ref();
    let listeners = [
        socket.map(|path| format!("Unix socket {} (mode 0{:o})", path.display(), service.permissions)),
        service.tcp_listen.as_ref().map(|address| with_tls(format!("TCP {address}"), &service.tcp_tls)),
        Some(&service.service)
            .filter(|name| !name.is_empty())
            .map(|name| with_tls(format!("service {name} of the mesh"), &service.tls)),
    ];
    listeners.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn describe(work_type: &WorkType) -> String {
    let (what, allowed) = match work_type {
        WorkType::Command(command) => {
            let words = format!("command {} {}", command.command, command.params);
            (
                words.trim_end().to_owned(),
                vec![
                    ("params", command.allow_runtime_params),
                    ("env", command.allow_runtime_env),
                    ("working directory", command.allow_runtime_working_dir),
                    ("user", command.allow_runtime_user),
                ],
            )
        }
        WorkType::Kubernetes(kubernetes) => (
            kubernetes_words(kubernetes),
            vec![
                ("auth", kubernetes.allow_runtime_auth),
                ("command", kubernetes.allow_runtime_command),
                ("params", kubernetes.allow_runtime_params),
                ("pod", kubernetes.allow_runtime_pod),
            ],
        ),
    };
    let allowed: Vec<_> = allowed.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
    let mut text = format!("{}: {what}", work_type.name());
    if !allowed.is_empty() {
        let _ = write!(text, "; clients may give {}", allowed.join(", "));
    }
    if work_type.verify_signature() {
        text.push_str("; signed");
    }
    text
}

fn kubernetes_words(kubernetes: &KubernetesType) -> String {
    let auth = match kubernetes.auth_method {
        AuthMethod::InCluster => "the service account of this pod",
        AuthMethod::Kubeconfig => "a kubeconfig",
        AuthMethod::Runtime => "a kubeconfig of the client",
        AuthMethod::Token => "a token",
        AuthMethod::Certificate => "a certificate",
        AuthMethod::Basic => "a password",
        AuthMethod::Auto => "the service account of this pod or a kubeconfig",
    };
    match (&kubernetes.image, &kubernetes.pod) {
        (Some(image), _) => format!("pod of {image} by {auth}"),
        (None, Some(path)) => format!("pod of {} by {auth}", path.display()),
        (None, None) => format!("pod by {auth}"),
    }
}
