//! Starting a program the quick way: `posix_spawn` copies neither memory nor page tables.
//!
//! The standard library has this way too, but hands its own signal mask down, and a keeper blocks all signals.

use std::{
    ffi::{CStr, CString},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use rustix::process::Pid;

use super::signals::SignalSet;

/// A program and what it is given.
pub(super) struct Program<'a> {
    /// Its path.
    pub(super) path: &'a CStr,
    /// Its arguments, the first being its name.
    pub(super) arguments: &'a [CString],
    /// Its environment, `NAME=VALUE` each.
    pub(super) environment: &'a [CString],
    /// Its working directory; this process's if not given.
    pub(super) directory: Option<&'a CStr>,
    /// Its stdin, stdout and stderr.
    pub(super) files: [BorrowedFd<'a>; 3],
}

impl Program<'_> {
    /// Starts it in a process group of its own, with no signal blocked.
    ///
    /// # Errors
    /// The system's, also where it is the program that cannot be executed.
    #[allow(unsafe_code)]
    pub(super) fn spawn(&self) -> io::Result<Pid> {
        let actions = self.actions()?;
        let attributes = Attributes::new_group()?;
        let list = |strings: &[CString]| {
            let pointers = strings.iter().map(|string| string.as_ptr().cast_mut());
            pointers.chain([ptr::null_mut()]).collect::<Vec<_>>()
        };
        let (arguments, environment) = (list(self.arguments), list(self.environment));
        let mut child = 0;
        // SAFETY: the lists are ended by null and point to strings that outlive the call, which does not change them;
        // actions and attributes are initialised.
        check(unsafe {
            libc::posix_spawn(
                &raw mut child,
                self.path.as_ptr(),
                &raw const actions.0,
                &raw const attributes.0,
                arguments.as_ptr(),
                environment.as_ptr(),
            )
        })?;
        Pid::from_raw(child).ok_or_else(|| io::Error::other("no process"))
    }

    #[allow(unsafe_code)]
    fn actions(&self) -> io::Result<Actions> {
        let mut actions = Actions::new()?;
        for (number, file) in (0..).zip(self.files) {
            // SAFETY: the actions are initialised. A copy, unlike the file itself, stays open in the program.
            check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut actions.0, file.as_raw_fd(), number) })?;
        }
        if let Some(directory) = self.directory {
            // SAFETY: the actions are initialised and copy the path.
            check(unsafe { libc::posix_spawn_file_actions_addchdir_np(&raw mut actions.0, directory.as_ptr()) })?;
        }
        Ok(actions)
    }
}

/// These calls give the error number itself.
fn check(error: libc::c_int) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    #[allow(unsafe_code)]
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: the call initialises what it is given, if it succeeds.
        unsafe {
            check(libc::posix_spawn_file_actions_init(actions.as_mut_ptr()))?;
            Ok(Self(actions.assume_init()))
        }
    }
}

impl Drop for Actions {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: initialised, and not used any more.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    #[allow(unsafe_code)]
    fn new_group() -> io::Result<Self> {
        const FLAGS: libc::c_int = libc::POSIX_SPAWN_SETPGROUP | libc::POSIX_SPAWN_SETSIGMASK;
        let flags = libc::c_short::try_from(FLAGS).map_err(io::Error::other)?;
        let none = SignalSet::of(&[]);
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the first call initialises what it is given, if it succeeds; the others change it.
        unsafe {
            check(libc::posix_spawnattr_init(attributes.as_mut_ptr()))?;
            let mut attributes = Self(attributes.assume_init());
            check(libc::posix_spawnattr_setflags(&raw mut attributes.0, flags))?;
            check(libc::posix_spawnattr_setpgroup(&raw mut attributes.0, 0))?;
            check(libc::posix_spawnattr_setsigmask(&raw mut attributes.0, none.as_ptr()))?;
            Ok(attributes)
        }
    }
}

impl Drop for Attributes {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: initialised, and not used any more.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}
