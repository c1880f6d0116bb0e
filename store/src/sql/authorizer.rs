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

/// Functions that a statement may call, in order: SQLite's that neither reach outside the statement
/// nor belong to tables that are not there, and the session's own.
const FUNCTIONS: &str = "\
    -> ->> abs acos acosh asin asinh atan atan2 atanh avg ceil ceiling char coalesce concat \
    concat_ws cos cosh count cume_dist current_date current_time current_timestamp date datetime \
    degrees dense_rank exp first_value floor format glob group_concat hex if ifnull iif instr iso \
    json json_array json_array_insert json_array_length json_error_position json_extract \
    json_group_array json_group_object json_insert json_object json_patch json_pretty json_quote \
    json_remove json_replace json_set json_type json_valid jsonb jsonb_array jsonb_array_insert \
    jsonb_extract jsonb_group_array jsonb_group_object jsonb_insert jsonb_object jsonb_patch \
    jsonb_remove jsonb_replace jsonb_set julianday lag last_value lead length like likelihood \
    likely ln log log10 log2 lower ltrim max median min mod ns nth_value ntile nullif octet_length \
    percent_rank percentile percentile_cont percentile_disc pi pow power printf quote radians \
    random randomblob rank replace round row_count row_number rtrim sign sin sinh soundex \
    sqlite_compileoption_get sqlite_compileoption_used sqlite_source_id sqlite_version sqrt \
    strftime string_agg substr substring subtype sum tan tanh time timediff total trim trunc \
    typeof unhex unicode unistr unistr_quote unixepoch unlikely upper zeroblob";

/// Whether a statement may do this; `own` are the names of the program's functions.
pub(super) fn decide(action: &AuthAction<'_>, own: &[&str]) -> Authorization {
    let allowed = match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => {
            let mut known = FUNCTIONS.split(' ').chain(own.iter().copied());
            known.any(|known| known.eq_ignore_ascii_case(function_name))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn decide_function(function_name: &str) -> Authorization {
        decide(&AuthAction::Function { function_name }, &["own"])
    }

    #[test]
    fn functions_are_listed() {
        assert!(FUNCTIONS.split(' ').is_sorted());
        assert_eq!(decide_function("SUBSTR"), Authorization::Allow);
        assert_eq!(decide_function("own"), Authorization::Allow);
        let refused = ["load_extension", "fts3_tokenizer", "readfile", "sqlite_log", "edit"];
        for name in refused {
            assert_eq!(decide_function(name), Authorization::Deny, "{name}");
        }
    }

    /// Each function of the bundled SQLite is allowed or one of these.
    #[test]
    fn every_function_of_sqlite_was_considered() {
        let refused = [
            "bm25",
            "changes",
            "fts3_tokenizer",
            "fts5",
            "fts5_get_locale",
            "fts5_insttoken",
            "fts5_locale",
            "fts5_source_id",
            "highlight",
            "last_insert_rowid",
            "load_extension",
            "match",
            "matchinfo",
            "offsets",
            "optimize",
            "rtreecheck",
            "rtreedepth",
            "rtreenode",
            "snippet",
            "sqlite_log",
            "sqlite_offset",
            "total_changes",
        ];
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut names =
            connection.prepare("SELECT DISTINCT name FROM pragma_function_list").unwrap();
        let names = names.query_map([], |row| row.get(0)).unwrap();
        for name in names.map(Result::<String, _>::unwrap) {
            let allowed = decide_function(&name) == Authorization::Allow;
            assert!(allowed != refused.contains(&name.as_str()), "{name}");
        }
    }
}
