//! The stages, in an order in which a change that is wrong fails early.

use std::process::Command;

use anyhow::Result;
use worknode_tests::binaries::workspace;
use worknode_tests::python;

use super::cluster::{self, Preparation};
use super::{cargo, succeed};

/// How a stage that has not failed has ended.
pub(super) enum Ended {
    Passed,
    Skipped(String),
}

/// One stage.
pub(super) struct Stage {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) run: fn(&mut Context) -> Result<Ended>,
}

/// What stages leave for later ones.
pub(super) struct Context {
    /// The real cluster, built beside the other stages.
    pub(super) cluster: Option<Preparation>,
}

impl Context {
    pub(super) fn new() -> Self {
        Self { cluster: None }
    }
}

pub(super) const STAGES: [Stage; 8] = [
    Stage { name: "fmt", what: "the sources are formatted", run: fmt },
    Stage { name: "clippy", what: "no warning in any target", run: clippy },
    Stage { name: "client", what: "the clients from PyPI are installed", run: client },
    Stage { name: "test", what: "the tests, as the README says", run: test },
    Stage { name: "docs", what: "the documentation builds without a warning", run: docs },
    Stage { name: "fuzz", what: "the fuzz targets build", run: fuzz },
    Stage { name: "deny", what: "licences, sources and advisories of dependencies", run: deny },
    Stage { name: cluster::NAME, what: "the Kubernetes tests on a real cluster", run: cluster::run },
];

fn fmt(_: &mut Context) -> Result<Ended> {
    succeed(&mut cargo(&["fmt", "--all", "--check"]))?;
    Ok(Ended::Passed)
}

fn clippy(_: &mut Context) -> Result<Ended> {
    succeed(&mut cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))?;
    Ok(Ended::Passed)
}

/// Installs the clients from PyPI, so that no test of them is skipped.
fn client(_: &mut Context) -> Result<Ended> {
    if !python::is_there() {
        return Ok(Ended::Skipped(
            "there is no python3 with venv: nothing is tested with the clients from PyPI".to_owned(),
        ));
    }
    for packages in python::ALL {
        packages.install()?;
    }
    Ok(Ended::Passed)
}

fn test(_: &mut Context) -> Result<Ended> {
    succeed(&mut cargo(&["xtask", "test"]))?;
    Ok(Ended::Passed)
}

fn docs(_: &mut Context) -> Result<Ended> {
    succeed(
        cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    Ok(Ended::Passed)
}

/// The targets are checked, not run: running them needs a nightly compiler.
fn fuzz(_: &mut Context) -> Result<Ended> {
    if !workspace().join("fuzz/Cargo.toml").exists() {
        return Ok(Ended::Skipped("there is no fuzz/ yet".to_owned()));
    }
    let mut check = cargo(&["check", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"]);
    succeed(check.arg(workspace().join("target/fuzz")))?;
    Ok(Ended::Passed)
}

fn deny(_: &mut Context) -> Result<Ended> {
    let there = Command::new("cargo-deny").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        return Ok(Ended::Skipped("cargo-deny is not installed (cargo install --locked cargo-deny)".to_owned()));
    }
    succeed(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]))?;
    // The list of advisories is fetched from the network each time.
    let fetched = cargo(&["deny", "fetch", "db"]).output().is_ok_and(|output| output.status.success());
    if !fetched {
        return Ok(Ended::Skipped("only advisories: their database cannot be fetched; all else passed".to_owned()));
    }
    succeed(&mut cargo(&["deny", "check", "advisories"]))?;
    Ok(Ended::Passed)
}
