//! The members of kernel structs that the probes read.

/// Hands the list of kernel members that the probes read to the macro `$then`.
///
/// Each line is the name of a global of the probes, the struct, the member (a dotted path, with
/// alternatives between `|` for kernels that call it otherwise), and what cannot do without it:
/// `all`, `exec`, `exit`, `fork`, or `none`.
#[macro_export]
macro_rules! members {
    ($then:ident) => {
        $then! {
            TASK_TGID "task_struct" "tgid" all;
            TASK_FLAGS "task_struct" "flags" none;
            TASK_GROUP_LEADER "task_struct" "group_leader" all;
            TASK_REAL_PARENT "task_struct" "real_parent" all;
            TASK_START "task_struct" "start_boottime|real_start_time" all;
            TASK_CRED "task_struct" "cred" all;
            TASK_SIGNAL "task_struct" "signal" exit;
            TASK_MM "task_struct" "mm" exec;
            TASK_EXEC_ID "task_struct" "self_exec_id" none;
            TASK_FS "task_struct" "fs" none;
            TASK_NSPROXY "task_struct" "nsproxy" none;
            TASK_THREAD_PID "task_struct" "thread_pid" none;
            TASK_CGROUPS "task_struct" "cgroups" none;
            TASK_LOGIN_UID "task_struct" "loginuid" none;
            TASK_AUDIT_SESSION "task_struct" "sessionid" none;
            TASK_EXIT_CODE "task_struct" "exit_code" exit;
            TASK_RUNTIME "task_struct" "se.sum_exec_runtime" none;
            TASK_THREAD_NODE "task_struct" "thread_node" none;
            TASK_PID "task_struct" "pid" all;
            CRED_UID "cred" "uid" all;
            CRED_GID "cred" "gid" all;
            CRED_EUID "cred" "euid" exec;
            CRED_EGID "cred" "egid" exec;
            CRED_SUID "cred" "suid" exec;
            CRED_SGID "cred" "sgid" exec;
            CRED_FSUID "cred" "fsuid" exec;
            CRED_FSGID "cred" "fsgid" exec;
            CRED_USER_NS "cred" "user_ns" none;
            CRED_PERMITTED "cred" "cap_permitted" none;
            CRED_EFFECTIVE "cred" "cap_effective" none;
            SIGNAL_LIVE "signal_struct" "live.counter" exit;
            SIGNAL_FLAGS "signal_struct" "flags" exit;
            SIGNAL_GROUP_EXIT_CODE "signal_struct" "group_exit_code" exit;
            SIGNAL_RUNTIME "signal_struct" "sum_sched_runtime" none;
            SIGNAL_THREADS "signal_struct" "thread_head" none;
            SIGNAL_PIDS "signal_struct" "pids" none;
            SIGNAL_TTY "signal_struct" "tty" none;
            SIGNAL_USER_TIME "signal_struct" "utime" none;
            SIGNAL_SYSTEM_TIME "signal_struct" "stime" none;
            SIGNAL_RSS_MAX "signal_struct" "maxrss" none;
            SIGNAL_READ "signal_struct" "ioac.read_bytes" none;
            SIGNAL_WRITTEN "signal_struct" "ioac.write_bytes" none;
            TASK_USER_TIME "task_struct" "utime" none;
            TASK_SYSTEM_TIME "task_struct" "stime" none;
            TASK_READ "task_struct" "ioac.read_bytes" none;
            TASK_WRITTEN "task_struct" "ioac.write_bytes" none;
            TTY_NAME "tty_struct" "name" none;
            TASK_SIGHAND "task_struct" "sighand" none;
            TASK_PTRACED "task_struct" "ptraced" none;
            TASK_PTRACE_ENTRY "task_struct" "ptrace_entry" none;
            TASK_FILES "task_struct" "files" image;
            TASK_PID_LINKS "task_struct" "pid_links" none;
            FILES_TABLE "files_struct" "fdt" image;
            TABLE_FILES "fdtable" "fd" image;
            TABLE_SIZE "fdtable" "max_fds" image;
            FILE_MODE "file" "f_mode" none;
            PROC_INODE "proc_inode" "vfs_inode" none;
            PROC_PID "proc_inode" "pid" none;
            PID_TASKS "pid" "tasks" none;
            SIGHAND_ACTION "sighand_struct" "action" none;
            SIGINFO_CODE "kernel_siginfo" "si_code" none;
            MODULE_NAME "module" "name" module;
            MODULE_SIGNED "module" "sig_ok" none;
            MODULE_TAINTS "module" "taints" none;
            PID_LEVEL "pid" "level" none;
            PID_NUMBERS "pid" "numbers" none;
            UPID_NR "upid" "nr" none;
            UPID_NS "upid" "ns" none;
            PID_NS_INUM "pid_namespace" "ns.inum" none;
            USER_NS_INUM "user_namespace" "ns.inum" none;
            MNT_NS_INUM "mnt_namespace" "ns.inum" none;
            NET_INUM "net" "ns.inum" none;
            NSPROXY_MNT "nsproxy" "mnt_ns" none;
            NSPROXY_NET "nsproxy" "net_ns" none;
            CSS_SET_DEFAULT "css_set" "dfl_cgrp" none;
            CGROUP_NODE "cgroup" "kn" none;
            CSS_SET_SUBSYSTEMS "css_set" "subsys" none;
            CSS_CGROUP "cgroup_subsys_state" "cgroup" none;
            KERNFS_ID "kernfs_node" "id" none;
            KERNFS_PARENT "kernfs_node" "parent|__parent" none;
            KERNFS_NAME "kernfs_node" "name" none;
            MM_ARG_START "mm_struct" "arg_start" exec;
            MM_ARG_END "mm_struct" "arg_end" exec;
            MM_ENV_START "mm_struct" "env_start" none;
            MM_ENV_END "mm_struct" "env_end" none;
            MM_EXE_FILE "mm_struct" "exe_file" exec;
            FILE_DENTRY "file" "f_path.dentry" exec;
            FILE_MOUNT "file" "f_path.mnt" exec;
            FILE_INODE "file" "f_inode" none;
            FS_CWD_DENTRY "fs_struct" "pwd.dentry" none;
            FS_CWD_MOUNT "fs_struct" "pwd.mnt" none;
            FS_ROOT_DENTRY "fs_struct" "root.dentry" none;
            FS_ROOT_MOUNT "fs_struct" "root.mnt" none;
            DENTRY_PARENT "dentry" "d_parent|__d_parent" exec;
            DENTRY_SHORT_NAME "dentry" "d_iname|d_shortname" none;
            DENTRY_NAME "dentry" "d_name.name|__d_name.name" exec;
            VFSMOUNT_ROOT "vfsmount" "mnt_root" exec;
            VFSMOUNT_SUPER "vfsmount" "mnt_sb" none;
            MOUNT_VFSMOUNT "mount" "mnt" exec;
            MOUNT_PARENT "mount" "mnt_parent" exec;
            MOUNT_POINT "mount" "mnt_mountpoint" exec;
            MOUNT_NS "mount" "mnt_ns" none;
            INODE_SUPER "inode" "i_sb" none;
            INODE_NUMBER "inode" "i_ino" none;
            INODE_MODE "inode" "i_mode" none;
            INODE_UID "inode" "i_uid" none;
            INODE_GID "inode" "i_gid" none;
            INODE_ATIME "inode" "i_atime_sec|__i_atime.tv_sec|i_atime.tv_sec" none;
            INODE_MTIME "inode" "i_mtime_sec|__i_mtime.tv_sec|i_mtime.tv_sec" none;
            INODE_CTIME "inode" "i_ctime_sec|__i_ctime.tv_sec|i_ctime.tv_sec" none;
            INODE_CTIME_NSEC "inode" "i_ctime_nsec|__i_ctime.tv_nsec|i_ctime.tv_nsec" none;
            INODE_SIZE "inode" "i_size" none;
            INODE_LINKS "inode" "i_nlink" none;
            SUPER_DEVICE "super_block" "s_dev" none;
            SUPER_MAGIC "super_block" "s_magic" none;
            SUPER_ROOT "super_block" "s_root" none;
            BPRM_FILENAME "linux_binprm" "filename" none;
            BPRM_INTERPRETER "linux_binprm" "interp" none;
            BPRM_ENVC "linux_binprm" "envc" none;
        }
    };
}
