//! How often the kernel skipped a program of exec, fork or exit, less what spare programs made up for.
//!
//! What is skipped is made up for a moment later, so the two numbers do not agree at any one time: a
//! reading of the one is compared with the next reading of the other.

use bygone_probe_abi::LIFE_CLASSES;
use rustix::system::uname;

/// A number per class of processes' lives; `None` where the kernel does not tell.
pub(crate) type OfLives = [Option<u64>; LIFE_CLASSES];

/// Whether exec, fork and exit have spare programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SparePrograms {
    /// Where the kernel can preempt a program on a tracepoint: since Linux 7.0.
    #[default]
    WhereNeeded,
    /// On any kernel.
    Always,
    /// And no first ones, as if these were always skipped.
    Alone,
}

impl SparePrograms {
    /// Whether there are some on the running kernel.
    pub(crate) fn are_wanted(self) -> bool {
        self != Self::WhereNeeded || is_preempting(uname().release().to_str().unwrap_or_default())
    }
}

/// Whether a kernel of this release can preempt a program on a tracepoint.
fn is_preempting(release: &str) -> bool {
    let major = release.split_once('.').map_or(release, |(major, _)| major);
    major.parse::<u32>().is_ok_and(|major| major >= 7)
}

/// The skips of one source.
#[derive(Debug, Default)]
pub(crate) struct Skips {
    /// At the last reading.
    skipped: OfLives,
    /// The most that was missed by any reading.
    missed: [u64; LIFE_CLASSES],
}

impl Skips {
    /// Takes in a reading of what was skipped and made up for, and says whether more was missed for good
    /// than before. At the beginning and the end nothing is on its way.
    pub(crate) fn read(
        &mut self,
        skipped: OfLives,
        made_up: [u64; LIFE_CLASSES],
        is_settled: bool,
    ) -> bool {
        let before = std::mem::replace(&mut self.skipped, skipped);
        let settled = if is_settled { skipped } else { before };
        let mut has_grown = false;
        for ((missed, settled), made_up) in self.missed.iter_mut().zip(settled).zip(made_up) {
            // More can be made up for by now than was skipped by then.
            let now = settled.unwrap_or(0).saturating_sub(made_up);
            has_grown |= now > *missed;
            *missed = now.max(*missed);
        }
        has_grown
    }

    /// Puts what was missed of exec, fork and exit in place of what was skipped. It never shrinks.
    pub(crate) fn put_into(&self, skipped: &mut [Option<u64>]) {
        for (skipped, missed) in skipped.iter_mut().zip(self.missed) {
            *skipped = skipped.map(|_| missed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Skips, is_preempting};

    #[test]
    fn the_release_says_whether_programs_are_preempted() {
        for release in ["7.0.1-1-amd64", "7.3.4+deb13-cloud-amd64", "10.1", "7"] {
            assert!(is_preempting(release), "{release}");
        }
        for release in ["6.18.0", "5.10.0-9-amd64", "", "next"] {
            assert!(!is_preempting(release), "{release}");
        }
    }

    #[test]
    fn what_is_on_its_way_is_not_missed() {
        let mut skips = Skips::default();
        assert!(skips.read([Some(3), None, Some(0)], [1, 0, 0], true));
        // Five more were skipped, of which one is not made up for yet.
        assert!(!skips.read([Some(8), None, Some(0)], [5, 0, 0], false));
        assert!(!skips.read([Some(8), None, Some(0)], [6, 0, 0], false));
        // One of two is not: it is told when it is clear, and once.
        assert!(!skips.read([Some(9), None, Some(2)], [7, 0, 1], false));
        assert!(skips.read([Some(9), None, Some(2)], [7, 0, 1], false));
        assert!(!skips.read([Some(9), None, Some(2)], [7, 0, 1], true));
        let mut all = [Some(9), None, Some(2), Some(5)];
        skips.put_into(&mut all);
        assert_eq!(all, [Some(2), None, Some(1), Some(5)]);
    }
}
