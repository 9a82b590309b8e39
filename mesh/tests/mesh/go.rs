//! A real Go node, where the environment variable `RECEPTOR_BIN` names its program.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    time::sleep,
};

use crate::nodes::soon;

/// A Go node; it ends with this value.
pub(crate) struct Go {
    child: Child,
    directory: tempfile::TempDir,
}

impl Go {
    /// Starts a node with further actions beside its control service, a YAML list of maps in flow form. None, and a word
    /// about it, where there is no program.
    pub(crate) async fn start(name: &str, actions: &[String]) -> Option<Self> {
        let Some(program) = std::env::var_os("RECEPTOR_BIN") else {
            println!("skipped: RECEPTOR_BIN is not set");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().display();
        let mut lines = vec![
            format!("- {{node: {{id: {name}, datadir: {at}}}}}"),
            "- {log-level: debug}".to_owned(),
            format!("- {{control-service: {{service: control, filename: {at}/sock}}}}"),
        ];
        lines.extend(actions.iter().map(|action| format!("- {action}")));
        let config = directory.path().join("go.yml");
        fs::write(&config, lines.join("\n")).unwrap();
        let log = fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(program)
            .arg("-c")
            .arg(&config)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let go = Self { child, directory };
        soon("the control socket", async {
            while UnixStream::connect(go.socket()).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        Some(go)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A control session whose banner has been read.
    pub(crate) async fn session(&self) -> BufReader<UnixStream> {
        let mut session = BufReader::new(UnixStream::connect(self.socket()).await.unwrap());
        let banner = line(&mut session).await;
        assert!(banner.starts_with("Receptor Control, node "), "{banner}");
        session
    }

    /// The answer to one command.
    pub(crate) async fn ask(&self, command: &str) -> String {
        let mut session = self.session().await;
        session.write_all(format!("{command}\n").as_bytes()).await.unwrap();
        line(&mut session).await
    }

    /// Waits until it answers a probe with success.
    pub(crate) async fn reaches(&self, node: &str) {
        soon(&format!("a way from Go to {node}: {}", self.log()), async {
            while !self.ask(&format!("ping {node}")).await.contains("\"Success\":true") {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    /// Sends bytes to a service of a node by its `connect`, closes, and reads to the end.
    pub(crate) async fn exchange(&self, node: &str, service: &str, bytes: &[u8]) -> Vec<u8> {
        let mut session = self.session().await;
        session.write_all(format!("connect {node} {service}\n").as_bytes()).await.unwrap();
        assert_eq!(line(&mut session).await, "Connecting\n", "{}", self.log());
        let mut rest = session.buffer().to_vec();
        let (mut read, mut write) = session.into_inner().into_split();
        soon("an exchange by Go", async {
            let send = async {
                write.write_all(bytes).await.unwrap();
                write.shutdown().await.unwrap();
            };
            tokio::join!(send, read.read_to_end(&mut rest)).1.unwrap();
        })
        .await;
        rest
    }
}

impl Drop for Go {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(60).collect();
            println!("the end of the Go node's log:");
            tail.iter().rev().for_each(|line| println!("{line}"));
        }
    }
}

/// The next line, its end included.
pub(crate) async fn line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> String {
    let mut line = String::new();
    soon("a line", reader.read_line(&mut line)).await.unwrap();
    line
}
