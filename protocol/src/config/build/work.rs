//! Keys for signatures, and work that runs on this host.

use std::path::Path;

use crate::config::error::{CheckError, ConvertError, NumberFault, Phase, ValueFault};
use crate::config::host;
use crate::config::model::command::CommandStderr;
use crate::config::model::{CommandType, TokenBinding, WorkSigning, WorkType, WorkVerification};
use crate::duration;

use super::reader::Reader;

impl Reader<'_, '_> {
    pub(super) fn work_signing(&mut self) {
        let private_key = Path::new(self.item.text("privatekey")).to_path_buf();
        self.check_key_file("privatekey");
        let token_expiration = match self.item.text("tokenexpiration") {
            // The original documents this default and panics without a value.
            "" => WorkSigning::DEFAULT_TOKEN_EXPIRATION,
            text => match duration::parse_go(text) {
                Ok(span) => span.to_std_or_zero(),
                Err(_) => {
                    self.refuse(Phase::Prepare, "tokenexpiration", CheckError::TokenExpiration);
                    return;
                }
            },
        };
        let token_binding = self.token_binding();
        self.builder.parts.work_signing = Some(WorkSigning { private_key, token_expiration, token_binding });
    }

    pub(super) fn work_verification(&mut self) {
        self.check_key_file("publickey");
        let public_key = Path::new(self.item.text("publickey")).to_path_buf();
        let token_binding = self.token_binding();
        self.builder.parts.work_verification = Some(WorkVerification { public_key, token_binding });
    }

    fn token_binding(&mut self) -> TokenBinding {
        self.word("tokenbinding", &[TokenBinding::None, TokenBinding::Request]).unwrap_or_default()
    }

    fn check_key_file(&mut self, key: &'static str) {
        let path = Path::new(self.item.text(key));
        if let Err(error) = self.builder.host.stat(path) {
            let error = match error.kind() {
                std::io::ErrorKind::NotFound => CheckError::KeyFileMissing(path.display().to_string()),
                _ => CheckError::KeyFile(host::system_text("stat", path, &error)),
            };
            self.refuse(Phase::Prepare, key, error);
        }
    }

    pub(super) fn work_command(&mut self) {
        let item = self.item;
        let command = CommandType {
            work_type: item.text("worktype").to_owned(),
            command: item.text("command").to_owned(),
            params: item.text("params").to_owned(),
            allow_runtime_params: item.flag("allowruntimeparams"),
            verify_signature: item.flag("verifysignature"),
            grace_period: self.duration("graceperiod").unwrap_or(CommandType::DEFAULT_GRACE_PERIOD),
            kill_tree: item.flag("killtree"),
            timeout: self.timeout("timeout"),
            env: item.map("env"),
            clean_env: item.flag("cleanenv"),
            working_dir: item.filled("workingdir"),
            user: item.filled("user"),
            stderr: self.word("stderr", &[CommandStderr::Merged, CommandStderr::Separate]).unwrap_or_default(),
            max_concurrent: self.number("maxconcurrent").unwrap_or_default(),
            nice: self.nice(),
            memory_max: self.quantity("memorymax"),
            cpu_max: self.cpu("cpumax"),
            allow_runtime_env: item.flag("allowruntimeenv"),
            allow_runtime_working_dir: item.flag("allowruntimeworkingdir"),
            allow_runtime_user: item.flag("allowruntimeuser"),
        };
        if command.verify_signature && !self.builder.names.verification {
            let error = CheckError::NoVerificationKey(command.work_type.clone());
            self.refuse(Phase::Run, "verifysignature", error);
        }
        self.check_work_type(&command.work_type);
        self.builder.parts.work_types.push(WorkType::Command(Box::new(command)));
    }

    /// A scheduling priority of Linux.
    fn nice(&mut self) -> Option<i32> {
        let nice = self.number::<i32>("nice")?;
        let range = ValueFault::Number(ConvertError::Int { text: nice.to_string(), fault: NumberFault::Range });
        self.value("nice", if (-20..=19).contains(&nice) { Ok(nice) } else { Err(range) })
    }

    /// Names of work types are unique over all kinds of work.
    pub(super) fn check_work_type(&mut self, name: &str) {
        if self.builder.has_work_type(name) {
            self.refuse(Phase::Run, "worktype", CheckError::WorkTypeTaken(name.to_owned()));
        }
    }
}
