//! Certificates from the commands of both programs, and TLS with them: mesh-protocol 1.4, 1.5, 7.4.
#![allow(clippy::indexing_slicing, reason = "an index out of range fails the test, as it should")]

mod interop;
mod manual;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use worknode_tests::Program;

/// Runs a program in `directory` and answers what it wrote to standard output.
fn run(directory: &Path, program: &Path, words: &[&str]) -> Result<String> {
    let output = Command::new(program).current_dir(directory).args(words).stdin(Stdio::null()).output();
    checked(output.with_context(|| format!("running {}", program.display()))?)
}

fn checked(output: Output) -> Result<String> {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{}: {text}{errors}", output.status);
    Ok(text.into_owned())
}

/// Makes an authority: `ca.crt`, `ca.key`.
fn init(directory: &Path, program: &Program) -> Result<()> {
    let words = ["--cert-init", "commonname=test CA", "bits=2048", "outcert=ca.crt", "outkey=ca.key"];
    run(directory, &program.path, &words).map(drop)
}

/// Makes `NODE.key` with one program and `NODE.crt` with another.
fn certify(directory: &Path, node: &str, asks: &Program, signs: &Program) -> Result<()> {
    let (id, key) = (format!("nodeid={node}"), format!("outkey={node}.key"));
    let (req, crt) = (format!("{node}.req"), format!("outcert={node}.crt"));
    let out = format!("outreq={req}");
    let words = [
        "--cert-makereq",
        "commonname=a node",
        "bits=2048",
        &id,
        "ipaddress=127.0.0.1",
        "dnsname=localhost",
        &out,
        &key,
    ];
    run(directory, &asks.path, &words)?;
    let req = format!("req={req}");
    let words = ["--cert-signreq", &req, "cacert=ca.crt", "cakey=ca.key", &crt, "verify=true"];
    run(directory, &signs.path, &words).map(drop)
}
