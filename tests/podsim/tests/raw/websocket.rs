//! The client's half of an attach session.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::time::Duration;

use serde_json::Value;

use crate::raw::client::{Answer, Client, SILENCE_LIMIT, Tls};

pub(crate) const STDIN: u8 = 0;
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;
pub(crate) const ERROR: u8 = 3;
/// Closes stdin, with v5.
pub(crate) const HALF_CLOSE: &[u8] = &[255, 0];
pub(crate) const SUCCESS: &str = r#"{"metadata":{},"status":"Success"}"#;

pub(crate) struct Session {
    pub(crate) protocol: String,
    io: BufReader<Tls>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Data(u8, Vec<u8>),
    /// With its code.
    Close(u16),
    Pong(Vec<u8>),
    /// TCP end, or TLS's.
    End,
}

/// Everything that a session said until its end.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// Each message of channel 3.
    pub(crate) errors: Vec<String>,
    pub(crate) close: Option<u16>,
}

impl Said {
    /// Asserts that it ended as all good sessions do.
    #[track_caller]
    pub(crate) fn assert_success(&self) {
        assert_eq!((self.errors.as_slice(), self.close), ([SUCCESS.to_owned()].as_slice(), Some(1000)), "{self:?}");
    }

    /// Asserts that it ended with a failure, and gives its message.
    #[track_caller]
    pub(crate) fn failure(&self) -> String {
        assert_eq!((self.errors.len(), self.close), (1, Some(1000)), "{self:?}");
        let status: Value = serde_json::from_str(&self.errors[0]).unwrap();
        assert_eq!(status["status"], "Failure");
        assert_eq!(status["reason"], "InternalError");
        assert_eq!(status["code"], 500);
        status["message"].as_str().unwrap().to_owned()
    }
}

impl Session {
    /// `Err` is the answer that was not 101.
    pub(crate) fn open(client: &Client, path: &str, protocols: &str) -> Result<Self, Answer> {
        let headers = [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Protocol", protocols),
        ];
        let headers = if protocols.is_empty() { &headers[..4] } else { &headers };
        let answer = client.open("GET", path, headers, b"");
        if answer.head.code != 101 {
            return Err(answer.finish());
        }
        assert_eq!(answer.head.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        let protocol = answer.head.header("sec-websocket-protocol").expect("a protocol").to_owned();
        Ok(Self { protocol, io: answer.into_reader() })
    }

    /// One frame; `first` holds FIN and opcode. Fails when the server has gone.
    pub(crate) fn frame(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut bytes = vec![first];
        match payload.len() {
            short @ 0..=125 => bytes.push(0x80 | u8::try_from(short).unwrap()),
            medium @ 126..=65535 => {
                bytes.push(0x80 | 126);
                bytes.extend_from_slice(&u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                bytes.push(0x80 | 127);
                bytes.extend_from_slice(&u64::try_from(long).unwrap().to_be_bytes());
            }
        }
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.io.get_mut().write_all(&bytes)?;
        self.io.get_mut().flush()
    }

    /// One binary frame: channel and data.
    pub(crate) fn send(&mut self, channel: u8, data: &[u8]) {
        self.frame(0x82, &[&[channel], data].concat()).unwrap();
    }

    pub(crate) fn half_close(&mut self) {
        self.frame(0x82, HALF_CLOSE).unwrap();
    }

    pub(crate) fn next(&mut self) -> Message {
        self.try_next().unwrap_or(Message::End)
    }

    fn try_next(&mut self) -> io::Result<Message> {
        let mut head = [0; 2];
        self.io.read_exact(&mut head)?;
        assert_eq!(head[1] & 0x80, 0, "a server does not mask");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.io.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.io.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.io.read_exact(&mut payload)?;
        Ok(match head[0] {
            0x82 => Message::Data(payload[0], payload[1..].to_vec()),
            0x88 => Message::Close(u16::from_be_bytes([payload[0], payload[1]])),
            0x8a => Message::Pong(payload),
            other => panic!("a frame that no server sends: {other:#x}"),
        })
    }

    /// Reads until the server ends the session.
    pub(crate) fn rest(&mut self) -> Said {
        let mut said = Said::default();
        loop {
            match self.next() {
                Message::Data(STDOUT, data) => said.stdout.extend(data),
                Message::Data(STDERR, data) => said.stderr.extend(data),
                Message::Data(ERROR, data) if data.is_empty() => {}
                Message::Data(ERROR, data) => said.errors.push(String::from_utf8(data).unwrap()),
                Message::Data(other, data) => panic!("channel {other}: {data:?}"),
                Message::Pong(_) => {}
                Message::Close(code) => said.close = Some(code),
                Message::End => return said,
            }
        }
    }

    /// Reads until so much has come on stdout.
    pub(crate) fn stdout_until(&mut self, wanted: &str) {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            match self.next() {
                Message::Data(STDOUT, data) => seen.extend(data),
                Message::Data(..) | Message::Pong(_) => {}
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
