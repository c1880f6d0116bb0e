//! The lists of what is excluded in `[process]`. What could not be used is refused here, so that an
//! error has a line.

use std::fmt;
use std::marker::PhantomData;

use bygone_probe_abi::FILTER_USERS_MAX;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::host::exclude::ExcludedPath;

/// Paths of programs at most.
const PATHS_MAX: usize = 32;
/// Paths of parents at most, and of cgroups.
const OTHERS_MAX: usize = 16;

/// Paths of programs.
pub(super) fn paths<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    list::<D, ProgramPath>(deserializer, PATHS_MAX, "paths of programs such as [\"/opt/build/%%\"]")
}

/// Paths of programs whose children are excluded.
pub(super) fn parents<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    list::<D, ProgramPath>(
        deserializer,
        OTHERS_MAX,
        "paths of programs such as [\"/usr/sbin/cron\"]",
    )
}

/// Paths of cgroups.
pub(super) fn cgroups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    list::<D, ProgramPath>(
        deserializer,
        OTHERS_MAX,
        "paths of cgroups such as [\"/build.slice/%%\"]",
    )
}

/// Users.
pub(super) fn users<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let most = usize::try_from(FILTER_USERS_MAX).unwrap_or(usize::MAX);
    list::<D, User>(deserializer, most, "users such as [\"builder\", 1001]")
}

/// A list of so many at most.
fn list<'de, D, T>(
    deserializer: D,
    most: usize,
    words: &'static str,
) -> Result<Vec<T::Value>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Item,
{
    deserializer.deserialize_seq(ListVisitor::<T> { most, words, item: PhantomData })
}

/// What stands in a list.
trait Item {
    type Value;

    fn value(self) -> Self::Value;
}

struct ListVisitor<T> {
    most: usize,
    words: &'static str,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de> + Item> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of {}", self.words)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<T>()? {
            if list.len() == self.most {
                return Err(A::Error::custom(format_args!(
                    "the list has more than {}: name a folder above several of them, or leave some \
                     out",
                    self.most
                )));
            }
            list.push(item.value());
        }
        Ok(list)
    }
}

struct ProgramPath(String);

impl Item for ProgramPath {
    type Value = String;

    fn value(self) -> String {
        self.0
    }
}

impl<'de> Deserialize<'de> for ProgramPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PathVisitor).map(Self)
    }
}

/// Checks within the visit, so that an error has the line of the path, not that of the list.
struct PathVisitor;

impl Visitor<'_> for PathVisitor {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a path such as \"/opt/build/%%\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        ExcludedPath::parse(text).map_err(E::custom)?;
        Ok(text.to_owned())
    }
}

struct User(u32);

impl Item for User {
    type Value = u32;

    fn value(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UserVisitor).map(Self)
    }
}

struct UserVisitor;

impl Visitor<'_> for UserVisitor {
    type Value = u32;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a user id such as 1001, or the name of a user of this host")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u32, E> {
        // The highest stands for no user.
        let uid = u32::try_from(number).ok().filter(|uid| *uid != u32::MAX);
        uid.ok_or_else(|| {
            E::custom(format_args!("{number} is no user id: they are 0 to 4294967294"))
        })
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<u32, E> {
        let user = uzers::get_user_by_name(name);
        user.map(|user| user.uid()).ok_or_else(|| {
            E::custom(format_args!(
                "this host knows no user \"{name}\": write the user id as a number"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn read(line: &str) -> Result<Config, String> {
        let config: Result<Config, _> = toml::from_str(&format!("[process]\n{line}\n"));
        config.map_err(|error| error.message().to_owned())
    }

    #[test]
    fn users_are_numbers_or_names() {
        let config = read("exclude_uids = [\"root\", 1001]").unwrap();
        assert_eq!(config.process.exclude_uids, [0, 1001]);
        for (value, part) in [
            ("[-1]", "-1 is no user id: they are 0 to 4294967294"),
            ("[4294967295]", "4294967295 is no user id"),
            ("[\"no such\"]", "no user \"no such\": write the user id as a number"),
            ("[1.5]", "expected a user id such as 1001, or the name of a user of this host"),
            ("1001", "expected a list of users such as [\"builder\", 1001]"),
        ] {
            let error = read(&format!("exclude_uids = {value}")).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn paths_are_checked_and_counted() {
        let config = read("exclude_paths = [\"/usr/bin/true\", \"/opt/%%\"]").unwrap();
        assert_eq!(config.process.exclude_paths, ["/usr/bin/true", "/opt/%%"]);
        for key in ["exclude_paths", "exclude_parents", "exclude_cgroups"] {
            let error = read(&format!("{key} = [\"/a/%/b\"]")).unwrap_err();
            assert!(error.contains("`/a/%/b` has a wildcard other than `%%`"), "{error}");
            let many = vec!["\"/a\""; 33].join(", ");
            let error = read(&format!("{key} = [{many}]")).unwrap_err();
            assert!(error.contains("the list has more than "), "{error}");
            let error = read(&format!("{key} = \"/a\"")).unwrap_err();
            assert!(error.contains("expected a list of paths of "), "{error}");
        }
    }
}
