//! The accounts of this host.
#![expect(unsafe_code, reason = "enumerating accounts goes through the C library's global cursor")]

use std::sync::{Mutex, PoisonError};

use uzers::os::unix::UserExt;

use super::text::lossless;

/// One account, as `getpwent(3)` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// Name.
    pub name: String,
    /// The comment field, which often holds a person's name.
    pub comment: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}

/// All accounts that the name service lists: local ones, and those of directories such as LDAP as
/// far as the host is configured to list them. In the order of the name service, one entry per
/// user id and name.
#[must_use]
pub fn accounts() -> Vec<Account> {
    static CURSOR: Mutex<()> = Mutex::new(());
    let _turn = CURSOR.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: `getpwent` moves one cursor of the process. This is its only user in this program:
    // the lock keeps other threads out until the iterator is dropped, and SQLite, the only C
    // library linked, does not enumerate accounts.
    let users = unsafe { uzers::all_users() };
    let mut accounts: Vec<Account> = users.map(|user| account(&user)).collect();
    // An account that is in two services is listed twice.
    let mut seen = std::collections::HashSet::new();
    accounts.retain(|account| seen.insert((account.uid, account.name.clone())));
    accounts
}

fn account(user: &uzers::User) -> Account {
    let text = |value: &std::ffi::OsStr| lossless(value.as_encoded_bytes());
    Account {
        uid: user.uid(),
        gid: user.primary_group_id(),
        name: text(user.name()),
        comment: text(user.gecos()),
        home: text(user.home_dir().as_os_str()),
        shell: text(user.shell().as_os_str()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_do_not_disturb_each_other() {
        let alone = accounts();
        assert!(alone.iter().any(|account| account.uid == 0), "there is always a root");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..20).for_each(|_| assert_eq!(accounts(), alone)));
            }
        });
    }
}
