//! What the built-in stages cost, beside the programs that people use for a part of it, on the same events in the same minutes.
//!
//!     cargo bench --bench data_path                    # 1,000, 100,000 and 1,000,000 events
//!     cargo bench --bench data_path -- 100000
//!
//! Peers are installed from Python's and Node's registry below the temporary folder, where that can be done; else they are left out.
//! Each figure is the median of rounds in which all take turns, of whole processes but for the fits. Nothing here can fail for being slow.

#![expect(clippy::disallowed_methods, reason = "a benchmark writes its own files")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

mod events;
#[path = "../compare/measure.rs"]
#[expect(dead_code, reason = "system calls are counted by the other benchmark")]
mod measure;
mod ours;
mod peers;
#[path = "../compare/random.rs"]
mod random;

use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::Command;

use measure::{Cost, median, milliseconds};
use peers::Peers;

/// How often each is measured, in turn.
const ROUNDS: usize = 5;

/// The features of the events that are numbers.
const KEYS: &str =
    "hr,hrv,spo2,sbp,dbp,rr,temp,glu,bmi,steps,sleep,pain,fatg,mood,strs,crp,hgb,egfr,wbc,age,meds,smoke,flag";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if arguments.first().is_some_and(|word| word == "child") {
        return ours::child(&arguments[1..]);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    println!("madmall {}", env!("CARGO_PKG_VERSION"));
    let peers = Peers::install(&folder.path().join("peers"));
    for count in [1_000u64, 100_000, 1_000_000] {
        if arguments.is_empty() || arguments.contains(&count.to_string()) {
            compare(count, &peers, &folder.path().join(count.to_string()));
        }
    }
}

fn compare(count: u64, peers: &Peers, folder: &Path) {
    std::fs::create_dir_all(folder).expect("made");
    let path = folder.join("events.ndjson");
    let mut file = BufWriter::new(std::fs::File::create(&path).expect("made"));
    events::write(count, &mut file)
        .and_then(|()| file.flush())
        .expect("written");
    let bytes = path.metadata().expect("there").len();
    let schema = folder.join("schema.json");
    std::fs::write(&schema, include_str!("../../schemas/byte_event.schema.json")).expect("written");
    let [path, schema, features, theirs] = [path, schema, folder.join("features.arrow"), folder.join("theirs.arrow")]
        .map(|path| path.to_str().expect("a temporary folder is UTF-8").to_owned());
    println!("\n## {count} events, {bytes} bytes\n");
    println!("| what | who | wall | MB/s | ratio | CPU | peak memory |\n| --- | --- | --- | --- | --- | --- | --- |");
    let own = |words: &[&str]| Some(ours::command(words));
    table(
        "validate, 1 thread",
        bytes,
        vec![
            ("madmall", own(&["check", "1", &schema, &path])),
            ("jsonschema, serde_json", own(&["jsonschema", "1", &schema, &path])),
            ("ajv", peers.ajv(&schema, &path, "1")),
            ("msgspec", peers.python("msgspec_check.py", &[&path, "1"])),
        ],
    );
    table(
        "validate, 2 threads or processes",
        bytes,
        vec![
            ("madmall", own(&["check", "2", &schema, &path])),
            ("jsonschema, serde_json", own(&["jsonschema", "2", &schema, &path])),
            ("ajv", peers.ajv(&schema, &path, "2")),
            ("msgspec", peers.python("msgspec_check.py", &[&path, "2"])),
        ],
    );
    table(
        "validate and make features, 2 threads",
        bytes,
        vec![
            ("madmall", own(&["features", "2", &schema, &path, &features])),
            (
                "duckdb, without validation",
                peers.python("duckdb_features.py", &[&path, &theirs, "2", KEYS]),
            ),
        ],
    );
    fits(peers, &features);
    let place = folder.join("work");
    ours::prepare(&place, Path::new(&path));
    let pipeline = peers.python("pipeline.py", &[peers.folder(), &path, &theirs, KEYS]);
    let trained = place.clone();
    rows(
        "events to model",
        bytes,
        vec![
            (
                "madmall run, with receipts",
                Some(Box::new(move || ours::run(&place)) as Box<dyn FnMut() -> Cost>),
            ),
            (
                "msgspec, duckdb, scikit-learn",
                pipeline.map(|command| Box::new(move || measure::measure(&command)) as _),
            ),
        ],
    );
    scores(peers, &trained, &path, bytes);
}

/// Scoring by the model of the run before: all of our process, and of the other what comes after its imports.
fn scores(peers: &Peers, trained: &Path, path: &str, bytes: u64) {
    let model = trained.join("out/model.json");
    let theirs = trained.join("out/theirs.npy");
    let [model, theirs] = [&model, &theirs].map(|path| path.to_str().expect("a temporary folder is UTF-8"));
    let rounds = (0..ROUNDS).map(|_| {
        let ours = ours::predict(trained, path);
        (ours, seconds(peers.python("predict.py", &[path, model, theirs, "2"])))
    });
    let (ours, theirs): (Vec<f64>, Vec<Option<f64>>) = rounds.unzip();
    let ours = median(ours.into_iter());
    let theirs: Vec<f64> = theirs.into_iter().flatten().collect();
    let line = |who: &str, wall: f64| {
        let rate = bytes as f64 / 1e6 / wall;
        println!(
            "| score, 2 threads | {who} | {} | {rate:.0} | {:.2} | | |",
            milliseconds(wall),
            wall / ours
        );
    };
    line("madmall predict", ours);
    if !theirs.is_empty() {
        line(
            "duckdb, scikit-learn predict_proba, without imports",
            median(theirs.into_iter()),
        );
    }
}

/// What a program prints: seconds.
fn seconds(command: Option<Command>) -> Option<f64> {
    let output = command?.output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

type Measured<'a> = (&'a str, Option<Box<dyn FnMut() -> Cost>>);

fn table(what: &str, bytes: u64, commands: Vec<(&str, Option<Command>)>) {
    let measured = commands.into_iter().map(|(who, command)| {
        let run = command.map(|command| Box::new(move || measure::measure(&command)) as Box<dyn FnMut() -> Cost>);
        (who, run)
    });
    rows(what, bytes, measured.collect());
}

/// Measures all that are there in turn, and prints a line for each.
fn rows(what: &str, bytes: u64, measured: Vec<Measured<'_>>) {
    let mut there: Vec<_> = measured
        .into_iter()
        .filter_map(|(who, run)| Some((who, run?, Vec::new())))
        .collect();
    for _ in 0..ROUNDS {
        for (_, run, costs) in &mut there {
            costs.push(run());
        }
    }
    let wall = |costs: &[Cost]| median(costs.iter().map(|cost| cost.wall.as_secs_f64()));
    let Some(ours) = there.first().map(|(.., costs)| wall(costs)) else {
        return;
    };
    for (who, _, costs) in &there {
        println!(
            "| {what} | {who} | {} | {:.0} | {:.2} | {} | {:.0} MiB |",
            milliseconds(wall(costs)),
            bytes as f64 / 1e6 / wall(costs),
            wall(costs) / ours,
            milliseconds(median(costs.iter().map(|cost| cost.cpu.as_secs_f64()))),
            median(costs.iter().map(|cost| cost.peak_kib)) / 1024.0,
        );
    }
}

/// The fit alone, once the data is in memory: the best of five of each.
fn fits(peers: &Peers, features: &str) {
    let fit = |name: &str| seconds(peers.python("fit.py", &[name, features]));
    let Some(ours) = seconds(Some(ours::command(&["fit", "2", features]))) else {
        return;
    };
    println!("| fit | madmall | {} | | 1.00 | | |", milliseconds(ours));
    for name in ["intelex", "lbfgs", "newton-cholesky", "statsmodels"] {
        if let Some(theirs) = fit(name) {
            println!(
                "| fit | {name} | {} | | {:.2} | | |",
                milliseconds(theirs),
                theirs / ours
            );
        }
    }
}
