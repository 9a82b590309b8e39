//! Streams: mesh-protocol 7.4. The handshake is that of QUIC, here over a pipe.

use super::*;
use crate::tls::{INSECURE_COMMON_NAME, insecure_client, insecure_server};

fn any_name() -> ServerName<'static> {
    ServerName::try_from("netceptor").unwrap()
}

async fn stream(
    server: &Server,
    source: &str,
    client: &Client,
    target: &str,
) -> Result<Done, (io::Result<()>, io::Result<()>)> {
    handshake(server.stream(source).await.unwrap(), client.stream(target).await.unwrap(), any_name()).await
}

#[tokio::test]
async fn both_ends_check_the_others_node_id() {
    let pki = Pki::new();
    pki.issue("hub", &["hub", "hub2"]);
    pki.issue("leaf", &["leaf"]);
    let (hub, leaf) = (server(pki.mutual("hub"), "hub"), client(pki.client_settings("leaf"), "leaf"));
    stream(&hub, "leaf", &leaf, "hub").await.unwrap();
    stream(&hub, "leaf", &leaf, "hub2").await.unwrap();

    let (_, refused) = stream(&hub, "leaf", &leaf, "Hub").await.unwrap_err();
    assert!(words(refused).contains("certificate is valid for Receptor node IDs hub, hub2, but wanted to match Hub"));
    let (refused, _) = stream(&hub, "somebody", &leaf, "hub").await.unwrap_err();
    assert!(words(refused).contains("certificate is valid for Receptor node ID leaf, but wanted to match somebody"));
    let (refused, _) = stream(&hub, "leaf", &client(pki.client_settings(""), "leaf"), "hub").await.unwrap_err();
    assert!(words(refused).contains("no certificates"));
}

/// `skipreceptornamescheck` is about the own certificate; a stream always goes to the node that was meant.
#[tokio::test]
async fn names_of_streams_are_checked_whatever_the_settings_skip() {
    let pki = Pki::new();
    pki.issue("host", &[]);
    pki.issue("leaf", &["leaf"]);
    let host = TlsServer { skip_receptor_names_check: true, ..pki.server_settings("host") };
    let leaf = TlsClient { skip_receptor_names_check: true, ..pki.client_settings("leaf") };
    let (_, refused) = stream(&server(host.clone(), "hub"), "leaf", &client(leaf, "leaf"), "hub").await.unwrap_err();
    assert!(words(refused).contains("certificate is not valid for any Receptor node IDs, but wanted to match hub"));
    let all = TlsClient { insecure_skip_verify: true, ..pki.client_settings("leaf") };
    stream(&server(host, "hub"), "leaf", &client(all, "leaf"), "hub").await.unwrap();
}

/// Only required certificates are tied to the source (mesh-protocol 7.4).
#[tokio::test]
async fn a_certificate_that_is_not_required_is_not_tied_to_the_source() {
    let pki = Pki::new();
    pki.issue("hub", &["hub"]);
    pki.issue("leaf", &["leaf"]);
    let hub = server(TlsServer { require_client_cert: false, ..pki.mutual("hub") }, "hub");
    stream(&hub, "somebody", &client(pki.client_settings("leaf"), "leaf"), "hub").await.unwrap();
}

#[tokio::test]
async fn streams_are_tls13_with_the_protocol_netceptor_and_no_server_name() {
    let pki = Pki::new();
    pki.issue("hub", &["hub"]);
    let config = server(pki.server_settings("hub"), "hub").stream("leaf").await.unwrap();
    assert_eq!(config.alpn_protocols, [b"netceptor"]);
    let client = client(pki.client_settings(""), "leaf").stream("hub").await.unwrap();
    assert_eq!(client.alpn_protocols, [b"netceptor"]);
    assert!(!client.enable_sni);
    // QUIC takes both.
    quinn::crypto::rustls::QuicServerConfig::try_from(config.clone()).unwrap();
    quinn::crypto::rustls::QuicClientConfig::try_from(client.clone()).unwrap();
    let done = handshake(config, client, any_name()).await.unwrap();
    assert_eq!(done.version, rustls::ProtocolVersion::TLSv1_3);
}

#[tokio::test]
async fn the_built_in_pair_knows_each_other_and_nobody_else() {
    let pki = Pki::new();
    pki.issue("hub", &["hub"]);
    pki.issue("leaf", &["leaf"]);
    let (open, blind) = (insecure_server().unwrap(), insecure_client().unwrap());
    quinn::crypto::rustls::QuicServerConfig::try_from(open.clone()).unwrap();
    quinn::crypto::rustls::QuicClientConfig::try_from(blind.clone()).unwrap();
    handshake(open.clone(), blind.clone(), any_name()).await.unwrap();

    let hub = server(pki.server_settings("hub"), "hub");
    let (_, refused) = handshake(hub.stream("leaf").await.unwrap(), blind, any_name()).await.unwrap_err();
    assert!(words(refused).contains("insecure connection to secure service"));
    let leaf = client(pki.client_settings("leaf"), "leaf");
    let (_, refused) = handshake(open, leaf.stream("hub").await.unwrap(), any_name()).await.unwrap_err();
    assert!(words(refused).contains("invalid peer certificate"));
}

/// Whoever copies the certificate has not its key.
#[tokio::test]
async fn the_built_in_client_verifies_the_handshake() {
    let named = |key: &KeyPair| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, INSECURE_COMMON_NAME);
        params.self_signed(key).unwrap().der().clone()
    };
    let (owner, thief) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(thief.serialize_der().try_into().unwrap()).unwrap();
    let stolen = rustls::sign::CertifiedKey::new(vec![named(&owner)], key);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(stolen)));
    config.alpn_protocols = vec![b"netceptor".to_vec()];
    let (_, refused) = handshake(Arc::new(config), insecure_client().unwrap(), any_name()).await.unwrap_err();
    assert!(words(refused).contains("BadSignature"));
}
