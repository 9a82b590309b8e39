//! The server's half of WebSocket framing, with what is special about Kubernetes' use of it.
//!
//! Every frame is a message of its own, also one that is marked as a fragment: the API server reads frames, not
//! messages (kubernetes-streams 1.2).

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes, BytesMut};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// RFC 6455, section 1.3.
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Largest payload taken, channel byte included (kubernetes-streams 1.2).
const PAYLOAD_LIMIT: u64 = 32 * 1024 * 1024;
/// Read from the connection at once, beyond what a frame is known to need.
const READ_SIZE: usize = 64 * 1024;

/// RFC 6455, section 5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opcode {
    /// Text, binary or continuation: all the same here.
    Data,
    Close,
    Ping,
    Pong,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) payload: Bytes,
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Frame(Frame),
    /// The client broke the rules, or sent a frame over the limit.
    Violation,
    /// The connection is over.
    End,
}

/// Value of `Sec-WebSocket-Accept`.
pub(super) fn accept_key(key: &str) -> String {
    STANDARD.encode(Sha1::digest(format!("{key}{ACCEPT_GUID}")))
}

pub(super) struct FrameReader<R> {
    io: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new() }
    }

    pub(super) async fn next(&mut self) -> io::Result<Received> {
        loop {
            let missing = match Head::parse(&self.buffer) {
                Parsed::Violation => return Ok(Received::Violation),
                Parsed::Incomplete => 1,
                Parsed::Head(head) => {
                    let whole = head.length.saturating_add(head.payload);
                    match whole.checked_sub(self.buffer.len()) {
                        None | Some(0) => return Ok(Received::Frame(self.take(&head))),
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

    fn take(&mut self, head: &Head) -> Frame {
        self.buffer.advance(head.length);
        let mut payload = self.buffer.split_to(head.payload);
        unmask(&mut payload, head.mask);
        Frame { opcode: head.opcode, payload: payload.freeze() }
    }
}

enum Parsed {
    Incomplete,
    Violation,
    Head(Head),
}

struct Head {
    opcode: Opcode,
    /// Bytes of the head itself.
    length: usize,
    /// Bytes of the payload.
    payload: usize,
    mask: [u8; 4],
}

impl Head {
    fn parse(bytes: &[u8]) -> Parsed {
        let [first, second, rest @ ..] = bytes else { return Parsed::Incomplete };
        let opcode = match first & 0x0f {
            0..=2 => Opcode::Data,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Parsed::Violation,
        };
        // Reserved bits, or a client that does not mask.
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Parsed::Violation;
        }
        let (payload, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, [a, b, c, d, e, f, g, h, rest @ ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), rest),
            (126 | 127, _) => return Parsed::Incomplete,
            (short, rest) => (u64::from(short), rest),
        };
        if payload > PAYLOAD_LIMIT || (opcode != Opcode::Data && payload > 125) {
            return Parsed::Violation;
        }
        let ([a, b, c, d, rest @ ..], Ok(payload)) = (rest, usize::try_from(payload)) else {
            return Parsed::Incomplete;
        };
        Parsed::Head(Self { opcode, length: bytes.len() - rest.len(), payload, mask: [*a, *b, *c, *d] })
    }
}

/// Sixteen bytes at a time: all of stdin goes through here, often in builds that are not optimized.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u128::from_ne_bytes([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
    let (blocks, rest) = payload.as_chunks_mut::<16>();
    for block in blocks {
        *block = (u128::from_ne_bytes(*block) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

pub(super) struct FrameWriter<W> {
    io: W,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(io: W) -> Self {
        Self { io, buffer: Vec::new() }
    }

    /// One binary frame: the channel's number, then the data.
    pub(super) async fn channel(&mut self, channel: u8, data: &[u8]) -> io::Result<()> {
        self.frame(0x82, &[&[channel], data]).await
    }

    pub(super) async fn pong(&mut self, data: &[u8]) -> io::Result<()> {
        self.frame(0x8a, &[data]).await
    }

    /// Close with code 1000.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.frame(0x88, &[&1000_u16.to_be_bytes()]).await
    }

    async fn frame(&mut self, first: u8, parts: &[&[u8]]) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.push(first);
        let length: usize = parts.iter().map(|part| part.len()).sum();
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ 0..=125), _) => self.buffer.push(short),
            (_, Ok(medium)) => {
                self.buffer.push(126);
                self.buffer.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                self.buffer.push(127);
                self.buffer.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
            }
        }
        for part in parts {
            self.buffer.extend_from_slice(part);
        }
        self.io.write_all(&self.buffer).await?;
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

    #[allow(clippy::cast_possible_truncation)] // Each arm has what fits.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..=125 => bytes.push(0x80 | short as u8),
            medium @ 126..=65535 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&(medium as u16).to_be_bytes());
            }
            long => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&(long as u64).to_be_bytes());
            }
        }
        let mask = [1, 2, 3, 4];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    #[tokio::test]
    async fn frames_of_every_length() {
        for length in [0, 1, 125, 126, 65535, 65536, 200_000] {
            let payload: Vec<u8> = (0..=250).cycle().take(length).collect();
            let bytes = masked(0x82, &payload);
            let mut reader = FrameReader::new(bytes.as_slice());
            let Received::Frame(frame) = reader.next().await.unwrap() else { panic!("{length}") };
            assert_eq!(frame.payload, payload);
            assert_eq!(reader.next().await.unwrap(), Received::End);
        }
    }

    #[tokio::test]
    async fn what_breaks_the_rules() {
        let unmasked = [0x82, 1, 0];
        let reserved = masked(0xc2, b"x");
        let too_long = [0x82, 0xff, 0, 0, 0, 0, 2, 0, 0, 1, 1, 2, 3, 4];
        for bytes in [&unmasked[..], &reserved, &too_long] {
            let mut reader = FrameReader::new(bytes);
            assert_eq!(reader.next().await.unwrap(), Received::Violation, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_fragment_is_a_message() {
        let bytes = [masked(0x02, b"\0frag"), masked(0x80, b"ment")].concat();
        let mut reader = FrameReader::new(bytes.as_slice());
        for expected in [&b"\0frag"[..], b"ment"] {
            let frame = Frame { opcode: Opcode::Data, payload: Bytes::copy_from_slice(expected) };
            assert_eq!(reader.next().await.unwrap(), Received::Frame(frame));
        }
    }

    #[test]
    fn the_key_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
