//! The id of this boot.

/// The id that the kernel drew at boot.
///
/// Linux: `/proc/sys/kernel/random/boot_id`. macOS: sysctl `kern.bootsessionuuid`.
///
/// # Errors
/// When it cannot be read or is not a UUID.
#[cfg(target_os = "linux")]
pub fn boot_id() -> anyhow::Result<[u8; 16]> {
    use anyhow::Context;
    const PATH: &str = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(PATH).with_context(|| format!("reading {PATH}"))?;
    parse(text.trim())
}

/// The id that the kernel drew at boot.
///
/// # Errors
/// When it cannot be read or is not a UUID.
#[cfg(target_os = "macos")]
pub fn boot_id() -> anyhow::Result<[u8; 16]> {
    parse(&bygone_macos::boot_session_uuid()?)
}

/// A UUID in its usual text form.
fn parse(text: &str) -> anyhow::Result<[u8; 16]> {
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    let id = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
    let id = id.ok_or_else(|| anyhow::anyhow!("`{text}` is not a UUID"))?;
    Ok(id.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuid_is_read_in_order() {
        let id = parse("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!(id[0..3], [0x00, 0x11, 0x22]);
        assert_eq!(id[15], 0xff);
        assert!(parse("0011").is_err());
        assert!(parse("zz112233-4455-6677-8899-aabbccddeeff").is_err());
    }
}
