//! What is ours, each as a process of its own: parts of the built-in stages from the library, and the program.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use camino::Utf8PathBuf;
use madmall::digest::Digest;
use madmall::plan::ParamValue;
use madmall::stages::ingest::check::{NonRevocable, Rules, check};
use madmall::stages::ingest::revocations::Revocations;
use madmall::stages::ingest::schema::EventSchema;
use madmall::stages::read_ahead::ReadAhead;
use madmall::stages::room::Room;
use madmall::stages::{InputFile, StageContext, Unit, builtin};

use super::measure::{Cost, measure};

/// This program again, for one of the parts below.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.arg("child").args(words).current_dir(std::env::temp_dir());
    command
}

/// Does one part.
pub(crate) fn child(words: &[String]) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["check", threads, schema, path] => validate(number(threads), schema, path),
        ["jsonschema", threads, schema, path] => validate_trees(number(threads), schema, path),
        ["features", threads, schema, path, out] => {
            let ahead = ReadAhead::new(&BTreeMap::new(), &scratch()).expect("good parameters");
            let inputs = [("events", file(path)), ("schema", file(schema))];
            let let_in = stage(
                "ingest",
                number(threads),
                &inputs,
                Some(("events", "absent")),
                Some(&ahead),
            );
            let events = InputFile {
                digest: let_in.passed_on,
                ..file(path)
            };
            stage(
                "featurize",
                number(threads),
                &[("events", events)],
                Some(("features", out)),
                Some(&ahead),
            );
        }
        ["fit", threads, features] => {
            let inputs = [("features", file(features))];
            let fit = |_| stage("train", number(threads), &inputs, None, None).seconds;
            println!("{}", (0..5).map(fit).fold(f64::INFINITY, f64::min));
        }
        _ => panic!("no such part: {words:?}"),
    }
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

fn file(path: &str) -> InputFile {
    InputFile {
        absolute: path.into(),
        name: path.into(),
        digest: None,
    }
}

fn scratch() -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8")
}

/// The first reading of `ingest`: strict JSON, the schema, consent, ids that stand twice.
fn validate(threads: usize, schema: &str, path: &str) {
    let schema = EventSchema::compile(&fs::read(schema).expect("read")).expect("a schema");
    let rules = Rules {
        schema: &schema,
        purpose: madmall::consent::purposes::Purposes::default().purpose("care"),
        revocations: &Revocations::default(),
        non_revocable: NonRevocable::Honour,
        tokens: None,
        ahead: None,
    };
    let checked = check(&[file(path)], rules, threads, &Room::in_folder(&scratch()), &mut |_| {
        Ok(())
    })
    .expect("read");
    assert!(checked.faults.is_empty());
}

/// What most people write: a tree of each line, held against a compiled schema.
fn validate_trees(threads: usize, schema: &str, path: &str) {
    let schema: serde_json::Value = serde_json::from_slice(&fs::read(schema).expect("read")).expect("JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .expect("read");
    let lines: Vec<&[u8]> = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    std::thread::scope(|scope| {
        for lines in lines.chunks(lines.len().div_ceil(threads)) {
            let validator = &validator;
            scope.spawn(move || {
                for line in lines {
                    let event = serde_json::from_slice(line).expect("JSON");
                    assert!(validator.is_valid(&event));
                }
            });
        }
    });
}

/// What there is to know of a stage that has ended.
struct Ended {
    /// From its first step to its last, if it takes steps.
    seconds: f64,
    /// The digest of the events that are let in as they came.
    passed_on: Option<Digest>,
}

/// Runs a built-in stage.
fn stage(
    name: &str,
    threads: usize,
    inputs: &[(&str, InputFile)],
    output: Option<(&str, &str)>,
    ahead: Option<&ReadAhead>,
) -> Ended {
    let builtin = builtin(name).expect("it is there");
    let steps: std::cell::Cell<Option<(Instant, Instant)>> = std::cell::Cell::new(None);
    let mut params: BTreeMap<String, ParamValue> = BTreeMap::new();
    if name == "train" {
        params.insert(
            "l2".to_owned(),
            ParamValue::Number(madmall::plan::Number::from_f64(1.0).expect("finite")),
        );
        params.insert("standardize".to_owned(), ParamValue::Boolean(true));
    }
    let mut context = StageContext {
        purpose: Some("care"),
        inputs: inputs.iter().map(|(name, file)| (*name, vec![file.clone()])).collect(),
        outputs: output.into_iter().map(|(name, path)| (name, path.into())).collect(),
        passed_on: BTreeMap::new(),
        consents: BTreeMap::new(),
        secret: None,
        population: None,
        read_ahead: ahead,
        purposes: &madmall::consent::purposes::Purposes::default(),
        scratch: scratch(),
        params: &params,
        threads,
        log: &mut std::io::sink(),
        progress: &|progress| {
            if progress.unit == Unit::Steps {
                let now = Instant::now();
                steps.set(Some((steps.get().map_or(now, |(first, _)| first), now)));
            }
        },
        cancelled: &AtomicBool::new(false),
    };
    (builtin.run)(&mut context).expect("the stage ends well");
    Ended {
        seconds: steps.get().map_or(0.0, |(first, last)| (last - first).as_secs_f64()),
        passed_on: context.passed_on.remove("events").map(|passed_on| passed_on.read),
    }
}

const PIPELINE: &str = "version: 1
name: events
purpose: care
stages:
  ingest:
    uses: stages/ingest.yaml
    inputs: {events: events.ndjson, schema: schema.json}
    outputs: {events: out/events.ndjson, report: out/ingest.json}
  featurize:
    uses: stages/featurize.yaml
    inputs: {events: ingest.events}
    outputs: {features: out/features.arrow}
  train:
    uses: stages/train.yaml
    inputs: {features: featurize.features}
    params: {holdout: 0}
    outputs: {model: out/model.json, metrics: out/metrics.json}
";

/// Makes a workspace of the events at `path`.
pub(crate) fn prepare(place: &Path, path: &Path) {
    fs::create_dir_all(place.join("stages")).expect("made");
    for name in ["ingest", "featurize", "train"] {
        let definition = builtin(name).expect("it is there").definition;
        fs::write(place.join("stages").join(format!("{name}.yaml")), definition).expect("written");
    }
    fs::write(
        place.join("schema.json"),
        include_str!("../../schemas/byte_event.schema.json"),
    )
    .expect("written");
    fs::write(place.join("pipeline.yaml"), PIPELINE).expect("written");
    fs::write(place.join("madmall.yaml"), "").expect("written");
    fs::hard_link(path, place.join("events.ndjson")).expect("linked");
}

/// Scores the events at `path` by the model of a run, all of the process.
pub(crate) fn predict(place: &Path, path: &str) -> f64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_madmall"));
    let options = [
        "predict",
        "-j",
        "2",
        "--model",
        "out/model.json",
        "-o",
        "out/scores.ndjson",
        "--in",
        path,
    ];
    command.args(options).current_dir(place);
    measure(&command).wall.as_secs_f64()
}

/// A first run, as if nothing had ever been run here.
pub(crate) fn run(place: &Path) -> Cost {
    for state in ["out", "runs", ".madmall"] {
        let _ = fs::remove_dir_all(place.join(state));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_madmall"));
    command.args(["run", "-j", "2", "pipeline.yaml"]).current_dir(place);
    command.env("MADMALL_CONFIG_DIR", place.join("../config"));
    measure(&command)
}
