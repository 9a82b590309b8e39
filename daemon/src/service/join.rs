//! Two connections made one: what comes from either goes to the other.

use std::{
    future::Future,
    io,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::net::sockopt::{set_socket_keepalive, set_socket_linger};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;
use worknode_mesh::Stream;

use crate::control::stream::Duplex;

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// The local end of a bridge.
pub(super) struct Local {
    pub(super) io: Box<dyn Duplex>,
    /// The TCP socket below, to end it so that the other side sees it as broken.
    tcp: Option<OwnedFd>,
}

impl Local {
    /// A connection that knows no broken end, such as a Unix socket.
    pub(super) fn plain(io: impl Duplex + 'static) -> Self {
        Self { io: Box::new(io), tcp: None }
    }

    /// A TCP connection, or what `wrap` makes of it. Small messages are not held back, and a peer whose machine is gone
    /// is noticed by keep-alive.
    ///
    /// # Errors
    /// Those of `wrap`.
    pub(super) async fn tcp<I, F>(stream: TcpStream, wrap: impl FnOnce(TcpStream) -> F) -> io::Result<Self>
    where
        I: Duplex + 'static,
        F: Future<Output = io::Result<I>>,
    {
        let _ = stream.set_nodelay(true);
        let _ = set_socket_keepalive(&stream, true);
        let tcp = stream.as_fd().try_clone_to_owned()?;
        Ok(Self { io: Box::new(wrap(stream).await?), tcp: Some(tcp) })
    }

    /// Ends it so that the other side sees that something is missing.
    pub(super) fn reset(self) {
        if let Some(tcp) = &self.tcp {
            let _ = set_socket_linger(tcp, Some(Duration::ZERO));
        }
    }
}

/// Bridges until both directions have ended. One that ends well is closed on the other side, and the other goes on; if
/// anything breaks, or `stop` comes first, both ends are broken.
///
/// # Errors
/// What broke.
pub(super) async fn join(stream: Stream, local: Local, stop: &CancellationToken) -> io::Result<()> {
    let gone = stream.closed();
    let Local { io, tcp } = local;
    let (mut far_in, mut far_out) = tokio::io::split(stream);
    let (mut near_in, mut near_out) = tokio::io::split(io);
    let (ended, all_read) = oneshot::channel();
    let inbound = async {
        copy(&mut far_in, &mut near_out).await?;
        let _ = ended.send(());
        Ok(())
    };
    // Once all has been read from the mesh, only this tells that the other side is no more.
    let gone = async {
        // Where reading failed, that is the error.
        if all_read.await.is_err() {
            std::future::pending::<()>().await;
        }
        gone.await;
    };
    let outbound = async {
        tokio::select! {
            biased;
            copied = copy(&mut near_in, &mut far_out) => copied,
            () = gone => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the other side is gone")),
        }
    };
    let joined = tokio::select! {
        joined = async { tokio::try_join!(inbound, outbound) } => joined,
        () = stop.cancelled() => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the node stops")),
    };
    if let Err(fault) = &joined {
        far_in.unsplit(far_out).abort(&fault.to_string());
        Local { io: near_in.unsplit(near_out), tcp }.reset();
    }
    joined.map(|((), ())| ())
}

/// Copies to the end, and passes the end on.
pub(super) async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        let count = from.read(&mut block).await?;
        let read = block.get(..count).unwrap_or_default();
        if read.is_empty() {
            return to.shutdown().await;
        }
        to.write_all(read).await?;
        to.flush().await?;
    }
}
