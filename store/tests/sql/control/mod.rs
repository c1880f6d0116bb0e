//! Statements by chance, and ordinary SQLite tables to compare their results with. The store's fuzz
//! target `sql` uses the same.

mod collect;
mod generate;
mod ordinary;
mod tables;

pub(crate) use collect::{Collect, run};
pub(crate) use generate::{Chance, LITERALS};
pub(crate) use ordinary::{Agreed, agree, ask_control, comparable, control, others, samples};
pub(crate) use tables::{BOOT_ID, CLOCK_OFFSET_NS, Others, Samples};
