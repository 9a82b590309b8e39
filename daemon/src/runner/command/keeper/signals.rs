//! Signals and forks, where the standard library has no call and rustix none that is stable.
//!
//! Everything here is called in processes with one thread.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{FromRawFd, OwnedFd},
    time::Duration,
};

use rustix::process::{Pid, Signal};

/// A set of signals.
pub(super) struct SignalSet(libc::sigset_t);

impl SignalSet {
    /// All signals there are.
    #[allow(unsafe_code)]
    fn all() -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigfillset` initialises the set it is given.
        unsafe {
            libc::sigfillset(set.as_mut_ptr());
            Self(set.assume_init())
        }
    }

    /// These signals.
    #[allow(unsafe_code)]
    pub(super) fn of(signals: &[Signal]) -> Self {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set it is given; `sigaddset` only refuses numbers that are no signals.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in signals {
                libc::sigaddset(set.as_mut_ptr(), signal.as_raw());
            }
            Self(set.assume_init())
        }
    }

    /// The set, for calls that read it.
    pub(super) fn as_ptr(&self) -> *const libc::sigset_t {
        &raw const self.0
    }

    /// Waits for one of the set, which must be blocked. `None`: none came in time.
    #[allow(unsafe_code)]
    pub(super) fn wait(&self, at_most: Option<Duration>) -> Option<i32> {
        let limit = at_most.map(|time| libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(time.subsec_nanos().cast_signed()),
        });
        let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the set is initialised; the details of the signal are not asked for; the limit is null or lives on.
        let signal = unsafe { libc::sigtimedwait(&raw const self.0, std::ptr::null_mut(), limit) };
        (signal > 0).then_some(signal)
    }

    /// A descriptor that is readable while one of the set, which must be blocked, is pending.
    #[allow(unsafe_code)]
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        // SAFETY: the set is initialised.
        let fd = unsafe { libc::signalfd(-1, &raw const self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so the descriptor is open and nobody else's.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

/// Blocks every signal that can be blocked, for this process and its forks. Nothing but SIGKILL ends them, and what they
/// want to hear of they wait for. A program started by the standard library gets an empty mask.
#[allow(unsafe_code)]
pub(super) fn block_all() {
    let all = SignalSet::all();
    // SAFETY: the set is initialised, the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all.0, std::ptr::null_mut()) };
}

/// Gives every signal its default effect. What the daemon was started with (`nohup`, a shell's background job) would be
/// handed down to jobs, which could then not be interrupted.
#[allow(unsafe_code)]
pub(super) fn restore_defaults() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler is installed; numbers that cannot be set are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Forks. `None` in the child.
#[allow(unsafe_code)]
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: this process has one thread, so the child finds all of its memory in order.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(Pid::from_raw(child)),
    }
}

/// Ends this process without any of the clean-up that belongs to the process it was forked from.
#[allow(unsafe_code)]
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: ends the process and does nothing else.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor but the standard three: the daemon may have been handed some that it knows nothing of, and
/// whoever waits for their end would wait for jobs. To be called before this process opens any.
#[allow(unsafe_code)]
pub(super) fn close_inherited() {
    const FIRST: libc::c_uint = 3;
    const FLAGS: libc::c_uint = 0;
    // SAFETY: nothing in this process owns a descriptor yet. A kernel before 5.9 refuses, and nothing changes.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, FLAGS) };
}

/// Blocks no signal: what a program is to start with.
#[allow(unsafe_code)]
pub(super) fn unblock_all() {
    // SAFETY: the set is initialised, the old mask is not asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, SignalSet::of(&[]).as_ptr(), std::ptr::null_mut()) };
}
