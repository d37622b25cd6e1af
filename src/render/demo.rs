//! Output of `demo`.

use super::View;
use crate::model::Demonstration;
use comfy_table::{Cell, ColumnConstraint, Width};

/// The line above one demo scenario.
pub fn heading(name: &str, staged: &str, view: &View) -> String {
    format!("demo {}: {staged}\n\n", view.style.bold(name))
}

/// The results of all demo scenarios as a table.
pub fn table(shown: &[Demonstration], view: &View) -> String {
    let mut table = super::table::table(view, &["DEMO", "STAGED", "FOUND", "EXIT", "VERDICT"]);
    // Ids are not wrapped; the description gets the remaining width.
    let whole = ColumnConstraint::ContentWidth;
    table.set_constraints(vec![whole, ColumnConstraint::LowerBoundary(Width::Fixed(12)), whole, whole, whole]);
    for row in shown {
        let found = if row.found.is_empty() { "no findings".to_owned() } else { row.found.join(", ") };
        let verdict = if row.as_expected { "ok" } else { "UNEXPECTED" };
        table.add_row(vec![
            Cell::new(&row.name),
            Cell::new(&row.staged),
            Cell::new(found),
            Cell::new(row.exit),
            Cell::new(verdict),
        ]);
    }
    let text = super::table::finish(&table, view);
    let failed = shown.iter().filter(|row| !row.as_expected).count();
    let end = if failed == 0 {
        format!("All {} verdicts are as expected. To see one in full, run `hermes-doctor demo NAME`.", shown.len())
    } else {
        format!("{failed} of {} verdicts are not as expected.", shown.len())
    };
    format!("{text}\n{}\n", super::words::wrap(&end, view.style.width()).join("\n"))
}
