//! Finding what the system dropped, from the numbers in its messages.
//!
//! The system numbers the messages of one client from 0, once over all and once per event type,
//! and counts on when it has to drop one. So a number higher than the next expected one is a loss
//! of exactly the difference, found at the first message after it. Loss after the last message
//! cannot be seen.

use crate::message::{ByClass, EsSequence};

/// Messages dropped between one message and the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceGap {
    /// Dropped messages of the same class, since the last one of that class.
    pub of_class: u64,
    /// Dropped messages of any class. Before message version 4 only those of this class are
    /// known, and this is `of_class`.
    pub total: u64,
}

/// The next expected number, over all and per class, of one client.
///
/// ```
/// use bygone_macos::{EsClass, EsSequence, SequenceLedger};
/// let mut ledger = SequenceLedger::default();
/// let at = |seq_num, global| EsSequence {
///     class: Some(EsClass::Exec),
///     seq_num: Some(seq_num),
///     global_seq_num: Some(global),
/// };
/// assert_eq!(ledger.observe(&at(0, 0)).total, 0);
/// assert_eq!(ledger.observe(&at(3, 4)).of_class, 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct SequenceLedger {
    next: ByClass<u64>,
    next_global: u64,
    went_back: u64,
}

impl SequenceLedger {
    /// Takes note of a message and says what was dropped before it.
    pub fn observe(&mut self, sequence: &EsSequence) -> SequenceGap {
        let mut went_back = false;
        let of_class = match (sequence.class, sequence.seq_num) {
            (Some(class), Some(number)) => advance(self.next.of(class), number, &mut went_back),
            (_, None) | (None, Some(_)) => 0,
        };
        let total = match sequence.global_seq_num {
            Some(number) => advance(&mut self.next_global, number, &mut went_back),
            None => of_class,
        };
        self.went_back += u64::from(went_back);
        SequenceGap { of_class, total }
    }

    /// Messages whose number was lower than expected. The system's description leaves no room
    /// for any, so that a count above 0 means that losses are not exact.
    #[must_use]
    pub const fn went_back(&self) -> u64 {
        self.went_back
    }
}

/// Moves `next` past `number` and returns how many numbers were skipped.
fn advance(next: &mut u64, number: u64, went_back: &mut bool) -> u64 {
    match number.checked_sub(*next) {
        Some(skipped) => {
            *next = number.saturating_add(1);
            skipped
        }
        None => {
            *went_back = true;
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SequenceGap, SequenceLedger};
    use crate::message::{EsClass, EsSequence};

    fn at(class: EsClass, seq_num: u64, global: u64) -> EsSequence {
        EsSequence { class: Some(class), seq_num: Some(seq_num), global_seq_num: Some(global) }
    }

    fn check(messages: &[EsSequence], expected: &[(u64, u64)]) -> SequenceLedger {
        let mut ledger = SequenceLedger::default();
        let gaps: Vec<_> = messages.iter().map(|message| ledger.observe(message)).collect();
        let expected: Vec<_> =
            expected.iter().map(|&(of_class, total)| SequenceGap { of_class, total }).collect();
        assert_eq!(gaps, expected);
        ledger
    }

    #[test]
    fn nothing_is_lost_when_numbers_follow_each_other() {
        use EsClass::{Exec, Exit, Fork};
        check(
            &[at(Fork, 0, 0), at(Exec, 0, 1), at(Fork, 1, 2), at(Exit, 0, 3), at(Exit, 1, 4)],
            &[(0, 0); 5],
        );
    }

    #[test]
    fn a_loss_before_the_first_message_counts() {
        check(&[at(EsClass::Exec, 2, 5)], &[(2, 5)]);
    }

    #[test]
    fn losses_of_classes_add_up_to_the_total_once_each_class_is_heard() {
        use EsClass::{Exec, Exit, Fork};
        // Dropped: exec 1, fork 0 and 1, exit 0.
        check(
            &[at(Exec, 0, 0), at(Exec, 2, 5), at(Fork, 2, 6), at(Exit, 1, 7)],
            &[(0, 0), (1, 4), (2, 0), (1, 0)],
        );
    }

    #[test]
    fn old_messages_show_losses_of_their_class_only() {
        let old = |seq_num| EsSequence { global_seq_num: None, ..at(EsClass::Exit, seq_num, 0) };
        check(&[old(0), old(4)], &[(0, 0), (3, 3)]);
        let oldest = EsSequence { class: Some(EsClass::Exit), seq_num: None, global_seq_num: None };
        check(&[oldest, oldest], &[(0, 0); 2]);
    }

    #[test]
    fn a_number_that_goes_back_is_no_loss_and_is_told() {
        let ledger = check(
            &[at(EsClass::Exec, 5, 5), at(EsClass::Exec, 3, 3), at(EsClass::Exec, 6, 6)],
            &[(5, 5), (0, 0), (0, 0)],
        );
        assert_eq!(ledger.went_back(), 1);
        let mut ledger = check(&[at(EsClass::Exec, u64::MAX, u64::MAX)], &[(u64::MAX, u64::MAX)]);
        assert_eq!(ledger.observe(&at(EsClass::Exec, 0, 0)), SequenceGap::default());
    }
}
