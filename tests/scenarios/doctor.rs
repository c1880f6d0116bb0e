//! What `bygone doctor` says.

use std::path::Path;
use std::process::Command;

use bygone_tests::{Daemon, bygone, bygone_as_nobody, requires_bpf, requires_connector};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The report of `command` on a folder with a configuration.
fn report(mut command: Command, data_dir: &Path, config: &str) -> Value {
    let config_file = data_dir.with_extension("doctor.toml");
    std::fs::write(&config_file, config).unwrap();
    command.args(["doctor", "-o", "json", "--data-dir"]).arg(data_dir);
    let output = command.arg("--config").arg(config_file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What is said of a kind of event.
fn kind<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let kinds = report["events"].as_array().unwrap();
    kinds.iter().find(|event| event["kind"] == kind).unwrap()
}

/// The sources that are refused, with whether each says why.
fn refused(event: &Value) -> Vec<&str> {
    let refused = event["refused"].as_array().unwrap();
    assert!(refused.iter().all(|refusal| !refusal["reason"].as_str().unwrap().is_empty()));
    refused.iter().map(|refusal| refusal["source"].as_str().unwrap()).collect()
}

#[test]
fn it_names_the_tier_its_buffer_and_what_was_lost() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    let config =
        "[process]\nring_bytes = \"1MiB\"\nbulk_bytes = \"1MiB\"\n[file]\nenabled = false\n";
    let before = report(bygone(), &data_dir, config);
    assert_eq!(before["losses"], json!(null));
    let stopped = Daemon::start_in(&data_dir, config).stop();
    assert!(stopped.status.success(), "{}", stopped.log);
    let report = report(bygone(), &data_dir, config);
    let exec = kind(&report, "exec");
    assert_eq!((&exec["source"], &exec["blind_to"]), (&json!("process_ebpf"), &json!("")));
    assert_eq!(exec["buffer_bytes"], 2 << 20);
    assert!(refused(exec).is_empty());
    let file = kind(&report, "file");
    assert_eq!((&file["source"], refused(file)), (&json!(null), vec![""]));
    let losses = report["losses"].as_array().unwrap();
    let of_processes = losses.iter().find(|of| of["source"] == "process_ebpf").unwrap();
    assert!(of_processes["seen"].as_u64().unwrap() > 0, "{of_processes}");
    let count = |name: &str| of_processes[name].as_u64().unwrap();
    let of_all = ["stored", "filtered", "merged", "lost"].map(count);
    assert_eq!(count("seen"), of_all.iter().sum::<u64>(), "{of_processes}");
}

#[test]
fn each_tier_that_is_chosen_says_so_and_what_it_misses() {
    if !requires_connector() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let data_dir = folder.path().join("data");
    for (tier, source) in [("connector", "process_connector"), ("scan", "process_scan")] {
        let config = format!("[process]\ntier = \"{tier}\"\n[file]\nenabled = false\n");
        let report = report(bygone(), &data_dir, &config);
        let exec = kind(&report, "exec");
        assert_eq!(exec["source"], source);
        assert!(exec["blind_to"] != "", "{exec}");
        let reason = exec["reason"].as_str().unwrap();
        assert!(reason.contains(&format!("tier = \"{tier}\"")), "{reason}");
        assert_eq!(exec["buffer_bytes"].is_null(), tier == "scan");
        let fork = kind(&report, "fork");
        assert_eq!(fork["source"].is_null(), tier == "scan", "{fork}");
    }
}

#[test]
fn without_rights_it_says_which_are_missing_and_what_is_left() {
    if !requires_bpf() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let report = report(bygone_as_nobody(folder.path()), &folder.path().join("data"), "");
    let exec = kind(&report, "exec");
    assert!(exec["source"].as_str().unwrap().starts_with("process_"), "{exec}");
    assert!(exec["blind_to"].as_str().unwrap().contains("other users"), "{exec}");
    assert_eq!(refused(exec)[0], "process_ebpf");
    assert!(exec["refused"][0]["fix"].as_str().unwrap().contains("CAP_BPF"), "{exec}");
    let rights = report["rights"].as_array().unwrap();
    for (source, name) in [
        ("process_ebpf", "CAP_BPF"),
        ("process_ebpf", "CAP_PERFMON"),
        ("process_connector", "CAP_NET_ADMIN"),
        ("process_scan", "CAP_SYS_PTRACE"),
    ] {
        let is_it = |right: &&Value| right["source"] == source && right["name"] == name;
        assert_eq!(rights.iter().find(is_it).unwrap()["have"], false, "{source}: {name}");
    }
}
