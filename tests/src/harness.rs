//! The builder of a test's world.

use std::ffi::OsString;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binaries::Program;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::node::Node;

/// Builds a configuration and starts a daemon with it.
///
/// ```no_run
/// # fn main() -> anyhow::Result<()> {
/// use worknode_tests::Harness;
///
/// let node = Harness::new()?.command("cat", "cat").start()?;
/// let unit = node.submit("cat", b"hello")?;
/// assert_eq!(node.results(&unit)?, b"hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Harness {
    program: Program,
    id: String,
    directory: TempDir,
    /// The actions that come before the control service: it opens last, so that an open socket means a ready node.
    config: Config,
    control: Value,
    environment: Vec<(OsString, OsString)>,
    text: Option<String>,
}

impl Harness {
    /// A node `n1` of `worknoded` with a Unix socket and no work types.
    ///
    /// # Errors
    /// Fails if `worknoded` cannot be built or no temporary directory can be made.
    pub fn new() -> Result<Self> {
        Self::of(Program::worknoded()?)
    }

    /// A node `n1` of the given program with a Unix socket and no work types.
    ///
    /// # Errors
    /// Fails if no temporary directory can be made.
    pub fn of(program: Program) -> Result<Self> {
        // A short name: the path of a Unix socket has at most 107 bytes.
        let directory = tempfile::Builder::new().prefix("wn-").tempdir().context("making a directory")?;
        Ok(Self {
            program,
            id: "n1".to_owned(),
            directory,
            config: Config::default(),
            control: json!({"service": "control", "permissions": "0600"}),
            environment: Vec::new(),
            text: None,
        })
    }

    /// The directory that the node will have for itself; files that a configuration names can be put here.
    #[must_use]
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Where the node will keep its units: `<datadir>/<node id>`.
    #[must_use]
    pub fn units(&self) -> std::path::PathBuf {
        self.directory.path().join("data").join(&self.id)
    }

    /// Names the node.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Adds a command type that takes no parameters at run time.
    #[must_use]
    pub fn command(self, worktype: &str, command: &str) -> Self {
        self.action("work-command", json!({"worktype": worktype, "command": command}))
    }

    /// Adds a command type that takes `params` at run time.
    #[must_use]
    pub fn command_with_params(self, worktype: &str, command: &str) -> Self {
        let parameters = json!({"worktype": worktype, "command": command, "allowruntimeparams": true});
        self.action("work-command", parameters)
    }

    /// Adds a type that runs pods on a cluster, with every permission of control-protocol 5.1 and these parameters more.
    #[must_use]
    pub fn kubernetes(self, worktype: &str, cluster: &Cluster, more: &Value) -> Self {
        let mut parameters = json!({
            "worktype": worktype,
            "authmethod": "kubeconfig",
            "kubeconfig": cluster.kubeconfig(),
            "namespace": "default",
            "allowruntimeauth": true,
            "allowruntimecommand": true,
            "allowruntimeparams": true,
            "allowruntimepod": true,
        });
        if let (Some(parameters), Some(more)) = (parameters.as_object_mut(), more.as_object()) {
            parameters.extend(more.clone());
        }
        self.action("work-kubernetes", parameters)
    }

    /// Adds any action with its parameters.
    #[must_use]
    pub fn action(mut self, name: &str, parameters: Value) -> Self {
        self.config.push(name, parameters);
        self
    }

    /// Opens the control service on TCP, too, on a free port of the loopback address.
    #[must_use]
    pub fn tcp(self) -> Self {
        self.control("tcplisten", json!("127.0.0.1:0"))
    }

    /// Sets a parameter of the control service.
    #[must_use]
    pub fn control(mut self, parameter: &str, value: Value) -> Self {
        if let Some(parameters) = self.control.as_object_mut() {
            parameters.insert(parameter.to_owned(), value);
        }
        self
    }

    /// Sets a variable of the daemon's environment.
    #[must_use]
    pub fn environment(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Uses this text as configuration file, with `@SOCKET@` and `@DATA@` put in place, and none of the other settings.
    #[must_use]
    pub fn config_text(mut self, text: &str) -> Self {
        self.text = Some(text.to_owned());
        self
    }

    /// Starts the daemon and waits until its socket takes connections.
    ///
    /// # Errors
    /// Fails if the daemon ends or is not ready in time, with its log.
    pub fn start(self) -> Result<Node> {
        let mut node = self.prepare()?;
        node.start()?;
        Ok(node)
    }

    /// Writes the configuration without starting the daemon.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn prepare(self) -> Result<Node> {
        let node = Node::new(self.program.clone(), self.id.clone(), self.environment.clone(), &self.directory);
        let text = match &self.text {
            Some(text) => text
                .replace("@SOCKET@", &node.socket().to_string_lossy())
                .replace("@DATA@", &node.data().to_string_lossy()),
            None => self.config_for(&node).text(),
        };
        std::fs::write(node.config(), text).context("writing the configuration")?;
        Ok(node.owning(self.directory))
    }

    fn config_for(&self, node: &Node) -> Config {
        let mut whole = Config::default();
        whole.push("node", json!({"id": self.id, "datadir": node.data()}));
        whole.push("local-only", Value::Null);
        if !self.config.has("log-level") {
            whole.push("log-level", json!("info"));
        }
        let mut control = self.control.clone();
        if let Some(parameters) = control.as_object_mut() {
            parameters.insert("filename".to_owned(), json!(node.socket()));
        }
        whole.append(&self.config);
        whole.push("control-service", control);
        whole
    }
}
