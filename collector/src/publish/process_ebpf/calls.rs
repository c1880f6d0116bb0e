//! The system calls that are watched, and how the programs for them are attached.
//!
//! A tracepoint on any system call makes every call of every process a little slower (some 70 ns, by
//! the work the kernel does before it looks which are traced), whether it is one of these or not.

use aya::Ebpf;
use aya::maps::{Array, MapData, ProgramArray};
use aya::programs::{ProgramError, ProgramFd, TracePoint};
use bygone_probe_abi as abi;

use super::attach_error::{AttachError, explain};
use super::links::CallLink;
use super::load::{TAIL_WALK, clone_fd, patiently, set_tail, take_map};

/// A system call.
pub(crate) struct WatchedCall {
    /// As the tracepoints are named: `sys_enter_NAME`.
    tracepoint: &'static str,
    /// As its manual page is named.
    pub(crate) name: &'static str,
    pub(crate) number: libc::c_long,
    act: u32,
    /// The program for its beginning, which reads as many arguments as the call's meaning needs.
    enter: Option<&'static str>,
    /// The program for its end.
    exit: Option<&'static str>,
}

impl WatchedCall {
    /// Whether what it does is told by the call alone, so that without it a route is not seen.
    fn is_route(&self) -> bool {
        self.enter != Some(MODULE)
    }
}

macro_rules! calls {
    ($(
        $(#[$cfg:meta])*
        $tracepoint:ident $number:ident $name:literal $act:ident $enter:ident $exit:ident;
    )*) => {
        /// All of them.
        pub(crate) static CALLS: &[WatchedCall] = &[$($(#[$cfg])* WatchedCall {
            tracepoint: stringify!($tracepoint),
            name: $name,
            number: libc::$number,
            act: abi::$act,
            enter: calls!(@program $enter),
            exit: calls!(@program $exit),
        },)*];
    };
    (@program none) => { None };
    (@program $program:ident) => { Some(stringify!($program)) };
}

calls! {
    ptrace SYS_ptrace "ptrace" CALL_PTRACE call_enter_4 call_exit;
    process_vm_readv SYS_process_vm_readv "process_vm_readv" CALL_READ_MEMORY call_enter_4 call_exit;
    process_vm_writev SYS_process_vm_writev "process_vm_writev" CALL_WRITE_MEMORY call_enter_4 call_exit;
    setuid SYS_setuid "setuid" CALL_CREDENTIALS call_enter_1 call_exit;
    setgid SYS_setgid "setgid" CALL_CREDENTIALS call_enter_1 call_exit;
    setreuid SYS_setreuid "setreuid" CALL_CREDENTIALS call_enter_1 call_exit;
    setregid SYS_setregid "setregid" CALL_CREDENTIALS call_enter_1 call_exit;
    setresuid SYS_setresuid "setresuid" CALL_CREDENTIALS call_enter_1 call_exit;
    setresgid SYS_setresgid "setresgid" CALL_CREDENTIALS call_enter_1 call_exit;
    setfsuid SYS_setfsuid "setfsuid" CALL_CREDENTIALS call_enter_1 call_exit;
    setfsgid SYS_setfsgid "setfsgid" CALL_CREDENTIALS call_enter_1 call_exit;
    capset SYS_capset "capset" CALL_CREDENTIALS call_enter_1 call_exit;
    unshare SYS_unshare "unshare" CALL_CREDENTIALS call_enter_1 call_exit;
    setns SYS_setns "setns" CALL_CREDENTIALS call_enter_1 call_exit;
    mount SYS_mount "mount" CALL_MOUNT call_enter_5 call_exit;
    umount SYS_umount2 "umount2" CALL_UNMOUNT call_enter_2 call_exit;
    move_mount SYS_move_mount "move_mount" CALL_MOVE_MOUNT call_enter_5 call_exit;
    pivot_root SYS_pivot_root "pivot_root" CALL_PIVOT_ROOT call_enter_2 call_exit;
    mmap SYS_mmap "mmap" CALL_MMAP mmap_enter none;
    mprotect SYS_mprotect "mprotect" CALL_MPROTECT call_enter_3 none;
    pkey_mprotect SYS_pkey_mprotect "pkey_mprotect" CALL_MPROTECT call_enter_3 none;
    memfd_create SYS_memfd_create "memfd_create" CALL_MEMFD call_enter_2 call_exit;
    bpf SYS_bpf "bpf" CALL_BPF call_enter_3 call_exit;
    #[cfg(target_arch = "x86_64")]
    open SYS_open "open" ACT_OPEN_MEMORY none open_exit;
    openat SYS_openat "openat" ACT_OPEN_MEMORY none open_exit;
    openat2 SYS_openat2 "openat2" ACT_OPEN_MEMORY none open_exit;
    finit_module SYS_finit_module "finit_module" ACT_MODULE_LOAD module_enter none;
}

/// Name of a watched call by its number.
pub(crate) fn name(number: u32) -> Option<&'static str> {
    let number = libc::c_long::from(number);
    CALLS.iter().find(|call| call.number == number).map(|call| call.name)
}

/// The programs at work.
pub(crate) struct WatchedCalls {
    /// Dropping these detaches the programs.
    pub(crate) links: Vec<(&'static WatchedCall, CallLink)>,
    /// Whether the kernel makes no links of its own for perf events.
    perf: bool,
    pub(crate) programs: Vec<ProgramFd>,
    /// What each call does, by its number.
    #[cfg(test)]
    pub(crate) numbers: Option<Array<MapData, u32>>,
    /// What walks the paths of files. The kernel empties such a map when nobody holds it.
    _tails: ProgramArray<MapData>,
    /// Calls whose tracepoints this kernel does not have.
    pub(crate) missing: Vec<&'static str>,
}

/// The program that tells of a module's file, which completes what the kernel tells of the module.
const MODULE: &str = "module_enter";
/// The program that walks the path of a file.
const IMAGE_WALK: &str = "image_walk";

/// Attaches the programs to the tracepoints of all calls that this kernel has.
///
/// # Errors
/// When a program cannot be loaded, or there are no tracepoints at all.
pub(crate) fn attach(ebpf: &mut Ebpf) -> Result<WatchedCalls, AttachError> {
    mount_tracefs();
    let mut numbers: Array<MapData, u32> = take_map(ebpf, "SYSCALLS")?;
    for call in CALLS {
        let number = u32::try_from(call.number).unwrap_or(0);
        let set = numbers.set(number, call.act, 0);
        set.map_err(|source| AttachError::Map { name: "SYSCALLS", source })?;
    }
    let walk = load(ebpf, IMAGE_WALK)?;
    let mut tails: ProgramArray<MapData> = take_map(ebpf, "IMAGE_WALK")?;
    set_tail(&mut tails, TAIL_WALK, &walk, "IMAGE_WALK")?;
    let mut watched = WatchedCalls {
        links: Vec::new(),
        perf: false,
        programs: vec![walk],
        #[cfg(test)]
        numbers: None,
        _tails: tails,
        missing: Vec::new(),
    };
    let mut programs: Vec<&'static str> =
        CALLS.iter().flat_map(|call| [call.enter, call.exit]).flatten().collect();
    programs.sort_unstable();
    programs.dedup();
    for program in programs {
        watched.programs.push(load(ebpf, program)?);
    }
    let mut attached = 0;
    let mut refused = None;
    for call in CALLS {
        match attach_call(ebpf, call, &mut watched.perf) {
            Ok(links) => {
                attached += 1;
                watched.links.extend(links.into_iter().map(|link| (call, link)));
            }
            Err(error) => {
                tracing::debug!(call = call.name, error = %error, "A call is not watched");
                watched.missing.extend(call.is_route().then_some(call.name));
                refused = Some(error);
            }
        }
    }
    #[cfg(test)]
    {
        watched.numbers = Some(numbers);
    }
    match refused {
        Some(error) if attached == 0 => Err(error),
        _ => Ok(watched),
    }
}

fn attach_call(
    ebpf: &mut Ebpf,
    call: &WatchedCall,
    perf: &mut bool,
) -> Result<Vec<CallLink>, AttachError> {
    let mut links = Vec::new();
    // First: a beginning whose end is not seen would stay in the map of calls.
    if let Some(exit) = call.exit {
        links.push(attach_to(ebpf, exit, &format!("sys_exit_{}", call.tracepoint), perf)?);
    }
    if let Some(enter) = call.enter {
        links.push(attach_to(ebpf, enter, &format!("sys_enter_{}", call.tracepoint), perf)?);
    }
    Ok(links)
}

fn load(ebpf: &mut Ebpf, program: &'static str) -> Result<ProgramFd, AttachError> {
    let loaded = tracepoint(ebpf, program)?;
    patiently(|| loaded.load()).map_err(|error| explain(program, "syscalls", error))?;
    clone_fd(loaded.fd(), program, "syscalls")
}

fn attach_to(
    ebpf: &mut Ebpf,
    program: &'static str,
    hook: &str,
    perf: &mut bool,
) -> Result<CallLink, AttachError> {
    let loaded = tracepoint(ebpf, program)?;
    let mut attach = || {
        let link = loaded.attach("syscalls", hook).and_then(|id| loaded.take_link(id));
        link.map_err(|source| AttachError::Attach { program, hook: "syscalls", source })
    };
    if !*perf {
        if let Some(link) = CallLink::linked(attach()?) {
            return Ok(link);
        }
        // What it is not is known only after it was given up for that.
        *perf = true;
    }
    Ok(CallLink::Perf { _link: attach()? })
}

impl WatchedCalls {
    /// The class and the name of each call of which a program is not attached any more.
    pub(crate) fn gone(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        let gone = self.links.iter().filter(|(_, link)| !link.is_there());
        gone.flat_map(|(call, _)| {
            // Files that are mapped are told by the same program as memory is.
            let image = abi::CLASSES.get(abi::CLASS_IMAGE as usize).copied();
            let image = image.filter(|_| call.act == abi::CALL_MMAP);
            [Some(class(call.act)), image].into_iter().flatten().map(|class| (class, call.name))
        })
    }
}

/// The class of what a call does.
fn class(act: u32) -> &'static str {
    let class = match act {
        abi::CALL_PTRACE
        | abi::CALL_READ_MEMORY
        | abi::CALL_WRITE_MEMORY
        | abi::ACT_OPEN_MEMORY => abi::CLASS_PTRACE,
        abi::ACT_MODULE_LOAD => abi::CLASS_MODULE,
        abi::CALL_CREDENTIALS => abi::CLASS_CREDENTIAL,
        abi::CALL_MOUNT | abi::CALL_UNMOUNT | abi::CALL_MOVE_MOUNT | abi::CALL_PIVOT_ROOT => {
            abi::CLASS_MOUNT
        }
        abi::CALL_MMAP | abi::CALL_MPROTECT => abi::CLASS_MEMORY_EXEC,
        abi::CALL_MEMFD => abi::CLASS_MEMFD,
        _ => abi::CLASS_BPF,
    };
    abi::CLASSES.get(class as usize).copied().unwrap_or("unknown")
}

/// The kernel tells the numbers of its tracepoints in tracefs only. Where nobody has mounted that, it
/// is mounted in its usual place, which root alone may enter; a failure shows when the numbers are
/// looked for.
fn mount_tracefs() {
    use rustix::mount::{MountFlags, mount};
    const PLACE: &str = "/sys/kernel/tracing";
    if std::fs::exists("/sys/kernel/debug/tracing/events").unwrap_or(false)
        || std::fs::exists("/sys/kernel/tracing/events").unwrap_or(false)
    {
        return;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    match mount("tracefs", PLACE, "tracefs", flags, None) {
        Ok(()) => {
            tracing::info!("Mounted tracefs at {PLACE}: the numbers of tracepoints are there")
        }
        Err(error) => tracing::debug!(%error, "tracefs cannot be mounted"),
    }
}

fn tracepoint<'a>(
    ebpf: &'a mut Ebpf,
    program: &'static str,
) -> Result<&'a mut TracePoint, AttachError> {
    let found = ebpf.program_mut(program).ok_or(AttachError::Part { name: program })?;
    found.try_into().map_err(|source: ProgramError| AttachError::Attach {
        program,
        hook: "syscalls",
        source,
    })
}
