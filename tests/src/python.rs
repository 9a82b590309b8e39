//! Programs from PyPI, unchanged, each in a virtual environment of its own below `target/python`. They are installed once
//! with pip and kept; a test that cannot have one is skipped and says why.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::binaries::workspace;
use crate::skipped;

/// The file that says that an environment is whole, and of what. Environments cannot be moved: it names the place, too.
const WHOLE: &str = "worknode-environment";

/// What belongs into one environment.
#[derive(Debug, Clone, Copy)]
pub struct Packages {
    /// The directory's name.
    name: &'static str,
    /// For pip.
    requirements: &'static [&'static str],
}

/// The client that the reference was written with.
pub const RECEPTORCTL: Packages = Packages { name: "receptorctl-1.6.9", requirements: &["receptorctl==1.6.9"] };

/// The client of the receptor that the reference was written with.
pub const RECEPTORCTL_1_4: Packages = Packages { name: "receptorctl-1.4.9", requirements: &["receptorctl==1.4.9"] };

/// What AWX runs on its nodes: the program that `work-command` calls, and Ansible itself.
pub const ANSIBLE_RUNNER: Packages =
    Packages { name: "ansible-runner", requirements: &["ansible-runner==2.4.3", "ansible-core==2.19.14"] };

/// All of them.
pub const ALL: [Packages; 3] = [RECEPTORCTL, RECEPTORCTL_1_4, ANSIBLE_RUNNER];

/// The environment with these packages, or nothing, and a reason printed.
#[must_use]
pub fn environment(packages: Packages) -> Option<Environment> {
    packages.install().map_err(|error| skipped(format_args!("no {}: {error:#}", packages.name))).ok()
}

/// Whether there is a Python that can make environments.
#[must_use]
pub fn is_there() -> bool {
    let asked = Command::new("python3").args(["-c", "import venv, ensurepip"]).output();
    asked.is_ok_and(|output| output.status.success())
}

/// An environment in which packages are installed.
#[derive(Debug, Clone)]
pub struct Environment {
    root: PathBuf,
}

impl Environment {
    /// The directory of its programs.
    #[must_use]
    pub fn programs(&self) -> PathBuf {
        self.root.join("bin")
    }

    /// One of its programs.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs().join(name)
    }
}

impl Packages {
    /// The environment, made where it is not whole.
    ///
    /// # Errors
    /// Fails with the reason if it cannot be made.
    pub fn install(self) -> Result<Environment> {
        ensure!(is_there(), "there is no python3 with venv");
        let place = workspace().join("target/python");
        std::fs::create_dir_all(&place)?;
        // Several tests want it at once.
        let lock = File::create(place.join(format!("{}.lock", self.name)))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let root = place.join(self.name);
        let whole = format!("{} {}\n", root.display(), self.requirements.join(" "));
        if !std::fs::read_to_string(root.join(WHOLE)).is_ok_and(|found| found == whole) {
            self.make(&root).with_context(|| format!("installing {}", self.requirements.join(" ")))?;
            std::fs::write(root.join(WHOLE), whole)?;
        }
        Ok(Environment { root })
    }

    fn make(self, root: &Path) -> Result<()> {
        succeed(Command::new("python3").args(["-m", "venv", "--clear"]).arg(root))?;
        let mut pip = Command::new(root.join("bin/pip"));
        succeed(pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(self.requirements))
    }
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
