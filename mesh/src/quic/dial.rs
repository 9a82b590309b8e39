//! Opening streams.

use std::{sync::Arc, time::Duration};

use quinn::{Connection, Endpoint, TokioRuntime};
use tokio::time::timeout;
use worknode_protocol::{
    control::ConnectError,
    mesh::{Problem, ServiceName},
};

use super::{
    HELLO, Quic, Stream, address,
    close::{self, Counted, words},
    config::{self, Side},
    says_gone,
    socket::Socket,
};
use crate::tls;

/// Time for the handshake (mesh-protocol 7.2).
const HANDSHAKE: Duration = Duration::from_secs(15);

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
        let own = self.forwarder.is_own(node);
        let node = if own { self.forwarder.own() } else { node };
        let service = ServiceName::parse(service).map_err(|error| ConnectError::Other(error.to_string()))?;
        if own && !self.forwarder.has_service(service) {
            return Err(ConnectError::OwnServiceUnknown);
        }
        let hash = self.forwarder.hash_of(node);
        if !own && self.forwarder.view().routes.way(node).is_none() {
            return Err(ConnectError::NoRoute);
        }
        let other = |error: &dyn std::fmt::Display| ConnectError::Other(error.to_string());
        let tls = match tls {
            None => Arc::clone(&self.insecure.client),
            Some(tls) => tls.stream(node).await.map_err(|error| other(&error))?,
        };
        let config = config::client(tls, self.largest_packet(hash)).map_err(|error| other(&error))?;
        let socket = Socket::new(Arc::clone(&self.forwarder), self.forwarder.ephemeral());
        let endpoint = Endpoint::new_with_abstract_socket(
            config::endpoint(),
            None,
            Arc::clone(&socket) as Arc<_>,
            Arc::new(TokioRuntime),
        )
        .map_err(|error| other(&error))?;
        let connecting =
            endpoint.connect_with(config, address::of(hash, service), "netceptor").map_err(|error| other(&error))?;
        let opened = tokio::select! {
            opened = timeout(HANDSHAKE, open(connecting)) => {
                opened.unwrap_or_else(|_| Err(ConnectError::Other("timeout: handshake did not complete in time".into())))
            }
            error = failure(&socket, node, service) => Err(error),
            () = self.stop.cancelled() => Err(ConnectError::Other("the node stops".into())),
        };
        let (connection, halves) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.tasks.spawn(close::finish(endpoint, self.stop.clone()));
                return Err(error);
            }
        };
        let (stream, back, ended) = Stream::new(connection.clone(), halves, node.to_owned());
        let (node, counted) = (node.to_owned(), Counted::new(&self.open));
        let (stop, end) = (self.stop.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let gone = async { while !says_gone(&socket.service().inbox().notice().await, &node, service) {} };
            close::watch(connection, Side::Dialer, back, gone, ended, stop).await;
            close::finish(endpoint, end).await;
            drop(counted);
        });
        Ok(stream)
    }
}

async fn open(
    connecting: quinn::Connecting,
) -> Result<(Connection, (quinn::SendStream, quinn::RecvStream)), ConnectError> {
    let other = |error: quinn::ConnectionError| ConnectError::Other(words(&error));
    let connection = connecting.await.map_err(other)?;
    let (mut send, recv) = connection.open_bi().await.map_err(other)?;
    send.write_all(&[HELLO]).await.map_err(|error| ConnectError::Other(error.to_string()))?;
    Ok((connection, (send, recv)))
}

/// Waits for a notice that makes it pointless to go on.
async fn failure(socket: &Socket, node: &str, service: ServiceName) -> ConnectError {
    loop {
        let notice = socket.service().inbox().notice().await;
        if says_gone(&notice, node, service) {
            return ConnectError::ServiceUnknown;
        }
        if notice.about.is(Problem::BlockedByFirewall) {
            return ConnectError::Other(notice.about.problem);
        }
    }
}
