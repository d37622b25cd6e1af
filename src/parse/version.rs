//! Comparison of version numbers of this program.

/// Whether a version is later than the version of this program.
pub fn is_newer(version: &str) -> bool {
    numbers(version) > numbers(env!("CARGO_PKG_VERSION"))
}

/// The leading numbers of a version.
fn numbers(text: &str) -> Vec<u64> {
    text.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        assert!(numbers("0.10.0") > numbers("0.9.9"));
        assert!(numbers("1.0.0-rc1") >= numbers("1.0.0"));
        assert!(numbers("x").is_empty());
        assert!(is_newer("99.0.0") && !is_newer(env!("CARGO_PKG_VERSION")) && !is_newer("0.0.9"));
    }
}
