//! How long it takes to find out that there is nothing to do: the shipped baseline, beside ninja with three files.
//!
//!     cargo bench --bench no_op
//!
//! Both are run in turn, so that the ratio holds when the machine's speed drifts. Nothing here can fail for being slow.

#![expect(clippy::disallowed_methods, reason = "a benchmark writes its own files")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often each is run.
const ROUNDS: usize = 50;

fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (ours, theirs) = (folder.path().join("madmall"), folder.path().join("ninja"));
    prepare_baseline(&ours);
    prepare_ninja(&theirs);
    let Some(version) = version_of(Command::new("ninja").arg("--version")) else {
        println!("ninja is not installed, so there is nothing to compare with: `apt-get install ninja-build`");
        return;
    };
    let madmall = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_madmall"));
        command.args(["run", "pipelines/baseline.yaml"]).current_dir(&ours);
        command.env("MADMALL_CONFIG_DIR", folder.path().join("config"));
        command
    };
    let ninja = || {
        let mut command = Command::new("ninja");
        command.current_dir(&theirs);
        command
    };
    // The first run works; the second learns what files are, so that the third need not read them.
    for _ in 0..3 {
        time(madmall());
        time(ninja());
    }
    let rounds: Vec<(Duration, Duration)> = (0..ROUNDS).map(|_| (time(madmall()), time(ninja()))).collect();
    let ratios = rounds
        .iter()
        .map(|(ours, theirs)| ours.as_secs_f64() / theirs.as_secs_f64())
        .collect();
    println!("nothing to do, median of {ROUNDS} runs in turn");
    println!(
        "  madmall {}  {:.2} ms",
        env!("CARGO_PKG_VERSION"),
        milliseconds(rounds.iter().map(|r| r.0))
    );
    println!("  ninja {version}  {:.2} ms", milliseconds(rounds.iter().map(|r| r.1)));
    println!("  ratio          {:.2}", median(ratios));
}

/// The shipped pipeline with its data, in a folder of its own.
fn prepare_baseline(folder: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in [
        "pipelines/baseline.yaml",
        "stages/ingest.yaml",
        "stages/featurize.yaml",
        "stages/train.yaml",
        "schemas/byte_event.schema.json",
        "data/raw/thyroid.ndjson",
        "data/revocations.ndjson",
    ] {
        let to = folder.join(path);
        fs::create_dir_all(to.parent().expect("in a folder")).expect("made");
        fs::copy(repository.join(path), to).expect("a file of the repository");
    }
    fs::write(folder.join("madmall.yaml"), "").expect("written");
}

/// Three files, each a copy of the one before.
fn prepare_ninja(folder: &Path) {
    fs::create_dir_all(folder).expect("made");
    let build = "rule cp\n  command = cp $in $out\nbuild a: cp source\nbuild b: cp a\nbuild c: cp b\n";
    fs::write(folder.join("build.ninja"), build).expect("written");
    fs::write(folder.join("source"), "x").expect("written");
}

fn version_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn time(mut command: Command) -> Duration {
    let began = Instant::now();
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it runs");
    assert!(status.success(), "{command:?} failed");
    began.elapsed()
}

fn milliseconds(times: impl Iterator<Item = Duration>) -> f64 {
    median(times.map(|time| time.as_secs_f64() * 1000.0).collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
