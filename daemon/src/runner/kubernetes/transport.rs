//! The HTTP client under kube's.
//!
//! kube's own has no bounds on its buffers: one that reads fast grows to 400 KiB for each connection, and a connection that
//! was used once is kept for a minute and a half. With a log stream for each of 500 pods that is more than all the rest.

use std::time::Duration;

use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::client::{Body, ConfigExt};
use tower::{BoxError, ServiceBuilder};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// What a connection reads at once at most. A followed log comes line by line; a log that is read in bulk loses nothing
/// against larger ones (docs/benchmarks.md).
const BUFFER: usize = 16 * 1024;
/// Connections kept for the next requests: as many as are used at the same time by short ones.
const IDLE_CONNECTIONS: usize = 16;
/// How long they are kept.
const IDLE: Duration = Duration::from_secs(30);

/// A client for this access. Blocks: a credential plugin may run.
pub(super) fn client(config: kube::Config) -> Result<kube::Client, kube::Error> {
    if config.proxy_url.is_some() {
        // The ways through the kinds of proxies are kube's.
        return kube::Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT));
    let client: Client<_, Body> = Client::builder(TokioExecutor::new())
        .http1_max_buf_size(BUFFER)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(config.rustls_https_connector_with_connector(connector)?);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(kube::Client::new(service, config.default_namespace))
}
