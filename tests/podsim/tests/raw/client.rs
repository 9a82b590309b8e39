//! HTTP/1.1 over TLS by hand, so that the tests see what is on the wire.

use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;

use crate::raw::kubeconfig::Access;

/// Nothing in this suite takes longer.
pub(crate) const SILENCE_LIMIT: Duration = Duration::from_secs(120);

pub(crate) type Tls = StreamOwned<ClientConnection, TcpStream>;

#[derive(Clone)]
pub(crate) struct Client {
    access: Access,
    authorization: Option<String>,
    anonymous: bool,
}

/// Head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) code: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn code(&self) -> u16 {
        self.head.code
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts that this is a `Status` with that code, reason and message.
    #[track_caller]
    pub(crate) fn assert_status(&self, code: u16, reason: &str, message: &str) {
        let status = self.json();
        let found = (self.code(), status["code"].as_u64(), status["reason"].as_str(), status["message"].as_str());
        assert_eq!(found, (code, Some(u64::from(code)), Some(reason), Some(message)), "{status}");
        assert_eq!((status["kind"].as_str(), status["status"].as_str()), (Some("Status"), Some("Failure")));
        assert_eq!(self.head.header("content-type"), Some("application/json"));
    }
}

/// An answer whose body is read as it comes.
pub(crate) struct Streaming {
    pub(crate) head: Head,
    reader: BufReader<Tls>,
    /// Left of the current chunk.
    left: usize,
    /// The last chunk has been seen.
    pub(crate) ended_properly: bool,
}

impl Client {
    pub(crate) fn new(access: Access) -> Self {
        let authorization = access.token.as_ref().map(|token| format!("Bearer {token}"));
        Self { access, authorization, anonymous: false }
    }

    /// The same API, asked with another `Authorization` header or none, and without a client certificate.
    pub(crate) fn with_authorization(&self, authorization: Option<&str>) -> Self {
        Self { access: self.access.clone(), authorization: authorization.map(str::to_owned), anonymous: true }
    }

    pub(crate) fn connect(&self) -> Tls {
        let tcp = TcpStream::connect((self.access.host.as_str(), self.access.port)).unwrap();
        tcp.set_read_timeout(Some(SILENCE_LIMIT)).unwrap();
        tcp.set_nodelay(true).unwrap();
        let tls = if self.anonymous { &self.access.anonymous_tls } else { &self.access.tls };
        let name = self.access.host.clone().try_into().unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(tls), name).unwrap(), tcp)
    }

    /// Sends a request and reads the head of its answer.
    pub(crate) fn open(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Streaming {
        self.try_open(method, path, headers, body).unwrap()
    }

    /// Fails when the connection ends before the head of an answer.
    pub(crate) fn try_open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Streaming> {
        let mut tls = self.connect();
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.access.host);
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        tls.write_all(request.as_bytes())?;
        tls.write_all(body)?;
        let mut reader = BufReader::new(tls);
        let head = read_head(&mut reader)?;
        Ok(Streaming { head, reader, left: 0, ended_properly: false })
    }

    /// Sends a request and reads the whole answer.
    pub(crate) fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let json = [("Connection", "close"), ("Content-Type", "application/json")];
        self.open(method, path, &json, body.as_bytes()).finish()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, Some(body))
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None)
    }
}

fn read_head(reader: &mut BufReader<Tls>) -> io::Result<Head> {
    let status = read_line(reader)?;
    if status.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.unwrap_or_else(|| panic!("no status line: {status:?}"));
    let mut headers = Vec::new();
    loop {
        let line = read_line(reader)?;
        match line.split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => return Ok(Head { code, headers }),
        }
    }
}

fn read_line(reader: &mut BufReader<Tls>) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

impl Streaming {
    /// The next line of the body with its newline; less at the end, nothing after it.
    pub(crate) fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.read(&mut byte).is_ok_and(|read| read == 1) {
            line.push(byte[0]);
            if byte[0] == b'\n' {
                break;
            }
        }
        line
    }

    /// Reads until the connection breaks or the body is over; gives the bytes, and how it broke.
    pub(crate) fn rest_or_break(&mut self) -> (Vec<u8>, Option<io::ErrorKind>) {
        let mut body = Vec::new();
        let ended = self.read_to_end(&mut body);
        (body, ended.err().map(|error| error.kind()))
    }

    /// Reads to the end.
    pub(crate) fn finish(mut self) -> Answer {
        let body = self.rest();
        Answer { head: self.head, body }
    }

    /// What is left of the body.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        let ended = self.read_to_end(&mut body);
        if let Err(error) = ended {
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
        }
        body
    }

    /// The connection below, after a 101, with what was read too far.
    pub(crate) fn into_reader(self) -> BufReader<Tls> {
        self.reader
    }
}

/// The body, its chunks joined; for other bodies everything up to the length or the end.
impl Read for Streaming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended_properly || self.head.code == 204 {
            return Ok(0);
        }
        let chunked = self.head.header("transfer-encoding") == Some("chunked");
        if self.left == 0 {
            if chunked {
                let size = read_line(&mut self.reader)?;
                if size.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.left = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
                if self.left == 0 {
                    read_line(&mut self.reader)?;
                    self.ended_properly = true;
                    return Ok(0);
                }
            } else {
                let length = self.head.header("content-length").and_then(|length| length.parse().ok());
                self.left = length.unwrap_or(usize::MAX);
                self.head.headers.push(("content-length".to_owned(), "0".to_owned()));
                self.head.headers.retain(|(name, value)| name != "content-length" || value == "0");
                if self.left == 0 {
                    self.ended_properly = true;
                    return Ok(0);
                }
            }
        }
        let limit = buffer.len().min(self.left);
        let read = self.reader.read(&mut buffer[..limit])?;
        self.left -= read;
        if chunked && self.left == 0 && read > 0 {
            read_line(&mut self.reader)?;
        }
        Ok(read)
    }
}
