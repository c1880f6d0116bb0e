//! `bygone verify`: whether the sealed history is what it was.

use anyhow::{Context, bail};
use bygone_store::verify::{Fault, Verified, VerifyRequest};
use bygone_store::{Reader, sql::parse_time};
use chrono::Local;
use clap::Args;

use super::data::DataArguments;
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

pub(super) fn run(arguments: &VerifyArguments) -> anyhow::Result<()> {
    log::init(LogLevel::Warn);
    let reader = Reader::open(&arguments.data.data_dir()?)?;
    let head = match &arguments.head {
        Some(None) => {
            print(&format!("{}\n", reader.head()?))?;
            return Ok(());
        }
        Some(Some(head)) => Some(checked_head(head)?),
        None => None,
    };
    let since = arguments.since.as_deref().map(|since| parse_time(since, Local::now()));
    let request = VerifyRequest { since_ns: since.transpose().context("--since")?, head };
    let mut progress = Progress::default();
    let verified = reader.verify(&request, |done, of| {
        progress.show(&format!("verifying: {} of {} MB", done / 1_000_000, of / 1_000_000));
    })?;
    progress.clear();
    tell(&verified)
}

/// A head as it is written: 64 hexadecimal digits.
fn checked_head(head: &str) -> anyhow::Result<String> {
    let head = head.trim().to_ascii_lowercase();
    if head.len() != 64 || !head.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        bail!("--head takes the 64 hexadecimal digits that bygone verify --head prints");
    }
    Ok(head)
}

fn tell(verified: &Verified) -> anyhow::Result<()> {
    say_all("note", &verified.notes);
    say_all("broken", &verified.faults);
    let skipped = match verified.skipped {
        0 => String::new(),
        skipped => format!(", {skipped} older ones left out"),
    };
    print(&format!(
        "{} entries, {} segments of {} bytes{skipped}\nhead {}\n",
        verified.entries, verified.segments, verified.bytes, verified.head
    ))?;
    match verified.faults.as_slice() {
        [] => Ok(print("nothing was changed or taken away\n")?),
        [first, ..] => {
            let count = verified.faults.len();
            bail!("{count} broken, the first at {}", visible(&first.to_string()))
        }
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
