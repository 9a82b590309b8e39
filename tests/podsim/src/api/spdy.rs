//! The server's half of SPDY/3.1 framing (kubernetes-streams 3.2).

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Status of a stream that is no longer needed.
pub(super) const CANCEL: u32 = 5;
/// Status of a connection that ends in order.
pub(super) const OK: u32 = 0;

/// Read from the connection at once, beyond what a frame is known to need.
const READ_SIZE: usize = 64 * 1024;
/// Longest block of headers, unpacked.
const BLOCK_LIMIT: usize = 64 * 1024;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// The dictionary of header blocks: the names that SPDY/3 begins it with, and what follows them
/// (draft-mbelshe-httpbis-spdy-00, 2.6.10.1).
fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in include_str!("spdy/words.txt").lines() {
        bytes.extend_from_slice(&u32::try_from(word.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(include_str!("spdy/rest.txt").trim_end().as_bytes());
    bytes
}

/// A frame of the client's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Data {
        stream: u32,
        fin: bool,
        bytes: Bytes,
    },
    SynStream {
        stream: u32,
        headers: Vec<(String, String)>,
    },
    Reset {
        stream: u32,
    },
    Ping(u32),
    GoAway,
    /// Settings, windows and the like, which are ignored.
    Other,
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Frame(Frame),
    /// The connection is over.
    End,
}

pub(super) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
    zlib: Decompress,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new(), zlib: Decompress::new(true) }
    }

    /// The next frame; what is no frame is an error. With `headers` those of new streams are unpacked, too.
    pub(super) async fn next(&mut self, headers: bool) -> io::Result<Received> {
        loop {
            let missing = match self.buffer.first_chunk::<8>() {
                None => 1,
                Some([.., high, middle, low]) => {
                    let length = u32::from_be_bytes([0, *high, *middle, *low]);
                    let whole = 8 + usize::try_from(length).unwrap_or(usize::MAX - 8);
                    match whole.checked_sub(self.buffer.len()) {
                        None | Some(0) => {
                            let frame = self.buffer.split_to(whole).freeze();
                            return Ok(Received::Frame(self.parse(frame, headers)?));
                        }
                        Some(missing) => missing,
                    }
                }
            };
            self.buffer.reserve(missing.max(READ_SIZE));
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return Ok(Received::End);
            }
        }
    }

    fn parse(&mut self, mut frame: Bytes, headers: bool) -> io::Result<Frame> {
        let first = frame.try_get_u32().map_err(io::Error::other)?;
        let flags = frame.try_get_u32().map_err(io::Error::other)? >> 24;
        if first >> 31 == 0 {
            return Ok(Frame::Data { stream: first, fin: flags & 1 != 0, bytes: frame });
        }
        if (first >> 16) & 0x7fff != 3 {
            return Err(io::Error::other("a SPDY frame of another version"));
        }
        let mut number = || frame.try_get_u32().map_err(io::Error::other);
        Ok(match u16::try_from(first & 0xffff).unwrap_or_default() {
            SYN_STREAM => {
                let stream = number()?;
                number()?;
                frame.try_get_u16().map_err(io::Error::other)?;
                let headers = if headers { parse_headers(&self.unpack(&frame)?)? } else { Vec::new() };
                Frame::SynStream { stream, headers }
            }
            RST_STREAM => Frame::Reset { stream: number()? },
            PING => Frame::Ping(number()?),
            GOAWAY => Frame::GoAway,
            _ => Frame::Other,
        })
    }

    fn unpack(&mut self, packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(BLOCK_LIMIT);
        let mut rest = packed;
        loop {
            let before = self.zlib.total_in();
            let result = self.zlib.decompress_vec(rest, &mut plain, FlushDecompress::Sync);
            let taken = usize::try_from(self.zlib.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.zlib.set_dictionary(&dictionary())?;
                }
                Err(error) => return Err(error.into()),
                Ok(_) if rest.is_empty() => return Ok(plain),
                Ok(_) => return Err(io::Error::other("a block of headers that does not end, or is too long")),
            }
        }
    }
}

fn parse_headers(mut plain: &[u8]) -> io::Result<Vec<(String, String)>> {
    let count = plain.try_get_u32().map_err(io::Error::other)?;
    let mut text = || {
        let length = plain.try_get_u32().map_err(io::Error::other)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let bytes = plain.split_off(..length).ok_or(io::ErrorKind::UnexpectedEof)?;
        io::Result::Ok(String::from_utf8_lossy(bytes).into_owned())
    };
    // An error ends it long before a count that is a lie.
    (0..count).map(|_| Ok((text()?, text()?))).collect()
}

pub(super) struct FrameWriter<W> {
    io: W,
    zlib: Compress,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(io: W) -> Self {
        let mut zlib = Compress::new(Compression::best(), true);
        // Fails only in the middle of a stream.
        let _ = zlib.set_dictionary(&dictionary());
        Self { io, zlib }
    }

    pub(super) async fn data(&mut self, stream: u32, fin: bool, bytes: &[u8]) -> io::Result<()> {
        self.frame(stream, u8::from(fin), bytes).await
    }

    /// The answer to a new stream, which has no headers.
    pub(super) async fn reply(&mut self, stream: u32) -> io::Result<()> {
        let mut block = Vec::with_capacity(256);
        self.zlib.compress_vec(&[0; 4], &mut block, FlushCompress::Sync)?;
        self.control(SYN_REPLY, &[&stream.to_be_bytes()[..], &block].concat()).await
    }

    pub(super) async fn reset(&mut self, stream: u32, status: u32) -> io::Result<()> {
        self.control(RST_STREAM, &[stream.to_be_bytes(), status.to_be_bytes()].concat()).await
    }

    pub(super) async fn ping(&mut self, id: u32) -> io::Result<()> {
        self.control(PING, &id.to_be_bytes()).await
    }

    pub(super) async fn go_away(&mut self, last: u32, status: u32) -> io::Result<()> {
        self.control(GOAWAY, &[last.to_be_bytes(), status.to_be_bytes()].concat()).await
    }

    async fn control(&mut self, kind: u16, payload: &[u8]) -> io::Result<()> {
        self.frame(0x8003_0000 | u32::from(kind), 0, payload).await
    }

    async fn frame(&mut self, first: u32, flags: u8, payload: &[u8]) -> io::Result<()> {
        let [.., high, middle, low] = payload.len().to_be_bytes();
        let mut frame = first.to_be_bytes().to_vec();
        frame.extend_from_slice(&[flags, high, middle, low]);
        frame.extend_from_slice(payload);
        self.io.write_all(&frame).await?;
        self.io.flush().await
    }

    /// Ends the connection properly.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn headers_come_out_as_the_reference_packs_them() {
        assert_eq!(dictionary().len(), 1423);
        let frame = [
            &[0x80, 3, 0, 1, 0, 0, 0, 0x28, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
            // kubernetes-streams 3.2
            &[0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, 0x02, 0xa6, 0x23, 0x46, 0x70, 0x3a, 0x2b, 0x29, 0x4a, 0x4d],
            &[0xcc, 0x85, 0x16, 0x25, 0xac, 0xa9, 0xa0, 0x80, 0x06, 0x00, 0x00, 0x00, 0xff, 0xff],
        ];
        let wire = frame.concat();
        let mut reader = FrameReader::new(wire.as_slice());
        let headers = vec![("streamtype".to_owned(), "error".to_owned())];
        assert_eq!(reader.next(true).await.unwrap(), Received::Frame(Frame::SynStream { stream: 1, headers }));
        assert_eq!(reader.next(true).await.unwrap(), Received::End);
    }
}
