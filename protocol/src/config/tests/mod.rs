//! Tests of the whole way from text to [`super::NodeConfig`], quoting the references row by row.

mod allow;
mod certs;
mod checks;
mod command_line;
mod grammar;
mod kubernetes;
mod properties;
mod reports;
mod second_dialect;
mod values;
mod worked_examples;

use super::host::tests::FakeHost;
use super::model::{CommandType, KubernetesType, NodeConfig, WorkType};
use super::{Start, Startup, load};

/// Where a test's configuration file is.
const FILE: &str = "/rx/a.yml";

/// What is printed at start-up, or `ok`.
fn outcome(words: &[&str], host: &FakeHost) -> String {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    match load(&words, host) {
        Ok(Startup::Run(_)) => "ok".to_owned(),
        Ok(Startup::Help(_)) => "help".to_owned(),
        Ok(Startup::Version) => "version".to_owned(),
        Ok(Startup::Certificates(_)) => "certificates".to_owned(),
        Ok(Startup::CheckConfig(report)) => report.text,
        Err(error) => error.to_string(),
    }
}

/// What is printed at start-up with a file of the first dialect, or `ok`.
fn file(text: &str) -> String {
    outcome(&["-c", FILE], &host(text))
}

fn host(text: &str) -> FakeHost {
    FakeHost::with(&[(FILE, text), ("/rx/pub.pem", ""), ("/rx/key.pem", ""), ("/rx/config", "")])
}

/// What is run by a file of the first dialect.
fn start(text: &str) -> Start {
    match load(&["-c".to_owned(), FILE.to_owned()], &host(text)) {
        Ok(Startup::Run(start)) => *start,
        other => panic!("{text}: {other:?}"),
    }
}

fn config(text: &str) -> NodeConfig {
    start(text).config
}

fn command(config: &NodeConfig) -> &CommandType {
    match config.work_types.as_slice() {
        [WorkType::Command(command)] => command,
        other => panic!("{other:?}"),
    }
}

fn kubernetes(config: &NodeConfig) -> &KubernetesType {
    match config.work_types.as_slice() {
        [WorkType::Kubernetes(kubernetes)] => kubernetes,
        other => panic!("{other:?}"),
    }
}
