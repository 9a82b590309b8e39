//! The worked example of `docs/security.md`: its commands and files, as they stand there.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use worknode_tests::manual::{Block, blocks};
use worknode_tests::wait::{Deadline, Watch};
use worknode_tests::{Program, Session, binaries, skipped};

use super::checked;

#[test]
fn the_worked_example_can_be_followed() -> Result<()> {
    let manual = fs::read_to_string(binaries::workspace().join("docs/security.md"))?;
    let directory = tempfile::tempdir()?;
    let worknoded = Program::worknoded()?.path;
    let programs = worknoded.parent().context("a program without a directory")?;
    let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);

    let commands: Vec<&str> =
        blocks(&manual).iter().filter(|block| block.language == "console").flat_map(Block::commands).collect();
    ensure!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        if command.starts_with("openssl ") && Command::new("openssl").arg("version").output().is_err() {
            skipped("openssl is not installed");
            continue;
        }
        let output = Command::new("sh").current_dir(&directory).env("PATH", &path).args(["-ec", command]).output()?;
        checked(output).context(command.to_owned())?;
    }

    let files: Vec<Block<'_>> = blocks(&manual).into_iter().filter(|block| block.language == "yaml").collect();
    ensure!(files.len() == 2, "{} files", files.len());
    let mut nodes = Vec::new();
    for file in files {
        let name = file.name()?;
        fs::write(directory.path().join(name), file.text)?;
        let output = Command::new(&worknoded).current_dir(&directory).args(["--check-config", "-c", name]).output()?;
        checked(output).context(name.to_owned())?;
        nodes.push(Running::start(&worknoded, directory.path(), name)?);
    }
    let mut last = String::new();
    let reached = Watch::new(directory.path())?.until(Deadline::default(), "a way from the leaf to the hub", || {
        let Ok(mut session) = Session::unix(&directory.path().join("leaf.sock")) else { return Ok(None) };
        session.line()?;
        session.send(b"connect hub control mesh\n")?;
        last = session.line()?;
        if last == "Connecting" { session.line().map(Some) } else { Ok(None) }
    });
    assert_eq!(reached.context(last)?, "Receptor Control, node hub");
    let mut session = Session::unix(&directory.path().join("leaf.sock"))?;
    session.line()?;
    let without = session.ask("connect hub control")?;
    ensure!(without.starts_with("ERROR: ") && without.contains("insecure connection to secure service"), "{without}");
    Ok(())
}

/// A node that ends with the test.
struct Running(Child);

impl Running {
    fn start(program: &Path, directory: &Path, file: &str) -> Result<Self> {
        let log = fs::File::create(directory.join(format!("{file}.log")))?;
        let mut command = Command::new(program);
        command.current_dir(directory).args(["-c", file]).stdin(Stdio::null()).stdout(log);
        Ok(Self(command.spawn()?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
