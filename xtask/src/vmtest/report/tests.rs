//! Tests of the judgement: above all, of what must not look green.

use super::super::kernels::KERNELS;
use super::*;

const GREEN: &str = r#"
@@ begin kernel
6.1.0-50-cloud-amd64
@@ end kernel 0
@@ begin preemption
none (voluntary) full
@@ end preemption 0
@@ begin doctor
{ "events": [
  { "kind": "exec", "source": "process_ebpf", "tier": "btf_tracepoint" },
  { "kind": "exit", "source": "process_ebpf", "tier": "btf_tracepoint" },
  { "kind": "file", "source": "file_inotify", "tier": "inotify" } ] }
@@ end doctor 0
@@ begin live
test publish::live_tests::a_storm_is_recorded_whole ... ok
test publish::live_tests::signals_show_at_the_exit ... ok
program exec: 28735 instructions verified, 0 ns a run
program fork: unknown instructions verified, 0 ns a run
test result: ok. 2 passed; 0 failed; 0 ignored
@@ end live 0
@@ begin scenarios
test files::a_file ... ok
test result: ok. 1 passed; 0 failed; 0 ignored
@@ end scenarios 0
@@ begin machine
test machine::processes_are_told_apart ... ok
test result: ok. 1 passed; 0 failed; 0 ignored
@@ end machine 0
@@ done
"#;

fn judge_text(text: &str, preempt_full: bool) -> Verdict {
    let kernel = KERNELS.iter().find(|kernel| kernel.name == "6.1").unwrap();
    judge("6.1".to_owned(), &serial::parse(text), kernel, preempt_full)
}

/// The faults after `from` was replaced.
fn faults(from: &str, to: &str) -> Vec<String> {
    assert!(GREEN.contains(from), "{from}");
    judge_text(&GREEN.replace(from, to), false).faults
}

#[test]
fn a_machine_that_did_all_is_green() {
    let verdict = judge_text(GREEN, false);
    assert_eq!(verdict.faults, Vec::<String>::new());
    assert_eq!(verdict.programs, [("exec".into(), Some(28_735)), ("fork".into(), None)]);
    let matrix = matrix(&[verdict]);
    assert_eq!(
        matrix,
        "\ntiers and tests\n  \
         kernel  exec                      exit                      file\n  \
         6.1     btf_tracepoint, 2 passed  btf_tracepoint, 3 passed  inotify, 1 passed  green"
    );
}

#[test]
fn programs_are_shown_by_kernel() {
    let verdicts = [judge_text(GREEN, false), Verdict::failed("5.10".into(), "no boot".into())];
    assert_eq!(
        programs(&verdicts),
        "\ninstructions verified (limit 500000)\n  \
         program  6.1       5.10\n  \
         exec     28735     -\n  \
         fork     not told  -"
    );
    assert!(matrix(&verdicts).ends_with(
        "5.10    -                         -                         -                  RED"
    ));
}

#[test]
fn nothing_that_is_absent_is_green() {
    for end in 0..GREEN.len() - "\n@@ done\n".len() {
        let verdict = judge_text(&GREEN[..end], false);
        assert!(!verdict.is_green(), "{}", &GREEN[..end]);
    }
    for line in GREEN.lines().filter(|line| line.starts_with("@@") && !line.contains("preemption"))
    {
        assert_ne!(faults(line, ""), Vec::<String>::new(), "{line}");
    }
}

#[test]
fn another_kernel_is_not_the_one_asked_for() {
    assert_eq!(faults("6.1.0-50", "6.12.9-1"), ["it ran the kernel `6.12.9-1-cloud-amd64`"]);
}

#[test]
fn preemption_must_be_what_was_asked_for() {
    let verdict = judge_text(GREEN, true);
    assert_eq!(verdict.faults, ["its preemption is `none (voluntary) full`"]);
    let full = GREEN.replace("(voluntary) full", "voluntary (full)");
    assert!(judge_text(&full, true).is_green());
}

#[test]
fn a_failed_test_is_named() {
    let text = GREEN
        .replace("signals_show_at_the_exit ... ok", "signals_show_at_the_exit ... FAILED")
        .replace("end live 0", "end live 101");
    let verdict = judge_text(&text, false);
    assert_eq!(verdict.faults, ["the part `live` ended with status 101"]);
    assert!(verdict.text().contains("FAILED publish::live_tests::signals_show_at_the_exit"));
    assert!(matrix(&[verdict]).contains("btf_tracepoint, 1 of 3 FAILED"));
}

#[test]
fn a_run_without_tests_is_a_fault() {
    let without = faults("test files::a_file ... ok\n", "");
    assert_eq!(without, ["no test ran in the part `scenarios`"]);
}

#[test]
fn a_program_above_the_limit_is_a_fault() {
    assert_eq!(faults("28735", "500001"), ["the program `exec` is above 500000"]);
    assert!(faults("28735", "500000").is_empty());
    let unknown = GREEN.replace("program ", "");
    let verdict = judge_text(&unknown, false);
    assert_eq!(verdict.faults, ["nothing is known of the programs in the kernel"]);
}

#[test]
fn a_kind_that_is_not_recorded_is_a_fault() {
    let without = faults(r#""tier": "inotify""#, r#""tier": null"#);
    assert_eq!(without, ["no event of the kind `file` can be recorded"]);
    let broken = faults(r#""kind": "exec""#, "");
    assert_eq!(broken, ["the program did not say what it can record"]);
}

#[test]
fn tests_belong_to_kinds() {
    assert_eq!(kinds_of("files::renames"), ["file"]);
    assert_eq!(kinds_of("publish::live_tests::eight_threads_end_in_one_exit"), ["exit"]);
    assert_eq!(kinds_of("markers::every_short_process"), PROCESS_KINDS);
}

#[test]
fn a_machine_that_was_started_twice_is_told_from_one_that_was_not() {
    let verdict = Verdict { is_second: true, ..Verdict::default() };
    assert!(matrix(&[verdict]).contains("green (second try)"));
    assert!(!matrix(&[Verdict::default()]).contains("second"));
}
