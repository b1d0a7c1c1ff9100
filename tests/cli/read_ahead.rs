//! Rows that `featurize` is given by the `ingest` before it, which has read the lines anyway.

use crate::passed_on::event;
use crate::space::{Space, files_below};

const STAGES: &str = "purpose: research
stages:
  i:
    uses: madmall/ingest
    params: {on_reject: quarantine}
    inputs: {events: raw.ndjson, schema: schema.json}
    outputs: {events: out/events.ndjson, report: out/report.json, rejects: out/rejects.ndjson}
  f:
    uses: madmall/featurize
    inputs: {events: i.events}
    outputs: {features: out/features.arrow, report: out/features.json}";

fn space(events: &str) -> Space {
    let space = Space::with(STAGES);
    space.write("schema.json", include_str!("../../schemas/byte_event.schema.json"));
    space.write("raw.ndjson", events);
    space
}

fn events() -> String {
    (0..300).map(|number| event(number, "research")).collect()
}

/// The log of `f` in the last run in which it ran.
fn log(space: &Space) -> String {
    let logs = files_below(&space.path(".madmall/output"));
    let last = logs.iter().filter(|log| log.ends_with("f.log")).max();
    space.read(&format!(".madmall/output/{}", last.expect("it has run")))
}

fn was_given_rows(space: &Space) -> bool {
    let log = log(space);
    assert!(log.contains("rows, 1 feature columns"), "{log}");
    log.contains("of lines that were read with `ingest`")
}

#[test]
fn both_stages_in_one_run_read_the_events_once() {
    let space = space(&events());
    space.run(&[]).success().says("2 ran");
    assert!(was_given_rows(&space));
    space.madmall(["verify"]).success();
    let features = space.bytes("out/features.arrow");
    Space::let_clock_tick();

    // By itself it reads them.
    for folder in [".madmall", "out", "runs"] {
        std::fs::remove_dir_all(space.path(folder)).expect("removed");
    }
    space.run(&["i"]).success().says("1 ran");
    space.run(&[]).success().says("1 ran");
    assert!(!was_given_rows(&space));
    assert!(space.bytes("out/features.arrow") == features);
    space.run(&["--force"]).success().says("2 ran");
    assert!(was_given_rows(&space));
    assert!(space.bytes("out/features.arrow") == features);
}

#[test]
fn lines_that_are_left_out_make_no_rows() {
    let space = space(&(event(900, "care") + "{}\n" + &events()));
    space.run(&[]).success().says("2 ran");
    assert!(was_given_rows(&space));
    assert_eq!(space.read("out/events.ndjson"), events());
    let features = space.bytes("out/features.arrow");
    space.madmall(["verify"]).success();

    let other = self::space(&events());
    other.run(&[]).success();
    assert!(other.bytes("out/features.arrow") == features);

    let twice = self::space(&(events() + &event(7, "research")));
    twice.run(&[]).success();
    assert!(!was_given_rows(&twice), "which of them counts is known at the end");
    assert!(twice.bytes("out/features.arrow") == features);
}

#[test]
fn of_several_files_and_without_what_is_revoked_lines_are_read_once_too() {
    let space = space("");
    let (one, other) = (
        event(1, "research") + &event(2, "research"),
        event(3, "research") + &event(4, "research"),
    );
    space.write("one.ndjson", &one);
    space.write("other.ndjson", &other);
    space.write(
        "revocations.ndjson",
        "{\"event_id\":\"evt-000003\",\"time\":\"2026-02-01T00:00:00Z\"}\n",
    );
    space.pipeline(&STAGES.replace(
        "events: raw.ndjson,",
        "events: [one.ndjson, other.ndjson], revocations: revocations.ndjson,",
    ));
    space.run(&[]).success().says("2 ran");
    assert_eq!(space.read("out/events.ndjson"), one + &event(4, "research"));
    assert!(was_given_rows(&space));
    let report: serde_json::Value = serde_json::from_str(&space.read("out/report.json")).expect("JSON");
    assert_eq!(report["revocations"]["matched"], 1);
    let features = space.bytes("out/features.arrow");
    std::fs::remove_dir_all(space.path(".madmall")).expect("removed");
    std::fs::remove_dir_all(space.path("out")).expect("removed");
    space.run(&["i"]).success();
    space.run(&[]).success();
    assert!(!was_given_rows(&space) && space.bytes("out/features.arrow") == features);
}

#[test]
fn parameters_that_featurize_refuses_are_refused_when_it_begins() {
    let space = space(&events());
    space.pipeline(&format!("{STAGES}\n    params: {{exclude: [absent]}}"));
    space.run(&[]).code(2).says("names a feature that no event has");
    assert_eq!(space.read("out/events.ndjson"), events());
}
