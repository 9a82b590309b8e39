//! Requests for pods, and their paths.

use bytes::Bytes;
use http::{Method, Request};

use super::ApiError;

/// A request below `/api/v1/namespaces/NS/pods`. `path` has been encoded.
pub(crate) fn request(method: Method, path: &str, body: Bytes) -> Result<Request<Bytes>, ApiError> {
    let mut request = Request::builder().method(method).uri(path).header(http::header::ACCEPT, "application/json");
    if !body.is_empty() {
        request = request.header(http::header::CONTENT_TYPE, "application/json");
    }
    request.body(body).map_err(|fault| ApiError::Malformed(fault.to_string()))
}

/// The path of the pods of all namespaces.
pub(crate) const ALL_PODS: &str = "/api/v1/pods";

/// The path of the pods of a namespace.
pub(crate) fn pods_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{}/pods", encode(namespace))
}

/// The path of a pod.
pub(crate) fn pod_path(namespace: &str, name: &str) -> String {
    format!("{}/{}", pods_path(namespace), encode(name))
}

/// The request for a pod as it is now.
pub(crate) fn get_pod(namespace: &str, name: &str) -> Result<Request<Bytes>, ApiError> {
    request(Method::GET, &pod_path(namespace, name), Bytes::new())
}

/// Percent-encodes what has a meaning in a path or a query: names come from users.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        // A path of dots only would be taken apart by proxies.
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) || (byte == b'.' && !matches!(text, "." | "..")) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
