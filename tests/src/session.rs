//! A raw session on a control socket: bytes out, lines and bytes in, every wait with a deadline.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::wait::{Deadline, PATIENCE};

/// Bytes asked for in one read: large enough that reading results measures the server.
const READ_SIZE: usize = 256 * 1024;

/// Longest line that [`Session::line`] accepts; a server that sends more without a line feed is at fault.
const LONGEST_LINE: usize = 64 * 1024 * 1024;

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

/// One connection to a control service.
#[derive(Debug)]
pub struct Session {
    stream: Stream,
    /// Received and not yet handed out.
    received: Vec<u8>,
    patience: Duration,
}

impl Session {
    /// Connects to a Unix socket. The banner is still to be read.
    ///
    /// # Errors
    /// Fails if nobody listens there.
    pub fn unix(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| format!("connecting to {}", path.display()))?;
        Ok(Self::over(Stream::Unix(stream)))
    }

    /// Connects over TCP. The banner is still to be read.
    ///
    /// # Errors
    /// Fails if nobody listens there.
    pub fn tcp(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self::over(Stream::Tcp(stream)))
    }

    /// Connects over TLS, without waiting for the handshake. The banner is still to be read.
    ///
    /// # Errors
    /// Fails if nobody listens there.
    pub fn tls(address: SocketAddr, name: ServerName<'static>, config: Arc<ClientConfig>) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        let tls = ClientConnection::new(config, name)?;
        Ok(Self::over(Stream::Tls(Box::new(StreamOwned::new(tls, stream)))))
    }

    fn over(stream: Stream) -> Self {
        Self { stream, received: Vec::new(), patience: PATIENCE }
    }

    /// Sets how long each further call may wait.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// Fails if the server has closed the connection or takes nothing for too long.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.limit(|socket| socket.set_write_timeout(Some(self.patience)))?;
        self.writer().write_all(bytes).context("sending")?;
        self.writer().flush().context("sending")
    }

    /// Sends a line and reads the one line of its answer.
    ///
    /// # Errors
    /// As [`Session::send`] and [`Session::line`].
    pub fn ask(&mut self, line: &str) -> Result<String> {
        self.send(format!("{line}\n").as_bytes())?;
        self.line().with_context(|| format!("waiting for the answer to {line:?}"))
    }

    /// Closes the sending direction: the server sees the end of input and can still answer.
    ///
    /// # Errors
    /// Fails if the connection is gone.
    pub fn half_close(&mut self) -> Result<()> {
        match &mut self.stream {
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write).context("half-close"),
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write).context("half-close"),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                stream.flush().context("half-close")
            }
        }
    }

    /// Ends the sending direction below TLS, without TLS's own farewell, as Python's client does; `before` goes out first,
    /// as it is.
    ///
    /// # Errors
    /// Fails if this is not TLS, or the connection is gone.
    pub fn half_close_below_tls(&mut self, before: &[u8]) -> Result<()> {
        let Stream::Tls(stream) = &mut self.stream else { bail!("this is not TLS") };
        stream.sock.write_all(before).context("sending")?;
        stream.sock.shutdown(Shutdown::Write).context("half-close")
    }

    /// Closes a TCP connection in a way that the server sees as a reset, not as an end of input.
    ///
    /// # Errors
    /// Fails if this is not plain TCP.
    pub fn reset(self) -> Result<()> {
        let Stream::Tcp(stream) = self.stream else { bail!("only TCP can be reset") };
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).context("SO_LINGER")
    }

    /// The next line, without its line feed.
    ///
    /// # Errors
    /// Fails at the end of the stream, at the deadline, and if the line is not UTF-8.
    pub fn line(&mut self) -> Result<String> {
        match self.line_or_end()? {
            Some(line) => Ok(line),
            None => bail!("the server closed the connection, a line was expected"),
        }
    }

    /// The next line without its line feed, or nothing where the server has closed the connection.
    ///
    /// # Errors
    /// Fails at the deadline, if the stream ends within a line, and if the line is not UTF-8.
    pub fn line_or_end(&mut self) -> Result<Option<String>> {
        let deadline = Deadline::after(self.patience);
        let mut searched = 0;
        loop {
            let unseen = self.received.get(searched..).unwrap_or_default();
            if let Some(at) = unseen.iter().position(|&byte| byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=searched + at).collect();
                line.pop();
                return Ok(Some(String::from_utf8(line).context("a line that is not UTF-8")?));
            }
            searched = self.received.len();
            ensure!(searched < LONGEST_LINE, "a line of more than {LONGEST_LINE} bytes");
            if self.receive(deadline, "a line")? == 0 {
                let rest = String::from_utf8_lossy(&self.received).into_owned();
                ensure!(rest.is_empty(), "the stream ended within a line: {rest:?}");
                return Ok(None);
            }
        }
    }

    /// Exactly `count` bytes.
    ///
    /// # Errors
    /// Fails at the deadline and if the stream ends before.
    pub fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let deadline = Deadline::after(self.patience);
        while self.received.len() < count {
            let got = self.received.len();
            if self.receive(deadline, "bytes")? == 0 {
                bail!("the stream ended after {got} of {count} bytes");
            }
        }
        Ok(self.received.drain(..count).collect())
    }

    /// Everything up to the end of the stream. The deadline is for the whole.
    ///
    /// # Errors
    /// Fails at the deadline and if the connection breaks.
    pub fn rest(&mut self) -> Result<Vec<u8>> {
        let deadline = Deadline::after(self.patience);
        while self.receive(deadline, "the end of the stream")? > 0 {}
        Ok(std::mem::take(&mut self.received))
    }

    /// Hands everything up to the end of the stream to `sink`, block by block, and gives the number of bytes. The
    /// deadline is for each block.
    ///
    /// # Errors
    /// Fails at the deadline and if the connection breaks.
    pub fn drain(&mut self, mut sink: impl FnMut(&[u8])) -> Result<u64> {
        let mut total = self.received.len() as u64;
        sink(&self.received);
        self.received = Vec::new();
        self.limit(|socket| socket.set_read_timeout(Some(self.patience)))?;
        let mut block = vec![0; READ_SIZE];
        loop {
            let count = match self.reader().read(&mut block) {
                Ok(0) => return Ok(total),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).with_context(|| format!("after {total} bytes")),
            };
            total += count as u64;
            sink(block.get(..count).unwrap_or_default());
        }
    }

    /// Reads once into `received`; zero is the end of the stream.
    fn receive(&mut self, deadline: Deadline, waiting_for: &str) -> Result<usize> {
        let before = self.received.len();
        self.received.resize(before + 64 * 1024, 0);
        let outcome = self.receive_into(before, deadline, waiting_for);
        self.received.truncate(before + outcome.as_ref().copied().unwrap_or(0));
        outcome
    }

    fn receive_into(&mut self, at: usize, deadline: Deadline, waiting_for: &str) -> Result<usize> {
        loop {
            let left = deadline.left(waiting_for)?;
            self.limit(|socket| socket.set_read_timeout(Some(left)))?;
            let target = self.received.get_mut(at..).unwrap_or_default();
            let outcome = match &mut self.stream {
                Stream::Unix(stream) => stream.read(target),
                Stream::Tcp(stream) => stream.read(target),
                Stream::Tls(stream) => stream.read(target),
            };
            match outcome {
                Ok(count) => return Ok(count),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("waiting for {waiting_for}"));
                }
            }
        }
    }

    fn reader(&mut self) -> &mut dyn Read {
        match &mut self.stream {
            Stream::Unix(stream) => stream,
            Stream::Tcp(stream) => stream,
            Stream::Tls(stream) => stream,
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.stream {
            Stream::Unix(stream) => stream,
            Stream::Tcp(stream) => stream,
            Stream::Tls(stream) => stream,
        }
    }

    fn limit(&self, set: impl Fn(&dyn Timeouts) -> std::io::Result<()>) -> Result<()> {
        match &self.stream {
            Stream::Unix(stream) => set(stream),
            Stream::Tcp(stream) => set(stream),
            Stream::Tls(stream) => set(&stream.sock),
        }
        .context("setting a time limit")
    }
}

/// The time limits that both kinds of socket have.
trait Timeouts {
    fn set_read_timeout(&self, limit: Option<Duration>) -> std::io::Result<()>;
    fn set_write_timeout(&self, limit: Option<Duration>) -> std::io::Result<()>;
}

macro_rules! timeouts {
    ($socket:ty) => {
        impl Timeouts for $socket {
            fn set_read_timeout(&self, limit: Option<Duration>) -> std::io::Result<()> {
                <$socket>::set_read_timeout(self, limit)
            }
            fn set_write_timeout(&self, limit: Option<Duration>) -> std::io::Result<()> {
                <$socket>::set_write_timeout(self, limit)
            }
        }
    };
}
timeouts!(UnixStream);
timeouts!(TcpStream);
