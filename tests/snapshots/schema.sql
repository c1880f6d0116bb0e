-- Programs started on this host: one row per successful exec, and one per process that was already running when the collector started.
CREATE TABLE process_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    pid BIGINT NOT NULL, -- Process id, in the initial pid namespace.
    path TEXT, -- Path of the program's file as the host sees it, whatever root the process has; from the root of the mount namespace of the process (column `mnt_namespace`) where the host has not mounted that file system; without a leading slash for a file in memory or in a mount that was taken away; null when there is no file.
    mode TEXT, -- Type and permission bits of the program's file, in octal.
    cmdline TEXT, -- The arguments, joined by spaces: the first 64 KiB of them.
    cmdline_size BIGINT HIDDEN NOT NULL, -- Size of all arguments in bytes, also when not all were kept.
    env TEXT HIDDEN, -- Environment of the program, its variables joined by spaces: those that the setting `env` of `[process]` names; null when it names none.
    env_count BIGINT HIDDEN, -- Number of environment variables; null for a snapshot.
    env_size BIGINT HIDDEN, -- Size of the environment in bytes, terminating NULs included; null for a snapshot.
    cwd TEXT, -- Working directory, from the root of the mount namespace of the process; null when it is the top of a mount that was taken away.
    auid BIGINT NOT NULL, -- Login user id set by the audit system; 4294967295 when unset.
    uid BIGINT NOT NULL, -- Real user id, in the initial user namespace; 4294967295 when it is not known, as the other ids.
    euid BIGINT NOT NULL, -- Effective user id.
    gid BIGINT NOT NULL, -- Real group id.
    egid BIGINT NOT NULL, -- Effective group id.
    owner_uid BIGINT, -- Owner of the program's file.
    owner_gid BIGINT, -- Owning group of the program's file.
    atime BIGINT, -- Last access of the program's file, in seconds since the Unix epoch.
    mtime BIGINT, -- Last change of the program's file, in seconds since the Unix epoch.
    ctime BIGINT, -- Last change of the program's file's metadata, in seconds since the Unix epoch.
    btime BIGINT, -- Creation of the program's file, in seconds since the Unix epoch; null on Linux.
    overflows TEXT HIDDEN, -- Names of the columns that are cut short, separated by commas; null when none is.
    parent BIGINT, -- Process id of the parent; null when it was already gone.
    uptime BIGINT NOT NULL, -- Whole seconds between boot and the exec.
    status BIGINT NOT NULL, -- Result of the exec: 0, since only successful ones are recorded.
    fsuid BIGINT, -- File-system user id; null on macOS.
    suid BIGINT NOT NULL, -- Saved user id.
    fsgid BIGINT, -- File-system group id; null on macOS.
    sgid BIGINT NOT NULL, -- Saved group id.
    syscall TEXT NOT NULL, -- `execve`, which stands for `execveat` too, or `snapshot` for a process found running.
    time_ns BIGINT NOT NULL, -- When the kernel finished the exec, in nanoseconds since the Unix epoch; for a snapshot, when the process started.
    tid BIGINT NOT NULL, -- Thread id of the caller of exec.
    start_ns BIGINT NOT NULL, -- Start of the process, in nanoseconds since boot; 0 when it is not known.
    guid TEXT NOT NULL, -- Identity of the process: boot, process id and start, unlike the process id never reused.
    parent_start_ns BIGINT, -- Start of the parent, in nanoseconds since boot.
    parent_guid TEXT, -- Identity of the parent.
    argv TEXT, -- The arguments as a JSON array, exact; bytes that are not UTF-8 are written `\xHH`.
    argv_bytes BIGINT NOT NULL, -- Size of all arguments in bytes, terminating NULs included.
    argv_truncated INTEGER NOT NULL, -- Whether `argv` holds less than the program was given.
    argv_loss TEXT, -- Why it does: `fault` (memory that could not be read), `budget` (the user's processes started programs with more than 4 MiB of long arguments in one second), `bulk_full` (the kernel's buffer for them was full), `size` (more than a row may hold); null when it does not, or for a snapshot.
    masked INTEGER NOT NULL, -- Whether values in `argv`, `cmdline` or `env` were replaced by `***`, as the setting `mask` of `[process]` says.
    parent_path TEXT, -- Path of the parent's program, as it was at this moment; null when it is not known.
    parent_cmdline TEXT, -- Command line of the parent, likewise: its first 1,024 bytes.
    container_path TEXT, -- Path of the program as the process sees it; null when that is `path`, or the program lies outside of its root.
    container_id TEXT, -- Id of the container, or its name where the runtime has no ids; null outside of containers.
    container_runtime TEXT, -- What runs the container: docker, containerd, cri-o, podman, lxc or systemd-nspawn; null where the cgroup does not tell.
    cgroup_path TEXT, -- Path of the cgroup, from the root of the default hierarchy or, where that is not in use, of that of the controller `pids` or `memory`; null on macOS.
    tty TEXT, -- Name of the controlling terminal, such as `pts/0`; null when there is none, and on macOS.
    cap_permitted BIGINT, -- Capabilities that the process may take up, as bits (`capabilities(7)`); null on macOS.
    cap_effective BIGINT, -- Capabilities in effect, likewise.
    setuid INTEGER NOT NULL, -- Whether the program's file has the set-user-id bit and it took effect: the effective user is the file's owner, and another than the real one.
    setgid INTEGER NOT NULL, -- Likewise for the set-group-id bit and the group.
    fileless INTEGER, -- Whether the program's file has no name on a disk: made by `memfd_create(2)`, in `/dev/shm`, or deleted. Null when the file is not known.
    script_path TEXT, -- Path of the script as it was given to exec, when the program is a script's interpreter; null for what was found running, and where the source does not tell.
    session_id BIGINT, -- POSIX session id; null for session 0, that of init and the kernel.
    audit_session_id BIGINT NOT NULL, -- Audit session id; 4294967295 when unset.
    cgroup_id BIGINT, -- Id of the cgroup in the hierarchy of `cgroup_path`; null on macOS.
    pid_namespace BIGINT, -- Inode of the pid namespace; null on macOS.
    mnt_namespace BIGINT, -- Inode of the mount namespace; null on macOS.
    net_namespace BIGINT, -- Inode of the network namespace; null on macOS.
    user_namespace BIGINT, -- Inode of the user namespace; null on macOS.
    exe_dev BIGINT, -- Device of the program's file.
    exe_inode BIGINT, -- Inode of the program's file.
    exe_size BIGINT, -- Size of the program's file in bytes; null on macOS.
    exe_ctime BIGINT, -- Last change of the metadata of the program's file, in nanoseconds since the Unix epoch; null on macOS.
    start_exact INTEGER NOT NULL, -- Whether `start_ns` is exact; otherwise it is the tick that `/proc` shows.
    kernel_thread INTEGER NOT NULL, -- Whether this is a kernel thread.
    interpreter TEXT, -- Path of the interpreter when a script was started (`script_path`), which is then also `path`: the file that the kernel loaded. Null for a program that was started itself.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Processes created on this host: one row per fork, vfork or clone that made a process. Threads are left out.
CREATE TABLE process_fork_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    pid BIGINT NOT NULL, -- Process id of the new process, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs until it calls exec; null when the source does not tell.
    uid BIGINT NOT NULL, -- Real user id; 4294967295 when it is not known, as the group id.
    gid BIGINT NOT NULL, -- Real group id.
    parent BIGINT, -- Process id of the parent; null when it was already gone.
    uptime BIGINT NOT NULL, -- Whole seconds between boot and the fork.
    time_ns BIGINT NOT NULL, -- When it was created, in nanoseconds since the Unix epoch.
    start_ns BIGINT NOT NULL, -- Start of the new process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of the new process.
    parent_start_ns BIGINT, -- Start of the parent, in nanoseconds since boot.
    parent_guid TEXT, -- Identity of the parent: the caller, or the caller's parent under `CLONE_PARENT`.
    caller BIGINT NOT NULL, -- Process id of the caller.
    caller_start_ns BIGINT NOT NULL, -- Start of the caller, in nanoseconds since boot; 0 when it is not known.
    caller_guid TEXT NOT NULL, -- Identity of the process that called fork.
    clone_flags BIGINT, -- Flags of `clone(2)` without the exit signal; null on macOS.
    pid_namespace BIGINT, -- Inode of the pid namespace of the new process; null on macOS.
    mnt_namespace BIGINT, -- Inode of its mount namespace; null on macOS.
    net_namespace BIGINT, -- Inode of its network namespace; null on macOS.
    user_namespace BIGINT, -- Inode of its user namespace; null on macOS.
    new_namespaces TEXT, -- The namespaces that it does not share with its creator, separated by commas: `mnt`, `uts`, `ipc`, `user`, `pid`, `net`, `cgroup`, `time`; null when it shares all, and on macOS.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Processes ended on this host: one row per process, when its last thread ended.
CREATE TABLE process_exit_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    pid BIGINT NOT NULL, -- Process id, in the initial pid namespace.
    path TEXT, -- Path of its program; null when the source does not tell.
    uid BIGINT NOT NULL, -- Real user id; 4294967295 when it is not known, as the group id.
    gid BIGINT NOT NULL, -- Real group id.
    parent BIGINT, -- Process id of the parent, which reaps it; null when it was already gone.
    uptime BIGINT NOT NULL, -- Whole seconds between boot and the exit.
    exit_code BIGINT, -- What it passed to exit, 0 to 255; null when a signal ended it or its end was not seen.
    signal BIGINT, -- The signal that ended it; null when it exited by itself or its end was not seen.
    core_dumped INTEGER, -- Whether it dumped core; null when its end was not seen.
    time_ns BIGINT NOT NULL, -- When its last thread ended, in nanoseconds since the Unix epoch; when its end was not seen, when it was found to be gone.
    start_ns BIGINT NOT NULL, -- Start of the process, in nanoseconds since boot; 0 when it is not known.
    guid TEXT NOT NULL, -- Identity of the process, as in `process_events`.
    parent_start_ns BIGINT, -- Start of the parent, in nanoseconds since boot.
    parent_guid TEXT, -- Identity of the parent.
    cpu_ns BIGINT, -- CPU time of all its threads, in nanoseconds; null on macOS.
    source TEXT NOT NULL, -- How its end became known: `event` when the system told of it, `scan` when the source in use looks at intervals and found it gone, `reconciled` when the event was lost.
    alive_ns BIGINT, -- When it was last known to be there, in nanoseconds since the Unix epoch: it ended between then and `time_ns`. Null when its end was told.
    lifetime_ns BIGINT, -- From its start to its end, in nanoseconds; null where the source does not tell.
    user_ns BIGINT, -- CPU time in user mode, in nanoseconds; most kernels take it at ticks of 1 to 10 ms. Null on macOS.
    system_ns BIGINT, -- CPU time in the kernel, likewise.
    max_rss_bytes BIGINT, -- Largest resident set, in bytes; null on macOS.
    disk_bytes_read BIGINT, -- Bytes read from storage; null where the kernel does not count them.
    disk_bytes_written BIGINT, -- Bytes written to storage, likewise.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Events of processes that came faster than `rate_limit` of `[process]` allows: a row per executable, kind of event and second, in place of rows in `process_events` and its like.
CREATE TABLE process_summary_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    kind TEXT NOT NULL, -- What was merged: `exec`, starts of the executable; `fork`, forks by processes that run it; `exit`, ends of processes that ran it and of which no other row tells.
    count BIGINT NOT NULL, -- How many events.
    path TEXT, -- Path of the executable; null when the source does not tell.
    script_path TEXT, -- Path of the script, when the executable is a script's interpreter.
    exe_dev BIGINT NOT NULL, -- Device of the executable's file, as `st_dev`.
    exe_inode BIGINT NOT NULL, -- Its inode number.
    uid BIGINT, -- Real user id; null when they were several.
    parent BIGINT, -- Process id of the parent, of forks that of the caller; null when they were several.
    parent_start_ns BIGINT, -- Start of the parent, in nanoseconds since boot; null likewise.
    parent_guid TEXT, -- Identity of the parent.
    parent_path TEXT, -- Path of the program that the parent runs; null when it is not known, or they were several.
    time_ns BIGINT NOT NULL, -- When the first happened, in nanoseconds since the Unix epoch.
    end_ns BIGINT NOT NULL, -- When the last did.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Signals that processes sent: those that end a process, and those that a process of another user gets, unless the setting `signals` of `[process]` says otherwise.
CREATE TABLE signal_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When, in nanoseconds since the Unix epoch.
    pid BIGINT NOT NULL, -- Process id of who did it, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs; null when it is not known.
    uid BIGINT NOT NULL, -- Its real user id.
    tid BIGINT NOT NULL, -- Its thread.
    start_ns BIGINT NOT NULL, -- Start of its process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of its process, as in `process_events`.
    target_pid BIGINT, -- Process id of the process that it was done to; null when that is not known.
    target_path TEXT, -- Path of the program that that runs; null when it is not known.
    target_start_ns BIGINT, -- Start of that, in nanoseconds since boot.
    target_guid TEXT, -- Identity of that.
    target_uid BIGINT NOT NULL, -- Real user id of the process that got it.
    signal BIGINT NOT NULL, -- Number of the signal, as in `signal(7)`.
    code INTEGER NOT NULL, -- What it was sent by, `si_code` of `sigaction(2)`: 0 for `kill(2)`, -6 for `tgkill(2)`.
    by_kernel INTEGER NOT NULL, -- Whether the kernel sent it of itself, as for a fault; the sender is then who it is about.
    delivered INTEGER NOT NULL, -- Whether it was delivered: not ignored, and not pending already.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Access of a process to another: `ptrace(2)` by which it comes to control it or changes it, reading or writing its memory, and opening that as a file (`/proc/PID/mem`), which is told when it succeeds. A process that opens its own memory is left out.
CREATE TABLE ptrace_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When, in nanoseconds since the Unix epoch.
    pid BIGINT NOT NULL, -- Process id of who did it, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs; null when it is not known.
    uid BIGINT NOT NULL, -- Its real user id.
    tid BIGINT NOT NULL, -- Its thread.
    start_ns BIGINT NOT NULL, -- Start of its process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of its process, as in `process_events`.
    target_pid BIGINT, -- Process id of the process that it was done to; null when that is not known.
    target_path TEXT, -- Path of the program that that runs; null when it is not known.
    target_start_ns BIGINT, -- Start of that, in nanoseconds since boot.
    target_guid TEXT, -- Identity of that.
    syscall TEXT NOT NULL, -- The system call: `ptrace`, `process_vm_readv`, `process_vm_writev`, or the one that opened the memory: `open`, `openat` or `openat2`.
    request TEXT, -- The request of `ptrace`: `PTRACE_ATTACH`, `PTRACE_SEIZE`, `PTRACE_TRACEME`, `PTRACE_POKETEXT`, `PTRACE_POKEDATA`, `PTRACE_POKEUSER`, `PTRACE_SETREGS` or `PTRACE_SETREGSET`; null otherwise.
    memory TEXT, -- What is done with the memory, or what it was opened for: `read`, `write` or `read_write`; null of `ptrace`.
    requested_pid BIGINT NOT NULL, -- Id of the other process or thread as it was given, in the pid namespace of who did it; of memory that was opened, the thread's in the initial one.
    result BIGINT NOT NULL, -- What the system call returned: 0 or a file descriptor, or the negative error number.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Changes of user, group or capabilities of a process without an exec.
CREATE TABLE credential_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When, in nanoseconds since the Unix epoch.
    pid BIGINT NOT NULL, -- Process id of who did it, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs; null when it is not known.
    uid BIGINT NOT NULL, -- Its real user id.
    tid BIGINT NOT NULL, -- Its thread.
    start_ns BIGINT NOT NULL, -- Start of its process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of its process, as in `process_events`.
    syscall TEXT NOT NULL, -- The system call: `setuid` and its like, `capset`, `unshare` or `setns`.
    old_uid BIGINT NOT NULL, -- Real user id before.
    new_uid BIGINT NOT NULL, -- Real user id now.
    old_euid BIGINT NOT NULL, -- Effective user id before.
    new_euid BIGINT NOT NULL, -- Effective user id now.
    old_suid BIGINT NOT NULL, -- Saved user id before.
    new_suid BIGINT NOT NULL, -- Saved user id now.
    old_gid BIGINT NOT NULL, -- Real group id before.
    new_gid BIGINT NOT NULL, -- Real group id now.
    old_egid BIGINT NOT NULL, -- Effective group id before.
    new_egid BIGINT NOT NULL, -- Effective group id now.
    old_cap_effective BIGINT NOT NULL, -- Capabilities in effect before, as bits (`capabilities(7)`).
    new_cap_effective BIGINT NOT NULL, -- Capabilities in effect now.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Modules of the kernel that were loaded or removed.
CREATE TABLE module_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When, in nanoseconds since the Unix epoch.
    pid BIGINT NOT NULL, -- Process id of who did it, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs; null when it is not known.
    uid BIGINT NOT NULL, -- Its real user id.
    tid BIGINT NOT NULL, -- Its thread.
    start_ns BIGINT NOT NULL, -- Start of its process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of its process, as in `process_events`.
    action TEXT NOT NULL, -- `LOADED` or `REMOVED`.
    name TEXT, -- Name of the module.
    module_path TEXT, -- Path of the file that it was loaded from, from the root of the mount namespace of who did it; null when it was removed, or handed to the kernel from memory.
    device BIGINT, -- Device of that file, as `device` in `executable_events`.
    inode BIGINT, -- Inode of that file.
    signed INTEGER, -- Whether it carries a valid signature; null where the kernel does not check.
    signer TEXT, -- Who signed it: the common name of the certificate's issuer, from the signature behind the file. Whether that is valid says `signed` alone. Null when there is none, when the file is compressed or on FUSE or a network file system, or when it is not what was loaded any more.
    taints BIGINT NOT NULL, -- Its taints, as bits (`TAINT_…` in the kernel's `include/linux/panic.h`): 4096 for one that is not part of the kernel's source, 8192 for one without a signature.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- BPF programs that were loaded or attached, but for those of Bygone itself.
CREATE TABLE bpf_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When, in nanoseconds since the Unix epoch.
    pid BIGINT NOT NULL, -- Process id of who did it, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs; null when it is not known.
    uid BIGINT NOT NULL, -- Its real user id.
    tid BIGINT NOT NULL, -- Its thread.
    start_ns BIGINT NOT NULL, -- Start of its process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of its process, as in `process_events`.
    command TEXT NOT NULL, -- The command of `bpf(2)`: `BPF_PROG_LOAD`, `BPF_PROG_ATTACH`, `BPF_RAW_TRACEPOINT_OPEN` or `BPF_LINK_CREATE`.
    program_type BIGINT, -- Type of the program that is loaded, by its number in `enum bpf_prog_type`; null for other commands.
    name TEXT, -- Name of the program that is loaded; null when it has none.
    result BIGINT NOT NULL, -- What the system call returned: 0 or a file descriptor, or the negative error number.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- File systems that were mounted, moved or unmounted, and attempts at it.
CREATE TABLE mount_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When, in nanoseconds since the Unix epoch.
    pid BIGINT NOT NULL, -- Process id of who did it, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs; null when it is not known.
    uid BIGINT NOT NULL, -- Its real user id.
    tid BIGINT NOT NULL, -- Its thread.
    start_ns BIGINT NOT NULL, -- Start of its process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of its process, as in `process_events`.
    syscall TEXT NOT NULL, -- The system call: `mount`, `umount2`, `move_mount` or `pivot_root`.
    target TEXT, -- Where, as the process gave it: its first 255 bytes.
    source TEXT, -- What, likewise: its first 63 bytes; of `pivot_root` where the old root is put.
    fs_type TEXT, -- Type of the file system.
    flags BIGINT NOT NULL, -- Flags, as the system call takes them.
    path_source TEXT NOT NULL, -- Where `target` comes from: `user_memory`, read from the process at the end of the call.
    result BIGINT NOT NULL, -- What the system call returned: 0 or a file descriptor, or the negative error number.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Memory that a process asked to be executable: anonymous memory mapped so, and any that is to become so later. Whether the kernel granted it is not told.
CREATE TABLE memory_exec_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When, in nanoseconds since the Unix epoch.
    pid BIGINT NOT NULL, -- Process id of who did it, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs; null when it is not known.
    uid BIGINT NOT NULL, -- Its real user id.
    tid BIGINT NOT NULL, -- Its thread.
    start_ns BIGINT NOT NULL, -- Start of its process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of its process, as in `process_events`.
    syscall TEXT NOT NULL, -- The system call: `mmap`, `mprotect` or `pkey_mprotect`.
    address BIGINT NOT NULL, -- Where the memory is to begin; 0 where the kernel is to choose.
    bytes BIGINT NOT NULL, -- How long it is, in bytes.
    writable INTEGER NOT NULL, -- Whether it is writable at the same time.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Files in memory, made by `memfd_create(2)`.
CREATE TABLE memfd_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When, in nanoseconds since the Unix epoch.
    pid BIGINT NOT NULL, -- Process id of who did it, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs; null when it is not known.
    uid BIGINT NOT NULL, -- Its real user id.
    tid BIGINT NOT NULL, -- Its thread.
    start_ns BIGINT NOT NULL, -- Start of its process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of its process, as in `process_events`.
    name TEXT, -- The name it was given, which is not a path.
    flags BIGINT NOT NULL, -- Flags of `memfd_create(2)`.
    result BIGINT NOT NULL, -- What the system call returned: 0 or a file descriptor, or the negative error number.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Files that a process asked to map so that they can be executed, such as shared objects: by default the first mapping of each content since the collector started, known by device, inode, change time and size; again when it was not mapped for so long that 8,192 others were; each mapping with `[process] images = "all"`. The program itself and its loader are mapped by exec and are in `process_events`. What the content is says the row of `executable_events` with the same `device`, `inode`, `ctime_ns` and `size`. Whether the kernel granted the mapping is not told.
CREATE TABLE image_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When, in nanoseconds since the Unix epoch.
    pid BIGINT NOT NULL, -- Process id of who did it, in the initial pid namespace.
    path TEXT, -- Path of the program that it runs; null when it is not known.
    uid BIGINT NOT NULL, -- Its real user id.
    tid BIGINT NOT NULL, -- Its thread.
    start_ns BIGINT NOT NULL, -- Start of its process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of its process, as in `process_events`.
    image_path TEXT, -- Path of the file, from the root of the mount namespace of the process; the bare name of a file that hangs on no directory.
    image_path_truncated INTEGER NOT NULL, -- Whether the front of `image_path` is missing.
    device BIGINT NOT NULL, -- Device of the file, as in `executable_events`.
    inode BIGINT NOT NULL, -- Inode of the file.
    ctime_ns BIGINT, -- Last change of the file's metadata, in nanoseconds since the Unix epoch.
    size BIGINT, -- Size of the file in bytes.
    mode TEXT NOT NULL, -- Type and permission bits of the file, in octal.
    owner_uid BIGINT NOT NULL, -- Owner of the file.
    owner_gid BIGINT NOT NULL, -- Owning group of the file.
    fileless INTEGER NOT NULL, -- Whether the file has no name on a disk: made by `memfd_create(2)`, in `/dev/shm`, or deleted.
    writable INTEGER NOT NULL, -- Whether the memory is to be writable at the same time.
    mnt_namespace BIGINT, -- Inode of the mount namespace of the process.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Changes to files under the configured paths.
CREATE TABLE file_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    target_path TEXT NOT NULL, -- The path that changed.
    category TEXT NOT NULL, -- Name of the configured category whose paths cover it.
    action TEXT NOT NULL, -- What happened: `CREATED`, `UPDATED`, `DELETED`, `ATTRIBUTES_MODIFIED`, `MOVED_FROM` or `MOVED_TO`.
    transaction_id BIGINT NOT NULL, -- Pairs `MOVED_FROM` with `MOVED_TO`; 0 when the source gives none.
    inode BIGINT, -- Inode number; null when the file was gone.
    uid BIGINT, -- Owner.
    gid BIGINT, -- Owning group.
    mode TEXT, -- Type and permission bits, in octal.
    size BIGINT, -- Size in bytes.
    atime BIGINT, -- Last access, in seconds since the Unix epoch.
    mtime BIGINT, -- Last change of content, in seconds since the Unix epoch.
    ctime BIGINT, -- Last change of metadata, in seconds since the Unix epoch.
    md5 TEXT, -- MD5 of the content; null: not collected.
    sha1 TEXT, -- SHA-1 of the content; null: not collected.
    sha256 TEXT, -- SHA-256 of the content; null: not collected.
    hashed INTEGER NOT NULL, -- Whether the content was hashed: 0, since it is not.
    time_ns BIGINT NOT NULL, -- When the change was seen, in nanoseconds since the Unix epoch.
    found_by_scan INTEGER NOT NULL, -- Whether it was found by scanning rather than told by the kernel.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Executed content: one row for the first time that each distinct content of a file runs, or is mapped to be executed (`image_events`), known by device, inode, change time and size, and not again after a restart of the collector. What could not be read is tried again, at most three times. `complete()` speaks of what exec ran: of what was mapped it speaks with `image_events`.
CREATE TABLE executable_events (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When it was executed, in nanoseconds since the Unix epoch.
    path TEXT, -- Path of the file, as `path` in `process_events`; of a script or an image, from the root of the mount namespace of the process.
    kind TEXT NOT NULL, -- `program` for a file that the kernel loaded, `script` for one that an interpreter was loaded for, `image` for one that a process mapped, such as a shared object.
    interpreter TEXT, -- Of a script, the path of its interpreter.
    hash_status TEXT NOT NULL, -- What came of reading it: `hashed`, `hashed_deleted` when it was read through the process that runs it after its last name was taken away, `hashed_unproven` for a script that was written less than 10 ms before it ran, so that one more change right after would not show, `changed` when another file or content was in its place by then, `gone` when it could not be reached any more, `too_large`, `not_read` on FUSE and network file systems, or `unreadable`.
    sha256 TEXT, -- SHA-256 of the content; null unless it was hashed.
    md5 TEXT, -- MD5 of the content; null likewise.
    size BIGINT, -- Size in bytes.
    entropy DOUBLE, -- Shannon entropy of the content in bits per byte, 0 to 8; null likewise. Compressed or encrypted content is near 8.
    head TEXT, -- The first 32 bytes, in hexadecimal; null likewise. Of a script, after values were masked.
    package_manager TEXT, -- Package manager that knows the file: `dpkg` or `rpm`; null when none does.
    package TEXT, -- The package that the file belongs to; null likewise.
    package_version TEXT, -- Version of the package.
    package_intact INTEGER, -- Whether the content is as in the package; null when the package does not say.
    mtime BIGINT, -- Last change of the content, in seconds since the Unix epoch.
    ctime_ns BIGINT, -- Last change of the metadata in nanoseconds since the Unix epoch, as `exe_ctime` in `process_events`.
    mode TEXT, -- Type and permission bits, in octal.
    owner_uid BIGINT, -- Owner.
    owner_gid BIGINT, -- Owning group.
    device BIGINT, -- Device of the file, as `exe_dev` in `process_events`.
    inode BIGINT, -- Inode of the file, as `exe_inode` in `process_events`.
    pid BIGINT NOT NULL, -- Process id of the process that executed it.
    uid BIGINT NOT NULL, -- Real user id of that process.
    start_ns BIGINT NOT NULL, -- Start of that process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of that process.
    script_content TEXT, -- The first 4 KiB of a script that begins with `#!`, as far as the setting `script_content` of `[executable]` says; null unless it was hashed, and on FUSE and network file systems. Bytes that are not UTF-8 are written `\xHH`.
    masked INTEGER NOT NULL, -- Whether values in `script_content` or `head` were replaced by `***`, as the setting `mask` of `[process]` says.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Stretches of time in which events were lost, each with its reason.
CREATE TABLE gaps (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- Start of the gap, in nanoseconds since the Unix epoch.
    end_ns BIGINT NOT NULL, -- End of the gap, in nanoseconds since the Unix epoch.
    source TEXT NOT NULL, -- The source that lost them; `*` for all.
    reason TEXT NOT NULL, -- Why: `ring_full`, `queue_full`, `publisher_stalled`, `source_overflow`, `decode_error`, `audit_failed`, `publisher_down`, `daemon_down`, `disk_full`, `corrupt` or `expired`.
    lost BIGINT, -- How many events; null when that cannot be known.
    detail TEXT, -- More, in words.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- What became of the events of each class in ten seconds of their own time: `seen = stored + filtered + merged + lost`.
CREATE TABLE ledger (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- Start of the ten seconds, in nanoseconds since the Unix epoch.
    source TEXT NOT NULL, -- The source.
    class TEXT NOT NULL, -- The class of event: `exec`, `fork`, `exit` or `file`; `other` for what no table is of, `unknown` for what was lost before its class was known.
    seen BIGINT NOT NULL, -- Events that the source produced.
    stored BIGINT NOT NULL, -- Events that became rows.
    filtered BIGINT NOT NULL, -- Events that were left out: by configuration, or because no table is of them.
    merged BIGINT NOT NULL, -- Events that were merged into others.
    lost BIGINT NOT NULL, -- Events lost.
    missed BIGINT, -- Times the kernel skipped the program; null when it does not tell.
    late BIGINT NOT NULL, -- Events stored after the watermark had passed their time.
    excluded BIGINT NOT NULL, -- Of those filtered, events that would be rows but for `exclude_paths` and its like in `[process]`.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- What the collector can see: one row per kind of event whenever it starts or its tier changes.
CREATE TABLE capabilities (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- From when on this holds, in nanoseconds since the Unix epoch.
    kind TEXT NOT NULL, -- Kind of event: `exec`, `fork`, `exit` or `file`.
    source TEXT, -- The source in use; null when there is none.
    tier TEXT, -- The tier in use; null when there is none.
    blind_to TEXT NOT NULL, -- What it cannot see, in words; empty when it sees every route.
    reason TEXT, -- Why better tiers are not in use; null when this is the best.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Self-audits: one row each time the collector did something of every class of event that allows a harmless deed, to see whether it is recorded. What it did is in no table; the ledger counts it as filtered. A class that failed is a gap until it passes again.
CREATE TABLE audits (
    time BIGINT NOT NULL, -- When it happened, in whole seconds since the Unix epoch: `time_ns` rounded down.
    time_ns BIGINT NOT NULL, -- When it was begun, in nanoseconds since the Unix epoch.
    source TEXT NOT NULL, -- The source.
    passed TEXT NOT NULL, -- Classes of event of which the collector's own came, separated by commas.
    failed TEXT, -- Those of which it did not come; null when there are none. What could not be tried, or may have been lost or left out by configuration, is neither.
    eid BIGINT HIDDEN NOT NULL, -- The row's number in its table, given when it was appended and never reused.
    boot_ns BIGINT HIDDEN NOT NULL, -- When it happened, in nanoseconds since boot, time asleep included.
    boot_id TEXT HIDDEN NOT NULL -- The boot during which it happened, 32 hexadecimal digits.
);

-- Processes that run on this host.
CREATE TABLE processes (
    pid BIGINT NOT NULL, -- Process id.
    name TEXT NOT NULL, -- Name of the program, at most 15 bytes.
    path TEXT, -- Path of the program's file; empty for kernel threads, null when it cannot be read.
    cmdline TEXT, -- The arguments, joined by spaces; empty for kernel threads, null when they cannot be read.
    state TEXT NOT NULL, -- State: `R` running, `S` sleeping, `D` waiting for a device, `Z` ended and not reaped, `T` stopped, `t` stopped by a tracer, `I` idle kernel thread.
    cwd TEXT, -- Working directory; null when it cannot be read.
    root TEXT, -- Root directory; null when it cannot be read.
    uid BIGINT NOT NULL, -- Real user id.
    gid BIGINT NOT NULL, -- Real group id.
    euid BIGINT NOT NULL, -- Effective user id.
    egid BIGINT NOT NULL, -- Effective group id.
    suid BIGINT NOT NULL, -- Saved user id.
    sgid BIGINT NOT NULL, -- Saved group id.
    on_disk INTEGER NOT NULL, -- Whether the program's file still is at `path`: 1 yes, 0 no, -1 unknown.
    wired_size BIGINT NOT NULL, -- Memory that cannot be paged out, in bytes.
    resident_size BIGINT NOT NULL, -- Memory in RAM, in bytes.
    total_size BIGINT NOT NULL, -- Address space in bytes.
    user_time BIGINT NOT NULL, -- CPU time in user mode, in milliseconds.
    system_time BIGINT NOT NULL, -- CPU time in the kernel, in milliseconds.
    disk_bytes_read BIGINT, -- Bytes read from disks; null when it cannot be read.
    disk_bytes_written BIGINT, -- Bytes written to disks, less those that were truncated before; null when it cannot be read.
    start_time BIGINT NOT NULL, -- When it started, in seconds since the Unix epoch.
    parent BIGINT NOT NULL, -- Process id of the parent.
    pgroup BIGINT NOT NULL, -- Process group.
    threads INTEGER NOT NULL, -- How many threads it has.
    nice INTEGER NOT NULL, -- Niceness, -20 (most favoured) to 19.
    elevated_token INTEGER, -- Whether it runs elevated; null: Windows only.
    secure_process INTEGER, -- Whether it is a secure process; null: Windows only.
    protection_type TEXT, -- Its protection; null: Windows only.
    virtual_process INTEGER, -- Whether it is virtual; null: Windows only.
    elapsed_time BIGINT, -- Time since its start; null: Windows only.
    handle_count BIGINT, -- How many handles it has; null: Windows only.
    percent_processor_time BIGINT, -- CPU time as a share; null: Windows only.
    upid BIGINT, -- Unique process id; null: macOS only.
    uppid BIGINT, -- Unique process id of the parent; null: macOS only.
    cpu_type INTEGER, -- Type of the CPU it is made for; null: macOS only.
    cpu_subtype INTEGER, -- Subtype of that CPU; null: macOS only.
    translated INTEGER, -- Whether it is translated for this CPU; null: macOS only.
    cgroup_path TEXT, -- Path of its control group: in the unified hierarchy, or with version 1 in that of `pids`; null when it cannot be read.
    session_id BIGINT NOT NULL, -- POSIX session.
    start_ns BIGINT NOT NULL -- When it started, in nanoseconds since boot, rounded down to the clock tick that `/proc` shows (10 ms). A process's events have it exactly: they match by `pid` and `start_ns / 10000000`.
);

-- User accounts of this host, local ones and those that the name service lists.
CREATE TABLE users (
    uid BIGINT NOT NULL, -- User id.
    gid BIGINT NOT NULL, -- Id of the primary group.
    uid_signed BIGINT NOT NULL, -- User id as a signed 32-bit number.
    gid_signed BIGINT NOT NULL, -- Primary group id as a signed 32-bit number.
    username TEXT NOT NULL, -- Login name.
    description TEXT NOT NULL, -- The account's comment, often a person's name.
    directory TEXT NOT NULL, -- Home directory.
    shell TEXT NOT NULL, -- Login shell.
    uuid TEXT, -- Unique id of the account; null: Linux has none, and on macOS it is not collected.
    type TEXT, -- Whether the account is local or of a domain; null: Windows only.
    is_hidden INTEGER, -- Whether macOS hides the account; null: not collected.
    pid_with_namespace INTEGER HIDDEN NOT NULL, -- Process in whose namespaces the accounts were read: 0, which is the collector's own.
    include_remote INTEGER HIDDEN NOT NULL -- Whether accounts of remote services are included: 1, since they always are.
);

-- Programs that ran, from start to end: one row per exec of a process, and one per process that never called exec. A row ends with the process, or with its next exec.
CREATE VIEW process_lifetimes (
    time, -- BIGINT: When it started, in seconds since the Unix epoch.
    time_ns, -- BIGINT: Likewise in nanoseconds.
    end_ns, -- BIGINT: When it ended, in nanoseconds since the Unix epoch; null while it runs, and when its end was not recorded.
    lasted_ns, -- BIGINT: How long it ran, in nanoseconds; null likewise.
    pid, -- BIGINT: Process id.
    path, -- TEXT: Path of the program's file.
    cmdline, -- TEXT: The arguments, joined by spaces; null for a process that never called exec.
    uid, -- BIGINT: Real user id it was started with.
    parent, -- BIGINT: Process id of the parent at the start.
    exit_code, -- BIGINT: What it passed to exit; null while it runs, when a signal ended it, and when an exec ended the row.
    signal, -- BIGINT: The signal that ended it.
    cpu_ns, -- BIGINT: CPU time of the process in nanoseconds, programs before this one included; null while it runs, and when an exec ended the row.
    started_by, -- TEXT: What the row starts with: `execve`, `fork`, or `snapshot` for what was found running, whose start is that of the process.
    ended_by, -- TEXT: What the row ends with: `exit` or `execve`; null while it runs.
    start_ns, -- BIGINT: Start of the process, in nanoseconds since boot.
    guid, -- TEXT: Identity of the process.
    parent_guid -- TEXT: Identity of the parent at the start.
) AS
    SELECT e.time, e.time_ns, ifnull(n.time_ns, x.time_ns),
        ifnull(n.time_ns, x.time_ns) - e.time_ns,
        e.pid, e.path, e.cmdline, e.uid, e.parent, x.exit_code, x.signal, x.cpu_ns, e.syscall,
        CASE WHEN n.time_ns IS NOT NULL THEN 'execve' WHEN x.time_ns IS NOT NULL THEN 'exit' END,
        e.start_ns, e.guid, e.parent_guid
    FROM process_events e
    -- The next exec of the process.
    LEFT JOIN process_events n ON n.guid = e.guid AND n.time_ns > e.time_ns
        AND n.syscall <> 'snapshot' AND NOT EXISTS (
            SELECT 1 FROM process_events m WHERE m.guid = n.guid AND m.time_ns > e.time_ns
                AND m.time_ns < n.time_ns AND m.syscall <> 'snapshot')
    LEFT JOIN process_exit_events x ON x.guid = e.guid AND n.time_ns IS NULL
    WHERE e.syscall <> 'snapshot' OR NOT EXISTS (
        SELECT 1 FROM process_events p WHERE p.guid = e.guid AND p.eid < e.eid)
    UNION ALL
    SELECT f.time, f.time_ns, x.time_ns, x.time_ns - f.time_ns, f.pid, f.path, NULL, f.uid,
        f.parent, x.exit_code, x.signal, x.cpu_ns, 'fork',
        CASE WHEN x.time_ns IS NOT NULL THEN 'exit' END, f.start_ns, f.guid, f.parent_guid
    FROM process_fork_events f LEFT JOIN process_exit_events x ON x.guid = f.guid
    WHERE NOT EXISTS (SELECT 1 FROM process_events e WHERE e.guid = f.guid);

-- `process_events` under osquery's name for its source with BPF.
CREATE VIEW bpf_process_events (
    tid, -- BIGINT: Thread id of the caller of exec.
    pid, -- BIGINT: Process id.
    parent, -- BIGINT: Process id of the parent; null when it was already gone.
    uid, -- BIGINT: Real user id.
    gid, -- BIGINT: Real group id.
    cid, -- BIGINT: Id of the cgroup.
    exit_code, -- TEXT: Result of the exec: 0, since only successful ones are recorded.
    probe_error, -- INTEGER: Whether a part was cut short.
    syscall, -- TEXT: The system call: `execve`.
    path, -- TEXT: Path of the program's file.
    cwd, -- TEXT: Working directory.
    cmdline, -- TEXT: The arguments, joined by spaces.
    duration, -- INTEGER: How long the system call took: null, it is not recorded.
    json_cmdline, -- TEXT: The arguments as a JSON array.
    ntime, -- TEXT: When, in nanoseconds since boot.
    time, -- BIGINT: When, in seconds since the Unix epoch.
    eid, -- BIGINT: The row's number in `process_events`.
    time_ns, -- BIGINT: When, in nanoseconds since the Unix epoch.
    guid, -- TEXT: Identity of the process.
    parent_guid -- TEXT: Identity of the parent.
) AS
    SELECT tid, pid, parent, uid, gid, cgroup_id, '0', overflows IS NOT NULL, syscall, path,
        cwd, cmdline, NULL, argv, CAST(boot_ns AS TEXT), time, eid, time_ns, guid, parent_guid
    FROM process_events WHERE syscall <> 'snapshot';

-- Execs, forks and exits under osquery's name for its source with EndpointSecurity. Columns of osquery's that are not recorded are null.
CREATE VIEW es_process_events (
    version, -- INTEGER: Version of the message: null.
    seq_num, -- BIGINT: Number of the message: null.
    global_seq_num, -- BIGINT: Number of the message among all: null.
    pid, -- BIGINT: Process id: of an exec and an exit the process, of a fork the parent.
    pidversion, -- BIGINT: Version of the process id: null.
    path, -- TEXT: Path of the program's file.
    parent, -- BIGINT: Process id of the parent.
    original_parent, -- BIGINT: Process id of the parent at the start: null.
    session_id, -- BIGINT: POSIX session id; null for a fork and an exit.
    responsible_pid, -- BIGINT: Process id of the responsible process: null.
    responsible_pidversion, -- BIGINT: Its version: null.
    parent_pidversion, -- BIGINT: Version of the parent's process id: null.
    cmdline, -- TEXT: The arguments, joined by spaces.
    cmdline_count, -- BIGINT: Number of arguments.
    env, -- TEXT: Environment; null: not collected.
    env_count, -- BIGINT: Number of environment variables; null: not collected.
    cwd, -- TEXT: Working directory.
    uid, -- BIGINT: Real user id.
    euid, -- BIGINT: Effective user id.
    gid, -- BIGINT: Real group id.
    egid, -- BIGINT: Effective group id.
    username, -- TEXT: Name of the user: null.
    signing_id, -- TEXT: Signing identifier: null.
    team_id, -- TEXT: Team of the signature: null.
    cdhash, -- TEXT: Hash of the code directory: null.
    platform_binary, -- INTEGER: Whether the program belongs to the system: null.
    exit_code, -- BIGINT: What an ended process passed to exit.
    child_pid, -- BIGINT: Process id of the new process of a fork.
    time, -- BIGINT: When, in seconds since the Unix epoch.
    event_type, -- TEXT: `exec`, `fork` or `exit`.
    eid, -- TEXT: The row's number in its own table.
    codesigning_flags, -- TEXT: Flags of the signature: null.
    time_ns, -- BIGINT: When, in nanoseconds since the Unix epoch.
    guid -- TEXT: Identity of the process that `pid` is.
) AS
    SELECT NULL, NULL, NULL, pid, NULL, path, parent, NULL, session_id, NULL, NULL, NULL,
        cmdline, json_array_length(argv), env, env_count, cwd, uid, euid, gid, egid, NULL, NULL,
        NULL, NULL, NULL, NULL, NULL, time, 'exec', CAST(eid AS TEXT), NULL, time_ns, guid
    FROM process_events WHERE syscall <> 'snapshot'
    UNION ALL
    SELECT NULL, NULL, NULL, caller, NULL, path, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, uid, NULL, gid, NULL, NULL, NULL, NULL, NULL, NULL, NULL, pid,
        time, 'fork', CAST(eid AS TEXT), NULL, time_ns, caller_guid
    FROM process_fork_events
    UNION ALL
    SELECT NULL, NULL, NULL, pid, NULL, path, parent, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, uid, NULL, gid, NULL, NULL, NULL, NULL, NULL, NULL, exit_code,
        NULL, time, 'exit', CAST(eid AS TEXT), NULL, time_ns, guid
    FROM process_exit_events;

-- Called as process_ancestors(process).
-- A process and what it came from: one row for itself, one for the process that created it, and so on, each with the program that it ran when it created the one before. A parent that took a process over later is none of them.
CREATE TABLE process_ancestors (
    depth BIGINT NOT NULL, -- 0 for the process itself, 1 for its parent, and so on.
    pid BIGINT NOT NULL, -- Process id.
    path TEXT, -- Path of the program; for the process itself of its last one. Null when nothing is recorded.
    cmdline TEXT, -- Its arguments, joined by spaces; null for a process that called no exec yet.
    uid BIGINT, -- Real user id it was started with.
    time BIGINT, -- When the process was created, in seconds since the Unix epoch; null when that is not recorded.
    time_ns BIGINT, -- Likewise in nanoseconds.
    end_ns BIGINT, -- When it ended, in nanoseconds since the Unix epoch; null while it runs.
    exit_code BIGINT, -- What it passed to exit; null when it runs or a signal ended it.
    signal BIGINT, -- The signal that ended it.
    start_ns BIGINT NOT NULL, -- Start of the process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of the process.
    parent_guid TEXT, -- Identity of the process that created it; null when that is not recorded.
    process TEXT HIDDEN NOT NULL -- The argument: the identity of the process asked for.
);

-- Called as process_descendants(process).
-- A process and what came from it: one row for itself, one for each process that it created, for each that those created, and so on, in the order of their creation. What another process created and it took over later is none of them; more than 100,000 are an error.
CREATE TABLE process_descendants (
    depth BIGINT NOT NULL, -- 0 for the process itself, 1 for its children, and so on.
    pid BIGINT NOT NULL, -- Process id.
    path TEXT, -- Path of its last program; null when nothing is recorded.
    cmdline TEXT, -- Its arguments, joined by spaces; null for a process that called no exec.
    uid BIGINT, -- Real user id it was started with.
    time BIGINT, -- When the process was created, in seconds since the Unix epoch; null when that is not recorded.
    time_ns BIGINT, -- Likewise in nanoseconds.
    end_ns BIGINT, -- When it ended, in nanoseconds since the Unix epoch; null while it runs.
    exit_code BIGINT, -- What it passed to exit; null when it runs or a signal ended it.
    signal BIGINT, -- The signal that ended it.
    start_ns BIGINT NOT NULL, -- Start of the process, in nanoseconds since boot.
    guid TEXT NOT NULL, -- Identity of the process.
    parent_guid TEXT, -- Identity of the process that created it; null when that is not recorded.
    process TEXT HIDDEN NOT NULL -- The argument: the identity of the process asked for.
);
