//! The parent of keepers: reads launches, forks, and notices keepers that end out of turn.
//!
//! Its stdin is the daemon's request socket, its stdout the event socket, its stderr the daemon's. The end of the request
//! socket is the end of the daemon, and of this process; requests that arrived before are carried out first.

use std::{
    collections::{HashMap, VecDeque},
    fs::{File, OpenOptions},
    io::{self, Read, stdin, stdout},
    os::fd::{AsFd, OwnedFd},
    process::ExitCode,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{SendFlags, send},
    process::{
        Pid, Resource, Rlimit, Signal, WaitOptions, getpid, getrlimit, set_child_subreaper, setrlimit, setsid, wait,
    },
    thread::set_name,
};

use super::{
    super::{
        launch::{Event, HEADER, REQUEST_LIMIT, packet, read_header},
        process::boot_id,
    },
    job, signals,
};

/// What a fork of the parent has to go on with.
pub(super) struct Inheritance {
    /// Where events go.
    pub(super) events: OwnedFd,
    /// This boot of the machine.
    pub(super) boot: String,
    /// `/dev/null`.
    pub(super) null: File,
}

/// Serves the daemon until it is gone. `open_files` is the soft limit that jobs get.
pub(super) fn main(open_files: Option<u64>) -> ExitCode {
    match serve(open_files) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln_fault(&fault);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stderr, reason = "this process has no log; its stderr is the daemon's")]
fn eprintln_fault(fault: &io::Error) {
    eprintln!("job-keeper: {fault}");
}

fn serve(open_files: Option<u64>) -> io::Result<()> {
    signals::block_all();
    signals::restore_defaults();
    signals::close_inherited();
    // The daemon has raised its own.
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: open_files, maximum })?;
    // A session of its own: what a terminal or a shell does to the daemon's session is no affair of the jobs.
    setsid()?;
    // What a job that has ended left running becomes a child of this process, and is waited for here: the first process
    // of a container often does not do it.
    set_child_subreaper(Some(getpid()))?;
    set_name(c"job-keeper")?;
    let mut parent = Parent {
        requests: File::from(stdin().as_fd().try_clone_to_owned()?),
        children: signals::SignalSet::of(&[Signal::CHILD]).descriptor()?,
        inheritance: Inheritance {
            events: stdout().as_fd().try_clone_to_owned()?,
            boot: boot_id()?,
            null: OpenOptions::new().read(true).write(true).open("/dev/null")?,
        },
        keepers: HashMap::new(),
        unsent: VecDeque::new(),
    };
    // From here on the sockets have the numbers above only; programs cannot inherit them.
    rustix::stdio::dup2_stdin(&parent.inheritance.null)?;
    rustix::stdio::dup2_stdout(&parent.inheritance.null)?;
    match parent.run()? {
        Role::Parent => Ok(()),
        Role::Keeper { number, request } => {
            // What is the parent's alone. Whoever holds the request socket is the parent.
            let Parent { requests, children, inheritance, keepers, unsent } = parent;
            drop((requests, children, keepers, unsent));
            job::keep(number, request, &inheritance)
        }
    }
}

/// Which process this is.
enum Role {
    /// The parent still, and the daemon is gone.
    Parent,
    /// A fork of it, to keep a job.
    Keeper {
        /// Number of the launch.
        number: u64,
        /// The launch as it was received.
        request: Vec<u8>,
    },
}

struct Parent {
    requests: File,
    /// Readable when a keeper has ended.
    children: OwnedFd,
    inheritance: Inheritance,
    /// Living keepers, with the number of their launch.
    keepers: HashMap<Pid, u64>,
    /// Events that the daemon has not taken yet. At most one for each launch, whose number the daemon bounds.
    unsent: VecDeque<Vec<u8>>,
}

impl Parent {
    /// Serves the daemon. Returns in the parent when the daemon is gone, and in every keeper.
    fn run(&mut self) -> io::Result<Role> {
        loop {
            let wanted = if self.unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            let mut sources = [
                PollFd::new(&self.requests, PollFlags::IN),
                PollFd::new(&self.children, PollFlags::IN),
                PollFd::new(&self.inheritance.events, wanted),
            ];
            match poll(&mut sources, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(fault) => return Err(fault.into()),
            }
            let [requests, children, _] = sources.map(|source| !source.revents().is_empty());
            if children {
                self.reap();
            }
            if requests {
                let Some((number, request)) = self.read()? else { return Ok(Role::Parent) };
                match signals::fork() {
                    Ok(Some(keeper)) => drop(self.keepers.insert(keeper, number)),
                    Ok(None) => return Ok(Role::Keeper { number, request }),
                    Err(fault) => self.tell(number, Event::NotForked(fault.raw_os_error().unwrap_or(libc::EAGAIN))),
                }
            }
            self.send_unsent();
        }
    }

    /// Reads one request. `None`: the daemon is gone.
    fn read(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut header = [0; HEADER];
        if !is_there(self.requests.read_exact(&mut header))? {
            return Ok(None);
        }
        let (length, number) = read_header(header);
        if length > REQUEST_LIMIT {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "request is too long"));
        }
        let mut request = vec![0; length];
        Ok(is_there(self.requests.read_exact(&mut request))?.then_some((number, request)))
    }

    /// Takes note of keepers that have ended. One that ended in order has told the daemon itself.
    fn reap(&mut self) {
        let mut signal = [0; 128];
        while rustix::io::read(&self.children, &mut signal).is_ok_and(|bytes| bytes > 0) {}
        while let Ok(Some((keeper, status))) = wait(WaitOptions::NOHANG) {
            if let Some(number) = self.keepers.remove(&keeper)
                && status.exit_status() != Some(0)
            {
                self.tell(number, Event::KeeperGone);
            }
        }
    }

    fn tell(&mut self, launch: u64, event: Event) {
        self.unsent.push_back(packet(launch, &event));
    }

    /// Never waits: the daemon may be waiting for this process to read.
    fn send_unsent(&mut self) {
        while let Some(packet) = self.unsent.front() {
            match send(&self.inheritance.events, packet, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN | Errno::NOBUFS) => return,
                _ => drop(self.unsent.pop_front()),
            }
        }
    }
}

/// False if there was no more to read, for the daemon is gone.
fn is_there(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Ok(()) => Ok(true),
        Err(fault) if matches!(fault.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            Ok(false)
        }
        Err(fault) => Err(fault),
    }
}
