//! The machine as the configuration loader sees it.

use std::{fs, io, path::Path};

use worknode_protocol::config::Host;

/// This machine.
#[derive(Debug, Clone, Copy)]
pub struct ThisHost;

/// A configuration larger than this is not one.
const LARGEST_FILE: u64 = 64 * 1024 * 1024;

impl Host for ThisHost {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        use io::Read;
        let mut text = Vec::new();
        let read = fs::File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
        if read as u64 > LARGEST_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "file is larger than 64 MiB"));
        }
        Ok(text)
    }

    fn open(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path).map(drop)
    }

    fn stat(&self, path: &Path) -> io::Result<()> {
        fs::metadata(path).map(drop)
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn host_name(&self) -> io::Result<String> {
        Ok(rustix::system::uname().nodename().to_string_lossy().into_owned())
    }
}
