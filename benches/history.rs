//! What one change costs as the history of a workspace grows: runs of 1,000 stages of which 65 run each, beside the same workspace when
//! it was young.
//!
//!     cargo bench --bench history                # 400 runs
//!     cargo bench --bench history -- 1000
//!
//! Nothing here can fail for being slow.

#![expect(clippy::disallowed_methods, reason = "a benchmark writes its own files")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How many runs are a long history.
const LONG: usize = 400;
/// How often each is measured.
const ROUNDS: usize = 15;
/// Layers of stages, and how many stages each has.
const LAYERS: usize = 10;
const WIDTH: usize = 100;

fn main() {
    let long = std::env::args()
        .skip(1)
        .find_map(|word| word.parse().ok())
        .unwrap_or(LONG);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let workspace = folder.path().join("workspace");
    prepare(&workspace);
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_madmall"));
        command.args(["run", "pipeline.yaml"]).current_dir(&workspace);
        command.env("MADMALL_CONFIG_DIR", folder.path().join("config"));
        time(command)
    };
    println!("| runs | receipts of stages | the index | nothing to do | a change: 65 stages | a change: 2 stages |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut runs = 1;
    let mut receipts = LAYERS * WIDTH;
    run();
    for target in [1, long / 4, long] {
        while runs < target {
            change(&workspace, runs, Line::Used);
            run();
            (runs, receipts) = (runs + 1, receipts + 65);
        }
        let mut nothing = Vec::new();
        let mut many = Vec::new();
        let mut few = Vec::new();
        for _ in 0..ROUNDS {
            change(&workspace, runs, Line::Used);
            many.push(run());
            change(&workspace, runs, Line::Unused);
            few.push(run());
            (runs, receipts) = (runs + 2, receipts + 67);
            // The first looks at what has just come to be; once that is a while ago, the second may be remembered.
            run();
            std::thread::sleep(Duration::from_millis(50));
            run();
            nothing.push(run());
        }
        let index = fs::metadata(workspace.join(".madmall/believed")).map_or(0, |index| index.len());
        println!(
            "| {runs} | {receipts} | {} KiB | {:.1} ms | {:.1} ms | {:.1} ms |",
            index / 1024,
            median(nothing),
            median(many),
            median(few)
        );
    }
}

/// Which line of a source changes.
enum Line {
    /// The one that stages read.
    Used = 0,
    /// Another: two stages run, and give what they gave.
    Unused = 5,
}

/// Stages in layers, each reading two of the layer before; of sources the first lines.
fn prepare(folder: &Path) {
    fs::create_dir_all(folder.join("src")).expect("made");
    let mut text = "version: 1\nname: history\nstages:\n".to_owned();
    for at in 0..WIDTH {
        fs::write(folder.join(format!("src/s{at}")), source(at, 0)).expect("written");
    }
    let file = |layer: usize, at: usize| match layer {
        0 => format!("src/s{at}"),
        _ => format!("out/l{layer}_{at}"),
    };
    for layer in 1..=LAYERS {
        for at in 0..WIDTH {
            let (first, second) = (file(layer - 1, at), file(layer - 1, (at + 1) % WIDTH));
            let program = if layer == 1 { "'head', '-qn1'" } else { "'cat'" };
            writeln!(
                text,
                "  l{layer}_{at}: {{argv: [{program}, '${{inputs.a}}', '${{inputs.b}}'], stdout: o, inputs: {{a: {first}, b: {second}}}, outputs: {{o: {}}}}}",
                file(layer, at)
            )
            .expect("a text");
        }
    }
    fs::write(folder.join("pipeline.yaml"), text).expect("written");
}

/// Twenty lines, as they were at first.
fn source(at: usize, number: usize) -> String {
    (0..20).fold(String::new(), |lines, line| {
        lines + &format!("line {at} {line} {number}\n")
    })
}

/// Changes a line of one source.
fn change(folder: &Path, number: usize, line: Line) {
    let path = folder.join(format!("src/s{}", number % WIDTH));
    let text = fs::read_to_string(&path).expect("read");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[line as usize] = format!("changed {number}");
    // Later than the tick in which the last run looked at it.
    std::thread::sleep(Duration::from_millis(20));
    fs::write(&path, lines.join("\n")).expect("written");
}

fn time(mut command: Command) -> Duration {
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("it runs").success(), "{command:?} failed");
    began.elapsed()
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
