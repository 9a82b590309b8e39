//! SPDY/3.1 frames, as far as an attach session has them (kubernetes-streams 3.2).

use bytes::{Buf, Bytes, BytesMut};

/// Longest frame that is taken. The server has a status to send, nothing more.
const FRAME: usize = 1024 * 1024;
/// Bytes in front of each frame's own.
pub(super) const HEAD: usize = 8;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

const FIN: u8 = 1;

/// A frame of the server's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Bytes of a stream.
    Data { stream: u32, fin: bool, bytes: Bytes },
    /// A stream was opened, answered or given more headers. The block must go through the unpacker in any case.
    Headers { reply: bool, stream: u32, fin: bool, block: Bytes },
    /// A stream is over.
    Reset { stream: u32, status: u32 },
    /// To be sent back if the number is the server's, which are even.
    Ping(u32),
    /// Nothing new on this connection.
    GoAway,
    /// Settings, windows, and what has no meaning here.
    Other,
}

/// Bytes that are no frames.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum FrameError {
    #[error("a SPDY frame of another version")]
    Version,
    #[error("a SPDY frame of {0} bytes")]
    TooLong(usize),
    #[error("a SPDY frame that is too short")]
    TooShort,
}

/// Makes frames of what arrives, in whatever pieces.
#[derive(Default)]
pub(super) struct Decoder(BytesMut);

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// The next whole frame. After an error there is none.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self.0.first_chunk::<HEAD>() else { return Ok(None) };
        let [.., flags, high, middle, low] = *head;
        let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let length = u32::from_be_bytes([0, high, middle, low]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > FRAME {
            return Err(FrameError::TooLong(length));
        }
        if self.0.len() < HEAD + length {
            return Ok(None);
        }
        self.0.advance(HEAD);
        let bytes = self.0.split_to(length).freeze();
        let fin = flags & FIN != 0;
        if first >> 31 == 0 {
            return Ok(Some(Frame::Data { stream: first, fin, bytes }));
        }
        control(first, fin, bytes).map(Some)
    }
}

/// `first` is 1 bit, 15 bits of version, 16 bits of type.
fn control(first: u32, fin: bool, mut bytes: Bytes) -> Result<Frame, FrameError> {
    let [high, low, kind @ ..] = first.to_be_bytes();
    if u16::from_be_bytes([high & 0x7f, low]) != 3 {
        return Err(FrameError::Version);
    }
    let mut number = || bytes.try_get_u32().map_err(|_| FrameError::TooShort);
    Ok(match u16::from_be_bytes(kind) {
        SYN_STREAM => {
            let stream = number()? & (u32::MAX >> 1);
            number()?;
            bytes.try_get_u16().map_err(|_| FrameError::TooShort)?;
            Frame::Headers { reply: false, stream, fin, block: bytes }
        }
        kind @ (SYN_REPLY | HEADERS) => {
            let stream = number()? & (u32::MAX >> 1);
            Frame::Headers { reply: kind == SYN_REPLY, stream, fin, block: bytes }
        }
        RST_STREAM => Frame::Reset { stream: number()? & (u32::MAX >> 1), status: number()? },
        PING => Frame::Ping(number()?),
        GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    })
}

/// What goes in front of `length` bytes of a stream; of the length 24 bits count.
pub(super) fn data_head(stream: u32, fin: bool, length: usize) -> [u8; HEAD] {
    head(stream & (u32::MAX >> 1), if fin { FIN } else { 0 }, length)
}

/// Opens a stream with this block of headers.
pub(super) fn syn_stream(stream: u32, block: &[u8]) -> Vec<u8> {
    let mut frame = control_head(SYN_STREAM, 10 + block.len()).to_vec();
    frame.extend(stream.to_be_bytes());
    // No other stream that it belongs to, no priority, no slot.
    frame.extend([0; 6]);
    frame.extend(block);
    frame
}

/// A ping with this number.
pub(super) fn ping(id: u32) -> [u8; HEAD + 4] {
    let mut frame = [0; HEAD + 4];
    let (head, number) = frame.split_at_mut(HEAD);
    head.copy_from_slice(&control_head(PING, 4));
    number.copy_from_slice(&id.to_be_bytes());
    frame
}

fn control_head(kind: u16, length: usize) -> [u8; HEAD] {
    head(0x8003_0000 | u32::from(kind), 0, length)
}

fn head(first: u32, flags: u8, length: usize) -> [u8; HEAD] {
    let [a, b, c, d] = first.to_be_bytes();
    let [.., high, middle, low] = length.to_be_bytes();
    [a, b, c, d, flags, high, middle, low]
}

#[cfg(test)]
mod tests;
