//! Fuzz target; what it does is in `families.rs`.
#![no_main]

#[allow(dead_code)]
#[path = "../families.rs"]
mod families;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| families::kernel(bytes));
