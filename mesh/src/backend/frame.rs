//! Messages in a stream of bytes: a length of two bytes, little-endian, then the message (mesh-protocol 1.1).

use std::io::{self, IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::LARGEST_MESSAGE;

/// Bytes of the length before each message.
const PREFIX: usize = 2;
/// How much is asked of the transport at once: little at first, more as long as reads fill what was offered.
const SMALLEST_READ: usize = 8 * 1024;
const LARGEST_READ: usize = 256 * 1024;
/// A message is handed on inside the block it was read into. One that is smaller than this part of a block is copied, so
/// that a small message that waits somewhere does not hold a large block.
const COPIED_BELOW: usize = 16;
/// A block that is so many times as large as what is asked for is given back.
const BLOCK_KEPT: usize = 4;

/// Reads messages.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
    read_size: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// A reader of messages from `io`.
    pub(crate) fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new(), read_size: SMALLEST_READ }
    }

    /// The next message, never an empty one: frames without content are skipped. None at the end of the stream.
    /// Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// The transport failed, or the stream ended within a message.
    pub(crate) async fn next(&mut self) -> io::Result<Option<BytesMut>> {
        loop {
            if let Some(message) = self.take() {
                return Ok(Some(message));
            }
            // After a burst: a quiet link does not keep a large block.
            if self.buffer.is_empty() && self.buffer.capacity() > BLOCK_KEPT * self.read_size {
                self.buffer = BytesMut::new();
            }
            // The next message needs at most this much, so that a message lies in one block.
            self.buffer.reserve(self.read_size.max(self.missing()));
            let offered = self.buffer.capacity() - self.buffer.len();
            let read = self.io.read_buf(&mut self.buffer).await?;
            if read == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            if read == offered {
                self.read_size = (self.read_size * 2).min(LARGEST_READ);
            } else if read < self.read_size / 4 {
                self.read_size = (self.read_size / 2).max(SMALLEST_READ);
            }
        }
    }

    /// A message that is there in full.
    fn take(&mut self) -> Option<BytesMut> {
        loop {
            let length = usize::from(u16::from_le_bytes(*self.buffer.first_chunk::<PREFIX>()?));
            if self.buffer.len() < PREFIX + length {
                return None;
            }
            let block = self.buffer.capacity();
            self.buffer.advance(PREFIX);
            let message = self.buffer.split_to(length);
            if message.is_empty() {
                continue;
            }
            let small = message.len() < block / COPIED_BELOW;
            return Some(if small { BytesMut::from(&message[..]) } else { message });
        }
    }

    /// How many bytes of the message at hand have not come yet.
    fn missing(&self) -> usize {
        let length = self.buffer.first_chunk::<PREFIX>().map_or(0, |prefix| usize::from(u16::from_le_bytes(*prefix)));
        (PREFIX + length).saturating_sub(self.buffer.len())
    }
}

/// Writes messages.
#[derive(Debug)]
pub(crate) struct FrameWriter<W> {
    io: W,
    prefixes: Vec<[u8; PREFIX]>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// A writer of messages to `io`.
    pub(crate) fn new(io: W) -> Self {
        Self { io, prefixes: Vec::new() }
    }

    /// Writes messages, all of them with as few system calls as possible.
    ///
    /// # Errors
    /// The transport failed; the stream can no longer be used. A message is empty or larger than [`LARGEST_MESSAGE`]:
    /// neither may ever be written, as they break the link or the peer (mesh-protocol 1.1).
    pub(crate) async fn send(&mut self, messages: &[Bytes]) -> io::Result<()> {
        self.prefixes.clear();
        for message in messages {
            let length = u16::try_from(message.len()).ok().filter(|length| *length > 0);
            let length =
                length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a message of that length"))?;
            self.prefixes.push(length.to_le_bytes());
        }
        let mut slices: Vec<IoSlice<'_>> = Vec::with_capacity(messages.len() * 2);
        for (prefix, message) in self.prefixes.iter().zip(messages) {
            slices.extend([IoSlice::new(prefix), IoSlice::new(message)]);
        }
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = self.io.write_vectored(rest).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut rest, written);
        }
        self.io.flush().await
    }

    /// Ends the stream.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}

const _: () = assert!(LARGEST_MESSAGE == u16::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// mesh-protocol 1.1: u16 little-endian, then the message.
    #[tokio::test]
    async fn frames_are_a_little_endian_length_and_the_message() {
        let mut wire = Vec::new();
        FrameWriter::new(&mut wire).send(&[Bytes::from_static(b"\x03[]"), Bytes::from(vec![7; 300])]).await.unwrap();
        assert_eq!(wire[..5], [3, 0, 3, b'[', b']']);
        assert_eq!(wire[5..8], [44, 1, 7]);
        assert_eq!(wire.len(), 5 + 302);
    }

    #[tokio::test]
    async fn what_must_never_be_written_is_refused_before_a_byte_is_written() {
        for bad in [Bytes::new(), Bytes::from(vec![0; LARGEST_MESSAGE + 1])] {
            let mut wire = Vec::new();
            assert!(FrameWriter::new(&mut wire).send(&[Bytes::from_static(b"x"), bad]).await.is_err());
            assert!(wire.is_empty());
        }
    }

    #[tokio::test]
    async fn empty_frames_are_skipped_and_a_cut_one_is_an_error() {
        let mut reader = FrameReader::new(&b"\0\0\0\0\x01\0a\0\0"[..]);
        assert_eq!(reader.next().await.unwrap().unwrap(), "a");
        assert_eq!(reader.next().await.unwrap(), None);
        for cut in [&b"\x02"[..], b"\x02\0", b"\x02\0a"] {
            assert_eq!(FrameReader::new(cut).next().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test]
    async fn a_quiet_link_keeps_no_large_block() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (mut writer, mut reader) = (FrameWriter::new(near), FrameReader::new(far));
        for _ in 0..40 {
            writer.send(&vec![Bytes::from(vec![1; 60_000]); 10]).await.unwrap();
            for _ in 0..10 {
                reader.next().await.unwrap();
            }
        }
        assert!(reader.buffer.capacity() > 64 * 1024 && reader.read_size == LARGEST_READ);
        for _ in 0..20 {
            writer.send(&[Bytes::from_static(b"update")]).await.unwrap();
            reader.next().await.unwrap();
        }
        assert!(reader.buffer.capacity() <= BLOCK_KEPT * SMALLEST_READ, "{}", reader.buffer.capacity());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        /// Any bytes at all: the messages are those that stand in them, and what is cut is an error.
        #[test]
        fn any_bytes_are_frames_and_perhaps_a_cut_one(
            parts in prop::collection::vec((0_u16..300, prop::collection::vec(any::<u8>(), 0..300)), 0..20),
        ) {
            let wire: Vec<u8> = parts.iter().flat_map(|(length, bytes)| [&length.to_le_bytes()[..], bytes].concat()).collect();
            let (mut expected, mut rest, mut cut) = (Vec::new(), &wire[..], false);
            while !rest.is_empty() {
                let length = rest.first_chunk().map_or(usize::MAX, |prefix| usize::from(u16::from_le_bytes(*prefix)));
                let Some(message) = rest.get(PREFIX..length.saturating_add(PREFIX)) else {
                    cut = true;
                    break;
                };
                expected.extend((length > 0).then(|| message.to_vec()));
                rest = &rest[PREFIX + length..];
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut reader = FrameReader::new(&wire[..]);
                for message in expected {
                    assert_eq!(reader.next().await.unwrap().unwrap(), message);
                }
                match reader.next().await {
                    Ok(end) => assert!(end.is_none() && !cut),
                    Err(error) => assert!(cut && error.kind() == io::ErrorKind::UnexpectedEof),
                }
            });
        }

        /// Any messages come through any cutting of the stream, in order.
        #[test]
        fn messages_come_through_as_they_are(
            sizes in prop::collection::vec(prop_oneof![1usize..40, 1usize..70_000], 1..20),
            pipe in prop_oneof![1usize..20, 1000usize..300_000],
        ) {
            let messages: Vec<Bytes> = sizes.iter().enumerate()
                .map(|(i, size)| Bytes::from(vec![u8::try_from(i).unwrap(); (*size).min(LARGEST_MESSAGE)])).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let (near, far) = tokio::io::duplex(pipe);
                let sent = messages.clone();
                let writer = tokio::spawn(async move { FrameWriter::new(near).send(&sent).await });
                let mut reader = FrameReader::new(far);
                for message in &messages {
                    assert_eq!(reader.next().await.unwrap().unwrap(), message);
                }
                writer.await.unwrap().unwrap();
                assert_eq!(reader.next().await.unwrap(), None);
            });
        }
    }
}
