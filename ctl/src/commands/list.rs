use indicatif::HumanBytes;
use serde_json::{Map, Value};
use worknode_protocol::control::{Request, WorkRequest};
use worknode_protocol::unit::Status;

use super::Node;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::job::{ListForm, ListJob};
use crate::output::{self, Printer, one_line};

pub(super) fn run(node: &Node, job: &ListJob, printer: &mut Printer) -> Result<Exit, Failure> {
    let request = Request::Work(WorkRequest::List { unit: job.unit.clone() });
    let answer = node.session()?.ask(&request)?;
    let Value::Object(mut units) = answer.into_value() else { return Ok(Exit::Done) };
    units.retain(|_, status| job.wants(status));
    match job.form {
        ListForm::Ids if printer.json() => printer.compact(&units.keys().cloned().collect::<Value>())?,
        ListForm::Ids => units.keys().try_for_each(|unit| printer.line(unit))?,
        ListForm::Json => printer.indented(&Value::Object(units))?,
        ListForm::Table => printer.data(table(&units).as_bytes())?,
    }
    Ok(Exit::Done)
}

impl ListJob {
    fn wants(&self, status: &Value) -> bool {
        let field = |name| status.get(name);
        let state = self.state.is_none_or(|state| field("State").and_then(Value::as_i64) == Some(state.number()));
        let wanted_type = self.work_type.as_deref();
        state && wanted_type.is_none_or(|name| field("WorkType").and_then(Value::as_str) == Some(name))
    }
}

const HEADINGS: [&str; 5] = ["ID", "TYPE", "STATE", "SIZE", "DETAIL"];

fn table(units: &Map<String, Value>) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(units.iter().map(|(unit, status)| match Status::from_value(status) {
        Ok(status) => [
            one_line(unit),
            one_line(&status.work_type),
            status.state.name(),
            HumanBytes(status.stdout_size).to_string(),
            one_line(&status.detail),
        ],
        Err(error) => [one_line(unit), String::new(), "?".to_owned(), String::new(), error.to_string()],
    }));
    output::table(&rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_a_line_per_unit() {
        let units = json!({
            "K8ouomSS": {"State": 2, "Detail": "exit status 0", "StdoutSize": 5_242_880, "WorkType": "cat"},
            "b": {"State": 3, "Detail": "Error creating pod: a\n\u{1b}[31mb", "StdoutSize": 0, "WorkType": "kubeit"},
            "c": {"State": "x"},
        });
        let Value::Object(units) = units else { panic!() };
        assert_eq!(
            table(&units),
            "ID        TYPE    STATE      SIZE      DETAIL\n\
             K8ouomSS  cat     Succeeded  5.00 MiB  exit status 0\n\
             b         kubeit  Failed     0 B       Error creating pod: a  [31mb\n\
             c                 ?                    field State of the status has another type\n"
        );
    }
}
