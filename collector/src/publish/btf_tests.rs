//! Tests of the BTF reader on a hand-made description, and on what could be done to it.

use super::{Btf, BtfError};

/// Builds a description of types, so that each test shows the types it is about.
#[derive(Default)]
struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Builder {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).expect("small");
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
    }

    fn structure(&mut self, kind: u32, name: &str, size: u32, members: &[(&str, u32, u32)]) {
        let name = self.name(name);
        let count = u32::try_from(members.len()).expect("small");
        self.words(&[name, kind << 24 | count, size]);
        for (member, ty, bits) in members {
            let member = self.name(member);
            self.words(&[member, *ty, *bits]);
        }
    }

    fn bytes(self) -> Vec<u8> {
        let types = u32::try_from(self.types.len()).expect("small");
        let strings = u32::try_from(self.strings.len()).expect("small");
        let mut out = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, strings] {
            out.extend_from_slice(&u32::to_le_bytes(word));
        }
        out.extend(self.types);
        out.extend(self.strings);
        out
    }
}

/// Type 1 is a 4-byte integer, 2 a struct with an anonymous union and a nested struct.
fn sample() -> Vec<u8> {
    let mut builder = Builder::new();
    let int = builder.name("int");
    builder.words(&[int, 1 << 24, 4, 32]);
    builder.structure(4, "outer", 24, &[("first", 1, 0), ("", 3, 32), ("nested", 5, 96)]);
    builder.structure(5, "", 8, &[("in_union", 1, 0), ("", 4, 0)]);
    builder.structure(4, "", 8, &[("deep", 1, 32)]);
    let alias = builder.name("inner_t");
    builder.words(&[alias, 8 << 24, 6]);
    builder.structure(4, "inner", 8, &[("low", 1, 0), ("high", 1, 32)]);
    let kinds = builder.name("pid_type");
    let session = builder.name("PIDTYPE_SID");
    let first = builder.name("PIDTYPE_PID");
    builder.words(&[kinds, 6 << 24 | 2, 4, first, 0, session, 3]);
    let trace = builder.name("btf_trace_sched_process_exit");
    builder.words(&[trace, 8 << 24, 9, 0, 2 << 24, 10, 0, 13 << 24 | 3, 0, 0, 1, 0, 1, 0, 1]);
    builder.bytes()
}

#[test]
fn members_are_found_through_anonymous_and_nested_types() {
    let btf = Btf::parse(sample()).unwrap();
    assert_eq!(btf.member("outer", "first"), Some(0));
    assert_eq!(btf.member("outer", "in_union"), Some(4));
    assert_eq!(btf.member("outer", "deep"), Some(8));
    assert_eq!(btf.member("outer", "nested.high"), Some(16));
    assert_eq!(btf.member("outer", "renamed|nested.low"), Some(12));
    assert_eq!(btf.member("outer", "absent"), None);
    assert_eq!(btf.member("absent", "first"), None);
    assert_eq!(btf.size("inner"), Some(8));
    assert_eq!(btf.enumerator("pid_type", "PIDTYPE_SID"), Some(3));
    assert_eq!(btf.tracepoint_arguments("sched_process_exit"), Some(2));
    assert_eq!(btf.tracepoint_arguments("sched_process_exec"), None);
}

#[test]
fn a_bitfield_has_no_offset_in_bytes() {
    let mut builder = Builder::new();
    let int = builder.name("int");
    builder.words(&[int, 1 << 24, 4, 32]);
    let name = builder.name("flags");
    let bit = builder.name("bit");
    let plain = builder.name("plain");
    builder.words(&[name, 1 << 31 | 4 << 24 | 2, 8, bit, 1, 1 << 24 | 3, plain, 1, 32]);
    let btf = Btf::parse(builder.bytes()).unwrap();
    assert_eq!(btf.member("flags", "bit"), None);
    assert_eq!(btf.member("flags", "plain"), Some(4));
    assert_eq!(btf.bit("flags", "bit"), Some(3));
    assert_eq!((btf.bit("flags", "plain"), btf.bit("flags", "absent")), (None, None));
}

#[test]
fn a_type_that_contains_itself_ends() {
    let mut builder = Builder::new();
    builder.structure(4, "loop", 8, &[("", 1, 0)]);
    builder.words(&[0, 10 << 24, 2]);
    builder.structure(4, "circle", 8, &[("", 2, 0)]);
    let btf = Btf::parse(builder.bytes()).unwrap();
    assert_eq!(btf.member("loop", "x"), None);
    assert_eq!(btf.member("circle", "x"), None);
}

#[test]
fn cut_and_garbled_bytes_are_refused_or_harmless() {
    let whole = sample();
    for length in 0..whole.len() {
        assert!(Btf::parse(whole.get(..length).unwrap().to_vec()).is_err(), "length {length}");
    }
    for at in 0..whole.len() {
        for value in [0, 0x7f, 0xff] {
            let mut garbled = whole.clone();
            garbled[at] = value;
            if let Ok(btf) = Btf::parse(garbled) {
                let offset = btf.member("outer", "nested.high");
                assert!(offset.is_none_or(|offset| offset <= u32::MAX / 8));
                let _size = btf.size("inner");
            }
        }
    }
}

#[test]
fn a_strange_file_is_named() {
    let error = Btf::parse(b"not this at all, but long enough".to_vec()).unwrap_err();
    assert!(matches!(error, BtfError::Format { what: "wrong magic number" }));
}

#[test]
#[cfg(target_os = "linux")]
fn the_running_kernel_has_what_every_kernel_has() {
    let Ok(btf) = Btf::of_kernel() else {
        assert!(std::env::var_os("CI").is_none(), "this kernel describes no types");
        eprintln!("skipped: this kernel describes no types");
        return;
    };
    assert!(btf.member("task_struct", "tgid").is_some_and(|offset| offset > 0));
    assert_eq!(btf.enumerator("pid_type", "PIDTYPE_SID"), Some(3));
    assert_eq!(btf.size("upid"), Some(16));
    assert_eq!(btf.tracepoint_arguments("sched_process_exec"), Some(3));
}
