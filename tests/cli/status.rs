//! `madmall status`.

use serde_json::Value;

use crate::space::Space;

const TWO: &str = "version: 1\nname: two\nstages:
  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}
";

fn space() -> Space {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("pipelines/two.yaml", TWO);
    space.write("in", "1");
    space
}

fn json(space: &Space, arguments: &[&str]) -> Value {
    let ran = space.madmall(["status", "--json"].iter().chain(arguments));
    serde_json::from_str(&ran.out).expect("one JSON object")
}

#[test]
fn every_pipeline_is_shown_and_nothing_is_written() {
    let space = space();
    let before = space.snapshot();
    space
        .madmall(["status"])
        .success()
        .says("two  pipelines/two.yaml\n  a  would run   never run\n  b  may run     `a` runs first\n  no run yet\n")
        .says("store: 0 objects, 0 B\n");
    space.is_as(&before);
    space.madmall(["run", "pipelines/two.yaml"]).success();
    let ran = space.madmall(["status"]).success();
    assert!(
        ran.out.contains("  a  up to date\n  b  up to date\n  last run 20"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("-two-") && ran.out.contains(", succeeded\n"),
        "{}",
        ran.out
    );
    for line in ran.out.lines() {
        assert_eq!(line, line.trim_end());
    }
}

#[test]
fn outputs_that_were_edited_or_removed_are_told_apart() {
    let space = space();
    space.madmall(["run", "pipelines/two.yaml"]).success();
    space.write("out/a", "mine");
    space.remove("out/b");
    space
        .madmall(["status", "pipelines/two.yaml"])
        .success()
        .says("  a  restore     outputs would be put back from the store\n")
        .says("out/a was edited: no receipt that you believe claims its bytes")
        .says("out/b is missing");
    let found = json(&space, &[]);
    let stages = &found["pipelines"][0]["stages"];
    assert_eq!(stages[0]["outputs"][0]["state"], "edited");
    assert_eq!(stages[1]["outputs"][0]["state"], "missing");
    assert_eq!(found["version"], 1);
    assert_eq!(found["pipelines"][0]["lastRun"]["outcome"], "succeeded");
}

#[test]
fn what_no_pipeline_makes_or_reads_any_more_is_an_orphan() {
    let space = space();
    space.madmall(["run", "pipelines/two.yaml"]).success();
    let without_b = TWO
        .lines()
        .filter(|line| !line.starts_with("  b:"))
        .collect::<Vec<_>>()
        .join("\n");
    space.write("pipelines/two.yaml", &without_b);
    space
        .madmall(["status"])
        .success()
        .says("orphans: 1 output of stages that no pipeline has any more")
        .says("  out/b  made by `b` of `two`\n");
    space.write("out/b", "mine");
    space
        .madmall(["status"])
        .says("out/b  made by `b` of `two`, and no receipt that you believe claims what is there now");
    // Another pipeline reads it: it is a source now.
    space.write(
        "pipelines/three.yaml",
        "version: 1\nname: three\nstages: {c: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: out/b}, outputs: {o: out/c}}}",
    );
    assert_eq!(json(&space, &[])["orphans"], serde_json::json!([]));
    // One that cannot be read may make it.
    space.write("pipelines/three.yaml", "version: 1\n");
    let ran = space.madmall(["status"]).code(2);
    ran.says("orphans: not known while a pipeline has mistakes")
        .says("`madmall check pipelines/three.yaml`");
    assert_eq!(json(&space, &[])["orphans"], Value::Null);
}

#[test]
fn a_pipeline_elsewhere_is_known_by_its_receipts() {
    let space = space();
    space.remove("pipelines/two.yaml");
    space
        .madmall(["status"])
        .success()
        .says("there is no pipeline under `pipelines/`")
        .says_not("store:");
    space.write("two.yaml", TWO);
    space.madmall(["run", "two.yaml"]).success();
    space.madmall(["status"]).success().says("two  two.yaml\n");
}

#[test]
fn what_only_a_strangers_receipt_claims_was_not_edited() {
    let first = space();
    first.write(".gitignore", ".madmall/\n");
    first.madmall(["run", "pipelines/two.yaml"]).success();
    first.git(&["init", "-q"]);
    first.git(&["add", "."]);
    first.git(&["commit", "-q", "-m", "a run"]);
    let second = first.beside("clone", "other config");
    std::fs::create_dir(second.root()).expect("made");
    second.git(&["clone", "-q", first.root().as_str(), "."]);
    second
        .madmall(["status"])
        .success()
        .says("out/a is claimed by receipts that you do not believe, and by no other")
        .says_not("edited");
    assert_eq!(
        json(&second, &[])["pipelines"][0]["stages"][0]["outputs"][0]["state"],
        "foreign"
    );
    second
        .madmall(["clean"])
        .success()
        .says("out/a  stays: no receipt that you believe claims its bytes\n");
    second.write("out/a", "mine");
    second
        .madmall(["status"])
        .says("out/a was edited: no receipt that you believe claims its bytes");
}

#[test]
fn only_the_newest_file_of_receipts_is_read() {
    let space = space();
    space.write("runs/2001-01-01T000000Z-two-000000.intoto.jsonl", "{\"payload\":");
    space.madmall(["run", "pipelines/two.yaml"]).success();
    space.madmall(["status"]).success();
    // These read all of them.
    for command in ["log", "gc"] {
        let ran = space.madmall([command]);
        ran.says("runs/2001-01-01T000000Z-two-000000.intoto.jsonl");
    }
    space.madmall(["log"]).code(6);
    space.madmall(["verify"]).code(4).says("E-JSON");
}

#[test]
fn a_broken_file_of_receipts_is_named_and_makes_the_answer_inconclusive() {
    let space = space();
    space.madmall(["run", "pipelines/two.yaml"]).success();
    space.write("runs/2099-01-01T000000Z-two-000000.intoto.jsonl", "{\"payload\":");
    space
        .madmall(["status"])
        .code(6)
        .says("  a  up to date\n")
        .says("the last run cannot be told: runs/2099-01-01T000000Z-two-000000.intoto.jsonl: ");
}

#[test]
fn a_stage_file_that_is_not_there_and_a_missing_pipeline_are_said() {
    let space = space();
    space
        .madmall(["status", "pipelines/tow.yaml"])
        .code(2)
        .says("there is no pipeline file");
}

#[test]
fn a_file_that_others_include_is_shown_with_them() {
    let space = space();
    let part = "version: 1\nstages: {c: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/c}}}\n";
    space.write("pipelines/part.yaml", part);
    // As long as nobody includes it, it is a pipeline with a mistake in it.
    space.madmall(["status"]).code(2).says("pipelines/part.yaml");
    space.write("pipelines/two.yaml", format!("{TWO}include: [pipelines/part.yaml]\n"));
    let ran = space.madmall(["status"]).success().says("c  would run");
    ran.says_not("pipelines/part.yaml");
    // It was asked for.
    space
        .madmall(["status", "pipelines/part.yaml"])
        .code(2)
        .says("pipelines/part.yaml");
}
