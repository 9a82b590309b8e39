use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use worknode_protocol::control::client::{Answer, Client, ClientError, Event, Refused};
use worknode_protocol::control::{self, Request, Submit, UnitCommand, WorkRequest};

use super::{Connection, Target};
use crate::failure::Failure;

/// How long a control service may take to greet. It greets at once; a busy machine may not.
const GREETING_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes read at a time.
const BLOCK: usize = 64 * 1024;

/// A node further on, reached through the one connected to.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) node: String,
    pub(crate) tls_client: Option<String>,
}

/// A greeted connection: commands, one after the other.
pub(crate) struct Session {
    connection: Connection,
    client: Client,
    node: String,
}

impl Session {
    /// Connects, and goes on to the control service of another node if `hop` names one.
    pub(crate) fn open(target: &Target, hop: Option<&Hop>) -> Result<Self, Failure> {
        let connection = Connection::open(target)?;
        let mut session = Self { connection, client: Client::new(), node: String::new() };
        session.greeting()?;
        if let Some(hop) = hop {
            session.connect(&hop.node, "control", hop.tls_client.as_deref())?;
            session.client.greet_again()?;
            session.greeting()?;
        }
        Ok(session)
    }

    fn greeting(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + GREETING_TIMEOUT;
        match self.event_before(Some(deadline))? {
            Some(Event::Greeted { node }) => self.node = node,
            Some(Event::Refused(refused)) => return Err(refused.into()),
            _ => return Err(ClientError::NoBanner.into()),
        }
        self.connection.set_read_timeout(None).map_err(Failure::Connection)
    }

    /// Gives a command that is answered with one line.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        self.send(request)?;
        match self.event()? {
            Event::Answered(answer) => Ok(answer),
            Event::Refused(refused) if refused.is_unknown_command() => Err(Failure::Unsupported(self.node.clone())),
            Event::Refused(refused) => Err(refused.into()),
            event => Err(unexpected(&event)),
        }
    }

    /// Gives a work command about one unit.
    pub(crate) fn ask_about(&mut self, request: fn(UnitCommand) -> WorkRequest, unit: &str) -> Result<Answer, Failure> {
        self.ask(&Request::Work(request(UnitCommand { unit: unit.to_owned(), signature: None })))
    }

    /// Connects to a service; from then on the connection is the service's.
    pub(crate) fn connect(&mut self, node: &str, service: &str, tls: Option<&str>) -> Result<(), Failure> {
        let (node, service, tls) = (node.to_owned(), service.to_owned(), tls.map(str::to_owned));
        self.send(&Request::Connect { node, service, tls })?;
        match self.event()? {
            Event::Connected => Ok(()),
            Event::Refused(refused) => Err(Failure::NotConnected(refused)),
            event => Err(unexpected(&event)),
        }
    }

    /// The connection itself, and what has been read from it too far.
    pub(crate) fn into_parts(mut self) -> (Connection, Vec<u8>) {
        let buffered = self.client.take_buffered();
        (self.connection, buffered)
    }

    /// Has a unit made; its payload is sent next.
    pub(crate) fn create(&mut self, submit: &Submit) -> Result<String, Failure> {
        self.send(&Request::Work(WorkRequest::Submit(submit.clone())))?;
        match self.event() {
            Ok(Event::Created { unit }) => Ok(unit),
            Ok(Event::Refused(refused)) => Err(Failure::NotStarted(refused)),
            Err(Failure::Dialogue(ClientError::Unexpected(_) | ClientError::Closed)) => Err(Failure::NotCreated),
            Ok(event) => Err(unexpected(&event)),
            Err(failure) => Err(failure),
        }
    }

    /// Sends `payload` and the end of it, telling the bytes sent to `progress`.
    ///
    /// If the payload cannot be read the end is not sent: the unit must not start with a part of its input.
    pub(crate) fn send_payload(&mut self, payload: &mut dyn Read, progress: &dyn Fn(u64)) -> Result<(), Failure> {
        let mut block = vec![0; BLOCK];
        loop {
            let length = match payload.read(&mut block) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::PayloadRead(error)),
            };
            let bytes = block.get(..length).unwrap_or_default();
            self.connection.write_all(bytes).map_err(Failure::Connection)?;
            progress(u64::try_from(length).unwrap_or(u64::MAX));
        }
        self.connection.flush().map_err(Failure::Connection)?;
        self.connection.close_sending().map_err(Failure::Connection)
    }

    /// The answer after the payload.
    pub(crate) fn submitted(mut self) -> Result<Answer, Failure> {
        self.client.payload_sent()?;
        match self.event()? {
            Event::Answered(answer) => Ok(answer),
            Event::Refused(refused) => Err(Failure::Remote(refused)),
            event => Err(unexpected(&event)),
        }
    }

    /// Asks for the results of a unit from byte `start` on.
    pub(crate) fn results(mut self, unit: &str, start: u64) -> Result<Results, Failure> {
        let start = i64::try_from(start).unwrap_or(i64::MAX);
        let request = control::Results { unit: unit.to_owned(), start, ..control::Results::default() };
        self.send(&Request::Work(WorkRequest::Results(request)))?;
        match self.event()? {
            Event::Streaming { .. } => {}
            Event::Refused(refused) => return Err(Failure::NoResults(refused)),
            event => return Err(unexpected(&event)),
        }
        self.connection.close_sending().map_err(Failure::Connection)?;
        let (connection, buffered) = self.into_parts();
        Ok(Results { connection, buffered })
    }

    fn send(&mut self, request: &Request) -> Result<(), Failure> {
        let line = self.client.command(request)?;
        self.connection.write_all(line.as_bytes()).and_then(|()| self.connection.flush()).map_err(Failure::Connection)
    }

    fn event(&mut self) -> Result<Event, Failure> {
        self.event_before(None)?.ok_or(Failure::Dialogue(ClientError::Closed))
    }

    /// The next event; `None` if the deadline passes first.
    fn event_before(&mut self, deadline: Option<Instant>) -> Result<Option<Event>, Failure> {
        let mut block = vec![0; BLOCK];
        loop {
            if let Some(event) = self.client.poll_event()? {
                return Ok(Some(event));
            }
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                self.connection.set_read_timeout(Some(left)).map_err(Failure::Connection)?;
            }
            match self.connection.read(&mut block) {
                Ok(0) => self.client.handle_end(),
                Ok(length) => self.client.handle_input(block.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) && deadline.is_some() => return Ok(None),
                // A server that refuses may close before it has read all of ours: the answer counts, if it came.
                Err(error) if is_cut(&error) => self.client.handle_end(),
                Err(error) => return Err(Failure::Connection(error)),
            }
        }
    }
}

/// The stream of a unit's output.
pub(crate) struct Results {
    connection: Connection,
    buffered: Vec<u8>,
}

/// What reading a stream of results came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// Bytes, now at the front of the buffer.
    Bytes(usize),
    /// The server ended the stream.
    End,
    /// Nothing came within the time.
    Silence,
}

impl Results {
    /// Reads what is there, waiting at most `patience` for it; `None` waits for ever.
    pub(crate) fn receive(&mut self, buffer: &mut [u8], patience: Option<Duration>) -> Result<Received, Failure> {
        if !self.buffered.is_empty() {
            let length = self.buffered.len().min(buffer.len());
            buffer.iter_mut().zip(self.buffered.drain(..length)).for_each(|(to, from)| *to = from);
            return Ok(Received::Bytes(length));
        }
        self.connection.set_read_timeout(patience).map_err(Failure::Connection)?;
        loop {
            match self.connection.read(buffer) {
                Ok(0) => return Ok(Received::End),
                Ok(length) => return Ok(Received::Bytes(length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_timeout(&error) => return Ok(Received::Silence),
                Err(error) => return Err(Failure::Connection(error)),
            }
        }
    }
}

impl AsFd for Results {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn is_cut(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
}

fn unexpected(event: &Event) -> Failure {
    let what = match event {
        Event::Refused(refused) => Refused::line(refused).to_owned(),
        other => format!("{other:?}"),
    };
    ClientError::Unexpected(what).into()
}
