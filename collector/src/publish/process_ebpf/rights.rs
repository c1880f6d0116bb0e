//! What this process may do, in words, for errors about what it may not.

/// A capability: its name and bit.
const NEEDED: [(&str, u32); 2] = [("CAP_BPF", 39), ("CAP_PERFMON", 38)];
const CAP_SYS_ADMIN: u32 = 21;

/// The capabilities that loading the programs takes and this process lacks; empty when it has all.
pub(crate) fn missing() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_in(&status)
}

/// The mode of kernel lockdown, `None` when it is off or not told.
pub(crate) fn lockdown() -> Option<String> {
    let modes = std::fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    chosen(&modes).filter(|mode| mode != "none")
}

fn missing_in(status: &str) -> Vec<&'static str> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    let has = |bit: u32| effective >> bit & 1 != 0;
    if has(CAP_SYS_ADMIN) {
        return Vec::new();
    }
    NEEDED.iter().filter(|(_, bit)| !has(*bit)).map(|(name, _)| *name).collect()
}

/// The mode in brackets.
fn chosen(modes: &str) -> Option<String> {
    let (_, rest) = modes.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{chosen, missing_in};

    #[test]
    fn the_missing_are_named() {
        assert_eq!(missing_in("CapEff:\t0000000000000000\n"), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(missing_in("Name:\tx\nCapEff:\t0000008000000000\n"), ["CAP_PERFMON"]);
        assert!(missing_in("CapEff:\t000001fffeffffff\n").is_empty());
        assert!(missing_in("CapEff:\t0000000000200000\n").is_empty());
        assert_eq!(missing_in(""), ["CAP_BPF", "CAP_PERFMON"]);
    }

    #[test]
    fn the_mode_is_the_one_in_brackets() {
        assert_eq!(chosen("none [integrity] confidentiality\n").as_deref(), Some("integrity"));
        assert_eq!(chosen("[none] integrity confidentiality\n").as_deref(), Some("none"));
        assert_eq!(chosen(""), None);
    }
}
