//! Objects as they change: one JSON object per line, for as long as the client listens.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::HeaderValue;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::body::{Answer, stream};
use super::{Exchange, table};
use crate::cluster::{Cluster, WatchFaults};
use crate::connections::Use;
use crate::faults::Effect;
use crate::refusal::Refusal;
use crate::resource::Resource;
use crate::selector::Selector;
use crate::store::{Change, ChangeKind, News, Object};

/// Without `timeoutSeconds` the server picks a time from 30 to 60 minutes; this is the shortest of them.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);

pub(super) fn answer(
    exchange: &Exchange,
    resource: Resource,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<Answer, Refusal> {
    let query = &exchange.call.query;
    let mut fields = query.text("fieldSelector").to_owned();
    if let Some(name) = name {
        fields = format!("metadata.name={name}");
    }
    let selector = Selector::parse(resource, query.text("labelSelector"), &fields).map_err(Refusal::bad_request)?;
    let version = match query.text("resourceVersion") {
        "" => 0,
        text => text.parse().map_err(|_| Refusal::garbled_version(text, true))?,
    };
    let timeout = match query.number("timeoutSeconds").map_err(Refusal::bad_request)? {
        Some(seconds) if seconds > 0 => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)),
        _ => DEFAULT_TIMEOUT,
    };
    let cluster = Arc::clone(&exchange.cluster);
    let pod = selector.single_name().unwrap_or_default();
    exchange.on.connection.set_use(Use::Watch, pod);
    let bookmarks = query.flag("allowWatchBookmarks");
    let faults = cluster.watch_faults.subscribe();
    let begun = *faults.borrow();
    let mut watcher = Watcher {
        changes: cluster.store.subscribe(),
        faults,
        begun,
        resource,
        namespace: namespace.map(str::to_owned),
        selector,
        version,
        as_table: table::wanted(&exchange.parts),
        first: VecDeque::new(),
        timeout: Instant::now() + timeout,
        bookmark_at: bookmarks.then(|| Instant::now() + cluster.options.timing.bookmark),
        silent: exchange.effect == Some(Effect::Silence),
        over: false,
        cluster,
    };
    if exchange.effect == Some(Effect::Gone) {
        watcher.gone(version, version + 1);
    } else if query.flag("sendInitialEvents") {
        watcher.list_first();
        watcher.end_of_list();
    } else if version == 0 {
        watcher.list_first();
    }
    let lines = futures_util::stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((Ok::<_, io::Error>(line), watcher))
    });
    Ok(stream(HeaderValue::from_static("application/json"), lines))
}

struct Watcher {
    cluster: Arc<Cluster>,
    changes: watch::Receiver<u64>,
    faults: watch::Receiver<WatchFaults>,
    /// The faults that happened before.
    begun: WatchFaults,
    resource: Resource,
    namespace: Option<String>,
    selector: Selector,
    /// Everything up to this version was told.
    version: u64,
    as_table: bool,
    /// Lines to be sent before anything else.
    first: VecDeque<Bytes>,
    timeout: Instant,
    bookmark_at: Option<Instant>,
    silent: bool,
    /// Ends after `first`.
    over: bool,
}

impl Watcher {
    /// The next line or lines; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.silent {
                if let Some(line) = self.first.pop_front() {
                    return Some(line);
                }
                if self.over {
                    return None;
                }
                if let Some(lines) = self.news() {
                    return Some(lines);
                }
                if self.over {
                    continue;
                }
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                changed = self.faults.changed() => {
                    changed.ok()?;
                    self.notice_faults();
                }
                () = sleep_until(self.timeout) => return None,
                () = sleep_until(self.bookmark_at.unwrap_or(self.timeout)), if self.bookmark_at.is_some() => {
                    self.bookmark_at = Some(Instant::now() + self.cluster.options.timing.bookmark);
                    self.bookmark(false);
                }
            }
        }
    }

    fn notice_faults(&mut self) {
        let now = *self.faults.borrow_and_update();
        if now.ended != self.begun.ended {
            (self.over, self.silent) = (true, false);
        }
        if now.silenced != self.begun.silenced {
            self.silent = true;
        }
        if now.expired != self.begun.expired {
            self.gone(self.version, self.cluster.store.version() + 1);
        }
    }

    /// What has changed since the last look, in one piece.
    fn news(&mut self) -> Option<Bytes> {
        match self.cluster.store.news(self.resource, self.namespace.as_deref(), self.version) {
            News::TooOld(oldest) => {
                self.gone(self.version, oldest);
                None
            }
            News::Changes(changes, version) => {
                // A version from the future stays: nothing is told until it has come.
                self.version = self.version.max(version);
                let mut lines = BytesMut::new();
                for change in &changes {
                    self.tell(change, &mut lines);
                }
                (!lines.is_empty()).then(|| lines.freeze())
            }
        }
    }

    /// A change as this watch sees it: an object that comes to match is added, one that no longer does is deleted.
    fn tell(&self, change: &Change, lines: &mut BytesMut) {
        let matches = |object: &Object| self.selector.matches(&object.value);
        let before = change.before.as_ref().is_some_and(|object| matches(object));
        let after = change.kind != ChangeKind::Deleted && matches(&change.after);
        let kind = match (before, after) {
            (false, false) => return,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        lines.put(self.line(kind, &change.after));
    }

    fn line(&self, kind: &str, object: &Object) -> Bytes {
        if self.as_table {
            let table = table::table(self.resource, &[object], object.version, false);
            return Bytes::from(format!("{}\n", json!({"type": kind, "object": table})));
        }
        let mut line = BytesMut::with_capacity(object.json.len() + 40);
        line.put_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
        line.put_slice(&object.json);
        line.put_slice(b"}\n");
        line.freeze()
    }

    /// Begins with what there is.
    fn list_first(&mut self) {
        let (objects, version) = self.cluster.store.list(self.resource, self.namespace.as_deref());
        let matching = objects.iter().filter(|object| self.selector.matches(&object.value));
        self.first = matching.map(|object| self.line("ADDED", object)).collect();
        self.version = version;
    }

    fn end_of_list(&mut self) {
        self.bookmark(true);
    }

    fn bookmark(&mut self, ends_list: bool) {
        let annotations = if ends_list { json!({"k8s.io/initial-events-end": "true"}) } else { json!(null) };
        let mut object = json!({
            "kind": self.resource.kind(),
            "apiVersion": "v1",
            "metadata": {"resourceVersion": self.version.to_string(), "creationTimestamp": null},
        });
        if let Some(metadata) = object.get_mut("metadata").and_then(|metadata| metadata.as_object_mut())
            && ends_list
        {
            metadata.insert("annotations".to_owned(), annotations);
        }
        self.first.push_back(Bytes::from(format!("{}\n", json!({"type": "BOOKMARK", "object": object}))));
    }

    fn gone(&mut self, asked: u64, oldest: u64) {
        let status = Refusal::expired(asked, oldest).status();
        self.first.push_back(Bytes::from(format!("{}\n", json!({"type": "ERROR", "object": status}))));
        self.over = true;
    }
}
