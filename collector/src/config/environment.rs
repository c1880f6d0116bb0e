//! The setting `env`: a word or a list of names.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::host::environment::EnvironmentChoice;

/// How it is written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Word(String),
    Names(Vec<String>),
}

pub(super) fn serialize<S: Serializer>(
    choice: &EnvironmentChoice,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match choice {
        EnvironmentChoice::None => "none".serialize(serializer),
        EnvironmentChoice::All => "all".serialize(serializer),
        EnvironmentChoice::Named(names) => names.serialize(serializer),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<EnvironmentChoice, D::Error> {
    let expected = "expected \"none\", \"all\" or a list of names";
    match Written::deserialize(deserializer) {
        Ok(Written::Word(word)) if word == "none" => Ok(EnvironmentChoice::None),
        Ok(Written::Word(word)) if word == "all" => Ok(EnvironmentChoice::All),
        Ok(Written::Word(word)) => Err(D::Error::custom(format!("\"{word}\": {expected}"))),
        Ok(Written::Names(names)) => match names.iter().find(|name| name.contains('=')) {
            Some(name) => {
                Err(D::Error::custom(format!("\"{name}\" is no name of a variable: it holds a =")))
            }
            None => Ok(EnvironmentChoice::Named(names)),
        },
        Err(_other) => Err(D::Error::custom(expected)),
    }
}

#[cfg(test)]
mod tests {
    use super::EnvironmentChoice;
    use crate::config::Config;

    #[test]
    fn a_word_or_names_are_taken_and_nothing_else() {
        let read = |value: &str| {
            let config: Result<Config, _> = toml::from_str(&format!("[process]\nenv = {value}\n"));
            config.map(|config| config.process.env).map_err(|error| error.message().to_owned())
        };
        assert_eq!(read("\"all\""), Ok(EnvironmentChoice::All));
        assert_eq!(read("\"none\""), Ok(EnvironmentChoice::None));
        assert_eq!(read("[\"PATH\"]"), Ok(EnvironmentChoice::Named(vec!["PATH".to_owned()])));
        let expected = "expected \"none\", \"all\" or a list of names";
        assert_eq!(read("\"some\""), Err(format!("\"some\": {expected}")));
        assert_eq!(read("7"), Err(expected.to_owned()));
        let error = "\"A=b\" is no name of a variable: it holds a =";
        assert_eq!(read("[\"A=b\"]"), Err(error.to_owned()));
    }
}
