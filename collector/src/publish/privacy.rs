//! What of an exec's texts is recorded: variables that were asked for, values that are not masked.

use crate::events::ExecEvent;
use crate::host::environment::EnvironmentChoice;
use crate::host::mask::Mask;

/// What is recorded.
#[derive(Clone, Debug, Default)]
pub struct Privacy {
    /// Which variables of the environment.
    pub environment: EnvironmentChoice,
    /// Values that are not.
    pub mask: Mask,
}

impl Privacy {
    /// Takes out of an exec what is not to be recorded.
    pub(crate) fn apply(&self, exec: &mut ExecEvent) {
        exec.environment = exec.environment.take().map(|all| self.environment.chosen(all));
        for text in [&mut exec.arguments, &mut exec.environment].into_iter().flatten() {
            if let Some(masked) = self.mask.words(text) {
                *text = masked;
                exec.masked = true;
            }
        }
    }
}
