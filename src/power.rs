//! `pow` of C, for the estimate of a progress bar: the only function that the C library's mathematical part would be loaded for, a
//! library of a megabyte, in a tenth of a millisecond of each start.

/// pow(3).
#[allow(unsafe_code)]
// SAFETY: it does what the name promises to whoever is linked with it.
#[unsafe(no_mangle)]
extern "C" fn pow(base: f64, exponent: f64) -> f64 {
    libm::pow(base, exponent)
}
