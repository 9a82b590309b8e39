//! The table, and the same as JSON.

use anyhow::Result;
use serde_json::{Map, Value, json};
use worknode_tests::{Kind, Program};

use super::figure::Figure;
use super::{Options, Values};

/// Prints the medians.
pub(super) fn print(figures: &[&Figure], programs: &[Program], values: &Values, options: &Options) -> Result<()> {
    let median_of = |figure: &Figure, kind: Kind| {
        let values = values.get(&(figure.name, kind.name()))?;
        (!values.is_empty()).then(|| median(values.clone()))
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&object(figures, median_of))?);
        return Ok(());
    }
    let both = programs.len() > 1;
    println!("{}", header(programs, both));
    for figure in figures {
        println!(
            "{}",
            row(figure, median_of(figure, Kind::Receptor), median_of(figure, Kind::Worknoded), programs, both)
        );
    }
    Ok(())
}

fn header(programs: &[Program], both: bool) -> String {
    let mut names = vec!["", "figure", "unit"];
    names.extend(programs.iter().map(|program| program.kind.name()));
    if both {
        names.push("ratio");
    }
    names.extend(["to reach", "reached"]);
    let rule = "|---".repeat(names.len());
    format!("| {} |\n{rule}|", names.join(" | "))
}

fn row(figure: &Figure, theirs: Option<f64>, ours: Option<f64>, programs: &[Program], both: bool) -> String {
    let mut cells = vec![format!("`{}`", figure.name), figure.title.to_owned(), figure.unit.to_owned()];
    for program in programs {
        let value = if program.kind == Kind::Receptor { theirs } else { ours };
        cells.push(value.map_or_else(|| "–".to_owned(), digits));
    }
    if both {
        let ratio = ours.zip(theirs).map(|(ours, theirs)| ours / theirs);
        cells.push(ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{}×", digits(ratio))));
    }
    cells.push(figure.goal.words(figure.unit));
    let met = ours.and_then(|ours| figure.goal.met(ours, theirs));
    cells.push(met.map_or("–", |met| if met { "yes" } else { "**no**" }).to_owned());
    format!("| {} |", cells.join(" | "))
}

fn object(figures: &[&Figure], median_of: impl Fn(&Figure, Kind) -> Option<f64>) -> Value {
    let mut object = Map::new();
    for figure in figures {
        let (theirs, ours) = (median_of(figure, Kind::Receptor), median_of(figure, Kind::Worknoded));
        let met = ours.and_then(|ours| figure.goal.met(ours, theirs));
        let line = json!({
            "title": figure.title,
            "unit": figure.unit,
            "receptor": theirs,
            "worknoded": ours,
            "goal": figure.goal.words(figure.unit),
            "met": met,
        });
        object.insert(figure.name.to_owned(), line);
    }
    Value::Object(object)
}

/// Three digits, whatever the size.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// The middle value; zero of none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits() {
        let shown: Vec<_> = [0.0861, 1.234, 12.34, 123.4, 1234.0].map(digits).into();
        assert_eq!(shown, ["0.086", "1.23", "12.3", "123", "1234"]);
    }

    #[test]
    fn median_does_not_depend_on_order() {
        assert_eq!(median(vec![9.0, 1.0, 5.0]).to_bits(), 5.0_f64.to_bits());
        assert_eq!(median(Vec::new()).to_bits(), 0.0_f64.to_bits());
    }
}
