use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use clap::Parser as _;

use super::*;
use crate::connect::{Address, TlsFiles};

/// Resolves a command line with these variables, and a socket if the line names none.
fn resolve_with(words: &[&str], variables: &[(&str, &str)], stdin_is_terminal: bool) -> Result<Job, Failure> {
    let mut environment = Environment {
        variables: BTreeMap::from([("HOME".to_owned(), "/nonexistent".to_owned())]),
        stdin_is_terminal,
        ..Environment::default()
    };
    environment.variables.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let cli = Cli::try_parse_from(["ctl"].iter().chain(words)).unwrap();
    let mut printer = Printer::new(cli.output_options(), &environment);
    Job::resolve(cli, &environment, &mut printer)
}

fn resolve(words: &[&str]) -> Result<Job, Failure> {
    resolve_with(words, &[("WORKNODE_CTL_SOCKET", "/n.sock")], true)
}

fn submit(words: &[&str]) -> Result<SubmitJob, String> {
    let words = [&["work", "submit", "cat"], words].concat();
    match resolve(&words).map_err(|failure| failure.to_string())?.action {
        Action::Submit(submit) => Ok(submit),
        other => panic!("{other:?}"),
    }
}

fn payload(words: &[&str]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    submit(words)?.payload.into_reader().read_to_end(&mut bytes).unwrap();
    Ok(bytes)
}

#[test]
fn one_payload_is_taken() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input");
    std::fs::write(&file, "from a file").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(payload(&["-n"]).unwrap(), b"");
    assert_eq!(payload(&["-l", "text"]).unwrap(), b"text\n");
    assert_eq!(payload(&["-p", file]).unwrap(), b"from a file");
    assert_eq!(submit(&["-p", file]).unwrap().payload.size(), Some(11));
    assert!(matches!(submit(&["-p", "-"]).unwrap().payload, Payload::Stdin));
}

#[test]
fn without_a_payload_option_stdin_counts_unless_it_is_a_terminal() {
    const NONE: &str = "Must provide one of --payload, --no-payload or --payload-literal.";
    assert_eq!(submit(&[]).unwrap_err(), NONE);
    assert_eq!(submit(&["-l", "", "-p", ""]).unwrap_err(), NONE);
    let piped = resolve_with(&["--socket", "/n.sock", "work", "submit", "cat"], &[], false).unwrap();
    assert!(matches!(piped.action, Action::Submit(SubmitJob { payload: Payload::Stdin, .. })));
}

#[test]
fn two_payloads_are_refused() {
    for words in [&["-n", "-l", "x"][..], &["-n", "-p", "-"], &["-l", "x", "-p", "/x"]] {
        assert_eq!(
            submit(words).unwrap_err(),
            "Cannot provide more than one of --payload, --no-payload and --payload-literal."
        );
    }
}

#[test]
fn a_payload_file_that_cannot_be_opened_is_told_in_the_words_of_the_original() {
    assert_eq!(
        submit(&["-p", "/nope"]).unwrap_err(),
        "Failed to load payload file: [Errno 2] No such file or directory: '/nope'"
    );
    assert_eq!(submit(&["-p", "/"]).unwrap_err(), "Failed to load payload file: [Errno 21] Is a directory: '/'");
}

#[test]
fn parameters_become_fields() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pod.yml");
    std::fs::write(&file, "kind: Pod\r\n").unwrap();
    let file = format!("secret_kube_pod=@{}", file.display());
    let job =
        submit(&["-n", "-a", &file, "-a", "b=x=y", "-a", "b=z", "-a", "at=@@x", "--param", "params=p", "q", "r s"]);
    let params: Vec<_> = job.as_ref().unwrap().submit.params.iter().collect();
    assert_eq!(params, [("at", "@@x"), ("b", "z"), ("params", "p q r s"), ("secret_kube_pod", "kind: Pod\r\n")]);
    assert_eq!(job.unwrap().submit.node, "localhost");

    let job = submit(&["-n", "--node", "n2", "--tls-client", "t", "--ttl", "20s", "--signwork", "w"]).unwrap();
    let submit = job.submit;
    assert_eq!((submit.node.as_str(), submit.work_type.as_str(), submit.sign_work), ("n2", "cat", true));
    assert_eq!((submit.tls_client.as_deref(), submit.ttl.as_deref()), (Some("t"), Some("20s")));
    assert_eq!(submit.params.iter().collect::<Vec<_>>(), [("params", "w")]);
}

#[test]
fn fields_with_an_option_can_be_parameters_but_not_both() {
    let job = submit(&["-n", "-a", "ttl=5s", "-a", "signature=s", "-a", "signwork=true"]).unwrap();
    assert_eq!((job.submit.ttl.as_deref(), job.submit.sign_work), (Some("5s"), true));
    assert_eq!(job.submit.signature.unwrap().as_str(), "s");
    for (words, name) in [
        (&["-n", "-a", "node=x"][..], "node"),
        (&["-n", "-a", "command=x"], "command"),
        (&["-n", "-a", "worktype=x"], "worktype"),
        (&["-n", "--ttl", "5s", "-a", "ttl=x"], "ttl"),
        (&["-n", "--signwork", "-a", "signwork=true"], "signwork"),
        (&["-n", "--tls-client", "t", "-a", "tlsclient=x"], "tlsclient"),
    ] {
        assert_eq!(submit(words).unwrap_err(), format!("Duplicate or illegal parameter {name}"));
    }
}

#[test]
fn parameters_that_make_no_sense_are_refused_as_by_the_original() {
    for (param, text) in [
        ("bad", "dictionary update sequence element #0 has length 1; 2 is required"),
        ("x=", "string index out of range"),
        ("x=@/nope", "/nope does not exist"),
        ("x=@", " does not exist"),
        ("x=@/", "could not read from file /"),
    ] {
        let failure = resolve(&["work", "submit", "cat", "-n", "-a", param]).unwrap_err();
        assert_eq!((failure.to_string().as_str(), failure.exit().code()), (text, 101));
    }
    let second = submit(&["-n", "-a", "a=b", "-a", "bad"]).unwrap_err();
    assert_eq!(second, "dictionary update sequence element #1 has length 1; 2 is required");
}

#[test]
fn units_to_end_are_named_or_all() {
    let units = |words: &[&str]| match resolve(words).unwrap().action {
        Action::Cancel(units) | Action::Release { units, .. } => Some(units),
        Action::NoUnits => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(units(&["work", "cancel"]), None);
    assert_eq!(units(&["work", "release", "--force"]), None);
    assert_eq!(units(&["work", "release", "--all", "a"]), Some(Units::All));
    assert_eq!(units(&["work", "cancel", "a", "b"]), Some(Units::Named(vec!["a".to_owned(), "b".to_owned()])));
}

#[test]
fn an_exit_code_is_of_one_unit() {
    let failure = resolve(&["work", "wait", "a", "b", "--exit-code"]).unwrap_err();
    assert_eq!((failure.to_string().as_str(), failure.exit().code()), ("--exit-code is for one unit", 2));
}

#[test]
fn the_socket_is_looked_for_in_order() {
    let address = |words: &[&str], variables: &[(&str, &str)]| {
        let words = [words, &["status"]].concat();
        resolve_with(&words, variables, true).unwrap().target.address
    };
    let unix = |path: &str| Address::Unix(PathBuf::from(path));
    let both = [("WORKNODE_CTL_SOCKET", "/w"), ("RECEPTORCTL_SOCKET", "/r")];
    assert_eq!(address(&["--socket", "/o"], &both), unix("/o"));
    assert_eq!(address(&[], &both), unix("/w"));
    assert_eq!(address(&["--socket", ""], &both[1..]), unix("/r"));

    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("worknode")).unwrap();
    std::fs::write(directory.path().join("worknode/ctl.toml"), "socket = '~/f'").unwrap();
    let settings = [("XDG_CONFIG_HOME", directory.path().to_str().unwrap())];
    assert_eq!(address(&[], &settings), unix("/nonexistent/f"));
}

#[test]
fn tls_files_are_named_in_one_way() {
    let tls = |words: &[&str], variables: &[(&str, &str)]| {
        let words = [&["--socket", "/n.sock"], words, &["status"]].concat();
        resolve_with(&words, variables, true).map(|job| job.target.tls).map_err(|failure| failure.to_string())
    };
    assert_eq!(
        tls(&["--config", "/x", "--tls-client", "t", "--cert", "c"], &[]).unwrap_err(),
        "Cannot specify both config and rootcas, key, cert"
    );
    assert_eq!(tls(&["--config", "/x"], &[]).unwrap_err(), "Must specify both config and tlsclient");
    assert_eq!(
        tls(&[], &[("RECEPTORCTL_CONFIG", "/x"), ("WORKNODE_CTL_KEY", "k")]).unwrap_err(),
        "Cannot specify both config and rootcas, key, cert"
    );
    // The command line puts the other way out of force.
    let files = tls(&["--rootcas", "/ca", "--key", "~/k"], &[("RECEPTORCTL_CONFIG", "/x")]).unwrap().files;
    assert_eq!(files, TlsFiles { rootcas: Some("/ca".into()), key: Some("/nonexistent/k".into()), cert: None });
    // A Unix socket needs no TLS, so a file that is not there does no harm.
    assert!(tls(&["--config", "/nope"], &[("RECEPTORCTL_TLSCLIENT", "t")]).is_ok());
    let failure =
        resolve_with(&["--socket", "tls://h:1", "--config", "/nope", "--tls-client", "t", "status"], &[], true);
    assert!(failure.unwrap_err().to_string().starts_with("/nope: "));
}
