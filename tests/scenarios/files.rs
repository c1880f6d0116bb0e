//! File integrity through the daemon.

use bygone_tests::{Daemon, sql_rows, wait_until};
use serde_json::json;
use tempfile::TempDir;

#[test]
fn changes_to_watched_files_are_rows() {
    let folder = TempDir::new().unwrap();
    let watched = folder.path().join("watched");
    std::fs::create_dir(&watched).unwrap();
    let config = format!(
        "[process]\nenabled = false\n[file.categories]\nmine = [\"{}/%%\"]\n",
        watched.display()
    );
    let daemon = Daemon::start_in(&folder.path().join("data"), &config);
    let deep = watched.join("a/b/c");
    std::fs::create_dir_all(&deep).unwrap();
    let file = deep.join("file");
    std::fs::write(&file, "text").unwrap();
    let moved = watched.join("moved");
    std::fs::rename(&file, &moved).unwrap();
    std::fs::remove_file(&moved).unwrap();
    let statement = format!(
        "SELECT action FROM file_events WHERE category = 'mine' AND target_path IN ('{}', '{}') \
         AND action IN ('CREATED', 'MOVED_TO', 'DELETED') ORDER BY time_ns, eid",
        file.display(),
        moved.display()
    );
    let last = wait_until("the file's end is visible", || {
        let rows = sql_rows(daemon.data_dir(), &statement);
        rows.iter().any(|row| row["action"] == "DELETED").then_some(rows)
    });
    assert_eq!(last.last(), Some(&json!({ "action": "DELETED" })));
    assert!(last.contains(&json!({ "action": "MOVED_TO" })) || last.len() == 2, "{last:?}");
}

#[test]
fn a_data_folder_of_any_name_is_left_out_of_what_is_watched() {
    let folder = TempDir::new().unwrap();
    let watched = folder.path().join("watched");
    std::fs::create_dir_all(watched.join("below")).unwrap();
    let config = format!(
        "[process]\nenabled = false\n[file.categories]\nmine = [\"{}/%%\"]\n",
        watched.display()
    );
    let data_dir = watched.join("below/../100%%-data");
    let daemon = Daemon::start_in(&data_dir, &config);
    std::fs::write(watched.join("file"), "text").unwrap();
    let statement = "SELECT count(*) > 0 AS there, \
                     coalesce(sum(target_path LIKE '%/100%-data/%'), 0) AS own FROM file_events";
    wait_until("the file is visible", || {
        (sql_rows(daemon.data_dir(), statement) == [json!({ "there": 1, "own": 0 })]).then_some(())
    });
}
