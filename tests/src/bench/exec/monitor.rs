//! What records processes: Bygone, and the programs it is compared with.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::process;
use super::workload::marked;
use crate::{Daemon, Session, wait_until};

/// bpftrace's script, where Debian's package `bpftrace` puts it.
const EXECSNOOP: &str = "/usr/sbin/execsnoop.bt";

/// auditd's rules on Debian are none at first; this one is about execs.
const AUDIT_RULE: &[&str] = &["always,exit", "-F", "arch=b64", "-S", "execve,execveat"];

/// The rule by which the kernel keeps no audit context for new processes.
const AUDIT_REST: &str = "never,task";

const AUDITD_CONF: &str = "local_events = yes
log_format = RAW
flush = INCREMENTAL_ASYNC
freq = 50
max_log_file = 4096
max_log_file_action = IGNORE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
";

/// A program that records processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Monitor {
    /// `bygone run` with its default configuration.
    Bygone,
    /// bpftrace's `execsnoop.bt`, which writes a line per exec, into a file.
    Execsnoop,
    /// auditd with a rule for execs, which writes its log.
    Auditd,
}

impl Monitor {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Bygone, Self::Execsnoop, Self::Auditd];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bygone => "Bygone",
            Self::Execsnoop => "bpftrace execsnoop",
            Self::Auditd => "auditd",
        }
    }

    /// Why it cannot be had here.
    #[must_use]
    pub fn absent(self) -> Option<String> {
        match self {
            Self::Bygone => None,
            Self::Execsnoop => {
                let there = Path::new(EXECSNOOP).exists() && answers("bpftrace", &["--version"]);
                (!there).then(|| format!("no bpftrace with {EXECSNOOP}; Debian: bpftrace"))
            }
            Self::Auditd => {
                let Some(status) = output("auditctl", &["-s"]) else {
                    return Some("no auditctl that the kernel answers; Debian: auditd".to_owned());
                };
                let taken = !status.lines().any(|line| line == "pid 0");
                let ruled = output("auditctl", &["-l"]).is_some_and(|all| all.contains("execve"));
                match (taken, ruled) {
                    (true, _) => Some("auditd or another listener runs already".to_owned()),
                    (_, true) => Some("there is a rule for execve already: auditctl -l".to_owned()),
                    (false, false) => None,
                }
            }
        }
    }

    /// Starts it with its files in `folder`, and waits until it records and has come to rest.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(self, folder: &Path) -> anyhow::Result<Running> {
        let running = match self {
            Self::Bygone => Running::Bygone(bygone(folder)),
            Self::Execsnoop => execsnoop(folder)?,
            Self::Auditd => auditd(folder)?,
        };
        process::settle(running.pid())?;
        Ok(running)
    }
}

/// Bygone with its default configuration and its data in `folder`.
pub(super) fn bygone(folder: &Path) -> Daemon {
    Daemon::start_in(&folder.join("data"), "")
}

/// A program that records at present.
pub enum Running {
    /// Bygone.
    Bygone(Daemon),
    /// bpftrace.
    Execsnoop {
        /// Its process.
        child: Owned,
        /// What it writes.
        log: PathBuf,
    },
    /// auditd.
    Auditd {
        /// Its process.
        child: Owned,
        /// What it writes.
        log: PathBuf,
    },
}

/// A process that is killed when it was not ended.
pub struct Owned(Child);

impl Owned {
    fn end(mut self, signal: Signal) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.0), signal)?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.0.kill().expect("it runs");
            self.0.wait().expect("it is our child");
        }
    }
}

impl Running {
    fn pid(&self) -> u32 {
        match self {
            Self::Bygone(daemon) => daemon.pid(),
            Self::Execsnoop { child, .. } | Self::Auditd { child, .. } => child.0.id(),
        }
    }

    /// Stops it and says how many execs of `/bin/true` without an argument it has recorded since
    /// `since_ns`, in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// When it fails, or what it recorded cannot be read.
    pub fn stop(self, since_ns: u128) -> anyhow::Result<u64> {
        match self {
            Self::Bygone(daemon) => {
                let stopped = daemon.stop();
                anyhow::ensure!(stopped.status.success(), "bygone failed: {}", stopped.log);
                let statement = format!(
                    "SELECT count(*) AS n FROM process_events \
                     WHERE time_ns >= {since_ns} AND cmdline = '/bin/true'"
                );
                let rows = Session::open(&stopped.data_dir)?.rows(&statement)?;
                let count = rows.first().and_then(|row| row.get("n")).and_then(Value::as_u64);
                count.context("a count of rows")
            }
            Self::Execsnoop { child, log } => {
                child.end(Signal::INT)?;
                let is_one =
                    |line: &str| line.split_whitespace().skip(2).eq(std::iter::once("/bin/true"));
                count_and_remove(&log, is_one)
            }
            Self::Auditd { child, log } => {
                auditctl(&[&["-d"], AUDIT_RULE].concat())?;
                child.end(Signal::TERM)?;
                auditctl(&["-e", "0"])?;
                audit_rests(true)?;
                let is_one = |line: &str| line.contains("argc=1 a0=\"/bin/true\"");
                count_and_remove(&log, is_one)
            }
        }
    }
}

fn execsnoop(folder: &Path) -> anyhow::Result<Running> {
    let log = folder.join("execsnoop.log");
    let child = Command::new("bpftrace")
        .arg(EXECSNOOP)
        .stdin(Stdio::null())
        .stdout(File::create(&log)?)
        .stderr(Stdio::null())
        .spawn()
        .map(Owned)
        .context("start bpftrace")?;
    wait_until_recorded(&log);
    Ok(Running::Execsnoop { child, log })
}

fn auditd(folder: &Path) -> anyhow::Result<Running> {
    use std::os::unix::fs::PermissionsExt as _;

    let (settings, log) = (folder.join("audit"), folder.join("audit/audit.log"));
    if !settings.exists() {
        fs::create_dir_all(settings.join("plugins"))?;
        let plugins = settings.join("plugins");
        let (log, plugins) = (log.display(), plugins.display());
        let text = format!("{AUDITD_CONF}log_file = {log}\nplugin_dir = {plugins}\n");
        fs::write(settings.join("auditd.conf"), text)?;
        // It refuses what others may write.
        fs::set_permissions(settings.join("auditd.conf"), fs::Permissions::from_mode(0o600))?;
    }
    audit_rests(false)?;
    let child = Command::new("auditd")
        .args(["-n", "-s", "enable", "-c"])
        .arg(&settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(Owned)
        .context("start auditd")?;
    auditctl(&["-b", "8192"])?;
    auditctl(&[&["-a"], AUDIT_RULE].concat())?;
    wait_until_recorded(&log);
    Ok(Running::Auditd { child, log })
}

/// Starts processes until one of them stands in the log.
fn wait_until_recorded(log: &Path) {
    const MARKER: &str = "bench-is-ready";
    wait_until("a process stands in the log", || {
        marked(MARKER).ok()?;
        fs::read_to_string(log).ok()?.contains(MARKER).then_some(())
    });
}

fn count_and_remove(log: &Path, is_one: impl Fn(&str) -> bool) -> anyhow::Result<u64> {
    let text = fs::read(log)?;
    fs::remove_file(log)?;
    Ok(String::from_utf8_lossy(&text).lines().filter(|line| is_one(line)).count() as u64)
}

/// Whether the kernel keeps no audit context for new processes. Once auditd has run, it keeps one
/// until the next start of the system, unless a rule says otherwise.
pub(super) fn audit_is_at_rest() -> bool {
    // It is listed as `-a never,task`.
    output("auditctl", &["-l"]).is_some_and(|rules| rules.contains(AUDIT_REST))
}

/// Adds the rule, or takes it away.
pub(super) fn audit_rests(rests: bool) -> anyhow::Result<()> {
    if audit_is_at_rest() == rests {
        return Ok(());
    }
    auditctl(&[if rests { "-a" } else { "-d" }, AUDIT_REST])
}

fn auditctl(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("auditctl").args(arguments).output().context("start auditctl")?;
    let error = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "auditctl {arguments:?}: {error}");
    Ok(())
}

fn answers(program: &str, arguments: &[&str]) -> bool {
    output(program, arguments).is_some()
}

/// What a program prints, if it succeeds.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
