//! Opening streams.

use std::{sync::Arc, time::Duration};

use quinn::{Connection, Endpoint, TokioRuntime};
use tokio::time::timeout;
use worknode_protocol::{
    control::ConnectError,
    mesh::{Problem, ServiceName},
};

use super::{
    HELLO, Quic, Remote, Stream, address,
    close::{self, Counted, words},
    config::{self, Side},
    socket::Socket,
};
use crate::tls;

/// Time for the handshake (mesh-protocol 7.2).
const HANDSHAKE: Duration = Duration::from_secs(15);
const TOO_SLOW: &str = "timeout: handshake did not complete in time";

impl Quic {
    /// Opens a stream to a service of a node, which may be this one.
    ///
    /// # Errors
    /// The node cannot be reached, does not know the service, or one of the two does not trust the other.
    pub(crate) async fn dial(
        &self,
        node: &str,
        service: &str,
        tls: Option<&tls::Client>,
    ) -> Result<Stream, ConnectError> {
        let service = ServiceName::parse(service).map_err(other)?;
        let own = self.forwarder.is_own(node);
        let node = if own { self.forwarder.own() } else { node };
        if own && !self.forwarder.has_service(service) {
            return Err(ConnectError::OwnServiceUnknown);
        }
        if !own && self.forwarder.view().routes.way(node).is_none() {
            return Err(ConnectError::NoRoute);
        }
        let tls = match tls {
            None => Arc::clone(&self.insecure.client),
            Some(tls) => tls.stream(node).await.map_err(other)?,
        };
        let to = Remote { node: node.to_owned(), service, hash: self.forwarder.hash_of(node) };
        let config = config::client(tls, self.largest_packet(to.hash)).map_err(other)?;
        let socket = Socket::new(Arc::clone(&self.forwarder), self.forwarder.ephemeral());
        let endpoint =
            Endpoint::new_with_abstract_socket(config::endpoint(), None, socket.clone(), Arc::new(TokioRuntime))
                .map_err(other)?;
        let connecting = endpoint.connect_with(config, address::of(to.hash, service), "netceptor").map_err(other)?;
        let opened = tokio::select! {
            opened = timeout(HANDSHAKE, open(connecting)) => opened.unwrap_or_else(|_| Err(other(TOO_SLOW))),
            error = failure(&socket, &to) => Err(error),
            () = self.stop.cancelled() => Err(other("the node stops")),
        };
        match opened {
            Ok((connection, halves)) => Ok(self.keep(endpoint, socket, connection, halves, to)),
            Err(error) => {
                self.tasks.spawn(close::finish(endpoint, self.stop.clone()));
                Err(error)
            }
        }
    }

    /// A stream, and the task that sees to its end.
    fn keep(
        &self,
        endpoint: Endpoint,
        socket: Arc<Socket>,
        connection: Connection,
        halves: Both,
        to: Remote,
    ) -> Stream {
        let (stream, back, ended) = Stream::new(connection.clone(), halves, to.node.clone(), Arc::clone(&self.writers));
        let (stop, end, counted) = (self.stop.clone(), self.stop.clone(), Counted::new(&self.open));
        self.tasks.spawn(async move {
            let gone = async { while !to.is_gone(&socket.service().inbox().notice().await) {} };
            close::watch(connection, Side::Dialer, back, gone, ended, stop).await;
            close::finish(endpoint, end).await;
            drop(counted);
        });
        stream
    }
}

fn other(words: impl std::fmt::Display) -> ConnectError {
    ConnectError::Other(words.to_string())
}

type Both = (quinn::SendStream, quinn::RecvStream);

async fn open(connecting: quinn::Connecting) -> Result<(Connection, Both), ConnectError> {
    let connection = connecting.await.map_err(|error| other(words(&error)))?;
    let (mut send, recv) = connection.open_bi().await.map_err(|error| other(words(&error)))?;
    send.write_all(&[HELLO]).await.map_err(other)?;
    Ok((connection, (send, recv)))
}

/// Waits for a notice that makes it pointless to go on.
async fn failure(socket: &Socket, to: &Remote) -> ConnectError {
    loop {
        let notice = socket.service().inbox().notice().await;
        if to.is_gone(&notice) {
            return ConnectError::ServiceUnknown;
        }
        if notice.about.is(Problem::BlockedByFirewall) {
            return other(notice.about.problem);
        }
    }
}
