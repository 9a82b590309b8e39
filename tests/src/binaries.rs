//! Which programs the tests run, and where they are.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// Which implementation of the protocol a program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This project's daemon.
    Worknoded,
    /// The Go daemon that it replaces.
    Receptor,
}

impl Kind {
    /// The name used in transcripts and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Worknoded => "worknoded",
            Self::Receptor => "receptor",
        }
    }
}

/// A daemon that can be started.
#[derive(Debug, Clone)]
pub struct Program {
    /// Which implementation it is.
    pub kind: Kind,
    /// The executable.
    pub path: PathBuf,
}

impl Program {
    /// The daemon under test: `WORKNODED_BIN`, or else built from this workspace.
    ///
    /// # Errors
    /// Fails if the build fails; the compiler's words are on stderr.
    pub fn worknoded() -> Result<Self> {
        Ok(Self { kind: Kind::Worknoded, path: binary("WORKNODED_BIN", "worknoded")? })
    }

    /// The daemon as it is shipped, for measuring: `WORKNODED_BIN`, or else built with optimisation.
    ///
    /// # Errors
    /// Fails if the build fails; the compiler's words are on stderr.
    pub fn worknoded_release() -> Result<Self> {
        let path = match std::env::var_os("WORKNODED_BIN") {
            Some(path) => path.into(),
            None => named(&build(true)?, "worknoded")?,
        };
        Ok(Self { kind: Kind::Worknoded, path })
    }

    /// The Go daemon named by `RECEPTOR_BIN`, if that is set.
    #[must_use]
    pub fn receptor() -> Option<Self> {
        let path = std::env::var_os("RECEPTOR_BIN")?;
        Some(Self { kind: Kind::Receptor, path: path.into() })
    }
}

/// The client under test: `CTL_BIN`, or else built from this workspace.
///
/// # Errors
/// Fails if the build fails; the compiler's words are on stderr.
pub fn ctl() -> Result<PathBuf> {
    binary("CTL_BIN", "ctl")
}

/// Builds `worknoded` and `ctl` in the given profile and says where they are. Only the first build of a process costs
/// more than a look at the sources.
///
/// # Errors
/// Fails if cargo cannot be run or the build fails.
pub fn build(release: bool) -> Result<Vec<PathBuf>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
        .args(["-p", "worknode-daemon", "-p", "worknode-ctl", "--bins"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    if release {
        cargo.arg("--release");
    }
    let output = cargo.output().context("running cargo build")?;
    if !output.status.success() {
        bail!("cargo build of worknoded and ctl: {}", output.status);
    }
    Ok(executables(&output.stdout))
}

/// The directory of the workspace's `Cargo.toml`.
#[must_use]
pub fn workspace() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

fn binary(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable) {
        return Ok(path.into());
    }
    static BUILT: OnceLock<Result<Vec<PathBuf>, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build(!cfg!(debug_assertions)).map_err(|error| format!("{error:#}")));
    match built {
        Ok(paths) => named(paths, name),
        Err(error) => bail!("{error} ({variable} is not set)"),
    }
}

fn named(built: &[PathBuf], name: &str) -> Result<PathBuf> {
    let found = built.iter().find(|path| path.file_name().is_some_and(|file| file == name));
    found.cloned().with_context(|| format!("cargo built no {name}"))
}

/// The executables among cargo's messages, one JSON object a line (`--message-format=json`).
#[must_use]
pub fn executables(messages: &[u8]) -> Vec<PathBuf> {
    messages
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .collect()
}
