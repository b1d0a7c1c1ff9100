//! Erasing where something is lost that would tell what rests on it, or which ids its events have.

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use crate::erase::{holding, id_of, lines, space};
use crate::space::{Space, files_below};

/// The one model of these pipelines.
pub(super) const MODEL: &str = "models/model.json";

/// The project with its results, and an event that they were made with.
pub(super) fn trained() -> (Space, String) {
    let lines = lines();
    let space = space(&lines);
    space.run(&[]).success();
    let id = id_of(&lines[60]);
    (space, id)
}

pub(super) fn lose(space: &Space, folder: &str) {
    fs::remove_dir_all(space.path(folder)).expect("removed");
}

#[test]
fn without_the_store_a_model_is_found_by_the_events_that_are_in_place() {
    let (space, id) = trained();
    lose(&space, ".madmall");
    let erased = space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).success();
    erased.says("receipts rest on it").says(MODEL);
    assert!(!space.exists(MODEL) && !space.exists("data/nameless.ndjson"));
    assert!(space.exists("reports/count.txt"), "an aggregate stays");
    space
        .madmall(["verify"])
        .says("receipts rest on it, ")
        .says_not("no receipt");
    assert!(!space.exists("data/parts"), "nor is any file of a folder left");
}

#[test]
fn of_a_folder_that_is_not_as_it_was_nobody_can_tell_which_files_were_in_it() {
    let (space, id) = trained();
    lose(&space, ".madmall");
    space.write("data/parts/part-ab", "another\n");
    let erased = space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).code(3);
    erased.says("left: data/parts/part-a").says_not("left: models");
}

#[test]
fn without_the_events_a_model_is_found_by_the_raw_file() {
    let (space, id) = trained();
    lose(&space, ".madmall");
    lose(&space, "data");
    let erased = space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).success();
    erased.says("receipts rest on it").says(MODEL);
    assert!(!space.exists(MODEL));

    // What was never among the raw events rests on nothing.
    let (space, _) = trained();
    lose(&space, ".madmall");
    lose(&space, "data");
    let erased = space.madmall(["erase", "--event", "evt-never-seen"]).success();
    erased.says("no receipt that you believe rests on it");
    assert!(space.exists(MODEL));
}

#[test]
fn what_cannot_be_told_is_named_and_left_and_nothing_is_signed_of_it() {
    let (space, id) = trained();
    lose(&space, ".madmall");
    lose(&space, "data");
    let run = space.receipt_files().remove(0);
    // These are no longer the bytes that the receipt names.
    let raw = space.read("raw.ndjson");
    space.write("raw.ndjson", raw.split_once('\n').expect("lines").1);
    let shown = space.madmall(["erase", "--event", &id, "--dry-run"]).success();
    shown
        .says(&format!("would leave    {MODEL}"))
        .says("not known   of 1 run");
    let erased = space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).code(3);
    erased
        .says("no receipt is known to rest on it")
        .says(&format!("left: {MODEL}"))
        .says(&format!("left: runs/{run}"))
        .says("neither in the store nor in place")
        .says_not("left: reports/count.txt");
    assert!(space.exists(MODEL), "nobody knows");
    space
        .madmall(["verify"])
        .says("no receipt is known to rest on it")
        .says("it was left in ");
    space.madmall(["erase", "--event", &id]).code(3).says("said before");
    // The model is made again without it; of the earlier run nobody will ever know.
    space.run(&[]).success();
    let erased = space.madmall(["erase", "--event", &id]).code(3);
    erased
        .says(&format!("left: runs/{run}"))
        .says_not(&format!("left: {MODEL}"));
}

#[test]
fn by_a_receipt_that_is_not_believed_nothing_is_removed_and_nothing_is_well() {
    let (mut space, id) = trained();
    lose(&space, ".madmall");
    fs::create_dir(space.path("pipelines")).expect("made");
    fs::rename(space.path("pipeline.yaml"), space.path("pipelines/p.yaml")).expect("moved");
    let other = space.base().join("other config").into_string();
    space.set("MADMALL_CONFIG_DIR", &other);
    let erased = space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).code(3);
    erased
        .says("no receipt is known to rest on it")
        .says("a receipt whose key you do not trust")
        .says(&format!("left: {MODEL}"));
    assert!(space.exists(MODEL));
}

/// Events with persons: every third is of `P-0001`. A program shows them, and one makes what the ingest reads if they come packed.
pub(super) fn persons(is_packed: bool) -> Space {
    let unpack = "  unpack: {run: 'gzip -dc ${inputs.p} > ${outputs.o}', inputs: {p: raw.ndjson.gz}, outputs: {o: data/raw.ndjson}}\n";
    let (unpack, events) = match is_packed {
        true => (unpack, "unpack.o"),
        false => ("", "raw.ndjson"),
    };
    let space = Space::with(&format!(
        "purpose: care
stages:
{unpack}  ingest:
    uses: madmall/ingest
    params: {{subject: /person}}
    inputs: {{events: {events}, schema: schema.json, revocations: revocations.ndjson}}
    outputs: {{events: data/events.ndjson}}
  prog: {{run: 'cat ${{inputs.e}}; wc -l < ${{inputs.e}} > ${{outputs.o}}', inputs: {{e: ingest.events}}, outputs: {{o: reports/count.txt}}}}"
    ));
    space.write("schema.json", "{}");
    space.write("revocations.ndjson", "");
    let events: String = (0..30).map(event).collect();
    match is_packed {
        false => space.write("raw.ndjson", events),
        true => {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packed.write_all(events.as_bytes()).expect("packed");
            space.write("raw.ndjson.gz", packed.finish().expect("packed"));
        }
    }
    space.run(&[]).success();
    space
}

pub(super) fn event(number: usize) -> String {
    let person = match number % 3 {
        0 => "P-0001".to_owned(),
        _ => format!("P-1{number:03}"),
    };
    let consent = "{\"scope\":\"care\",\"revocable\":true}";
    format!("{{\"event_id\":\"event-{number:06}\",\"person\":\"{person}\",\"consent\":{consent}}}\n")
}

/// The raw file without the lines of `P-0001`, as somebody takes them out by hand.
fn take_out_by_hand(space: &Space) {
    let raw = space.read("raw.ndjson");
    let kept = raw.split_inclusive('\n').filter(|line| !line.contains("P-0001"));
    space.write("raw.ndjson", kept.collect::<String>());
}

/// Neither the person nor any of their events may be in these.
#[track_caller]
fn no_trace(space: &Space) {
    for folder in [".madmall", "runs", "data", "reports"].map(|name| name.to_owned()) {
        if !space.exists(&folder) {
            continue;
        }
        for text in ["P-0001", "event-000003", "event-000027"] {
            assert_eq!(holding(space, &folder, text), Vec::<String>::new(), "{text}");
        }
    }
}

pub(super) const ERASE: [&str; 4] = ["erase", "--subject", "P-0001", "--rewrite-inputs"];

#[test]
fn the_ids_of_a_person_are_known_from_what_an_ingest_let_in() {
    let space = persons(false);
    let logs = files_below(&space.path(".madmall/output"));
    assert!(!logs.is_empty());
    take_out_by_hand(&space);
    space.write("notes.txt", "ask about event-000003\n");
    space.write(
        "revocations.ndjson",
        "{\"event_id\":\"event-000006\",\"time\":\"2026-01-01T00:00:00Z\"}\n",
    );
    let erased = space.madmall(ERASE).code(3);
    erased.says("left: notes.txt").says_not("not known");
    no_trace(&space);
    assert!(!space.read("revocations.ndjson").contains("event-000006"));
    // It is known then, and all of it was done.
    space.remove("notes.txt");
    space.madmall(ERASE).success().says("said before");
    space.run(&[]).success();
    no_trace(&space);
    space.madmall(ERASE).success();
}

#[test]
fn the_ids_of_a_person_are_known_from_what_a_stage_has_unpacked() {
    let space = persons(true);
    space.write("notes.txt", "ask about event-000003\n");
    let erased = space.madmall(ERASE).code(3);
    erased.says("left: notes.txt").says("left: raw.ndjson.gz");
    no_trace(&space);
    space.run(&[]).success();
    // What is packed still has them, and so has what is unpacked of it; of what was let in nothing is left.
    assert!(!space.read("data/events.ndjson").contains("P-0001"));
}

#[test]
fn of_events_whose_ids_nobody_knows_any_more_nothing_is_claimed() {
    let space = persons(false);
    take_out_by_hand(&space);
    // All that holds their lines is gone; the log, and the tokens, are not.
    space.remove("data/events.ndjson");
    lose(&space, ".madmall/cas");
    let run = space.receipt_files().remove(0);
    let erased = space.madmall(ERASE).code(3);
    erased
        .says(&format!("left: runs/{run}"))
        .says("whose ids nobody knows any more");
    space.madmall(ERASE).code(3).says("said before");
}

#[test]
fn an_erasure_of_a_person_that_is_killed_goes_on_and_knows_the_ids() {
    let whole = persons(false);
    whole.write("notes.txt", "ask about event-000003\n");
    // Where the secret is made is not what is looked at here.
    whole.madmall(["erase", "--subject", "P-0001", "--dry-run"]).success();
    for round in 0..20 {
        let space = whole.copied(&[]);
        let mut child = space.command(ERASE).spawn().expect("begun");
        std::thread::sleep(Duration::from_millis(4 * round));
        let _ = child.kill();
        let _ = child.wait();
        let is_done = space.receipt_files().iter().any(|name| name.contains(".erasure."));
        let erased = space.madmall(ERASE);
        let is_named = erased.err.contains("notes.txt") || erased.err.contains("nobody knows any more");
        assert!(is_named || is_done, "{}", erased.err);
        no_trace(&space);
        assert!(!space.read("raw.ndjson").contains("event-000003"));
    }
}
