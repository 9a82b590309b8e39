//! The daemon's side of the keepers: one task that starts their parent when it is needed, hands launches to it, and
//! passes on what keepers tell.
//!
//! Keepers of a parent that has died still tell, over the socket that they share with it; that socket is read until the
//! last of them is gone.

use std::{
    collections::{HashMap, VecDeque},
    future::poll_fn,
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
    task::{Context, Poll, ready},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::UnixStream,
    process::{Child, Command},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use worknode_protocol::unit::errno_text;

use super::{
    keeper,
    launch::{Event, Launch, PACKET_LIMIT, Packet, frame},
};
use crate::{readiness::register, runner::StartError};

/// Launches waiting for the task. A unit that finds no place waits.
const ORDERS: usize = 64;

/// Bytes of launches that the parent has not read yet; beyond this no further launch is taken up.
const UNSENT: usize = 1024 * 1024;

/// News of one launch: it has fewer events than this, so there is always a place.
const NEWS: usize = 8;

/// Events taken from one socket at a time.
const BATCH: usize = 64;

/// What became of a launch.
#[derive(Debug)]
pub(super) enum News {
    /// Its keeper or its keeper's parent tell.
    Event(Event),
    /// The parent is gone. A keeper that it has forked lives on, but would no longer be missed.
    ParentGone,
}

struct Order {
    launch: Launch,
    news: mpsc::Sender<News>,
    /// Told when the parent has it, whatever happens to the daemon.
    sent: oneshot::Sender<Result<(), StartError>>,
}

/// The way to the keepers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keepers {
    orders: mpsc::Sender<Order>,
}

impl Keepers {
    /// Starts the task. `program` is the daemon's own binary, `/proc/self/exe` save in tests: its first argument makes it
    /// the parent of keepers, whose jobs get `open_files` as their soft limit. The task ends with `stop`; jobs go on.
    pub(super) fn start(
        program: impl Into<PathBuf>,
        open_files: Option<u64>,
        stop: CancellationToken,
    ) -> (Self, JoinHandle<()>) {
        let (orders, inbox) = mpsc::channel(ORDERS);
        let hub = Hub {
            program: program.into(),
            arguments: keeper::arguments(open_files),
            orders: inbox,
            parent: None,
            sockets: Vec::new(),
            launches: HashMap::new(),
            launched: 0,
        };
        let task = tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = hub.run() => {}
            }
        });
        (Self { orders }, task)
    }

    /// Has a keeper made for a job. Returns once the order no longer depends on this process.
    ///
    /// # Errors
    /// The parent of keepers cannot be started, or the launch cannot be written.
    pub(super) async fn launch(&self, launch: Launch) -> Result<mpsc::Receiver<News>, StartError> {
        let stopped = || StartError("the node is shutting down".to_owned());
        let (news, inbox) = mpsc::channel(NEWS);
        let (sent, answer) = oneshot::channel();
        self.orders.send(Order { launch, news, sent }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())??;
        Ok(inbox)
    }
}

struct Hub {
    program: PathBuf,
    arguments: [String; 2],
    orders: mpsc::Receiver<Order>,
    parent: Option<Parent>,
    /// Event sockets, of this parent and of earlier ones.
    sockets: Vec<EventSocket>,
    launches: HashMap<u64, mpsc::Sender<News>>,
    /// Number of the latest launch.
    launched: u64,
}

/// The living parent of keepers.
struct Parent {
    process: Child,
    requests: UnixStream,
    unsent: VecDeque<Unsent>,
    /// Bytes in `unsent`.
    unsent_bytes: usize,
}

struct Unsent {
    frame: Vec<u8>,
    written: usize,
    sent: oneshot::Sender<Result<(), StartError>>,
}

impl Hub {
    async fn run(mut self) {
        loop {
            let Self { orders, parent, sockets, .. } = &mut self;
            let has_room = parent.as_ref().is_none_or(|parent| parent.unsent_bytes < UNSENT);
            tokio::select! {
                packets = poll_fn(|context| poll_sockets(sockets, context)) => self.pass_on(packets),
                end = parent_end(parent) => self.parent_ended(&end),
                order = orders.recv(), if has_room => match order {
                    Some(order) => self.order(order),
                    None => return,
                },
            }
        }
    }

    fn order(&mut self, Order { launch, news, sent }: Order) {
        self.launched += 1;
        let number = self.launched;
        let frame = match frame(number, &launch) {
            Ok(frame) => frame,
            Err(text) => return drop(sent.send(Err(StartError(text)))),
        };
        if self.parent.is_none() {
            match Parent::start(&self.program, &self.arguments) {
                Ok((parent, socket)) => {
                    self.parent = Some(parent);
                    self.sockets.push(socket);
                }
                Err(fault) => return drop(sent.send(Err(start_error(&self.program, &fault)))),
            }
        }
        self.launches.insert(number, news);
        if let Some(parent) = &mut self.parent {
            parent.unsent_bytes += frame.len();
            parent.unsent.push_back(Unsent { frame, written: 0, sent });
            // A fault is noticed again as the parent's end.
            let _ = parent.send();
        }
    }

    fn pass_on(&mut self, packets: Vec<Packet>) {
        if packets.is_empty() {
            // All keepers of an earlier parent are gone; launches that were never forked are forgotten with them.
            self.launches.retain(|_, news| !news.is_closed());
        }
        for Packet { launch, event } in packets {
            let is_last = !matches!(event, Event::Running { .. });
            let news = if is_last { self.launches.remove(&launch) } else { self.launches.get(&launch).cloned() };
            // Nobody follows a unit that was cancelled before it was claimed.
            if let Some(news) = news {
                let _ = news.try_send(News::Event(event));
            }
        }
    }

    /// Every job in the care of the parent is told: its keeper may have been forked or not. Launches that it has not read
    /// are lost with it, and their units launch again.
    fn parent_ended(&mut self, end: &str) {
        warn!("the parent of job keepers ended ({end}); running jobs are not affected");
        if let Some(parent) = self.parent.take() {
            for unsent in parent.unsent {
                let _ = unsent.sent.send(Ok(()));
            }
        }
        self.launches.retain(|_, news| news.try_send(News::ParentGone).is_ok());
    }
}

/// Writes what can be written, until the parent has ended. Waits for ever without a parent.
async fn parent_end(parent: &mut Option<Parent>) -> String {
    let Some(parent) = parent else { return std::future::pending().await };
    loop {
        if parent.unsent.is_empty() {
            return exit_text(parent.process.wait().await);
        }
        tokio::select! {
            end = parent.process.wait() => return exit_text(end),
            ready = parent.requests.ready(Interest::WRITABLE) => {
                if ready.and_then(|_| parent.send()).is_err() {
                    return exit_text(parent.process.wait().await);
                }
            }
        }
    }
}

fn exit_text(end: io::Result<std::process::ExitStatus>) -> String {
    end.map_or_else(|fault| fault.to_string(), |status| status.to_string())
}

fn start_error(program: &Path, fault: &io::Error) -> StartError {
    let reason = fault.raw_os_error().map_or_else(|| fault.to_string(), errno_text);
    StartError(format!("fork/exec {}: {reason}", program.display()))
}

impl Parent {
    fn start(program: &Path, arguments: &[String]) -> io::Result<(Self, EventSocket)> {
        let pair = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None);
        let (requests, requests_below) = pair(SocketType::STREAM)?;
        let (events, events_below) = pair(SocketType::SEQPACKET)?;
        let requests = std::os::unix::net::UnixStream::from(requests);
        requests.set_nonblocking(true)?;
        // Starting a program blocks this thread for a millisecond, once in the life of a daemon.
        let process = Command::new(program)
            .arg0("worknoded")
            .args(arguments)
            .stdin(Stdio::from(requests_below))
            .stdout(Stdio::from(events_below))
            .spawn()?;
        debug!("parent of job keepers started, process {:?}", process.id());
        let parent =
            Self { process, requests: UnixStream::from_std(requests)?, unsent: VecDeque::new(), unsent_bytes: 0 };
        Ok((parent, EventSocket(register(events, Interest::READABLE)?)))
    }

    /// Writes as much as the socket takes.
    fn send(&mut self) -> io::Result<()> {
        while let Some(unsent) = self.unsent.front_mut() {
            let rest = unsent.frame.get(unsent.written..).unwrap_or_default();
            match self.requests.try_write(rest) {
                Ok(bytes) => {
                    unsent.written += bytes;
                    self.unsent_bytes -= bytes;
                }
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(fault) => return Err(fault),
            }
            if unsent.written == unsent.frame.len()
                && let Some(unsent) = self.unsent.pop_front()
            {
                let _ = unsent.sent.send(Ok(()));
            }
        }
        Ok(())
    }
}

/// The daemon's end of the socket that a parent and its keepers share.
struct EventSocket(AsyncFd<OwnedFd>);

impl EventSocket {
    /// Takes what is there, at least one packet. `None`: the other end is gone.
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Vec<Packet>>> {
        let mut packets = Vec::new();
        let mut buffer = [0; PACKET_LIMIT];
        loop {
            let mut guard = match ready!(self.0.poll_read_ready(context)) {
                Ok(guard) => guard,
                Err(_) => return Poll::Ready(None),
            };
            while packets.len() < BATCH {
                match recv(self.0.get_ref(), &mut buffer, RecvFlags::DONTWAIT) {
                    Ok((_, 0)) => return Poll::Ready((!packets.is_empty()).then_some(packets)),
                    Ok((_, length)) => packets.extend(read_packet(buffer.get(..length).unwrap_or_default())),
                    Err(Errno::AGAIN) => {
                        guard.clear_ready();
                        break;
                    }
                    Err(Errno::INTR) => {}
                    Err(_) => return Poll::Ready((!packets.is_empty()).then_some(packets)),
                }
            }
            if !packets.is_empty() {
                return Poll::Ready(Some(packets));
            }
        }
    }
}

fn read_packet(bytes: &[u8]) -> Option<Packet> {
    serde_json::from_slice(bytes).inspect_err(|fault| warn!("event of a job keeper not understood: {fault}")).ok()
}

/// Packets of one socket; none when a socket has ended, which is then forgotten.
fn poll_sockets(sockets: &mut Vec<EventSocket>, context: &mut Context<'_>) -> Poll<Vec<Packet>> {
    for index in 0..sockets.len() {
        match sockets.get(index).map(|socket| socket.poll(context)) {
            Some(Poll::Ready(Some(packets))) => return Poll::Ready(packets),
            Some(Poll::Ready(None)) => {
                sockets.swap_remove(index);
                return Poll::Ready(Vec::new());
            }
            _ => {}
        }
    }
    Poll::Pending
}
