//! The catalogue of findings as text.

use super::{View, words};
use crate::model::Explanation;

/// One entry, or all of them.
pub fn show(entries: &[Explanation], view: &View) -> String {
    let mut out = String::new();
    if let [_, _, ..] = entries {
        let widest = entries.iter().map(|entry| entry.id.len()).max().unwrap_or(0);
        for entry in entries {
            let width = view.style.width().saturating_sub(widest + 2).max(20);
            let mut head = view.style.bold(&format!("{:<widest$}", entry.id));
            for line in words::wrap(&entry.heading, width) {
                out.push_str(&format!("{head}  {line}\n"));
                head = " ".repeat(widest);
            }
        }
        out.push_str("\nRun `hermes-doctor explain ID` for the complete text of one finding.\n");
        return out;
    }
    for entry in entries {
        out.push_str(&format!("{}: {}\n", view.style.bold(&entry.id), entry.heading));
        for (label, text) in [
            ("Severity", &entry.severity),
            ("Decided by", &entry.decided_by),
            ("Looks alike", &entry.look_alike),
            ("Why", &entry.why),
            ("What to do", &entry.remedy),
        ] {
            let width = view.style.width().saturating_sub(15).max(20);
            for (index, line) in words::wrap(text, width).iter().enumerate() {
                let head = if index == 0 { view.style.bold(&format!("  {label:<13}")) } else { " ".repeat(15) };
                out.push_str(&format!("{head}{line}\n"));
            }
        }
    }
    out
}
