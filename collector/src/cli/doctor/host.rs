//! What the kernel offers and what this process may do.

use serde::Serialize;

/// A property of the host.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
}

/// A right that a source needs.
#[derive(Debug, Serialize)]
pub(super) struct Right {
    /// The source.
    pub(super) source: String,
    /// The kernel's name of it.
    pub(super) name: String,
    /// Whether this process has it.
    pub(super) have: bool,
    /// Whether anything needs it on this kernel.
    pub(super) needed: bool,
    /// What it is needed for, in words.
    pub(super) needed_for: String,
}

#[cfg(target_os = "linux")]
pub(super) use linux::{facts, rights};

/// The properties of the host that matter to the sources.
#[cfg(not(target_os = "linux"))]
pub(super) fn facts() -> Vec<Fact> {
    vec![Fact {
        name: "system".to_owned(),
        value: format!("{} on {}", std::env::consts::OS, std::env::consts::ARCH),
    }]
}

/// The rights that sources need; none that could be asked for here.
#[cfg(not(target_os = "linux"))]
pub(super) fn rights() -> Vec<Right> {
    Vec::new()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::path::Path;

    use caps::{CapSet, Capability};

    use super::{Fact, Right};
    use crate::publish::{file_inotify, process_connector, process_ebpf, process_scan};

    /// Inodes of the first pid and user namespace: `PROC_PID_INIT_INO` and `PROC_USER_INIT_INO`,
    /// <https://github.com/torvalds/linux/blob/v6.12/include/linux/proc_ns.h#L42>.
    const FIRST_PID_NAMESPACE: &str = "pid:[4026531836]";
    const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";

    /// The first kernel that accounts the memory of BPF to a cgroup instead of RLIMIT_MEMLOCK.
    const FIRST_WITHOUT_MEMLOCK: (u32, u32) = (5, 11);

    /// The first kernel whose proc connector serves everybody.
    const FIRST_CONNECTOR_FOR_ALL: (u32, u32) = (6, 6);

    const EBPF: &str = process_ebpf::SOURCE;
    const CONNECTOR: &str = process_connector::SOURCE;
    const SCAN: &str = process_scan::SOURCE;
    const INOTIFY: &str = file_inotify::SOURCE;
    const PROGRAMS: &str = "programs and folders of other users' processes";

    /// The properties of the host that matter to the sources.
    pub(in super::super) fn facts() -> Vec<Fact> {
        let fact = |name: &str, value: String| Fact { name: name.to_owned(), value };
        let unknown = "not known: /sys/kernel/security cannot be read";
        let security = |file: &str| read(&format!("/sys/kernel/security/{file}"));
        vec![
            fact("kernel", format!("{} on {}", release(), std::env::consts::ARCH)),
            fact(
                "BTF",
                if Path::new("/sys/kernel/btf/vmlinux").exists() {
                    "yes".to_owned()
                } else {
                    "no: the kernel was built without CONFIG_DEBUG_INFO_BTF, so probes cannot be used"
                    .to_owned()
                },
            ),
            fact(
                "lockdown",
                security("lockdown").map_or(unknown.to_owned(), |modes| lockdown(&modes)),
            ),
            fact(
                "security modules",
                security("lsm").map_or(unknown.to_owned(), |modules| with_bpf(&modules)),
            ),
            fact("pid namespace", namespace("pid", FIRST_PID_NAMESPACE)),
            fact("/proc", proc_is_own()),
            fact("user namespace", namespace("user", FIRST_USER_NAMESPACE)),
        ]
    }

    /// The rights that sources need, and whether this process has them in effect.
    pub(in super::super) fn rights() -> Vec<Right> {
        let version = version(&release());
        let before = |first| version.is_some_and(|version| version < first);
        let memlock = before(FIRST_WITHOUT_MEMLOCK);
        let connector = before(FIRST_CONNECTOR_FOR_ALL);
        [
            (EBPF, Capability::CAP_BPF, true, "loading the probes; CAP_SYS_ADMIN serves too"),
            (EBPF, Capability::CAP_PERFMON, true, "attaching the probes; CAP_SYS_ADMIN serves too"),
            (
                EBPF,
                Capability::CAP_SYS_RESOURCE,
                memlock,
                "memory for the probes before Linux 5.11",
            ),
            (EBPF, Capability::CAP_SYS_PTRACE, true, "arguments of what ran before"),
            (CONNECTOR, Capability::CAP_NET_ADMIN, connector, "listening, before Linux 6.6"),
            (CONNECTOR, Capability::CAP_SYS_PTRACE, true, PROGRAMS),
            (SCAN, Capability::CAP_SYS_PTRACE, true, PROGRAMS),
            (SCAN, Capability::CAP_DAC_READ_SEARCH, true, "their environments"),
            (INOTIFY, Capability::CAP_DAC_READ_SEARCH, true, "folders of other users"),
        ]
        .into_iter()
        .map(|(source, capability, needed, needed_for)| Right {
            source: source.to_owned(),
            name: capability.to_string(),
            have: has(capability),
            needed,
            needed_for: needed_for.to_owned(),
        })
        .collect()
    }

    fn has(capability: Capability) -> bool {
        let effective = |capability| {
            // It fails only for a thread that does not exist.
            caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
        };
        let by_admin = matches!(capability, Capability::CAP_BPF | Capability::CAP_PERFMON);
        effective(capability) || by_admin && effective(Capability::CAP_SYS_ADMIN)
    }

    /// The mode of lockdown, and what it forbids.
    fn lockdown(modes: &str) -> String {
        match chosen(modes).unwrap_or(modes) {
            "confidentiality" => {
                "confidentiality: nobody may read the kernel's memory, so probes cannot be used"
                    .to_owned()
            }
            mode => mode.to_owned(),
        }
    }

    /// The modules, and whether programs in the hooks of security modules would run: without `bpf`
    /// among them they can be attached and never do.
    fn with_bpf(modules: &str) -> String {
        if modules.split(',').any(|module| module == "bpf") {
            return modules.to_owned();
        }
        format!("{modules}; not bpf, so that programs in their hooks would never run")
    }

    /// Whether `/proc` is that of this process's own pid namespace.
    fn proc_is_own() -> String {
        match fs::read_link("/proc/self") {
            Ok(own) if own.to_str() == Some(&std::process::id().to_string()) => {
                "its own".to_owned()
            }
            Ok(_) => {
                "that of another pid namespace: process ids in it are not this one's".to_owned()
            }
            Err(error) => format!("not known: {error}"),
        }
    }

    fn namespace(name: &str, first: &str) -> String {
        match fs::read_link(format!("/proc/self/ns/{name}")) {
            Ok(link) if link.as_os_str() == first => "the host's".to_owned(),
            Ok(_) if name == "pid" => {
                "not the host's: process ids here differ from those in events".to_owned()
            }
            Ok(_) => "not the host's: user ids here differ from those in events".to_owned(),
            Err(error) => format!("not known: {error}"),
        }
    }

    fn release() -> String {
        read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "not known".to_owned())
    }

    /// Major and minor version of a kernel release such as `6.1.0-44-amd64`.
    fn version(release: &str) -> Option<(u32, u32)> {
        let mut numbers = release.split(|character: char| !character.is_ascii_digit());
        let mut next = || numbers.next()?.parse().ok();
        Some((next()?, next()?))
    }

    /// The word in brackets of `none [integrity] confidentiality`.
    fn chosen(modes: &str) -> Option<&str> {
        modes.split_once('[')?.1.split_once(']').map(|(mode, _)| mode)
    }

    fn read(path: &str) -> Option<String> {
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn releases_are_read() {
            assert_eq!(version("6.1.0-44-amd64"), Some((6, 1)));
            assert_eq!(version("5.10.245"), Some((5, 10)));
            assert_eq!(version("4"), None);
            assert_eq!(version("not known"), None);
        }

        #[test]
        fn the_mode_of_lockdown_says_what_it_forbids() {
            assert_eq!(lockdown("[none] integrity confidentiality"), "none");
            let locked = lockdown("none integrity [confidentiality]");
            assert!(locked.ends_with("probes cannot be used"), "{locked}");
            assert_eq!(with_bpf("lockdown,yama,bpf"), "lockdown,yama,bpf");
            assert!(with_bpf("lockdown,bpfx").contains("never run"));
            assert_eq!(proc_is_own(), "its own");
        }

        #[test]
        fn lockdown_is_read() {
            assert_eq!(chosen("none [integrity] confidentiality"), Some("integrity"));
            assert_eq!(chosen(""), None);
        }

        #[test]
        fn this_host_has_a_kernel_and_its_rights_agree_with_the_kernel() {
            let kernel = facts().into_iter().find(|fact| fact.name == "kernel").unwrap();
            assert!(version(&kernel.value).is_some(), "{}", kernel.value);
            let status = procfs::process::Process::myself().unwrap().status().unwrap();
            for right in rights() {
                let capability: Capability = right.name.parse().unwrap();
                let bit = |capability: Capability| status.capeff >> capability.index() & 1 == 1;
                let admin = matches!(capability, Capability::CAP_BPF | Capability::CAP_PERFMON)
                    && bit(Capability::CAP_SYS_ADMIN);
                assert_eq!(right.have, bit(capability) || admin, "{}", right.name);
            }
        }
    }
}
