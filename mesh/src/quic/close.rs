//! How connections end (mesh-protocol 7.5).

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{config::Side, stream::Ended};
use crate::tls;

/// The good end, by either side. The control service of a receptor node keeps silent about it.
pub(super) const NORMAL: (VarInt, &[u8]) = (VarInt::from_u32(0), b"normal close");
/// The end of what could not begin.
pub(super) const REFUSED: VarInt = VarInt::from_u32(500);
/// How long an acceptor waits for the dialer to close. Dialers of receptor often never do, and keep the connection alive.
const ACCEPTOR_LINGER: Duration = Duration::from_secs(30);
/// How long a dialer waits until its last bytes have arrived.
const DIALER_LINGER: Duration = Duration::from_secs(30);
/// How long a dialer that did not read to the end lets the other side read. Bytes that arrived and were not read are lost
/// to a receptor node when the connection is closed.
const UNREAD_LINGER: Duration = Duration::from_secs(1);
/// Time for the last packets to leave when the node stops.
const LAST_PACKETS: Duration = Duration::from_millis(200);
/// Read and thrown away at a time.
const BLOCK: usize = 64 * 1024;

/// Closes a connection with the words for a good end.
pub(super) fn close(connection: &Connection) {
    connection.close(NORMAL.0, NORMAL.1);
}

/// Counts a connection, or a stream, as long as it is there.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Watches over a connection until it is over. `gone` is done when the service at the other end is known to be no more;
/// `halves` brings the stream back when its user has dropped it.
pub(super) async fn watch(
    connection: Connection,
    side: Side,
    halves: oneshot::Receiver<Halves>,
    gone: impl Future<Output = ()>,
    ended: Arc<Ended>,
    stop: CancellationToken,
) {
    let over = async {
        // Else the stream aborted the connection itself.
        if let Ok(halves) = halves.await {
            linger(&connection, side, halves).await;
        }
    };
    tokio::select! {
        _ = connection.closed() => return,
        () = stop.cancelled() => {}
        () = gone => ended.set_gone(),
        () = over => {}
    }
    close(&connection);
}

/// What is left of a stream that was dropped.
pub(super) struct Halves {
    pub(super) send: SendStream,
    pub(super) recv: RecvStream,
    /// Whether all was read that the other side sent.
    pub(super) read_all: bool,
    /// Whether the other side was told that nothing more will come.
    pub(super) finished: bool,
}

/// Sees to it that what was sent arrives.
async fn linger(connection: &Connection, side: Side, mut halves: Halves) {
    // An error says that it was finished or given up before.
    let _ = halves.send.finish();
    match side {
        Side::Dialer => {
            let _ = timeout(DIALER_LINGER, halves.send.stopped()).await;
            if !halves.read_all {
                let _ = timeout(UNREAD_LINGER, discard(&mut halves.recv)).await;
            }
        }
        Side::Acceptor => {
            let finished = async {
                if !halves.read_all {
                    discard(&mut halves.recv).await;
                }
                connection.closed().await
            };
            let _ = timeout(ACCEPTOR_LINGER, finished).await;
        }
    }
}

/// Reads to the end, so that the other side can go on to its own.
async fn discard(recv: &mut RecvStream) {
    while let Ok(Some(_)) = recv.read_chunk(BLOCK, true).await {}
}

/// Waits until an endpoint without connections has forgotten them all: late packets of theirs are still understood, and
/// their last words are sent again if need be. (To close the endpoint would hide how its connections ended.)
pub(super) async fn finish(endpoint: Endpoint, stop: CancellationToken) {
    let hurry = async {
        stop.cancelled().await;
        sleep(LAST_PACKETS).await;
    };
    tokio::select! {
        () = endpoint.wait_idle() => {}
        () = hurry => {}
    }
}

/// What an error is called. Refused handshakes begin with `CRYPTO_ERROR` and the number of the alert, by which receptor
/// tells what is not worth another try (mesh-protocol 7.4).
pub(super) fn words(error: &ConnectionError) -> String {
    let crypto = |code: u64, side: &str, reason: &str| {
        (0x100..0x200).contains(&code).then(|| format!("CRYPTO_ERROR {code:#x} ({side}): {}", tls::plain(reason)))
    };
    let told = match error {
        ConnectionError::TransportError(error) => crypto(error.code.into(), "local", &error.reason),
        ConnectionError::ConnectionClosed(close) => {
            crypto(close.error_code.into(), "remote", &String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::ApplicationClosed(close) => Some(format!(
            "Application error {:#x} (remote): {}",
            close.error_code.into_inner(),
            String::from_utf8_lossy(&close.reason)
        )),
        ConnectionError::TimedOut => Some("timeout: no recent network activity".to_owned()),
        _ => None,
    };
    told.unwrap_or_else(|| error.to_string())
}
