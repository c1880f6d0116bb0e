//! Panics of decoders that read damaged input.
//!
//! A decoder returns errors for most damage and panics for some. A panic in a virtual table's
//! callback would end the process, so decoding runs in [`guarded`], which makes an error of it. It
//! is reported as damage like any other; the default hook must not print it as a crash, so the hook
//! is silent on a thread that is guarded, and passes all else on to the one before it.

use std::cell::Cell;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// Content is damaged, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(pub(crate) String);

thread_local! {
    /// How many guards this thread is in.
    static GUARDS: Cell<u32> = const { Cell::new(0) };
}

static HOOK: Once = Once::new();

/// Runs a step of decoding; a panic in it becomes an error.
pub(crate) fn guarded<T, E: Display>(step: impl FnOnce() -> Result<T, E>) -> Result<T, Unreadable> {
    // A thread that panics may not set the hook.
    if !std::thread::panicking() {
        HOOK.call_once(install);
    }
    GUARDS.set(GUARDS.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(step));
    GUARDS.set(GUARDS.get() - 1);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Unreadable(error.to_string())),
        Err(_panic) => Err(Unreadable("the decoder gave up".to_owned())),
    }
}

fn install() {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if GUARDS.try_with(Cell::get).unwrap_or(0) == 0 {
            previous(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const CHILD: &str = "BYGONE_TEST_GUARD_CHILD";

    fn give_up() -> Result<(), Unreadable> {
        panic!("within the guard")
    }

    /// Runs itself in a process of its own, to see what goes to standard error.
    #[test]
    fn a_guarded_panic_is_an_error_and_not_printed() {
        if std::env::var_os(CHILD).is_some() {
            let error = guarded(give_up).unwrap_err();
            assert_eq!(error.to_string(), "the decoder gave up");
            let other = catch_unwind(|| panic!("outside of it"));
            assert!(other.is_err());
            return;
        }
        let name = "guard::tests::a_guarded_panic_is_an_error_and_not_printed";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let output = child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{printed}");
        assert!(!printed.contains("within the guard"), "{printed}");
        assert!(printed.contains("outside of it"), "{printed}");
    }
}
