//! The programs of the host: paths, arguments, users, working directories.

use std::fmt::Write as _;

use super::NEEDLE_WORD;
use super::draw::{Draw, Zipf};

const PROGRAMS: usize = 3_000;

/// Names of programs, the most used first.
const NAMES: [&str; 40] = [
    "sh", "cc1", "grep", "sed", "cat", "git", "as", "python3", "date", "ls", "rm", "ld", "node",
    "awk", "mkdir", "bash", "head", "curl", "find", "tar", "sort", "make", "ps", "id", "tr", "cut",
    "expr", "stat", "sleep", "env", "xargs", "gzip", "wc", "ssh", "rsync", "psql", "java", "perl",
    "jq", "openssl",
];

const FOLDERS: [&str; 8] = [
    "/usr/bin",
    "/usr/sbin",
    "/usr/lib/git-core",
    "/usr/libexec",
    "/opt/agent/bin",
    "/usr/local/bin",
    "/opt/build/toolchain-12.2/bin",
    "/home/dev/.local/share/tools/bin",
];

/// What a program is and how it is called.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) path: String,
    pub(super) script: Option<String>,
    /// Last change of its file, in seconds since the Unix epoch.
    pub(super) changed: i64,
    pub(super) inode: u64,
    /// Number of its control group, and of its container; 0 is the host.
    pub(super) group: u64,
    pub(super) container: u32,
    /// Which template its arguments follow.
    template: usize,
}

/// All programs, by falling share.
#[derive(Debug)]
pub(super) struct Programs {
    programs: Vec<Program>,
    shares: Zipf,
    folders: Vec<String>,
}

impl Programs {
    pub(super) fn new(draw: &mut Draw) -> Self {
        let programs = (0..PROGRAMS).map(|number| program(number, draw)).collect();
        let folders = (0..400).map(|number| format!("/srv/project-{number}/work")).collect();
        Self { programs, shares: Zipf::new(PROGRAMS), folders }
    }

    pub(super) fn draw(&self, draw: &mut Draw) -> usize {
        self.shares.draw(draw)
    }

    pub(super) fn of(&self, program: usize) -> &Program {
        &self.programs[program]
    }

    pub(super) fn path(&self, program: usize) -> &str {
        &self.of(program).path
    }

    /// The program of the process that starts this one: a shell or `make`, mostly.
    pub(super) fn parent_path(&self, program: usize) -> &str {
        self.path([0, 15, 21, 7][program % 4])
    }

    /// The user whom it runs as: mostly the same for a program.
    pub(super) fn user(&self, program: usize, draw: &mut Draw) -> u32 {
        let number = if draw.chance(0.8) { program as u64 } else { draw.below(12) };
        [0, 0, 1_000, 1_000, 33, 0, 1_001, 105, 0, 1_002, 999, 1_003][number as usize % 12]
    }

    pub(super) fn folder(&self, program: usize, draw: &mut Draw) -> &str {
        match program % 5 {
            0 => "/",
            1 => "/root",
            _ => &self.folders[draw.squared(self.folders.len() as u64) as usize],
        }
    }

    /// The arguments on one line, and as a JSON array. No word needs an escape in JSON.
    pub(super) fn arguments(
        &self,
        program: usize,
        needle: Option<&str>,
        draw: &mut Draw,
    ) -> (String, String) {
        let path = needle.unwrap_or(self.path(program));
        let mut line = String::with_capacity(160);
        line.push_str(path.rsplit('/').next().unwrap_or(path));
        write_words(&mut line, self.of(program).template, program, draw);
        if needle.is_some() {
            line.push(' ');
            line.push_str(NEEDLE_WORD);
        }
        let mut json = String::with_capacity(line.len() + 2 * 24);
        json.push('[');
        for word in line.split(' ') {
            json.push_str(if json.len() == 1 { "\"" } else { ",\"" });
            json.push_str(word);
            json.push('"');
        }
        json.push(']');
        (line, json)
    }
}

fn program(number: usize, draw: &mut Draw) -> Program {
    let (name, round) = (NAMES[number % NAMES.len()], number / NAMES.len());
    let folder = FOLDERS[round % FOLDERS.len()];
    let path = match round / FOLDERS.len() {
        0 => format!("{folder}/{name}"),
        version => format!("{folder}/{name}-{version}.{}", number % 10),
    };
    let script = (number % 23 == 22).then(|| format!("/usr/local/sbin/job-{number}.sh"));
    Program {
        path,
        script,
        changed: 1_780_000_000 - draw.below(40_000_000) as i64,
        inode: 131_072 + draw.below(4_000_000),
        group: draw.squared(40),
        container: draw.squared(12) as u32 * 3,
        template: number % 8,
    }
}

/// Appends the words after the program's name, each after a space.
fn write_words(line: &mut String, template: usize, program: usize, draw: &mut Draw) {
    let some = draw.squared(200);
    let number = draw.below(1_000_000);
    let written = match template {
        0 => write!(line, " -c /usr/local/lib/jobs/step-{some}.sh --job={number} --quiet"),
        1 => write!(
            line,
            " -quiet -I include -I /usr/include/project-{} -imultiarch x86_64-linux-gnu \
             src/module-{}/file-{some}.c -mtune=generic -march=x86-64 -g -O2 -Wall -Wextra -o \
             /tmp/cc{number:06x}.s",
            program % 30,
            some % 25,
        ),
        2 => write!(line, " -q -F pattern-{} /var/log/app-{some}.log", some % 17),
        3 => write!(line, " -e s/version-{some}/version-{}/ config-{}.ini", some + 1, some % 40),
        4 => write!(line, " /proc/{number}/status"),
        5 => {
            let hash = (draw.next(), draw.next());
            write!(
                line,
                " -C /srv/project-{some}/work rev-parse --verify {:016x}{:016x}{:08x}",
                hash.0, hash.1, number
            )
        }
        6 => write!(line, " --64 -o build/object-{}.o /tmp/cc{number:06x}.s", number % 5_000),
        _ => Ok(()),
    };
    written.expect("a string takes all text");
}
