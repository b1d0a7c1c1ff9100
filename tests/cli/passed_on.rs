//! Outputs of `ingest` that are its input, byte for byte, and were not written by it.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::time::{Duration, Instant};

use crate::folders::statement;
use crate::space::{Ran, Space, files_below};

const STAGES: &str = "purpose: research
stages:
  i:
    uses: madmall/ingest
    inputs: {events: raw.ndjson, schema: schema.json}
    outputs: {events: out/events.ndjson, report: out/report.json}";

pub(crate) fn event(number: usize, scope: &str) -> String {
    format!(
        "{{\"event_id\":\"evt-{number:06}\",\"timestamp\":\"2026-01-05\",\"source\":\"self\",\
         \"consent\":{{\"scope\":\"{scope}\",\"revocable\":true}},\
         \"payload\":{{\"type\":\"lab_marker\",\"features\":{{\"tsh\":{number}.25}}}}}}\n"
    )
}

fn events(count: usize) -> String {
    (0..count).map(|number| event(number, "research")).collect()
}

pub(crate) fn space(events: &str) -> Space {
    let space = Space::with(STAGES);
    space.write("schema.json", include_str!("../../schemas/byte_event.schema.json"));
    space.write("raw.ndjson", events);
    space
}

/// The objects of the store that have these bytes.
fn objects(space: &Space, bytes: &[u8]) -> usize {
    let objects = files_below(&space.path(".madmall/cas"));
    let path = |object: &String| format!(".madmall/cas/{object}");
    objects
        .iter()
        .filter(|object| space.bytes(&path(object)) == bytes)
        .count()
}

#[test]
fn the_output_is_the_inputs_own_bytes_and_a_file_of_its_own() {
    let text = events(200);
    let space = space(&text);
    space.run(&[]).success().says("1 ran");
    assert_eq!(space.read("out/events.ndjson"), text);
    assert_eq!(objects(&space, text.as_bytes()), 1);
    space.madmall(["verify"]).success();
    space.madmall(["fsck"]).success();
    Space::let_clock_tick();

    // An edit of one reaches neither of the others.
    let other = events(201);
    space.write("out/events.ndjson", &other);
    assert_eq!(space.read("raw.ndjson"), text);
    assert_eq!(objects(&space, text.as_bytes()), 1);
    space.madmall(["verify"]).code(4).says("E-DIGEST");
    space.run(&[]).success().says("1 restored").says("displaced");
    assert_eq!(space.read("out/events.ndjson"), text);

    let file = std::fs::OpenOptions::new().write(true).open(space.path("raw.ndjson"));
    file.and_then(|mut file| file.write_all(b"{\"event_id\":\"evt-zzzzzz\""))
        .expect("written in place");
    assert_eq!(space.read("out/events.ndjson"), text);
    assert_eq!(objects(&space, text.as_bytes()), 1);
    space.remove("raw.ndjson");
    space.remove("out/events.ndjson");
    space.write("raw.ndjson", &text);
    space.run(&[]).success().says("1 restored");
    assert_eq!(space.read("out/events.ndjson"), text);
}

#[test]
fn a_receipt_says_of_it_what_it_says_of_an_output_that_was_written() {
    let text = events(50);
    let passed_on = space(&text);
    passed_on.run(&[]).success();
    // A blank line more, and the same lines are written.
    let written = space(&format!("{text}\n"));
    written.run(&[]).success();
    assert_eq!(written.read("out/events.ndjson"), text);
    let of = |space: &Space| statement(space)["subject"][0].clone();
    assert_eq!(of(&passed_on), of(&written));
    assert_eq!(of(&written)["name"], "out/events.ndjson");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |space: &Space| {
            let found = std::fs::metadata(space.path("out/events.ndjson")).expect("there");
            found.permissions().mode()
        };
        assert_eq!(mode(&passed_on), mode(&written));
    }
}

#[test]
fn what_the_store_has_already_is_not_kept_twice_and_what_is_damaged_there_is_put_right() {
    let text = events(100);
    let space = space(&text);
    space.run(&[]).success();
    space.write("schema.json", "{}");
    space.run(&[]).success().says("1 ran");
    assert_eq!(objects(&space, text.as_bytes()), 1);

    let cas = files_below(&space.path(".madmall/cas"));
    for object in &cas {
        let path = format!(".madmall/cas/{object}");
        space.remove(&path);
        space.write(&path, "other bytes");
    }
    space.remove("out/events.ndjson");
    space.run(&["--force"]).success().says("1 ran");
    assert_eq!(space.read("out/events.ndjson"), text);
    assert_eq!(objects(&space, text.as_bytes()), 1);
}

#[test]
fn the_rejects_of_a_file_without_any_are_an_empty_file() {
    let text = events(3);
    let space = space(&text);
    space.pipeline(
        &STAGES
            .replace("outputs: {", "outputs: {rejects: out/rejects.ndjson, ")
            .replace("    inputs:", "    params: {on_reject: quarantine}\n    inputs:"),
    );
    space.run(&[]).success();
    assert_eq!(space.read("out/events.ndjson"), text);
    assert_eq!(space.read("out/rejects.ndjson"), "");
}

#[test]
fn a_file_that_is_edited_while_it_is_read_makes_the_stage_fail() {
    let text = events(120_000);
    let space = space(&text);
    let child = space.begin(["run", "pipeline.yaml"]);
    let began = Instant::now();
    let has_begun = || {
        let logs = files_below(&space.path(".madmall/output"));
        logs.iter().any(|log| log.ends_with("i.log"))
    };
    while !has_begun() {
        assert!(began.elapsed() < Duration::from_secs(60), "the stage has begun");
        std::thread::sleep(Duration::from_millis(5));
    }
    // The last line stays a valid event.
    let at = text.rfind(".25").expect("a number");
    let file = std::fs::OpenOptions::new().write(true).open(space.path("raw.ndjson"));
    file.and_then(|mut file| {
        file.seek(SeekFrom::Start(at as u64))?;
        file.write_all(b".75")
    })
    .expect("written in place");
    let ran = Ran::of(&child.wait_with_output().expect("it ends"));
    ran.code(1).says("its input `raw.ndjson` changed while it ran");
    assert!(!space.exists("out/events.ndjson"));
    assert_eq!(objects(&space, text.as_bytes()), 0);
    space.run(&[]).success();
    assert!(space.read("out/events.ndjson").ends_with(".75}}}\n"));
}
