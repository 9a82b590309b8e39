//! Control services.

use crate::config::error::{CheckError, Phase};
use crate::config::model::ControlService;

use super::reader::Reader;

/// Longest name of a service on the mesh, in bytes.
const MAX_SERVICE_BYTES: usize = 8;

/// Services that every node has.
const OWN_SERVICES: [&str; 2] = ["ping", "unreach"];

/// Greatest mode of a file.
const MAX_MODE: u32 = 0o7777;

impl Reader<'_, '_> {
    pub(super) fn control_service(&mut self) {
        let mut service = ControlService {
            service: self.item.text("service").to_owned(),
            filename: self.item.path("filename"),
            permissions: self.socket_mode().unwrap_or(0o600),
            tls: self.tls_server_name("tls"),
            tcp_listen: self.item.filled("tcplisten"),
            tcp_tls: self.item.filled("tcptls"),
            allow: None,
        };
        if service.tcp_listen.is_some() {
            self.tls_server_name("tcptls");
        }
        self.warn_about_tls(&service);
        self.check_service_name(&service.service);
        if service.filename.is_none() && service.tcp_listen.is_none() && service.service.is_empty() {
            self.refuse(Phase::Run, "", CheckError::NoListeners);
        }
        service.allow = self.allow_rules(&service);
        self.builder.parts.control_services.push(service);
    }

    fn check_service_name(&mut self, name: &str) {
        if name.len() > MAX_SERVICE_BYTES {
            self.refuse(Phase::Run, "service", CheckError::ServiceNameTooLong(name.to_owned()));
        }
        let services = &self.builder.parts.control_services;
        let taken = OWN_SERVICES.contains(&name) || services.iter().any(|other| other.service == name);
        if taken && !name.is_empty() {
            self.refuse(Phase::Run, "service", CheckError::ServiceNameTaken(name.to_owned()));
        }
    }

    fn warn_about_tls(&mut self, service: &ControlService) {
        if service.tcp_listen.is_some() && service.tcp_tls.is_none() {
            let text = match service.tls {
                Some(_) => "TLS is configured on the mesh listener but not on the TCP listener",
                None => "the TCP listener has no TLS: whoever reaches it may submit work",
            };
            self.notice("tcplisten", format!("control-service: {text}"));
        }
    }

    /// The mode of a socket.
    pub(super) fn socket_mode(&mut self) -> Option<u32> {
        let given = self.item.int("permissions")?;
        let mode = u32::try_from(given).ok().filter(|mode| *mode <= MAX_MODE);
        match mode {
            None => self.refuse(Phase::Run, "permissions", CheckError::Permissions(given)),
            // Written as `600`, which is decimal: a mode nobody wants.
            Some(mode) if mode > 0o777 => {
                let text =
                    format!("permissions {given} are the mode 0{mode:o}; octal modes begin with 0, as in '0660'");
                self.notice("permissions", text);
            }
            Some(_) => {}
        }
        mode
    }

    /// The name of a `tls-server`, which must exist.
    pub(super) fn tls_server_name(&mut self, key: &str) -> Option<String> {
        let name = self.item.filled(key)?;
        if !self.builder.names.tls_servers.contains(&name) {
            self.refuse(Phase::Run, key, CheckError::UnknownTls(name.clone()));
        }
        Some(name)
    }

    /// The name of a `tls-client`, which must exist.
    pub(super) fn tls_client_name(&mut self, key: &str) -> Option<String> {
        let name = self.item.filled(key)?;
        if !self.builder.names.tls_clients.contains(&name) {
            self.refuse(Phase::Run, key, CheckError::UnknownTls(name.clone()));
        }
        Some(name)
    }
}
