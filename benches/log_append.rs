//! What it costs to append to the log of receipts, short and long.
//!
//!     cargo bench --bench log_append
//!
//! A clone with one receipt for each run, the worst case: as many run files and checkpoints as entries; then one with a hundred
//! for each run. In each, the log is brought to 10 and to 70,000 entries, and then runs are published and appended one by one, as
//! `madmall run` does it. The folders are those of a temporary folder: `TMPDIR` says where.

#![expect(clippy::print_stdout, reason = "a benchmark reports to whoever runs it")]
#![expect(clippy::disallowed_methods, reason = "its own files need not be whole after a crash")]

use std::fs;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use madmall::log::{News, Publication, catch_up};
use madmall::receipt::envelope::{Envelope, sign};
use madmall::receipt::key::SigningKey;
use madmall::receipt::run_file::RunFile;
use madmall::store::{Store, atomic};

/// How many appends are timed at each size; their median counts.
const APPENDS: usize = 31;
const LONG: u32 = 70_000;
const RECEIPTS: &[u8] = include_bytes!("../tests/golden/receipt-v1/2026-11-23T091500Z-baseline-3f9a2c.intoto.jsonl");

fn main() {
    for receipts in [1, 100] {
        let short = measure(10 / receipts.min(10), receipts);
        let long = measure(LONG / receipts, receipts);
        println!("{receipts} receipts a run, median of {APPENDS} appends at each size");
        println!("                          10th   70,000th   ratio");
        for (what, short, long) in [
            ("append              ", short.0, long.0),
            ("publish and append  ", short.1, long.1),
        ] {
            let ms = |time: Duration| time.as_secs_f64() * 1000.0;
            let ratio = long.as_secs_f64() / short.as_secs_f64();
            println!("  {what} {:>6.2} ms {:>7.2} ms   {ratio:>5.2}", ms(short), ms(long));
        }
        println!("  files touched        {:>6}    {:>7}", short.2, long.2);
    }
}

/// Brings a log to so many runs, then times appends: alone, and with the publication; and counts the files of the last one.
fn measure(runs: u32, receipts: u32) -> (Duration, Duration, u64) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
    let key = SigningKey::from_seed(&[1; 32]);
    let store = Store::of(root);
    let folder = root.join("runs");
    fs::create_dir_all(&folder).expect("made");
    for run in 0..runs {
        fs::write(folder.join(name(run)), lines(&key, run, receipts)).expect("written");
    }
    catch_up(&store, &folder, &key, &News::Something).expect("appended");
    // One append made what many would have made, but for their checkpoints: no file of them is ever read again.
    let logs = fs::read_dir(folder.join("log")).expect("listed");
    let log = logs.map(|log| log.expect("read").path()).next().expect("a log");
    for run in 1..runs {
        fs::write(log.join(format!("checkpoint-{}", run * receipts)), b"").expect("written");
    }
    // What was written so far is no part of what is timed, nor is what the system still does for it.
    for written in [log.as_path(), folder.as_std_path()] {
        fs::File::open(written)
            .and_then(|folder| folder.sync_all())
            .expect("synced");
    }
    let mut times = Vec::new();
    let mut files = 0;
    // The first one looks through the folder, which nobody had marked while it was filled.
    for run in runs..runs + 1 + u32::try_from(APPENDS).expect("small") {
        let bytes = lines(&key, run, receipts);
        let began = Instant::now();
        let news = publish(&folder, &name(run), bytes.as_bytes());
        let published = Instant::now();
        files = catch_up(&store, &folder, &key, &news).expect("appended").files;
        times.push((published.elapsed(), began.elapsed()));
    }
    times.remove(0);
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (append, both) = times.into_iter().unzip();
    (median(append), median(both), files)
}

fn publish(folder: &Utf8PathBuf, name: &str, bytes: &[u8]) -> News {
    let publication = Publication::begin(folder);
    atomic::write(&folder.join(name), bytes).expect("written");
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let ids = lines.map(|line| Envelope::parse(line.trim_ascii_end()).expect("a receipt").receipt_id());
    News::Run(publication.end(folder, name, ids.collect()))
}

fn name(run: u32) -> String {
    format!("{run:06}.intoto.jsonl")
}

/// The receipts of a run: a real one, again and again, each time of another run.
fn lines(key: &SigningKey, run: u32, receipts: u32) -> String {
    let file = RunFile::parse(RECEIPTS).expect("receipts");
    let mut statement = file.receipts()[0].statement.clone();
    let mut line = |number: u32| {
        let details = &mut statement.predicate.run_details;
        details.metadata.invocation_id = format!("run-{run}-{number}");
        sign(&statement, key).expect("a statement").line
    };
    (0..receipts).map(&mut line).collect()
}
