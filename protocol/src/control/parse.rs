use serde_json::{Map, Value};

use super::error::IntegerError;
use super::{Prune, Request, RequestError, Results, Submit, Token, UnitCommand, WorkRequest, error_line};
use crate::duration::GoDuration;
use crate::json;
use crate::unit::State;

/// What a command line turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// An empty line: ignored without an answer.
    Nothing,
    /// A whole request.
    Request(Request),
    /// Nothing to be done but to answer.
    Refused(Refusal),
}

/// The error lines that answer a command line. The session goes on after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was wrong with a JSON line; the original then looks up an empty command and complains about that as well.
    malformed: Option<RequestError>,
    error: RequestError,
}

impl Refusal {
    /// One line, or the two with which malformed JSON is answered, each with its line feed.
    pub fn to_lines(&self) -> String {
        let mut lines = self.malformed.as_ref().map(error_line).unwrap_or_default();
        lines.push_str(&error_line(&self.error));
        lines
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self { malformed: None, error }
    }
}

/// Reads a command line, given without its line feed (control-protocol 2.3, 3.1 to 3.6).
///
/// Carriage returns are dropped wherever they stand; bytes that are not UTF-8 become U+FFFD. Checks that need to know
/// what exists (units, work types, TLS names, signatures) are not made here, and come after all that are.
pub fn parse(line: &[u8]) -> Parsed {
    let line: Vec<u8> = line.iter().copied().filter(|byte| *byte != b'\r').collect();
    let request = match line.first() {
        None => return Parsed::Nothing,
        Some(b'{') => json_form(&line),
        Some(_) => string_form(&json::decode_lossy(&line)).map_err(Refusal::from),
    };
    match request {
        Ok(request) => Parsed::Request(request),
        Err(refusal) => Parsed::Refused(refusal),
    }
}

/// `WORD REST`: the word in any case, the rest untouched.
fn string_form(line: &str) -> Result<Request, RequestError> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word.to_lowercase().as_str() {
        "ping" if rest.is_empty() => Err(RequestError::NoPingTarget),
        "ping" => Ok(Request::Ping { target: rest.to_owned() }),
        "traceroute" if rest.is_empty() => Err(RequestError::NoTracerouteTarget),
        "traceroute" => Ok(Request::Traceroute { target: rest.to_owned() }),
        "status" if rest.is_empty() => Ok(Request::Status { fields: None }),
        "status" => Err(RequestError::StatusTakesNoParameters),
        "reload" => Ok(Request::Reload),
        "connect" => string_connect(rest),
        "work" => string_work(rest).map(Request::Work),
        _ => Err(RequestError::UnknownCommand),
    }
}

fn string_connect(rest: &str) -> Result<Request, RequestError> {
    let mut tokens = rest.split(' ');
    let (Some(node), Some(service)) = (tokens.next(), tokens.next()) else {
        return Err(RequestError::NoConnectTarget);
    };
    let tls = tokens.next().unwrap_or_default();
    if tokens.next().is_some() {
        return Err(RequestError::TooManyConnectParameters);
    }
    Ok(Request::Connect { node: node.to_owned(), service: service.to_owned(), tls: given(tls) })
}

fn string_work(rest: &str) -> Result<WorkRequest, RequestError> {
    let (subcommand, arguments) = match rest.split_once(' ') {
        Some((subcommand, arguments)) => (subcommand, Some(arguments)),
        None => (rest, None),
    };
    match Subcommand::named(subcommand)? {
        Subcommand::Submit => string_submit(arguments),
        Subcommand::List => {
            Ok(WorkRequest::List { unit: arguments.and_then(|words| words.split(' ').next()).map(str::to_owned) })
        }
        Subcommand::Results => string_results(arguments).map(WorkRequest::Results),
        Subcommand::Follow => string_results(arguments).map(WorkRequest::Follow),
        Subcommand::Prune => string_prune(arguments),
        Subcommand::Unit(name, request) => {
            let unit = arguments.ok_or(RequestError::NoUnitId(name))?;
            if unit.contains(' ') {
                return Err(RequestError::TooManyUnitParameters(name));
            }
            Ok(request(UnitCommand { unit: unit.to_owned(), signature: None }))
        }
    }
}

fn string_submit(arguments: Option<&str>) -> Result<WorkRequest, RequestError> {
    let mut parts = arguments.ok_or(RequestError::SubmitWithoutTarget)?.splitn(3, ' ');
    let (Some(node), Some(work_type)) = (parts.next(), parts.next()) else {
        return Err(RequestError::SubmitWithoutTarget);
    };
    Ok(WorkRequest::Submit(Submit {
        node: node.to_owned(),
        work_type: work_type.to_owned(),
        params: parts.next().map(|params| ("params", params)).into_iter().collect(),
        ..Submit::default()
    }))
}

fn string_results(arguments: Option<&str>) -> Result<Results, RequestError> {
    let mut words = arguments.ok_or(RequestError::NoUnitId("results"))?.split(' ');
    let unit = words.next().unwrap_or_default().to_owned();
    let start = words.next();
    if words.next().is_some() {
        return Err(RequestError::TooManyResultsParameters);
    }
    let start = start.map_or(Ok(0), parse_integer).map_err(RequestError::StartPosition)?;
    Ok(Results { unit, start, ..Results::default() })
}

/// `[cluster] [dryrun] [older=DURATION] [state=STATE]`, in any order.
fn string_prune(arguments: Option<&str>) -> Result<WorkRequest, RequestError> {
    let mut prune = Prune::default();
    for word in arguments.unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
        match word.split_once('=').unwrap_or((word, "")) {
            ("cluster", "") => prune.cluster = true,
            ("dryrun", "") => prune.dry_run = true,
            ("older", duration) => prune.older = Some(older(duration)?),
            ("state", name) => prune.state = Some(state(name)?),
            _ => return Err(RequestError::PruneParameter(word.to_owned())),
        }
    }
    checked(prune)
}

fn json_prune(fields: &Map<String, Value>) -> Result<WorkRequest, RequestError> {
    let flag = |name| match fields.get(name) {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(RequestError::FieldBoolean(name)),
    };
    let word = |name| match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(RequestError::FieldType(name)),
    };
    checked(Prune {
        cluster: flag("cluster")?,
        dry_run: flag("dryrun")?,
        older: word("older")?.map(older).transpose()?,
        state: word("state")?.map(state).transpose()?,
        signature: signature(fields),
    })
}

fn checked(prune: Prune) -> Result<WorkRequest, RequestError> {
    if prune.cluster && (prune.older.is_some() || prune.state.is_some()) {
        return Err(RequestError::PruneClusterOnly);
    }
    Ok(WorkRequest::Prune(prune))
}

fn older(text: &str) -> Result<GoDuration, RequestError> {
    text.parse().map_err(RequestError::PruneOlder)
}

fn state(name: &str) -> Result<State, RequestError> {
    const STATES: [State; 5] = [State::Pending, State::Running, State::Succeeded, State::Failed, State::Canceled];
    let state = STATES.into_iter().find(|state| state.name().eq_ignore_ascii_case(name));
    state.ok_or_else(|| RequestError::PruneState(name.to_owned()))
}

fn json_form(line: &[u8]) -> Result<Request, Refusal> {
    let malformed = |error| Refusal { malformed: Some(error), error: RequestError::UnknownCommand };
    let fields = match json::parse(line) {
        Ok(Value::Object(fields)) => fields,
        // The line begins with `{`, so it is an object or it is malformed.
        Ok(_) => return Err(malformed(RequestError::NoCommand)),
        Err(error) => return Err(malformed(RequestError::Json(error))),
    };
    let command = match fields.get("command") {
        None => return Err(malformed(RequestError::NoCommand)),
        Some(Value::String(command)) => command.as_str(),
        Some(_) => return Err(malformed(RequestError::CommandType)),
    };
    let request = match command {
        "ping" => text(&fields, "target", RequestError::NoPingTarget, RequestError::PingTargetType)
            .map(|target| Request::Ping { target }),
        "traceroute" => text(&fields, "target", RequestError::NoTracerouteTarget, RequestError::TracerouteTargetType)
            .map(|target| Request::Traceroute { target }),
        "status" => requested_fields(&fields).map(|fields| Request::Status { fields }),
        "reload" => Ok(Request::Reload),
        "connect" => json_connect(&fields),
        "work" => json_work(&fields).map(Request::Work),
        _ => Err(RequestError::UnknownCommand),
    };
    request.map_err(Refusal::from)
}

fn requested_fields(fields: &Map<String, Value>) -> Result<Option<Vec<String>>, RequestError> {
    let Some(requested) = fields.get("requested_fields") else {
        return Ok(None);
    };
    let Value::Array(requested) = requested else {
        return Err(RequestError::RequestedFieldsType);
    };
    let names = requested.iter().map(|name| name.as_str().map(str::to_owned));
    names.collect::<Option<_>>().map(Some).ok_or(RequestError::RequestedFieldType)
}

fn json_connect(fields: &Map<String, Value>) -> Result<Request, RequestError> {
    let node = text(fields, "node", RequestError::NoConnectNode, RequestError::ConnectNodeType)?;
    let service = text(fields, "service", RequestError::NoConnectService, RequestError::ConnectServiceType)?;
    let tls = match fields.get("tls") {
        None => None,
        Some(Value::String(tls)) => given(tls),
        Some(_) => return Err(RequestError::ConnectTlsType),
    };
    Ok(Request::Connect { node, service, tls })
}

fn json_work(fields: &Map<String, Value>) -> Result<WorkRequest, RequestError> {
    let subcommand = work_text(fields, "subcommand")?;
    match Subcommand::named(&subcommand)? {
        Subcommand::Submit => json_submit(fields),
        Subcommand::List => {
            Ok(WorkRequest::List { unit: fields.get("unitid").and_then(Value::as_str).map(str::to_owned) })
        }
        Subcommand::Results => json_results(fields).map(WorkRequest::Results),
        Subcommand::Follow => json_results(fields).map(WorkRequest::Follow),
        Subcommand::Prune => json_prune(fields),
        Subcommand::Unit(_, request) => {
            Ok(request(UnitCommand { unit: work_text(fields, "unitid")?, signature: signature(fields) }))
        }
    }
}

fn json_results(fields: &Map<String, Value>) -> Result<Results, RequestError> {
    let unit = work_text(fields, "unitid")?;
    let start = start_position(fields)?;
    let stream = fields.get("stream").and_then(Value::as_str).and_then(given);
    Ok(Results { unit, start, signature: signature(fields), stream })
}

fn json_submit(fields: &Map<String, Value>) -> Result<WorkRequest, RequestError> {
    // The original walks its map in random order; with several wrong values the first by name is told here.
    if let Some(name) = fields.iter().filter(|(_, value)| !value.is_string()).map(|(name, _)| name).min() {
        return Err(RequestError::SubmitParameterType(name.clone()));
    }
    let mut submit =
        Submit { node: work_text(fields, "node")?, work_type: work_text(fields, "worktype")?, ..Submit::default() };
    for (name, value) in fields {
        let value = value.as_str().unwrap_or_default();
        match name.as_str() {
            "command" | "subcommand" | "node" | "worktype" => {}
            "tlsclient" => submit.tls_client = given(value),
            "ttl" => submit.ttl = given(value),
            "signwork" => submit.sign_work = value == "true",
            "signature" => submit.signature = Token::new(value),
            name => submit.params.insert(name, value),
        }
    }
    Ok(WorkRequest::Submit(submit))
}

/// A field that a work command must have, as a text.
fn work_text(fields: &Map<String, Value>, name: &'static str) -> Result<String, RequestError> {
    text(fields, name, RequestError::FieldMissing(name), RequestError::FieldType(name))
}

fn text(
    fields: &Map<String, Value>,
    name: &str,
    missing: RequestError,
    wrong_type: RequestError,
) -> Result<String, RequestError> {
    match fields.get(name) {
        None => Err(missing),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(wrong_type),
    }
}

/// A signature of another type than text counts as none.
fn signature(fields: &Map<String, Value>) -> Option<Token> {
    fields.get("signature").and_then(Value::as_str).and_then(Token::new)
}

/// An optional name, of which the empty one means none.
fn given(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

/// `startpos`: a number. A text is never accepted, only refused in two ways.
fn start_position(fields: &Map<String, Value>) -> Result<i64, RequestError> {
    match fields.get("startpos") {
        None => Err(RequestError::FieldMissing("startpos")),
        Some(Value::Number(number)) => Ok(whole(number)),
        Some(Value::String(text)) => {
            parse_integer(text).map_err(RequestError::StartPosText)?;
            Err(RequestError::StartPosType(text.clone()))
        }
        Some(other) => Err(RequestError::StartPosType(printed(other, false))),
    }
}

/// A JSON number cut to a whole one. What 64 bits cannot hold becomes the least value, as conversion in Go does.
fn whole(number: &serde_json::Number) -> i64 {
    if let Some(whole) = number.as_i64() {
        return whole;
    }
    let float = number.as_f64().unwrap_or(f64::MIN);
    // 2^63 is the first float beyond i64, its negative the last within.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if !(-LIMIT..LIMIT).contains(&float) {
        return i64::MIN;
    }
    #[allow(clippy::cast_possible_truncation, reason = "within the range of i64, and the fraction is meant to go")]
    let whole = float as i64;
    whole
}

/// A JSON value as Go prints it for `%s`, which is made for texts and says so of all others.
fn printed(value: &Value, nested: bool) -> String {
    let join = |parts: Vec<String>| parts.join(" ");
    match value {
        Value::Null if nested => "<nil>".to_owned(),
        Value::Null => "%!s(<nil>)".to_owned(),
        Value::Bool(truth) => format!("%!s(bool={truth})"),
        Value::Number(number) => format!("%!s(float64={number})"),
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("[{}]", join(list.iter().map(|item| printed(item, true)).collect())),
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(name, _)| *name);
            let pairs = pairs.into_iter().map(|(name, value)| format!("{name}:{}", printed(value, true)));
            format!("map[{}]", join(pairs.collect()))
        }
    }
}

/// A decimal integer with an optional sign, as Go's `strconv.ParseInt` reads it.
fn parse_integer(text: &str) -> Result<i64, IntegerError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(IntegerError::Syntax(text.to_owned()));
    }
    text.parse().map_err(|_| IntegerError::Range(text.to_owned()))
}

/// The word after `work`.
enum Subcommand {
    Submit,
    List,
    Results,
    Follow,
    Prune,
    /// A command about one unit: its name for errors, and the request it makes.
    Unit(&'static str, fn(UnitCommand) -> WorkRequest),
}

impl Subcommand {
    fn named(word: &str) -> Result<Self, RequestError> {
        Ok(match word.to_lowercase().as_str() {
            "submit" => Self::Submit,
            "list" => Self::List,
            "results" => Self::Results,
            "follow" => Self::Follow,
            "prune" => Self::Prune,
            "status" => Self::Unit("status", WorkRequest::Status),
            "describe" => Self::Unit("describe", WorkRequest::Describe),
            "cancel" => Self::Unit("cancel", WorkRequest::Cancel),
            "release" => Self::Unit("release", WorkRequest::Release),
            "force-release" => Self::Unit("force-release", WorkRequest::ForceRelease),
            _ => return Err(RequestError::BadWorkCommand),
        })
    }
}

#[cfg(test)]
mod tests;
