//! Wall clock, processor time and memory of a program, and its system calls.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What one run of a program took.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    /// Of it and all that it started, in hundredths of a second; 0 where GNU time (Debian's package `time`) is not here.
    pub(crate) cpu: Duration,
    /// Of the largest single process.
    pub(crate) peak_kib: f64,
}

/// Runs it. What it prints is thrown away; it must succeed.
pub(crate) fn measure(command: &Command) -> Cost {
    let record = tempfile::NamedTempFile::new().expect("a temporary file");
    // Its own start costs all peers the same, less than a millisecond.
    let mut timed = match Path::new("/usr/bin/time").exists() {
        true => Command::new("/usr/bin/time"),
        false => Command::new(command.get_program()),
    };
    if timed.get_program() != command.get_program() {
        timed
            .args(["-q", "-f", "%U %S %M", "-o"])
            .arg(record.path())
            .arg(command.get_program());
    }
    timed.args(command.get_args());
    copy_surroundings(command, &mut timed);
    let began = Instant::now();
    let status = timed.status().expect("it runs");
    let wall = began.elapsed();
    assert!(status.success(), "{command:?} ends with {status}");
    let text = std::fs::read_to_string(record.path()).unwrap_or_default();
    let mut numbers = text.split_whitespace().map(|word| word.parse().unwrap_or(0.0));
    let seconds = numbers.next().unwrap_or(0.0) + numbers.next().unwrap_or(0.0);
    Cost {
        wall,
        cpu: Duration::from_secs_f64(seconds),
        peak_kib: numbers.next().unwrap_or(0.0),
    }
}

fn copy_surroundings(from: &Command, to: &mut Command) {
    to.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Cargo's is for its own: each program that a peer starts would look for its libraries in a dozen folders.
    to.env_remove("LD_LIBRARY_PATH");
    to.envs(from.get_envs().filter_map(|(name, value)| Some((name, value?))));
    to.current_dir(from.get_current_dir().expect("it has one"));
}

/// How many system calls it makes, by `strace`; and the most frequent.
pub(crate) fn calls(command: &Command) -> String {
    let record = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-qq", "-S", "calls", "-o"]).arg(record.path());
    strace.arg(command.get_program()).args(command.get_args());
    copy_surroundings(command, &mut strace);
    if !strace.status().is_ok_and(|status| status.success()) {
        return "not counted (`strace` is not here)".to_owned();
    }
    let text = std::fs::read_to_string(record.path()).unwrap_or_default();
    let rows = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let count: u64 = words.get(3)?.parse().ok()?;
        Some((count, words.last()?.to_string()))
    });
    let rows: Vec<(u64, String)> = rows.collect();
    let total = rows
        .iter()
        .find(|(_, name)| name == "total")
        .map_or(0, |(count, _)| *count);
    let first = rows.iter().filter(|(_, name)| name != "total").take(4);
    let first: Vec<String> = first.map(|(count, name)| format!("{name} {count}")).collect();
    format!("{total} ({})", first.join(", "))
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn milliseconds(seconds: f64) -> String {
    match seconds < 1.0 {
        true => format!("{:.1} ms", seconds * 1000.0),
        false => format!("{seconds:.2} s"),
    }
}
