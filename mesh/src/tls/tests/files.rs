//! Files: what refuses to start, and what happens when they change.

use std::time::Duration;

use super::*;
use crate::tls::Named;

/// Lets the time pass in which files are not looked at again.
async fn a_moment() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(1001)).await;
    tokio::time::resume();
}

fn refused(settings: TlsServer) -> String {
    Named::load(&[settings], &[], &node("hub")).unwrap_err().to_string()
}

#[test]
fn the_own_certificate_must_carry_the_own_node_id() {
    let pki = Pki::new();
    pki.issue("n", &["a", "b"]);
    let cert = pki.path("n.crt").display().to_string();
    let text = |kind: &str, section: &str| {
        format!(
            "error preparing tls {kind} config: nodeID=hub not found in certificate name(s); names found=[a b]; \
             cfg section={section}; server cert={cert}"
        )
    };
    assert_eq!(refused(pki.server_settings("n")), text("server", "s"));
    let client = Named::load(&[], &[pki.client_settings("n")], &node("hub")).unwrap_err().to_string();
    assert_eq!(client, text("client", "c"));

    let skipping = TlsServer { skip_receptor_names_check: true, ..pki.server_settings("n") };
    let unchecked = TlsClient { skip_receptor_names_check: true, ..pki.client_settings("n") };
    let named = Named::load(&[skipping], &[unchecked], &node("hub")).unwrap();
    assert!(named.server("s").is_some() && named.client("c").unwrap().is_some());
    assert!(named.server("c").is_none() && named.client("s").unwrap().is_none());
    assert!(named.has_client("default") && named.client("default").unwrap().is_some(), "it is always there");
}

#[test]
fn files_that_cannot_be_used_refuse_to_start() {
    let pki = Pki::new();
    pki.issue("hub", &["hub"]);
    pki.issue("other", &["hub"]);
    fs::write(pki.path("empty"), "").unwrap();
    fs::write(pki.path("junk"), "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").unwrap();
    let good = || pki.server_settings("hub");
    let (empty, junk) = (pki.path("empty"), pki.path("junk"));
    let cases = [
        (TlsServer { cert: pki.path("no"), ..good() }, "/no: no such file or directory"),
        (TlsServer { cert: empty.clone(), ..good() }, "/empty: no usable certificate in it"),
        (TlsServer { cert: junk.clone(), ..good() }, "/junk: "),
        (TlsServer { key: empty.clone(), ..good() }, "/empty: no items found"),
        (TlsServer { key: pki.path("hub.crt"), ..good() }, "/hub.crt: no items found"),
        (TlsServer { key: pki.path("other.key"), ..good() }, "keys may not be consistent: KeyMismatch"),
        (TlsServer { client_cas: Some(empty), ..good() }, "/empty: no usable certificate in it"),
        (TlsServer { client_cas: Some(junk), ..good() }, "/junk: "),
    ];
    for (settings, text) in cases {
        let refused = refused(settings);
        assert!(refused.starts_with("error preparing tls server config: ") && refused.contains(text), "{refused}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart() {
    let pki = Pki::new();
    let old = pki.issue("hub", &["hub"]);
    let hub = server(pki.server_settings("hub"), "hub");
    let leaf = client(pki.client_settings(""), "leaf");
    let presented = || async {
        let (config, name) = leaf.backend("127.0.0.1").await.unwrap();
        handshake(hub.backend().await.unwrap(), config, name).await.unwrap().server_certs.unwrap()
    };
    assert_eq!(presented().await, std::slice::from_ref(&old));
    let new = pki.issue("hub", &["hub"]);
    assert_ne!(old, new);
    a_moment().await;
    assert_eq!(presented().await, [new]);
}

#[tokio::test]
async fn broken_files_keep_the_old_certificate_until_they_are_whole() {
    let pki = Pki::new();
    let old = pki.issue("hub", &["hub"]);
    let hub = server(pki.server_settings("hub"), "hub");
    let leaf = client(pki.client_settings(""), "leaf");
    let presented = || async {
        a_moment().await;
        let (config, name) = leaf.backend("127.0.0.1").await.unwrap();
        handshake(hub.backend().await.unwrap(), config, name).await.unwrap().server_certs.unwrap()
    };
    fs::write(pki.path("hub.crt"), "half a certificate").unwrap();
    assert_eq!(presented().await, std::slice::from_ref(&old));
    fs::remove_file(pki.path("hub.key")).unwrap();
    assert_eq!(presented().await, std::slice::from_ref(&old));
    pki.issue("hub", &["another node"]);
    assert_eq!(presented().await, std::slice::from_ref(&old), "it does not carry our node ID");
    let new = pki.issue("hub", &["hub"]);
    assert_eq!(presented().await, [new]);
}

/// A new authority is trusted, and an old one no longer, from the next connection on.
#[tokio::test]
async fn new_authorities_are_taken() {
    let (pki, next) = (Pki::new(), Pki::new());
    pki.issue("hub", &["hub"]);
    pki.issue("leaf", &["leaf"]);
    next.issue("leaf", &["leaf"]);
    let hub = server(pki.mutual("hub"), "hub");
    let (old, new) = (pki.client_settings("leaf"), next.client_settings("leaf"));
    let new = TlsClient { identity: new.identity, ..pki.client_settings("leaf") };
    let old = TlsClient { root_cas: Some(pki.path("roots")), ..old };
    let new = TlsClient { root_cas: Some(pki.path("roots")), ..new };
    fs::copy(pki.path("ca.crt"), pki.path("roots")).unwrap();
    let (old, new) = (client(old, "leaf"), client(new, "leaf"));
    let opens =
        |client: Arc<ClientConfig>, name| async { handshake(hub.backend().await.unwrap(), client, name).await.is_ok() };
    let (config, name) = old.backend("127.0.0.1").await.unwrap();
    assert!(opens(config.clone(), name.clone()).await);
    fs::copy(next.path("ca.crt"), pki.path("ca.crt")).unwrap();
    a_moment().await;
    assert!(!opens(config, name).await);
    let (config, name) = new.backend("127.0.0.1").await.unwrap();
    assert!(opens(config, name).await);
}
