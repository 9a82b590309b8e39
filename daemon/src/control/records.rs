//! A TCP stream below TLS that knows where the records end.
//!
//! Clients end their payload by closing the sending half of the socket, without TLS's own farewell (`close_notify`); Python's
//! cannot do it otherwise, and the reference takes that for the end if it comes between two records. Within a record it is
//! a connection that broke.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Bytes before a record's content: its type, the version, and the content's length in the last two (RFC 8446, 5.1).
const HEADER: u8 = 5;

/// Where in the stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In a header, of which so many bytes have come, and what is known of the content's length.
    Header(u8, u16),
    /// In a record's content, of which so many bytes are still to come.
    Content(u16),
}

impl Place {
    const BETWEEN: Self = Self::Header(0, 0);

    fn after(mut self, mut bytes: &[u8]) -> Self {
        while let Some((&byte, rest)) = bytes.split_first() {
            (self, bytes) = match self {
                Self::Header(have, length) => {
                    let have = have + 1;
                    let length = if have > HEADER - 2 { (length << 8) | u16::from(byte) } else { 0 };
                    let next = if have < HEADER { Self::Header(have, length) } else { Self::of_content(length) };
                    (next, rest)
                }
                Self::Content(left) => {
                    let taken = bytes.len().min(usize::from(left));
                    let left = left.saturating_sub(u16::try_from(taken).unwrap_or(u16::MAX));
                    (Self::of_content(left), bytes.get(taken..).unwrap_or_default())
                }
            };
        }
        self
    }

    fn of_content(left: u16) -> Self {
        if left == 0 { Self::BETWEEN } else { Self::Content(left) }
    }
}

/// The stream.
pub struct Records {
    stream: TcpStream,
    read: Place,
}

impl Records {
    /// A stream of which nothing has been read.
    pub fn over(stream: TcpStream) -> Self {
        Self { stream, read: Place::BETWEEN }
    }

    /// True if what has been read so far is whole records.
    pub fn are_whole(&self) -> bool {
        self.read == Place::BETWEEN
    }
}

impl AsyncRead for Records {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        this.read = this.read.after(buf.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl AsyncWrite for Records {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(length: u16) -> Vec<u8> {
        let mut record = vec![23, 3, 3];
        record.extend(length.to_be_bytes());
        record.extend(std::iter::repeat_n(0xff, length.into()));
        record
    }

    proptest! {
        #[test]
        fn the_end_of_each_record_is_known_however_the_bytes_come(
            lengths in prop::collection::vec(0_u16..700, 1..6),
            cuts in prop::collection::vec(1_usize..400, 1..20),
        ) {
            let ends: Vec<usize> = lengths
                .iter()
                .scan(0, |end, length| {
                    *end += record(*length).len();
                    Some(*end)
                })
                .collect();
            let bytes: Vec<u8> = lengths.iter().flat_map(|length| record(*length)).collect();
            let (mut place, mut at) = (Place::BETWEEN, 0);
            for cut in cuts.iter().cycle() {
                let next = (at + cut).min(bytes.len());
                place = place.after(&bytes[at..next]);
                at = next;
                prop_assert_eq!(place == Place::BETWEEN, ends.contains(&at));
                if at == bytes.len() {
                    break;
                }
            }
        }
    }

    #[test]
    fn the_longest_record() {
        let whole = record(u16::MAX);
        assert_eq!(Place::BETWEEN.after(&whole), Place::BETWEEN);
        assert_eq!(Place::BETWEEN.after(&whole[..whole.len() - 1]), Place::Content(1));
    }
}
