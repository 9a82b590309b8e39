//! From arguments, files and environment to what the daemon shall do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::{build, certificates};
use super::command_line::{self, Part};
use super::error::{CheckError, ConfigError, LoadError, Phase, Place, Problem};
use super::host::{Host, system_text};
use super::item::Item;
use super::model::{CertCommand, NodeConfig};
use super::reload::ReloadItems;
use super::report::{self, CheckReport};
use super::schema::Rule;
use super::v1::{self, Parsed};
use super::{help, v2};
use crate::yaml::Position;

/// Files that are read where the command line names nothing; the first that is there.
pub const DEFAULT_FILES: [&str; 2] = ["/etc/worknode/node.yml", "/etc/receptor/receptor.conf"];

/// The word that chooses the second dialect, wherever it stands (control-protocol 1.1).
const SECOND_DIALECT: &str = "--config-v2";

/// What the daemon shall do.
#[derive(Debug)]
pub enum Startup {
    /// Run a node.
    Run(Box<Start>),
    /// Print this text and end with 0.
    Help(String),
    /// Print the version and end with 0.
    Version,
    /// Do something about certificates, and end.
    Certificates(CertCommand),
    /// Print this report and end with its exit code.
    CheckConfig(CheckReport),
}

/// A node to run.
#[derive(Debug)]
pub struct Start {
    /// Its configuration.
    pub config: NodeConfig,
    /// What a reload compares; `None` if no file was read, and then there is nothing to reload.
    pub reload: Option<ReloadItems>,
    /// Lines to print before anything else.
    pub lines: Vec<String>,
    /// What is odd but accepted, for the log.
    pub notices: Vec<String>,
}

/// Why nothing can be run. `Display` is the line to print before ending with 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("Error: {}", .0.startup_text())]
pub struct StartError(Box<Problem>);

impl StartError {
    /// The text without `Error: `.
    #[must_use]
    pub fn text(&self) -> String {
        self.0.startup_text()
    }

    /// What is wrong and where.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0
    }
}

/// Decides what to do by the words after the program's name. Reads files and environment through `host`; changes
/// nothing.
///
/// # Errors
/// If the configuration cannot be used; the error is the one that receptor would tell first, in its words.
pub fn load(arguments: &[String], host: &dyn Host) -> Result<Startup, StartError> {
    if arguments.iter().any(|word| word == SECOND_DIALECT) {
        let words: Vec<_> = arguments.iter().filter(|word| *word != SECOND_DIALECT).cloned().collect();
        return second_dialect(&words, host);
    }
    let mut line = command_line::parse(arguments);
    if line.help {
        return Ok(Startup::Help(help::text()));
    }
    if line.parts.is_empty() {
        match DEFAULT_FILES.iter().find(|path| host.stat(Path::new(path)).is_ok()) {
            Some(path) => line.parts.push(Part::File(PathBuf::from(path))),
            None if !line.check => return Ok(Startup::Help(help::text())),
            None => {
                let text = format!("no configuration file: there is neither {}", DEFAULT_FILES.join(" nor "));
                let error = LoadError::NoConfigFile(text);
                return Err(StartError(Box::new(Problem::load(Place::CommandLine, error))));
            }
        }
    }
    let mut loaded = Loaded::default();
    for part in line.parts {
        loaded.take(part, host);
    }
    loaded.finish(host, line.check)
}

fn second_dialect(words: &[String], host: &dyn Host) -> Result<Startup, StartError> {
    let mut loaded = Loaded::default();
    loaded.lines.push("Running v2 cli/config".to_owned());
    let (mut check, mut file) = (false, None);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--help" | "-h" => return Ok(Startup::Help(help::text())),
            "--version" => return Ok(Startup::Version),
            "--check-config" => check = true,
            "--config" | "-c" => match words.next() {
                Some(name) => file = Some(PathBuf::from(name)),
                None => loaded.refuse(Place::CommandLine, LoadError::NoFileName),
            },
            other => match other.strip_prefix("--config=") {
                Some(name) => file = Some(PathBuf::from(name)),
                None => loaded.refuse(Place::CommandLine, LoadError::UnknownFlag(other.to_owned())),
            },
        }
    }
    let usual = || {
        let path = PathBuf::from(host.variable("HOME")?).join("receptor.yaml");
        host.stat(&path).is_ok().then_some(path)
    };
    match file.or_else(usual) {
        Some(path) => loaded.take_sections(&path, host),
        None => {
            let text = "Could not locate config file (default is $HOME/receptor.yaml)".to_owned();
            loaded.refuse(Place::CommandLine, LoadError::NoConfigFile(text));
        }
    }
    loaded.finish(host, check)
}

/// What arguments and files hold together.
#[derive(Default)]
struct Loaded {
    items: Vec<Item>,
    problems: Vec<Problem>,
    notices: Vec<(Place, String)>,
    reload: Option<ReloadItems>,
    files: Vec<PathBuf>,
    lines: Vec<String>,
    /// Whether the second dialect's key `version` moves the tuning of the Kubernetes client into the file.
    tuning_in_node: bool,
}

impl Loaded {
    fn refuse(&mut self, place: Place, error: LoadError) {
        self.problems.push(Problem::load(place, error));
    }

    fn take(&mut self, part: Part, host: &dyn Host) {
        match part {
            Part::Item(item) => self.take_item(item),
            Part::Wrong(problem) => self.problems.push(problem),
            Part::File(path) => {
                let path = Arc::from(path);
                if let Some(text) = self.read(&path, host) {
                    self.take_parsed(v1::parse(&text, &path));
                }
            }
        }
    }

    fn take_sections(&mut self, path: &Path, host: &dyn Host) {
        let path = Arc::from(path);
        if let Some(text) = self.read(&path, host) {
            self.lines.push(format!("Using config file: {}", path.display()));
            let sections = v2::parse(&text, &path);
            self.tuning_in_node = sections.version == Some(2);
            self.take_parsed(sections.parsed);
        }
    }

    fn read(&mut self, path: &Arc<Path>, host: &dyn Host) -> Option<String> {
        self.files.push(path.to_path_buf());
        self.reload.get_or_insert_default();
        let text = host.read(path).map_err(|error| system_text("open", path, &error));
        let text =
            text.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "yaml: invalid leading UTF-8 octet".to_owned()));
        text.map_err(|text| {
            self.refuse(Place::File(Arc::clone(path), Position::default()), LoadError::File(text));
        })
        .ok()
    }

    fn take_parsed(&mut self, parsed: Parsed) {
        self.problems.extend(parsed.problems);
        self.notices.extend(parsed.notices);
        self.reload.get_or_insert_default().extend(parsed.reload);
        for item in parsed.items {
            self.take_item(item);
        }
    }

    fn take_item(&mut self, item: Item) {
        // Within one file this has been checked; here files and command line meet.
        if v1::is_repeated(item.action, &self.items) {
            self.refuse(item.place.clone(), LoadError::Repeated(item.action.name));
        } else {
            self.items.push(item);
        }
    }

    fn finish(mut self, host: &dyn Host, check: bool) -> Result<Startup, StartError> {
        if let Some(alone) = self.items.iter().find(|item| item.action.rule == Rule::Alone) {
            if self.items.len() > 1 {
                let (place, name) = (alone.place.clone(), alone.action.name);
                self.refuse(place, LoadError::NotAlone(name));
            } else if alone.action.name == "version" && self.problems.is_empty() {
                return Ok(Startup::Version);
            } else if self.problems.is_empty()
                && let Some(command) = certificates(alone)
            {
                match command {
                    Ok(command) if check => return Ok(Startup::CheckConfig(report::alone(&self.files, &command))),
                    Ok(command) => return Ok(Startup::Certificates(command)),
                    Err(problem) => self.problems.push(problem),
                }
            }
        }
        let mut config = None;
        if self.problems.is_empty() {
            let built = build(std::mem::take(&mut self.items), host, self.tuning_in_node);
            self.problems = built.problems;
            self.notices.extend(built.notices);
            config = built.config;
        }
        if check {
            return Ok(Startup::CheckConfig(self.report(config)));
        }
        if let Some(problem) = self.problems.into_iter().next() {
            return Err(StartError(Box::new(problem)));
        }
        // Without problems there is a configuration.
        let Some(config) = config else { return Ok(Startup::Help(help::text())) };
        let notices = self.notices.iter().map(|(place, text)| format!("{place}: {text}")).collect();
        Ok(Startup::Run(Box::new(Start { config, reload: self.reload, lines: self.lines, notices })))
    }

    fn report(mut self, config: Option<NodeConfig>) -> CheckReport {
        let usable = config.filter(|_| self.problems.is_empty());
        if usable.as_ref().is_some_and(|config| !config.has_backend()) {
            let place = match self.files.first() {
                Some(path) => Place::File(Arc::from(path.as_path()), Position::default()),
                None => Place::CommandLine,
            };
            let error = ConfigError::Check(CheckError::NothingToDo);
            self.problems.push(Problem { place, phase: Phase::Run, error });
        }
        report::report(&self.files, usable.as_ref(), &self.problems, &self.notices)
    }
}
