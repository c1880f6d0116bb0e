//! The program under test.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

#[cfg(target_os = "linux")]
use bygone::publish::process_connector::{ProcessConnector, ProcessConnectorConfig};

use crate::wait_until;

/// The program, built beside the test.
///
/// # Panics
/// When it was not built: `cargo xtask test` builds it first.
#[must_use]
pub fn bygone() -> Command {
    let test = std::env::current_exe().expect("the test's own path");
    let folder = test.parent().expect("a program lies in a folder");
    let built = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    let program = built.expect("a test lies in target/PROFILE/deps").join("bygone");
    assert!(program.exists(), "{} is not built; run `cargo xtask test`", program.display());
    let mut command = Command::new(program);
    command.env_remove("RUST_LOG").env("NO_COLOR", "1");
    command
}

/// The program without any right, as user and group 65534, with a home of its own in `folder`, which
/// that user then owns. Needs root.
///
/// # Panics
/// When the program cannot be copied to where that user can reach it.
#[must_use]
pub fn bygone_as_nobody(folder: &Path) -> Command {
    const NOBODY: u32 = 65534;
    let copy = folder.join("bygone");
    std::fs::copy(bygone().get_program(), &copy).expect("the program can be copied");
    std::os::unix::fs::chown(folder, Some(NOBODY), Some(NOBODY)).expect("root may give a folder");
    let mut command = Command::new(copy);
    command.env_clear().env("HOME", folder).current_dir(folder).uid(NOBODY).gid(NOBODY);
    command
}

/// Whether this test can load BPF programs; when not, the reason is printed.
///
/// # Panics
/// With `CI` set and no right to load BPF: there the test must run.
#[must_use]
pub fn requires_bpf() -> bool {
    let missing = if !geteuid().is_root() {
        "it needs root"
    } else if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        "the kernel has no BTF"
    } else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "cannot run in CI: {missing}");
    #[expect(clippy::print_stderr, reason = "says why a test is passed over")]
    {
        eprintln!("passed over: {missing}");
    }
    false
}

/// Whether this test can have the kernel's process events connector; when not, the reason is printed.
///
/// # Panics
/// With `CI` set and no connector: there the test must run.
#[must_use]
#[cfg(target_os = "linux")]
pub fn requires_connector() -> bool {
    let config =
        ProcessConnectorConfig { buffer_bytes: 65_536, ..ProcessConnectorConfig::default() };
    let Err(missing) = ProcessConnector::attach(&config) else {
        return true;
    };
    assert!(std::env::var_os("CI").is_none(), "cannot run in CI: {missing}");
    #[expect(clippy::print_stderr, reason = "says why a test is passed over")]
    {
        eprintln!("passed over: {missing}");
    }
    false
}

/// A running daemon. It is killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    data_dir: PathBuf,
    /// Owns the folder when the test did not name one.
    folder: Option<TempDir>,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// What is left of a daemon.
#[derive(Debug)]
pub struct Stopped {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard error.
    pub log: String,
    /// Where its data is.
    pub data_dir: PathBuf,
    /// Owns the folder when the test did not name one.
    pub folder: Option<TempDir>,
}

impl Daemon {
    /// Starts a daemon in a new folder and waits until it collects. Files are not watched.
    #[must_use]
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let data_dir = folder.path().join("data");
        let mut daemon = Self::start_in(&data_dir, "[file]\nenabled = false\n");
        daemon.folder = Some(folder);
        daemon
    }

    /// Starts a daemon with its data in `data_dir` and waits until it collects.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_in(data_dir: &Path, config: &str) -> Self {
        Self::start_by(bygone(), data_dir, config)
    }

    /// The same with a command of the caller's, for instance [`bygone_as_nobody`].
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_by(command: Command, data_dir: &Path, config: &str) -> Self {
        let daemon = Self::spawn(command, data_dir, config);
        wait_until("the daemon collects", || {
            let log = daemon.log();
            assert!(!log.contains("error: "), "{log}");
            log.contains("Collecting").then_some(())
        });
        daemon
    }

    fn spawn(mut command: Command, data_dir: &Path, config: &str) -> Self {
        let config_file = data_dir.with_extension("toml");
        std::fs::write(&config_file, config).expect("the configuration is written");
        let mut child = command
            .arg("run")
            .arg("--data-dir")
            .arg(data_dir)
            .arg("--config")
            .arg(config_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bygone starts");
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        let shared = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = shared.lock().expect("no holder panics");
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, data_dir: data_dir.to_owned(), folder: None, log, reader: Some(reader) }
    }

    /// Where its data is.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far.
    ///
    /// # Panics
    /// Never: the lock's holders do not panic.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().expect("no holder panics").clone()
    }

    /// Asks it to stop and waits for its end.
    #[must_use]
    pub fn stop(self) -> Stopped {
        self.end(Signal::TERM)
    }

    /// Kills it, as a crash would.
    #[must_use]
    pub fn kill(self) -> Stopped {
        self.end(Signal::KILL)
    }

    fn end(mut self, signal: Signal) -> Stopped {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
        let status = self.child.wait().expect("it is our child");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
        let log = self.log();
        Stopped { status, log, data_dir: self.data_dir.clone(), folder: self.folder.take() }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has already ended when a test stopped it.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().expect("it runs");
            self.child.wait().expect("it is our child");
        }
    }
}
