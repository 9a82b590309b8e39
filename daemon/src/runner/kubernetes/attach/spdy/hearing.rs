//! What the server's bytes amount to, without I/O (kubernetes-streams 3.3 to 3.5).

use bytes::Bytes;

use super::{
    super::word::Word,
    frame::{Decoder, Frame, FrameError},
    headers::{HeaderError, Unpacker},
};

/// The stream with the server's last word.
pub(super) const ERROR: u32 = 1;
/// The stream of the payload.
pub(super) const STDIN: u32 = 3;
/// The stream of the output, where it is wanted.
pub(super) const STDOUT: u32 = 5;

/// Longest last word.
const WORD: usize = 64 * 1024;
/// Frames that it may come in. Each is a try to read it.
const WORD_FRAMES: usize = 64;
/// Status of a reset that only says that a stream is no longer needed.
const CANCEL: u32 = 5;

/// Something that the session has to know.
#[derive(Debug)]
pub(super) enum Heard {
    /// Both streams were answered.
    Established,
    /// Some bytes of stdout.
    Output(Bytes),
    /// A ping to be sent back.
    Ping(u32),
    /// The session is over.
    Over(Word),
}

#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Headers(#[from] HeaderError),
    #[error("the server's last word is too long")]
    WordTooLong,
}

/// One session's ear.
pub(super) struct Hearing {
    decoder: Decoder,
    unpacker: Unpacker,
    /// The last word, as far as it has come.
    word: Vec<u8>,
    word_frames: usize,
    /// Whether each of the streams was answered: error, stdin, stdout.
    answered: [bool; 3],
    /// stdout is wanted.
    output: bool,
}

impl Hearing {
    pub(super) fn new(output: bool) -> Self {
        Self {
            decoder: Decoder::default(),
            unpacker: Unpacker::new(),
            word: Vec::new(),
            word_frames: 0,
            // A stream that is not there needs no answer.
            answered: [false, false, !output],
            output,
        }
    }

    /// Takes what arrived. [`Hearing::next`] is then to be asked until it knows nothing more.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.decoder.push(bytes);
    }

    /// The next thing to know of what arrived. After `Over` there is none.
    pub(super) fn next(&mut self) -> Option<Heard> {
        loop {
            let heard = match self.decoder.next() {
                Ok(Some(frame)) => self.take(frame),
                Ok(None) => return None,
                Err(fault) => Err(fault.into()),
            };
            match heard {
                Ok(None) => {}
                Ok(heard) => return heard,
                Err(fault) => return Some(Heard::Over(Word::Broken(fault.to_string()))),
            }
        }
    }

    /// The connection has ended.
    pub(super) fn end(&self, why: &str) -> Word {
        Word::read(&self.word).unwrap_or_else(|| Word::Broken(why.to_owned()))
    }

    fn take(&mut self, frame: Frame) -> Result<Option<Heard>, Malformed> {
        Ok(match frame {
            Frame::Headers { reply, stream, fin, block } => {
                self.unpacker.block(&block)?;
                let answered = if reply { self.answer(stream) } else { None };
                if fin && stream == ERROR { Some(self.without_word()) } else { answered }
            }
            Frame::Data { stream: ERROR, fin, bytes } => {
                self.word.extend_from_slice(&bytes);
                self.word_frames += 1;
                match Word::read(&self.word) {
                    Some(word) => Some(Heard::Over(word)),
                    None if fin => Some(self.without_word()),
                    None if self.word.len() > WORD || self.word_frames >= WORD_FRAMES => {
                        return Err(Malformed::WordTooLong);
                    }
                    None => None,
                }
            }
            Frame::Data { stream: STDOUT, bytes, .. } if self.output && !bytes.is_empty() => Some(Heard::Output(bytes)),
            Frame::Reset { stream: ERROR, .. } | Frame::GoAway => Some(self.without_word()),
            // Where it is only no longer needed, the error stream says why.
            Frame::Reset { stream: STDIN, status } if status != CANCEL => {
                Some(Heard::Over(Word::Broken(format!("the server refused stdin (SPDY status {status})"))))
            }
            // An odd one is our own, sent back: to answer it would make a storm.
            Frame::Ping(id) if id % 2 == 0 => Some(Heard::Ping(id)),
            Frame::Data { .. } | Frame::Reset { .. } | Frame::Ping(_) | Frame::Other => None,
        })
    }

    fn answer(&mut self, stream: u32) -> Option<Heard> {
        let before = self.answered;
        let [error, stdin, stdout] = &mut self.answered;
        match stream {
            ERROR => *error = true,
            STDIN => *stdin = true,
            STDOUT => *stdout = true,
            _ => {}
        }
        (before != [true; 3] && self.answered == [true; 3]).then_some(Heard::Established)
    }

    fn without_word(&self) -> Heard {
        Heard::Over(self.end("the server ended the session without a word"))
    }
}

#[cfg(test)]
mod tests;
