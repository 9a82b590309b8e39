//! One configured work type that runs a command (work-types 3).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use tokio::sync::Semaphore;
use tracing::warn;
use worknode_protocol::{
    config::model::{CommandType, command::CommandStderr},
    duration::{format_go, parse_go},
    shell,
    unit::{CommandExtra, Detail, State},
};

use super::{
    job::{CommandHost, CommandRunner, PLANNED_FILE, Phase, read_record},
    keeper::User,
    launch::{Launch, StopRule, Timeout},
    receptor,
    record::Record,
};
use crate::{
    runner::{BoxFuture, DiscardError, Found, Params, Plan, PlanError, Recovery, Secrets, WorkKind},
    work::store::UnitDir,
};

/// A work type that runs a command.
pub struct CommandKind {
    config: CommandType,
    host: CommandHost,
    places: Option<Arc<Semaphore>>,
}

/// What is wrong with a work type that only this host can tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandKindError {
    /// The user database does not know the configured user.
    #[error("invalid user: {0}")]
    User(String),
}

impl CommandKind {
    /// Makes the type. Asks the user database, so not for the runtime's threads.
    ///
    /// # Errors
    /// Its user does not exist.
    pub fn new(config: CommandType, host: CommandHost) -> Result<Self, CommandKindError> {
        config.user.as_deref().map(User::find).transpose().map_err(CommandKindError::User)?;
        let places = usize::try_from(config.max_concurrent).ok().filter(|places| *places > 0);
        Ok(Self { config, host, places: places.map(|places| Arc::new(Semaphore::new(places))) })
    }

    fn stop_rule(&self) -> StopRule {
        StopRule { grace: self.config.grace_period, kill_tree: self.config.kill_tree }
    }

    fn runner(&self, phase: Phase, params: String) -> CommandRunner {
        CommandRunner {
            host: self.host.clone(),
            stop: self.stop_rule(),
            phase,
            places: self.places.clone(),
            place: None,
            known_to_run: false,
            params,
        }
    }

    /// A runner of a unit that runs already, and so has its place even where that is one too many.
    fn resumed(&self, phase: Phase, found: &Found) -> Recovery {
        let params = CommandExtra::from_value(&found.status.extra_data).unwrap_or_default().params;
        let mut runner = self.runner(phase, params);
        runner.known_to_run = found.status.state == State::Running;
        runner.place = self.places.as_ref().and_then(|places| places.clone().try_acquire_owned().ok());
        Recovery::Resume(Box::new(runner))
    }

    /// The launch of a unit, but for its directory.
    fn launch(&self, args: Vec<String>, given: Given) -> Launch {
        let config = &self.config;
        let mut env = config.env.clone();
        env.extend(given.env);
        Launch {
            dir: Default::default(),
            command: config.command.clone(),
            args,
            env,
            secret_env: given.secret_env.is_some(),
            clean_env: config.clean_env,
            working_dir: given.working_dir.or_else(|| config.working_dir.clone()),
            user: given.user.or_else(|| config.user.clone()),
            separate_stderr: given.stderr.unwrap_or(config.stderr) == CommandStderr::Separate,
            nice: config.nice,
            stop: self.stop_rule(),
            timeout: given
                .timeout
                .or(config.timeout)
                .map(|after| Timeout { after, text: format_go(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)) }),
        }
    }
}

impl WorkKind for CommandKind {
    fn name(&self) -> &str {
        &self.config.work_type
    }

    fn verifies_signature(&self) -> bool {
        self.config.verify_signature
    }

    fn plan(&self, params: &Params) -> Result<Plan, PlanError> {
        let given = Given::read(&self.config, params)?;
        let joined = join(&self.config.params, params.get("params"));
        let secrets = given.secret_env.as_ref().map(|env| Secrets::new(json!({ "secret_cmd_env": env }).to_string()));
        let phase = match shell::split(&joined) {
            Ok(args) => Phase::Planned(Box::new(self.launch(args, given))),
            Err(fault) => Phase::Unfit(Detail::Params(fault)),
        };
        let extra_data = CommandExtra { pid: 0, params: joined.clone() }.into();
        Ok(Plan { extra_data, secrets, runner: Box::new(self.runner(phase, joined)) })
    }

    fn recover(&self, found: &Found) -> Recovery {
        if let Some(runner) = receptor::find(&found.dir, &found.status) {
            return self.resumed(Phase::Foreign(runner), found);
        }
        let record = match Record::read(&found.dir) {
            Ok(record) => record,
            Err(fault) => {
                warn!("unit {}: {fault}", found.id);
                None
            }
        };
        match (record, found.status.state) {
            (Some(record), _) => match &record.outcome {
                Some(outcome) => Recovery::Ended(outcome.state(), outcome.detail()),
                None if self.host.is_kept(&record) => self.resumed(Phase::Kept(record), found),
                None => self.resumed(Phase::Lost(Some(record)), found),
            },
            (None, State::Pending) => self.recover_pending(found),
            (None, _) => self.resumed(Phase::Lost(None), found),
        }
    }

    fn discard<'a>(&'a self, found: &'a Found) -> BoxFuture<'a, Result<(), DiscardError>> {
        Box::pin(async move {
            let record = read_record(&found.dir).await;
            // What a job left behind when it ended by itself may be meant to stay.
            let over = match &record {
                Some(record) => record.outcome.as_ref().is_some_and(|outcome| !outcome.leftover),
                None => found.status.state != State::Canceled,
            };
            let gone = over || self.host.kill_strays(&found.dir, record).await;
            gone.then_some(()).ok_or_else(|| DiscardError("processes of the job are still there".to_owned()))
        })
    }
}

impl CommandKind {
    /// A unit that nobody has claimed.
    fn recover_pending(&self, found: &Found) -> Recovery {
        let detail = &found.status.detail;
        let is = |other: Detail| *detail == other.to_string();
        if (is(Detail::Queued) || is(Detail::LaunchingCommandRunner))
            && let Some(launch) = planned(&found.dir)
        {
            let params = CommandExtra::from_value(&found.status.extra_data).unwrap_or_default().params;
            return Recovery::Resume(Box::new(self.runner(Phase::Queued(Box::new(launch)), params)));
        }
        if is(Detail::StartingWorker) || is(Detail::LaunchingCommandRunner) || is(Detail::Queued) {
            return self.resumed(Phase::Unclaimed, found);
        }
        Recovery::Ended(State::Failed, Detail::PendingAtRestart)
    }
}

/// The launch of a unit that waited for its turn, with the directory as it is called now.
fn planned(dir: &UnitDir) -> Option<Launch> {
    let text = std::fs::read(dir.file(PLANNED_FILE)).ok()?;
    let launch: Launch = serde_json::from_slice(&text).ok()?;
    Some(Launch { dir: dir.path().to_owned(), ..launch })
}

/// The parameters of the config, a blank, those of the submission (control-protocol 4.3).
fn join(configured: &str, given: Option<&str>) -> String {
    match given {
        Some(given) if configured.is_empty() => given.to_owned(),
        Some(given) => format!("{configured} {given}"),
        None => configured.to_owned(),
    }
}

/// What a submission may set beside `params`. Holds secrets, so it is not shown by `Debug`.
#[derive(Default)]
struct Given {
    env: BTreeMap<String, String>,
    secret_env: Option<BTreeMap<String, String>>,
    working_dir: Option<String>,
    user: Option<String>,
    timeout: Option<Duration>,
    stderr: Option<CommandStderr>,
}

impl Given {
    /// Checks the parameters in the order of the reference, the permission before the value.
    fn read(config: &CommandType, params: &Params) -> Result<Self, PlanError> {
        if params.get("params").is_some() && !config.allow_runtime_params {
            return Err(PlanError::ExtraParams);
        }
        let get = |name: &'static str, allowed: bool| match params.get(name) {
            Some(_) if !allowed => Err(PlanError::NotAllowed(name)),
            value => Ok(value),
        };
        let map = |name| get(name, config.allow_runtime_env)?.map(|text| variables(name, text)).transpose();
        Ok(Self {
            env: map("cmd_env")?.unwrap_or_default(),
            secret_env: map("secret_cmd_env")?,
            working_dir: get("cmd_working_dir", config.allow_runtime_working_dir)?.map(str::to_owned),
            user: get("cmd_user", config.allow_runtime_user)?.map(str::to_owned),
            timeout: params.get("cmd_timeout").map(|text| shorter(config.timeout, text)).transpose()?,
            stderr: get("cmd_stderr", config.allow_runtime_params)?.map(stderr).transpose()?,
        })
    }
}

fn malformed(name: &'static str, why: impl ToString) -> PlanError {
    PlanError::Malformed { name, why: why.to_string() }
}

/// `K=V,K2=V2`, or a JSON object of texts (work-types 2.1). A text that is not understood is quoted in the answer unless it
/// may be secret.
fn variables(name: &'static str, text: &str) -> Result<BTreeMap<String, String>, PlanError> {
    let wrong = |part: &str| match name {
        "cmd_env" => malformed(name, format!("expected KEY=VALUE, got {}", worknode_protocol::quote::quote(part))),
        _ => malformed(name, "expected KEY=VALUE"),
    };
    let named = |variable: &str| !variable.is_empty() && !variable.contains(['=', '\0']);
    let all: BTreeMap<String, String> = if text.starts_with('{') {
        serde_json::from_str(text).map_err(|_| wrong(text))?
    } else {
        let pair =
            |part: &str| part.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).ok_or_else(|| wrong(part));
        text.split(',').map(pair).collect::<Result<_, _>>()?
    };
    match all.iter().find(|(variable, value)| !named(variable) || value.contains('\0')) {
        Some((variable, _)) => Err(wrong(variable)),
        None => Ok(all),
    }
}

/// A time limit, which may only shorten the configured one.
fn shorter(configured: Option<Duration>, text: &str) -> Result<Duration, PlanError> {
    const NAME: &str = "cmd_timeout";
    let given = parse_go(text).map_err(|fault| malformed(NAME, fault))?;
    let given = given.to_std().filter(|time| !time.is_zero());
    let given = given
        .ok_or_else(|| malformed(NAME, format!("time: invalid duration {}", worknode_protocol::quote::quote(text))))?;
    match configured {
        Some(configured) if given > configured => Err(PlanError::TimeoutTooLong),
        _ => Ok(given),
    }
}

fn stderr(text: &str) -> Result<CommandStderr, PlanError> {
    match text.to_ascii_lowercase().as_str() {
        "merged" => Ok(CommandStderr::Merged),
        "separate" => Ok(CommandStderr::Separate),
        _ => Err(malformed(
            "cmd_stderr",
            format!("{} is not one of merged, separate", worknode_protocol::quote::quote(text)),
        )),
    }
}
