//! Messages written down byte by byte in `fixtures/`, for the tests of decoding.
//!
//! A fixture names blocks of memory and what lies at which offset, so that it is independent of
//! the mirror. Everything else is poison: a pointer read from it leads nowhere and ends the test.

#![expect(unsafe_code, reason = "the message is made of pointers")]

use std::collections::HashMap;
use std::ops::Range;
use std::ptr::NonNull;

use crate::decode::{DecodeFailure, decode};
use crate::layout::{RawExec, RawMessage, RawString};
use crate::message::EsMessage;
use crate::view::{ExecArguments, MessageView};

/// No pointer into user memory looks like this, and no count is this high.
const POISON: u64 = 0xa5a5_a5a5_a5a5_a5a5;

/// A message in memory of its own, and its arguments.
pub(crate) struct Fixture {
    /// Words, so that blocks are aligned.
    memory: Vec<u64>,
    blocks: HashMap<String, usize>,
    /// Strings, which live as long as the fixture. Boxes keep their place when the list grows.
    strings: Vec<Box<[u8]>>,
    /// What `es_exec_arg_count` says, when not the truth.
    pub(crate) claimed_count: Option<u32>,
    /// What `es_exec_arg` returns.
    pub(crate) arguments: Vec<RawString>,
}

impl Fixture {
    /// Builds the message of a fixture as one of `version` would be.
    pub(crate) fn load(text: &str, version: u32) -> Self {
        let mut fixture = Self {
            memory: Vec::new(),
            blocks: HashMap::new(),
            strings: Vec::new(),
            claimed_count: None,
            arguments: Vec::new(),
        };
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let body_end = lines.iter().position(|line| *line == "args").unwrap_or(lines.len());
        let (body, arguments) = lines.split_at(body_end);
        // First all blocks, so that pointers to later ones have an address.
        for line in body {
            if let ["block", name, bytes] = *line.split(' ').collect::<Vec<_>>() {
                let start = fixture.memory.len() * 8;
                fixture.blocks.insert(name.to_owned(), start);
                let words = number(bytes).div_ceil(8) as usize;
                fixture.memory.resize(fixture.memory.len() + words, POISON);
            }
        }
        let mut block = "";
        for line in body.iter().filter(|line| !line.is_empty()) {
            match line.strip_prefix("block ") {
                Some(rest) => block = rest.split(' ').next().unwrap(),
                None => fixture.write_line(block, line, version),
            }
        }
        for argument in arguments.iter().skip(1) {
            let token = fixture.string(unescape(argument));
            fixture.arguments.push(token);
        }
        fixture
    }

    fn write_line(&mut self, block: &str, line: &str, version: u32) {
        let (line, since) = line.split_once(" since ").unwrap_or((line, "0"));
        if u64::from(version) < number(since) {
            return;
        }
        let (offset, rest) = line.split_once(' ').unwrap();
        let (kind, value) = rest.split_once(' ').unwrap_or((rest, ""));
        let bytes = match kind {
            "version" => version.to_le_bytes().to_vec(),
            "u8" => vec![u8::try_from(number(value)).unwrap()],
            "u16" => u16::try_from(number(value)).unwrap().to_le_bytes().to_vec(),
            "u32" => u32::try_from(number(value)).unwrap().to_le_bytes().to_vec(),
            "u64" => number(value).to_le_bytes().to_vec(),
            "i32" => value.parse::<i32>().unwrap().to_le_bytes().to_vec(),
            "i64" => value.parse::<i64>().unwrap().to_le_bytes().to_vec(),
            "null" => 0_u64.to_le_bytes().to_vec(),
            "zeros" => vec![0; number(value) as usize],
            "words" => value
                .split(' ')
                .flat_map(|word| u32::try_from(number(word)).unwrap().to_le_bytes())
                .collect(),
            "hex" => (0..value.len() / 2)
                .map(|at| u8::from_str_radix(&value[at * 2..at * 2 + 2], 16).unwrap())
                .collect(),
            "ptr" => self.address(value).to_le_bytes().to_vec(),
            "str" => {
                let token = self.string(value.as_bytes().to_vec());
                [token.length.to_le_bytes(), (token.data as usize).to_le_bytes()].concat()
            }
            _ => panic!("unknown kind of line: {line}"),
        };
        self.set(block, number(offset) as usize, &bytes);
    }

    /// Overwrites bytes of a block.
    pub(crate) fn set(&mut self, block: &str, offset: usize, bytes: &[u8]) {
        let start = self.blocks[block] + offset;
        for (at, byte) in (start..).zip(bytes) {
            let range: Range<usize> = at % 8 * 8..at % 8 * 8 + 8;
            let word = &mut self.memory[at / 8];
            *word = *word & !(0xff << range.start) | u64::from(*byte) << range.start;
        }
    }

    /// The address of a block.
    pub(crate) fn address(&self, block: &str) -> u64 {
        self.memory.as_ptr() as u64 + self.blocks[block] as u64
    }

    /// Keeps bytes and makes a token of them.
    pub(crate) fn string(&mut self, bytes: Vec<u8>) -> RawString {
        let bytes = bytes.into_boxed_slice();
        let token = RawString { length: bytes.len(), data: bytes.as_ptr() };
        self.strings.push(bytes);
        token
    }

    /// Decodes the message.
    pub(crate) fn decode(&self) -> Result<EsMessage, Box<DecodeFailure>> {
        let raw = NonNull::new(self.memory.as_ptr().cast_mut()).unwrap().cast::<RawMessage>();
        // SAFETY: the message is the first block; fixtures hold what the system would make, and
        // tests change them only in ways that decoding must notice.
        let view = unsafe { MessageView::new(raw) };
        decode(view, self)
    }
}

// SAFETY: the tokens lead to strings that the fixture holds, or are null.
unsafe impl ExecArguments for Fixture {
    unsafe fn count(&self, _: NonNull<RawExec>) -> u32 {
        self.claimed_count.unwrap_or(self.arguments.len() as u32)
    }

    unsafe fn argument(&self, _: NonNull<RawExec>, index: u32) -> RawString {
        self.arguments[index as usize]
    }
}

fn number(text: &str) -> u64 {
    let (digits, radix) = match text.split_at_checked(2) {
        Some(("0x", digits)) => (digits, 16),
        Some(("0o", digits)) => (digits, 8),
        _ => (text, 10),
    };
    u64::from_str_radix(digits, radix).unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        match after.split_at(1) {
            ("n", after) => {
                bytes.push(b'\n');
                rest = after;
            }
            ("x", after) => {
                bytes.push(u8::from_str_radix(&after[..2], 16).unwrap());
                rest = &after[2..];
            }
            _ => panic!("unknown escape: {text}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}
