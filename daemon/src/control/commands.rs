//! Carries out requests. Everything that can be refused is refused here, before anything exists.

use std::{sync::Arc, time::Duration};

use worknode_mesh::MeshHandle;
use worknode_protocol::{
    control::{
        CancelAnswer, ConnectError, PingAnswer, PingProblem, ReleaseAnswer, ReloadAnswer, Request, Results, Submit,
        SubmitError, TracerouteAnswer, UnitCommand, UnitError, UnitListAnswer, WorkRequest, error_line,
    },
    duration::{GoDuration, parse_go},
    json,
};

use super::{Context, prune, status, stream::Carrier, takeover::Takeover};
use crate::{
    runner::{CancelOutcome, Plan, WorkKind},
    work::{
        describe,
        signature::Shown,
        unit::{ReleaseError, Released, UnitHandle},
        units::CreateError,
    },
};

/// What a request leads to.
pub enum Next {
    /// These lines; the session goes on.
    Answer(String),
    /// The connection is handed over, and closed in the end.
    TakeOver(Takeover),
}

/// Carries out one request.
pub async fn run(request: Request, carrier: Carrier, context: &Arc<Context>) -> Next {
    match request {
        Request::Ping { target } => Next::Answer(ping(&target, context).await),
        Request::Traceroute { target } => Next::Answer(traceroute(&target, context).await),
        Request::Status { fields } => Next::Answer(status::answer(fields.as_deref(), context).await),
        Request::Reload => Next::Answer(ReloadAnswer(context.reload.run(&context.mesh, &context.tls).await).to_line()),
        Request::Connect { node, service, tls } => {
            connect(&node, &service, tls, context).await.unwrap_or_else(|fault| Next::Answer(error_line(&fault)))
        }
        Request::Work(request) => work(request, carrier, context).await,
    }
}

async fn ping(target: &str, context: &Context) -> String {
    let echo = context.mesh.ping(target, MeshHandle::MOST_HOPS).await;
    match echo.problem {
        None => PingAnswer::Reply { from: echo.from, time: nanoseconds(echo.time) }.to_line(),
        Some(problem) => PingAnswer::Failed(problem).to_line(),
    }
}

async fn traceroute(target: &str, context: &Context) -> String {
    let mut answer = TracerouteAnswer::default();
    for hops in 0..=MeshHandle::MOST_HOPS {
        let echo = context.mesh.ping(target, hops).await;
        let passed_on = echo.problem == Some(PingProblem::MessageExpired);
        let problem = echo.problem.filter(|_| !passed_on);
        answer.push(echo.from, nanoseconds(echo.time), problem.as_ref());
        if !passed_on {
            break;
        }
    }
    answer.to_line()
}

fn nanoseconds(time: Duration) -> GoDuration {
    GoDuration::from_nanos(i64::try_from(time.as_nanos()).unwrap_or(i64::MAX))
}

/// Opens a stream to a service. An empty TLS name stands for none.
async fn connect(node: &str, service: &str, tls: Option<String>, context: &Context) -> Result<Next, ConnectError> {
    let tls = match tls.filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => {
            let (named, wanted) = (context.tls.clone(), name.clone());
            // The system's authorities may have to be read.
            let found = tokio::task::spawn_blocking(move || named.client(&wanted)).await;
            let found = found.map_err(|panic| ConnectError::Other(panic.to_string()))?;
            let found = found.map_err(|fault| ConnectError::Other(fault.to_string()))?;
            Some(found.ok_or(ConnectError::UnknownTlsConfig(name))?)
        }
    };
    let stream = context.mesh.dial(node, service, tls.as_deref()).await?;
    Ok(Next::TakeOver(Takeover::Connect(Box::new(stream))))
}

async fn work(request: WorkRequest, carrier: Carrier, context: &Arc<Context>) -> Next {
    let shown = &Shown::with(&request, carrier);
    match request {
        WorkRequest::Submit(submit) => {
            submit_work(submit, shown, context).await.unwrap_or_else(|fault| Next::Answer(error_line(&fault)))
        }
        WorkRequest::List { unit: None } => {
            let units = context.units.all();
            let list: UnitListAnswer = units.iter().map(|unit| (unit.id().clone(), unit.status())).collect();
            Next::Answer(list.to_line())
        }
        WorkRequest::List { unit: Some(id) } => Next::Answer(on_unit(&id, context, |unit| {
            UnitListAnswer::from_iter([(unit.id().clone(), unit.status())]).to_line()
        })),
        WorkRequest::Status(UnitCommand { unit, .. }) => {
            Next::Answer(on_unit(&unit, context, |unit| json::to_line(&unit.status().answer())))
        }
        WorkRequest::Cancel(order) => Next::Answer(cancel(&order, shown, context).await.unwrap_or_else(refused)),
        WorkRequest::Release(order) => {
            Next::Answer(release(&order, false, shown, context).await.unwrap_or_else(refused))
        }
        WorkRequest::ForceRelease(order) => {
            Next::Answer(release(&order, true, shown, context).await.unwrap_or_else(refused))
        }
        WorkRequest::Describe(order) => Next::Answer(describe(&order, shown, context).await.unwrap_or_else(refused)),
        WorkRequest::Prune(wanted) => Next::Answer(prune::run(&wanted, shown, context).await.unwrap_or_else(refused)),
        WorkRequest::Results(wanted) => match results(&wanted, shown, context).await {
            Ok(unit) => Next::TakeOver(Takeover::Results { unit, start: wanted.start }),
            Err(fault) => Next::Answer(refused(fault)),
        },
        WorkRequest::Follow(wanted) => match results(&wanted, shown, context).await {
            Ok(unit) => Next::TakeOver(Takeover::Follow { unit, start: wanted.start }),
            Err(fault) => Next::Answer(refused(fault)),
        },
    }
}

fn refused(fault: UnitError) -> String {
    error_line(&fault)
}

fn find(id: &str, context: &Context) -> Result<UnitHandle, UnitError> {
    context.units.get(id).ok_or_else(|| UnitError::Unknown(id.to_owned()))
}

fn on_unit(id: &str, context: &Context, answer: impl FnOnce(UnitHandle) -> String) -> String {
    find(id, context).map_or_else(refused, answer)
}

/// The unit that a command is about, once its signature is checked by the unit's type (control-protocol 4.7).
async fn find_signed(id: &str, shown: &Shown, context: &Context) -> Result<UnitHandle, UnitError> {
    let unit = find(id, context)?;
    let demanded = unit.kind().is_some_and(|kind| kind.verifies_signature_of(&unit.status()));
    // Only a submit has a payload that would be still to be checked.
    let _ = context.signatures.check(demanded, shown).await?;
    Ok(unit)
}

/// Checked as `results` is (work-types 7).
async fn describe(order: &UnitCommand, shown: &Shown, context: &Context) -> Result<String, UnitError> {
    let unit = find_signed(&order.unit, shown, context).await?;
    let described = tokio::task::spawn_blocking(move || describe::describe(&unit)).await;
    described.map(|answer| answer.to_line()).map_err(|fault| UnitError::Other(fault.to_string()))
}

async fn cancel(order: &UnitCommand, shown: &Shown, context: &Context) -> Result<String, UnitError> {
    let unit = find_signed(&order.unit, shown, context).await?;
    match unit.cancel().await {
        CancelOutcome::Cancelled => Ok(CancelAnswer::Cancelled.to_line(unit.id())),
        CancelOutcome::Pending => Ok(CancelAnswer::Pending.to_line(unit.id())),
        CancelOutcome::Refused(words) => Err(words.into()),
    }
}

async fn release(order: &UnitCommand, force: bool, shown: &Shown, context: &Context) -> Result<String, UnitError> {
    let unit = find_signed(&order.unit, shown, context).await?;
    match unit.release(force).await {
        Ok(Released::Gone) => Ok(ReleaseAnswer::Released.to_line(unit.id())),
        Ok(Released::Pending) => Ok(ReleaseAnswer::Pending.to_line(unit.id())),
        Err(ReleaseError::Remote(words)) => Err(words.into()),
        Err(fault) => Err(UnitError::Other(fault.to_string())),
    }
}

async fn results(wanted: &Results, shown: &Shown, context: &Context) -> Result<UnitHandle, UnitError> {
    find_signed(&wanted.unit, shown, context).await
}

/// Makes the unit of a checked submission. Its payload follows on the connection.
async fn submit_work(submit: Submit, shown: &Shown, context: &Arc<Context>) -> Result<Next, SubmitError> {
    let kind = context.units.kind(&submit.work_type).cloned();
    let demanded = kind.as_ref().is_some_and(|kind| kind.verifies_signature());
    let pledge = context.signatures.check(demanded, shown).await?;
    let (kind, plan) = planned(submit, kind, context)?;
    let unit =
        context.units.create(kind, plan).await.map_err(|fault: CreateError| SubmitError::Store(fault.to_string()))?;
    Ok(Next::TakeOver(Takeover::Submit { unit, pledge }))
}

/// The work type of a submission, and what is to be done: here, or on another node.
fn planned(
    submit: Submit,
    kind: Option<Arc<dyn WorkKind>>,
    context: &Context,
) -> Result<(Arc<dyn WorkKind>, Plan), SubmitError> {
    if context.node.is_called(&submit.node) {
        if submit.ttl.is_some() {
            return Err(SubmitError::TtlOfLocalWork);
        }
        let kind = kind.ok_or(SubmitError::UnknownWorkType(submit.work_type))?;
        let plan = kind.plan(&submit.params)?;
        return Ok((kind, plan));
    }
    if submit.params.has_secrets() && submit.tls_client.is_none() {
        return Err(SubmitError::SecretsWithoutTls);
    }
    if let Some(name) = submit.tls_client.as_ref().filter(|name| !context.knows_tls_client(name)) {
        return Err(SubmitError::UnknownTlsConfig(name.clone()));
    }
    let ttl = submit.ttl.as_deref().map(parse_go).transpose().map_err(SubmitError::Ttl)?;
    let plan = context.remote.plan_for(submit, ttl)?;
    Ok((context.remote.clone(), plan))
}
