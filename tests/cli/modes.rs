//! Whether an input may be executed is part of what a stage was given.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::space::Space;

/// A script that is an input; and a stage whose output may be executed if its input may, with another that reads it.
const THREE: &str = "stages:
  script:
    argv: [./src/s.sh, '${outputs.o}']
    inputs: {s: ./src/s.sh}
    outputs: {o: out/script}
    env: [FLAVOUR, NOT_SET]
    tools: [sh]
    pin: true
  copy: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/copy}}
  reads: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: copy}, outputs: {o: out/reads}}";

/// All of it, run and committed.
fn finished() -> Space {
    let mut space = Space::with(THREE);
    space.set("FLAVOUR", "sour");
    space.write("src/s.sh", "#!/bin/sh\necho made > \"$1\"\n");
    space.write("in", "1\n");
    let_execute(&space, "src/s.sh", true);
    space.git(&["init", "-q"]);
    space.run(&[]).success();
    space.git(&["add", "in", "src", "pipeline.yaml", "madmall.yaml", "runs"]);
    space.git(&["commit", "-q", "-m", "edit, run, commit"]);
    space.unset("FLAVOUR");
    space
}

fn let_execute(space: &Space, path: &str, is_executable: bool) {
    let mode = if is_executable { 0o755 } else { 0o644 };
    set_permissions(space.path(path), Permissions::from_mode(mode)).expect("own file");
}

/// Whether the commit and the files as they are give what the receipts say.
fn is_told(space: &Space, stage: Option<&str>) {
    let (here, at) = (space.madmall(["verify"]), space.madmall(["verify", "--at", "HEAD"]));
    match stage {
        None => {
            here.success().says_not("W-STALE");
            at.success();
        }
        Some(stage) => {
            let why = "no trusted receipt of it has the executable bits that its inputs have there";
            here.success()
                .says("W-STALE")
                .says(&format!("stage `{stage}` as it is now: {why}"));
            at.code(4)
                .says("E-PIPELINE")
                .says(&format!("stage `{stage}` at commit "))
                .says(why);
        }
    }
}

#[test]
fn a_file_that_may_not_be_executed_any_more_is_another_input() {
    let space = finished();
    is_told(&space, None);
    for (path, stage) in [("src/s.sh", "script"), ("in", "copy")] {
        let_execute(&space, path, path == "in");
        space.git(&["commit", "-q", "-am", "mode"]);
        is_told(&space, Some(stage));
        let_execute(&space, path, path != "in");
        space.git(&["commit", "-q", "-am", "as before"]);
        is_told(&space, None);
    }
}

#[test]
fn what_a_stage_made_may_be_executed_as_its_receipt_says() {
    let mut space = finished();
    space.set("FLAVOUR", "sweet");
    let_execute(&space, "in", true);
    space.run(&[]).success().says("reads");
    space.git(&["add", "in", "runs"]);
    space.git(&["commit", "-q", "-m", "mode, and run"]);
    space.unset("FLAVOUR");
    is_told(&space, None);
}

#[test]
fn where_git_knows_of_no_modes_none_is_compared() {
    let space =
        Space::with("stages: {copy: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out}}}");
    space.write("in", "1\n");
    let_execute(&space, "in", true);
    space.git(&["init", "-q"]);
    space.git(&["config", "core.fileMode", "false"]);
    space.git(&["add", "in", "pipeline.yaml", "madmall.yaml"]);
    space.git(&["commit", "-q", "-m", "edit"]);
    space.run(&[]).success();
    space.madmall(["verify", "--at", "HEAD"]).success();
    space.git(&["config", "core.fileMode", "true"]);
    space
        .madmall(["verify", "--at", "HEAD"])
        .code(4)
        .says("executable bits");
}
