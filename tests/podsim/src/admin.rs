//! Faults from outside the process: HTTP on a Unix socket that only its owner may use.
//!
//! | Request | Answer |
//! |---|---|
//! | `POST /faults` with a [`Fault`] as JSON | `{"hit": N}` |
//! | `POST /traps` with a [`Trap`] as JSON | `{"trap": NUMBER}` |
//! | `DELETE /traps`, `DELETE /traps/NUMBER` | `{}` |
//! | `GET /requests` | `{"total": N, "counts": {"get pods": N, ...}, "recent": [...]}` |
//! | `GET /pods` | all pods |

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cluster::Cluster;
use crate::control::Faults;
use crate::faults::{Fault, Trap};
use crate::resource::Resource;

/// Name of the socket in the simulator's directory.
pub const ADMIN_SOCKET: &str = "podsim.sock";
/// Largest request body, in bytes.
const BODY_LIMIT: usize = 64 * 1024;

/// Binds the socket and serves until `stop`; the tasks are the caller's to await.
pub(crate) fn serve(cluster: &Arc<Cluster>, faults: Faults, stop: CancellationToken) -> io::Result<TaskTracker> {
    let path = cluster.directory.join(ADMIN_SOCKET);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
    let tasks = TaskTracker::new();
    let (cluster, spawner) = (Arc::clone(cluster), tasks.clone());
    tasks.spawn(async move {
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept on the admin socket");
                        break;
                    }
                },
            };
            spawner.spawn(connection(stream, Arc::clone(&cluster), faults.clone(), stop.clone()));
        }
        // Gone with the directory otherwise.
        let _ = fs::remove_file(&path);
    });
    tasks.close();
    Ok(tasks)
}

async fn connection(stream: UnixStream, cluster: Arc<Cluster>, faults: Faults, stop: CancellationToken) {
    let service = service_fn(|request| {
        let (cluster, faults) = (Arc::clone(&cluster), faults.clone());
        async move {
            let (code, value) =
                answer(&cluster, &faults, request).await.unwrap_or_else(|why| (400, json!({"error": why})));
            let mut response = Response::new(Full::new(Bytes::from(format!("{value}\n"))));
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        () = stop.cancelled() => {}
        served = served => {
            if let Err(error) = served {
                tracing::debug!(%error, "an admin connection ended early");
            }
        }
    }
}

async fn answer(cluster: &Cluster, faults: &Faults, request: Request<Incoming>) -> Result<(u16, Value), String> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| error.to_string())?.to_bytes();
    let path: Vec<&str> = parts.uri.path().split('/').filter(|part| !part.is_empty()).collect();
    let value = match (parts.method, path.as_slice()) {
        (Method::POST, ["faults"]) => {
            let fault: Fault = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            json!({"hit": faults.apply(fault).await.map_err(|error| error.to_string())?})
        }
        (Method::POST, ["traps"]) => {
            let trap: Trap = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            json!({"trap": faults.set(trap)})
        }
        (Method::DELETE, ["traps"]) => {
            faults.clear();
            json!({})
        }
        (Method::DELETE, ["traps", number]) => {
            faults.remove(number.parse().map_err(|_| format!("{number} is no number"))?);
            json!({})
        }
        (Method::GET, ["requests"]) => requests(cluster),
        (Method::GET, ["pods"]) => {
            cluster.store.list(Resource::Pods, None).0.iter().map(|object| object.value.clone()).collect()
        }
        _ => return Ok((404, json!({"error": "there is nothing here"}))),
    };
    Ok((200, value))
}

fn requests(cluster: &Cluster) -> Value {
    let counts = cluster.requests.counts().into_iter();
    let counts: Map<String, Value> =
        counts.map(|((verb, resource), count)| (format!("{verb} {resource}"), json!(count))).collect();
    json!({"total": cluster.requests.total(), "counts": counts, "recent": cluster.requests.recent()})
}

/// Sends one request to a simulator's admin socket and returns the body of the answer; an answer other than 200 is an
/// error. For the `podsim` program.
pub async fn ask(socket: &Path, method: &str, path: &str, body: String) -> io::Result<String> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, "podsim")
        .body(Full::new(Bytes::from(body)))
        .map_err(io::Error::other)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if status == StatusCode::OK { Ok(text) } else { Err(io::Error::other(text)) }
    };
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
}
