//! What a statement may do: read.
//!
//! The list says what is allowed; everything else, also what a later SQLite adds, is refused when
//! the statement is prepared.

use rusqlite::hooks::{AuthAction, Authorization};

/// Pragmas that only tell something.
const PRAGMAS: [&str; 8] = [
    "collation_list",
    "compile_options",
    "database_list",
    "function_list",
    "module_list",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Functions that reach outside the statement.
const REFUSED_FUNCTIONS: [&str; 4] = ["fts3_tokenizer", "load_extension", "readfile", "writefile"];

/// Whether a statement may do this.
pub(super) fn decide(action: &AuthAction<'_>) -> Authorization {
    let allowed = match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => {
            !REFUSED_FUNCTIONS.iter().any(|refused| refused.eq_ignore_ascii_case(function_name))
        }
        AuthAction::Pragma { pragma_name, .. } => {
            PRAGMAS.iter().any(|known| known.eq_ignore_ascii_case(pragma_name))
        }
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

/// What was refused, in SQL's words.
pub(super) fn describe(action: &AuthAction<'_>) -> String {
    match action {
        AuthAction::Pragma { pragma_name, .. } => format!("PRAGMA {pragma_name}"),
        AuthAction::Function { function_name } => format!("the function {function_name}()"),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => "ATTACH and DETACH".to_owned(),
        AuthAction::Insert { table_name } => format!("writing to {table_name}"),
        AuthAction::Update { table_name, .. } => format!("updating {table_name}"),
        AuthAction::Delete { table_name } => format!("deleting from {table_name}"),
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => "a transaction".to_owned(),
        AuthAction::Analyze { .. } => "ANALYZE".to_owned(),
        AuthAction::Reindex { .. } => "REINDEX".to_owned(),
        _ => "changing the schema".to_owned(),
    }
}
