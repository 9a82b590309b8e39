//! `GET .../pods/NAME/log`.

use std::sync::Arc;

use http::StatusCode;
use http::header::HeaderValue;
use jiff::Timestamp;
use serde_json::Value;

use super::Exchange;
use super::body::{Answer, stream, whole};
use super::call::Query;
use crate::connections::Use;
use crate::log::{ContainerLog, LogQuery, LogStream};
use crate::refusal::{Mistake, Refusal};
use crate::resource::text_at;
use crate::store::{Key, Object};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

pub(super) fn answer(exchange: &Exchange, key: &Key) -> Result<Answer, Refusal> {
    let query = &exchange.call.query;
    let wanted = log_query(query, &key.name)?;
    let pod = exchange.cluster.store.get(key).ok_or_else(|| Refusal::not_found("pods", &key.name))?;
    let container = choose_container(&pod.value, query.text("container"), &key.name)?;
    if text_at(&pod.value, "spec.nodeName").is_empty() {
        let mut answer = whole(204, TEXT, "");
        *answer.status_mut() = StatusCode::NO_CONTENT;
        return Ok(answer);
    }
    let Some(log) = find_log(exchange, &pod, &container, query.flag("previous"))? else {
        return Ok(whole(200, TEXT, ""));
    };
    let opened = LogStream::open(log, &wanted, exchange.cluster.options.timing.log_end)
        .map_err(|error| Refusal::internal(&format!("cannot open the log: {error}")))?;
    exchange.on.connection.set_use(Use::Log, &key.name);
    let chunks = futures_util::stream::unfold(opened, |mut log| async move {
        let chunk = log.next().await.transpose()?;
        Some((chunk, log))
    });
    Ok(stream(TEXT, chunks))
}

/// The container asked for, or the only one.
pub(super) fn choose_container(pod: &Value, wanted: &str, name: &str) -> Result<String, Refusal> {
    let names = |kind: &str| -> Vec<&str> {
        let list = pod.pointer(&format!("/spec/{kind}")).and_then(Value::as_array).into_iter().flatten();
        list.map(|container| text_at(container, "name")).collect()
    };
    let (init, main) = (names("initContainers"), names("containers"));
    if !wanted.is_empty() {
        return match init.iter().chain(&main).any(|known| *known == wanted) {
            true => Ok(wanted.to_owned()),
            false => Err(Refusal::bad_request(format!("container {wanted} is not valid for pod {name}"))),
        };
    }
    match (main.as_slice(), init.as_slice()) {
        ([only], []) => Ok((*only).to_owned()),
        (_, init) => {
            let mut message =
                format!("a container name must be specified for pod {name}, choose one of: [{}]", main.join(" "));
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            Err(Refusal::bad_request(message))
        }
    }
}

/// `None`: the container is over and never wrote anything, because it could not be started.
fn find_log(
    exchange: &Exchange,
    pod: &Object,
    container: &str,
    previous: bool,
) -> Result<Option<Arc<ContainerLog>>, Refusal> {
    let name = &pod.key.name;
    let Some(handle) = exchange.cluster.kubelet.handle(pod.uid()) else {
        return Err(Refusal::unknown_to_kubelet("log", name));
    };
    let runs = handle.runs_of(container);
    if previous {
        let run = runs.previous.ok_or_else(|| {
            Refusal::bad_request(format!("previous terminated container \"{container}\" in pod \"{name}\" not found"))
        })?;
        return Ok(Some(Arc::clone(&run.log)));
    }
    if let Some(run) = runs.current {
        return Ok(Some(Arc::clone(&run.log)));
    }
    let state = container_state(&pod.value, container);
    if state.is_some_and(|state| state.get("terminated").is_some()) {
        return Ok(None);
    }
    let reason = state.and_then(|state| state.pointer("/waiting/reason")).and_then(Value::as_str);
    let why = match reason {
        Some("ErrImagePull") => "image can't be pulled",
        Some("ImagePullBackOff") => "trying and failing to pull image",
        Some(reason) => reason,
        None => return Err(Refusal::unknown_to_kubelet("log", name)),
    };
    Err(Refusal::bad_request(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}")))
}

fn container_state<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    ["/status/containerStatuses", "/status/initContainerStatuses"]
        .iter()
        .filter_map(|pointer| pod.pointer(pointer)?.as_array())
        .flatten()
        .find(|status| text_at(status, "name") == container)?
        .get("state")
}

fn log_query(query: &Query, pod: &str) -> Result<LogQuery, Refusal> {
    let number = |key: &str| query.number(key).map_err(Refusal::bad_request);
    let (tail, limit, since_seconds) = (number("tailLines")?, number("limitBytes")?, number("sinceSeconds")?);
    let since_time = match query.text("sinceTime") {
        "" => None,
        text => Some(
            text.parse::<Timestamp>()
                .map_err(|error| Refusal::bad_request(format!("parsing time \"{text}\": {error}")))?,
        ),
    };
    let mut mistakes = Vec::new();
    let mut wrong = |reason: &'static str, field: &str, message: String| {
        mistakes.push(Mistake { reason, field: field.to_owned(), message });
    };
    if let Some(limit) = limit.filter(|limit| *limit < 1) {
        wrong("FieldValueInvalid", "limitBytes", format!("Invalid value: {limit}: must be greater than 0"));
    }
    if let Some(tail) = tail.filter(|tail| *tail < 0) {
        wrong("FieldValueInvalid", "tailLines", format!("Invalid value: {tail}: must be greater than or equal to 0"));
    }
    if since_seconds.is_some() && since_time.is_some() {
        let message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned();
        wrong("FieldValueForbidden", "", message);
    } else if let Some(seconds) = since_seconds.filter(|seconds| *seconds < 1) {
        wrong("FieldValueInvalid", "sinceSeconds", format!("Invalid value: {seconds}: must be greater than 0"));
    }
    if !query.text("stream").is_empty() && query.text("stream") != "All" {
        wrong("FieldValueForbidden", "stream", "Forbidden: may not be specified".to_owned());
    }
    if !mistakes.is_empty() {
        return Err(Refusal::invalid("PodLogOptions", pod, &mistakes));
    }
    let since_start = since_seconds.map(|seconds| Timestamp::now().as_second().saturating_sub(seconds));
    Ok(LogQuery {
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
        // The fraction is lost on the way to the kubelet (kubernetes-streams 4.3).
        since: since_time.map(Timestamp::as_second).or(since_start),
        tail_records: tail.and_then(|tail| u64::try_from(tail).ok()),
        limit_bytes: limit.and_then(|limit| u64::try_from(limit).ok()),
    })
}
