//! A connection to a peer, whatever carries it: whole messages in, whole messages out.

use std::{io, net::SocketAddr, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UdpSocket},
    sync::mpsc,
};
use tokio_tungstenite::{WebSocketStream, tungstenite};

use super::frame::{FrameReader, FrameWriter};

/// Largest message that a UDP datagram can hold (mesh-protocol 1.2).
pub(crate) const LARGEST_DATAGRAM: usize = 65_507;

/// What networks usually carry in one piece is 1500 bytes, less the headers of IPv6 and UDP.
const UNCUT_DATAGRAM: usize = 1500 - 40 - 8;

/// A connection that messages can be exchanged over.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Messages of the peer.
    pub(crate) reader: Reader,
    /// Messages to the peer.
    pub(crate) writer: Writer,
    /// The other end, for logs.
    pub(crate) remote: String,
    /// The node IDs that the peer may have by its certificate. None: any.
    pub(crate) certified: Option<Vec<String>>,
}

/// A stream of bytes in both directions.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A stream before anything was sent on it: the socket, or TLS on it.
pub(crate) enum Io {
    /// Plain TCP, which can be read and written without a lock between the halves.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<dyn Duplex>),
}

impl Io {
    /// As one object.
    pub(crate) fn boxed(self) -> Box<dyn Duplex> {
        match self {
            Self::Plain(stream) => Box::new(stream),
            Self::Tls(stream) => stream,
        }
    }
}

type Socket = WebSocketStream<Box<dyn Duplex>>;

/// The messages that come from a peer.
pub(crate) enum Reader {
    /// Frames in a stream of bytes.
    Frames(FrameReader<Box<dyn AsyncRead + Send + Unpin>>),
    /// Messages of a WebSocket.
    WebSocket(SplitStream<Socket>),
    /// Datagrams of the peer that was dialled.
    Datagrams(Arc<UdpSocket>, BytesMut),
    /// Datagrams from one address, sorted out by the listener.
    Sorted(mpsc::Receiver<BytesMut>),
}

/// The way of messages to a peer.
pub(crate) enum Writer {
    /// Frames in a stream of bytes.
    Frames(FrameWriter<Box<dyn AsyncWrite + Send + Unpin>>),
    /// Messages of a WebSocket.
    WebSocket(SplitSink<Socket, tungstenite::Message>),
    /// Datagrams; the address is None for a connected socket.
    Datagrams(Arc<UdpSocket>, Option<SocketAddr>),
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

impl Connection {
    /// Frames over TCP or TLS.
    pub(crate) fn frames(io: Io, remote: String, certified: Option<Vec<String>>) -> Self {
        let (read, write): (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>) = match io {
            Io::Plain(stream) => {
                let (read, write) = stream.into_split();
                (Box::new(read), Box::new(write))
            }
            Io::Tls(stream) => {
                let (read, write) = tokio::io::split(stream);
                (Box::new(read), Box::new(write))
            }
        };
        let (reader, writer) = (Reader::Frames(FrameReader::new(read)), Writer::Frames(FrameWriter::new(write)));
        Self { reader, writer, remote, certified }
    }

    /// A WebSocket whose handshake is done.
    pub(crate) fn web_socket(socket: Socket, remote: String, certified: Option<Vec<String>>) -> Self {
        let (write, read) = socket.split();
        Self { reader: Reader::WebSocket(read), writer: Writer::WebSocket(write), remote, certified }
    }
}

impl Reader {
    /// The next message, never an empty one. None: the peer ended the connection. Nothing is lost when the future is
    /// dropped.
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn next(&mut self) -> io::Result<Option<BytesMut>> {
        loop {
            let message = match self {
                Self::Frames(frames) => return frames.next().await,
                Self::WebSocket(socket) => next_of_socket(socket).await?,
                Self::Datagrams(socket, buffer) => Some(next_datagram(socket, buffer).await?),
                Self::Sorted(messages) => messages.recv().await,
            };
            if message.as_ref().is_none_or(|message| !message.is_empty()) {
                return Ok(message);
            }
        }
    }
}

/// The type of a message is not looked at, text is as good as binary (mesh-protocol 1.3).
async fn next_of_socket(socket: &mut SplitStream<Socket>) -> io::Result<Option<BytesMut>> {
    use tungstenite::{Error, Message};
    loop {
        let bytes = match socket.next().await {
            None | Some(Err(Error::ConnectionClosed) | Ok(Message::Close(_))) => return Ok(None),
            Some(Err(Error::Io(error))) => return Err(error),
            Some(Err(error)) => return Err(io::Error::other(error)),
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Text(text))) => text.into(),
            Some(Ok(_)) => continue,
        };
        return Ok(Some(bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))));
    }
}

/// The buffer is filled again and again; what came is copied out, so that it takes no more room than it needs.
async fn next_datagram(socket: &UdpSocket, buffer: &mut BytesMut) -> io::Result<BytesMut> {
    buffer.clear();
    buffer.reserve(LARGEST_DATAGRAM);
    socket.recv_buf(buffer).await?;
    Ok(BytesMut::from(&buffer[..]))
}

impl Writer {
    /// The longest message that can be sent.
    pub(crate) fn longest(&self) -> usize {
        match self {
            Self::Frames(_) | Self::WebSocket(_) => super::LARGEST_MESSAGE,
            Self::Datagrams(..) => LARGEST_DATAGRAM,
        }
    }

    /// The longest message that is surely carried in one piece: what is cut in pieces is lost with each of them.
    pub(crate) fn longest_uncut(&self) -> usize {
        match self {
            Self::Frames(_) | Self::WebSocket(_) => super::LARGEST_MESSAGE,
            Self::Datagrams(..) => UNCUT_DATAGRAM,
        }
    }

    /// Sends messages in order. They are neither empty nor longer than [`Self::longest`].
    ///
    /// # Errors
    /// The connection is broken.
    pub(crate) async fn send(&mut self, messages: &[Bytes]) -> io::Result<()> {
        match self {
            Self::Frames(frames) => frames.send(messages).await,
            Self::WebSocket(socket) => {
                for message in messages {
                    socket.feed(tungstenite::Message::Binary(message.clone())).await.map_err(io::Error::other)?;
                }
                socket.flush().await.map_err(io::Error::other)
            }
            Self::Datagrams(socket, address) => {
                for message in messages {
                    match address {
                        Some(address) => socket.send_to(message, *address).await?,
                        None => socket.send(message).await?,
                    };
                }
                Ok(())
            }
        }
    }

    /// Tells the peer that nothing more will come, where the transport has a way to.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        match self {
            Self::Frames(frames) => frames.close().await,
            Self::WebSocket(socket) => socket.close().await.map_err(io::Error::other),
            Self::Datagrams(..) => Ok(()),
        }
    }
}
