//! Properties: no input panics, and what is started is whole.

use proptest::prelude::*;

use super::*;

fn load_both(text: &str) {
    for dialect in [["-c", FILE, "--check-config"], ["-c", FILE, "--config-v2"]] {
        let words = dialect.map(str::to_owned);
        if let Ok(Startup::Run(start)) = load(&words, &host(text)) {
            let names: Vec<_> = start.config.work_types.iter().map(WorkType::name).collect();
            assert!(names.iter().all(|name| names.iter().filter(|other| other == &name).count() == 1));
        }
    }
}

/// YAML that comes near a configuration.
fn near_yaml() -> impl Strategy<Value = String> {
    let action =
        prop::sample::select(super::super::schema::ACTIONS.iter().map(|action| action.name).collect::<Vec<_>>());
    let scalar = prop_oneof![
        Just("~".to_owned()),
        Just("0600".to_owned()),
        Just("1.5".to_owned()),
        Just("yes".to_owned()),
        Just("[a, 5]".to_owned()),
        Just("{a: 1}".to_owned()),
        Just("[{action: drop, tonode: /x/}]".to_owned()),
        Just("30m".to_owned()),
        Just("/rx/pub.pem".to_owned()),
        Just("a:/b".to_owned()),
        "[a-z0-9/:.'\"-]{0,8}",
    ];
    let item = action.prop_flat_map(move |name| {
        let params: Vec<_> =
            super::super::schema::action(name).unwrap().params.iter().map(|param| param.name).collect();
        let names = prop::sample::select(if params.is_empty() { vec!["x"] } else { params });
        let pairs = prop::collection::vec((names, scalar.clone()), 0..8);
        (Just(name), pairs)
    });
    prop::collection::vec(item, 0..6).prop_map(|items| {
        let write = |(name, pairs): (&str, Vec<(&str, String)>)| {
            let pairs: String = pairs.iter().map(|(key, value)| format!("    {key}: {value}\n")).collect();
            format!("- {name}:\n{pairs}")
        };
        items.into_iter().map(write).collect()
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        load_both(&text);
    }

    #[test]
    fn no_yaml_panics(text in near_yaml()) {
        load_both(&text);
    }

    #[test]
    fn no_command_line_panics(words in prop::collection::vec("-{0,2}[a-z-]{0,12}=?[ -~]{0,8}", 0..8)) {
        let _ = load(&words, &host(""));
    }

    /// Whatever can be an ID is read back as it was written.
    #[test]
    fn every_id_survives_quoting(id in "[^/\\p{C}]{1,40}") {
        prop_assume!(id != "." && id != ".." && !id.eq_ignore_ascii_case("localhost"));
        let quoted = serde_json::to_string(&id).unwrap();
        let read = config(&format!("- node: {{id: {quoted}}}"));
        prop_assert_eq!(read.node.id.as_str(), id);
    }
}
