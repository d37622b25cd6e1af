//! Masks secrets in facts. Command lines and URLs are masked where they are read; this masks a secret that was missed inside
//! another text, and makes every text printable: one of a saved report can have been changed since.

use crate::model::text::{is_printable, printable};
use crate::model::{HostPath, PythonSymbol, TextKind, Timestamp, Visited, Visitor};
use crate::parse::mask::{is_masked, text as masked};

/// Masks every text of some facts.
pub fn mask(facts: &mut impl Visited) {
    facts.accept(&mut Mask);
}

struct Mask;

impl Visitor for Mask {
    fn text(&mut self, _: TextKind, text: &mut String) {
        if !is_printable(text) {
            *text = printable(text.as_bytes());
        }
        if !is_masked(text) {
            *text = masked(text);
        }
    }

    fn path(&mut self, path: &mut HostPath) {
        if !is_masked(path) {
            *path = masked(path).into();
        }
    }

    fn time(&mut self, time: &mut Timestamp) {
        if !is_printable(time.as_str()) {
            *time = printable(time.as_str().as_bytes()).into();
        }
    }

    fn nanoseconds(&mut self, _: &mut u64) {}

    fn function(&mut self, function: &mut PythonSymbol, file: &mut HostPath) {
        function.accept(self);
        file.accept(self);
    }
}
