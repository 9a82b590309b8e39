//! The clients' command lines: the Python client from PyPI through all its commands, and `ctl` through the same, which it
//! replaces.

use anyhow::{Context, Result};
use worknode_tests::binaries::{ctl, workspace};
use worknode_tests::console::{Client, ClientKind, play, receptorctl};
use worknode_tests::{Harness, Program, skipped};

fn played(client: &Client, program: Program) -> Result<()> {
    let node = Harness::of(program)?
        .command("cat", "cat")
        .command_with_params("sh", "sh")
        .command("absent", "/no/such/binary")
        .start()?;
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/console/commands.txt");
    play("commands", &std::fs::read_to_string(path).context(path)?, client, &node)
}

/// The Python client, or the reason why there is none, printed. `.ci/run` provides it.
fn python_client() -> Option<Client> {
    receptorctl(&workspace().join("target")).map_err(|error| skipped(format_args!("no receptorctl: {error:#}"))).ok()
}

#[test]
fn receptorctl_on_worknoded() -> Result<()> {
    python_client().map_or(Ok(()), |client| played(&client, Program::worknoded()?))
}

#[test]
fn ctl_on_worknoded() -> Result<()> {
    played(&Client { kind: ClientKind::Ctl, path: ctl()? }, Program::worknoded()?)
}

#[test]
fn ctl_on_receptor() -> Result<()> {
    let Some(receptor) = Program::receptor() else {
        skipped("RECEPTOR_BIN names no Go daemon");
        return Ok(());
    };
    played(&Client { kind: ClientKind::Ctl, path: ctl()? }, receptor)
}

#[test]
fn receptorctl_on_receptor() -> Result<()> {
    match (Program::receptor(), python_client()) {
        (Some(receptor), Some(client)) => played(&client, receptor),
        (None, _) => {
            skipped("RECEPTOR_BIN names no Go daemon");
            Ok(())
        }
        (_, None) => Ok(()),
    }
}
