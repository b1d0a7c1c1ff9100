//! Several files, folders and compressed files as the events of `ingest`.

use crate::passed_on::{event, space};
use crate::space::Space;

fn reading(events: &str) -> Space {
    let space = space("");
    let stages = space.read("pipeline.yaml");
    space.write("pipeline.yaml", stages.replace("raw.ndjson", &format!("\"{events}\"")));
    space.remove("raw.ndjson");
    for (number, path) in (0..).zip(["z.ndjson", "d/b.ndjson", "d/a/c.jsonl", "d/B.ndjson"]) {
        space.write(path, event(number, "research"));
    }
    let packed = zstd::encode_all(event(4, "research").as_bytes(), 1).expect("a frame");
    space.write("d/a/d.ndjson.zst", packed);
    space
}

fn read(space: &Space) -> Vec<usize> {
    let text = space.read("out/events.ndjson");
    let number = |line: &str| {
        let digits = line.split("evt-").nth(1).and_then(|rest| rest.get(..6));
        digits.and_then(|digits| digits.parse().ok()).expect("an id")
    };
    text.lines().map(number).collect()
}

#[test]
fn files_of_a_folder_are_read_in_the_order_of_their_paths_bytes() {
    let space = reading("d");
    space.run(&[]).success();
    assert_eq!(read(&space), [3, 2, 4, 1]);
    space.run(&[]).success().says("1 up to date");
    // A file more is another input, and no line of it gets in unseen.
    space.write("d/README", "What is in here.\n");
    space
        .run(&[])
        .code(2)
        .says("d/README:1: ")
        .says("1 of 5 events is invalid");
}

#[test]
fn a_pattern_takes_a_file_here_and_a_folder_there() {
    let space = reading("{z.ndjson,d/a/**}");
    space.run(&[]).success();
    assert_eq!(read(&space), [2, 4, 0]);
    space.madmall(["verify"]).success();
}

#[test]
fn a_compressed_file_under_another_name_is_the_same_input() {
    let space = reading("z.ndjson");
    let packed = zstd::encode_all(event(0, "research").as_bytes(), 1).expect("a frame");
    space.write("z.ndjson", &packed);
    space.run(&[]).success();
    assert_eq!(space.read("out/events.ndjson"), event(0, "research"));
    let stages = space.read("pipeline.yaml");
    space.write("z.zst", &packed);
    space.write("pipeline.yaml", stages.replace("z.ndjson", "z.zst"));
    space.run(&[]).success().says("1 up to date");
    space.write("z.zst", &packed[..packed.len() - 1]);
    space
        .run(&[])
        .code(2)
        .says("`z.zst` is no whole zstd file: it ends too soon, at byte");
    space.madmall(["verify"]).success();
}

#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_no_file_of_events_and_is_not_waited_for() {
    let space = reading("z.ndjson");
    space.remove("z.ndjson");
    let made = std::process::Command::new("mkfifo")
        .arg(space.path("z.ndjson"))
        .status();
    assert!(made.expect("mkfifo is there").success());
    space.run(&[]).says_not("ran  ");
    assert!(!space.exists("out/events.ndjson"));
    let ran = space
        .madmall(["ingest", "--in", "z.ndjson", "--out", "out.ndjson"])
        .code(2);
    ran.says("it is not a regular file");
}
