//! IP packets through the mesh, between network namespaces: mesh-protocol 8.3.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use worknode_tests::wait::{Deadline, Watch};
use worknode_tests::{Kind, Program, binaries, skipped};

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A network namespace, there as long as the process that holds it.
struct Namespace(Process);

impl Namespace {
    fn new() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sleep", "600"]).stdin(Stdio::null());
        Ok(Self(Process(command.spawn()?)))
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &self.0.0.id().to_string()]).arg(program).stdin(Stdio::null());
        command
    }

    fn ip(&self, words: &str) -> Result<()> {
        let output = self.command("ip").args(words.split(' ')).output()?;
        ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// Whether namespaces, devices and tunnels can be made here.
fn possible() -> bool {
    let script = "ip link add va type veth peer name vb && ip tuntap add dev tun0 mode tun";
    let tried = Command::new("unshare").args(["--net", "sh", "-c", script]).output();
    tried.is_ok_and(|output| output.status.success())
}

/// Two namespaces with a cable between them.
fn cabled() -> Result<(Namespace, Namespace)> {
    let (one, other) = (Namespace::new()?, Namespace::new()?);
    // `unshare` may not have become another namespace's yet.
    let own = fs::read_link("/proc/self/ns/net")?;
    for side in [&one, &other] {
        let link = format!("/proc/{}/ns/net", side.0.0.id());
        let ready = || Ok(fs::read_link(&link).is_ok_and(|it| it != own).then_some(()));
        Watch::new(Path::new("/tmp"))?.until(Deadline::default(), "a network namespace", ready)?;
    }
    one.ip(&format!("link add va type veth peer name vb netns {}", other.0.0.id()))?;
    for (side, device, address) in [(&one, "va", "192.0.2.1/24"), (&other, "vb", "192.0.2.2/24")] {
        side.ip("link set lo up")?;
        side.ip(&format!("addr add {address} dev {device}"))?;
        side.ip(&format!("link set {device} up"))?;
    }
    Ok((one, other))
}

fn start(namespace: &Namespace, program: &Program, directory: &Path, id: &str, actions: &str) -> Result<Process> {
    let config = format!(
        "- node: {{id: {id}, datadir: {id}}}\n- log-level: info\n{actions}\n\
         - control-service: {{service: control, filename: {id}.sock, tcplisten: '0.0.0.0:7777'}}\n"
    );
    fs::write(directory.join(format!("{id}.yml")), config)?;
    let log = fs::File::create(directory.join(format!("{id}.log")))?;
    let mut command = namespace.command(&program.path);
    command.current_dir(directory).args(["-c", &format!("{id}.yml")]).stdout(log.try_clone()?).stderr(log);
    Ok(Process(command.spawn()?))
}

/// From each side, the control service of the other node answers under the address of its tunnel.
fn packets_pass(first: &Program, second: &Program) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let (one, other) = cabled()?;
    let actions = "- tcp-listener: {port: 7700}\n\
                   - ip-router: {networkname: net, localnet: 10.9.1.0/30, routes: '10.10.0.0/16', interface: mesh}";
    let _one = start(&one, first, path, "one", actions)?;
    let actions = "- tcp-peer: {address: '192.0.2.1:7700'}\n- ip-router: {networkname: net, localnet: 10.9.2.0/30}";
    let _other = start(&other, second, path, "other", actions)?;
    let ctl = binaries::ctl()?;
    for (side, address, node) in [(&one, "10.9.2.1", "other"), (&other, "10.9.1.1", "one")] {
        let answered = || {
            let mut command = side.command("timeout");
            command.arg("2").arg(&ctl).args(["--socket", &format!("tcp://{address}:7777"), "status"]);
            let output = command.output()?;
            Ok(String::from_utf8_lossy(&output.stdout).contains(&format!("Node ID: {node}")).then_some(()))
        };
        let logs = || ["one", "other"].map(|id| fs::read_to_string(path.join(format!("{id}.log"))).unwrap_or_default());
        Watch::new(path)?
            .until(Deadline::default(), "an answer through the tunnel", answered)
            .with_context(|| logs().join("\n---\n"))?;
    }
    // The advertised network has a route, by the tunnel.
    let routes = other.command("ip").args(["route", "show", "10.10.0.0/16"]).output()?;
    ensure!(String::from_utf8_lossy(&routes.stdout).contains("via 10.9.2.2 dev tun"), "{routes:?}");
    if first.kind == Kind::Worknoded {
        // A Go node does not look at the name.
        one.ip("link show mesh")?;
    }
    Ok(())
}

#[test]
fn packets_pass_through_the_mesh() -> Result<()> {
    if !possible() {
        skipped("network namespaces and tun devices cannot be made here");
        return Ok(());
    }
    let ours = Program::worknoded()?;
    packets_pass(&ours, &ours)?;
    match Program::receptor() {
        None => skipped("RECEPTOR_BIN is not set"),
        Some(go) => {
            packets_pass(&ours, &go)?;
            packets_pass(&go, &ours)?;
        }
    }
    Ok(())
}
