use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    let words = line.split_whitespace().map(OsString::from);
    Cli::try_parse_from(join_bool_values(words))
}

fn submit(line: &str) -> SubmitArgs {
    match parse(line).unwrap().verb {
        Verb::Work(WorkVerb::Submit(args)) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_and_option_has_a_help_text() {
    fn check(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
        command.get_subcommands().for_each(check);
    }
    let mut command = Cli::command();
    command.build();
    check(&command);
}

#[test]
fn the_literal_command_of_the_readme() {
    let args = submit("ctl work submit kubeit --param secret_kube_pod=@pod.yml");
    assert_eq!((args.worktype.as_str(), args.params), ("kubeit", vec!["secret_kube_pod=@pod.yml".to_owned()]));
}

#[test]
fn words_of_the_original_client_are_understood() {
    for line in [
        "ctl --socket /x status --json",
        "ctl -c node.yml --tls-client mine --socket tls://h:1 ping n1 --count 2 --delay 0.5",
        "ctl --rootcas ca --key k --cert c --insecureskipverify true traceroute n1",
        "ctl connect n2 control --raw --tls-client theirs",
        "ctl connect -r n2 control",
        "ctl work list -q --node n2 --unit_id a --tls-client theirs",
        "ctl work submit cat --node n2 -n --tls-client t --ttl 20s --signwork -f --rm -a a=b -a c=d word word",
        "ctl work submit cat -p - --follow",
        "ctl work submit cat --payload-literal text",
        "ctl work submit cat --no-payload",
        "ctl work results ID",
        "ctl work cancel A B",
        "ctl work release --force --all",
        "ctl work release A",
        "ctl reload",
        "ctl status --graph",
        "ctl status --graph=dot --node n2 --tls-client theirs",
        "ctl reload --node n2",
        "ctl node list --json",
        "ctl version",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn words_after_two_dashes_are_the_units_own() {
    let args = submit("ctl work submit sh -n -- -c true --json");
    assert_eq!(args.cmdparams, ["-c", "true", "--json"]);
}

#[test]
fn insecureskipverify_takes_a_word_or_none() {
    let parsed = |line| parse(line).unwrap().endpoint.insecureskipverify;
    assert_eq!(parsed("ctl status"), None);
    assert_eq!(parsed("ctl --insecureskipverify status"), Some(true));
    assert_eq!(parsed("ctl --insecureskipverify True status"), Some(true));
    assert_eq!(parsed("ctl --insecureskipverify 0 status"), Some(false));
    assert_eq!(parsed("ctl --insecureskipverify=no status"), Some(false));
}

#[test]
fn nonsense_is_refused() {
    for line in [
        "ctl",
        "ctl bogus",
        "ctl ping",
        "ctl node",
        "ctl status --graph=svg",
        "ctl status --graph dot",
        "ctl status --graph --json",
        "ctl ping n1 --delay -1",
        "ctl ping n1 --delay x",
        "ctl ping n1 --count -1",
        "ctl work",
        "ctl work wait",
        "ctl work wait a --timeout 5",
        "ctl work wait a --timeout -5s",
        "ctl work list -q --table",
        "ctl work list --table --json",
        "ctl work list --state Done",
        "ctl work cancel a --all",
        "ctl work logs a --tail x",
        "ctl completions tcsh",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn manual_pages_exist_for_every_verb() {
    let page = |words: &[&str]| {
        let verb = Verb::Man { verb: words.iter().map(|word| (*word).to_owned()).collect() };
        generated(&verb).map(|page| String::from_utf8(page.unwrap()).unwrap())
    };
    assert!(page(&[]).unwrap().contains(".TH ctl 1"));
    let submit = page(&["work", "submit"]).unwrap();
    assert!(submit.contains(".TH ctl-work-submit 1") && submit.contains("KEY=VALUE"), "{submit}");
    assert_eq!(page(&["work", "bogus"]).unwrap_err().to_string(), "there is no verb work bogus");
}

#[test]
fn completions_know_the_verbs() {
    for shell in [CompletionShell::Bash, CompletionShell::Zsh, CompletionShell::Fish] {
        let script = String::from_utf8(generated(&Verb::Completions { shell }).unwrap().unwrap()).unwrap();
        assert!(script.contains("submit") && script.contains("payload-literal"), "{shell:?}");
    }
}
