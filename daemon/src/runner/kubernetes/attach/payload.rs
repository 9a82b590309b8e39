//! What is to be sent: a file.

use std::{fs::File, io, os::unix::fs::FileExt, path::Path, sync::Arc};

use bytes::Bytes;

/// Bytes read from the file at once.
pub(super) const BLOCK: usize = 256 * 1024;

/// The payload: a file, and how long it is.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    file: Arc<File>,
    length: u64,
}

impl Payload {
    /// Opens the payload of a unit. Blocks.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), length })
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The bytes from `from` on, of which there are some: as many as are read at once.
    pub(crate) async fn block(&self, from: u64) -> io::Result<Bytes> {
        let left = usize::try_from(self.length.saturating_sub(from)).unwrap_or(usize::MAX).min(BLOCK);
        let file = Arc::clone(&self.file);
        let read = move || {
            let mut block = vec![0; left];
            file.read_exact_at(&mut block, from)?;
            io::Result::Ok(Bytes::from(block))
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }
}
