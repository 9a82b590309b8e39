//! The clients' command lines: two versions of the Python client through all its commands, over each kind of socket, and
//! `ctl` through the same, which it replaces.

use anyhow::{Context, Result};
use serde_json::json;
use worknode_tests::binaries::ctl;
use worknode_tests::certificates::Certificates;
use worknode_tests::console::{Access, Client, ClientKind, older_receptorctl, play, receptorctl};
use worknode_tests::{Harness, Node, Program, skipped};

/// A node for the commands, on its Unix socket and, over TLS with certificates on both sides, on TCP.
fn with_tls(program: Program) -> Result<Node> {
    let harness = node(program)?;
    Certificates::write(harness.directory())?;
    let file = |name: &str| json!(harness.directory().join(name));
    let server = json!({
        "name": "server", "cert": file("server.pem"), "key": file("server.key"), "skipreceptornamescheck": true,
        "requireclientcert": true, "clientcas": file("ca.pem"),
    });
    // For clients that look into the node's file.
    let client = json!({
        "name": "client", "cert": file("client.pem"), "key": file("client.key"), "rootcas": file("ca.pem"),
        "skipreceptornamescheck": true,
    });
    harness.action("tls-server", server).action("tls-client", client).tcp().control("tcptls", json!("server")).start()
}

fn node(program: Program) -> Result<Harness> {
    Ok(Harness::of(program)?.command("cat", "cat").command_with_params("sh", "sh").command("absent", "/no/such/binary"))
}

/// Every command.
const COMMANDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/console/commands.txt");
/// One of each kind of exchange, for the sockets on which the bytes are the same as on the Unix socket.
const EXCHANGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/console/exchanges.txt");

fn played(path: &str, client: &Client, node: &Node, access: &Access) -> Result<()> {
    play(path, &std::fs::read_to_string(path).context(path.to_owned())?, client, node, access)
}

fn over_unix(client: Option<Client>, program: Option<Program>) -> Result<()> {
    let Some(program) = program else {
        skipped("RECEPTOR_BIN names no Go daemon");
        return Ok(());
    };
    let Some(client) = client else { return Ok(()) };
    let node = node(program)?.start()?;
    played(COMMANDS, &client, &node, &Access::unix(&node))
}

fn over_tcp(client: Option<Client>) -> Result<()> {
    let Some(client) = client else { return Ok(()) };
    let node = node(Program::worknoded()?)?.tcp().start()?;
    played(EXCHANGES, &client, &node, &Access::tcp(&node)?)
}

fn over_tls(client: Option<Client>) -> Result<()> {
    let Some(client) = client else { return Ok(()) };
    let node = with_tls(Program::worknoded()?)?;
    played(EXCHANGES, &client, &node, &Access::tls(&node)?)
}

fn our_client() -> Result<Option<Client>> {
    Ok(Some(Client { kind: ClientKind::Ctl, path: ctl()? }))
}

macro_rules! tests {
    ($($name:ident: $over:ident($($argument:expr),+);)*) => {$(
        #[test]
        fn $name() -> Result<()> {
            $over($($argument),+)
        }
    )*};
}

tests! {
    receptorctl_on_worknoded: over_unix(receptorctl(), Some(Program::worknoded()?));
    receptorctl_over_tcp: over_tcp(receptorctl());
    receptorctl_over_tls: over_tls(receptorctl());
    older_receptorctl_on_worknoded: over_unix(older_receptorctl(), Some(Program::worknoded()?));
    older_receptorctl_over_tcp: over_tcp(older_receptorctl());
    older_receptorctl_over_tls: over_tls(older_receptorctl());
    ctl_on_worknoded: over_unix(our_client()?, Some(Program::worknoded()?));
    ctl_over_tcp: over_tcp(our_client()?);
    ctl_over_tls: over_tls(our_client()?);
    receptorctl_on_receptor: over_unix(receptorctl(), Program::receptor());
    ctl_on_receptor: over_unix(our_client()?, Program::receptor());
}

/// The certificates are found by the name of a `tls-client` in the node's own file.
#[test]
fn certificates_are_looked_up_in_the_nodes_file() -> Result<()> {
    let node = with_tls(Program::worknoded()?)?;
    // The Python client stumbles over an item that is a bare word before the one it looks for (control-protocol 6.1);
    // the file has none.
    let options = ["--config".to_owned(), node.config().to_string_lossy().into_owned()];
    let named = ["--tls-client".to_owned(), "client".to_owned()];
    let access = Access { options: [options, named].concat(), ..Access::tls(&node)? };
    let script = "== By name\n$ ctl ping n1 --count 1\n1> Reply from n1 in <duration>\n";
    for client in [receptorctl(), older_receptorctl(), our_client()?].into_iter().flatten() {
        play("by name", script, &client, &node, &access).with_context(|| client.path.display().to_string())?;
    }
    Ok(())
}
