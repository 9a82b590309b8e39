use std::io;

use clap::{Command, CommandFactory as _};

use super::{Cli, CompletionShell, Verb};
use crate::failure::Failure;

/// The text of a verb that needs no node: completions and manual pages.
pub(crate) fn generated(verb: &Verb) -> Result<Option<Vec<u8>>, Failure> {
    match verb {
        Verb::Completions { shell } => Ok(Some(completions(*shell))),
        Verb::Man { verb } => man(verb).map(Some),
        _ => Ok(None),
    }
}

fn completions(shell: CompletionShell) -> Vec<u8> {
    use clap_complete::aot::{Bash, Fish, Zsh, generate};
    let mut command = Cli::command();
    let mut script = Vec::new();
    match shell {
        CompletionShell::Bash => generate(Bash, &mut command, "ctl", &mut script),
        CompletionShell::Zsh => generate(Zsh, &mut command, "ctl", &mut script),
        CompletionShell::Fish => generate(Fish, &mut command, "ctl", &mut script),
    }
    script
}

fn man(verb: &[String]) -> Result<Vec<u8>, Failure> {
    let mut command = Cli::command();
    command.build();
    let mut name = vec!["ctl".to_owned()];
    let mut described: &Command = &command;
    for word in verb {
        described = described
            .find_subcommand(word)
            .ok_or_else(|| Failure::Usage(format!("there is no verb {}", verb.join(" "))))?;
        name.push(word.clone());
    }
    let page = clap_mangen::Man::new(described.clone().name(name.join("-")).bin_name(name.join(" ")));
    let mut roff = Vec::new();
    page.render(&mut roff).map_err(|error: io::Error| Failure::Output(error))?;
    Ok(roff)
}
