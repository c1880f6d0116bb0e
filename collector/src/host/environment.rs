//! Which variables of the environment are recorded.

/// The choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum EnvironmentChoice {
    /// None; their number and size are.
    #[default]
    None,
    /// All.
    All,
    /// Those with these names.
    Named(Vec<String>),
}

impl EnvironmentChoice {
    /// Whether the environment is to be read.
    #[must_use]
    pub const fn is_read(&self) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => !names.is_empty(),
        }
    }

    /// The chosen variables of an environment, in which each `NAME=VALUE` is ended by a NUL.
    #[must_use]
    pub fn chosen(&self, all: Vec<u8>) -> Vec<u8> {
        let names = match self {
            Self::None => return Vec::new(),
            Self::All => return all,
            Self::Named(names) => names,
        };
        let is_named = |variable: &&[u8]| {
            let name = variable.split(|byte| *byte == b'=').next().unwrap_or_default();
            names.iter().any(|wanted| wanted.as_bytes() == name)
        };
        all.split_inclusive(|byte| *byte == 0).filter(is_named).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::EnvironmentChoice;

    #[test]
    fn named_variables_are_chosen_by_their_whole_name() {
        let all = b"PATH=/bin\0PATHS=x\0LD_PRELOAD=/tmp/a=b\0EMPTY\0".to_vec();
        let named = EnvironmentChoice::Named(vec!["PATH".to_owned(), "LD_PRELOAD".to_owned()]);
        assert_eq!(named.chosen(all.clone()), b"PATH=/bin\0LD_PRELOAD=/tmp/a=b\0");
        assert_eq!(EnvironmentChoice::All.chosen(all.clone()), all);
        assert!(EnvironmentChoice::None.chosen(all).is_empty());
        assert!(!EnvironmentChoice::Named(Vec::new()).is_read() && named.is_read());
    }
}
