//! How far the thread beside the writer stands back behind the rest of the host.
//!
//! On Linux it has niceness 19: it takes what others leave, and a seventieth of a core where they
//! leave nothing. That may be less than sealing needs. So while more than [`BEHIND_JOURNALS`] wait
//! it has the niceness of the process, where the system allows that: root may, and whoever has a
//! fitting `RLIMIT_NICE`. Where it does not, the writer makes longer journals instead of more.
//!
//! It is not of `SCHED_IDLE`, with a three hundredth: it would not come to give back the lock that
//! the writer waits for, and leaving that class needs the same right. On macOS niceness is the whole
//! process's, and stays.

#[cfg(target_os = "linux")]
use rustix::process::{getpriority_process, setpriority_process};

#[cfg(target_os = "linux")]
use crate::limits::BEHIND_JOURNALS;

/// Niceness while nothing presses.
#[cfg(target_os = "linux")]
const LOW: i32 = 19;

/// The niceness of one thread, which alone uses this.
#[derive(Debug)]
pub(super) struct Niceness {
    /// That of the process.
    #[cfg(target_os = "linux")]
    usual: i32,
    /// What was last asked for.
    #[cfg(target_os = "linux")]
    asked: i32,
}

#[cfg(target_os = "linux")]
impl Niceness {
    pub(super) fn of_thread() -> Self {
        let usual = getpriority_process(None).unwrap_or(0);
        Self { usual, asked: usual }
    }

    /// Makes it what befits so many waiting journals.
    pub(super) fn follow(&mut self, waiting: usize) {
        let wanted = if waiting > BEHIND_JOURNALS { self.usual } else { LOW };
        if wanted == self.asked {
            return;
        }
        self.asked = wanted;
        if let Err(error) = setpriority_process(None, wanted) {
            tracing::debug!(error = %error, wanted, "The sealer's niceness stays");
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Niceness {
    pub(super) fn of_thread() -> Self {
        Self {}
    }

    pub(super) fn follow(&mut self, _waiting: usize) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_behind_comes_forward_where_it_may() {
        let thread = std::thread::spawn(|| {
            let own = || getpriority_process(None).unwrap();
            let usual = own();
            let mut niceness = Niceness::of_thread();
            niceness.follow(BEHIND_JOURNALS);
            assert_eq!(own(), LOW);
            niceness.follow(BEHIND_JOURNALS + 1);
            let may = setpriority_process(None, usual).is_ok();
            assert_eq!(own(), if may { usual } else { LOW });
            niceness.follow(0);
            assert_eq!(own(), LOW);
        });
        thread.join().unwrap();
    }
}
