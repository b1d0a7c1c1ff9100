//! Inputs of several files, few and many.

use crate::space::Space;

const FOLDER: &str =
    "stages: {count: {run: 'ls ${inputs.i} | wc -l > ${outputs.o}', inputs: {i: data}, outputs: {o: out}}}";
const PATTERN: &str =
    "stages: {count: {run: 'ls data | wc -l > ${outputs.o}', inputs: {i: 'data/*.txt'}, outputs: {o: out}}}";

/// A repository with a folder of so many files, of which all is committed.
fn space(files: usize, stages: &str) -> Space {
    let space = Space::with(stages);
    for file in 0..files {
        space.write(&format!("data/{file}.txt"), format!("{file}\n"));
    }
    space.git(&["init", "-q"]);
    commit(&space);
    space
}

fn commit(space: &Space) {
    space.git(&["add", "data", "pipeline.yaml", "madmall.yaml"]);
    space.git(&["commit", "-q", "-m", "data"]);
}

/// The statement of the only stage of the last run.
pub(crate) fn statement(space: &Space) -> serde_json::Value {
    use base64::Engine as _;
    let name = space.receipt_files().pop().expect("a run");
    let text = space.read(&format!("runs/{name}"));
    let line: serde_json::Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    let payload = line["payload"].as_str().expect("a payload");
    let payload = base64::engine::general_purpose::STANDARD
        .decode(payload)
        .expect("base64");
    serde_json::from_slice(&payload).expect("JSON")
}

fn members(statement: &serde_json::Value) -> usize {
    let dependencies = &statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    let dependencies = dependencies.as_array().expect("a list");
    let is_member = |d: &&serde_json::Value| d["annotations"]["madmall"].get("member").is_some();
    dependencies.iter().filter(is_member).count()
}

fn differs(statement: &serde_json::Value) -> &serde_json::Value {
    &statement["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["made"]["differs"]
}

#[test]
fn which_files_of_a_folder_may_be_executed_is_compared_here_and_in_the_commit() {
    use std::os::unix::fs::PermissionsExt as _;
    let space = space(2, FOLDER);
    let let_execute = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(space.path("data/1.txt"), mode).expect("own file");
    };
    let_execute(0o755);
    commit(&space);
    space.run(&[]).success();
    space.madmall(["verify"]).success().says_not("W-STALE");
    space.madmall(["verify", "--at", "HEAD"]).success();
    let_execute(0o644);
    space.madmall(["verify"]).success().says("W-STALE");
    commit(&space);
    space.madmall(["verify", "--at", "HEAD"]).code(4).says("E-PIPELINE");
}

#[test]
fn a_folder_of_many_files_runs_and_verifies_without_a_list_of_them() {
    let space = space(1000, FOLDER);
    space.run(&[]).success();
    assert_eq!(members(&statement(&space)), 1000);
    space.write("data/1000.txt", "one more\n");
    space.run(&[]).success();
    assert_eq!(space.read("out").trim(), "1001");
    let receipt = statement(&space);
    assert_eq!(members(&receipt), 0);
    assert_eq!(differs(&receipt), &serde_json::json!(["data"]));
    space.madmall(["verify"]).success().says("W-UNCOMMITTED");
    space.madmall(["verify", "--at", "HEAD"]).code(4).says("E-PIPELINE");

    commit(&space);
    space.madmall(["verify", "--at", "HEAD"]).success();
    space.run(&["--force"]).success();
    assert_eq!(differs(&statement(&space)), &serde_json::json!([]));
    let json = space.madmall(["verify", "--json"]).success().out;
    let report: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(
        report["assurance"]["commit"], "held",
        "the folder of the commit is listed anew"
    );

    space.write("data/7.txt", "other\n");
    space.madmall(["verify"]).success().says("W-STALE");
    space.run(&[]).success();
    assert_eq!(differs(&statement(&space)), &serde_json::json!(["data"]));
}

#[test]
fn what_a_pattern_found_among_many_files_is_not_said_to_be_checked() {
    let space = space(1001, PATTERN);
    space.run(&[]).success();
    let receipt = statement(&space);
    assert_eq!((members(&receipt), differs(&receipt)), (0, &serde_json::json!([])));
    let json = space.madmall(["verify", "--json"]).success().out;
    let report: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!(report["assurance"]["commit"], "not-checked");
    let notes = report["notChecked"].to_string();
    assert!(notes.contains("data/*.txt"), "{notes}");
    space.madmall(["verify", "--at", "HEAD"]).success();
    space.write("data/7.txt", "other\n");
    space.run(&[]).success();
    assert_eq!(differs(&statement(&space)), &serde_json::json!(["data/*.txt"]));
    space.madmall(["verify"]).success().says("data/*.txt");
}
