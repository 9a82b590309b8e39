//! Objects as they are now.

use bytes::{BufMut as _, BytesMut};

use super::body::{Answer, json, json_bytes};
use super::{Exchange, table};
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::selector::Selector;
use crate::store::Key;

pub(super) fn get(exchange: &Exchange, key: &Key) -> Result<Answer, Refusal> {
    let object = exchange.cluster.store.get(key);
    let object = object.ok_or_else(|| Refusal::not_found(key.resource.plural(), &key.name))?;
    if table::wanted(&exchange.parts) {
        return Ok(json(200, &table::table(key.resource, &[&object], object.version, true)));
    }
    Ok(json_bytes(200, object.json.clone()))
}

pub(super) fn list(exchange: &Exchange, resource: Resource, namespace: Option<&str>) -> Result<Answer, Refusal> {
    let query = &exchange.call.query;
    let selector = Selector::parse(resource, query.text("labelSelector"), query.text("fieldSelector"))
        .map_err(Refusal::bad_request)?;
    check_version(exchange)?;
    let (objects, version) = exchange.cluster.store.list(resource, namespace);
    let objects: Vec<_> = objects.iter().filter(|object| selector.matches(&object.value)).collect();
    if table::wanted(&exchange.parts) {
        let objects: Vec<_> = objects.iter().map(|object| object.as_ref()).collect();
        return Ok(json(200, &table::table(resource, &objects, version, true)));
    }
    let kind = resource.kind();
    let mut body = BytesMut::new();
    body.put_slice(
        format!("{{\"kind\":\"{kind}List\",\"apiVersion\":\"v1\",\"metadata\":{{\"resourceVersion\":\"{version}\"}},\"items\":[")
            .as_bytes(),
    );
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            body.put_u8(b',');
        }
        body.put_slice(&object.json);
    }
    body.put_slice(b"]}\n");
    Ok(json_bytes(200, body.freeze()))
}

/// Only the present can be listed; what is asked of the past or the future is refused where a real server would.
fn check_version(exchange: &Exchange) -> Result<(), Refusal> {
    let (query, store) = (&exchange.call.query, &exchange.cluster.store);
    let text = query.text("resourceVersion");
    if text.is_empty() {
        return Ok(());
    }
    let asked: u64 = text.parse().map_err(|_| Refusal::garbled_version(text, false))?;
    let current = store.version();
    if asked > current {
        return Err(Refusal::future_version(asked, current));
    }
    match query.text("resourceVersionMatch") {
        "Exact" if store.has_forgotten(asked) => Err(Refusal::list_expired()),
        _ => Ok(()),
    }
}
