use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use worknode_protocol::control::{Submit, Token};

use super::given;
use crate::cli::SubmitArgs;
use crate::failure::Failure;
use crate::output::Printer;

/// Fields of a submit that options set, so that no parameter may.
const FIELDS: [&str; 4] = ["command", "subcommand", "node", "worktype"];

/// A unit to submit, and what to do with it afterwards.
#[derive(Debug)]
pub(crate) struct SubmitJob {
    pub(crate) submit: Submit,
    pub(crate) payload: Payload,
    pub(crate) follow: bool,
    pub(crate) rm: bool,
}

/// Where the unit's stdin comes from.
pub(crate) enum Payload {
    /// Bytes at hand.
    Bytes(Vec<u8>),
    /// An open file, and its size where it has one.
    File(File, Option<u64>),
    /// Our own stdin.
    Stdin,
}

impl Payload {
    /// How many bytes there are, if that is known.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => u64::try_from(bytes.len()).ok(),
            Self::File(_, size) => *size,
            Self::Stdin => None,
        }
    }

    pub(crate) fn into_reader(self) -> Box<dyn Read> {
        match self {
            Self::Bytes(bytes) => Box::new(io::Cursor::new(bytes)),
            Self::File(file, _) => Box::new(file),
            Self::Stdin => Box::new(io::stdin().lock()),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes(_) => "Bytes",
            Self::File(..) => "File",
            Self::Stdin => "Stdin",
        })
    }
}

impl SubmitJob {
    pub(crate) fn resolve(args: SubmitArgs, stdin_is_terminal: bool, printer: &mut Printer) -> Result<Self, Failure> {
        let source = Source::of(&args, stdin_is_terminal)?;
        if args.rm && !args.follow {
            printer.warning("using --rm without --follow. Unit results will never be seen.");
        }
        let payload = source.open()?;
        let (follow, rm) = (args.follow, args.rm);
        let submit = submit(args).map_err(Failure::in_submit)?;
        Ok(Self { submit, payload, follow, rm })
    }
}

/// Which payload option counts.
enum Source {
    None,
    Literal(String),
    File(String),
    Stdin,
}

impl Source {
    /// Exactly one of the options, of which an empty one is not given. Without any our own stdin counts, unless it is a
    /// terminal: a person gets the original's complaint, a pipeline `... | ctl work submit cat` just works.
    fn of(args: &SubmitArgs, stdin_is_terminal: bool) -> Result<Self, Failure> {
        let payload = given(args.payload.clone());
        let literal = given(args.payload_literal.clone());
        match (payload, literal, args.no_payload) {
            (None, None, true) => Ok(Self::None),
            (None, Some(literal), false) => Ok(Self::Literal(literal)),
            (Some(file), None, false) if file == "-" => Ok(Self::Stdin),
            (Some(file), None, false) => Ok(Self::File(file)),
            (None, None, false) if stdin_is_terminal => Err(Failure::NoPayload),
            (None, None, false) => Ok(Self::Stdin),
            _ => Err(Failure::TwoPayloads),
        }
    }

    fn open(self) -> Result<Payload, Failure> {
        match self {
            Self::None => Ok(Payload::Bytes(Vec::new())),
            Self::Literal(text) => Ok(Payload::Bytes(format!("{text}\n").into_bytes())),
            Self::Stdin => Ok(Payload::Stdin),
            Self::File(file) => open(&file).map_err(|error| Failure::PayloadFile { file, error }),
        }
    }
}

fn open(file: &str) -> io::Result<Payload> {
    let file = File::open(file)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::ISDIR.raw_os_error()));
    }
    let size = metadata.is_file().then_some(metadata.len());
    Ok(Payload::File(file, size))
}

fn submit(args: SubmitArgs) -> Result<Submit, Failure> {
    let mut submit = Submit {
        node: given(args.node).unwrap_or_else(|| "localhost".to_owned()),
        work_type: args.worktype,
        tls_client: given(args.tls_client),
        ttl: given(args.ttl),
        sign_work: args.signwork,
        ..Submit::default()
    };
    for (name, value) in params(&args.params, &args.cmdparams)? {
        let value = contents(&name, value)?;
        let illegal = || Failure::IllegalParam(name.clone());
        // Fields that have an option may also be given as a parameter, but not both ways.
        match name.as_str() {
            field if FIELDS.contains(&field) => return Err(illegal()),
            "tlsclient" if submit.tls_client.is_some() => return Err(illegal()),
            "ttl" if submit.ttl.is_some() => return Err(illegal()),
            "signwork" if submit.sign_work => return Err(illegal()),
            "tlsclient" => submit.tls_client = Some(value),
            "ttl" => submit.ttl = Some(value),
            "signwork" => submit.sign_work = value == "true",
            "signature" => submit.signature = Token::new(value),
            _ => submit.params.insert(name, value),
        }
    }
    Ok(submit)
}

/// Names and values in the order in which the names first came; of equal names the last value counts. Further words
/// are appended to `params`.
fn params(options: &[String], words: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let mut params: Vec<(String, String)> = Vec::new();
    for (number, option) in options.iter().enumerate() {
        let (name, value) = option.split_once('=').ok_or(Failure::ParamWithoutValue(number))?;
        match params.iter_mut().find(|(known, _)| known == name) {
            Some((_, earlier)) => value.clone_into(earlier),
            None => params.push((name.to_owned(), value.to_owned())),
        }
    }
    if !words.is_empty() {
        let words = words.join(" ");
        match params.iter_mut().find(|(name, _)| name == "params") {
            Some((_, value)) => *value = format!("{value} {words}"),
            None => params.push(("params".to_owned(), words)),
        }
    }
    Ok(params)
}

/// The value itself, or with `@FILE` the file's text. `@@...` is no file and is sent with both signs.
fn contents(name: &str, value: String) -> Result<String, Failure> {
    if value.is_empty() {
        return Err(Failure::EmptyParam(name.to_owned()));
    }
    match value.strip_prefix('@') {
        Some(file) if !file.starts_with('@') => match std::fs::read_to_string(file) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::NoParamFile(file.to_owned())),
            Err(error) => Err(Failure::ParamFile { file: file.to_owned(), error: error.to_string() }),
        },
        _ => Ok(value),
    }
}
