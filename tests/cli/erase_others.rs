//! Erasing where something else is in the way: what others have withdrawn, runs whose clock was behind, files that are damaged, what was moved
//! away, and what an earlier erasure had to leave.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::erase::lines;
use crate::erase_lost::{ERASE, MODEL, event, lose, persons, trained};
use crate::space::{Space, files_below};

/// Somebody else's withdrawal of their event.
const WITHDRAWN: &str = "{\"event_id\":\"event-000003\",\"time\":\"2026-01-01T00:00:00Z\",\"reason\":\"withdrawn\"}\n";

#[test]
fn what_another_has_withdrawn_stays_withdrawn() {
    let space = persons(false);
    // The event was named as of the person by mistake.
    let corrected = event(3).replace("P-0001", "P-0005");
    space.write("raw.ndjson", space.read("raw.ndjson").replace(&event(3), &corrected));
    space.write("revocations.ndjson", WITHDRAWN);
    space.run(&[]).success();
    assert!(!space.read("data/events.ndjson").contains("event-000003"));
    let erased = space.madmall(ERASE).code(3);
    erased
        .says("left: raw.ndjson: other lines of it hold an id")
        .says_not("--rewrite-inputs takes");
    let revocations = space.read("revocations.ndjson");
    assert!(!revocations.contains("event-000003") && revocations.contains("{\"event_token\":\""));
    let kept = "\"time\":\"2026-01-01T00:00:00Z\",\"reason\":\"withdrawn\"}\n";
    assert!(revocations.contains(kept), "{revocations}");
    assert_eq!(revocations.lines().count(), 2);
    space.run(&[]).success();
    let events = space.read("data/events.ndjson");
    assert!(!events.contains("event-000003") && events.contains("event-000004"));
}

#[test]
fn a_stranger_does_not_say_which_events_are_a_persons() {
    let mut space = persons(false);
    let pipeline = space.read("pipeline.yaml");
    space.write("pipeline.yaml", pipeline.replace("raw.ndjson", "strange.ndjson"));
    space.write("strange.ndjson", event(4).replace("P-1004", "P-0001"));
    let (own, other) = (space.base().join("config"), space.base().join("other config"));
    space.set("MADMALL_CONFIG_DIR", other.as_str());
    space.run(&[]).success();
    space.set("MADMALL_CONFIG_DIR", own.as_str());
    space.write("pipeline.yaml", pipeline);
    let withdrawn = WITHDRAWN.replace("000003", "000004");
    space.write("revocations.ndjson", &withdrawn);
    space.run(&[]).success();
    space.madmall(ERASE).code(3);
    assert!(space.read("revocations.ndjson").starts_with(&withdrawn));
}

#[test]
fn a_stranger_does_not_say_that_it_was_erased() {
    let mut space = persons(false);
    space.write("notes.txt", "ask about event-000003\n");
    space.madmall(ERASE).code(3).says("left: notes.txt");
    space.remove("notes.txt");
    let (own, other) = (space.base().join("config"), space.base().join("other config"));
    space.set("MADMALL_CONFIG_DIR", other.as_str());
    space.set("MADMALL_CONSENT_SECRET", own.join("consent-secret").as_str());
    // Where it is found without a receipt that names it.
    let pipeline = space.read("pipeline.yaml");
    space.write("pipelines/p.yaml", &pipeline);
    space.remove("pipeline.yaml");
    let tombstones = space.receipt_files().len();
    space.madmall(ERASE).says("said in");
    assert_eq!(
        space.receipt_files().len(),
        tombstones + 1,
        "who does not believe another's says it anew"
    );
    space.set("MADMALL_CONFIG_DIR", own.as_str());
    space.unset("MADMALL_CONSENT_SECRET");
    space.remove("pipelines/p.yaml");
    space.write("pipeline.yaml", pipeline);
    space.write("notes.txt", "ask about event-000003\n");
    space.madmall(ERASE).code(3).says("left: notes.txt");
}

/// The project in two pipelines, `test` and `after`, run in one second: the file of the second run sorts before that of the first.
fn in_one_second() -> Space {
    for _ in 0..20 {
        let space = crate::erase::space(&lines());
        let stages = "  nameless: {run: 'sed s/thyroid-[0-9]*// ${inputs.e} > ${outputs.o}', inputs: {e: data/events.ndjson}, outputs: {o: after.ndjson}}
  copied: {run: 'cp ${inputs.e} ${outputs.o}', inputs: {e: nameless.o}, outputs: {o: copied.ndjson}}";
        let after = format!("version: 1\nname: after\npurpose: research\nstages:\n{stages}\n");
        space.write("after.yaml", after);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later");
        std::thread::sleep(Duration::from_secs(1) - Duration::from_nanos(now.subsec_nanos().into()));
        space.run(&[]).success();
        space.madmall(["run", "after.yaml"]).success();
        if space.receipt_files()[0].contains("-after-") {
            return space;
        }
    }
    panic!("a run takes more than a second");
}

#[test]
fn what_a_run_made_whose_clock_was_behind_is_found() {
    let space = in_one_second();
    let id = crate::erase::id_of(&lines()[60]);
    let erased = space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).success();
    erased.says("after.yaml");
    assert!(!space.exists("after.ndjson") && !space.exists("copied.ndjson"));
    assert!(!space.exists(MODEL) && !space.exists("data/nameless.ndjson"));
}

#[test]
fn a_damaged_file_where_events_once_lay_does_not_stop_it() {
    for garbage in [&b"\x1f\x8bgarbage"[..], b"\x28\xb5\x2f\xfdgarbage"] {
        let (space, id) = trained();
        space.write("data/events.ndjson", garbage);
        space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).success();
        assert!(!space.exists(MODEL) && !space.read("raw.ndjson").contains(&id));
        // Which ids of a person were in it nobody knows.
        let space = persons(false);
        space.write("data/events.ndjson", garbage);
        let erased = space.madmall(ERASE).code(3);
        erased.says("left: data/events.ndjson: it cannot be read as events");
        assert!(!space.read("raw.ndjson").contains("P-0001"));
    }
    let (space, id) = trained();
    space.write("raw.ndjson", b"\x1f\x8bgarbage");
    space.madmall(["erase", "--event", &id]).code(7).says("raw.ndjson");
}

#[test]
fn what_was_moved_away_is_found_by_its_bytes() {
    let (space, id) = trained();
    let model = space.bytes(MODEL);
    lose(&space, ".madmall");
    space.write(
        "revocations.ndjson",
        format!("{{\"event_id\":\"{id}\",\"time\":\"2026-01-01T00:00:00Z\"}}\n"),
    );
    space.run(&[]).success();
    let displaced = || files_below(&space.path(".madmall/displaced"));
    let is_there = |name: &String| space.bytes(&format!(".madmall/displaced/{name}")) == model;
    assert!(displaced().iter().any(is_there), "the model was moved there");
    space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).says(MODEL);
    assert!(!displaced().iter().any(is_there));
}

#[test]
fn what_was_moved_away_is_named_if_nobody_can_tell() {
    let (space, id) = trained();
    lose(&space, ".madmall");
    lose(&space, "data");
    let raw = space.read("raw.ndjson");
    space.write("raw.ndjson", raw.split_once('\n').expect("lines").1);
    let shown = space.madmall(["erase", "--event", &id, "--dry-run"]).success();
    shown.says("remove it, then `madmall run` makes it again");
    space.run(&[]).success();
    let erased = space.madmall(["erase", "--event", &id, "--rewrite-inputs"]).code(3);
    erased.says("left: .madmall/displaced/").says("models/model.json");
}

#[test]
fn what_an_earlier_erasure_left_is_still_left_when_nobody_knows_the_ids() {
    let space = persons(false);
    space.git(&["init", "-q"]);
    space.git(&["add", "raw.ndjson", "pipeline.yaml"]);
    space.git(&["commit", "-q", "-m", "raw"]);
    space.write("notes.txt", "ask about event-000003\n");
    let left = |erased: crate::space::Ran| {
        let lines = erased.err.lines().filter(|line| line.contains("left: "));
        lines.filter(|line| line.contains("notes.txt")).count()
    };
    let first = space.madmall(ERASE).code(3).says("of git's history");
    assert_eq!(left(first), 1);
    let again = space.madmall(ERASE).code(3).says("git's history");
    assert_eq!(left(again), 1);
    space.remove("notes.txt");
    let again = space.madmall(ERASE).code(3).says("git's history");
    assert_eq!(left(again), 0);
}
