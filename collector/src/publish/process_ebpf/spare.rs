//! How often the kernel skipped a program of exec, fork or exit, less what spare programs made up for.
//!
//! What is skipped is made up for a moment later, so the difference of the two numbers is what was missed
//! and what is just on its way. Something may be at any one time, but hardly at two a second apart: of two
//! readings the smaller difference counts.

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
    /// What was missed or on its way at the last reading.
    before: [u64; LIFE_CLASSES],
    /// The most that was missed by any two readings.
    missed: [u64; LIFE_CLASSES],
}

impl Skips {
    /// Takes in a reading of what was skipped and then of what was made up for, and says whether more was
    /// missed for good than before. At the end nothing is on its way.
    pub(crate) fn read(
        &mut self,
        (skipped, made_up): (OfLives, [u64; LIFE_CLASSES]),
        is_end: bool,
    ) -> bool {
        let mut has_grown = false;
        let of_classes = self.before.iter_mut().zip(&mut self.missed);
        for ((before, missed), (skipped, made_up)) in
            of_classes.zip(skipped.into_iter().zip(made_up))
        {
            // More can be made up for by now than was skipped when that was read.
            let now = skipped.unwrap_or(0).saturating_sub(made_up);
            let last = std::mem::replace(before, now);
            let sure = if is_end { now } else { now.min(last) };
            has_grown |= sure > *missed;
            *missed = sure.max(*missed);
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
        let of = |skipped, made_up| ([Some(skipped), None, Some(0)], [made_up, 0, 0]);
        // One was missed before the first reading, and many are skipped and made up for all the while.
        for reading in [of(100, 99), of(200, 197), of(300, 299)] {
            skips.read(reading, false);
        }
        let mut all = [Some(300), None, Some(0), Some(5)];
        skips.put_into(&mut all);
        assert_eq!(all, [Some(1), None, Some(0), Some(5)]);
        // Another was, and is told at the second reading that has it, once.
        assert!(!skips.read(of(400, 398), false));
        assert!(skips.read(of(500, 497), false));
        assert!(!skips.read(of(600, 598), false));
        // At the end nothing is on its way.
        assert!(skips.read(of(700, 697), true));
    }
}
