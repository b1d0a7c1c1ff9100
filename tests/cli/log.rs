//! The history of receipts: what it lists, what it forgives, and what it finds out.

use std::collections::BTreeMap;

use crate::space::{Space, files_below};

const TWO: &str = "stages:
  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}";

fn finished() -> Space {
    let space = Space::with(TWO);
    space.write("in", "1\n");
    space.run(&[]).success().says_not("new log");
    space
}

/// The files of logs, relative to the workspace.
fn log_files(space: &Space) -> Vec<String> {
    let files = files_below(&space.path("runs/log"));
    files.into_iter().map(|name| format!("runs/log/{name}")).collect()
}

fn checkpoints(space: &Space) -> Vec<String> {
    let files = log_files(space).into_iter();
    files.filter(|name| name.contains("/checkpoint-")).collect()
}

/// What `verify` says of the log.
#[track_caller]
fn log_state(space: &Space) -> String {
    let out = space.madmall(["verify", "--json"]).out;
    let report: serde_json::Value = serde_json::from_str(&out).expect("one JSON object");
    report["assurance"]["log"].as_str().expect("a state").to_owned()
}

#[test]
fn the_log_grows_by_the_receipts_of_a_run_and_not_when_nothing_runs() {
    let space = finished();
    let names = checkpoints(&space);
    assert!(names.len() == 1 && names[0].ends_with("/checkpoint-3"), "{names:?}");
    assert_eq!(log_state(&space), "held");
    Space::let_clock_tick();
    space.run(&[]).success();
    let before = space.snapshot();
    space.run(&[]).success();
    space.is_as(&before);
    space.write("in", "2\n");
    space.run(&[]).success();
    let names = checkpoints(&space);
    assert!(names.len() == 2 && names[1].ends_with("/checkpoint-6"), "{names:?}");
    assert_eq!(log_state(&space), "held");
    for (name, bytes) in before.iter().filter(|(name, _)| name.starts_with("runs/")) {
        assert_eq!(&space.bytes(name), bytes, "{name} never changes");
    }
}

#[test]
fn a_run_file_that_was_removed_is_found_and_its_receipts_are_named() {
    let space = finished();
    space.write("in", "2\n");
    space.run(&[]).success();
    let old = space.receipt_files().remove(0);
    let shown = space.madmall(["log", "--json"]).success().out;
    let listed: serde_json::Value = serde_json::from_str(&shown).expect("one JSON object");
    let receipt = listed["runs"][1]["receipt"].as_str().expect("an id");
    space.remove(&format!("runs/{old}"));
    space.madmall(["verify"]).code(4).says("E-LOG").says(receipt);
}

#[test]
fn any_changed_byte_of_any_file_of_a_log_is_found_and_the_file_is_named() {
    let space = finished();
    space.write("in", "2\n");
    space.run(&[]).success();
    for file in log_files(&space) {
        let whole = space.bytes(&file);
        for place in (0..whole.len()).step_by(whole.len().div_ceil(12)) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 7);
            space.write(&file, &bytes);
            space.madmall(["verify"]).code(4).says("E-LOG").says(&file);
        }
        space.write(&file, &whole[..whole.len() / 2]);
        space.madmall(["verify"]).code(4).says("E-LOG").says(&file);
        space.write(&file, &whole);
    }
    assert_eq!(log_state(&space), "held");
}

#[test]
fn without_its_checkpoint_or_its_tiles_a_log_does_not_hold() {
    let space = finished();
    for file in log_files(&space) {
        let whole = space.bytes(&file);
        space.remove(&file);
        match file.contains("/checkpoint-") {
            true => assert_eq!(log_state(&space), "not-checked"),
            false => drop(space.madmall(["verify"]).code(4).says("E-LOG").says(&file)),
        }
        space.write(&file, whole);
    }
}

#[test]
fn a_new_store_begins_a_new_log_and_both_hold() {
    let space = finished();
    std::fs::remove_dir_all(space.path(".madmall")).expect("removed");
    space.write("in", "2\n");
    space.run(&[]).success().says("began a new log");
    let logs = std::fs::read_dir(space.path("runs/log")).expect("logs").count();
    assert_eq!(logs, 2);
    assert_eq!(log_state(&space), "held");
    space.madmall(["verify"]).success();
}

#[test]
fn a_copied_workspace_goes_on_in_a_log_of_its_own() {
    let space = finished();
    let files: BTreeMap<String, Vec<u8>> = space.snapshot();
    std::fs::remove_dir_all(space.path(".madmall")).expect("removed");
    for (name, bytes) in &files {
        space.write(name, bytes);
    }
    space.write("in", "2\n");
    space.run(&[]).success().says("copied or restored");
    let text: String = checkpoints(&space).iter().map(|name| space.read(name)).collect();
    assert!(text.contains("continues madmall/"), "{text}");
    assert_eq!(log_state(&space), "held");
}

#[test]
fn what_was_published_but_not_appended_is_appended_by_the_next_run() {
    let space = finished();
    let before: BTreeMap<String, Vec<u8>> = space.snapshot();
    space.write("in", "2\n");
    space.run(&[]).success();
    // As if the run had been killed after it published its receipts.
    for name in log_files(&space).into_iter().filter(|name| !before.contains_key(name)) {
        space.remove(&name);
    }
    for (name, bytes) in before.iter().filter(|(name, _)| name.starts_with(".madmall/log/")) {
        space.write(name, bytes);
    }
    assert_eq!(log_state(&space), "not-checked");
    space.madmall(["verify"]).success().says("W-UNLOGGED");
    space.run(&[]).success().says("2 up to date");
    assert_eq!(log_state(&space), "held");
    assert!(checkpoints(&space)[1].ends_with("/checkpoint-6"));
}

#[test]
fn a_log_that_was_removed_as_a_whole_is_missed_until_a_run_writes_receipts() {
    let space = finished();
    space.madmall(["verify"]).success().says_not("W-UNLOGGED");
    std::fs::remove_dir_all(space.path("runs/log")).expect("removed");
    for what in [&[][..], &["out/a"]] {
        space
            .madmall(["verify"].iter().chain(what))
            .success()
            .says("W-UNLOGGED")
            .says("in no log by a trusted key")
            .says("--record")
            .says("log: no log by a trusted key is here");
    }
    // A project that has no log is bundled without, and nothing was taken from the bundle.
    space
        .madmall(["bundle", "latest", "--artifacts", "-o", "b.tar.zst"])
        .success();
    space
        .madmall(["verify", "b.tar.zst"])
        .success()
        .says_not("W-UNLOGGED")
        .says("log: no log by a trusted key is here");
    space.run(&[]).success().says("up to date");
    space.madmall(["verify"]).success().says("W-UNLOGGED");
    space.run(&["--record"]).success();
    space.madmall(["verify"]).success().says_not("W-UNLOGGED");
    assert_eq!(log_state(&space), "held");
}

#[test]
fn receipts_name_the_logs_and_a_log_that_was_cut_or_forked_is_found() {
    let space = finished();
    let before = log_files(&space);
    for text in ["2\n", "3\n"] {
        space.write("in", text);
        space.run(&[]).success();
    }
    let newest = space.receipt_files().pop().expect("three");
    let run = newest.replace(".intoto.jsonl", "");
    let payload: serde_json::Value =
        serde_json::from_str(&space.madmall(["show", &run, "--json"]).success().out).expect("a statement");
    let logs = &payload["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
    assert_eq!(
        (logs.as_array().map(Vec::len), logs[0]["size"].as_u64()),
        (Some(1), Some(6)),
        "{logs}"
    );
    assert_eq!(log_state(&space), "held");

    // The end of the history is taken away, with the last but one run.
    let whole = space.snapshot();
    for file in log_files(&space).iter().filter(|file| !before.contains(file)) {
        space.remove(file);
    }
    space.remove(&format!("runs/{}", space.receipt_files()[1]));
    space
        .madmall(["verify"])
        .code(4)
        .says("E-LOG")
        .says("with 6 entries, and it has 3 here")
        .says(&newest);
    for file in before {
        space.remove(&file);
    }
    // Without any of it that cannot be told from a log of another branch.
    space
        .madmall(["verify"])
        .success()
        .says("W-ELSEWHERE")
        .says("had 6 entries then and is not here");
    for (name, bytes) in &whole {
        space.write(name, bytes);
    }
    space.madmall(["verify"]).success();
}

#[test]
fn another_key_in_the_same_clone_goes_on_in_a_log_of_its_own_and_says_so() {
    let mut space = finished();
    let first = checkpoints(&space);
    let config = space.root().join("../other");
    space.set("MADMALL_CONFIG_DIR", config.as_str());
    space
        .run(&["--force"])
        .success()
        .says("began a new log")
        .says("a log has one key");
    assert_eq!(checkpoints(&space).len(), 2);
    assert_eq!(log_state(&space), "held");
    space.run(&["--force"]).success().says_not("new log");
    let text: String = checkpoints(&space).iter().map(|name| space.read(name)).collect();
    assert_eq!(text.matches("continues madmall/").count(), 1, "{text}");
    // The key of the second log signs in the first: that is a finding for whoever trusts it.
    let own = checkpoints(&space)
        .into_iter()
        .find(|name| !first.contains(name))
        .expect("a second log");
    space.write(&first[0].replace("checkpoint-3", "checkpoint-9"), space.bytes(&own));
    space.madmall(["verify"]).code(4).says("E-LOG").says("checkpoint-9");
}

#[test]
fn branches_with_runs_of_their_own_merge_without_conflict() {
    let space = Space::empty();
    space.pipeline(TWO);
    space.write("in", "1\n");
    space.write(".gitignore", "out\n.madmall\n");
    space.git(&["init", "-q"]);
    let commit = |message: &str| {
        space.git(&["add", "-A"]);
        space.git(&["commit", "-q", "-m", message]);
    };
    space.run(&[]).success();
    commit("first");
    space.git(&["checkout", "-q", "-b", "one"]);
    space.write("in", "one\n");
    space.run(&[]).success();
    commit("one");
    space.git(&["checkout", "-q", "main"]);
    assert_eq!(
        log_state(&space),
        "not-checked",
        "what is in place was made on the other branch"
    );
    space.git(&["checkout", "-q", "-b", "two"]);
    space.write("in", "two\n");
    space.run(&[]).success().says_not("new log");
    assert_eq!(log_state(&space), "held");
    space.madmall(["verify"]).success().says("W-ELSEWHERE");
    commit("two");
    space.git(&["merge", "-q", "-s", "ort", "-X", "ours", "-m", "both", "one"]);
    assert_eq!(log_state(&space), "held");
    space.madmall(["verify"]).success().says_not("W-ELSEWHERE");
    space.run(&[]).success();
    let names = checkpoints(&space);
    assert_eq!(names.len(), 3, "{names:?}");

    // Back on a branch that has less, and with another run there.
    space.git(&["checkout", "-q", "one"]);
    space.write("in", "one more\n");
    space.run(&[]).success().says_not("new log");
    assert_eq!(log_state(&space), "held");
}

#[test]
fn runs_are_listed_newest_first_with_who_signed_them() {
    let space = finished();
    space.write("in", "2\n");
    space.run(&[]).success();
    let out = space.madmall(["log"]).success().out;
    let runs: Vec<&str> = out.lines().filter(|line| line.starts_with("20")).collect();
    assert_eq!(runs.len(), 2, "{out}");
    assert!(
        runs.iter()
            .all(|line| line.contains("test  succeeded, signed by own key (")),
        "{out}"
    );
    let listed = space.madmall(["log", "--json"]).success().out;
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("one JSON object");
    let files = space.receipt_files();
    let newest = listed["runs"][0]["run"].as_str().expect("a run");
    assert_eq!(files[1], format!("{newest}.intoto.jsonl"));
    assert_eq!(space.madmall(["log", "-n", "1"]).success().out.lines().count(), 2);
    space.write(&format!("runs/{}", files[0]), "x");
    space.madmall(["log"]).code(6).says(&files[0]).says(newest);
}

#[test]
fn a_receipt_is_shown_in_words_and_its_payload_exactly() {
    let space = finished();
    let run = space.receipt_files().remove(0).replace(".intoto.jsonl", "");
    let shown = space.madmall(["show", &run]).success().out;
    let id = shown.lines().next().expect("the id").to_owned();
    assert!(
        shown.contains("outcome    succeeded") && shown.contains("signed by  own key ("),
        "{shown}"
    );
    let payload = space.madmall(["show", &run, "--json"]).success().out;
    let digest = madmall::digest::Sha256::of(payload.as_bytes());
    assert_eq!(digest.to_string(), id, "the payload's SHA-256 is the receipt's id");
    let stage = shown
        .lines()
        .find_map(|line| line.strip_prefix("receipt    ")?.split_once("  sha256:"))
        .expect("a stage's")
        .1;
    space
        .madmall(["show", &stage[..12]])
        .success()
        .says("command    c")
        .says("subject    out/");
    space.madmall(["show", &format!("sha256:{}", "0".repeat(64))]).code(6);
    space.madmall(["show", "in"]).code(2);
}

#[test]
fn what_rests_on_no_receipt_asks_no_log() {
    let space = finished();
    space
        .madmall(["verify", "sha256:00000000"])
        .code(6)
        .says("log: nothing that was asked for rests on a receipt, so no log was asked")
        .says_not("no log by a trusted key is here");
}
