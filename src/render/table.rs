//! Tables without lines. The alignment separates the columns, also in a pipe.

use super::View;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// A table that fits the width.
pub fn table(view: &View, header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(u16::try_from(view.style.width().saturating_sub(2)).unwrap_or(80))
        .set_header(header.to_vec());
    table
}

/// Text of the table, with an emphasised header.
pub fn finish(table: &Table, view: &View) -> String {
    let mut out = String::from("\n");
    for (index, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let line = if index == 0 { view.style.bold(line) } else { line.to_owned() };
        out.push_str(&format!(" {line}\n"));
    }
    out
}

/// A right-aligned number.
pub fn right(text: impl ToString) -> Cell {
    Cell::new(text.to_string()).set_alignment(CellAlignment::Right)
}
