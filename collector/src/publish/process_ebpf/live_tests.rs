//! Tests against the running kernel. They need the right to load programs into it: without it they
//! fail where `CI` is set, and say elsewhere that they were skipped.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;

use self::harness::{Recorded, attach, quiet, record, run, sleeper, storm, words};
use super::decode::{Decoded, decode};
use super::{ProcessEbpf, ProcessEbpfConfig, SparePrograms};
use crate::events::{CollectorEvent, ExecEvent, ProcessEvent, ProcessKey};
use crate::host::proc::Stat;
use crate::publish::{CHANNEL_BATCHES_MAX, Publisher, Stop};

mod actions;
mod audit;
mod context;
mod filters;
pub(super) mod harness;
mod images;

/// Runs this very test program again, to do what [`helper`] does for `what`.
fn own_helper(what: &str) -> Command {
    let mut command = quiet(std::env::current_exe().unwrap());
    let name = concat!(module_path!(), "::helper");
    let name = name.split_once("::").unwrap().1;
    command.args(["--exact", name, "--nocapture"]).env("BYGONE_TEST_HELPER", what);
    command
}

/// Not a test of its own: what the other tests run in a process of its own.
#[test]
fn helper() {
    let Ok(what) = std::env::var("BYGONE_TEST_HELPER") else {
        return;
    };
    let parked = || {
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        })
    };
    match what.as_str() {
        "eight threads" => {
            let _threads: Vec<_> = (0..8).map(|_| parked()).collect();
            #[expect(clippy::exit, reason = "all threads at once is what is tested")]
            std::process::exit(7);
        }
        "busy" => {
            let spin = || {
                let cpu = rustix::time::ClockId::ThreadCPUTime;
                while rustix::time::clock_gettime(cpu).tv_nsec < 100_000_000 {
                    std::hint::spin_loop();
                }
            };
            let other = std::thread::spawn(spin);
            spin();
            other.join().unwrap();
        }
        other => panic!("no such helper: {other}"),
    }
}

/// Records processes that four threads start as fast as they can: all of them, and each once.
fn a_storm_is_recorded_whole(spare_programs: SparePrograms, count: usize) {
    // Tests that run beside this one start such processes, too.
    let marker = &format!("marker {spare_programs:?} ");
    let work = || {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for number in (thread..count).step_by(4) {
                        let marker = format!("{marker}{number}");
                        assert!(run(quiet("/bin/echo").arg(marker)).1.success());
                    }
                });
            }
        });
    };
    let config = ProcessEbpfConfig { spare_programs, ..ProcessEbpfConfig::default() };
    let Some((recorded, ())) = record(&config, work) else {
        return;
    };
    let marked: Vec<_> = recorded
        .execs
        .iter()
        .filter(|exec| {
            exec.parent.is_some_and(|parent| parent.pid == std::process::id())
                && words(exec).get(1).is_some_and(|word| word.starts_with(marker.as_bytes()))
        })
        .collect();
    let distinct: HashSet<_> = marked.iter().map(|exec| &exec.arguments).collect();
    assert_eq!((marked.len(), distinct.len()), (count, count));
    for exec in marked {
        let exit = recorded.exit(exec.process);
        assert_eq!((exit.exit_code, exit.signal), (Some(0), None));
        assert_eq!(exit.path, exec.path);
        assert!(exit.time_ns > exec.time_ns);
        assert_eq!(exit.parent, exec.parent);
        let forks = recorded.forks.iter().filter(|fork| fork.process == exec.process);
        assert_eq!(forks.count(), 1);
    }
    assert_eq!(recorded.gaps(), Vec::<&CollectorEvent>::new());
    for class in ["exec", "fork", "exit"] {
        let (seen, stored, lost) = recorded.ledger(class);
        assert!(seen >= count as u64, "{class}: {seen}");
        assert_eq!((seen, 0), (stored, lost), "{class}");
        assert_eq!(recorded.missed(class), 0, "{class}");
    }
    assert!(recorded.watermarks.is_sorted());
}

#[test]
fn a_storm_is_recorded_whole_where_the_kernel_may_skip_programs_or_not() {
    a_storm_is_recorded_whole(SparePrograms::WhereNeeded, storm(1000));
}

#[test]
fn spare_programs_leave_alone_what_the_first_took() {
    a_storm_is_recorded_whole(SparePrograms::Always, storm(400));
}

#[test]
fn spare_programs_do_all_that_the_first_did_not() {
    if SparePrograms::WhereNeeded.are_wanted() {
        // There the kernel skips these, too; every other storm needs all of them.
        return;
    }
    a_storm_is_recorded_whole(SparePrograms::Alone, storm(400));
}

fn eight_threads(config: &ProcessEbpfConfig, count: usize) {
    let work = || -> Vec<u32> {
        (0..count)
            .map(|_| {
                let (pid, status) = run(&mut own_helper("eight threads"));
                assert_eq!(status.code(), Some(7));
                pid
            })
            .collect()
    };
    let Some((recorded, pids)) = record(config, work) else {
        return;
    };
    let mut exits: HashMap<ProcessKey, u32> = HashMap::new();
    for exit in &recorded.exits {
        *exits.entry(exit.process).or_default() += 1;
    }
    assert!(exits.values().all(|count| *count == 1), "more than one exit of a process");
    for pid in pids {
        assert_eq!(recorded.exit(recorded.exec(pid).process).exit_code, Some(7));
    }
    assert_eq!(recorded.ledger("exit").0, recorded.exits.len() as u64);
}

#[test]
fn eight_threads_end_in_one_exit() {
    eight_threads(&ProcessEbpfConfig::default(), storm(200));
}

#[test]
fn eight_threads_end_in_one_exit_where_the_kernel_does_not_say_which_was_last() {
    let config = ProcessEbpfConfig { force_exit_fallback: true, ..ProcessEbpfConfig::default() };
    eight_threads(&config, storm(200));
}

#[test]
fn signals_show_at_the_exit() {
    let work = || {
        let of = |signal: &str| run(quiet("/bin/sh").args(["-c", &format!("kill -{signal} $$")]));
        (of("SEGV"), of("KILL"), run(quiet("/bin/sh").args(["-c", "exit 3"])))
    };
    let Some((recorded, (segv, kill, three))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    let exit = |(pid, _): (u32, _)| recorded.exit(recorded.exec(pid).process);
    assert_eq!((exit(segv).signal, exit(segv).exit_code), (Some(11), None));
    assert_eq!(exit(segv).core_dumped, Some(segv.1.core_dumped()));
    assert_eq!((exit(kill).signal, exit(kill).exit_code), (Some(9), None));
    assert_eq!(exit(kill).core_dumped, Some(false));
    assert_eq!((exit(three).signal, exit(three).exit_code), (None, Some(3)));
}

#[test]
fn a_script_keeps_both_paths() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("a script");
    std::fs::write(&script, "#!/bin/sh\nexit 5\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let work = || run(quiet(&script).arg("x")).0;
    let Some((recorded, pid)) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    let exec = recorded.exec(pid);
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(exec.path.as_deref(), shell.to_str());
    assert_eq!(exec.script_path.as_deref(), script.to_str());
    let name = script.to_str().unwrap().as_bytes().to_vec();
    assert_eq!(words(exec), [b"/bin/sh".to_vec(), name, b"x".to_vec()]);
    assert_eq!(recorded.exit(exec.process).exit_code, Some(5));
}

#[test]
fn arguments_are_exact_or_marked() {
    let many: Vec<Vec<u8>> = (0..30).map(|number| format!("{number}").into_bytes()).collect();
    let odd = vec![b"".to_vec(), b"a\nb".to_vec(), b"\xff\xfe\xc3(".to_vec(), b"".to_vec()];
    let six = vec![vec![b'x'; 6 * 1024]];
    let long = vec![vec![b'y'; 100 * 1024], vec![b'z'; 100 * 1024]];
    // With the environment just below what a stack of 8 MiB allows.
    let longest: Vec<Vec<u8>> = (0..19).map(|number| vec![b'a' + number; 100 * 1024]).collect();
    let lists = [many, odd, six, long, longest];
    let work = || -> Vec<u32> {
        let words = |list: &Vec<Vec<u8>>| -> Vec<_> {
            list.iter().map(|word| OsStr::from_bytes(word).to_owned()).collect()
        };
        lists.iter().map(|list| run(quiet("/bin/true").args(words(list))).0).collect()
    };
    let Some((recorded, pids)) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    for (list, pid) in lists.iter().zip(pids) {
        let exec = recorded.exec(pid);
        let mut expected = vec![b"/bin/true".to_vec()];
        expected.extend(list.iter().cloned());
        let bytes: usize = expected.iter().map(|word| word.len() + 1).sum();
        assert_eq!(exec.arguments_bytes, bytes as u64);
        assert!(words(exec) == expected, "{bytes} bytes of arguments are not exact");
        assert!(exec.arguments.as_ref().unwrap().ends_with(b"\0"));
        assert_eq!((exec.arguments_truncated, exec.arguments_loss), (false, None));
    }
}

#[test]
fn an_exec_tells_who_where_and_what() {
    let folder = tempfile::tempdir().unwrap();
    let work = || run(quiet("/bin/true").current_dir(folder.path())).0;
    let Some((recorded, pid)) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    let exec = recorded.exec(pid);
    let namespace = |name: &str| {
        let target = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        let text = target.to_str().unwrap().to_owned();
        text.split_once('[').unwrap().1.trim_end_matches(']').parse::<u32>().unwrap()
    };
    let namespaces = exec.namespaces.unwrap();
    assert_eq!(namespaces.pid, namespace("pid"));
    assert_eq!(namespaces.mount, namespace("mnt"));
    assert_eq!(namespaces.network, namespace("net"));
    assert_eq!(namespaces.user, namespace("user"));
    assert_eq!(exec.tid, pid);
    assert!(!exec.snapshot && exec.start_exact && !exec.kernel_thread);
    assert_eq!(exec.cwd.as_deref(), folder.path().canonicalize().unwrap().to_str());
    let own = rustix::process::getuid().as_raw();
    let ids = exec.credentials;
    assert_eq!((ids.uid, ids.euid, ids.suid, ids.fsuid), (own, own, own, Some(own)));
    // What init starts without setsid(2) is in session 0, which is none.
    let session = Stat::parse(&std::fs::read("/proc/self/stat").unwrap()).unwrap().session;
    assert_eq!(exec.session_id, (session != 0).then_some(session));
    let path = std::fs::canonicalize("/bin/true").unwrap();
    assert_eq!(exec.path.as_deref(), path.to_str());
    check_file(exec, &path);
    check_surroundings(exec);
    check_fork(&recorded, exec);
}

fn check_file(exec: &ExecEvent, path: &Path) {
    let file = exec.file.unwrap();
    let metadata = std::fs::metadata(path).unwrap();
    assert_eq!((file.device, file.inode), (metadata.dev(), metadata.ino()));
    assert_eq!(file.mode, metadata.mode());
    assert_eq!((file.owner_uid, file.owner_gid), (metadata.uid(), metadata.gid()));
    assert_eq!(file.mtime, Some(metadata.mtime()));
    assert_eq!(file.ctime, Some(metadata.ctime()));
    let ctime_ns = metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec();
    assert_eq!((file.ctime_ns, file.size), (Some(ctime_ns), Some(metadata.len())));
    assert_eq!((file.links, file.in_memory), (u32::try_from(metadata.nlink()).ok(), false));
}

/// Capabilities, terminal and cgroup, which a child has from this process.
fn check_surroundings(exec: &ExecEvent) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let set = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let sets = exec.capabilities.unwrap();
    assert_eq!((sets.permitted, sets.effective), (set("CapPrm:"), set("CapEff:")));
    // The process that a terminal controls can open it by this name.
    assert_eq!(exec.tty.is_some(), std::fs::File::open("/dev/tty").is_ok());
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let of = |wanted: &str| {
        cgroups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            controllers.split(',').any(|one| one == wanted).then(|| path.to_owned())
        })
    };
    let below = |controllers: &str| of(controllers).filter(|path| path != "/");
    let expected = below("").or_else(|| below("pids")).or_else(|| below("memory"));
    let expected = Some(expected.unwrap_or_else(|| "/".to_owned()));
    assert_eq!(exec.cgroup_path, expected);
}

fn check_fork(recorded: &Recorded, exec: &ExecEvent) {
    let found = recorded.forks.iter().find(|fork| fork.process == exec.process);
    let fork = found.expect("every process seen to start was forked");
    assert_eq!(fork.parent, exec.parent);
    assert_eq!(Some(fork.caller), exec.parent);
    assert_eq!(fork.caller.pid, std::process::id());
    let own = std::env::current_exe().unwrap().canonicalize().unwrap();
    assert_eq!(fork.path.as_deref(), own.to_str());
    assert_eq!(fork.namespaces, exec.namespaces);
}

#[test]
fn what_ran_before_is_found_with_its_arguments() {
    let mut sleeper = sleeper();
    let recorded = record(&ProcessEbpfConfig::default(), || {
        sleeper.kill().unwrap();
        sleeper.wait().unwrap()
    });
    if recorded.is_none() {
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
    let Some((recorded, _)) = recorded else {
        return;
    };
    let all: Vec<_> =
        recorded.execs.iter().filter(|exec| exec.process.pid == sleeper.id()).collect();
    assert_eq!(all.len(), 1);
    assert!(all[0].snapshot);
    assert_eq!(recorded.exit(all[0].process).signal, Some(9));
    let kernel: Vec<_> = recorded.execs.iter().filter(|exec| exec.kernel_thread).collect();
    assert!(kernel.iter().all(|exec| exec.path.is_none() && exec.arguments.is_none()));
    let own = recorded.execs.iter().find(|exec| exec.process.pid == std::process::id());
    let own = own.expect("the collector itself is recorded");
    let arguments: Vec<Vec<u8>> =
        std::env::args_os().map(|word| word.as_bytes().to_vec()).collect();
    assert_eq!(words(own), arguments);
    assert!(own.snapshot);
}

#[test]
fn who_is_found_in_the_middle_of_an_exec_is_marked() {
    let mut holder = Command::new("python3");
    holder.args(["-c", include_str!("fixtures/held_in_exec.py")]);
    let mut holder = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let held: u32 = line.trim().parse().unwrap();
    let source = attach(&ProcessEbpfConfig::default());
    drop(holder.stdin.take());
    assert!(holder.wait().unwrap().success());
    let Some(mut source) = source else {
        return;
    };
    let mut in_exec = HashMap::new();
    while let Some(item) = source.attached.ring.next() {
        let record = decode(&item, 0).unwrap();
        if let Decoded::Life(ProcessEvent::Exec(exec)) = record.event {
            in_exec.insert(exec.process.pid, record.in_exec);
        }
    }
    assert_eq!(in_exec.get(&held), Some(&true));
    assert_eq!(in_exec.get(&holder.id()), Some(&false));
}

#[test]
fn paths_are_the_namespaces_across_mounts_and_roots() {
    let folder = tempfile::tempdir().unwrap();
    let folder: PathBuf = folder.path().canonicalize().unwrap();
    let inner = folder.join("a/b");
    std::fs::create_dir_all(&inner).unwrap();
    let script = "mount --bind /bin \"$0\" && exec \"$0/true\"";
    let work =
        || run(quiet("/usr/bin/unshare").args(["--mount", "/bin/sh", "-c", script]).arg(&inner));
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    if !status.success() {
        assert!(std::env::var_os("CI").is_none(), "cannot mount");
        eprintln!("skipped: cannot mount");
        return;
    }
    let last = recorded.execs.iter().rfind(|exec| exec.process.pid == pid).unwrap();
    assert_eq!(last.path.as_deref(), inner.join("true").to_str());
    let others = last.namespaces.unwrap().mount;
    let own = recorded.execs.iter().find(|exec| exec.process.pid == std::process::id()).unwrap();
    assert_ne!(others, own.namespaces.unwrap().mount);
}

#[test]
fn a_mount_taken_away_while_in_use_has_no_root() {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs none \"$0\" && mkdir \"$0/in\" && cp /bin/true \"$0/in/evil\" \
                  && cd \"$0\" && umount -l \"$0\" && exec in/evil";
    let work = || {
        let arguments = ["--mount", "/bin/sh", "-c", script];
        run(quiet("/usr/bin/unshare").args(arguments).arg(folder.path()))
    };
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    if !status.success() {
        assert!(std::env::var_os("CI").is_none(), "cannot mount");
        eprintln!("skipped: cannot mount");
        return;
    }
    let last = recorded.execs.iter().rfind(|exec| exec.process.pid == pid).unwrap();
    assert_eq!((last.path.as_deref(), last.cwd.as_deref()), (Some("in/evil"), None));
}

#[test]
fn a_program_in_memory_has_the_name_it_was_given() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let memory = rustix::fs::memfd_create("bygone test", flags).unwrap();
    let mut file = std::fs::File::from(memory);
    file.write_all(&std::fs::read("/bin/true").unwrap()).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    // The kernel runs no file that is open for writing; a second descriptor is for reading.
    let reader = std::fs::File::open(path).unwrap();
    drop(file);
    let path = format!("/proc/{}/fd/{}", std::process::id(), reader.as_raw_fd());
    let work = || run(&mut quiet(&path));
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success());
    let exec = recorded.exec(pid);
    assert_eq!(exec.path.as_deref(), Some("memfd:bygone test"));
    assert!(exec.file.unwrap().in_memory);
}

#[test]
fn cpu_time_counts_all_threads() {
    let work = || run(&mut own_helper("busy"));
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success());
    let cpu_ns = recorded.exit(recorded.exec(pid).process).cpu_ns.unwrap();
    // Two threads of 100 ms each, less what the scheduler had not yet accounted, and the start of
    // this program, which takes a while where the processor is emulated.
    assert!((180_000_000..2_000_000_000).contains(&cpu_ns), "{cpu_ns} ns");
}

#[test]
fn a_ring_too_small_loses_exactly_what_it_says() {
    let source = attach(&ProcessEbpfConfig { ring_bytes: 4096, ..ProcessEbpfConfig::default() });
    let Some(source) = source else { return };
    // Nobody reads yet: the ring holds a handful of records.
    for _ in 0..100 {
        assert!(run(&mut quiet("/bin/true")).1.success());
    }
    let (sink, batches) = sync_channel(CHANNEL_BATCHES_MAX);
    let stop = Stop::default();
    stop.set();
    Box::new(source).run(&sink, &stop).unwrap();
    drop(sink);
    let mut recorded = Recorded::default();
    batches.into_iter().for_each(|batch| recorded.add(batch));
    // The end of what was watched is where the programs were detached; a nap of 20 ms follows.
    let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let watched_ns = *recorded.watermarks.last().unwrap();
    assert!(i64::try_from(since_epoch).unwrap() - watched_ns >= 20_000_000);
    let mut lost_in_gaps = 0;
    for event in recorded.gaps() {
        let CollectorEvent::Gap(gap) = event else {
            continue;
        };
        lost_in_gaps += gap.lost.unwrap();
        assert!(gap.time_ns < gap.end_ns);
    }
    let classes = ["exec", "fork", "exit"].map(|class| recorded.ledger(class));
    let lost: u64 = classes.iter().map(|(_, _, lost)| lost).sum();
    let stored: u64 = classes.iter().map(|(_, stored, _)| stored).sum();
    assert!(lost > 200, "{lost}");
    assert_eq!(lost, lost_in_gaps);
    let seen_execs = recorded.execs.iter().filter(|exec| !exec.snapshot).count();
    assert_eq!(stored, (seen_execs + recorded.forks.len() + recorded.exits.len()) as u64);
}

#[test]
fn a_ring_of_odd_size_is_refused_in_words() {
    let config = ProcessEbpfConfig { ring_bytes: 5000, ..ProcessEbpfConfig::default() };
    let error = ProcessEbpf::attach(&config).err().unwrap();
    assert!(error.to_string().contains("power of two"), "{error}");
}

#[test]
fn programs_are_far_from_the_verifiers_limit() {
    let Some(source) = attach(&ProcessEbpfConfig::default()) else {
        return;
    };
    for _ in 0..storm(500) {
        assert!(run(&mut quiet("/bin/true")).1.success());
    }
    let counts = source.attached.program_counts();
    // Five for the life of processes, two walks of what ran before, one or three for signals and
    // modules, ten for system calls.
    assert!(counts.len() >= 18, "{}", counts.len());
    for count in counts {
        // Run times are counted only while the sysctl kernel.bpf_stats_enabled is 1.
        let run_ns = count.run_ns.checked_div(count.runs).unwrap_or(0);
        let verified = count.verified.map_or("unknown".to_owned(), |verified| verified.to_string());
        // `cargo xtask vmtest` reads this line.
        println!("program {}: {verified} instructions verified, {run_ns} ns a run", count.name());
        assert!(count.verified.is_none_or(|verified| verified < 500_000), "{count:?}");
        // Where the kernel skips programs, spares do what is skipped.
        let may_be_skipped = SparePrograms::WhereNeeded.are_wanted();
        assert!(count.skipped.is_none_or(|skipped| skipped == 0 || may_be_skipped), "{count:?}");
    }
}
