//! Work that runs in a Nomad cluster (work-types 4).

use crate::config::error::{CheckError, Phase};
use crate::config::model::KubernetesType;
use crate::config::model::command::CommandStderr;
use crate::config::model::nomad::{NomadDriver, NomadPermissions, NomadStdin, NomadType};

use super::reader::Reader;

impl Reader<'_, '_> {
    pub(super) fn work_nomad(&mut self) {
        let nomad = self.nomad_type();
        self.check_nomad(&nomad);
        self.check_work_type(&nomad.work_type);
        self.builder.parts.nomad_types.push(nomad);
    }

    fn nomad_type(&mut self) -> NomadType {
        let item = self.item;
        NomadType {
            work_type: item.text("worktype").to_owned(),
            address: item.filled("address"),
            region: item.filled("region"),
            namespace: item.filled("namespace"),
            token: item.secret("token"),
            token_file: self.existing_file("tokenfile"),
            certificate_authority: self.existing_file("certificateauthority"),
            client_certificate: self.existing_file("clientcertificate"),
            client_key: self.existing_file("clientkey"),
            insecure_skip_tls_verify: item.flag("insecureskiptlsverify"),
            datacenters: item.list("datacenters").to_vec(),
            driver: self
                .word("driver", &[NomadDriver::Docker, NomadDriver::RawExec, NomadDriver::Exec])
                .unwrap_or_default(),
            image: item.filled("image"),
            command: item.filled("command"),
            params: item.filled("params"),
            env: item.map("env"),
            cpu: self.number("cpu").unwrap_or_default(),
            memory: self.number("memory").unwrap_or_default(),
            disk: self.number("disk").unwrap_or_default(),
            constraints: self.members("constraints", "ATTR OP VALUE", constraint),
            network_mode: item.filled("networkmode"),
            volumes: self.members("volumes", "HOST:/PATH[:ro]", volume),
            meta: item.map("meta"),
            job: self.existing_file("job"),
            prefix: item.filled("prefix"),
            stdin_method: self
                .word("stdinmethod", &[NomadStdin::Auto, NomadStdin::Exec, NomadStdin::Payload, NomadStdin::None])
                .unwrap_or_default(),
            alloc_pending_timeout: self.timeout("allocpendingtimeout"),
            timeout: self.timeout("timeout"),
            stderr: self.word("stderr", &[CommandStderr::Merged, CommandStderr::Separate]).unwrap_or_default(),
            attempts: self.number("attempts").unwrap_or_default(),
            purge_on_release: item.flag("purgeonrelease"),
            fail_on_exit_code: item.flag("failonexitcode"),
            api_retry_timeout: self.duration("apiretrytimeout").unwrap_or(KubernetesType::DEFAULT_API_RETRY_TIMEOUT),
            max_concurrent: self.number("maxconcurrent").unwrap_or_default(),
            verify_signature: item.flag("verifysignature"),
            permissions: self.nomad_permissions(),
        }
    }

    fn check_nomad(&mut self, nomad: &NomadType) {
        let permissions = nomad.permissions;
        let needed = match nomad.driver {
            NomadDriver::Docker => (&nomad.image, "must specify a container image to run"),
            NomadDriver::RawExec | NomadDriver::Exec => (&nomad.command, "must specify a command to run"),
        };
        let given = needed.0.is_some() || nomad.job.is_some() || permissions.command || permissions.job;
        let checks = [
            (!given, needed.1),
            (nomad.token.is_some() && nomad.token_file.is_some(), "can only provide one of Token, TokenFile"),
        ];
        for (_, text) in checks.into_iter().filter(|(wrong, _)| *wrong) {
            self.refuse(Phase::Prepare, "", CheckError::Combination(text));
        }
    }

    fn nomad_permissions(&self) -> NomadPermissions {
        let item = self.item;
        NomadPermissions {
            auth: item.flag("allowruntimeauth"),
            command: item.flag("allowruntimecommand"),
            params: item.flag("allowruntimeparams"),
            env: item.flag("allowruntimeenv"),
            resources: item.flag("allowruntimeresources"),
            scheduling: item.flag("allowruntimescheduling"),
            volumes: item.flag("allowruntimevolumes"),
            labels: item.flag("allowruntimelabels"),
            job: item.flag("allowruntimejob"),
            name: item.flag("allowruntimename"),
            exec: item.flag("allowexec"),
        }
    }
}

/// Three words.
fn constraint(text: &str) -> Option<String> {
    (text.split_whitespace().count() >= 3).then(|| text.to_owned())
}

/// `HOST:/PATH[:ro]`.
fn volume(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split(':').collect();
    let well_formed = match parts.as_slice() {
        [host, path] | [host, path, "ro"] => !host.is_empty() && path.starts_with('/'),
        _ => false,
    };
    well_formed.then(|| text.to_owned())
}
