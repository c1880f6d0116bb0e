//! `bygone verify`: whether the sealed history is what it was.

use std::io;

use anyhow::{Context, anyhow, bail};
use bygone_store::verify::{Fault, Verified, VerifyRequest};
use bygone_store::{Reader, sql::parse_time};
use chrono::Local;
use clap::Args;

use super::data::{DataArguments, open};
use super::failure::Failure;
use super::log;
use super::terminal::{Progress, print, say};
use super::visible::visible;
use crate::config::LogLevel;

/// Faults and notes that are printed; more are counted.
const PRINTED_MAX: usize = 100;

/// Check that nothing recorded was changed or taken away
#[derive(Args, Debug)]
#[command(after_help = "\
Every entry of the manifest holds the hash of the one before it and the SHA-256 of every segment \
that it adds. All of that is computed again; a segment that was changed or taken away, and an entry that \
was changed, added or taken away, is named, and the exit code is 1. A segment that no entry names is \
not read by anyone. The collector may run meanwhile.

Exit code: 0 when nothing was changed or taken away, 1 when something was, 2 when that could not be \
checked (wrong usage, no history, a file that cannot be read).

The newest entry's hash is the head. Kept on another machine, it also tells when entries were cut \
off the end. Not covered are the journals of the last minutes, which are not sealed yet.

Examples:
  bygone verify
  bygone verify --since yesterday          the manifest, and the segments with rows from then on
  bygone verify --head                     print the head, to keep it elsewhere
  bygone verify --head 5a1f…               check, and that this head is in the chain")]
pub(super) struct VerifyArguments {
    /// Do not read segments whose rows are all older: any time that bygone sql understands
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Without a value: print the head and do nothing else. With one: check that it is in the
    /// chain
    #[arg(long, value_name = "HASH", num_args = 0..=1)]
    head: Option<Option<String>>,
    #[command(flatten)]
    data: DataArguments,
}

/// The exit code when something was changed or taken away.
const CHANGED: u8 = 1;

/// The exit code when that could not be checked.
const UNCHECKED: u8 = 2;

pub(super) fn run(arguments: &VerifyArguments) -> Result<(), Failure> {
    log::init(LogLevel::Warn);
    let unchecked = |error| Failure::new(UNCHECKED, error);
    let reader = arguments.data.data_dir().and_then(|dir| open(&dir)).map_err(unchecked)?;
    if let Some(None) = &arguments.head {
        return print_head(&reader).map_err(unchecked);
    }
    let verified = verify(arguments, &reader).map_err(unchecked)?;
    let told = tell(&verified);
    let [first, ..] = verified.faults.as_slice() else {
        return told.map_err(|error| unchecked(error.into()));
    };
    // This is what counts, whether or not someone read the rest.
    let count = verified.faults.len();
    let broken = anyhow!("{count} broken, the first at {}", visible(&first.to_string()));
    Err(Failure::new(CHANGED, broken))
}

fn print_head(reader: &Reader) -> anyhow::Result<()> {
    Ok(print(&format!("{}\n", reader.head()?))?)
}

fn verify(arguments: &VerifyArguments, reader: &Reader) -> anyhow::Result<Verified> {
    let head = arguments.head.iter().flatten().next().map(|head| checked_head(head)).transpose()?;
    let since = arguments.since.as_deref().map(|since| parse_time(since, Local::now()));
    let request = VerifyRequest { since_ns: since.transpose().context("--since")?, head };
    let mut progress = Progress::default();
    let verified = reader.verify(&request, |done, of| {
        progress.show(&format!("verifying: {} of {} MB", done / 1_000_000, of / 1_000_000));
    });
    progress.clear();
    Ok(verified?)
}

/// A head as it is written: 64 hexadecimal digits.
fn checked_head(head: &str) -> anyhow::Result<String> {
    let head = head.trim().to_ascii_lowercase();
    if head.len() != 64 || !head.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("--head takes the 64 hexadecimal digits that bygone verify --head prints");
    }
    Ok(head)
}

fn tell(verified: &Verified) -> io::Result<()> {
    say_all("note", &verified.notes);
    say_all("broken", &verified.faults);
    print(&summary(verified))
}

/// What is said when nothing is broken.
const WHOLE: &str = "nothing was changed or taken away";

/// What was read and, when nothing of it is broken, that nothing is.
fn summary(verified: &Verified) -> String {
    let Verified { entries, segments, bytes, skipped, head, .. } = verified;
    let left_out = match skipped {
        0 => String::new(),
        1 => "1 older segment was left out".to_owned(),
        _ => format!("{skipped} older segments were left out"),
    };
    let read = format!("{entries} entries, {segments} segments of {bytes} bytes");
    let broken = !verified.faults.is_empty();
    match (broken, left_out.as_str()) {
        (true, "") => format!("{read}\nhead {head}\n"),
        (true, _) => format!("{read}; {left_out}\nhead {head}\n"),
        (false, "") => format!("{read}\nhead {head}\n{WHOLE}\n"),
        (false, _) => format!("{read}\nhead {head}\n{WHOLE} in what was read; {left_out}\n"),
    }
}

fn say_all(kind: &str, findings: &[Fault]) {
    for finding in findings.iter().take(PRINTED_MAX) {
        say(&format!("bygone: {kind}: {}", visible(&finding.to_string())));
    }
    if findings.len() > PRINTED_MAX {
        say(&format!("bygone: {kind}: {} more", findings.len() - PRINTED_MAX));
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_was_left_out_is_not_said_to_be_whole() {
        let mut verified = Verified {
            head: "5a".to_owned(),
            entries: 3,
            segments: 2,
            bytes: 9,
            ..Verified::default()
        };
        let mut texts = String::new();
        for skipped in [0, 1, 4] {
            verified.skipped = skipped;
            texts += &summary(&verified);
        }
        verified.faults.push(Fault { at: None, detail: "the head is not there".to_owned() });
        texts += &summary(&verified);
        expect![[r#"
            3 entries, 2 segments of 9 bytes
            head 5a
            nothing was changed or taken away
            3 entries, 2 segments of 9 bytes
            head 5a
            nothing was changed or taken away in what was read; 1 older segment was left out
            3 entries, 2 segments of 9 bytes
            head 5a
            nothing was changed or taken away in what was read; 4 older segments were left out
            3 entries, 2 segments of 9 bytes; 4 older segments were left out
            head 5a
        "#]]
        .assert_eq(&texts);
    }
}
