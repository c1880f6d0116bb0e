//! Loading the programs into the kernel, attaching them, and seeing them fire.

use std::io::Read;
use std::process::{Command, Stdio};

use aya::maps::{Array, MapData, PerCpuArray, ProgramArray, RingBuf};
use aya::programs::raw_trace_point::RawTracePointLink;
use aya::programs::{Iter, ProgramError, ProgramFd, RawTracePoint};
use aya::{Ebpf, EbpfLoader};
use bygone_probe_abi::{CLASSES, SLOTS_PER_CPU};

use super::ledger::Counts;
use super::offsets::{Resolved, resolve};
use super::sys::program_counts;
use super::{ProcessEbpfConfig, clock, rights};
use crate::publish::btf::{Btf, BtfError};

/// Size of the ring buffer unless configured otherwise.
pub const RING_BYTES_DEFAULT: u32 = 8 * 1024 * 1024;

/// Size of the ring of long arguments and environments unless configured otherwise.
pub const BULK_BYTES_DEFAULT: u32 = 4 * 1024 * 1024;

/// Ends of processes remembered where the kernel does not say which thread was the last.
const ENDED_MAX: u32 = 16_384;
/// The same map where it is not used.
const ENDED_UNUSED: u32 = 128;

/// Characters of the verifier's log that an error carries; its end says what is wrong.
const LOG_TAIL_CHARS: usize = 600;

/// How often loading one program is tried when the kernel says to try again.
const LOAD_TRIES: u32 = 10;

/// The programs, built by `cargo xtask build-ebpf` from `ebpf-probes` and committed.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../ebpf-probes/bygone.bpf.o"
));

/// Program of each class, and its tracepoint.
const EXEC: (&str, &str) = ("exec", "sched_process_exec");
const FORK: (&str, &str) = ("fork", "task_newtask");
const EXIT: (&str, &str) = ("exit_group_dead", "sched_process_exit");
const EXIT_FALLBACK: (&str, &str) = ("exit_last_thread", "sched_process_exit");

/// Entries of the arrays of programs that others call.
const TAIL_WALK: u32 = 0;
const TAIL_PARTS: u32 = 1;

/// Why processes cannot be watched from within the kernel.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel does not describe its types.
    #[error("the kernel does not describe its types (BTF)")]
    Types(#[source] BtfError),
    /// No class of events can be recorded for want of a member.
    #[error("{reason}")]
    MissingMember {
        /// The member, in words.
        reason: String,
    },
    /// The size of the ring is not one the kernel takes.
    #[error("a ring of {bytes} bytes cannot be made: the size must be a power of two from 4096 on")]
    RingSize {
        /// The size asked for.
        bytes: u32,
    },
    /// This process lacks a right.
    #[error("no right to load programs into the kernel: this takes {missing}")]
    NoRight {
        /// Names of capabilities.
        missing: String,
    },
    /// The kernel refuses in spite of all rights.
    #[error("the kernel refuses to load programs: {why}")]
    Refused {
        /// Lockdown, or what else is known.
        why: String,
    },
    /// The programs' object could not be prepared, or a map not made.
    #[error("cannot prepare the programs")]
    Prepare(#[source] Box<aya::EbpfError>),
    /// The object lacks a part: it was built from another version.
    #[error("the programs have no `{name}`: rebuild them with `cargo xtask build-ebpf`")]
    Part {
        /// The part.
        name: &'static str,
    },
    /// A map of the object is of another type than expected.
    #[error("the map `{name}` cannot be used")]
    Map {
        /// The map.
        name: &'static str,
        /// What does not fit.
        source: aya::maps::MapError,
    },
    /// The kernel rejected a program.
    #[error("the kernel rejects the program `{program}`: {log}")]
    Verify {
        /// The program.
        program: &'static str,
        /// End of the verifier's log.
        log: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program could not be loaded or attached.
    #[error("cannot attach the program `{program}` to `{hook}`")]
    Attach {
        /// The program.
        program: &'static str,
        /// The tracepoint or iterator.
        hook: &'static str,
        /// What the library said.
        source: ProgramError,
    },
    /// A program is attached and did not run when it should have.
    #[error("the `{class}` probe is attached and does not fire")]
    Silent {
        /// The class of events.
        class: &'static str,
    },
    /// The number of CPUs could not be learned.
    #[error("cannot learn the number of CPUs")]
    Cpus(#[source] std::io::Error),
}

impl AttachError {
    /// What the user can do about it, where something can be done.
    #[must_use]
    pub fn mend(&self) -> Option<String> {
        let words = match self {
            Self::NoRight { missing } => format!("run as root, or with {missing}"),
            Self::Types(_) => "boot a kernel built with CONFIG_DEBUG_INFO_BTF".to_owned(),
            Self::RingSize { bytes } => {
                let near = bytes.checked_next_power_of_two().unwrap_or(RING_BYTES_DEFAULT);
                format!("set ring_bytes to {}", near.max(4096))
            }
            Self::MissingMember { .. }
            | Self::Refused { .. }
            | Self::Prepare(_)
            | Self::Part { .. }
            | Self::Map { .. }
            | Self::Verify { .. }
            | Self::Attach { .. }
            | Self::Silent { .. }
            | Self::Cpus(_) => return None,
        };
        Some(words)
    }
}

/// Programs at work, and what is needed to read them.
pub(crate) struct Attached {
    /// Where the records come from.
    pub(crate) ring: RingBuf<MapData>,
    /// Where long arguments and environments come from, before the records.
    pub(crate) bulk: RingBuf<MapData>,
    counters: PerCpuArray<MapData, [u64; 2]>,
    /// Dropping these detaches the programs.
    pub(crate) links: Vec<RawTracePointLink>,
    programs: Vec<(usize, ProgramFd)>,
    /// Programs that are not attached to a tracepoint: walks, and those of the iterator.
    others: Vec<ProgramFd>,
    /// The kernel empties such a map when nobody holds it.
    tails: Vec<ProgramArray<MapData>>,
    /// Per class, why it is not recorded.
    pub(crate) disabled: [Option<String>; CLASSES.len()],
    /// Why what ran before is not known.
    pub(crate) snapshot_error: Option<String>,
    /// Boot time from which on every event is seen: the last program was attached.
    pub(crate) since_ns: u64,
    /// Boot time from which on some were counted: the first program was not yet attached.
    pub(crate) counted_ns: u64,
}

impl Attached {
    /// What the kernel has counted so far.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub(crate) fn counts(&self) -> Result<Counts, aya::maps::MapError> {
        let mut counts = Counts::default();
        let all = counts.iter_mut().flatten();
        for (index, total) in (0..).zip(all) {
            for [seen, lost] in self.counters.get(&index, 0)?.iter() {
                total[0] += seen;
                total[1] += lost;
            }
        }
        Ok(counts)
    }

    /// Per class, how often the kernel skipped a program; `None` where it does not tell.
    pub(crate) fn skipped(&self) -> [Option<u64>; CLASSES.len()] {
        let mut skipped = [None; CLASSES.len()];
        for (class, program) in &self.programs {
            let counts = program_counts(std::os::fd::AsFd::as_fd(program));
            if let Some(entry) = skipped.get_mut(*class) {
                *entry = counts.and_then(|counts| counts.skipped);
            }
        }
        skipped
    }

    /// What the kernel knows of each program, those reached by tail calls last.
    #[cfg(test)]
    pub(crate) fn program_counts(&self) -> Vec<super::sys::ProgramCounts> {
        let attached = self.programs.iter().map(|(_, program)| program);
        let all = attached.chain(&self.others);
        all.filter_map(|program| program_counts(std::os::fd::AsFd::as_fd(program))).collect()
    }
}

/// Loads, attaches and proves the programs, then takes the snapshot.
pub(crate) fn attach(config: &ProcessEbpfConfig) -> Result<Attached, AttachError> {
    for bytes in [config.ring_bytes, config.bulk_bytes] {
        if !bytes.is_power_of_two() || bytes < 4096 {
            return Err(AttachError::RingSize { bytes });
        }
    }
    let resolved = {
        let btf = Btf::of_kernel().map_err(AttachError::Types)?;
        resolve(&btf)
    };
    if let [Some(reason), Some(_), Some(_)] = &resolved.disabled {
        return Err(AttachError::MissingMember { reason: reason.clone() });
    }
    raise_memory_limit();
    let fallback = config.force_exit_fallback || !resolved.exit_says_last;
    let mut ebpf = prepare(&resolved, config, fallback)?;
    let mut attached = attach_all(&mut ebpf, resolved.disabled, fallback)?;
    prove(&attached)?;
    if attached.disabled[0].is_none() {
        attached.snapshot_error = snapshot(&mut ebpf, &mut attached).err();
    }
    Ok(attached)
}

/// Below kernel 5.11 maps count against a limit on locked memory. Where it cannot be raised the
/// maps themselves will tell whether it was enough.
fn raise_memory_limit() {
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Memlock, unlimited) {
        tracing::debug!(%error, "the limit on locked memory stays as it is");
    }
}

fn prepare(
    resolved: &Resolved,
    config: &ProcessEbpfConfig,
    fallback: bool,
) -> Result<Ebpf, AttachError> {
    let cpus = aya::util::nr_cpus().map_err(|(_, error)| AttachError::Cpus(error))?;
    let slots = u32::try_from(cpus).unwrap_or(u32::MAX).saturating_mul(SLOTS_PER_CPU);
    let ended = if fallback { ENDED_MAX } else { ENDED_UNUSED };
    let mut loader = EbpfLoader::new();
    for (name, value) in &resolved.globals {
        loader.override_global(name, value, true);
    }
    let environment = u32::from(config.environment.is_read());
    loader.override_global("ENVIRONMENT", &environment, true);
    loader.map_max_entries("RING", config.ring_bytes);
    loader.map_max_entries("BULK", config.bulk_bytes);
    loader.map_max_entries("SLOTS", slots);
    loader.map_max_entries("CLAIMS", slots);
    loader.map_max_entries("ENDED", ended);
    loader.load(OBJECT).map_err(|error| match forbidden(&error) {
        true => refused(),
        false => AttachError::Prepare(Box::new(error)),
    })
}

fn attach_all(
    ebpf: &mut Ebpf,
    disabled: [Option<String>; CLASSES.len()],
    fallback: bool,
) -> Result<Attached, AttachError> {
    let counted_ns = clock::boot_ns();
    let mut attached = Attached {
        ring: take_map(ebpf, "RING")?,
        bulk: take_map(ebpf, "BULK")?,
        counters: take_map(ebpf, "COUNTERS")?,
        links: Vec::new(),
        programs: Vec::new(),
        others: Vec::new(),
        tails: Vec::new(),
        disabled,
        snapshot_error: None,
        since_ns: counted_ns,
        counted_ns,
    };
    let exit = if fallback { EXIT_FALLBACK } else { EXIT };
    if attached.disabled[0].is_none() {
        let mut walks: ProgramArray<MapData> = take_map(ebpf, "WALK")?;
        for (entry, name) in [(TAIL_WALK, "walk"), (TAIL_PARTS, "parts")] {
            let program = load_tracepoint(ebpf, name, EXEC.1)?;
            set_tail(&mut walks, entry, &program, "WALK")?;
            attached.others.push(program);
        }
        attached.tails.push(walks);
    }
    for (class, (program, hook)) in [EXEC, FORK, exit].into_iter().enumerate() {
        if attached.disabled.get(class).is_some_and(Option::is_some) {
            continue;
        }
        let fd = load_tracepoint(ebpf, program, hook)?;
        attached.programs.push((class, fd));
        attached.links.push(attach_tracepoint(ebpf, program, hook)?);
    }
    attached.since_ns = clock::boot_ns();
    Ok(attached)
}

fn take_map<T>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, AttachError>
where
    T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>,
{
    let map = ebpf.take_map(name).ok_or(AttachError::Part { name })?;
    T::try_from(map).map_err(|source| AttachError::Map { name, source })
}

fn set_tail(
    programs: &mut ProgramArray<MapData>,
    entry: u32,
    program: &ProgramFd,
    name: &'static str,
) -> Result<(), AttachError> {
    programs.set(entry, program, 0).map_err(|source| AttachError::Map { name, source })
}

fn tracepoint<'a>(
    ebpf: &'a mut Ebpf,
    program: &'static str,
    hook: &'static str,
) -> Result<&'a mut RawTracePoint, AttachError> {
    let found = ebpf.program_mut(program).ok_or(AttachError::Part { name: program })?;
    found.try_into().map_err(|source| AttachError::Attach { program, hook, source })
}

fn load_tracepoint(
    ebpf: &mut Ebpf,
    program: &'static str,
    hook: &'static str,
) -> Result<ProgramFd, AttachError> {
    let loaded = tracepoint(ebpf, program, hook)?;
    patiently(|| loaded.load()).map_err(|error| explain(program, hook, error))?;
    clone_fd(loaded.fd(), program, hook)
}

fn clone_fd(
    fd: Result<&ProgramFd, ProgramError>,
    program: &'static str,
    hook: &'static str,
) -> Result<ProgramFd, AttachError> {
    let clone = fd.and_then(|fd| fd.try_clone().map_err(ProgramError::IOError));
    clone.map_err(|source| AttachError::Attach { program, hook, source })
}

fn attach_tracepoint(
    ebpf: &mut Ebpf,
    program: &'static str,
    hook: &'static str,
) -> Result<RawTracePointLink, AttachError> {
    let loaded = tracepoint(ebpf, program, hook)?;
    let link = loaded.attach(hook).and_then(|id| loaded.take_link(id));
    link.map_err(|source| AttachError::Attach { program, hook, source })
}

/// Starts a program of no consequence and sees that every probe ran: that a program could be
/// attached proves nothing.
fn prove(attached: &Attached) -> Result<(), AttachError> {
    let started = ["/bin/true", "/usr/bin/true", "/bin/sh"].iter().any(|program| {
        let mut command = Command::new(program);
        command.args(["-c", ":"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok()
    });
    let counts =
        attached.counts().map_err(|source| AttachError::Map { name: "COUNTERS", source })?;
    for ((class, of_class), disabled) in CLASSES.iter().zip(&counts).zip(&attached.disabled) {
        let seen: u64 = of_class.iter().map(|[seen, _]| seen).sum();
        if seen > 0 || disabled.is_some() {
            continue;
        }
        if *class == "exec" && !started {
            tracing::warn!("the exec probe is not proven to fire: no program to start was found");
            continue;
        }
        return Err(AttachError::Silent { class });
    }
    Ok(())
}

/// Has the iterator write down every process; the error is in words.
fn snapshot(ebpf: &mut Ebpf, attached: &mut Attached) -> Result<(), String> {
    let words = |error: AttachError| format!("{:#}", anyhow::Error::from(error));
    let types = aya::Btf::from_sys_fs().map_err(|error| error.to_string())?;
    let walk = load_iterator(ebpf, "snapshot_walk", &types).map_err(words)?;
    let mut tails: ProgramArray<MapData> = take_map(ebpf, "SNAPSHOT_WALK").map_err(words)?;
    set_tail(&mut tails, TAIL_WALK, &walk, "SNAPSHOT_WALK").map_err(words)?;
    attached.others.push(walk);
    attached.others.push(load_iterator(ebpf, "snapshot", &types).map_err(words)?);
    let iterator = iterator(ebpf, "snapshot").map_err(words)?;
    let link = iterator.attach().and_then(|id| iterator.take_link(id));
    let file = link.map_err(|error| error.to_string())?.into_file();
    let mut output = Vec::new();
    file.map_err(|error| error.to_string())?
        .read_to_end(&mut output)
        .map_err(|error| format!("the iterator over tasks failed: {error}"))?;
    attached.tails.push(tails);
    let lost: Array<MapData, u64> = take_map(ebpf, "SNAPSHOT_LOST").map_err(words)?;
    match lost.get(&0, 0) {
        Ok(0) => Ok(()),
        Ok(lost) => Err(format!("{lost} of the processes found no room in the ring")),
        Err(error) => Err(error.to_string()),
    }
}

fn iterator<'a>(ebpf: &'a mut Ebpf, program: &'static str) -> Result<&'a mut Iter, AttachError> {
    let found = ebpf.program_mut(program).ok_or(AttachError::Part { name: program })?;
    found.try_into().map_err(|source| AttachError::Attach { program, hook: "iter/task", source })
}

fn load_iterator(
    ebpf: &mut Ebpf,
    program: &'static str,
    types: &aya::Btf,
) -> Result<ProgramFd, AttachError> {
    let loaded = iterator(ebpf, program)?;
    patiently(|| loaded.load("task", types))
        .map_err(|error| explain(program, "iter/task", error))?;
    clone_fd(loaded.fd(), program, "iter/task")
}

/// Loads again while the kernel says EAGAIN: its verifier gives up when a signal is pending.
fn patiently(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    for _ in 1..LOAD_TRIES {
        match load() {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            done => return done,
        }
    }
    load()
}

/// Tells a want of rights from a program that the verifier does not take.
fn explain(program: &'static str, hook: &'static str, error: ProgramError) -> AttachError {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let log = log.trim();
            if io_error.raw_os_error() == Some(libc::EPERM) && log.is_empty() {
                return refused();
            }
            let skipped = log.chars().count().saturating_sub(LOG_TAIL_CHARS);
            let log = log.chars().skip(skipped).collect();
            AttachError::Verify { program, log, source: io_error }
        }
        source => AttachError::Attach { program, hook, source },
    }
}

/// What stands behind a bare EPERM.
fn refused() -> AttachError {
    let missing = rights::missing();
    if !missing.is_empty() {
        return AttachError::NoRight { missing: missing.join(" and ") };
    }
    let why = rights::lockdown().map_or_else(
        || "no reason given, and no capability is missing; a security module may forbid it".into(),
        |mode| format!("it is in lockdown ({mode})"),
    );
    AttachError::Refused { why }
}

/// Whether EPERM is at the end of the error's sources.
fn forbidden(error: &aya::EbpfError) -> bool {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let code = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if code == Some(libc::EPERM) {
            return true;
        }
        next = error.source();
    }
    false
}
