//! The client's half of an attach session over SPDY/3.1.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::time::Duration;

use crate::raw::client::{Answer, Client, SILENCE_LIMIT, Tls};

pub(crate) const ERROR: u32 = 1;
pub(crate) const STDIN: u32 = 3;
pub(crate) const STDOUT: u32 = 5;
pub(crate) const STDERR: u32 = 7;

/// Status of RST_STREAM.
const CANCEL: u32 = 5;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Reply(u32),
    Data(u32, bool, Vec<u8>),
    /// Stream and status.
    Reset(u32, u32),
    Ping(u32),
    /// Last stream and status.
    GoAway(u32, u32),
    /// TCP end, or TLS's.
    End,
}

/// Everything that a session said until its end.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) error: String,
    /// Streams ended by FIN and by reset, sorted.
    pub(crate) finished: Vec<u32>,
    pub(crate) reset: Vec<u32>,
    pub(crate) goaway: Option<(u32, u32)>,
}

impl Said {
    /// Asserts that it ended as all good sessions do.
    #[track_caller]
    pub(crate) fn assert_success(&self) {
        assert_eq!(self.error, crate::raw::websocket::SUCCESS, "{self:?}");
        assert!(self.goaway.is_some_and(|(_, status)| status == 0), "{self:?}");
    }
}

pub(crate) struct Session {
    pub(crate) protocol: String,
    io: BufReader<Tls>,
    /// The stream of packed headers has begun.
    packing: bool,
}

impl Session {
    /// `Err` is the answer that was not 101.
    pub(crate) fn open(client: &Client, method: &str, path: &str, protocols: &str) -> Result<Self, Answer> {
        Self::open_with(client, method, path, &[("X-Stream-Protocol-Version", protocols)])
    }

    pub(crate) fn open_with(
        client: &Client,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Answer> {
        let mut all = vec![("Upgrade", "SPDY/3.1"), ("Connection", "Upgrade")];
        all.extend(headers);
        let answer = client.open(method, path, &all, b"");
        if answer.head.code != 101 {
            return Err(answer.finish());
        }
        assert_eq!(answer.head.header("upgrade"), Some("SPDY/3.1"));
        let protocol = answer.head.header("x-stream-protocol-version").expect("a protocol").to_owned();
        Ok(Self { protocol, io: answer.into_reader(), packing: false })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.io.get_mut().write_all(bytes)?;
        self.io.get_mut().flush()
    }

    /// SYN_STREAM. The block is stored, not squeezed, which zlib reads as well; `name` is the header's.
    pub(crate) fn open_stream(&mut self, stream: u32, name: &str, kind: &str) {
        let text = |text: &str| [&u32::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat();
        let plain = [vec![0, 0, 0, 1], text(name), text(kind)].concat();
        let length = u16::try_from(plain.len()).unwrap();
        // zlib, level 9, with the dictionary of that number.
        let head: &[u8] = if self.packing { &[] } else { &[0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2] };
        self.packing = true;
        let stored =
            [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), &plain, &[0, 0, 0, 0xff, 0xff]].concat();
        self.control(1, &[&stream.to_be_bytes()[..], &[0; 6], head, &stored].concat());
    }

    /// The error stream and these, and their replies.
    #[track_caller]
    pub(crate) fn open_streams(&mut self, streams: &[u32]) {
        let all: Vec<u32> = [ERROR].iter().chain(streams).copied().collect();
        for stream in &all {
            let kind = match *stream {
                ERROR => "error",
                STDIN => "stdin",
                STDOUT => "stdout",
                _ => "stderr",
            };
            self.open_stream(*stream, "streamtype", kind);
        }
        let mut replied: Vec<u32> = all.iter().map(|_| self.reply()).collect();
        replied.sort_unstable();
        assert_eq!(replied, all);
    }

    #[track_caller]
    fn reply(&mut self) -> u32 {
        match self.next() {
            Frame::Reply(stream) => stream,
            other => panic!("{other:?} instead of a reply"),
        }
    }

    pub(crate) fn control(&mut self, kind: u8, payload: &[u8]) {
        let [.., high, middle, low] = payload.len().to_be_bytes();
        self.write(&[&[0x80, 3, 0, kind, 0, high, middle, low], payload].concat()).unwrap();
    }

    pub(crate) fn try_data(&mut self, stream: u32, fin: bool, bytes: &[u8]) -> io::Result<()> {
        let [.., high, middle, low] = bytes.len().to_be_bytes();
        self.write(&[&stream.to_be_bytes()[..], &[u8::from(fin), high, middle, low], bytes].concat())
    }

    pub(crate) fn data(&mut self, stream: u32, fin: bool, bytes: &[u8]) {
        self.try_data(stream, fin, bytes).unwrap();
    }

    pub(crate) fn ping(&mut self, id: u32) {
        self.control(6, &id.to_be_bytes());
    }

    pub(crate) fn reset(&mut self, stream: u32) {
        self.control(3, &[stream.to_be_bytes(), CANCEL.to_be_bytes()].concat());
    }

    pub(crate) fn next(&mut self) -> Frame {
        self.try_next().unwrap_or(Frame::End)
    }

    fn try_next(&mut self) -> io::Result<Frame> {
        let mut head = [0; 8];
        self.io.read_exact(&mut head)?;
        let length = usize::try_from(u32::from_be_bytes([0, head[5], head[6], head[7]])).unwrap();
        let mut payload = vec![0; length];
        self.io.read_exact(&mut payload)?;
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        if head[0] & 0x80 == 0 {
            return Ok(Frame::Data(u32::from_be_bytes(head[..4].try_into().unwrap()), head[4] & 1 != 0, payload));
        }
        assert_eq!(head[..3], [0x80, 3, 0]);
        Ok(match head[3] {
            2 => {
                assert!(payload.ends_with(&[0, 0, 0xff, 0xff]), "a block that is not flushed: {payload:x?}");
                Frame::Reply(number(0))
            }
            3 => Frame::Reset(number(0), number(4)),
            6 => Frame::Ping(number(0)),
            7 => Frame::GoAway(number(0), number(4)),
            other => panic!("a frame that no server sends: {other}"),
        })
    }

    /// Reads until the server ends the session.
    pub(crate) fn rest(&mut self) -> Said {
        let mut said = Said::default();
        loop {
            match self.next() {
                Frame::Data(stream, fin, data) => {
                    match stream {
                        STDOUT => said.stdout.extend(data),
                        STDERR => said.stderr.extend(data),
                        ERROR => said.error.push_str(&String::from_utf8(data).unwrap()),
                        other => panic!("stream {other}: {data:?}"),
                    }
                    if fin {
                        said.finished.push(stream);
                    }
                }
                Frame::Reset(stream, status) => {
                    assert_eq!(status, CANCEL);
                    said.reset.push(stream);
                }
                Frame::GoAway(last, status) => said.goaway = Some((last, status)),
                Frame::Ping(_) => {}
                Frame::Reply(stream) => panic!("a second reply for {stream}"),
                Frame::End => break,
            }
        }
        said.finished.sort_unstable();
        said.reset.sort_unstable();
        said
    }

    /// Reads until so much has come on stdout.
    pub(crate) fn stdout_until(&mut self, wanted: &str) {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            match self.next() {
                Frame::Data(STDOUT, _, data) => seen.extend(data),
                Frame::Data(..) | Frame::Ping(_) => {}
                other => panic!("{other:?} instead of {wanted:?}"),
            }
        }
    }

    /// Whether nothing comes for that long.
    pub(crate) fn is_silent_for(&mut self, time: Duration) -> bool {
        assert!(self.io.buffer().is_empty());
        self.io.get_ref().sock.set_read_timeout(Some(time)).unwrap();
        let nothing = self.io.fill_buf().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.io.get_ref().sock.set_read_timeout(Some(SILENCE_LIMIT)).unwrap();
        nothing
    }

    /// Drops the connection without a word.
    pub(crate) fn cut(self) {
        let tls = self.io.into_inner();
        tls.sock.shutdown(std::net::Shutdown::Both).unwrap();
    }
}
