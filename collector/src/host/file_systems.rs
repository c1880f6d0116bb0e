//! File systems by their magic numbers, which are those of `statfs(2)` and the kernel's `magic.h`.

/// File systems of another machine, or of a process: reading them has effects elsewhere, and may
/// never end.
const ELSEWHERE: [i64; 15] = [
    0x6969,      // NFS
    0x517b,      // SMB
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB2
    0x6573_5546, // FUSE
    0x00c3_6400, // Ceph
    0x5346_414f, // AFS, OpenAFS's
    0x6b41_4653, // AFS
    0x7375_7245, // Coda
    0x0102_1997, // 9P
    0x0116_1970, // GFS2
    0x7461_636f, // OCFS2
    0x0bd0_0bd0, // Lustre
    0x564c,      // NCP
    0x786f_4256, // vboxsf, which VirtualBox takes from the host
];

/// Whether a file system is another machine's, or a process's: reading it has effects elsewhere, and may
/// never end.
#[must_use]
pub fn is_elsewhere(kind: impl Into<i64>) -> bool {
    // Some systems have it in 32 bits, with a sign.
    let kind = kind.into() & 0xffff_ffff;
    ELSEWHERE.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known() {
        assert!(is_elsewhere(0x6573_5546_i64) && is_elsewhere(0x6969_i64));
        assert!(is_elsewhere(0xff53_4d42_u32.cast_signed()), "in 32 bits with a sign");
        assert!(!is_elsewhere(0xef53_i64));
    }
}
