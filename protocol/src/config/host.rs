//! What a loader asks of the machine it runs on. This crate does no I/O, so the daemon answers.

use std::io;
use std::path::Path;

/// What a loader asks of the machine it runs on.
pub trait Host {
    /// The contents of a file.
    ///
    /// # Errors
    /// As the system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Whether a file can be opened for reading.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, path: &Path) -> io::Result<()>;

    /// Whether a path leads to anything.
    ///
    /// # Errors
    /// As the system says.
    fn stat(&self, path: &Path) -> io::Result<()>;

    /// An environment variable, if it is set and is text.
    fn variable(&self, name: &str) -> Option<String>;

    /// The name of this host.
    ///
    /// # Errors
    /// As the system says.
    fn host_name(&self) -> io::Result<String>;
}

/// An error of the system in Go's words: `open /nope: no such file or directory`.
pub(super) fn system_text(call: &str, path: &Path, error: &io::Error) -> String {
    format!("{call} {}: {}", path.display(), reason(error))
}

/// The reason alone: the system's text, which begins with a small letter in Go and carries no number.
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    if error.raw_os_error().is_none() {
        return match error.kind() {
            io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            io::ErrorKind::IsADirectory => "is a directory".to_owned(),
            _ => text,
        };
    }
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A machine made up for a test.
    #[derive(Default, Clone)]
    pub(in crate::config) struct FakeHost {
        pub(in crate::config) files: BTreeMap<String, String>,
        pub(in crate::config) variables: BTreeMap<String, String>,
        pub(in crate::config) name: String,
    }

    impl FakeHost {
        pub(in crate::config) fn with(files: &[(&str, &str)]) -> Self {
            let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
            Self { files, name: "host1".to_owned(), ..Self::default() }
        }
    }

    impl Host for FakeHost {
        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            let text = path.to_str().and_then(|path| self.files.get(path));
            text.map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
        }

        fn open(&self, path: &Path) -> io::Result<()> {
            self.read(path).map(drop)
        }

        fn stat(&self, path: &Path) -> io::Result<()> {
            self.read(path).map(drop)
        }

        fn variable(&self, name: &str) -> Option<String> {
            self.variables.get(name).cloned()
        }

        fn host_name(&self) -> io::Result<String> {
            Ok(self.name.clone())
        }
    }

    #[test]
    fn errors_of_the_system_are_told_in_the_words_of_go() {
        // Numbers of Linux: ENOENT, EACCES, EISDIR.
        for (number, expected) in [
            (2, "open /nope: no such file or directory"),
            (13, "open /nope: permission denied"),
            (21, "open /nope: is a directory"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            assert_eq!(system_text("open", Path::new("/nope"), &error), expected);
        }
        let made_up = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(system_text("stat", Path::new("/nope"), &made_up), "stat /nope: no such file or directory");
    }
}
