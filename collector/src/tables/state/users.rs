//! `users`, from the name service.

use bygone_store::StateTable;
use bygone_store::sql::ScanFailure;

use crate::host::users::accounts;

/// User accounts of this host, local ones and those that the name service lists.
#[derive(Clone, Debug, PartialEq, StateTable)]
pub struct Users {
    /// User id.
    pub uid: u32,
    /// Id of the primary group.
    pub gid: u32,
    /// User id as a signed 32-bit number.
    pub uid_signed: i64,
    /// Primary group id as a signed 32-bit number.
    pub gid_signed: i64,
    /// Login name.
    pub username: String,
    /// The account's comment, often a person's name.
    pub description: String,
    /// Home directory.
    pub directory: String,
    /// Login shell.
    pub shell: String,
    /// Unique id of the account; null: Linux has none, and on macOS it is not collected.
    pub uuid: Option<String>,
    /// Whether the account is local or of a domain; null: Windows only.
    pub r#type: Option<String>,
    /// Whether macOS hides the account; null: not collected.
    pub is_hidden: Option<i32>,
    /// Process in whose namespaces the accounts were read: 0, which is the collector's own.
    #[column(hidden)]
    pub pid_with_namespace: i32,
    /// Whether accounts of remote services are included: 1, since they always are.
    #[column(hidden)]
    pub include_remote: i32,
}

/// Reads all accounts.
///
/// # Errors
/// None so far: a name service that does not answer lists no accounts.
pub fn scan() -> Result<Vec<Users>, ScanFailure> {
    let signed = |id: u32| i64::from(id.cast_signed());
    let row = |account: crate::host::users::Account| Users {
        uid: account.uid,
        gid: account.gid,
        uid_signed: signed(account.uid),
        gid_signed: signed(account.gid),
        username: account.name,
        description: account.comment,
        directory: account.home,
        shell: account.shell,
        uuid: None,
        r#type: None,
        is_hidden: None,
        pid_with_namespace: 0,
        include_remote: 1,
    };
    Ok(accounts().into_iter().map(row).collect())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::scan;

    #[test]
    fn rows_are_what_getent_prints() {
        let output = Command::new("getent").arg("passwd").output().unwrap();
        let printed: BTreeSet<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        let password_field = "x";
        let line = |user: super::Users| {
            let super::Users { username, uid, gid, description, directory, shell, .. } = user;
            format!("{username}:{password_field}:{uid}:{gid}:{description}:{directory}:{shell}")
        };
        let scanned: BTreeSet<String> = scan().unwrap().into_iter().map(line).collect();
        let without_password = |line: &String| {
            let mut fields: Vec<&str> = line.split(':').collect();
            fields[1] = password_field;
            fields.join(":")
        };
        assert!(printed.len() > 1);
        assert_eq!(scanned, printed.iter().map(without_password).collect());
    }

    #[test]
    fn the_highest_id_is_negative_when_signed() {
        let users = scan().unwrap();
        let nobody = users.iter().find(|user| user.username == "nobody").unwrap();
        assert_eq!(nobody.uid_signed, i64::from(nobody.uid.cast_signed()));
        assert!(users.iter().all(|user| user.include_remote == 1));
    }
}
