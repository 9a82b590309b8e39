//! A terminal session as a picture.

use std::fmt::Write;

/// Width of a character and height of a line at 14 px, of the usual monospaced fonts.
const CELL: (f64, f64) = (8.43, 20.0);
const MARGIN: f64 = 16.0;
/// Height of the bar with the three buttons.
const BAR: f64 = 28.0;
/// Columns of the narrowest picture.
const COLUMNS: usize = 72;

/// The lines as an SVG document; what was typed stands out.
pub(super) fn svg(lines: &[String]) -> String {
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0).max(COLUMNS);
    let width = as_f64(columns) * CELL.0 + 2.0 * MARGIN;
    let height = as_f64(lines.len()) * CELL.1 + 2.0 * MARGIN + BAR;
    let mut out = String::new();
    let _ = writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" role="img" aria-label="A terminal session with ctl">
<rect width="100%" height="100%" rx="8" fill="#1e1e2e"/>
<circle cx="18" cy="14" r="5" fill="#f38ba8"/><circle cx="36" cy="14" r="5" fill="#f9e2af"/><circle cx="54" cy="14" r="5" fill="#a6e3a1"/>
<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" fill="#cdd6f4" xml:space="preserve">"##
    );
    for (row, line) in lines.iter().enumerate() {
        let y = BAR + MARGIN + as_f64(row) * CELL.1 + 10.0;
        let style = if line.starts_with("$ ") { r##" fill="#89dceb" font-weight="bold""## } else { "" };
        let _ = writeln!(out, r#"<text x="{MARGIN}" y="{y:.0}"{style}>{}</text>"#, escaped(line));
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// A count of lines or columns: far below what a float holds exactly.
fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
