//! The program in the pod: `shim run SPOOL-BYTES LINGER-SECONDS -- COMMAND ARGS...` and `shim check LENGTH CRC`.
//!
//! It is the container's first process. One thread, one `poll`: stdin and stdout of the container on one side, those of
//! the job on the other, signals by a pipe.
//!
//! Exit codes: the job's; 128 + N where signal N ended it; 127 and 126 where it cannot be run, as a shell has it; 125 where
//! the shim itself fails.

mod job;
mod spool;
mod sys;

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, AsRawFd},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use worknode_shim::{
    crc::crc32,
    relay::{Relay, Say},
    wire::{Decoder, Frame, word},
};

use self::{
    job::Job,
    spool::Spool,
    sys::{Interest, poll},
};

/// The shim's own failure.
const FAILED: u8 = 125;
/// Bytes put together before they are written, and read at once.
const BLOCK: usize = 64 * 1024;
/// How long the output of a job is kept that was told to end: whoever deletes the pod wants it gone.
const LINGER_AFTER_SIGTERM: Duration = Duration::from_secs(2);
/// Where a container says why it ended.
const TERMINATION_LOG: &str = "/dev/termination-log";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let text = |index: usize| arguments.get(index).and_then(|word| word.to_str());
    let number = |index: usize| text(index).and_then(|word| word.parse::<u64>().ok());
    let ended = match (text(0), number(1), number(2)) {
        (Some("check"), Some(length), Some(sum)) => return check(length, sum),
        (Some("run"), Some(capacity), Some(linger)) if text(3) == Some("--") => {
            run(capacity, Duration::from_secs(linger), arguments.get(4..).unwrap_or_default())
        }
        _ => Err(io::Error::other("usage: shim run SPOOL-BYTES LINGER-SECONDS -- COMMAND ARGS...")),
    };
    match ended {
        Ok(code) => ExitCode::from(u8::try_from(code & 0xFF).unwrap_or(FAILED)),
        Err(fault) => {
            let words = format!("worknode shim: {fault}\n");
            let _ = io::stderr().write_all(words.as_bytes());
            // Not where there is none: it is the container's.
            if let Ok(mut log) = File::options().append(true).open(TERMINATION_LOG) {
                let _ = log.write_all(words.as_bytes());
            }
            ExitCode::from(FAILED)
        }
    }
}

/// Whether this program is as it was sent.
fn check(length: u64, sum: u64) -> ExitCode {
    let own = std::fs::read("/proc/self/exe").unwrap_or_default();
    let same = u64::try_from(own.len()) == Ok(length) && u64::from(crc32(&own)) == sum;
    ExitCode::from(u8::from(!same))
}

fn run(capacity: u64, linger: Duration, command: &[std::ffi::OsString]) -> io::Result<i32> {
    let directory = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
    let spool = Spool::create(&directory, capacity)?;
    let signals = sys::signals()?;
    for end in [io::stdin().as_fd(), io::stdout().as_fd()] {
        sys::set_nonblocking(end)?;
    }
    let job = Job::start(command)?;
    let mut to_daemon = Vec::new();
    to_daemon.extend_from_slice(format!("\n{}\n", word::STARTED).as_bytes());
    let shim = Shim {
        relay: Relay::new(capacity),
        spool,
        job,
        signals,
        decoder: Decoder::default(),
        to_daemon,
        written: 0,
        from_daemon_is_over: false,
        heard: Instant::now(),
        linger,
        told_to_end: false,
    };
    shim.work()
}

struct Shim {
    relay: Relay,
    spool: Spool,
    job: Job,
    signals: io::PipeReader,
    decoder: Decoder,
    /// Lines for the daemon ...
    to_daemon: Vec<u8>,
    /// ... of which so many bytes are out.
    written: usize,
    from_daemon_is_over: bool,
    /// When the daemon was last heard, or the job ended.
    heard: Instant,
    linger: Duration,
    told_to_end: bool,
}

impl Shim {
    fn work(mut self) -> io::Result<i32> {
        loop {
            if let Some(code) = self.is_over() {
                return Ok(code);
            }
            let (stdin, stdout) = (io::stdin(), io::stdout());
            let job_in = self.job.stdin.as_ref().filter(|_| !self.relay.for_job().is_empty());
            let job_out = self.job.stdout.as_ref().filter(|_| self.relay.room() > 0);
            let to_say = self.written < self.to_daemon.len() || self.relay.has_words();
            let mut interests = [
                Interest::read(Some(self.signals.as_raw_fd())),
                Interest::read(Some(stdin.as_raw_fd()).filter(|_| !self.from_daemon_is_over)),
                Interest::write(Some(stdout.as_raw_fd()).filter(|_| to_say)),
                Interest::write(job_in.map(AsRawFd::as_raw_fd)),
                Interest::read(job_out.map(AsRawFd::as_raw_fd)),
            ];
            poll(&mut interests, self.patience())?;
            let [signals, from_daemon, to_daemon, job_in, job_out] = interests.map(|interest| interest.is_ready());
            if signals {
                self.obey()?;
            }
            if from_daemon {
                self.listen()?;
            }
            if job_in {
                self.feed();
            }
            if job_out {
                self.keep()?;
            }
            if to_daemon {
                self.talk()?;
            }
            self.settle()?;
        }
    }

    fn limit(&self) -> Duration {
        if self.told_to_end { LINGER_AFTER_SIGTERM.min(self.linger) } else { self.linger }
    }

    /// How long nothing needs to be done; none: until something happens.
    fn patience(&self) -> Option<Duration> {
        self.job.is_over().then(|| self.limit().saturating_sub(self.heard.elapsed()))
    }

    fn is_over(&self) -> Option<i32> {
        let waited = self.job.is_over() && self.heard.elapsed() >= self.limit();
        self.job.code().filter(|_| self.relay.is_finished() || waited)
    }

    /// Passes signals on, and takes the children that ended.
    fn obey(&mut self) -> io::Result<()> {
        let mut drained = [0; 64];
        let _ = self.signals.read(&mut drained)?;
        for signal in sys::taken() {
            self.told_to_end |= signal == sys::SIGTERM;
            self.job.signal(signal);
        }
        if self.job.reap() {
            self.heard = Instant::now();
        }
        Ok(())
    }

    fn listen(&mut self) -> io::Result<()> {
        let mut block = [0; BLOCK];
        match io::stdin().lock().read(&mut block) {
            // Nobody can speak any more.
            Ok(0) => self.from_daemon_is_over = true,
            Ok(count) => self.decoder.push(block.get(..count).unwrap_or_default()),
            Err(fault) if is_pause(&fault) => return Ok(()),
            Err(fault) => return Err(fault),
        }
        while let Some(line) = self.decoder.next_line() {
            if self.relay.hear(line) {
                self.heard = Instant::now();
            }
        }
        Ok(())
    }

    fn feed(&mut self) {
        let Some(stdin) = &mut self.job.stdin else { return };
        match stdin.write(self.relay.for_job()) {
            Ok(count) => self.relay.given(count),
            Err(fault) if is_pause(&fault) => {}
            // The job has closed it.
            Err(_) => {
                self.relay.refused();
                self.job.stdin = None;
            }
        }
    }

    fn keep(&mut self) -> io::Result<()> {
        let Some(stdout) = &mut self.job.stdout else { return Ok(()) };
        let mut block = [0; BLOCK];
        let room = usize::try_from(self.relay.room()).unwrap_or(usize::MAX).min(BLOCK);
        match stdout.read(block.get_mut(..room).unwrap_or_default()) {
            Ok(0) => self.job.stdout = None,
            Ok(count) => {
                self.spool.write(self.relay.output_end(), block.get(..count).unwrap_or_default())?;
                self.relay.kept(count);
            }
            Err(fault) if is_pause(&fault) => self.job.rest_was_read(),
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn talk(&mut self) -> io::Result<()> {
        if self.written == self.to_daemon.len() {
            self.to_daemon.clear();
            self.written = 0;
            while self.to_daemon.len() < BLOCK
                && let Some(say) = self.relay.say()
            {
                let frame = match say {
                    Say::Frame(frame) => frame,
                    Say::Output { at, length } => Frame::Output { at, bytes: self.spool.read(at, length)? },
                };
                frame.encode(self.relay.session(), &mut self.to_daemon);
            }
        }
        let rest = self.to_daemon.get(self.written..).unwrap_or_default();
        match sys::write(io::stdout().as_fd(), rest) {
            Ok(count) => self.written += count,
            Err(fault) if is_pause(&fault) => {}
            Err(fault) => return Err(fault),
        }
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        // Not when it is ready: somebody else may hold the other end, and write no more.
        while self.job.code().is_some() && self.job.stdout.is_some() && self.relay.room() > 0 {
            self.keep()?;
        }
        if self.relay.close_now() {
            self.job.stdin = None;
        }
        if let Some(code) = self.job.just_over() {
            self.relay.ended(code);
            self.heard = Instant::now();
        }
        Ok(())
    }
}

fn is_pause(fault: &io::Error) -> bool {
    matches!(fault.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
