//! What rules leave out, by the programs in the kernel.

use std::io::Read as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::super::ProcessEbpfConfig;
use super::super::decode::Decoded;
use super::harness::{Recorded, attach, quiet, record, run, sleeper, storm, words};
use crate::events::{Action, CollectorEvent, ProcessEvent, ProcessKey};
use crate::host::exclude::Exclusions;
use crate::publish::selection::Selection;

/// A copy of a program in a folder of its own, so that nobody else runs it.
fn copy(folder: &Path, of: &str, name: &str) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let copy = folder.canonicalize().unwrap().join(name);
    std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
    std::fs::copy(of, &copy).unwrap();
    copy
}

fn excluding(exclusions: Exclusions) -> ProcessEbpfConfig {
    let selection = Selection { exclusions, rate_limit: 0 };
    ProcessEbpfConfig { selection, ..ProcessEbpfConfig::default() }
}

fn list(paths: &[&str]) -> Vec<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

fn paths(paths: &[&str]) -> Exclusions {
    Exclusions::new(&list(paths), &[], &[], &[]).unwrap()
}

impl Recorded {
    /// Execs of a process, its exits and its forks.
    fn rows(&self, pid: u32) -> (usize, usize, usize) {
        let execs = self.execs.iter().filter(|exec| exec.process.pid == pid).count();
        let exits = self.exits.iter().filter(|exit| exit.process.pid == pid).count();
        let forks = self.forks.iter().filter(|fork| fork.caller.pid == pid).count();
        (execs, exits, forks)
    }

    /// How many events of a class rules left out.
    fn excluded(&self, class: &str) -> u64 {
        let of = |event: &CollectorEvent| match event {
            CollectorEvent::Ledger(entry) if entry.class == class => {
                assert!(entry.excluded <= entry.filtered);
                entry.excluded
            }
            _ => 0,
        };
        self.collector.iter().map(of).sum()
    }

    /// What was stored is in the books as stored, and nothing was lost.
    fn balanced(&self) {
        let stored = [
            ("exec", self.execs.iter().filter(|exec| !exec.snapshot).count()),
            ("fork", self.forks.len()),
            ("exit", self.exits.len()),
        ];
        for (class, rows) in stored {
            let (seen, stored, lost) = self.ledger(class);
            assert_eq!((stored, lost), (rows as u64, 0), "{class}");
            assert!(seen >= stored + self.excluded(class), "{class}");
        }
        assert_eq!(self.gaps(), Vec::<&CollectorEvent>::new());
    }
}

#[test]
fn a_program_is_left_out_by_its_path_and_others_beside_it_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let exact = copy(folder.path(), "/bin/true", "bin/tool");
    let beside = copy(folder.path(), "/bin/true", "bin/tool2");
    let below = copy(folder.path(), "/bin/true", "opt/build/deep/down/cc");
    let other = copy(folder.path(), "/bin/true", "opt/builder/cc");
    let prefix = format!("{}/opt/build/%%", folder.path().canonicalize().unwrap().display());
    let count = storm(100);
    let config = excluding(paths(&[exact.to_str().unwrap(), &prefix]));
    let work = || {
        let of =
            |path: &Path| -> Vec<u32> { (0..count).map(|_| run(&mut quiet(path)).0).collect() };
        [of(&exact), of(&below), of(&beside), of(&other)]
    };
    let Some((recorded, [exact, below, beside, other])) = record(&config, work) else {
        return;
    };
    for pid in exact.iter().chain(&below) {
        assert_eq!(recorded.rows(*pid), (0, 0, 0));
        let made = recorded.forks.iter().filter(|fork| fork.process.pid == *pid).count();
        assert_eq!(made, 1, "the fork is its creator's");
    }
    for pid in beside.iter().chain(&other) {
        assert_eq!(recorded.rows(*pid), (1, 1, 0));
    }
    let both = 2 * count as u64;
    for (class, expected) in [("exec", both), ("exit", both), ("fork", 0)] {
        assert_eq!(recorded.excluded(class), expected, "{class}");
    }
    recorded.balanced();
}

#[test]
fn a_long_path_is_compared_whole() {
    let folder = tempfile::tempdir().unwrap();
    let name = "n".repeat(60);
    let deep = format!("{name}/{name}/{name}/tool");
    let path = copy(folder.path(), "/bin/true", &deep);
    // Differs from the other in its first component only, at the far end of the comparison.
    let other = copy(&folder.path().join("other"), "/bin/true", &deep);
    let below = format!("{}/%%", path.parent().unwrap().display());
    for rule in [path.to_str().unwrap(), &below] {
        let work = || (run(&mut quiet(&path)).0, run(&mut quiet(&other)).0);
        let Some((recorded, (left_out, told))) = record(&excluding(paths(&[rule])), work) else {
            return;
        };
        assert_eq!((recorded.rows(left_out), recorded.rows(told)), ((0, 0, 0), (1, 1, 0)));
    }
}

#[test]
fn what_an_excluded_program_forks_and_does_is_left_out_until_it_starts_another() {
    let folder = tempfile::tempdir().unwrap();
    let shell = copy(folder.path(), "/bin/sh", "shell");
    let config = excluding(paths(&[shell.to_str().unwrap()]));
    let victim = |pid: u32| format!("(kill -TERM {pid}; true); /bin/echo x; exec /bin/echo y");
    let work = || {
        let mut sleeper = sleeper();
        let mut command = quiet(&shell);
        let (pid, status) = run(command.args(["-c", &victim(sleeper.id())]));
        assert!(status.success());
        sleeper.wait().unwrap();
        (pid, sleeper.id())
    };
    let Some((recorded, (pid, killed))) = record(&config, work) else {
        return;
    };
    // Neither the subshell nor the process that became the first echo are told to have been forked.
    let (execs, exits, forks) = recorded.rows(pid);
    assert_eq!((execs, exits, forks), (1, 1, 0), "the second echo and its end");
    let second = recorded.exec(pid);
    assert!(second.path.as_deref().is_some_and(|path| path.ends_with("/echo")), "{second:?}");
    let first: Vec<_> = recorded
        .execs
        .iter()
        .filter(|exec| exec.parent == Some(second.process) && exec.process.pid != pid)
        .collect();
    let [first] = first.as_slice() else { panic!("{first:?}") };
    assert_eq!(first.parent_path, None, "nothing is known of what its parent runs");
    assert!(recorded.exit(first.process).exit_code == Some(0));
    let is_kill = |action: &&crate::events::ActionEvent| {
        matches!(&action.action, Action::Signal(signal)
            if signal.target.process.is_some_and(|target| target.pid == killed))
    };
    assert_eq!(recorded.actions.iter().filter(is_kill).count(), 0);
    assert_eq!(recorded.excluded("signal"), 1);
    assert_eq!(recorded.excluded("fork"), 2);
    assert_eq!(recorded.excluded("exec"), 1);
    assert_eq!(recorded.excluded("exit"), 1, "that of the subshell");
    recorded.balanced();
}

#[test]
fn users_are_left_out_by_their_real_id() {
    const USER: u32 = 54_321;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let config = excluding(Exclusions::new(&[], &[], &[USER], &[]).unwrap());
    let work = || {
        let own = run(&mut quiet("/bin/true")).0;
        (own, run(quiet("/bin/true").uid(USER)).0, run(quiet("/bin/true").uid(USER + 1)).0)
    };
    let Some((recorded, (own, excluded, other))) = record(&config, work) else {
        return;
    };
    assert_eq!((recorded.rows(own), recorded.rows(other)), ((1, 1, 0), (1, 1, 0)));
    assert_eq!(recorded.rows(excluded), (0, 0, 0));
    assert_eq!((recorded.excluded("exec"), recorded.excluded("exit")), (1, 1));
    recorded.balanced();
}

#[test]
fn what_an_excluded_parent_starts_is_left_out_and_what_that_starts_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let parent = copy(folder.path(), "/bin/sh", "parent");
    let exclusions = Exclusions::new(&[], &list(&[parent.to_str().unwrap()]), &[], &[]).unwrap();
    // Grandchildren need a shell that does not replace itself.
    let script = "/bin/sh -c '/bin/echo of-the-grandchild; true'; /bin/true; true";
    let work = || run(quiet(&parent).args(["-c", script])).0;
    let Some((recorded, pid)) = record(&excluding(exclusions), work) else {
        return;
    };
    let own = recorded.exec(pid);
    assert_eq!(recorded.rows(pid), (1, 1, 2), "itself and what it forks are recorded");
    let children = |exec: &&crate::events::ExecEvent| exec.parent == Some(own.process);
    assert_eq!(recorded.execs.iter().filter(children).count(), 0);
    let is_grandchild = |exec: &&crate::events::ExecEvent| {
        !exec.snapshot && words(exec).get(1).is_some_and(|word| word == b"of-the-grandchild")
    };
    assert_eq!(recorded.execs.iter().filter(is_grandchild).count(), 1);
    assert_eq!(recorded.excluded("exec"), 2);
    recorded.balanced();
}

/// A cgroup of the host's hierarchy.
struct Cgroup {
    path: PathBuf,
    /// Where the hierarchy was mounted for it.
    mounted: Option<tempfile::TempDir>,
}

impl Cgroup {
    /// `None` where none can be made.
    fn new(name: &str) -> Option<Self> {
        use rustix::mount::{MountFlags, mount};
        let places = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let place =
            places.map(PathBuf::from).into_iter().find(|place| place.join("cgroup.procs").exists());
        let (root, mounted) = match place {
            Some(root) => (root, None),
            None => {
                let folder = tempfile::tempdir().ok()?;
                mount("cgroup2", folder.path(), "cgroup2", MountFlags::empty(), None).ok()?;
                (folder.path().to_owned(), Some(folder))
            }
        };
        let path = root.join(name);
        std::fs::create_dir(&path).ok()?;
        Some(Self { path, mounted })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // One that stays is empty and does no harm.
        let _removed = std::fs::remove_dir(&self.path);
        if let Some(folder) = &self.mounted {
            let flags = rustix::mount::UnmountFlags::DETACH;
            rustix::mount::unmount(folder.path(), flags).expect("it was mounted");
        }
    }
}

#[test]
fn programs_in_an_excluded_cgroup_are_left_out() {
    let name = format!("bygone-test-{}", std::process::id());
    let Some(cgroup) = Cgroup::new(&name) else {
        assert!(std::env::var_os("CI").is_none(), "no cgroup can be made");
        return;
    };
    let exclusions = Exclusions::new(&[], &[], &[], &[format!("/{name}/%%")]).unwrap();
    let script = format!("echo $$ > {}/cgroup.procs; exec /bin/echo inside", cgroup.path.display());
    let work = || {
        let inside = run(quiet("/bin/sh").args(["-c", &script]));
        assert!(inside.1.success());
        (inside.0, run(&mut quiet("/bin/true")).0)
    };
    let Some((recorded, (inside, outside))) = record(&excluding(exclusions), work) else {
        return;
    };
    assert_eq!(recorded.rows(outside), (1, 1, 0));
    // It was recorded before it went in, and its end is not.
    assert_eq!(recorded.rows(inside), (1, 0, 0));
    assert!(recorded.exec(inside).path.as_deref().is_some_and(|path| !path.ends_with("/echo")));
    assert_eq!((recorded.excluded("exec"), recorded.excluded("exit")), (1, 1));
    recorded.balanced();
}

/// Something that runs already, in a copy of `sleep`; it is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().expect("it is our child");
        self.0.wait().expect("it is our child");
    }
}

fn running(program: &Path) -> Running {
    let mut command = Command::new(program);
    let child = command.arg("3600").stdin(Stdio::null()).spawn().unwrap();
    let name = format!("/proc/{}/exe", child.id());
    while std::fs::read_link(&name).is_ok_and(|path| path != program) {
        std::thread::yield_now();
    }
    Running(child)
}

#[test]
fn what_runs_already_is_compared_too() {
    let folder = tempfile::tempdir().unwrap();
    let excluded = copy(folder.path(), "/bin/sleep", "excluded");
    let told = copy(folder.path(), "/bin/sleep", "told");
    let sleepers = [running(&excluded), running(&told)];
    let pids = sleepers.each_ref().map(|running| running.0.id());
    let config = excluding(paths(&[excluded.to_str().unwrap()]));
    let Some((recorded, ())) = record(&config, || drop(sleepers)) else {
        return;
    };
    assert_eq!(recorded.rows(pids[0]), (0, 0, 0));
    assert_eq!(recorded.rows(pids[1]), (1, 1, 0));
    assert_eq!(recorded.excluded("exit"), 1);
    recorded.balanced();
}

#[test]
fn a_process_that_comes_to_be_left_out_is_not_found_missing() {
    let folder = tempfile::tempdir().unwrap();
    let tool = copy(folder.path(), "/bin/true", "tool");
    let Some(mut source) = attach(&excluding(paths(&[tool.to_str().unwrap()]))) else {
        return;
    };
    let mut pids = Vec::new();
    for _ in 0..3 {
        pids.push(run(&mut quiet(&tool)).0);
    }
    let mut told: Vec<ProcessKey> = Vec::new();
    while let Some(item) = source.attached.ring.next() {
        let record = super::super::decode::decode(&item, 0).unwrap();
        if let Decoded::LeftOut(process) = record.event {
            told.push(process);
        }
    }
    let told: Vec<u32> = told.iter().map(|process| process.pid).collect();
    assert_eq!(told, pids);
}

/// Who was recorded and takes up another user without starting a program stays recorded, whoever looks.
#[test]
fn a_later_look_leaves_nobody_out() {
    const USER: u32 = 54_322;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let config = excluding(Exclusions::new(&[], &[], &[USER], &[]).unwrap());
    let Some(mut source) = attach(&config) else {
        return;
    };
    let program = format!("import os; os.setuid({USER}); print(flush=True); input()");
    let mut child = Command::new("python3")
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0];
    child.stdout.take().unwrap().read_exact(&mut line).unwrap();
    source.attached.iterator.as_mut().unwrap().run().unwrap();
    drop(child.stdin.take());
    child.wait().unwrap();
    let (mut looked_at, mut ended) = (false, false);
    while let Some(item) = source.attached.ring.next() {
        match super::super::decode::decode(&item, 0).unwrap().event {
            Decoded::LeftOut(process) => assert_ne!(process.pid, child.id()),
            Decoded::Life(ProcessEvent::Exec(exec)) if exec.snapshot => {
                looked_at |= exec.process.pid == child.id();
            }
            Decoded::Life(ProcessEvent::Exit(exit)) => ended |= exit.process.pid == child.id(),
            _ => {}
        }
    }
    assert!(looked_at && ended);
}

#[test]
fn as_many_rules_as_there_may_be_are_taken_by_the_kernel() {
    let folder = tempfile::tempdir().unwrap();
    let tool = copy(folder.path(), "/bin/true", "tool");
    let many = |count: usize| -> Vec<String> {
        let of = |number| format!("{}/{number}/%%", "/long-name".repeat(20));
        (0..count).map(of).collect()
    };
    let mut programs = many(31);
    programs.push(tool.to_str().unwrap().to_owned());
    let users: Vec<u32> = (100_000..100_064).collect();
    let exclusions = Exclusions::new(&programs, &many(16), &users, &many(16)).unwrap();
    let config = excluding(exclusions);
    let Some(source) = attach(&config) else {
        return;
    };
    for program in source.attached.program_counts() {
        let name = program.name();
        println!("program {name} with rules: {:?} instructions verified", program.verified);
        assert!(program.verified.is_none_or(|verified| verified < 500_000), "{name}");
    }
    drop(source);
    let work = || (run(&mut quiet(&tool)).0, run(&mut quiet("/bin/true")).0);
    let (recorded, (left_out, told)) = record(&config, work).unwrap();
    assert_eq!((recorded.rows(left_out), recorded.rows(told)), ((0, 0, 0), (1, 1, 0)));
    recorded.balanced();
}
