//! The control protocol, byte for byte: every file in `data/transcripts` is played on the daemon, and on the Go daemon
//! named by `RECEPTOR_BIN` where that is set, so that the transcripts are known to be true.

use anyhow::{Context, Result};
use serde_json::json;
use worknode_tests::transcript::{Script, play};
use worknode_tests::{Harness, Program};

/// A node with the work types that the transcripts name.
fn harness(program: Program) -> Result<Harness> {
    Ok(Harness::of(program)?
        .command("cat", "cat")
        .command_with_params("sh", "sh")
        .command("absent", "/no/such/binary")
        .command("unfound", "no-such-program-on-the-path"))
}

/// The same with a type that wants signatures, and a TCP port, where they are asked for.
fn signing_harness(program: Program) -> Result<Harness> {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/data/signature/verify.pub.pem");
    let signed = json!({"worktype": "signed", "command": "cat", "verifysignature": true});
    Ok(harness(program)?.action("work-verification", json!({"publickey": key})).action("work-command", signed).tcp())
}

fn script(name: &str) -> Result<Script> {
    let path = format!("{}/data/transcripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    Script::parse(name, &std::fs::read_to_string(&path).with_context(|| path.clone())?)
}

fn on(program: Program, name: &str) -> Result<()> {
    if name != "signature" {
        return play(&script(name)?, &harness(program)?.start()?);
    }
    play(&script(name)?, &signing_harness(program)?.start()?)
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        /// Every transcript by its file's name.
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        mod worknoded {
            $(#[test]
            fn $name() -> anyhow::Result<()> {
                super::on(worknode_tests::Program::worknoded()?, stringify!($name))
            })*
        }

        mod receptor {
            $(#[test]
            fn $name() -> anyhow::Result<()> {
                match worknode_tests::Program::receptor() {
                    Some(receptor) => super::on(receptor, stringify!($name)),
                    None => {
                        worknode_tests::skipped("RECEPTOR_BIN names no Go daemon");
                        Ok(())
                    }
                }
            })*
        }
    };
}

transcripts! { session ping status traceroute connect reload work_forms submit cancel results signature }

#[test]
fn every_file_is_played() -> Result<()> {
    let directory = format!("{}/data/transcripts", env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        files.push(path.file_stem().context("a name")?.to_string_lossy().into_owned());
    }
    files.sort_unstable();
    let mut names = NAMES.to_vec();
    names.sort_unstable();
    assert_eq!(files, names);
    Ok(())
}
