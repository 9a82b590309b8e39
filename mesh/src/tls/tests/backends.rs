//! Backends and the control socket: mesh-protocol 1.4.

use sha2::{Digest, Sha256, Sha512};
use worknode_protocol::config::model::Fingerprint;

use super::*;

async fn backend(server: &Server, client: &Client, host: &str) -> Result<Done, (io::Result<()>, io::Result<()>)> {
    let (config, name) = client.backend(host).await.unwrap();
    handshake(server.backend().await.unwrap(), config, name).await
}

fn sha256(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint::Sha256(Sha256::digest(certificate).into())
}

fn sha512(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint::Sha512(Box::new(Sha512::digest(certificate).into()))
}

#[tokio::test]
async fn both_ends_show_their_certificates_and_names() {
    let pki = Pki::new();
    pki.issue("hub", &["hub"]);
    pki.issue("leaf", &["leaf", "leaf2"]);
    let (server, client) = (server(pki.mutual("hub"), "hub"), client(pki.client_settings("leaf"), "leaf"));
    let done = backend(&server, &client, "127.0.0.1").await.unwrap();
    assert_eq!(server.certified(done.client_certs.as_deref()).unwrap(), ["leaf", "leaf2"]);
    assert_eq!(client.certified(done.server_certs.as_deref()).unwrap(), ["hub"]);
    assert_eq!(done.version, rustls::ProtocolVersion::TLSv1_3);
    assert!(!done.second_hello, "the curves of both ends agree at once");
}

#[tokio::test]
async fn names_are_not_enforced_where_told_or_where_there_are_none() {
    let pki = Pki::new();
    pki.issue("host", &[]);
    let host = TlsServer { skip_receptor_names_check: true, ..pki.mutual("host") };
    let free = TlsClient { skip_receptor_names_check: true, ..pki.client_settings("host") };
    let done = backend(&server(host.clone(), "hub"), &client(free.clone(), "leaf"), "host.example").await.unwrap();
    let (presented, answered) = (done.client_certs.as_deref(), done.server_certs.as_deref());
    // The settings themselves do not check.
    assert_eq!(server(host, "hub").certified(presented), None);
    assert_eq!(client(free, "leaf").certified(answered), None);
    // The settings check, but the certificate is for a host.
    pki.issue("hub", &["hub"]);
    assert_eq!(server(pki.mutual("hub"), "hub").certified(presented), None);
    assert_eq!(client(pki.client_settings("hub"), "hub").certified(answered), None);
    assert_eq!(server(pki.mutual("hub"), "hub").certified(None), None);
}

#[tokio::test]
async fn the_host_must_be_in_the_certificate() {
    let pki = Pki::new();
    pki.issue("hub", &["hub"]);
    let (server, client) = (server(pki.server_settings("hub"), "hub"), client(pki.client_settings(""), "leaf"));
    for host in ["host.example", "127.0.0.1"] {
        backend(&server, &client, host).await.unwrap();
    }
    for host in ["other.example", "127.0.0.2", "::1", "hub"] {
        let (_, refused) = backend(&server, &client, host).await.unwrap_err();
        assert!(words(refused).contains("not valid for name"), "{host}");
    }
    assert!(client.backend("a b").await.unwrap_err().to_string().contains("no host name"));
}

#[tokio::test]
async fn only_certificates_of_the_authority_are_taken() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    pki.issue("hub", &["hub"]);
    pki.issue("leaf", &["leaf"]);
    stranger.issue("leaf", &["leaf"]);
    stranger.issue("hub", &["hub"]);
    let hub = server(pki.mutual("hub"), "hub");

    let forged = TlsClient { identity: stranger.client_settings("leaf").identity, ..pki.client_settings("leaf") };
    let (refused, _) = backend(&hub, &client(forged, "leaf"), "127.0.0.1").await.unwrap_err();
    assert!(words(refused).contains("invalid peer certificate"));
    let (refused, _) = backend(&hub, &client(pki.client_settings(""), "leaf"), "127.0.0.1").await.unwrap_err();
    assert!(words(refused).contains("no certificates"));

    let other = server(stranger.server_settings("hub"), "hub");
    let (_, refused) = backend(&other, &client(pki.client_settings("leaf"), "leaf"), "127.0.0.1").await.unwrap_err();
    assert!(words(refused).contains("invalid peer certificate"));
    let all = TlsClient { insecure_skip_verify: true, ..pki.client_settings("leaf") };
    let all = client(all, "leaf");
    let done = backend(&other, &all, "anything.example").await.unwrap();
    assert_eq!(all.certified(done.server_certs.as_deref()), None, "nobody has signed these names");
}

/// Seen on a Go listener with `clientcas` alone: "RVF failed: peer certificate missing".
#[tokio::test]
async fn an_authority_alone_insists_on_certificates() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    pki.issue("hub", &["hub"]);
    pki.issue("leaf", &["leaf"]);
    stranger.issue("leaf", &["leaf"]);
    let hub = TlsServer { require_client_cert: false, ..pki.mutual("hub") };
    let hub = server(hub, "hub");
    backend(&hub, &client(pki.client_settings("leaf"), "leaf"), "127.0.0.1").await.unwrap();
    assert!(backend(&hub, &client(pki.client_settings(""), "leaf"), "127.0.0.1").await.is_err());
    let forged = TlsClient { identity: stranger.client_settings("leaf").identity, ..pki.client_settings("leaf") };
    assert!(backend(&hub, &client(forged, "leaf"), "127.0.0.1").await.is_err());
}

/// A certificate must be meant for its use: serverAuth and clientAuth.
#[tokio::test]
async fn the_use_of_a_certificate_is_checked() {
    let pki = Pki::new();
    let only =
        |purpose: ExtendedKeyUsagePurpose| move |p: &mut CertificateParams| p.extended_key_usages = vec![purpose];
    let p256 = &rcgen::PKCS_ECDSA_P256_SHA256;
    pki.issue_with("server", &["n"], p256, only(ExtendedKeyUsagePurpose::ServerAuth));
    pki.issue_with("client", &["n"], p256, only(ExtendedKeyUsagePurpose::ClientAuth));
    let (good, bad) = (server(pki.mutual("server"), "n"), server(pki.mutual("client"), "n"));
    backend(&good, &client(pki.client_settings("client"), "n"), "127.0.0.1").await.unwrap();
    assert!(backend(&good, &client(pki.client_settings("server"), "n"), "127.0.0.1").await.is_err());
    assert!(backend(&bad, &client(pki.client_settings("client"), "n"), "127.0.0.1").await.is_err());
}

#[tokio::test]
async fn pins_are_enforced_in_addition_to_the_chain() {
    let pki = Pki::new();
    let hub = pki.issue("hub", &["hub"]);
    let (leaf, other) = (pki.issue("leaf", &["leaf"]), pki.issue("other", &["other"]));
    for pin in [sha256, sha512] {
        let pinning = TlsServer { pinned_client_cert: vec![sha256(&hub), pin(&leaf)], ..pki.mutual("hub") };
        let pinning = server(pinning, "hub");
        backend(&pinning, &client(pki.client_settings("leaf"), "leaf"), "127.0.0.1").await.unwrap();
        let (refused, _) =
            backend(&pinning, &client(pki.client_settings("other"), "other"), "127.0.0.1").await.unwrap_err();
        assert!(words(refused).contains("presented certificate does not match any pinned fingerprint"));

        let plain = server(pki.server_settings("hub"), "hub");
        for insecure_skip_verify in [false, true] {
            let settings = TlsClient { insecure_skip_verify, ..pki.client_settings("") };
            let pinned = TlsClient { pinned_server_cert: vec![pin(&hub)], ..settings.clone() };
            let pinned = client(pinned, "leaf");
            let done = backend(&plain, &pinned, "127.0.0.1").await.unwrap();
            assert_eq!(pinned.certified(done.server_certs.as_deref()).unwrap(), ["hub"]);
            let wrong = TlsClient { pinned_server_cert: vec![pin(&other)], ..settings };
            let (_, refused) = backend(&plain, &client(wrong, "leaf"), "127.0.0.1").await.unwrap_err();
            assert!(words(refused).contains("does not match any pinned fingerprint"));
        }
    }
    // A pin does not stand in for the chain.
    let stranger = Pki::new();
    let foreign = stranger.issue("leaf", &["leaf"]);
    let pinning = TlsServer { pinned_client_cert: vec![sha256(&foreign)], ..pki.mutual("hub") };
    let forged = TlsClient { identity: stranger.client_settings("leaf").identity, ..pki.client_settings("leaf") };
    assert!(backend(&server(pinning, "hub"), &client(forged, "leaf"), "127.0.0.1").await.is_err());
}

#[tokio::test]
async fn versions_are_as_configured() {
    let pki = Pki::new();
    pki.issue("hub", &["hub"]);
    let (any, new) = (pki.server_settings("hub"), TlsServer { min_tls13: true, ..pki.server_settings("hub") });
    let (any, new) = (server(any, "hub"), server(new, "hub"));
    let old = |mut config: Arc<ClientConfig>| {
        let provider = config.crypto_provider().clone();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(pki.authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]);
        *Arc::make_mut(&mut config) = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        config
    };
    let client = client(pki.client_settings(""), "leaf");
    let (config, name) = client.backend("127.0.0.1").await.unwrap();
    let done = handshake(any.backend().await.unwrap(), old(config.clone()), name.clone()).await.unwrap();
    assert_eq!(done.version, rustls::ProtocolVersion::TLSv1_2);
    let done = handshake(new.backend().await.unwrap(), config.clone(), name.clone()).await.unwrap();
    assert_eq!(done.version, rustls::ProtocolVersion::TLSv1_3);
    let (refused, _) = handshake(new.backend().await.unwrap(), old(config), name).await.unwrap_err();
    assert!(words(refused).contains("Tls"));
}

/// A peer that offers X25519 first is asked again, and served (mesh-protocol 1.4).
#[tokio::test]
async fn a_peer_with_other_curves_in_front_is_served() {
    let pki = Pki::new();
    pki.issue("hub", &["hub"]);
    let hub = server(pki.server_settings("hub"), "hub");
    let client = client(TlsClient { min_tls13: true, ..pki.client_settings("") }, "leaf");
    assert!(backend(&hub, &client, "127.0.0.1").await.unwrap().second_hello);
}

#[tokio::test]
async fn keys_of_several_kinds_serve() {
    let pki = Pki::new();
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        pki.issue_with("hub", &["hub"], algorithm, |_| {});
        let hub = server(pki.mutual("hub"), "hub");
        backend(&hub, &client(pki.client_settings("hub"), "hub"), "127.0.0.1").await.unwrap();
    }
}

#[tokio::test]
async fn without_settings_the_systems_authorities_decide() {
    let pki = Pki::new();
    pki.issue("hub", &["hub"]);
    let hub = server(pki.server_settings("hub"), "hub");
    let (_, refused) = backend(&hub, &Client::system().unwrap(), "127.0.0.1").await.unwrap_err();
    assert!(words(refused).contains("invalid peer certificate"));
}
