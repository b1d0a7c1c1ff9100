//! `madmall why` and `madmall plan`: the first cause, who committed it, and where results come from.

use serde_json::Value;

use crate::space::Space;

const TWO: &str = "stages:
  a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: data}, outputs: {o: out/a}}
  b: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}";

/// A repository in which `b` has run and everything is committed.
fn space(stages: &str) -> Space {
    let space = Space::with(&stages.replace("cat ${inputs.i}", "cat data/*"));
    space.write("data/x", "1");
    space.write("data/y", "1");
    space.git(&["init", "-q"]);
    commit(&space, "begin");
    space.run(&[]).success();
    space
}

fn commit(space: &Space, message: &str) -> String {
    space.git(&["add", "data", "pipeline.yaml", "madmall.yaml"]);
    space.git(&["commit", "-q", "--allow-empty", "-m", message]);
    space.git(&["rev-parse", "HEAD"])
}

fn why(space: &Space) -> Value {
    let ran = space.madmall(["why", "pipeline.yaml", "b", "--json"]).success();
    serde_json::from_str(&ran.out).expect("one JSON object")
}

#[test]
fn the_files_that_changed_are_named_with_the_commit_that_changed_each() {
    let space = space(TWO);
    space.write("data/x", "2");
    let changed = commit(&space, "x becomes 2");
    space.write("other", "");
    commit(&space, "nothing of ours");
    space.write("data/y", "2");
    space.write("data/z", "1");
    let ran = space.madmall(["why", "pipeline.yaml", "b"]).success();
    let ran = ran
        .says("a: input `i` changed: data ")
        .says("  (the first cause)\n")
        .says(&format!(
            "    data/x: changed by commit {} \"x becomes 2\"\n",
            &changed[..12]
        ))
        .says("    data/y: uncommitted\n")
        .says("    data/z is new: uncommitted\n");
    assert!(ran.out.find("data/x:") < ran.out.find("`a` runs first"), "{}", ran.out);
    let found = why(&space);
    assert_eq!(found["firstCause"]["stage"], "a");
    let files = &found["chain"][0]["files"];
    assert_eq!(
        (&files[0]["commit"], &files[0]["committed"]),
        (&Value::from(changed), &Value::from(true))
    );
    assert_eq!(
        (&files[1]["path"], &files[1]["committed"]),
        (&Value::from("data/y"), &Value::from(false))
    );
    assert_eq!(files[2]["what"], "added");
}

#[test]
fn of_a_stage_that_ran_the_history_is_asked_as_it_was_then() {
    let space = space(TWO);
    space.write("data/x", "2");
    let changed = commit(&space, "x becomes 2");
    space.run(&[]).success();
    space.write("data/x", "3");
    commit(&space, "x becomes 3");
    space.git(&["checkout", "-q", &changed]);
    space
        .madmall(["why", "pipeline.yaml", "b"])
        .success()
        .says("b: up to date; it last ran in ")
        .says(&format!("data/x: changed by commit {} ", &changed[..12]));
}

#[test]
fn a_stage_is_compared_with_its_newest_receipt() {
    let stage = "stages:
  a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}";
    let space = Space::with(stage);
    for source in ["1", "2"] {
        space.write("in", source);
        space.run(&[]).success();
    }
    space.write(
        "pipeline.yaml",
        space.read("pipeline.yaml").replace("cat $", "cat -u $"),
    );
    let ran = space.madmall(["why", "pipeline.yaml", "a"]).success();
    ran.says("command").says_not("input `i` changed");
}

#[test]
fn a_merge_is_followed_to_the_side_that_has_the_bytes() {
    let space = space(TWO);
    space.git(&["checkout", "-q", "-b", "side"]);
    space.write("data/x", "2");
    let changed = commit(&space, "on the side");
    space.git(&["checkout", "-q", "main"]);
    space.write("unrelated", "");
    commit(&space, "on main");
    space.git(&["merge", "-q", "--no-ff", "-m", "merged", "side"]);
    assert_eq!(why(&space)["chain"][0]["files"][0]["commit"], changed);
}

#[test]
fn without_git_the_files_are_named_alone() {
    let space = Space::with(&TWO.replace("cat ${inputs.i}", "cat data/*"));
    space.write("data/x", "1");
    space.run(&[]).success();
    space.write("data/z", "1");
    space
        .madmall(["why", "pipeline.yaml", "b"])
        .success()
        .says("    data/z is new\n")
        .says_not("commit");
    assert_eq!(why(&space)["chain"][0]["files"][0]["committed"], Value::Null);
}

#[test]
fn a_plan_says_where_each_result_would_come_from() {
    let space = space(TWO);
    let plan = || -> Value {
        let ran = space.madmall(["plan", "pipeline.yaml", "--json"]).success();
        serde_json::from_str(&ran.out).expect("one JSON object")
    };
    let first = space.receipt_files()[0].trim_end_matches(".intoto.jsonl").to_owned();
    let found = plan();
    assert_eq!(
        (&found["stages"][0]["from"], &found["stages"][0]["madeBy"]),
        (&"place".into(), &first.as_str().into())
    );
    space.remove("out/a");
    space
        .madmall(["plan", "pipeline.yaml"])
        .success()
        .says(&format!("from the store, made by run {}: out/a\n", &first[..18]));
    space.write("data/x", "2");
    let found = plan();
    assert_eq!(
        (&found["stages"][0]["from"], &found["stages"][0]["madeBy"]),
        (&"run".into(), &Value::Null)
    );
}

#[test]
fn a_stage_of_which_an_earlier_result_may_fit_runs_perhaps() {
    let space = Space::with(
        "params: {x: 1}
stages:
  one: {run: 'head -c 1 ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/one}}
  two: {run: '(echo ${params.x}; cat ${inputs.i}) > ${outputs.o}', inputs: {i: one}, outputs: {o: out/two}}",
    );
    space.write("in", "a");
    space.run(&[]).success();
    space.run(&["--set", "x=2"]).success();
    space.write("in", "ab");
    let state = |arguments: &[&str]| {
        let plan = space
            .madmall(["plan", "pipeline.yaml", "--json"].iter().chain(arguments))
            .success();
        let plan: serde_json::Value = serde_json::from_str(&plan.out).expect("JSON");
        plan["stages"][1]["state"].as_str().expect("a word").to_owned()
    };
    assert_eq!(state(&[]), "perhaps");
    assert_eq!(state(&["--set", "x=2"]), "perhaps");
    assert_eq!(state(&["--set", "x=3"]), "run");
    space.run(&[]).success().says("1 ran, 1 restored");
}
