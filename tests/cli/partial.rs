//! Runs in which only some stages ran: the receipt of such a run names the receipts of the others, which lie in the files of earlier
//! runs, and whatever looks at the run sees all of it.

use std::time::Duration;

use madmall::receipt::run_file::RunFile;
use madmall::receipt::statement::Statement;
use serde_json::{Value, json};

use crate::space::Space;

const STAGES: &str = "stages:
  old: {run: 'cp ${inputs.i} ${outputs.metrics}', inputs: {i: in/old}, outputs: {metrics: out/1.json}}
  new: {run: 'cp ${inputs.i} ${outputs.metrics}', inputs: {i: in/new}, outputs: {metrics: out/2.json}}
";

/// `old` ran in the first run, `new` in each of so many.
fn runs(count: usize) -> Space {
    let space = Space::with(STAGES);
    space.write("in/old", r#"{"old": 7}"#);
    for number in 0..count {
        space.write("in/new", format!(r#"{{"new": {number}}}"#));
        // So that what was looked at is remembered.
        Space::let_clock_tick();
        space.run(&[]).success();
    }
    space
}

/// What the run's own receipt says, and in how many lines its file goes.
fn own(space: &Space, run: usize) -> (Statement, usize) {
    let file = format!("runs/{}", space.receipt_files()[run]);
    let mut receipts = RunFile::parse(&space.bytes(&file)).expect("receipts").into_receipts();
    let lines = receipts.len();
    (receipts.pop().expect("its own").statement, lines)
}

fn named(statement: &Statement) -> (Vec<&str>, Vec<&str>) {
    let stages = statement.receipts().map(|(stage, _)| stage).collect();
    (
        stages,
        statement.subject.iter().map(|made| made.name.as_str()).collect(),
    )
}

fn json_of(space: &Space, arguments: &[&str]) -> Value {
    serde_json::from_str(&space.madmall(arguments).success().out).expect("one JSON object")
}

#[test]
fn the_receipt_names_all_stages_and_what_ran_in_it() {
    let space = runs(2);
    let ((first, three), (second, two)) = (own(&space, 0), own(&space, 1));
    assert_eq!(
        (three, two),
        (3, 2),
        "a line for each stage that ran, and the run's own"
    );
    assert_eq!(named(&first), (vec!["new", "old"], vec!["out/1.json", "out/2.json"]));
    assert_eq!(named(&second), (vec!["new", "old"], vec!["out/2.json"]));
    let id_of = |statement: &Statement| {
        statement
            .receipts()
            .find(|(stage, _)| *stage == "old")
            .map(|(_, id)| id)
    };
    assert_eq!(id_of(&first), id_of(&second));
    // If none had to run, of all.
    space.run(&["--record"]).success();
    let (third, one) = own(&space, 2);
    assert_eq!(one, 1);
    assert_eq!(named(&third), (vec!["new", "old"], vec!["out/1.json", "out/2.json"]));
    space.madmall(["verify"]).success();
    for run in ["latest", "latest~1", "latest~2"] {
        let ran = space.madmall(["verify", run]).success();
        ran.says("out/1.json").says("held:        signature, ");
    }
}

#[test]
fn a_failure_is_named_and_what_did_not_run_is_not() {
    let space = runs(1);
    space.pipeline(&STAGES.replace(
        "'cp ${inputs.i} ${outputs.metrics}', inputs: {i: in/new}",
        "'false', inputs: {i: in/new}",
    ));
    space.run(&[]).code(1);
    let (failed, two) = own(&space, 1);
    assert_eq!(two, 2);
    let (stages, made) = named(&failed);
    assert_eq!(stages, ["new", "old"]);
    assert!(made.len() == 1 && made[0].ends_with(".log"), "{made:?}");
    space.madmall(["verify", "latest"]).success();
}

#[test]
fn numbers_of_stages_that_did_not_run_are_in_the_row_too() {
    let space = runs(3);
    let found = json_of(&space, &["metrics", "--json"]);
    // By the paths of files, not by the names of stages.
    assert_eq!(found["columns"], json!(["old", "new"]));
    let values = |found: &Value| -> Vec<Value> {
        let rows = found["rows"].as_array().expect("a list");
        rows.iter().map(|row| row["values"].clone()).collect()
    };
    assert_eq!(values(&found), [json!([7, 0]), json!([7, 1]), json!([7, 2])]);
    let newest = json_of(&space, &["metrics", "--json", "-n", "1"]);
    assert_eq!(values(&newest), [json!([7, 2])]);
    // Without the file in which that receipt is, that is said, and the rest is shown.
    space.remove(&format!("runs/{}", space.receipt_files()[0]));
    let found = json_of(&space, &["metrics", "--json"]);
    assert_eq!(values(&found), [json!([1]), json!([2])]);
    let ran = space.madmall(["metrics"]).success();
    ran.says("the receipt of a stage of ").says(" is not here");
}

#[test]
fn outputs_of_stages_that_did_not_run_are_compared_too() {
    let space = runs(3);
    let outputs = |found: &Value| -> Vec<String> {
        let rows = found["rows"].as_array().expect("a list").iter();
        let outputs = rows.filter(|row| row["section"] == "outputs");
        outputs
            .map(|row| row["name"].as_str().expect("a name").to_owned())
            .collect()
    };
    let compare = |more: &[&str]| json_of(&space, &[&["diff", "latest~1", "latest", "--json"], more].concat());
    assert_eq!(outputs(&compare(&[])), ["out/2.json"]);
    assert_eq!(outputs(&compare(&["--all"])), ["out/2.json", "out/1.json"]);
}

#[test]
fn a_bundle_holds_what_stages_that_did_not_run_have_made() {
    let space = runs(3);
    let target = space.path("../audit.tar.zst");
    space
        .madmall(["bundle", "latest", "--artifacts", "-o", target.as_str()])
        .success();
    let held = space.madmall(["verify", target.as_str(), "--json"]).success().out;
    let held: Value = serde_json::from_str(&held).expect("one JSON object");
    let artifacts = held["artifacts"].as_array().expect("a list").iter();
    let paths: Vec<&str> = artifacts.map(|made| made["path"].as_str().expect("a path")).collect();
    assert_eq!(paths, ["out/1.json", "out/2.json"]);
}

#[test]
fn a_bundle_holds_what_the_run_names_and_not_what_another_that_it_rests_on_made_by_that_name() {
    let more = "  more: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in/more}, outputs: {o: out/more}}\n";
    let space = Space::with(&format!("{STAGES}{more}"));
    for (old, new, more) in [("1", "a", "x"), ("2", "a", "y"), ("1", "b", "y")] {
        // Receipts tell the time in seconds.
        std::thread::sleep(Duration::from_millis(1100));
        space.write("in/old", old);
        space.write("in/new", new);
        space.write("in/more", more);
        space.run(&[]).success();
    }
    // The last rests on the second for `more`, where `old` came out otherwise, and on the first for `old`.
    assert_eq!(named(&own(&space, 2).0).1, ["out/2.json"]);
    for arguments in [&["--artifacts"][..], &["--artifact", "out/1.json"]] {
        let target = space.path("../audit.tar.zst");
        let bundle = ["bundle", "latest", "--force", "-o", target.as_str()];
        space
            .madmall(bundle.iter().chain(arguments))
            .success()
            .says_not("other bytes");
        let ran = space.madmall(["verify", target.as_str(), "--json"]).success();
        let report: Value = serde_json::from_str(&ran.out).expect("one JSON object");
        let artifacts = report["artifacts"].as_array().expect("a list");
        let old = artifacts
            .iter()
            .find(|made| made["path"] == "out/1.json")
            .expect("it is held");
        let one = madmall::digest::Sha256::of(b"1").to_string();
        assert_eq!(old["sha256"], one);
    }
}

#[test]
fn gc_keeps_what_stages_that_did_not_run_have_made() {
    let space = runs(3);
    // What is up to date is kept in any case: now it is not.
    space.write("in/old", "{}");
    let stored = |space: &Space, text: &str| {
        let digest = madmall::digest::Digest::of(text.as_bytes()).to_hex();
        space.exists(&format!(".madmall/cas/{}/{}", &digest[..2], &digest[2..]))
    };
    let gc = |space: &Space| space.madmall(["gc", "--yes", "--keep-last", "1"]);
    gc(&space).success();
    let kept = |space: &Space| [r#"{"new": 1}"#, r#"{"new": 2}"#, r#"{"old": 7}"#].map(|text| stored(space, text));
    assert_eq!(kept(&space), [false, true, true]);
    // Whoever does not know what a run needs throws nothing away.
    let first = format!("runs/{}", space.receipt_files()[0]);
    let receipts = space.bytes(&first);
    space.remove(&first);
    let ran = gc(&space).code(6);
    ran.says("it cannot be told what is needed by `runs/")
        .says(", which it names, is not here");
    assert!(stored(&space, r#"{"old": 7}"#));
    space.write(&first, receipts);
    gc(&space).success();
}

#[test]
fn gc_keeps_what_a_branch_needs_whichever_of_its_runs_made_it() {
    let space = runs(3);
    space.git(&["init", "-q"]);
    space.git(&["add", "-f", "pipeline.yaml", "madmall.yaml", "runs"]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.git(&["branch", "side"]);
    // Here is another history, in which it was never made.
    space.git(&["rm", "-q", "-r", "runs"]);
    space.git(&["commit", "-q", "-m", "none"]);
    space.write("in/old", "{}");
    space.write("in/new", "{}");
    space.run(&[]).success();
    let stored = |text: &str| {
        let digest = madmall::digest::Digest::of(text.as_bytes()).to_hex();
        space.exists(&format!(".madmall/cas/{}/{}", &digest[..2], &digest[2..]))
    };
    space.madmall(["gc", "--yes", "--keep-last", "1"]).success();
    assert_eq!(
        [r#"{"new": 1}"#, r#"{"new": 2}"#, r#"{"old": 7}"#].map(stored),
        [false, true, true]
    );
}
