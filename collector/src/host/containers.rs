//! Which container a cgroup is of, told by its path.
//!
//! | runtime | the last component that names the container |
//! | --- | --- |
//! | docker | `docker-ID.scope` (systemd), `docker/ID` (cgroupfs) |
//! | containerd | `cri-containerd-ID.scope`, `nerdctl-ID.scope`, `…:cri-containerd:ID`, `default/ID` |
//! | cri-o | `crio-ID.scope`, `crio/crio-ID` |
//! | podman | `libpod-ID.scope`, `libpod_parent/libpod-ID` |
//! | lxc | `lxc.payload.NAME`, `lxc.payload/NAME`, `lxc/NAME` |
//! | systemd-nspawn | `systemd-nspawn@NAME.service`, `machine-NAME.scope` below `machine.slice` |
//!
//! Below `kubepods` with cgroupfs a component is the bare id, which does not tell the runtime. What
//! supervises a container (`conmon`, `lxc.monitor`) is not in it.

use crate::events::Container;

/// Hexadecimal digits of an id.
const ID_CHARACTERS: usize = 64;

/// Prefixes of components that end in an id.
const PREFIXES: &[(&str, &str)] = &[
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
];

/// Parents of components that are an id.
const PARENTS: &[(&str, Option<&str>)] =
    &[("docker", Some("docker")), ("default", Some("containerd"))];

/// The container of a cgroup; the innermost one when one runs in another.
#[must_use]
pub fn of_cgroup(path: &str) -> Option<Container> {
    let components: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let in_kubernetes = components.iter().any(|name| name.starts_with("kubepods"));
    (0..components.len()).rev().find_map(|index| {
        let name = *components.get(index)?;
        let above = index.checked_sub(1).and_then(|above| components.get(above)).copied();
        by_prefix(name)
            .or_else(|| by_parent(above, name, in_kubernetes))
            .or_else(|| lxc(above, name))
            .or_else(|| nspawn(above, name))
    })
}

fn by_prefix(name: &str) -> Option<Container> {
    let name = name.strip_suffix(".scope").unwrap_or(name);
    if let Some((_, id)) = name.rsplit_once(":cri-containerd:").filter(|(_, id)| is_id(id)) {
        return container(id, Some("containerd"));
    }
    PREFIXES.iter().find_map(|(prefix, runtime)| {
        let id = name.strip_prefix(prefix).filter(|id| is_id(id))?;
        container(id, Some(runtime))
    })
}

fn by_parent(above: Option<&str>, name: &str, in_kubernetes: bool) -> Option<Container> {
    if !is_id(name) {
        return None;
    }
    let named = PARENTS.iter().find(|(parent, _)| above == Some(parent));
    match named {
        Some((_, runtime)) => container(name, *runtime),
        None if in_kubernetes => container(name, None),
        None => None,
    }
}

fn lxc(above: Option<&str>, name: &str) -> Option<Container> {
    let id = match above {
        Some("lxc" | "lxc.payload") => name,
        _ => name.strip_prefix("lxc.payload.")?,
    };
    container(id, Some("lxc"))
}

fn nspawn(above: Option<&str>, name: &str) -> Option<Container> {
    let unit = name.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"));
    let scope = || {
        let machine = name.strip_prefix("machine-").and_then(|rest| rest.strip_suffix(".scope"));
        // Virtual machines of libvirt are scopes there, too.
        machine.filter(|name| above == Some("machine.slice") && !name.starts_with("qemu"))
    };
    container(&unescaped(unit.or_else(scope)?), Some("systemd-nspawn"))
}

fn container(id: &str, runtime: Option<&'static str>) -> Option<Container> {
    (!id.is_empty()).then(|| Container { id: id.to_owned(), runtime })
}

fn is_id(text: &str) -> bool {
    text.len() == ID_CHARACTERS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The name that systemd wrote as part of a unit's: `\xHH` stands for a byte (`systemd-escape(1)`).
fn unescaped(name: &str) -> String {
    String::from_utf8_lossy(&crate::host::text::bytes(name)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::of_cgroup;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[track_caller]
    fn check(path: &str, expected: Option<(&str, Option<&str>)>) {
        let path = path.replace("ID", ID);
        let found = of_cgroup(&path);
        let found = found.as_ref().map(|found| (found.id.as_str(), found.runtime));
        assert_eq!(found, expected, "{path}");
    }

    /// Paths as the runtimes make them, with cgroup v1 and v2, by systemd and by themselves.
    #[test]
    fn paths_of_containers_are_told() {
        let docker = Some((ID, Some("docker")));
        check("/docker/ID", docker);
        check("/system.slice/docker-ID.scope", docker);
        check("/system.slice/docker-ID.scope/init.scope", docker);
        check("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope", docker);
        check("/kubepods.slice/kubepods-pod1a_2b.slice/docker-ID.scope", docker);
        let containerd = Some((ID, Some("containerd")));
        check("/kubepods.slice/kubepods-burstable.slice/cri-containerd-ID.scope", containerd);
        check(
            "/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:ID",
            containerd,
        );
        check("/default/ID", containerd);
        check("/user.slice/nerdctl-ID.scope", containerd);
        let crio = Some((ID, Some("cri-o")));
        check("/kubepods.slice/kubepods-besteffort.slice/crio-ID.scope", crio);
        check("/kubepods.slice/kubepods-besteffort.slice/crio-ID.scope/container", crio);
        let podman = Some((ID, Some("podman")));
        check("/machine.slice/libpod-ID.scope", podman);
        check("/machine.slice/libpod-ID.scope/container", podman);
        check("/libpod_parent/libpod-ID", podman);
        check("/kubepods/burstable/pod1a-2b/ID", Some((ID, None)));
        check("/kubelet/kubepods/besteffort/pod1/ID/nested", Some((ID, None)));
        let lxc = Some(("web-1", Some("lxc")));
        check("/lxc.payload.web-1", lxc);
        check("/lxc.payload.web-1/system.slice/cron.service", lxc);
        check("/lxc.payload/web-1", lxc);
        check("/lxc/web-1", lxc);
        let nspawn = Some(("deb-1", Some("systemd-nspawn")));
        check(r"/machine.slice/machine-deb\x2d1.scope", nspawn);
        check(r"/machine.slice/systemd-nspawn@deb\x2d1.service/payload", nspawn);
    }

    #[test]
    fn the_innermost_container_counts() {
        let inner = ID.replace('0', "f");
        let path = format!("/docker/{ID}/docker/{inner}");
        assert_eq!(of_cgroup(&path).unwrap().id, inner);
    }

    #[test]
    fn what_is_no_container_is_none() {
        for path in [
            "",
            "/",
            "/init.scope",
            "/system.slice/ssh.service",
            "/system.slice/docker.service",
            "/user.slice/user-1000.slice/session-1.scope",
            "/machine.slice/libpod-conmon-ID.scope",
            "/kubepods.slice/kubepods-besteffort.slice/crio-conmon-ID.scope",
            "/lxc.monitor.web-1",
            r"/machine.slice/machine-qemu\x2d1\x2dvm.scope",
            "/system.slice/machine-1.scope",
            "/somewhere/ID",
            "/docker/0123",
        ] {
            check(path, None);
        }
    }
}
