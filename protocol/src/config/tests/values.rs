//! The conversions of control-protocol 1.2 as they are seen in a configuration: file and command line alike.

use super::*;

#[test]
fn file_and_command_line_convert_alike() {
    for (text, expected) in [("'0660'", 0o660), ("0660", 0o660), ("0o660", 0o660), ("'0x1b0'", 0o660), ("432", 0o660)] {
        let from_file = config(&format!("- control-service: {{filename: /s, permissions: {text}}}"));
        assert_eq!(from_file.control_services[0].permissions, expected, "{text}");
        let word = format!("permissions={}", text.trim_matches('\''));
        let words = ["--control-service", "filename=/s", &word].map(str::to_owned);
        let Ok(Startup::Run(start)) = load(&words, &host("")) else { panic!("{text}") };
        assert_eq!(start.config.control_services[0].permissions, expected, "{text}");
    }
}

#[test]
fn numbers_become_texts() {
    assert_eq!(config("- node: {id: 12}").node.id.as_str(), "12");
    assert_eq!(config("- node: {id: 1.5}").node.id.as_str(), "1.500000");
    assert_eq!(config("- node: {id: yes}").node.id.as_str(), "true");
    let config = config("- work-command: {worktype: 5, command: true}");
    assert_eq!((command(&config).work_type.as_str(), command(&config).command.as_str()), ("5", "true"));
}

#[test]
fn an_empty_work_type_is_accepted() {
    assert_eq!(command(&config("- work-command: {worktype: '', command: a}")).work_type, "");
}
