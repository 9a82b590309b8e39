//! A peer that speaks the mesh's framing by hand, and says what the test wants.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use worknode_protocol::mesh::{DataHeader, MAX_HOPS, MessageType, RoutingUpdate, ServiceName, name_hash};
use worknode_tests::wait::PATIENCE;

/// A link over TCP.
pub(crate) struct Raw {
    socket: TcpStream,
    name: String,
    epoch: u64,
    sequence: u64,
    /// What has come, until the link ends: it is read at once, so that the node never waits for this peer.
    pub(crate) came: Receiver<Vec<u8>>,
}

impl Raw {
    /// A connection on which nothing has been said yet.
    pub(crate) fn connect(port: u16, name: &str) -> Result<Self> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let mut reader = socket.try_clone()?;
        let (sender, came) = channel();
        std::thread::spawn(move || {
            let mut length = [0; 2];
            while reader.read_exact(&mut length).is_ok() {
                let mut message = vec![0; usize::from(u16::from_le_bytes(length))];
                if reader.read_exact(&mut message).is_err() || sender.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Self { socket, name: name.to_owned(), epoch: 1 << 54, sequence: 0, came })
    }

    /// A link that both sides have accepted.
    pub(crate) fn join(port: u16, name: &str, node: &str) -> Result<Self> {
        Self::join_as(port, name, node, 1 << 54)
    }

    /// The same with an epoch.
    pub(crate) fn join_as(port: u16, name: &str, node: &str, epoch: u64) -> Result<Self> {
        let mut raw = Self::connect(port, name)?;
        raw.epoch = epoch;
        raw.greet(&[])?;
        raw.greet(&[node])?;
        raw.update_of(node, |update| update.connections.contains_key(name))?;
        Ok(raw)
    }

    /// The next update of a node that is as wanted.
    pub(crate) fn update_of(&self, node: &str, wanted: impl Fn(&RoutingUpdate) -> bool) -> Result<RoutingUpdate> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let message = self.came.recv_timeout(left).with_context(|| format!("an update of {node}"))?;
            if let Ok(update) = RoutingUpdate::decode(&message)
                && update.node_id == node
                && wanted(&update)
            {
                return Ok(update);
            }
        }
    }

    /// How many of the messages that come in a time are as wanted.
    pub(crate) fn count(&self, time: Duration, wanted: impl Fn(&[u8]) -> bool) -> usize {
        let end = Instant::now() + time;
        let mut count = 0;
        while let Ok(message) = self.came.recv_timeout(end.saturating_duration_since(Instant::now())) {
            count += usize::from(wanted(&message));
        }
        count
    }

    /// Waits until the node has ended the link; the last message before.
    pub(crate) fn end(&self) -> Result<Vec<u8>> {
        let end = Instant::now() + PATIENCE;
        let mut last = Vec::new();
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            match self.came.recv_timeout(left) {
                Ok(message) => last = message,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Ok(last),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => break,
            }
        }
        bail!("the link has not been ended")
    }

    /// An update in this peer's own name.
    pub(crate) fn greet(&mut self, connections: &[&str]) -> Result<()> {
        self.sequence += 1;
        let connections = connections.iter().map(|name| ((*name).to_owned(), 1.0)).collect();
        let name = self.name.clone();
        self.update(&name, self.epoch, self.sequence, connections, 0)
    }

    /// An update in anybody's name.
    pub(crate) fn update(
        &mut self,
        node: &str,
        epoch: u64,
        sequence: u64,
        connections: BTreeMap<String, f64>,
        suspected_duplicate: u64,
    ) -> Result<()> {
        let update = RoutingUpdate {
            node_id: node.to_owned(),
            // The same for no two updates of a test.
            update_id: format!("{node}{epoch:x}{sequence:x}"),
            update_epoch: epoch,
            update_sequence: sequence,
            connections,
            forwarding_node: self.name.clone(),
            suspected_duplicate,
            ..RoutingUpdate::default()
        };
        self.send(&update.encode().context("too long an update")?)
    }

    /// A datagram in anybody's name.
    pub(crate) fn data(&mut self, from: (&str, &str), to: (&str, &str), payload: &[u8]) -> Result<()> {
        let header = DataHeader {
            hops_to_live: MAX_HOPS,
            from_node: name_hash(from.0),
            to_node: name_hash(to.0),
            from_service: ServiceName::parse(from.1)?,
            to_service: ServiceName::parse(to.1)?,
        };
        self.send(&[&header.encode(), payload].concat())
    }

    /// A message with its length before it.
    pub(crate) fn send(&mut self, message: &[u8]) -> Result<()> {
        let length = u16::try_from(message.len())?.to_le_bytes();
        self.bytes(&[&length, message].concat())
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.socket.write_all(bytes).context("sending")
    }
}

/// Whether a message is a datagram.
pub(crate) fn is_data(message: &[u8]) -> bool {
    MessageType::of(message) == Some(MessageType::Data)
}

/// A WebSocket whose handshake is over, and bytes may be sent.
pub(crate) fn websocket(port: u16) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let request = "GET / HTTP/1.1\r\nHost: n1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte).context("the answer to the WebSocket's request")?;
        answer.extend(byte);
    }
    anyhow::ensure!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    Ok(socket)
}
