//! How many processes a test starts.

/// As many as a test wants, or what the variable `BYGONE_TEST_STORM` allows: where the processor is
/// emulated, a thousand take a minute.
///
/// # Panics
/// When the variable is no number.
#[must_use]
pub fn storm(wanted: u64) -> u64 {
    let Some(most) = std::env::var_os("BYGONE_TEST_STORM") else {
        return wanted;
    };
    let most = most.to_str().and_then(|most| most.parse().ok());
    wanted.min(most.expect("BYGONE_TEST_STORM is a number"))
}
