//! `ctl connect`: stdin and stdout joined to a service of a node.

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Node;
use crate::connect::Connection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Printer;

/// Bytes carried at a time.
const BLOCK: usize = 64 * 1024;

/// What to connect to.
pub(super) struct Service {
    pub(super) node: String,
    pub(super) service: String,
    pub(super) tls_client: Option<String>,
}

pub(super) fn run(node: &Node, to: &Service, raw: bool, printer: &mut Printer) -> Result<Exit, Failure> {
    let mut session = node.session()?;
    session.connect(&to.node, &to.service, to.tls_client.as_deref())?;
    let (connection, buffered) = session.into_parts();
    printer.data(&buffered)?;
    let terminal = Terminal::of_stdin(raw).map_err(|error| Failure::Terminal(error.into()))?;
    let carried = Bridge::new(connection).and_then(|mut bridge| bridge.carry(printer));
    if terminal.is_some() {
        drop(terminal);
        printer.line("")?;
    }
    carried.map(|()| Exit::Done)
}

/// Carries both directions at once: neither waits for the other, so a service may talk while we do.
struct Bridge {
    connection: Connection,
    /// Read from stdin and not yet taken by the connection.
    outgoing: Vec<u8>,
    stdin: Stdin,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stdin {
    Open,
    /// At its end; the sending half is still to be closed, once all has been sent.
    Ended,
    Closed,
}

impl Bridge {
    fn new(connection: Connection) -> Result<Self, Failure> {
        connection.set_nonblocking(true).map_err(Failure::Connection)?;
        Ok(Self { connection, outgoing: Vec::new(), stdin: Stdin::Open })
    }

    /// Until the service closes.
    fn carry(&mut self, printer: &mut Printer) -> Result<(), Failure> {
        let mut block = vec![0; BLOCK];
        loop {
            let stdin_is_ready = self.await_event()?;
            if self.receive(&mut block, printer)? == Far::Closed {
                return Ok(());
            }
            if stdin_is_ready {
                self.read_stdin(&mut block)?;
            }
            self.send().map_err(Failure::Connection)?;
        }
    }

    /// Waits for whatever can be done; tells whether stdin can be read.
    fn await_event(&self) -> Result<bool, Failure> {
        let mut wanted = PollFlags::IN;
        if !self.outgoing.is_empty() || self.connection.wants_write() {
            wanted |= PollFlags::OUT;
        }
        let mut fds = vec![PollFd::from_borrowed_fd(self.connection.as_fd(), wanted)];
        // No more is read than can be sent, or a slow service would fill our memory.
        if self.stdin == Stdin::Open && self.outgoing.is_empty() {
            fds.push(PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::Connection(error.into())),
        }
        Ok(fds.get(1).is_some_and(|stdin| !stdin.revents().is_empty()))
    }

    /// Writes to stdout what the service has sent.
    fn receive(&mut self, block: &mut [u8], printer: &mut Printer) -> Result<Far, Failure> {
        loop {
            match self.connection.read(block) {
                Ok(0) => return Ok(Far::Closed),
                Ok(length) => printer.data(block.get(..length).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Far::Open),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Connection(error)),
            }
        }
    }

    fn read_stdin(&mut self, block: &mut [u8]) -> Result<(), Failure> {
        match rustix::io::read(rustix::stdio::stdin(), &mut *block) {
            Ok(0) => self.stdin = Stdin::Ended,
            Ok(length) => self.outgoing.extend_from_slice(block.get(..length).unwrap_or_default()),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            // A terminal that has gone away ends like a file.
            Err(rustix::io::Errno::IO) => self.stdin = Stdin::Ended,
            Err(error) => return Err(Failure::Terminal(error.into())),
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        while !self.outgoing.is_empty() {
            match self.connection.write(&self.outgoing) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        match self.connection.flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            flushed => flushed?,
        }
        if self.stdin == Stdin::Ended {
            self.stdin = Stdin::Closed;
            self.connection.close_sending()?;
        }
        Ok(())
    }
}

/// Whether the service still sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Far {
    Open,
    Closed,
}

/// Puts a terminal back into the mode in which it was found.
struct Terminal {
    found: Termios,
}

impl Terminal {
    /// The terminal on stdin, if there is one, in raw mode if so wished: every key goes to the service, Ctrl-C too.
    fn of_stdin(raw: bool) -> rustix::io::Result<Option<Self>> {
        let stdin: BorrowedFd<'_> = rustix::stdio::stdin();
        if !rustix::termios::isatty(stdin) {
            return Ok(None);
        }
        let found = tcgetattr(stdin)?;
        if raw {
            let mut mode = found.clone();
            mode.make_raw();
            mode.local_modes.remove(LocalModes::ISIG);
            tcsetattr(stdin, OptionalActions::Flush, &mode)?;
        }
        Ok(Some(Self { found }))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // If the terminal has gone there is nothing to put back.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.found);
    }
}
