//! The services of this node that datagrams can be sent to.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rand::{RngExt, distr::Alphanumeric};
use worknode_protocol::mesh::{SERVICE_NAME_LENGTH, ServiceName, ServiceNameError};

use super::Inbox;

/// The service that answers probes.
pub(crate) const PING: &str = "ping";
/// The service that takes notices of datagrams that did not arrive.
pub(crate) const UNREACH: &str = "unreach";

/// Why a service name cannot be listened on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// Over eight bytes.
    #[error("service name {0} too long")]
    TooLong(String),
    /// Reserved, or in use.
    #[error("service {0} is already listening")]
    Taken(String),
    /// No bytes, or NUL at the end.
    #[error("{0:?} cannot be a service name")]
    Invalid(String),
    /// The TLS settings cannot be used.
    #[error("{0}")]
    Tls(String),
}

/// The services by name.
#[derive(Debug, Default)]
pub(super) struct Services {
    open: Mutex<HashMap<ServiceName, Arc<Inbox>>>,
}

/// A service that is open. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Service {
    name: ServiceName,
    inbox: Arc<Inbox>,
    services: Arc<Services>,
}

impl Services {
    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceName, Arc<Inbox>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a service.
    pub(super) fn open(self: &Arc<Self>, name: &str) -> Result<Service, ListenError> {
        let taken = || ListenError::Taken(name.to_owned());
        let checked = ServiceName::parse(name).map_err(|error| match error {
            ServiceNameError::TooLong => ListenError::TooLong(name.to_owned()),
            ServiceNameError::Empty | ServiceNameError::EndsInNul => ListenError::Invalid(name.to_owned()),
        })?;
        if checked.is(PING) || checked.is(UNREACH) {
            return Err(taken());
        }
        self.insert(checked).ok_or_else(taken)
    }

    /// Opens a service with a name that nobody else has: eight characters, as the original draws them.
    pub(super) fn ephemeral(self: &Arc<Self>) -> Service {
        loop {
            let mut random = rand::rng();
            let drawn: [u8; SERVICE_NAME_LENGTH] = std::array::from_fn(|_| random.sample(Alphanumeric));
            if let Some(service) = self.insert(ServiceName::from_wire(drawn)) {
                return service;
            }
        }
    }

    fn insert(self: &Arc<Self>, name: ServiceName) -> Option<Service> {
        match self.lock().entry(name) {
            Entry::Occupied(_) => None,
            Entry::Vacant(place) => {
                let inbox = Arc::clone(place.insert(Arc::default()));
                Some(Service { name, inbox, services: Arc::clone(self) })
            }
        }
    }

    /// Where datagrams for a service go. None: there is no such service.
    pub(super) fn inbox(&self, name: ServiceName) -> Option<Arc<Inbox>> {
        self.lock().get(&name).cloned()
    }
}

impl Service {
    /// Its name.
    pub(crate) fn name(&self) -> ServiceName {
        self.name
    }

    /// What came for it.
    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.services.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_checked_and_used_once() {
        let services = Arc::new(Services::default());
        let text = |name: &str| services.open(name).unwrap_err().to_string();
        assert_eq!(text("toolongname"), "service name toolongname too long");
        assert_eq!(text("ping"), "service ping is already listening");
        assert_eq!(text("unreach"), "service unreach is already listening");
        assert_eq!(text(""), "\"\" cannot be a service name");
        let control = services.open("control").unwrap();
        assert_eq!(text("control"), "service control is already listening");
        drop(control);
        assert!(services.open("control").is_ok());
    }

    #[test]
    fn drawn_names_are_eight_letters_and_digits() {
        let services = Arc::new(Services::default());
        let drawn: Vec<Service> = (0..100).map(|_| services.ephemeral()).collect();
        assert!(drawn.iter().all(|service| service.name().to_wire().iter().all(u8::is_ascii_alphanumeric)));
        assert_eq!(services.lock().len(), 100);
        drop(drawn);
        assert_eq!(services.lock().len(), 0);
    }
}
