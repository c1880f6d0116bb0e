//! The values of the probes' globals on the running kernel.

use bygone_probe_abi::{ABSENT, CLASSES};

use crate::publish::btf::Btf;

/// A member of a kernel struct that the probes read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    /// Name of the global that takes the offset.
    pub(crate) global: &'static str,
    structure: &'static str,
    path: &'static str,
    /// The class of events that cannot do without it, `all`, or `none`.
    need: &'static str,
}

macro_rules! table {
    ($($global:ident $structure:literal $path:literal $need:ident;)*) => {
        /// All members that the probes read.
        pub(crate) const MEMBERS: &[Member] = &[
            $(Member {
                global: stringify!($global),
                structure: $structure,
                path: $path,
                need: stringify!($need),
            },)*
        ];
    };
}
bygone_probe_abi::members!(table);

/// What is set before loading, and what cannot be recorded without a member that is not there.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Globals and their values.
    pub(crate) globals: Vec<(&'static str, u32)>,
    /// Per class of events, why it cannot be recorded.
    pub(crate) disabled: [Option<String>; CLASSES.len()],
    /// Whether the exit tracepoint says which thread was the last.
    pub(crate) exit_says_last: bool,
}

/// Looks all members up.
pub(crate) fn resolve(btf: &Btf) -> Resolved {
    let mut globals = Vec::with_capacity(MEMBERS.len() + 3);
    let mut disabled: [Option<String>; CLASSES.len()] = Default::default();
    for member in MEMBERS {
        let offset = btf.member(member.structure, member.path);
        globals.push((member.global, offset.unwrap_or(ABSENT)));
        if offset.is_some() {
            continue;
        }
        for (class, reason) in CLASSES.iter().zip(&mut disabled) {
            if (member.need == "all" || member.need == *class) && reason.is_none() {
                *reason = Some(format!(
                    "this kernel has no member `{}` in `struct {}`",
                    member.path, member.structure
                ));
            }
        }
    }
    let in_exec = btf.bit("task_struct", "in_execve");
    globals.push(("TASK_IN_EXEC_BIT", in_exec.unwrap_or(ABSENT)));
    globals.push(("UPID_BYTES", btf.size("upid").unwrap_or(ABSENT)));
    let anonymous = btf.enumerator("init_ns_ino", "MNT_NS_ANON_INO");
    globals.push(("MNT_NS_ANONYMOUS", anonymous.unwrap_or(ABSENT)));
    for (name, controller) in [("CGROUP_PIDS", "pids_cgrp_id"), ("CGROUP_MEMORY", "memory_cgrp_id")]
    {
        let number = btf.enumerator("cgroup_subsys_id", controller);
        globals.push((name, number.unwrap_or(ABSENT)));
    }
    let session = btf.enumerator("pid_type", "PIDTYPE_SID");
    globals.push(("PID_TYPE_SESSION", session.unwrap_or(ABSENT)));
    let arguments = btf.tracepoint_arguments("sched_process_exit");
    Resolved { globals, disabled, exit_says_last: arguments.is_some_and(|count| count >= 2) }
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, MEMBERS, resolve};
    use crate::publish::btf::Btf;

    #[test]
    fn every_need_is_known() {
        for member in MEMBERS {
            let known = ["all", "none"].iter().chain(&CLASSES).any(|need| *need == member.need);
            assert!(known, "{}: {}", member.global, member.need);
        }
    }

    #[test]
    fn a_kernel_without_members_disables_everything_and_names_one() {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24_u32, 0, 0, 0, 1] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes.push(0);
        let resolved = resolve(&Btf::parse(bytes).unwrap());
        for reason in &resolved.disabled {
            let reason = reason.as_deref().unwrap();
            assert_eq!(reason, "this kernel has no member `tgid` in `struct task_struct`");
        }
        assert!(!resolved.exit_says_last);
        assert!(resolved.globals.iter().all(|(_, value)| *value == u32::MAX));
    }

    #[test]
    fn the_running_kernel_has_all_that_is_essential() {
        let Ok(btf) = Btf::of_kernel() else {
            assert!(std::env::var_os("CI").is_none(), "this kernel describes no types");
            eprintln!("skipped: this kernel describes no types");
            return;
        };
        assert!(resolve(&btf).disabled.iter().all(Option::is_none));
    }
}
