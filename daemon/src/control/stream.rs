//! The byte stream below a control session, whatever carries it.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf, unix::AsyncFd},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::records::Records;
use crate::readiness::register;

/// Bytes moved by one turn on the blocking pool: long enough to make the hand-over cheap, short enough to be fair.
const TURN: u64 = 4 * 1024 * 1024;
/// Bytes read at a time where the kernel cannot copy file to socket by itself.
const BLOCK: usize = 256 * 1024;
/// Bytes read at a time of what nobody wants to know any more.
const READ: usize = 16 * 1024;
/// How long a client's last words are waited for.
const FAREWELL: Duration = Duration::from_secs(2);

/// Any two-way byte stream.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// How a client is connected. It decides about signatures (control-protocol 4.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The Unix socket: file permissions vouch for the client.
    Unix,
    /// The TCP listener, with or without TLS.
    Tcp,
    /// A stream of the mesh, or of this node to itself.
    Mesh,
}

/// A client's connection.
pub enum ControlStream {
    /// The Unix socket.
    Unix(UnixStream),
    /// TCP.
    Tcp(TcpStream),
    /// TCP with TLS.
    Tls(Box<TlsStream<Records>>),
    /// The mesh.
    Mesh(Box<dyn Duplex>),
}

impl ControlStream {
    fn socket(&self) -> Option<io::Result<OwnedFd>> {
        match self {
            Self::Unix(socket) => Some(socket.as_fd().try_clone_to_owned()),
            Self::Tcp(socket) => Some(socket.as_fd().try_clone_to_owned()),
            Self::Tls(_) | Self::Mesh(_) => None,
        }
    }

    /// Ends the connection so that all that was sent arrives: reads what the client still says, up to its end. A TCP socket
    /// that is closed with bytes unread (a farewell of TLS, or what follows a line that was too long) resets the
    /// connection, and the client loses what it has not read yet.
    ///
    /// # Errors
    /// The connection broke before.
    pub async fn close(&mut self, stop: &CancellationToken) -> io::Result<()> {
        self.shutdown().await?;
        if !matches!(self, Self::Tcp(_) | Self::Tls(_)) {
            return Ok(());
        }
        let mut said = vec![0; READ];
        let listened = async { while self.read(&mut said).await.is_ok_and(|count| count > 0) {} };
        tokio::select! { biased; () = listened => {}, () = stop.cancelled() => {}, () = tokio::time::sleep(FAREWELL) => {} }
        Ok(())
    }

    /// True if the client has closed both directions. Only a Unix socket can tell that from a half-close.
    pub fn is_hung_up(&self) -> bool {
        let Self::Unix(socket) = self else {
            return false;
        };
        let mut fds = [PollFd::new(socket, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
            && fds.iter().any(|fd| fd.revents().intersects(PollFlags::HUP | PollFlags::ERR))
    }

    /// Prepares for sending from files.
    ///
    /// # Errors
    /// No file descriptors are left.
    pub fn into_sender(self) -> io::Result<FileSender> {
        let again = |interest| self.socket().transpose()?.map(|socket| register(socket, interest)).transpose();
        let (room, end) = (again(Interest::WRITABLE)?, again(Interest::PRIORITY)?);
        Ok(FileSender { stream: self, room, end })
    }
}

/// Sends parts of files to a client, by the kernel alone where it can.
pub struct FileSender {
    stream: ControlStream,
    /// The same socket once more, registered apart, so that its readiness has an account of its own: room to write.
    room: Option<AsyncFd<OwnedFd>>,
    /// And once more for its end: with no other interest the kernel reports errors and hang-ups alone.
    end: Option<AsyncFd<OwnedFd>>,
}

impl FileSender {
    /// The stream itself.
    pub fn stream(&mut self) -> &mut ControlStream {
        &mut self.stream
    }

    /// Sends the bytes `from..to` of a file. Returns the position reached, which is less than `to` if the file is shorter.
    ///
    /// # Errors
    /// The client is gone, or the file cannot be read.
    pub async fn send(&mut self, file: &Arc<File>, from: u64, to: u64) -> io::Result<u64> {
        match &self.room {
            Some(socket) => send_by_kernel(socket, file, from, to).await,
            None => send_by_copy(&mut self.stream, file, from, to).await,
        }
    }

    /// Returns when the client has closed both directions; never where that cannot be known.
    pub async fn gone(&self) {
        let Some(end) = &self.end else { return std::future::pending().await };
        while let Ok(mut guard) = end.ready(Interest::PRIORITY).await {
            if guard.ready().is_read_closed() {
                return;
            }
            guard.clear_ready();
        }
    }
}

async fn send_by_kernel(socket: &AsyncFd<OwnedFd>, file: &Arc<File>, mut from: u64, to: u64) -> io::Result<u64> {
    let target = Arc::new(socket.get_ref().try_clone()?);
    while from < to {
        let mut guard = socket.ready(Interest::WRITABLE).await?;
        let (file, target, at) = (file.clone(), target.clone(), from);
        let turn = move || sendfile_turn(&target, &file, at, to.min(at.saturating_add(TURN)));
        let (reached, end) = tokio::task::spawn_blocking(turn).await.map_err(io::Error::other)?;
        from = reached;
        match end {
            TurnEnd::Done => {}
            TurnEnd::FileEnd => break,
            // Only the readiness seen before the turn is cleared: what came since still counts.
            TurnEnd::SocketFull => guard.clear_ready(),
            TurnEnd::Fault(fault) => return Err(fault.into()),
        }
    }
    Ok(from)
}

enum TurnEnd {
    Done,
    FileEnd,
    SocketFull,
    Fault(Errno),
}

fn sendfile_turn(target: &OwnedFd, file: &File, from: u64, to: u64) -> (u64, TurnEnd) {
    let mut at = from;
    while at < to {
        let count = usize::try_from(to - at).unwrap_or(usize::MAX);
        match rustix::fs::sendfile(target, file, Some(&mut at), count) {
            Ok(0) => return (at, TurnEnd::FileEnd),
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return (at, TurnEnd::SocketFull),
            Err(fault) => return (at, TurnEnd::Fault(fault)),
        }
    }
    (at, TurnEnd::Done)
}

async fn send_by_copy(stream: &mut ControlStream, file: &Arc<File>, mut from: u64, to: u64) -> io::Result<u64> {
    let mut block = Vec::new();
    while from < to {
        let want = usize::try_from(to - from).unwrap_or(BLOCK).min(BLOCK);
        let file = file.clone();
        let read = move || {
            block.resize(want, 0);
            let got = std::os::unix::fs::FileExt::read_at(&*file, &mut block, from)?;
            block.truncate(got);
            Ok::<_, io::Error>(block)
        };
        block = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        if block.is_empty() {
            break;
        }
        stream.write_all(&block).await?;
        from += block.len() as u64;
    }
    stream.flush().await?;
    Ok(from)
}

/// Runs an expression for the stream inside, whichever it is.
macro_rules! inner {
    ($this:expr, $stream:ident => $what:expr) => {
        match $this.get_mut() {
            Self::Unix($stream) => $what,
            Self::Tcp($stream) => $what,
            Self::Tls($stream) => $what,
            Self::Mesh($stream) => $what,
        }
    };
}

impl AsyncRead for ControlStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tls(stream) => match Pin::new(&mut **stream).poll_read(cx, buf) {
                Poll::Ready(Err(fault))
                    if fault.kind() == io::ErrorKind::UnexpectedEof && stream.get_ref().0.are_whole() =>
                {
                    Poll::Ready(Ok(()))
                }
                polled => polled,
            },
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Mesh(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ControlStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        inner!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        inner!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, time::Duration};

    use tokio::io::AsyncReadExt;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn file(content: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Arc::new(file)
    }

    /// Looking for the end must not use up the readiness that sending waits for.
    #[tokio::test]
    async fn a_sender_that_has_waited_for_the_end_still_sends() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut sender = ControlStream::Unix(near).into_sender().unwrap();
        let file = file(b"hello");
        for _ in 0..3 {
            assert!(tokio::time::timeout(Duration::from_millis(20), sender.gone()).await.is_err());
            assert_eq!(tokio::time::timeout(SOON, sender.send(&file, 0, 5)).await.unwrap().unwrap(), 5);
        }
        let mut got = [0; 15];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"hellohellohello");
    }

    #[tokio::test]
    async fn more_than_the_socket_holds_arrives_whole() {
        let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut sender = ControlStream::Unix(near).into_sender().unwrap();
        let file = file(&content);
        let length = content.len() as u64;
        let sending = tokio::spawn(async move { sender.send(&file, 0, length + 10).await });
        let mut got = Vec::new();
        tokio::time::timeout(SOON, far.read_to_end(&mut got)).await.unwrap().unwrap();
        assert_eq!(sending.await.unwrap().unwrap(), length, "the file's end ends it");
        assert!(got == content);
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_is_noticed_and_one_that_half_closes_is_not() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let sender = ControlStream::Unix(near).into_sender().unwrap();
        far.shutdown().await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), sender.gone()).await.is_err());
        assert!(!sender.stream.is_hung_up());
        drop(far);
        tokio::time::timeout(SOON, sender.gone()).await.unwrap();
        assert!(sender.stream.is_hung_up());
    }
}
