//! The baseline that comes with madmall, on the real data: what an edit makes run, and that the bits never change.

use std::collections::BTreeMap;
use std::fs;

use camino::Utf8Path;
use madmall::digest::Sha256;

use crate::space::{Ran, Space, files_below};

const PIPELINE: &str = "pipelines/baseline.yaml";
const EVENTS: &str = "data/raw/thyroid.ndjson";
const MODEL: &str = "models/baseline.model.json";

/// What the pipeline gives, in the order in which `tests/golden/baseline.sha256` has it.
const OUTPUTS: [&str; 6] = [
    "data/events.ndjson",
    "data/features.arrow",
    MODEL,
    "models/baseline.metrics.json",
    "reports/ingest.json",
    "reports/features.json",
];

/// The shipped pipeline, its stages, schemas and data, in a folder of their own; nothing has run.
pub(crate) fn baseline() -> Space {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    let repository = Utf8Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [EVENTS, "data/revocations.ndjson"].map(str::to_owned).into_iter();
    // Only what is in the repository: somebody may have run the pipeline in this checkout.
    let folders = ["pipelines", "stages", "schemas"].into_iter();
    let below = folders.flat_map(|folder| {
        let names = files_below(&repository.join(folder)).into_iter();
        names.map(move |name| format!("{folder}/{name}"))
    });
    for path in files.chain(below) {
        space.write(
            &path,
            fs::read(repository.join(&path)).expect("a file of the repository"),
        );
    }
    space
}

fn run(space: &Space) -> Ran {
    space.madmall(["run", PIPELINE])
}

/// The baseline, after its first run.
fn baseline_after_a_run() -> Space {
    let space = baseline();
    run(&space).success();
    space
}

/// How each stage ended, as `run --json` says it.
fn outcomes(space: &Space) -> BTreeMap<String, String> {
    let ran = space.madmall(["run", PIPELINE, "--json"]).success();
    let events = ran
        .out
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("one JSON object"));
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    events
        .filter(|event| event["event"] == "stageFinished")
        .map(|event| {
            let outcome = match event["changed"].as_bool() {
                Some(false) => "ran, as before".to_owned(),
                _ => text(&event["outcome"]),
            };
            (text(&event["stage"]), outcome)
        })
        .collect()
}

/// The next run must end so.
#[track_caller]
fn ends(space: &Space, ingest: &str, featurize: &str, train: &str) {
    let wanted = [("ingest", ingest), ("featurize", featurize), ("train", train)];
    let wanted = wanted.map(|(stage, outcome)| (stage.to_owned(), outcome.to_owned()));
    assert_eq!(outcomes(space), BTreeMap::from(wanted));
}

/// Replaces `old` by `new` in the first line of the events that holds both `old` and `mark`.
#[track_caller]
fn edit_event(space: &Space, mark: &str, old: &str, new: &str) {
    let text = space.read(EVENTS);
    let line = text
        .lines()
        .find(|line| line.contains(mark) && line.contains(old))
        .expect("such an event");
    space.write(EVENTS, text.replacen(line, &line.replacen(old, new, 1), 1));
}

#[track_caller]
fn edit(space: &Space, path: &str, old: &str, new: &str) {
    let text = space.read(path);
    assert_eq!(text.matches(old).count(), 1, "`{old}` in {path}");
    space.write(path, text.replace(old, new));
}

#[test]
fn the_first_run_gives_everything_and_the_second_nothing() {
    let space = baseline();
    run(&space).success().says("3 stages: 3 ran");
    for path in OUTPUTS {
        assert!(space.exists(path), "{path}");
    }
    let receipts = space.receipt_files();
    assert_eq!(receipts.len(), 1);
    let lines = space.read(&format!("runs/{}", receipts[0])).lines().count();
    assert_eq!(lines, 4, "a receipt for each stage and one for the run");

    run(&space).success().says("3 stages: 3 up to date");
    assert_eq!(space.receipt_files(), receipts);
    space.madmall(["verify"]).success().says(MODEL);

    let model: serde_json::Value = serde_json::from_str(&space.read(MODEL)).expect("JSON");
    assert_eq!(model["labels"]["positive"], "hyperthyroid");
}

#[test]
fn one_byte_of_a_feature_runs_all_that_stands_on_it() {
    let space = baseline_after_a_run();
    let research = r#""scope":"research""#;
    edit_event(&space, research, r#""age":29,"#, r#""age":28,"#);
    ends(&space, "ran", "ran", "ran");
}

#[test]
fn a_change_that_leaves_the_accepted_events_the_same_stops_there() {
    let space = baseline_after_a_run();
    let events = space.bytes("data/events.ndjson");
    edit_event(&space, r#""scope":"care""#, r#""age":54,"#, r#""age":55,"#);
    ends(&space, "ran, as before", "upToDate", "upToDate");
    assert!(space.bytes("data/events.ndjson") == events);
}

#[test]
fn an_edit_of_what_the_file_says_about_itself_runs_nothing() {
    let space = baseline_after_a_run();
    let receipts = space.receipt_files();
    edit(&space, PIPELINE, "# share of the events", "# part of the events");
    edit(&space, "stages/train.yaml", "# A table of numbers", "# A table");
    run(&space).success().says("3 up to date");
    edit(&space, PIPELINE, "  featurize:\n", "  table:\n");
    edit(&space, PIPELINE, "featurize.features", "table.features");
    run(&space).success().says("3 up to date").says("  table ");
    assert_eq!(space.receipt_files(), receipts);
}

#[test]
fn a_parameter_of_the_training_runs_only_the_training() {
    let space = baseline_after_a_run();
    edit(&space, PIPELINE, "l2: 1.0 ", "l2: 2.0 ");
    run(&space)
        .success()
        .says("3 stages: 1 ran, 2 up to date")
        .says("param `l2` changed: 1 → 2");
}

#[test]
fn a_revocation_takes_an_event_out_of_the_model() {
    let space = baseline_after_a_run();
    let before = space.read("data/events.ndjson");
    // With a label, for a row that is not trained on would not change the model.
    let labelled = |line: &&str| line.contains(r#""label":"hyperthyroid""#) && line.contains(r#""revocable":true"#);
    let line = before.lines().find(labelled).expect("such an event");
    let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
    let id = event["event_id"].as_str().expect("a text").to_owned();
    let mut revocations = space.read("data/revocations.ndjson");
    revocations.push_str(&format!(
        "{{\"event_id\":\"{id}\",\"time\":\"2026-01-02T03:04:05Z\",\"reason\":\"withdrawn\"}}\n"
    ));
    space.write("data/revocations.ndjson", revocations);
    ends(&space, "ran", "ran", "ran");
    assert!(!space.read("data/events.ndjson").contains(&id));
    space.madmall(["verify"]).success();
}

#[test]
fn lines_in_another_order_give_the_same_features_and_nothing_else_runs() {
    let space = baseline_after_a_run();
    let model = space.bytes(MODEL);
    let text = space.read(EVENTS);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.reverse();
    space.write(EVENTS, lines.join("\n") + "\n");
    ends(&space, "ran", "ran, as before", "upToDate");

    // From nothing, too: every 4,001st line, which meets each once, for 9,172 and 4,001 have no common factor.
    let other = baseline();
    let shuffled: Vec<&str> = (0..lines.len()).map(|n| lines[n * 4001 % lines.len()]).collect();
    other.write(EVENTS, shuffled.join("\n") + "\n");
    run(&other).success();
    assert!(other.bytes(MODEL) == model);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let give = |jobs| {
        let space = baseline();
        space.madmall(["run", PIPELINE, "-j", jobs]).success();
        OUTPUTS.map(|path| Sha256::of(&space.bytes(path)))
    };
    assert_eq!(give("1"), give("2"));
}

#[test]
fn a_fault_in_line_5000_is_said_exactly_and_nothing_is_written() {
    let space = baseline();
    let text = space.read(EVENTS);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 9172);
    lines[4999] = lines[4999].replacen(r#""payload":{"#, r#""payload":{"colour":"red","#, 1);
    space.write(EVENTS, lines.join("\n") + "\n");
    let ran = run(&space).code(2);
    let said = "data/raw/thyroid.ndjson:5000: /payload/colour: is no known field [additionalProperties]";
    let ran = ran.says(said).says("1 of 9,172 events is invalid").says_not("red");
    assert!(ran.out.contains("featurize  blocked"), "{}", ran.out);
    for path in OUTPUTS {
        assert!(!space.exists(path), "{path}");
    }
    for folder in ["models", "reports"] {
        assert!(files_below(&space.path(folder)).is_empty(), "{folder}");
    }

    // The refusal has a receipt of its own, beside the run's.
    let receipts = space.receipt_files();
    assert_eq!(receipts.len(), 1);
    assert_eq!(space.read(&format!("runs/{}", receipts[0])).lines().count(), 2);
    let json = space.madmall(["run", PIPELINE, "--json"]).code(2);
    assert!(
        json.out.contains(r#""outcome":"failed""#) && json.out.contains(said),
        "{}",
        json.out
    );
}

#[test]
fn a_refusal_shows_the_first_faults_and_says_where_the_others_are() {
    let refused_with = |faults: usize| {
        let space = baseline();
        let text = space.read(EVENTS);
        let (bad, good): (Vec<_>, Vec<_>) = text.lines().enumerate().partition(|(n, _)| *n < faults);
        let bad = bad
            .into_iter()
            .map(|(_, line)| line.replacen("\"payload\":{", "\"payload\":{\"colour\":\"red\",", 1));
        let lines: Vec<String> = bad.chain(good.into_iter().map(|(_, line)| line.to_owned())).collect();
        space.write(EVENTS, lines.join("\n") + "\n");
        run(&space)
            .code(2)
            .says("help: mend these lines, or set them aside")
            .err
    };
    let listed = |text: &str| text.matches("data/raw/thyroid.ndjson:").count();

    let one = refused_with(1);
    assert!(
        one.contains(":1: /payload/colour: is no known field [additionalProperties]"),
        "{one}"
    );
    assert!(listed(&one) == 1 && !one.contains("more"), "{one}");

    let thirty = refused_with(30);
    assert!(
        thirty.contains("\n  data/raw/thyroid.ndjson:1: ") && !thirty.contains("ndjson:21:"),
        "{thirty}"
    );
    assert!(
        listed(&thirty) == 20 && thirty.contains("\n  and 10 more in .madmall/output/"),
        "{thirty}"
    );

    let many = refused_with(5000);
    assert!(
        listed(&many) == 20 && many.contains("\n  and 4,980 more, 980 of them in .madmall/output/"),
        "{many}"
    );
}

#[test]
fn the_bytes_are_those_that_any_build_gives() {
    let space = baseline_after_a_run();
    let found: String = OUTPUTS
        .iter()
        .map(|path| format!("{}  {path}\n", Sha256::of(&space.bytes(path)).to_hex()))
        .collect();
    let golden = Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/baseline.sha256");
    if std::env::var_os("MADMALL_OVERWRITE").is_some() {
        fs::write(&golden, &found).expect("written");
    }
    // `.ci/run` holds a release build to the same file.
    let frozen = fs::read_to_string(&golden).expect("the golden file");
    assert_eq!(
        found, frozen,
        "what the baseline gives has changed; if a `revision` has grown, MADMALL_OVERWRITE=1 writes the file anew"
    );
}
