//! `docs/upgrade-from-receptor.md`: its commands and files as they stand there, in a directory of the test's own and with a
//! stand-in for the service manager, while a job runs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use worknode_tests::binaries::{ctl, workspace};
use worknode_tests::manual::{Block, blocks};
use worknode_tests::{Harness, Node, Program, State, skipped};

/// Knows one service: what its file and the drop-ins say last is what it starts. Waits until clients are served.
const SYSTEMCTL: &str = r#"#!/bin/sh
set -eu
case "$1" in
daemon-reload) exit ;;
esac
if [ -e "$ROOT/pid" ]; then
    pid=$(cat "$ROOT/pid")
    kill "$pid"
    while [ -d "/proc/$pid" ] && ! grep -q '^State:.Z' "/proc/$pid/status"; do sleep 0.02; done
fi
units="$ROOT/etc/systemd/system"
program=$(cat "$units/receptor.service" "$units"/receptor.service.d/*.conf 2>/dev/null | sed -n 's/^ExecStart=//p' | tail -n 1)
$program >>"$ROOT/log" 2>&1 </dev/null &
echo $! >"$ROOT/pid"
until ctl --socket "$ROOT/var/run/receptor/receptor.sock" status >"$ROOT/started" 2>&1; do sleep 0.05; done
"#;

/// A machine on which receptor is a service.
struct Machine {
    node: Node,
}

impl Machine {
    fn new(receptor: &Program) -> Result<Self> {
        // The node is started by the service manager; the harness knows where it is and takes it away.
        let node = Harness::new()?.command_with_params("sh", "sh").prepare()?;
        let root = node.root().to_owned();
        for directory in
            ["etc/receptor", "etc/systemd/system/receptor.service.d", "var/lib", "var/run/receptor", "usr/bin"]
        {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::rename(node.config(), root.join("etc/receptor/receptor.conf"))?;
        symlink(node.socket(), root.join("var/run/receptor/receptor.sock"))?;
        symlink(&receptor.path, root.join("usr/bin/receptor"))?;
        symlink(Program::worknoded()?.path, root.join("usr/bin/worknoded"))?;
        symlink(ctl()?, root.join("usr/bin/ctl"))?;
        fs::write(root.join("usr/bin/systemctl"), SYSTEMCTL)?;
        fs::set_permissions(root.join("usr/bin/systemctl"), fs::Permissions::from_mode(0o755))?;
        let machine = Self { node };
        machine.write(
            "/etc/systemd/system/receptor.service",
            "[Service]\nExecStart=/usr/bin/receptor -c /etc/receptor/receptor.conf",
        )?;
        machine.run("systemctl start receptor")?;
        Ok(machine)
    }

    /// The page's absolute paths, below the root of this machine.
    fn here(&self, text: &str) -> String {
        let root = self.node.root().display();
        ["/etc/", "/var/", "/usr/bin/"]
            .iter()
            .fold(text.to_owned(), |text, place| text.replace(place, &format!("{root}{place}")))
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.here(file), format!("{}\n", self.here(text))).context(file.to_owned())
    }

    fn run(&self, command: &str) -> Result<()> {
        let root = self.node.root();
        let path = format!("{}:{}", root.join("usr/bin").display(), std::env::var("PATH")?);
        let output = Command::new("timeout")
            .args(["60", "sh", "-ec", &self.here(command)])
            .current_dir(root)
            .env("PATH", path)
            .env("ROOT", root)
            .env("WORKNODE_TEST_NODE", root)
            .output()?;
        let words = [output.stdout, output.stderr].map(|words| String::from_utf8_lossy(&words).into_owned());
        ensure!(output.status.success(), "{command}: {}\n{}\n{}", output.status, words.concat(), self.node.log_tail());
        Ok(())
    }

    fn follow(&self, part: &[Block<'_>]) -> Result<()> {
        for block in part {
            match block.language {
                "ini" => self.write(block.name()?, block.text)?,
                "console" => block.commands().try_for_each(|command| self.run(command))?,
                other => anyhow::bail!("a block of {other}"),
            }
        }
        Ok(())
    }

    /// Whether the service runs this program.
    fn runs(&self, program: &str) -> Result<bool> {
        let pid = fs::read_to_string(self.node.root().join("pid"))?;
        let running = fs::read_link(Path::new("/proc").join(pid.trim()).join("exe"))?;
        Ok(running == fs::canonicalize(self.node.root().join("usr/bin").join(program))?)
    }

    /// A job that runs until its file is there.
    fn job(&self, name: &str) -> Result<String> {
        let gate = self.node.root().join(name);
        let script = format!("-c 'cat; until [ -e {} ]; do sleep 0.05; done; echo over'", gate.display());
        let unit = self.node.submit_with("sh", &[("params", &script)], b"begun\n")?;
        self.node.wait_status(&unit, |status| status.state == State::Running && status.stdout_size > 0)?;
        Ok(unit)
    }

    fn job_ends(&self, name: &str, unit: &str) -> Result<()> {
        fs::write(self.node.root().join(name), "")?;
        let status = self.node.wait_status(unit, |status| status.state.ended())?;
        ensure!(status.state == State::Succeeded, "{status}");
        ensure!(self.node.results(unit)? == b"begun\nover\n");
        Ok(())
    }

    fn list(&self, file: &str) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.here(file))?)?)
    }
}

#[test]
fn the_page_can_be_followed_there_and_back_while_jobs_run() -> Result<()> {
    let receptor = match Program::receptor() {
        Some(receptor) => receptor,
        None => {
            skipped("RECEPTOR_BIN names no Go daemon; worknoded stands in for it where the upgrade's page is tried");
            Program::worknoded()?
        }
    };
    let page = fs::read_to_string(workspace().join("docs/upgrade-from-receptor.md"))?;
    let (there, back) = page.split_once("\n## 5. The way back").context("no way back")?;
    let machine = Machine::new(&receptor)?;
    ensure!(machine.runs("receptor")?);
    let ended = machine.node.submit_with("sh", &[("params", "-c 'echo x; exit 3'")], b"")?;
    machine.node.wait_status(&ended, |status| status.state.ended() && status.extra.is_null())?;
    let first = machine.job("first")?;

    machine.follow(&blocks(there))?;
    ensure!(machine.runs("worknoded")?);
    let (before, after) =
        (machine.list("/var/lib/receptor.before.json")?, machine.list("/var/lib/receptor.after.json")?);
    ensure!(before[&ended] == after[&ended], "{before} {after}");
    ensure!(after[&first]["StateName"] == "Running", "{after}");
    machine.job_ends("first", &first)?;
    let second = machine.job("second")?;

    machine.follow(&blocks(back))?;
    ensure!(machine.runs("receptor")?);
    ensure!(machine.node.status(&second)?.state == State::Running);
    machine.job_ends("second", &second)?;
    ensure!(machine.node.results(&first)? == b"begun\nover\n");
    for unit in [ended, first, second] {
        machine.node.release(&unit)?;
    }
    ensure!(machine.node.list()?.is_empty());
    Ok(())
}
