//! The worked example of `docs/security.md`: its commands and files, as they stand there.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use worknode_protocol::config::{Gap, NOT_BUILT};
use worknode_tests::{Program, binaries, skipped};

use super::checked;

/// The fenced blocks of one language, each with the paragraph before it.
fn blocks<'a>(manual: &'a str, language: &str) -> Vec<(&'a str, &'a str)> {
    let fence = format!("\n```{language}\n");
    let mut found = Vec::new();
    let mut rest = manual;
    while let Some((before, after)) = rest.split_once(&fence) {
        let (block, after) = after.split_once("\n```").unwrap_or((after, ""));
        let paragraph = before.trim_end().rsplit("\n\n").next().unwrap_or_default();
        found.push((paragraph, block));
        rest = after;
    }
    found
}

#[test]
fn the_worked_example_can_be_followed() -> Result<()> {
    let manual = fs::read_to_string(binaries::workspace().join("docs/security.md"))?;
    let directory = tempfile::tempdir()?;
    let worknoded = Program::worknoded()?.path;
    let programs = worknoded.parent().context("a program without a directory")?;
    let path = format!("{}:{}", programs.display(), std::env::var("PATH")?);

    let commands: Vec<&str> = blocks(&manual, "console")
        .into_iter()
        .flat_map(|(_, block)| block.lines().filter_map(|line| line.strip_prefix("$ ")))
        .collect();
    ensure!(commands.len() >= 6, "{commands:?}");
    for command in commands {
        if command.starts_with("openssl ") && Command::new("openssl").arg("version").output().is_err() {
            skipped("openssl is not installed");
            continue;
        }
        let output = Command::new("sh").current_dir(&directory).env("PATH", &path).args(["-ec", command]).output()?;
        checked(output).context(command.to_owned())?;
    }

    let files = blocks(&manual, "yaml");
    ensure!(files.len() == 2, "{} files", files.len());
    for (paragraph, text) in files {
        let name = paragraph.split('`').nth(1).context("a file without a name")?;
        fs::write(directory.path().join(name), text)?;
        if NOT_BUILT.iter().any(|gap| matches!(gap, Gap::Action("tcp-listener" | "tcp-peer"))) {
            skipped("the mesh is not built into the daemon: the files of docs/security.md are not run");
            continue;
        }
        let output = Command::new(&worknoded).current_dir(&directory).args(["--check-config", "-c", name]).output()?;
        checked(output).context(name.to_owned())?;
    }
    Ok(())
}
