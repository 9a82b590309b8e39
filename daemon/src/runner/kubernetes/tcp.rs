//! `streammethod: tcp`: both streams through a connection that the pod dials (control-protocol 5.9, work-types 2.9).
//!
//! A listener is there before the pod; its address stands in the worker's environment. One connection is accepted: from the
//! pod's own address, or, with `tcptoken`, from whoever first sends the line that stands in the worker's environment. The
//! payload is sent and its half closed; what the pod sends until it closes is the output.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use worknode_protocol::config::model::TcpStreams;

use super::{
    attach::Payload,
    client::{self, Api},
    follower::Stage,
    output::Output,
    view::Pod,
};

/// Receptor's variables.
const HOST: &str = "RECEPTOR_HOST";
const PORT: &str = "RECEPTOR_PORT";
/// The token's.
const TOKEN: &str = "WORKNODE_TOKEN";
/// Characters of a token: 190 bits.
const TOKEN_LENGTH: usize = 32;
const TOKEN_LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// How long a worker that runs may take to dial (work-types 2.9).
const DIAL: Duration = Duration::from_secs(300);
/// How long a worker that is over may have a connection of before on its way, or one open that others hold.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long a stranger may take to send a token.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// Connections that are being found out about at the same time; more wait in the kernel's queue.
const STRANGERS: usize = 16;
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// Why there is no whole conversation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TcpError {
    /// Nobody was let in.
    #[error("{0}")]
    Accept(String),
    /// The payload could not be sent.
    #[error("{message}")]
    Send {
        /// Bytes that went out.
        sent: u64,
        /// What broke it.
        message: String,
    },
    /// The payload could not be read.
    #[error(transparent)]
    Payload(io::Error),
    /// The connection broke.
    #[error("{0}")]
    Receive(String),
    /// `stdout` could not be written.
    #[error(transparent)]
    Output(io::Error),
}

/// A port that waits for one pod.
pub(crate) struct Dialed {
    listener: TcpListener,
    address: SocketAddr,
    token: Option<SecretString>,
}

impl Dialed {
    /// Listens.
    ///
    /// # Errors
    /// The words behind `Error listening: `.
    pub(crate) async fn listen(settings: &TcpStreams) -> Result<Self, String> {
        let address = match settings.address {
            Some(address) => address,
            None => own_address().ok_or("could not determine local address")?,
        };
        let listener =
            TcpListener::bind((address, 0)).await.map_err(|fault| format!("listen tcp {address}:0: {fault}"))?;
        let address = listener.local_addr().map_err(|fault| fault.to_string())?;
        let token = settings.token.then(|| draw_token().into());
        Ok(Self { listener, address, token })
    }

    /// What the worker needs to know.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![(HOST, self.address.ip().to_string()), (PORT, self.address.port().to_string())];
        if let Some(token) = &self.token {
            variables.push((TOKEN, token.expose_secret().to_owned()));
        }
        variables
    }

    /// Lets the pod in. Whoever else dials is sent away.
    pub(crate) async fn accept(
        &self,
        api: &Api,
        pod: &Pod,
        mut stage: watch::Receiver<Stage>,
    ) -> Result<TcpStream, TcpError> {
        let mut until = None;
        let mut strangers = FuturesUnordered::new();
        loop {
            let known = *stage.borrow_and_update();
            if known >= Stage::Running {
                let at = Instant::now() + if known >= Stage::Over { LAST_WORDS } else { DIAL };
                until = Some(until.map_or(at, |until: Instant| until.min(at)));
            }
            tokio::select! {
                dialed = self.listener.accept(), if strangers.len() < STRANGERS => {
                    let (stream, from) = dialed.map_err(|fault| TcpError::Accept(fault.to_string()))?;
                    strangers.push(self.introduce(stream, from.ip(), api, pod));
                }
                Some(known) = strangers.next() => match known {
                    Ok(stream) => return Ok(stream),
                    Err(why) => tracing::warn!(pod = pod.path(), why, "a connection is refused"),
                },
                // Fails when the watcher has failed: then this is dropped, too.
                Ok(()) = stage.changed() => {}
                () = at(until) => {
                    return Err(TcpError::Accept(format!("the pod has not dialed {} in time", self.address)));
                }
            }
        }
    }

    /// Finds out who dials.
    async fn introduce(&self, mut stream: TcpStream, from: IpAddr, api: &Api, pod: &Pod) -> Result<TcpStream, String> {
        let Some(token) = &self.token else {
            let metadata = &pod.metadata;
            let request = client::get_pod(&metadata.namespace, &metadata.name).map_err(|fault| fault.to_string())?;
            let now: Pod = api.object(&request).await.map_err(|fault| fault.to_string())?;
            let own = now.status.pod_ips.iter().any(|own| own.ip.parse() == Ok(from.to_canonical()));
            return if own { Ok(stream) } else { Err("it is not from the pod's address".to_owned()) };
        };
        let mut line = [0; TOKEN_LENGTH + 1];
        let read = timeout(INTRODUCTION, stream.read_exact(&mut line)).await;
        let wanted = [token.expose_secret().as_bytes(), b"\n"].concat();
        match read {
            // Every byte is compared, however early one differs.
            Ok(Ok(_)) if line.iter().zip(&wanted).fold(0, |differs, (one, other)| differs | (one ^ other)) == 0 => {
                Ok(stream)
            }
            Ok(Ok(_)) => Err("its token is not the worker's".to_owned()),
            Ok(Err(fault)) => Err(fault.to_string()),
            Err(_) => Err("it has sent no token".to_owned()),
        }
    }
}

/// Sends the payload and its end. Answers the half of the connection, which is to live as long as the other one.
pub(crate) async fn send(mut to_pod: OwnedWriteHalf, payload: &Payload) -> Result<OwnedWriteHalf, TcpError> {
    let mut sent = 0;
    while sent < payload.length() {
        let block = payload.block(sent).await.map_err(TcpError::Payload)?;
        to_pod.write_all(&block).await.map_err(|fault| TcpError::Send { sent, message: fault.to_string() })?;
        sent += u64::try_from(block.len()).unwrap_or_default();
    }
    to_pod.shutdown().await.map_err(|fault| TcpError::Send { sent, message: fault.to_string() })?;
    Ok(to_pod)
}

/// Appends what the pod sends, until it closes.
pub(crate) async fn receive(
    mut from_pod: OwnedReadHalf,
    output: &mut Output,
    mut stage: watch::Receiver<Stage>,
) -> Result<(), TcpError> {
    let mut over = None;
    loop {
        let mut bytes = Vec::with_capacity(READ);
        tokio::select! {
            biased;
            read = from_pod.read_buf(&mut bytes) => match read {
                Ok(0) => return output.settle().await.map_err(TcpError::Output),
                Ok(_) => output.append_raw(bytes).await.map_err(TcpError::Output)?,
                Err(fault) => return Err(TcpError::Receive(fault.to_string())),
            },
            () = is_over(&mut stage), if over.is_none() => over = Some(Instant::now() + LAST_WORDS),
            () = at(over) => return Err(TcpError::Receive("the connection did not end with its worker".to_owned())),
        }
    }
}

async fn is_over(stage: &mut watch::Receiver<Stage>) {
    // Fails when the watcher has failed: then this is dropped, too.
    let _ = stage.wait_for(|stage| *stage >= Stage::Over).await;
}

/// The address of this host on its default route. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    // An address for documentation: no network has it.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    Some(own).filter(|own| !own.is_loopback() && !own.is_unspecified())
}

fn draw_token() -> String {
    let mut rng = rand::rng();
    let letter = |_| TOKEN_LETTERS.get(rng.random_range(0..TOKEN_LETTERS.len())).copied().map_or('-', char::from);
    (0..TOKEN_LENGTH).map(letter).collect()
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
