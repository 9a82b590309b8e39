use worknode_protocol::config::model::allow::{AllowRule, Names, Origin, Rights, Units, Who};

use super::*;

fn unix(uid: u32, gid: u32) -> Client {
    Client::Unix { ids: Some((uid, gid)) }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn mesh(node: &str, certificate: &[&str]) -> Client {
    Client::Mesh { node: node.to_owned(), names: names(certificate) }
}

fn everybody() -> [Client; 6] {
    [
        unix(0, 0),
        Client::Unix { ids: None },
        Client::Tcp { names: Vec::new() },
        Client::Tcp { names: names(&["ci.example.org"]) },
        mesh("hub", &[]),
        mesh("hub", &["hub"]),
    ]
}

#[test]
fn a_condition_holds_for_those_who_have_what_it_names() {
    let meant = |who: Who| everybody().map(|client| client.is_meant(&who));
    let cases = [
        (Who::default(), [true; 6]),
        (Who { from: vec![Origin::Unix], ..Who::default() }, [true, true, false, false, false, false]),
        (Who { from: vec![Origin::Tcp, Origin::Mesh], ..Who::default() }, [false, false, true, true, true, true]),
        (Who { uids: vec![7, 0], ..Who::default() }, [true, false, false, false, false, false]),
        (Who { gids: vec![7], ..Who::default() }, [false; 6]),
        (Who { uids: vec![0], gids: vec![7], ..Who::default() }, [false; 6]),
        (
            Who { certificates: names(&["hub", "ci.example.org"]), ..Who::default() },
            [false, false, false, true, false, true],
        ),
        (Who { nodes: names(&["hub"]), ..Who::default() }, [false, false, false, false, true, true]),
        (
            Who { nodes: names(&["hub"]), certificates: names(&["hub"]), ..Who::default() },
            [false, false, false, false, false, true],
        ),
    ];
    for (who, expected) in cases {
        assert_eq!(meant(who.clone()), expected, "{who:?}");
    }
}

#[test]
fn rules_add_up() {
    let rule = |uid, rights| AllowRule { who: Who { uids: vec![uid], ..Who::default() }, rights };
    let rules = Rules::new(Some(&[
        rule(1, Rights { status: true, submit: Names::Only(names(&["cat"])), cancel: Units::Own, ..Rights::default() }),
        rule(
            1,
            Rights {
                submit: Names::Only(names(&["sh"])),
                cancel: Units::Any,
                results: Units::Own,
                ..Rights::default()
            },
        ),
        rule(2, Rights::all()),
        rule(2, Rights { cancel: Units::Own, submit: Names::Only(names(&["cat"])), ..Rights::default() }),
    ]));
    let rights = |uid| rules.judge(unix(uid, 0)).rights;
    assert_eq!(
        rights(1),
        Some(Rights {
            status: true,
            submit: Names::Only(names(&["cat", "sh"])),
            cancel: Units::Any,
            results: Units::Own,
            ..Rights::default()
        })
    );
    assert_eq!(rights(2), Some(Rights::all()));
    assert_eq!(rights(3), Some(Rights::default()), "nobody is meant by no rule");
}

#[test]
fn without_rules_everything_is_allowed() {
    for client in everybody() {
        assert_eq!(Rules::default().judge(client).rights, None);
    }
}

/// What makes two clients the same owner.
#[test]
fn an_owner_is_known_by_what_a_connection_proves() {
    let owner = |client: Client| client.owner();
    assert_eq!(owner(unix(5, 1)), owner(unix(5, 2)), "the user counts");
    assert_ne!(owner(unix(5, 1)), owner(unix(6, 1)));
    assert_eq!(owner(Client::Unix { ids: None }), None);
    assert_eq!(owner(Client::Tcp { names: Vec::new() }), None, "no two of them can be told apart");
    let certificate = |list: &[&str]| owner(Client::Tcp { names: names(list) });
    assert_eq!(certificate(&["a", "b"]), certificate(&["a", "b"]));
    assert_ne!(certificate(&["a", "b"]), certificate(&["a"]));
    assert_ne!(owner(mesh("hub", &[])), owner(mesh("hub", &["hub"])), "a name that was not proven");
    assert_ne!(certificate(&["hub"]), owner(mesh("hub", &["hub"])));
}

#[test]
fn an_owner_is_found_again_in_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    assert_eq!(read(&file), None);
    for client in everybody() {
        let Some(owner) = client.owner() else { continue };
        std::fs::write(&file, serde_json::to_string(&owner).unwrap()).unwrap();
        assert_eq!(read(&file), Some(owner));
    }
    for text in ["", "{}", "null", r#"{"from":"unix"}"#, r#"{"from":"unix","uid":-1}"#, r#"{"from":"x","uid":1}"#] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(read(&file), None, "{text}");
    }
}

#[test]
fn the_common_name_of_a_certificate_is_none_of_its_names() {
    use rcgen::{CertificateParams, DnType, KeyPair};
    let mut params = CertificateParams::new(vec!["b.example.org".to_owned(), "a.example.org".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "admin");
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert_eq!(Client::names(Some(&[certificate.der().clone()])), ["a.example.org", "b.example.org"]);
    assert_eq!(Client::names(Some(&[CertificateDer::from(vec![1])])), [""; 0]);
    assert_eq!(Client::names(None), [""; 0]);
}
