//! Offsets of struct members, read from the kernel's own description of its types (BTF).
//!
//! Only what the probes need: members by dotted path, through anonymous structs and unions; sizes;
//! enumerators; and how many parameters a tracepoint hands over. The format is in
//! `Documentation/bpf/btf.rst` of the kernel.
//!
//! **Invariant:** the bytes are not trusted; whatever does not fit is "not there", never a panic.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the running kernel keeps the description of its types.
pub const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;

/// Modifiers and anonymous members that are followed before a type is given up as circular.
const DEPTH_MAX: u32 = 16;

const KIND_PTR: u32 = 2;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_TYPEDEF: u32 = 8;
const KIND_VOLATILE: u32 = 9;
const KIND_CONST: u32 = 10;
const KIND_RESTRICT: u32 = 11;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_TYPE_TAG: u32 = 18;

/// Why a description of types cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// It could not be read; without it the kernel was built without `CONFIG_DEBUG_INFO_BTF`.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not of the format.
    #[error("not a description of types: {what}")]
    Format {
        /// What does not fit.
        what: &'static str,
    },
}

/// A description of types.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings_at: usize,
    /// Where each type begins in `bytes`; type 0 is void and begins nowhere.
    types: Vec<usize>,
    /// Types by name: structs, unions, enums, and typedefs where no such has the name.
    names: HashMap<Box<[u8]>, u32>,
}

/// The common start of every type.
#[derive(Clone, Copy)]
struct Type {
    /// Where what follows the common start begins in the bytes.
    rest_at: usize,
    name_at: u32,
    kind: u32,
    count: u32,
    bitfields: bool,
    /// Size, or the type referred to.
    size_or_type: u32,
}

/// A member of a struct or union.
struct Member {
    /// Its offset in bits.
    bits: u32,
    ty: u32,
    /// Its width in bits, 0 when it is no bitfield.
    bitfield: u32,
}

impl Btf {
    /// The running kernel's.
    ///
    /// # Errors
    /// When the kernel has none, or it cannot be read.
    pub fn of_kernel() -> Result<Self, BtfError> {
        let path = Path::new(KERNEL_BTF);
        let bytes = std::fs::read(path)
            .map_err(|source| BtfError::Read { path: path.to_owned(), source })?;
        Self::parse(bytes)
    }

    /// From the bytes of a BTF section.
    ///
    /// # Errors
    /// When the bytes are not of the format.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let format = |what| BtfError::Format { what };
        if bytes.get(..2) != Some(&MAGIC.to_le_bytes()[..]) {
            return Err(format("wrong magic number"));
        }
        let field = |at| word(&bytes, at).map(|value| value as usize);
        let header = || Some((field(4)?, field(8)?, field(12)?, field(16)?, field(20)?));
        let Some((header_len, types_off, types_len, strings_off, strings_len)) = header() else {
            return Err(format("the header is cut short"));
        };
        if header_len < HEADER_BYTES {
            return Err(format("the header is too small"));
        }
        let section = |off: usize, len: usize| {
            let start = header_len.checked_add(off)?;
            let end = start.checked_add(len)?;
            (end <= bytes.len()).then_some((start, end))
        };
        let types = section(types_off, types_len).ok_or_else(|| format("types are cut short"))?;
        let (strings_at, _) =
            section(strings_off, strings_len).ok_or_else(|| format("names are cut short"))?;
        let mut btf = Self { bytes, strings_at, types: vec![0], names: HashMap::new() };
        btf.index(types.0, types.1)?;
        Ok(btf)
    }

    /// Byte offset of a member. `path` is dotted; `|` separates alternatives, tried in turn.
    /// `None` when the struct has no such member, or it does not begin at a byte.
    #[must_use]
    pub fn member(&self, structure: &str, path: &str) -> Option<u32> {
        path.split('|').find_map(|path| self.dotted(structure, path))
    }

    /// Offset in bits of a member that is one bit wide.
    #[must_use]
    pub fn bit(&self, structure: &str, name: &str) -> Option<u32> {
        let member = self.find(self.named(structure)?, name, 0)?;
        (member.bitfield == 1).then_some(member.bits)
    }

    /// Size of a struct or union in bytes.
    #[must_use]
    pub fn size(&self, structure: &str) -> Option<u32> {
        let found = self.ty(self.named(structure)?)?;
        matches!(found.kind, KIND_STRUCT | KIND_UNION).then_some(found.size_or_type)
    }

    /// Value of an enumerator.
    #[must_use]
    pub fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let found = self.ty(self.named(enumeration)?)?;
        if found.kind != KIND_ENUM {
            return None;
        }
        (0..found.count as usize).find_map(|index| {
            let at = found.rest_at + index * 8;
            let same = self.string(word(&self.bytes, at)?)? == name.as_bytes();
            same.then(|| word(&self.bytes, at + 4)).flatten()
        })
    }

    /// How many arguments a raw tracepoint hands over.
    #[must_use]
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<u32> {
        let typedef = self.ty(self.named(&format!("btf_trace_{tracepoint}"))?)?;
        let pointer = self.ty(typedef.size_or_type)?;
        let prototype = self.ty(pointer.size_or_type)?;
        let is_function = typedef.kind == KIND_TYPEDEF
            && pointer.kind == KIND_PTR
            && prototype.kind == KIND_FUNC_PROTO;
        // The first parameter is the tracepoint's private data.
        is_function.then(|| prototype.count.saturating_sub(1))
    }

    fn index(&mut self, start: usize, end: usize) -> Result<(), BtfError> {
        let mut at = start;
        while at < end {
            let cut = || BtfError::Format { what: "a type is cut short" };
            let found = type_at(&self.bytes, at).ok_or_else(cut)?;
            let extra = extra_bytes(found.kind, found.count as usize)
                .ok_or(BtfError::Format { what: "a type is of an unknown kind" })?;
            let id = u32::try_from(self.types.len())
                .ok()
                .ok_or(BtfError::Format { what: "there are too many types" })?;
            self.types.push(at);
            self.enter(found, id);
            at = found.rest_at + extra;
        }
        if at == end {
            Ok(())
        } else {
            Err(BtfError::Format { what: "the last type is cut short" })
        }
    }

    fn enter(&mut self, found: Type, id: u32) {
        let Some(name) = self.string(found.name_at).filter(|name| !name.is_empty()) else {
            return;
        };
        let name: Box<[u8]> = name.into();
        match found.kind {
            KIND_STRUCT | KIND_UNION | KIND_ENUM => {
                self.names.insert(name, id);
            }
            KIND_TYPEDEF if name.starts_with(b"btf_trace_") => {
                self.names.insert(name, id);
            }
            _ => {}
        }
    }

    fn dotted(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = self.named(structure)?;
        let mut bits = 0_u32;
        for name in path.split('.') {
            let member = self.find(id, name, 0).filter(|member| member.bitfield == 0)?;
            bits = bits.checked_add(member.bits)?;
            id = member.ty;
        }
        bits.is_multiple_of(8).then_some(bits / 8)
    }

    /// The member called `name`, looked for in anonymous members too.
    fn find(&self, id: u32, name: &str, depth: u32) -> Option<Member> {
        let found = self.ty(self.unmodified(id)?)?;
        if depth > DEPTH_MAX || !matches!(found.kind, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        (0..found.count as usize).find_map(|index| {
            let at = found.rest_at + index * 12;
            let member_name = self.string(word(&self.bytes, at)?)?;
            let member_type = word(&self.bytes, at + 4)?;
            let raw = word(&self.bytes, at + 8)?;
            let (bits, bitfield) =
                if found.bitfields { (raw & 0xff_ffff, raw >> 24) } else { (raw, 0) };
            if member_name == name.as_bytes() {
                return Some(Member { bits, ty: member_type, bitfield });
            }
            if !member_name.is_empty() {
                return None;
            }
            let inner = self.find(member_type, name, depth + 1)?;
            Some(Member { bits: bits.checked_add(inner.bits)?, ..inner })
        })
    }

    /// The type behind typedefs and qualifiers.
    fn unmodified(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH_MAX {
            let found = self.ty(id)?;
            match found.kind {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = found.size_or_type;
                }
                _ => return Some(id),
            }
        }
        None
    }

    fn named(&self, name: &str) -> Option<u32> {
        self.names.get(name.as_bytes()).copied()
    }

    fn ty(&self, id: u32) -> Option<Type> {
        let at = *self.types.get(id as usize).filter(|_| id != 0)?;
        type_at(&self.bytes, at)
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let rest = self.bytes.get(self.strings_at.checked_add(offset as usize)?..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        rest.get(..end)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

fn type_at(bytes: &[u8], at: usize) -> Option<Type> {
    let info = word(bytes, at.checked_add(4)?)?;
    Some(Type {
        rest_at: at.checked_add(12)?,
        name_at: word(bytes, at)?,
        kind: info >> 24 & 0x1f,
        count: info & 0xffff,
        bitfields: info >> 31 != 0,
        size_or_type: word(bytes, at.checked_add(8)?)?,
    })
}

/// Bytes that follow the common start of a type, `None` for a kind this reader does not know.
const fn extra_bytes(kind: u32, count: usize) -> Option<usize> {
    match kind {
        2 | 7..=12 | 16 | 18 => Some(0),
        1 | 14 | 17 => Some(4),
        3 => Some(12),
        4 | 5 | 15 | 19 => Some(count * 12),
        6 | 13 => Some(count * 8),
        _ => None,
    }
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
