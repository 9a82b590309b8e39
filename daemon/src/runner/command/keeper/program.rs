//! Starting the program of a job.

use std::{
    collections::BTreeMap,
    env,
    ffi::{CString, OsStr, OsString},
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsFd,
        unix::{
            ffi::{OsStrExt, OsStringExt},
            fs::OpenOptionsExt,
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    process::{Pid, setpriority_process},
};
use serde::Deserialize;
use worknode_protocol::unit::{Detail, errno_text};

use super::{super::launch::Launch, signals, spawn::Program, user::User};
use crate::work::store::UnitDir;

/// The variables that are left of the daemon's environment with `cleanenv` (work-types 3).
const CLEAN_ENV: [&str; 4] = ["PATH", "HOME", "USER", "LANG"];

/// A job under way.
pub(super) struct Started {
    pub(super) job: Pid,
    /// The file that holds the output, whatever becomes of its name.
    pub(super) stdout: File,
}

/// Starts it, in a process group of its own.
///
/// # Errors
/// The detail with which the unit fails.
pub(super) fn start(launch: &Launch, dir: &UnitDir) -> Result<Started, Detail> {
    let environment = environment(launch, dir)?;
    let directory = working_dir(launch)?;
    let path = find(&launch.command, environment.get(OsStr::new("PATH")).map(OsString::as_os_str))?;
    let user = launch.user.as_deref().map(User::find).transpose().map_err(Detail::InvalidUser)?;
    let stdin = File::open(dir.stdin()).map_err(|fault| unusable(&dir.stdin(), &fault))?;
    let stdout = output(&dir.stdout())?;
    let stderr = launch.separate_stderr.then(|| output(&dir.file("stderr"))).transpose()?;
    let files = [&stdin, &stdout, stderr.as_ref().unwrap_or(&stdout)];

    let start = Start { launch, path: &path, environment, directory: directory.as_deref(), files };
    let started = if user.is_some() || launch.nice.is_some() { start.prepared(user) } else { start.quickly() };
    let job = started.map_err(|fault| Detail::CannotExecute {
        program: path.to_string_lossy().into_owned(),
        // Without a number it is a zero byte in an argument.
        errno: fault.raw_os_error().unwrap_or(libc::EINVAL),
    })?;
    Ok(Started { job, stdout })
}

type Environment = BTreeMap<OsString, OsString>;

/// A program with all that it is given.
struct Start<'a> {
    launch: &'a Launch,
    path: &'a Path,
    environment: Environment,
    directory: Option<&'a Path>,
    /// Its stdin, stdout and stderr.
    files: [&'a File; 3],
}

impl Start<'_> {
    fn quickly(self) -> io::Result<Pid> {
        let words = std::iter::once(&self.launch.command).chain(&self.launch.args);
        let arguments = words.map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>()?;
        let variable = |(mut name, value): (OsString, OsString)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec())
        };
        let environment = self.environment.into_iter().map(variable).collect::<Result<Vec<_>, _>>()?;
        let directory = self.directory.map(|dir| CString::new(dir.as_os_str().as_bytes())).transpose()?;
        let program = Program {
            path: &CString::new(self.path.as_os_str().as_bytes())?,
            arguments: &arguments,
            environment: &environment,
            directory: directory.as_deref(),
            files: self.files.map(AsFd::as_fd),
        };
        program.spawn()
    }

    /// By way of a fork, which can do what the quick way has no room for.
    #[allow(unsafe_code)]
    fn prepared(self, user: Option<User>) -> io::Result<Pid> {
        let nice = self.launch.nice;
        let prepare = move || {
            signals::unblock_all();
            if let Some(nice) = nice {
                setpriority_process(None, nice)?;
            }
            user.as_ref().map_or(Ok(()), User::become_it)
        };
        let [stdin, stdout, stderr] = self.files;
        let mut command = Command::new(self.path);
        command.arg0(&self.launch.command).args(&self.launch.args).process_group(0);
        command.env_clear().envs(self.environment);
        command.stdin(stdin.try_clone()?).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
        if let Some(directory) = self.directory {
            command.current_dir(directory);
        }
        // SAFETY: this process has one thread, so its fork may do everything that it may do itself.
        unsafe { command.pre_exec(prepare) };
        command.spawn().map(|child| Pid::from_child(&child))
    }
}

/// Output is appended: what a job writes through another descriptor (`echo >/dev/stderr`) overwrites nothing.
fn output(path: &Path) -> Result<File, Detail> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(|fault| unusable(path, &fault))
}

fn unusable(path: &Path, fault: &io::Error) -> Detail {
    let reason = fault.raw_os_error().map_or_else(|| fault.to_string(), errno_text);
    Detail::RunnerError(format!("open {}: {reason}", path.display()))
}

/// The whole environment of the job: the daemon's, which this process has inherited, and what is added to it.
fn environment(launch: &Launch, dir: &UnitDir) -> Result<Environment, Detail> {
    let kept = |name: &OsStr| !launch.clean_env || CLEAN_ENV.iter().any(|clean| name == *clean);
    let mut all: Environment = env::vars_os().filter(|(name, _)| kept(name)).collect();
    all.extend(launch.env.iter().map(|(name, value)| (name.into(), value.into())));
    if launch.secret_env {
        let secrets = SecretEnv::read(dir).map_err(|fault| unusable(&dir.file(SecretEnv::FILE), &fault))?;
        all.extend(secrets.secret_cmd_env.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
    Ok(all)
}

/// The part of the unit's secrets that is about commands.
#[derive(Deserialize)]
struct SecretEnv {
    #[serde(default)]
    secret_cmd_env: BTreeMap<String, String>,
}

impl SecretEnv {
    const FILE: &str = "secrets.json";

    fn read(dir: &UnitDir) -> io::Result<Self> {
        // The parser's own words could quote a secret.
        serde_json::from_slice(&fs::read(dir.file(Self::FILE))?)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not the expected JSON"))
    }
}

/// The working directory, checked before the program is started: so the error names it and not the program.
fn working_dir(launch: &Launch) -> Result<Option<PathBuf>, Detail> {
    let Some(dir) = &launch.working_dir else { return Ok(None) };
    let dir = PathBuf::from(dir.replace("{unitdir}", &launch.dir.to_string_lossy()));
    let errno = match fs::metadata(&dir) {
        Ok(found) if found.is_dir() => return Ok(Some(dir)),
        Ok(_) => libc::ENOTDIR,
        Err(fault) => fault.raw_os_error().unwrap_or(libc::EINVAL),
    };
    Err(Detail::CannotEnter { dir: dir.to_string_lossy().into_owned(), errno })
}

/// Looks a name without `/` up as Go does: in the directories of `PATH`, where an empty one is the working directory and
/// what is found relative to that is refused.
fn find(command: &str, path: Option<&OsStr>) -> Result<PathBuf, Detail> {
    if command.contains('/') {
        return Ok(command.into());
    }
    let found = path
        .filter(|path| !path.is_empty())
        .into_iter()
        .flat_map(|path| path.as_bytes().split(|byte| *byte == b':'))
        .map(|dir| Path::new(OsStr::from_bytes(if dir.is_empty() { b"." } else { dir })).join(command))
        .find(|candidate| is_executable(candidate));
    match found {
        Some(program) if program.is_absolute() => Ok(program),
        Some(_) => Err(Detail::InWorkingDir(command.to_owned())),
        None => Err(Detail::NotOnPath(command.to_owned())),
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_dir())
        && accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}
