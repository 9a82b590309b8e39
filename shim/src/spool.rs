//! Where output is kept: a file without a name, used in a ring.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path};

pub(crate) struct Spool {
    file: File,
    capacity: u64,
}

impl Spool {
    /// Makes the file. It ends with this process.
    pub(crate) fn create(directory: &Path, capacity: u64) -> io::Result<Self> {
        let path = directory.join("spool");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(Self { file, capacity: capacity.max(1) })
    }

    /// Keeps bytes that belong at this offset of the output.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let (place, first) = self.place(at, bytes.len());
        let (bytes, rest) = bytes.split_at(first);
        self.file.write_all_at(bytes, place)?;
        self.file.write_all_at(rest, 0)
    }

    /// Bytes that were kept, and not written over since.
    pub(crate) fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let (place, first) = self.place(at, length);
        let (begin, rest) = bytes.split_at_mut(first);
        self.file.read_exact_at(begin, place)?;
        self.file.read_exact_at(rest, 0)?;
        Ok(bytes)
    }

    /// Where in the file an offset is, and how many of so many bytes come before the file's end.
    fn place(&self, at: u64, length: usize) -> (u64, usize) {
        let place = at % self.capacity;
        (place, usize::try_from(self.capacity - place).unwrap_or(usize::MAX).min(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_round_the_end_of_the_file() {
        let directory = std::env::temp_dir().join(format!("worknode-spool-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let spool = Spool::create(&directory, 10).unwrap();
        for at in [0, 7, 10, 25] {
            spool.write(at, b"abcdef").unwrap();
            assert_eq!(spool.read(at, 6).unwrap(), b"abcdef");
            assert_eq!(spool.read(at + 2, 3).unwrap(), b"cde");
        }
        assert!(std::fs::read_dir(&directory).unwrap().next().is_none());
        std::fs::remove_dir(directory).unwrap();
    }
}
