//! What an exec and an exit tell besides who and what: long texts, the parent, roots, usage.

use std::io::Read as _;
use std::process::Stdio;
use std::sync::mpsc::sync_channel;

use rustix::process::{Pid, WaitOptions, waitpid};

use super::actions::python;
use super::harness::{Recorded, attach, quiet, record, run, sleeper, words};
use crate::events::{ExecEvent, ExitEvent, Noticed};
use crate::host::environment::EnvironmentChoice;
use crate::host::mask::Mask;
use crate::publish::process_ebpf::ProcessEbpfConfig;
use crate::publish::{CHANNEL_BATCHES_MAX, Publisher, Stop};

/// Processes with arguments of almost 2 MiB, many at once: they may lose the rest of their arguments,
/// which they say, and no process loses its record.
#[test]
fn a_storm_of_long_arguments_loses_no_record() {
    const COUNT: usize = 60;
    let list: Vec<String> =
        ('a'..='s').map(|letter| letter.to_string().repeat(100 << 10)).collect();
    let work = || {
        let start = || quiet("/bin/true").args(&list).spawn().unwrap();
        let children: Vec<_> = (0..COUNT).map(|_| start()).collect();
        let end = |mut child: std::process::Child| {
            assert!(child.wait().unwrap().success());
            child.id()
        };
        children.into_iter().map(end).collect::<Vec<u32>>()
    };
    let Some((recorded, pids)) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    let mut cut = 0;
    for pid in pids {
        let exec = recorded.exec(pid);
        assert_eq!(recorded.exit(exec.process).exit_code, Some(0));
        let kept = exec.arguments.as_ref().unwrap();
        assert!(kept.starts_with(format!("/bin/true\0{}", &list[0][..8000]).as_bytes()));
        let whole = kept.len() as u64 == exec.arguments_bytes;
        assert_eq!(exec.arguments_truncated, !whole);
        assert_eq!(exec.arguments_loss.is_some(), !whole);
        assert!(exec.arguments_loss.is_none_or(|why| ["budget", "bulk_full"].contains(&why)));
        cut += usize::from(!whole);
    }
    assert!((1..COUNT).contains(&cut), "{cut} of {COUNT} lists are cut");
    for class in ["exec", "fork", "exit"] {
        let (seen, stored, lost) = recorded.ledger(class);
        assert_eq!((seen, 0), (stored, lost), "{class}");
    }
}

#[test]
fn the_environment_is_recorded_as_asked() {
    let asked = |environment, mask: &[&str]| ProcessEbpfConfig {
        environment,
        mask: Mask::new(&mask.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()),
        ..ProcessEbpfConfig::default()
    };
    let work = || {
        let mut command = quiet("/bin/true");
        command.args(["--token", "first", "--user=me"]).env_clear();
        command.env("LONG", "x".repeat(100_000)).env("API_TOKEN", "second").env("PATH", "/bin");
        run(&mut command).0
    };
    let Some((recorded, pid)) = record(&asked(EnvironmentChoice::None, &[]), work) else {
        return;
    };
    let exec = recorded.exec(pid);
    let bytes = "LONG=".len() + 100_000 + "API_TOKEN=second".len() + "PATH=/bin".len() + 3;
    assert_eq!((exec.environment.as_ref(), exec.environment_truncated), (None, false));
    let size = (exec.environment_bytes, exec.environment_count);
    assert_eq!(size, (Some(bytes as u64), Some(3)));
    assert!(!exec.masked);

    let (recorded, pid) = record(&asked(EnvironmentChoice::All, &["*token"]), work).unwrap();
    let exec = recorded.exec(pid);
    let all = exec.environment.as_ref().unwrap();
    assert_eq!(all.len(), bytes - "second".len() + "***".len());
    assert!(exec.masked && !exec.environment_truncated);
    assert_eq!(words(exec)[1..], [b"--token".to_vec(), b"***".to_vec(), b"--user=me".to_vec()]);

    let named = EnvironmentChoice::Named(vec!["PATH".to_owned()]);
    let (recorded, pid) = record(&asked(named, &[]), work).unwrap();
    assert_eq!(recorded.exec(pid).environment.as_deref(), Some(b"PATH=/bin\0".as_slice()));
}

#[test]
fn an_exec_tells_what_its_parent_runs() {
    let work = || run(quiet("/bin/sh").args(["-c", "/bin/true; exit 4"])).0;
    let Some((recorded, shell)) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    let shell = recorded.exec(shell);
    let child = recorded.execs.iter().find(|exec| exec.parent == Some(shell.process)).unwrap();
    assert_eq!(child.parent_path.as_deref(), shell.path.as_deref());
    assert_eq!(child.parent_cmdline.as_deref(), Some("/bin/sh -c /bin/true; exit 4"));
    let own = std::env::current_exe().unwrap().canonicalize().unwrap();
    assert_eq!(shell.parent_path.as_deref(), own.to_str());
}

#[test]
fn a_terminal_has_the_name_of_its_file() {
    let program = "import os, pty\npid, fd = pty.fork()\n\
                   if pid == 0: os.execv('/bin/true', ['true', os.ttyname(0)])\n\
                   os.waitpid(pid, 0)\n";
    let work = || run(quiet("python3").args(["-c", program]));
    let Some((recorded, (_, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success());
    let is_it = |exec: &&ExecEvent| {
        exec.tty.is_some() && words(exec).first().is_some_and(|name| name == b"true")
    };
    let exec = recorded.execs.iter().filter(|exec| exec.arguments.is_some()).find(is_it).unwrap();
    let name = String::from_utf8(words(exec)[1].clone()).unwrap();
    assert_eq!(exec.tty.as_deref(), name.strip_prefix("/dev/"));
}

#[test]
fn a_chroot_shows_in_the_container_path() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    std::fs::create_dir_all(root.join("in")).unwrap();
    // The programs of the host are reached through a mount, since they need their libraries.
    let script = "for name in bin lib lib64 usr; do test -d /$name || continue; mkdir -p \"$0/$name\"; \
                  mount --rbind /$name \"$0/$name\" || exit 1; done; exec chroot \"$0\" /bin/true";
    let work = || {
        let arguments = ["--mount", "/bin/sh", "-c", script];
        run(quiet("/usr/bin/unshare").args(arguments).arg(&root))
    };
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success(), "mounting needs root");
    let last = recorded.execs.iter().rfind(|exec| exec.process.pid == pid).unwrap();
    let seen = last.container_path.as_deref().unwrap();
    assert!(seen.ends_with("/bin/true"), "{seen}");
    assert_eq!(last.path.as_deref(), Some(format!("{}{seen}", root.display()).as_str()));
    // Before the chroot its root was that of its namespace.
    let before = recorded.execs.iter().find(|exec| exec.process.pid == pid && !exec.snapshot);
    assert_eq!(before.unwrap().container_path, None);
}

#[test]
fn a_deleted_program_has_no_name() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().canonicalize().unwrap().join("copy");
    std::fs::copy("/bin/true", &copy).unwrap();
    // The shell opens the file, removes it, and runs what it has open.
    let script = "exec 9<\"$0\"; rm \"$0\"; exec /proc/self/fd/9";
    let work = || run(quiet("/bin/sh").args(["-c", script]).arg(&copy));
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success());
    let last = recorded.execs.iter().rfind(|exec| exec.process.pid == pid).unwrap();
    assert_eq!(last.path.as_deref(), copy.to_str());
    assert_eq!(last.file.unwrap().links, Some(0));
}

#[test]
fn an_exit_tells_what_was_used() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let script = "dd if=/dev/zero of=\"$0/file\" bs=1M count=8 conv=fsync";
    let work = || run(quiet("/bin/sh").args(["-c", script]).arg(folder.path()));
    let Some((recorded, (pid, status))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    assert!(status.success());
    let shell = recorded.exec(pid).process;
    let wrote = |exit: &&ExitEvent| exit.process == shell || exit.parent == Some(shell);
    let exits: Vec<&ExitEvent> = recorded.exits.iter().filter(wrote).collect();
    let written: u64 = exits.iter().map(|exit| exit.usage.unwrap().written_bytes.unwrap()).sum();
    // On a file system in memory nothing is written.
    assert!(written >= 8 << 20 || written == 0, "{written} bytes");
    for exit in exits {
        let (lifetime_ns, usage) = (exit.lifetime_ns.unwrap(), exit.usage.unwrap());
        assert!(lifetime_ns > exit.cpu_ns.unwrap(), "{exit:?}");
        // What it was before its exec counts too: this test program.
        assert!((100 << 10..1 << 30).contains(&usage.rss_bytes_max), "{usage:?}");
        assert!(usage.user_ns + usage.system_ns < 2 * lifetime_ns + 20_000_000, "{usage:?}");
    }
}

/// The exit of a process is lost in a storm that nobody reads: a look at all processes closes it.
#[test]
fn an_end_that_was_lost_is_found_by_a_look() {
    let config = ProcessEbpfConfig { ring_bytes: 1 << 16, ..ProcessEbpfConfig::default() };
    let mut sleeper = sleeper();
    let killed = |sleeper: &mut std::process::Child| {
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    };
    let Some(source) = attach(&config) else {
        killed(&mut sleeper);
        return;
    };
    for _ in 0..300 {
        assert!(run(&mut quiet("/bin/true")).1.success());
    }
    killed(&mut sleeper);
    let (sink, batches) = sync_channel(CHANNEL_BATCHES_MAX);
    let stop = Stop::default();
    let told = stop.clone();
    let source = Box::new(source);
    let reader = std::thread::spawn(move || source.run(&sink, &told));
    let mut recorded = Recorded::default();
    for batch in batches {
        recorded.add(batch);
        // The look is due two seconds after the loss, and waits a second for what is on its way.
        let found = recorded.exits.iter().any(|exit| exit.process.pid == sleeper.id());
        if found && !stop.is_set() {
            stop.set();
        }
    }
    reader.join().unwrap().unwrap();
    let snapshot = recorded.execs.iter().find(|exec| exec.process.pid == sleeper.id()).unwrap();
    assert!(snapshot.snapshot);
    let exit = recorded.exit(snapshot.process);
    assert_eq!(
        (exit.exit_code, exit.signal, exit.path.as_deref()),
        (None, None, snapshot.path.as_deref())
    );
    let Noticed::Reconciled { alive_ns } = exit.noticed else { panic!("{:?}", exit.noticed) };
    assert!(alive_ns >= snapshot.time_ns && alive_ns < exit.time_ns);
    // What runs was not ended.
    assert!(recorded.exits.iter().all(|exit| exit.process.pid != std::process::id()));
}

/// A container's root is an overlay that the host has mounted, in namespaces of its own.
#[test]
fn a_program_in_an_overlay_has_the_hosts_path_and_its_own() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let base = folder.path().canonicalize().unwrap();
    for name in ["lower/bin", "lower/old", "upper", "work", "merged"] {
        std::fs::create_dir_all(base.join(name)).unwrap();
    }
    // What `sleep` has mapped is what `true` needs: the loader and one library, under their names.
    let mut sleeper = sleeper();
    // Its loader maps that after the process has its name.
    let maps = loop {
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", sleeper.id())).unwrap();
        if maps.contains("/libc.so") {
            break maps;
        }
        std::thread::yield_now();
    };
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    for link in ["lib", "lib64"] {
        std::fs::create_dir_all(base.join("lower/usr").join(link)).unwrap();
        std::os::unix::fs::symlink(format!("usr/{link}"), base.join("lower").join(link)).unwrap();
    }
    let mapped = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    let loaders = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let is_file = |path: &&str| path.contains(".so") && std::path::Path::new(path).exists();
    for library in mapped.chain(loaders).filter(is_file) {
        let copy = base.join("lower").join(&library[1..]);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(library, copy).unwrap();
    }
    std::fs::copy("/bin/true", base.join("lower/bin/inner")).unwrap();
    let options = |name: &str| format!("{name}dir={}", base.join(name).display());
    let options = ["lower", "upper", "work"].map(options).join(",");
    let mount = ["-t", "overlay", "overlay", "-o", &options].map(str::to_owned);
    let merged = base.join("merged");
    let mounted = quiet("mount").args(mount).arg(&merged).status().unwrap();
    assert!(mounted.success(), "mounting needs root");
    let script = "cd \"$0\" && pivot_root . old && exec /bin/inner";
    let work = || {
        let arguments = ["--mount", "--pid", "--fork", "/bin/sh", "-c", script];
        run(quiet("unshare").args(arguments).arg(&merged))
    };
    let recorded = record(&ProcessEbpfConfig::default(), work);
    assert!(quiet("umount").arg(&merged).status().unwrap().success());
    let Some((recorded, (unshare, status))) = recorded else {
        return;
    };
    assert!(status.success());
    let inner = |exec: &&ExecEvent| {
        exec.parent.is_some_and(|parent| parent.pid == unshare)
            && words(exec) == [b"/bin/inner".to_vec()]
    };
    let exec = recorded.execs.iter().filter(|exec| !exec.snapshot).find(inner).unwrap();
    let there = merged.join("bin/inner");
    assert_eq!(exec.path.as_deref(), there.to_str());
    assert_eq!(exec.container_path.as_deref(), Some("/bin/inner"));
    assert_eq!(exec.namespace_path.as_deref(), Some("/bin/inner"));
    assert_eq!(exec.cwd.as_deref(), Some("/"));
    let own = recorded.exec(unshare).namespaces.unwrap();
    let namespaces = exec.namespaces.unwrap();
    assert!(namespaces.pid != own.pid && namespaces.mount != own.mount);
    // It is process 1 there, and what the collector knows is the number here.
    assert!(exec.process.pid > 1);
    assert_eq!(recorded.exit(exec.process).path.as_deref(), there.to_str());
}

/// A process whose parent ends belongs to another one from then on.
#[test]
fn an_orphan_has_the_parent_that_took_it_over() {
    // It waits until the test closes its input, when its parent has ended, and says whose it is then.
    let orphan = "read -r go; while read -r name value; do test \"$name\" = PPid: && echo \"$value\"; \
                  done < /proc/$$/status; exec /bin/true orphan";
    let script = format!("/bin/sh -c '{orphan}' <&3 & exit 0");
    let work = || {
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", &format!("exec 3<&0; {script}")]);
        let mut shell =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("there is a shell");
        let input = shell.stdin.take().unwrap();
        let mut output = shell.stdout.take().unwrap();
        assert!(shell.wait().unwrap().success());
        drop(input);
        // It ends when the orphan has.
        let mut said = String::new();
        output.read_to_string(&mut said).unwrap();
        (shell.id(), said.trim().parse::<u32>().unwrap())
    };
    let Some((recorded, (shell, taken_over_by))) = record(&ProcessEbpfConfig::default(), work)
    else {
        return;
    };
    assert_ne!(shell, taken_over_by);
    let shell = recorded.exec(shell).process;
    let is_it = |exec: &&ExecEvent| {
        exec.arguments.as_deref().is_some_and(|words| words == b"/bin/true\0orphan\0")
    };
    let exec = recorded.execs.iter().find(is_it).unwrap();
    assert_eq!(exec.parent.map(|parent| parent.pid), Some(taken_over_by));
    let exit = recorded.exit(exec.process);
    assert_eq!(exit.parent, exec.parent);
    let fork = recorded.forks.iter().find(|fork| fork.process == exec.process).unwrap();
    assert_eq!((fork.parent, fork.caller), (Some(shell), shell));
}

/// A child that is not its creator's but a sibling of it, as daemons that hand on their children make.
#[test]
fn a_fork_for_the_parent_names_both() {
    const CLONE_PARENT: u64 = 0x8000;
    let program = format!(
        "import ctypes, os, platform, signal\n\
         clone = {{'x86_64': 56, 'aarch64': 220}}[platform.machine()]\n\
         flags = {CLONE_PARENT} | signal.SIGCHLD\n\
         child = ctypes.CDLL(None).syscall(clone, flags, 0, 0, 0, 0)\n\
         if child == 0: os._exit(7)\n\
         print(child)\n"
    );
    let work = || {
        let creator = python(&program).stdout(Stdio::piped()).spawn().unwrap();
        let pid = creator.id();
        let output = creator.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", output.status);
        let child: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        waitpid(Pid::from_raw(child), WaitOptions::empty()).unwrap().unwrap();
        (pid, child.cast_unsigned())
    };
    let Some((recorded, (creator, child))) = record(&ProcessEbpfConfig::default(), work) else {
        return;
    };
    let fork = recorded.forks.iter().find(|fork| fork.process.pid == child).unwrap();
    assert_eq!(fork.caller, recorded.exec(creator).process);
    assert_eq!(fork.parent.map(|parent| parent.pid), Some(std::process::id()));
    assert_eq!(fork.clone_flags.map(|flags| flags & CLONE_PARENT), Some(CLONE_PARENT));
    let exit = recorded.exit(fork.process);
    assert_eq!((exit.exit_code, exit.parent), (Some(7), fork.parent));
}
