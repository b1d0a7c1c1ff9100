//! What `madmall verify` costs, beside what `openssl` needs for the same cryptography on the same machine in the same minutes.
//!
//!     cargo bench --bench verify
//!
//! 10,000 receipts whose artifacts are not here (but one): the time for each, over that of four Ed25519 verifications by `openssl
//! speed`, which uses one core. And an artifact of 1 GiB: bytes a second by both its digests, over `openssl dgst -sha256`. Nothing
//! here can fail for being slow.

#![expect(clippy::disallowed_methods, reason = "a benchmark writes its own files")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How often each is measured, in turn.
const ROUNDS: usize = 5;
/// Runs of so many stages each; the receipts of the runs themselves come on top.
const RUNS: usize = 100;
const STAGES: usize = 100;
/// How many stages are in one chain.
const CHAIN: usize = 10;
const ARTIFACT: u64 = 1 << 30;
/// The kernel's clock tick, in which it counts the processor time of children (`USER_HZ`).
const TICKS_A_SECOND: f64 = 100.0;

fn main() {
    let Some(version) = output_of(Command::new("openssl").arg("version")) else {
        println!("openssl is not installed, so there is nothing to compare with");
        return;
    };
    let version: Vec<&str> = version.split(' ').take(2).collect();
    println!("madmall {}, {}", env!("CARGO_PKG_VERSION"), version.join(" "));
    let folder = tempfile::tempdir().expect("a temporary folder");
    receipts(&Project::new(folder.path(), "receipts"));
    artifact(&Project::new(folder.path(), "artifact"));
}

/// 10,000 receipts, and the log that lists them.
fn receipts(project: &Project) {
    let mut pipeline = "version: 1\nname: many\nstages:\n".to_owned();
    for stage in 0..STAGES {
        let input = match stage % CHAIN {
            0 => "in".to_owned(),
            _ => format!("s{:03}", stage - 1),
        };
        pipeline.push_str(&format!(
            "  s{stage:03}: {{run: 'cp ${{inputs.i}} ${{outputs.o}}', inputs: {{i: {input}}}, outputs: {{o: out/{stage:03}}}}}\n"
        ));
    }
    project.write("pipeline.yaml", &pipeline);
    project.write("in", "1\n");
    project.commit();
    for _ in 0..RUNS {
        project.madmall(&["run", "pipeline.yaml", "--force"]);
    }
    for stage in 0..STAGES - 1 {
        fs::remove_file(project.folder.join(format!("out/{stage:03}"))).expect("it was made");
    }
    let report: serde_json::Value = serde_json::from_str(&project.madmall(&["verify", "--json"])).expect("JSON");
    let count = report["receipts"].as_f64().expect("how many");
    assert!(count >= (RUNS * STAGES) as f64, "{count} receipts");
    let rounds: Vec<(f64, Spent)> = (0..ROUNDS)
        .map(|_| {
            (
                openssl_ed25519(),
                spent(|| drop(project.madmall(&["verify", "--json"]))),
            )
        })
        .collect();
    let micros = 1e6 / count;
    let four = median(rounds.iter().map(|(second, _)| 4e6 / second));
    let wall = median(rounds.iter().map(|(_, spent)| spent.wall.as_secs_f64() * micros));
    let cpu = median(rounds.iter().map(|(_, spent)| spent.cpu * micros));
    println!("{count} receipts, median of {ROUNDS} rounds in turn");
    println!("  four Ed25519 verifications by `openssl speed`  {four:6.1} µs");
    println!("  `madmall verify --json`, each receipt          {wall:6.1} µs, {cpu:6.1} µs of processor time");
    println!(
        "  ratio                                          {:6.2}, {:6.2}",
        wall / four,
        cpu / four
    );
}

/// One artifact of 1 GiB, in the page cache.
fn artifact(project: &Project) {
    let stage =
        format!("run: 'head -c {ARTIFACT} /dev/urandom > ${{outputs.o}}', inputs: {{i: in}}, outputs: {{o: big}}");
    project.write(
        "pipeline.yaml",
        &format!("version: 1\nname: big\nstages:\n  big: {{{stage}}}\n"),
    );
    project.write("in", "1\n");
    project.commit();
    project.madmall(&["run", "pipeline.yaml"]);
    let verify = || drop(project.madmall(&["verify", "big", "--json"]));
    let openssl = || {
        drop(output_of(
            Command::new("openssl")
                .args(["dgst", "-sha256"])
                .arg(project.folder.join("big")),
        ))
    };
    verify();
    openssl();
    let rounds: Vec<(Spent, Spent)> = (0..ROUNDS).map(|_| (spent(verify), spent(openssl))).collect();
    let speed = |spent: &Spent| ARTIFACT as f64 / spent.wall.as_secs_f64();
    let ours = median(rounds.iter().map(|(ours, _)| speed(ours)));
    let theirs = median(rounds.iter().map(|(_, theirs)| speed(theirs)));
    let ratio = median(rounds.iter().map(|(ours, theirs)| speed(ours) / speed(theirs)));
    println!("an artifact of {ARTIFACT} bytes, median of {ROUNDS} rounds in turn");
    println!(
        "  `openssl dgst -sha256`                         {:6.0} MB/s",
        theirs / 1e6
    );
    println!(
        "  `madmall verify`, BLAKE3 and SHA-256           {:6.0} MB/s",
        ours / 1e6
    );
    println!("  ratio                                          {ratio:6.2}");
}

/// How many signatures a second one core verifies.
fn openssl_ed25519() -> f64 {
    let text = output_of(Command::new("openssl").args(["speed", "-seconds", "1", "ed25519"])).expect("it runs");
    let last = text.split_whitespace().next_back().and_then(|word| word.parse().ok());
    last.unwrap_or_else(|| panic!("no figure in {text}"))
}

struct Spent {
    wall: Duration,
    /// Seconds, by all cores.
    cpu: f64,
}

fn spent(work: impl FnOnce()) -> Spent {
    let (began, before) = (Instant::now(), children_cpu());
    work();
    Spent {
        wall: began.elapsed(),
        cpu: children_cpu() - before,
    }
}

/// Seconds of processor time of all children that have ended (`proc(5)`, `cutime` and `cstime`); 0 where it is not told.
fn children_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(13).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_A_SECOND
}

struct Project {
    folder: PathBuf,
    config: PathBuf,
}

impl Project {
    fn new(base: &Path, name: &str) -> Self {
        let folder = base.join(name);
        fs::create_dir_all(&folder).expect("made");
        Self {
            folder,
            config: base.join("config"),
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("written");
    }

    fn commit(&self) {
        self.write(".gitignore", ".madmall\nout\nbig\n");
        for arguments in [
            &["init", "--quiet"][..],
            &["add", "--all"],
            &[
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@example.org",
                "commit",
                "--quiet",
                "--message=all",
            ],
        ] {
            let mut git = Command::new("git");
            output_of(git.args(arguments).current_dir(&self.folder)).expect("git works");
        }
    }

    /// Runs the real binary, which must succeed. Returns what it printed.
    fn madmall(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_madmall"));
        command.args(arguments).current_dir(&self.folder);
        command.env("MADMALL_CONFIG_DIR", &self.config);
        output_of(&mut command).unwrap_or_else(|| panic!("{command:?} failed"))
    }
}

/// What a program printed; none if it is not here or failed.
fn output_of(command: &mut Command) -> Option<String> {
    let Output { status, stdout, .. } = command.stderr(Stdio::null()).output().ok()?;
    status
        .success()
        .then(|| String::from_utf8_lossy(&stdout).trim().to_owned())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
