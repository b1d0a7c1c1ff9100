//! Whoever changes a byte is found out, and the file is named.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::space::{Space, files_below};

const TWO: &str = "stages:
  a: {run: 'tr a-z A-Z < ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}";

fn finished() -> Space {
    let space = Space::with(TWO);
    space.write("in", "some bytes\nof a source\n");
    space.run(&[]).success();
    space.madmall(["verify"]).success();
    space
}

#[test]
fn any_flipped_bit_of_any_receipt_or_output_is_found_and_the_file_is_named() {
    let space = finished();
    let mut files: Vec<String> = space
        .receipt_files()
        .iter()
        .map(|name| format!("runs/{name}"))
        .collect();
    files.extend(["out/a".to_owned(), "out/b".to_owned()]);
    let config = Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    };
    let places = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..8_u8);
    TestRunner::new(config)
        .run(&places, |(file, place, bit)| {
            let file = file.get(&files);
            let whole = space.bytes(file);
            let mut bytes = whole.clone();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            space.write(file, &bytes);
            let verdict = space.madmall(["verify"]);
            space.write(file, &whole);
            prop_assert_eq!(
                verdict.code,
                Some(4),
                "{}: byte {}, bit {}\n{}{}",
                file,
                place,
                bit,
                verdict.out,
                verdict.err
            );
            prop_assert!(
                verdict.out.contains(file.as_str()),
                "{} is not named:\n{}",
                file,
                verdict.out
            );
            Ok(())
        })
        .expect("every flipped bit is found");
    space.madmall(["verify"]).success();
}

#[test]
fn truncated_removed_and_added_receipts_are_found() {
    let space = finished();
    let file = format!("runs/{}", space.receipt_files()[0]);
    let text = space.read(&file);
    let lines: Vec<&str> = text.lines().collect();
    let without_first = format!("{}\n", lines[1..].join("\n"));
    let doubled = format!("{}\n{text}", lines[0]);
    let blank = format!("{text}\n");
    let swapped = format!("{}\n{}\n{}\n", lines[1], lines[0], lines[2]);
    for (what, changed) in [
        ("without its last line", format!("{}\n{}\n", lines[0], lines[1])),
        ("without its first line", without_first),
        ("with a line twice", doubled),
        ("with a blank line", blank),
        ("cut in the middle", text[..text.len() / 2].to_owned()),
        ("without its last line break", text.trim_end().to_owned()),
        ("empty", String::new()),
    ] {
        space.write(&file, changed);
        let verdict = space.madmall(["verify"]);
        assert_eq!(verdict.code, Some(4), "{what}:\n{}{}", verdict.out, verdict.err);
        assert!(
            verdict.out.contains(&file),
            "{what}: the file is not named:\n{}",
            verdict.out
        );
    }
    // The order of stages in a file is not part of what is claimed.
    space.write(&file, swapped);
    assert!(space.madmall(["verify"]).code.is_some());
}

#[test]
fn verify_reads_only() {
    let space = finished();
    let before = space.snapshot();
    let verdict = space.madmall(["verify"]).success();
    space.is_as(&before);
    assert!(
        verdict.out.contains("not checked"),
        "it says what was not checked:\n{}",
        verdict.out
    );
    let files = files_below(&space.path("../config"));
    assert_eq!(files, ["lock", "policy.json", "signing-key.pem"]);
}

#[test]
fn a_receipt_of_an_unknown_key_is_not_trusted() {
    let mut space = finished();
    let pem = space.madmall(["key", "--pem"]).success().out;
    space.write("../auditor.pem", pem);
    let elsewhere = space.path("../nobody").into_string();
    space.set("MADMALL_CONFIG_DIR", &elsewhere);
    space.madmall(["verify"]).code(6);
    space.madmall(["key"]).success();
    space.madmall(["verify"]).code(6).says("E-KEY");
    space.madmall(["verify", "--trust", "../auditor.pem"]).success();
    let other = space.madmall(["key", "--pem"]).success().out;
    space.write("../other.pem", other);
    space
        .madmall(["verify", "--trust", "../other.pem"])
        .code(4)
        .says("E-KEY");
}

#[test]
fn a_commit_is_checked_by_content() {
    let space = Space::empty();
    space.pipeline(TWO);
    space.write("in", "1\n");
    space.git(&["init", "-q"]);
    space.run(&[]).success();
    space.git(&["add", "in", "pipeline.yaml", "runs"]);
    space.git(&["commit", "-q", "-m", "edit, run, commit"]);
    space.madmall(["verify", "--at", "HEAD"]).success();
    space
        .madmall(["verify", "--at", "HAED"])
        .code(6)
        .says("did you mean `HEAD`?");

    // Another commit that changes nothing the stages use keeps its proof.
    space.write("unrelated", "x");
    space.git(&["add", "unrelated"]);
    space.git(&["commit", "-q", "-m", "unrelated"]);
    space.madmall(["verify", "--at", "HEAD"]).success();

    // One that changes the pipeline or an input does not, until it is run.
    space.write("in", "2\n");
    space.git(&["commit", "-q", "-am", "another input"]);
    space.madmall(["verify", "--at", "HEAD"]).code(4).says("E-PIPELINE");
    space.run(&[]).success();
    space.madmall(["verify", "--at", "HEAD"]).success();
    space.pipeline(&TWO.replace("cat ${inputs.i}", "cat  ${inputs.i}"));
    space.git(&["commit", "-q", "-am", "another command"]);
    space.madmall(["verify", "--at", "HEAD"]).code(4).says("E-PIPELINE");
}

#[test]
fn a_file_a_receipt_and_a_run_can_be_asked_for() {
    let space = finished();
    space.madmall(["verify", "out/b"]).success().says("out/b");
    space
        .madmall(["verify", "in"])
        .code(6)
        .says("no receipt is about it")
        .says("a raw input has no receipt of its own");
    let name = space.receipt_files().remove(0);
    space.madmall(["verify", &format!("runs/{name}")]).success();
    space
        .madmall(["verify", name.trim_end_matches(".intoto.jsonl")])
        .success();
    let json = space.madmall(["verify", "out/b", "--json"]).success().out;
    let report: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(report["assurance"]["signature"], "held");
    assert_eq!(report["assurance"]["rerun"], "not-checked");
    space.madmall(["verify", "."]).success();
    for folder in ["runs", "out"] {
        space
            .madmall(["verify", folder])
            .code(6)
            .says("is a folder, not a file; no receipt is about it");
    }
    space.remove("out/b");
    space.madmall(["verify", "out/b"]).code(6);
    space.madmall(["verify"]).success();
}

#[test]
fn a_copy_is_said_to_be_one() {
    let space = finished();
    space.write("elsewhere/copy", space.bytes("out/a"));
    space
        .madmall(["verify", "elsewhere/copy"])
        .success()
        .says("elsewhere/copy\n  a copy of `out/a`, made by stage `a`");
    let report = |file: &str| -> serde_json::Value {
        let json = space.madmall(["verify", file, "--json"]).success().out;
        serde_json::from_str(&json).expect("one JSON object")
    };
    assert_eq!(report("elsewhere/copy")["artifacts"][0]["copyOf"], "out/a");
    assert!(report("out/a")["artifacts"][0].get("copyOf").is_none());
    space.madmall(["verify", "out/a"]).success().says_not("a copy of");
    space.write("elsewhere/copy", "other bytes\n");
    space
        .madmall(["verify", "elsewhere/copy"])
        .code(6)
        .says("no receipt is about it");
}
