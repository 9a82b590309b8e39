//! The few calls of Linux that the standard library does not have. All of this program's unsafe code is here.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_short, c_ulong, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd},
    sync::atomic::{AtomicI32, AtomicU32, Ordering},
    time::Duration,
};

pub(crate) const SIGKILL: c_int = 9;
pub(crate) const SIGTERM: c_int = 15;
const SIGCHLD: c_int = 17;
/// Passed on to the job: HUP, INT, QUIT, USR1, USR2, TERM.
const PASSED: [c_int; 6] = [1, 2, 3, 10, 12, SIGTERM];

const POLLIN: c_short = 1;
const POLLOUT: c_short = 4;
const F_GETFL: c_int = 3;
const F_SETFL: c_int = 4;
const O_NONBLOCK: c_int = 0o4000;
const WNOHANG: c_int = 1;

/// As C has it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Interest {
    fd: c_int,
    events: c_short,
    ready: c_short,
}

unsafe extern "C" {
    #[link_name = "poll"]
    fn wait_for(fds: *mut Interest, count: c_ulong, millis: c_int) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    #[link_name = "kill"]
    fn send_signal(pid: c_int, signal: c_int) -> c_int;
    fn signal(signal: c_int, handler: extern "C" fn(c_int)) -> *mut c_void;
    #[link_name = "write"]
    fn write_to(fd: c_int, bytes: *const c_void, count: usize) -> isize;
}

impl Interest {
    /// In bytes to read, or the end; none: in nothing.
    pub(crate) fn read(fd: Option<RawFd>) -> Self {
        Self { fd: fd.unwrap_or(-1), events: POLLIN, ready: 0 }
    }

    /// In room to write; none: in nothing.
    pub(crate) fn write(fd: Option<RawFd>) -> Self {
        Self { fd: fd.unwrap_or(-1), events: POLLOUT, ready: 0 }
    }

    /// Something can be done, if only to find out that nothing can be done any more.
    pub(crate) fn is_ready(self) -> bool {
        self.ready != 0
    }
}

/// Waits until one is ready, a signal came or the time is over; none: for ever.
pub(crate) fn poll(interests: &mut [Interest], limit: Option<Duration>) -> io::Result<()> {
    // Up to the next millisecond: not again and again before the time.
    let millis = limit.map_or(-1, |limit| c_int::try_from(limit.as_millis() + 1).unwrap_or(c_int::MAX));
    let count = c_ulong::try_from(interests.len()).map_err(io::Error::other)?;
    // SAFETY: the pointer and the count are those of a slice of what C calls `struct pollfd`.
    if unsafe { wait_for(interests.as_mut_ptr(), count, millis) } >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        fault if fault.kind() == io::ErrorKind::Interrupted => {
            for interest in interests {
                interest.ready = 0;
            }
            Ok(())
        }
        fault => Err(fault),
    }
}

/// Lets reads and writes return at once. It holds for all who share the open file: here, nobody does.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let fd = fd.as_raw_fd();
    // SAFETY: the descriptor is open as long as it is borrowed; these commands touch no memory.
    let done = unsafe {
        let flags = fcntl(fd, F_GETFL);
        flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) >= 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Writes without a buffer in between.
pub(crate) fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of a slice; the descriptor is borrowed.
    let count = unsafe { write_to(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Sends a signal; to nobody, if there is nobody.
pub(crate) fn kill(pid: i32, number: c_int) {
    // SAFETY: touches no memory.
    let _ = unsafe { send_signal(pid, number) };
}

/// A child that has ended, and its exit code as a shell has it.
pub(crate) fn reap() -> Option<(i32, i32)> {
    let mut status: c_int = 0;
    // SAFETY: the pointer is that of a local variable.
    let pid = unsafe { waitpid(-1, &raw mut status, WNOHANG) };
    let number = status & 0x7F;
    (pid > 0).then(|| (pid, if number == 0 { (status >> 8) & 0xFF } else { 128 + number }))
}

/// Signals that came, as bits.
static TAKEN: AtomicU32 = AtomicU32::new(0);
/// Where that is told.
static BELL: AtomicI32 = AtomicI32::new(-1);

extern "C" fn take(number: c_int) {
    TAKEN.fetch_or(1 << (number & 31), Ordering::SeqCst);
    // SAFETY: `write` may be called by a signal handler; a full pipe has rung already.
    let _ = unsafe { write_to(BELL.load(Ordering::SeqCst), b"!".as_ptr().cast(), 1) };
}

/// From now on signals are taken. Readable when there are some.
pub(crate) fn signals() -> io::Result<io::PipeReader> {
    let (bell, rope) = io::pipe()?;
    for end in [std::os::fd::AsFd::as_fd(&bell), std::os::fd::AsFd::as_fd(&rope)] {
        set_nonblocking(end)?;
    }
    BELL.store(rope.into_raw_fd(), Ordering::SeqCst);
    for number in PASSED.into_iter().chain([SIGCHLD]) {
        // SAFETY: the handler does nothing that a handler must not do.
        unsafe { signal(number, take) };
    }
    Ok(bell)
}

/// The signals that came since this was last asked and are the job's.
pub(crate) fn taken() -> impl Iterator<Item = c_int> {
    let taken = TAKEN.swap(0, Ordering::SeqCst);
    PASSED.into_iter().filter(move |number| taken & (1 << number) != 0)
}
