//! A command on a terminal of its own: `command-service` (mesh-protocol 8.2).

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
    process::Stdio,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::{ioctl_tiocsctty, setsid},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf, unix::AsyncFd},
    process::{Child, Command},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use worknode_mesh::Stream;

use super::join::copy;
use crate::readiness::register;

/// Time for a command to go when its terminal has gone, before it is killed.
const HANG_UP: Duration = Duration::from_secs(5);
/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;
/// The character that ends the input of who reads a terminal: Ctrl-D.
const END_OF_INPUT: u8 = 4;

/// Runs a command with the stream as its terminal. It ends when the command does; when the other side is gone, the command
/// is hung up. The end of the other side's input is the end of the command's, and its output goes on. (In the reference
/// that end kills the command, and what it would have said is lost.)
///
/// # Errors
/// If it cannot be started.
pub(super) async fn run(words: &[String], stream: Stream, stop: &CancellationToken) -> io::Result<()> {
    let (terminal, mut child) = match start(words) {
        Ok(started) => started,
        Err(fault) => {
            stream.abort("the command cannot be started");
            return Err(fault);
        }
    };
    let gone = stream.closed();
    let (mut from_client, mut to_client) = tokio::io::split(stream);
    let (mut output, mut input) = (terminal.clone(), terminal);
    let feeding = async {
        if feed(&mut from_client, &mut input).await? {
            gone.await;
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the other side is gone"))
    };
    let ended = tokio::select! {
        ended = copy(&mut output, &mut to_client) => ended,
        gone = feeding => gone,
        () = stop.cancelled() => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the node stops")),
    };
    if let Err(fault) = &ended {
        from_client.unsplit(to_client).abort(&fault.to_string());
    }
    // Without its terminal, the command and what it started get SIGHUP.
    drop((output, input));
    if timeout(HANG_UP, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    ended
}

/// Passes on what the other side types, and the end of it. False: the terminal cannot be told of the end, and the command
/// is to be hung up.
async fn feed(from: &mut (impl AsyncRead + Unpin), to: &mut Terminal) -> io::Result<bool> {
    let (mut block, mut at_begin) = (vec![0; BLOCK], true);
    loop {
        let count = from.read(&mut block).await?;
        let typed = block.get(..count).unwrap_or_default();
        let Some(last) = typed.last() else { break };
        at_begin = *last == b'\n';
        to.write_all(typed).await?;
    }
    if !to.has_lines() {
        return Ok(false);
    }
    // Within a line, the first only hands the line over.
    to.write_all(if at_begin { &[END_OF_INPUT] } else { &[END_OF_INPUT; 2] }).await?;
    Ok(true)
}

/// Starts a command in a session of its own, with a new terminal.
#[allow(unsafe_code)]
fn start(words: &[String]) -> io::Result<(Terminal, Child)> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&terminal)?;
    unlockpt(&terminal)?;
    let name = ptsname(&terminal, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let own_side: OwnedFd = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    let side = || own_side.try_clone().map(Stdio::from);
    let mut command = Command::new(program);
    command.args(arguments).stdin(side()?).stdout(side()?).stderr(side()?).kill_on_drop(true);
    // SAFETY: between fork and exec only two system calls are made, which allocate nothing and take no lock.
    unsafe {
        command.pre_exec(|| {
            setsid()?;
            ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        });
    }
    let child = command.spawn()?;
    rustix::io::ioctl_fionbio(&terminal, true)?;
    Ok((Terminal(Arc::new(register(terminal, Interest::READABLE | Interest::WRITABLE)?)), child))
}

/// Our side of a terminal. One of two clones may read while the other writes.
#[derive(Clone)]
struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    /// Whether it knows lines, and with them an end of input.
    fn has_lines(&self) -> bool {
        tcgetattr(self.0.as_fd()).is_ok_and(|state| state.local_modes.contains(LocalModes::ICANON))
    }
}

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.poll_read_ready(cx))?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd, buf.initialize_unfilled())?));
            match read {
                Ok(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // Nobody has the other side open any more: the end.
                Ok(Err(fault)) if Errno::from_io_error(&fault) == Some(Errno::IO) => return Poll::Ready(Ok(())),
                Ok(Err(fault)) => return Poll::Ready(Err(fault)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(written) = ready.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
