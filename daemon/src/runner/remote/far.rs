//! The other node: connections to its control service. What it says is a stranger's word: bounded, and read as a whole or
//! not at all.

use std::{fmt::Display, path::PathBuf, sync::Arc, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use worknode_mesh::{Stream, tls};
use worknode_protocol::{
    control::{
        ConnectError, RemoteError, Request, SignatureError, WorkRequest,
        client::{Client, ClientError, Event, Refused},
    },
    unit::RemoteExtra,
};

use super::{Host, Patience};

/// The control service of every node.
const SERVICE: &str = "control";
/// Longest answer taken, in bytes: a status with what an API server or a program wrote into its detail.
const LONGEST_ANSWER: usize = 1 << 20;
const READ: usize = 16 * 1024;

/// Why the other node could not be spoken with.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// It is out of reach, or the connection broke; this passes.
    #[error("{0}")]
    Unreachable(String),
    /// One of the two does not trust the other.
    #[error("{0}")]
    Tls(String),
    /// It said what makes no sense.
    #[error("{0}")]
    Nonsense(String),
    /// A file here cannot be written or read.
    #[error("{0}")]
    Disk(String),
    /// Requests cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignatureError),
}

impl Fault {
    pub(super) fn unreachable(why: impl Display) -> Self {
        Self::Unreachable(why.to_string())
    }

    pub(super) fn nonsense(why: impl Display) -> Self {
        Self::Nonsense(why.to_string())
    }
}

impl From<ClientError> for Fault {
    fn from(fault: ClientError) -> Self {
        match fault {
            ClientError::Closed => Self::unreachable(fault),
            _ => Self::nonsense(fault),
        }
    }
}

/// A node, and how to speak with it.
#[derive(Clone)]
pub(super) struct Far {
    host: Arc<Host>,
    node: String,
    tls_client: String,
    sign: bool,
}

impl Far {
    pub(super) fn of(host: &Arc<Host>, extra: &RemoteExtra) -> Self {
        Self {
            host: host.clone(),
            node: extra.remote_node.clone(),
            tls_client: extra.tls_client.clone(),
            sign: extra.sign_work,
        }
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    pub(super) fn patience(&self) -> &Patience {
        &self.host.patience
    }

    /// Returns when a way to the node appears that is not there now; never where there is one.
    pub(super) async fn way_appears(&self) {
        if self.host.mesh.cost_to(&self.node).is_some() {
            std::future::pending::<()>().await;
        }
        self.host.mesh.reachable(&self.node).await;
    }

    /// Whether a submit can be signed only when its payload is whole.
    pub(super) fn needs_payload(&self) -> bool {
        self.sign && self.host.signer.needs_payload()
    }

    /// The request, with a fresh token where requests are signed; `payload` is that of a submit.
    pub(super) async fn signed(
        &self,
        request: WorkRequest,
        payload: Option<PathBuf>,
    ) -> Result<Request, SignatureError> {
        let signed = if self.sign { self.host.signer.signed(request, &self.node, payload).await? } else { request };
        Ok(Request::Work(signed))
    }

    /// Opens a connection and takes the greeting.
    pub(super) async fn connect(&self) -> Result<Connection, Fault> {
        let tls = self.tls().await?;
        let dialled = self.host.mesh.dial(&self.node, SERVICE, tls.as_deref()).await;
        let stream = dialled.map_err(|fault| match fault {
            ConnectError::Other(words) if words.contains("CRYPTO_ERROR") => Fault::Tls(words),
            fault => Fault::unreachable(fault),
        })?;
        let mut connection = Connection {
            stream: Some(stream),
            client: Client::new().with_max_answer_bytes(LONGEST_ANSWER),
            read: BytesMut::new(),
        };
        let unfit =
            |got: &str| Fault::unreachable(RemoteError::WrongNode { expected: self.node.clone(), got: got.to_owned() });
        match connection.event(self.patience().greeting).await {
            Ok(Event::Greeted { node }) if node == self.node => Ok(connection),
            Ok(Event::Greeted { node }) => Err(unfit(&node)),
            Ok(Event::Refused(words)) => Err(Fault::unreachable(words)),
            Ok(_) | Err(Fault::Nonsense(_)) => Err(unfit("something else than a greeting")),
            Err(fault) => Err(fault),
        }
    }

    async fn tls(&self) -> Result<Option<Arc<tls::Client>>, Fault> {
        if self.tls_client.is_empty() {
            return Ok(None);
        }
        let (named, wanted) = (self.host.tls.clone(), self.tls_client.clone());
        // The system's authorities may have to be read.
        let found = tokio::task::spawn_blocking(move || named.client(&wanted)).await.map_err(Fault::unreachable)?;
        let found = found.map_err(|fault| Fault::Tls(fault.to_string()))?;
        found.map(Some).ok_or_else(|| Fault::Tls(ConnectError::UnknownTlsConfig(self.tls_client.clone()).to_string()))
    }

    /// Asks one thing on a connection of its own.
    pub(super) async fn ask_once(&self, request: &Request) -> Result<Event, Fault> {
        let mut connection = self.connect().await?;
        let event = connection.ask(request, self.patience().answer).await?;
        connection.end().await;
        Ok(event)
    }
}

/// The words of a refusal from the seventh character of its line on, with the line feed that ended it (control-protocol 3.9).
pub(super) fn tail(refused: &Refused) -> String {
    let mut rest = refused.line().chars();
    rest.by_ref().take(6).for_each(drop);
    format!("{}\n", rest.as_str())
}

/// A connection to the control service of another node. One that is dropped is aborted: the other side must not take what
/// was sent of a payload for all of it.
pub(super) struct Connection {
    /// There until the end.
    stream: Option<Stream>,
    client: Client,
    read: BytesMut,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(stream) = self.stream.take() {
            stream.abort("no longer needed");
        }
    }
}

impl Connection {
    /// Gives a command and waits for the answer.
    pub(super) async fn ask(&mut self, request: &Request, within: Duration) -> Result<Event, Fault> {
        let line = self.client.command(request)?;
        self.send(line.as_bytes()).await?;
        self.event(within).await
    }

    /// Sends bytes of a command or a payload.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let stream = self.stream()?;
        stream.write_all(bytes).await.map_err(Fault::unreachable)?;
        stream.flush().await.map_err(Fault::unreachable)
    }

    /// Ends the payload.
    pub(super) async fn finish_payload(&mut self) -> Result<(), Fault> {
        self.stream()?.shutdown().await.map_err(Fault::unreachable)?;
        Ok(self.client.payload_sent()?)
    }

    /// The next thing that the other node says.
    pub(super) async fn event(&mut self, within: Duration) -> Result<Event, Fault> {
        let hears = async {
            loop {
                if let Some(event) = self.client.poll_event()? {
                    return Ok(event);
                }
                self.read.reserve(READ);
                let Some(stream) = &mut self.stream else { return Err(Fault::unreachable(ClientError::Closed)) };
                match stream.read_buf(&mut self.read).await.map_err(Fault::unreachable)? {
                    0 => self.client.handle_end(),
                    _ => self.client.handle_input(&self.read.split()),
                }
            }
        };
        timeout(within, hears).await.unwrap_or_else(|_| Err(Fault::unreachable("no answer in time")))
    }

    /// A refusal that came where none is asked for: in the middle of a payload. The connection is of no use afterwards.
    pub(super) async fn early_refusal(&mut self) -> Option<Refused> {
        self.client.payload_sent().ok()?;
        match self.event(Duration::from_secs(1)).await {
            Ok(Event::Refused(words)) => Some(words),
            _ => None,
        }
    }

    fn stream(&mut self) -> Result<&mut Stream, Fault> {
        self.stream.as_mut().ok_or_else(|| Fault::unreachable(ClientError::Closed))
    }

    /// Ends it in order.
    pub(super) async fn end(mut self) {
        if let Some(mut stream) = self.stream.take() {
            let _ = stream.shutdown().await;
        }
    }

    /// What follows is no dialogue: reads up to `most` bytes, those read too far first. None at the end.
    pub(super) async fn read(&mut self, into: &mut BytesMut) -> Result<usize, Fault> {
        let ahead = self.client.take_buffered();
        if !ahead.is_empty() {
            into.extend_from_slice(&ahead);
            return Ok(ahead.len());
        }
        self.stream()?.read_buf(into).await.map_err(Fault::unreachable)
    }
}
