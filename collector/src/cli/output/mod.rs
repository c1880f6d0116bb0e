//! The forms in which results are printed, one file each.
//!
//! | form    | numbers | null    | blob  | rows held in memory                 |
//! | ------- | ------- | ------- | ----- | ----------------------------------- |
//! | `table` | text    | `NULL`  | hex   | at most 10,000 or 16 MiB, to align  |
//! | `line`  | text    | `NULL`  | hex   | one                                 |
//! | `json`  | numbers | `null`  | hex   | one                                 |
//! | `jsonl` | numbers | `null`  | hex   | one                                 |
//! | `csv`   | text    | empty   | hex   | one                                 |
//!
//! **Invariant:** no control character of a value reaches a terminal: `table` and `line` escape
//! them always, JSON by its own escapes, `csv` when its reader is a terminal.

mod csv;
mod format;
mod json;
mod line;
mod table;
mod value;

pub(super) use format::{Format, OutputArguments};
