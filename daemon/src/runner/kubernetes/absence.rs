//! The first moments of an API server that was away: it answers before it has read the roles and the accounts, and then
//! refuses what it would allow a second later.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::client::ApiError;

/// How long after a failed connection a refusal of the account is not taken for the last word.
const MOMENTS: Duration = Duration::from_secs(60);

/// When the API server was last seen to be away.
#[derive(Default)]
pub(super) struct Absence(Mutex<Option<Instant>>);

impl Absence {
    /// Takes note of an answer. A refusal of the account is worth another try where the server has just come back.
    pub(super) fn judge<T>(&self, answer: Result<T, ApiError>) -> Result<T, ApiError> {
        match answer {
            Err(ApiError::Refused { code, message, .. }) if is_of_account(code, &message) && self.is_recent() => {
                tracing::debug!(error = message, "refused by an API server that was away until now");
                Err(ApiError::NotReady(message))
            }
            Err(fault) => {
                self.note(&fault);
                Err(fault)
            }
            answer => answer,
        }
    }

    /// Takes note of a fault: of a request, or of a stream that broke off.
    pub(super) fn note(&self, fault: &ApiError) {
        if let ApiError::Unreachable { .. } = fault {
            *self.lock() = Some(Instant::now());
        }
    }

    fn is_recent(&self) -> bool {
        self.lock().is_some_and(|at| at.elapsed() < MOMENTS)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True for the words of the authenticator and of RBAC. Quotas and admission have others, and have been asked.
fn is_of_account(code: u16, message: &str) -> bool {
    code == 401 || (code == 403 && message.contains(" is forbidden: User ") && message.contains(" cannot "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> Result<(), ApiError> {
        Err(ApiError::Refused {
            code,
            reason: String::new(),
            message: message.to_owned(),
            kind: "pods".to_owned(),
            retry_after: None,
        })
    }

    fn is_final(answer: Result<(), ApiError>) -> bool {
        !answer.unwrap_err().is_temporary()
    }

    const ROLE: &str = "pods \"a\" is forbidden: User \"u\" cannot get resource \"pods\" in API group \"\"";

    #[tokio::test(start_paused = true)]
    async fn the_first_refusals_after_an_absence_are_not_the_last_word() {
        let absence = Absence::default();
        assert!(is_final(absence.judge(refused(403, ROLE))));
        let away = || Err::<(), _>(ApiError::Unreachable { message: "refused".to_owned(), sent: false });
        assert!(absence.judge(away()).is_err());
        for (code, message) in [(403, ROLE), (401, "Unauthorized")] {
            assert!(!is_final(absence.judge(refused(code, message))));
        }
        assert!(is_final(absence.judge(refused(403, "pods \"a\" is forbidden: exceeded quota: rq"))));
        assert!(is_final(absence.judge(refused(404, "pods \"a\" not found"))));
        tokio::time::advance(MOMENTS / 2).await;
        absence.note(&ApiError::NotReady(ROLE.to_owned()));
        // What was only put off does not put it off for longer.
        assert!(!is_final(absence.judge(refused(403, ROLE))));
        tokio::time::advance(MOMENTS / 2).await;
        assert!(is_final(absence.judge(refused(403, ROLE))));
    }
}
