//! The user whom a job runs as (`user`, `cmd_user`: work-types 3).

use std::{
    ffi::{CStr, CString},
    io,
    mem::MaybeUninit,
};

/// Longest entry of the user database that is read, in bytes.
const ENTRY_LIMIT: usize = 1024 * 1024;

/// More groups than any user has.
const GROUPS_LIMIT: libc::c_int = 65_536;

/// A user, with everything that a process needs to become it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct User {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
}

impl User {
    /// Finds the user `NAME` or `UID[:GID]`. Asks the system's user database, which may take its time.
    ///
    /// # Errors
    /// What is wrong: `unknown user X`.
    pub(in super::super) fn find(text: &str) -> Result<Self, String> {
        let unknown = || format!("unknown user {text}");
        let (name, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let group = group.map(str::parse).transpose().map_err(|_| unknown())?;
        let entry = match (name.parse(), group) {
            (Ok(uid), Some(gid)) => return Ok(Self { uid, gid, groups: vec![gid] }),
            // A number without an entry has a group of the same number.
            (Ok(uid), None) => Entry::of_uid(uid).unwrap_or(Entry { uid, gid: uid, name: None }),
            (Err(_), None) => Entry::of_name(name).ok_or_else(unknown)?,
            (Err(_), Some(_)) => return Err(unknown()),
        };
        let groups = entry.name.as_deref().and_then(|name| groups(name, entry.gid)).unwrap_or_else(|| vec![entry.gid]);
        Ok(Self { uid: entry.uid, gid: entry.gid, groups })
    }

    /// Makes this process one of the user's, for good.
    ///
    /// # Errors
    /// Not permitted.
    #[allow(unsafe_code)]
    pub(super) fn become_it(&self) -> io::Result<()> {
        let check = |result| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        // SAFETY: the list is valid for its length; the calls change credentials of this process alone.
        unsafe {
            check(libc::setgroups(self.groups.len(), self.groups.as_ptr()))?;
            check(libc::setgid(self.gid))?;
            check(libc::setuid(self.uid))
        }
    }
}

/// One line of the user database.
struct Entry {
    uid: libc::uid_t,
    gid: libc::gid_t,
    name: Option<CString>,
}

impl Entry {
    fn of_name(name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        #[allow(unsafe_code)]
        // SAFETY: all pointers are valid for the call, as `look_up` says.
        Self::look_up(|entry, buffer, length, found| unsafe {
            libc::getpwnam_r(name.as_ptr(), entry, buffer, length, found)
        })
    }

    fn of_uid(uid: libc::uid_t) -> Option<Self> {
        #[allow(unsafe_code)]
        // SAFETY: all pointers are valid for the call, as `look_up` says.
        Self::look_up(|entry, buffer, length, found| unsafe { libc::getpwuid_r(uid, entry, buffer, length, found) })
    }

    /// Calls with room for an entry, a buffer with its length for the texts in it, and room for the answer; all valid for
    /// the time of the call.
    #[allow(unsafe_code)]
    fn look_up(
        call: impl Fn(*mut libc::passwd, *mut libc::c_char, libc::size_t, *mut *mut libc::passwd) -> libc::c_int,
    ) -> Option<Self> {
        let mut buffer: Vec<libc::c_char> = vec![0; 4096];
        loop {
            let mut entry = MaybeUninit::<libc::passwd>::uninit();
            let mut found = std::ptr::null_mut();
            match call(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &raw mut found) {
                libc::ERANGE if buffer.len() < ENTRY_LIMIT => buffer.resize(buffer.len() * 2, 0),
                0 if !found.is_null() => {
                    // SAFETY: the call succeeded and found an entry, so it has filled it in; its name lies in `buffer`.
                    let (entry, name) = unsafe {
                        let entry = entry.assume_init();
                        (entry, CStr::from_ptr(entry.pw_name).to_owned())
                    };
                    return Some(Self { uid: entry.pw_uid, gid: entry.pw_gid, name: Some(name) });
                }
                _ => return None,
            }
        }
    }
}

/// All groups of a user.
#[allow(unsafe_code)]
fn groups(name: &CStr, gid: libc::gid_t) -> Option<Vec<libc::gid_t>> {
    let mut room: libc::c_int = 64;
    while room <= GROUPS_LIMIT {
        let mut count = room;
        let mut list: Vec<libc::gid_t> = vec![0; usize::try_from(room).ok()?];
        // SAFETY: the list has room for `count` entries, and the name ends with a zero byte.
        let result = unsafe { libc::getgrouplist(name.as_ptr(), gid, list.as_mut_ptr(), &raw mut count) };
        if result >= 0 {
            list.truncate(usize::try_from(count).ok()?);
            return Some(list);
        }
        room *= 2;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = User::find("root").unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        assert_eq!(User::find("0"), Ok(root));
        assert_eq!(User::find("7:9"), Ok(User { uid: 7, gid: 9, groups: vec![9] }));
        let stranger = User::find("4000000001").unwrap();
        assert_eq!(stranger, User { uid: 4_000_000_001, gid: 4_000_000_001, groups: vec![4_000_000_001] });
    }

    #[test]
    fn an_unknown_user_is_named() {
        for text in ["nosuchuser", "", "nosuchuser:0", "0:x", "-1", "a\0b"] {
            assert_eq!(User::find(text), Err(format!("unknown user {text}")));
        }
    }
}
