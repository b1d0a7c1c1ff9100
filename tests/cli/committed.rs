//! What ties a result to a commit: which of what it was made from the commit has otherwise, and what is said where the commit
//! cannot be read.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::space::{Ran, Space};

/// A stage that reads a folder, one that reads what a pattern finds, and one that reads a file.
const THREE: &str = "stages:
  folder: {run: 'cat ${inputs.f}/* > ${outputs.o}', inputs: {f: data}, outputs: {o: out/folder}}
  found: {run: 'cat ${inputs.f} > ${outputs.o}', inputs: {f: 'found/*.txt'}, outputs: {o: found/all.txt}}
  file: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/file}}";

/// All of it, committed and not run.
fn committed() -> Space {
    let space = Space::with(THREE);
    for path in ["data/1", "data/2", "found/1.txt", "found/2.txt", "in"] {
        space.write(path, format!("{path}\n"));
    }
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "first"]);
    space
}

fn let_execute(space: &Space, path: &str) {
    set_permissions(space.path(path), Permissions::from_mode(0o755)).expect("own file");
}

/// Takes the bytes of the file at `path`, as HEAD has it, out of the repository.
fn lose(space: &Space, path: &str) {
    let id = space.git(&["rev-parse", &format!("HEAD:{path}")]);
    space.remove(&format!(".git/objects/{}/{}", &id[..2], &id[2..]));
}

fn is_clean(space: &Space) -> Ran {
    space.madmall(["verify", "--require-clean"])
}

#[test]
fn a_file_that_was_taken_out_of_an_input_is_not_as_it_was_committed() {
    for (gone, input, stage) in [("data/2", "data", "folder"), ("found/2.txt", "found/*.txt", "found")] {
        let space = committed();
        space.remove(gone);
        space.run(&[]).success();
        let said = format!("`{stage}` used `{input}`, which was not committed as it was");
        is_clean(&space).code(4).says("E-UNCOMMITTED").says(&said);
        space.madmall(["verify"]).success().says("W-UNCOMMITTED").says(&said);
        space.madmall(["verify", "--at", "HEAD"]).code(4).says("E-PIPELINE");
    }
}

#[test]
fn what_a_stage_writes_is_no_file_that_its_pattern_misses() {
    let space = committed();
    space.run(&[]).success();
    is_clean(&space).success();
    // Committed it is as before: nothing but a stage writes it.
    space.git(&["add", "-A", "found", "out"]);
    space.git(&["commit", "-q", "-m", "results"]);
    space.run(&["--force"]).success();
    is_clean(&space).success().says_not("W-UNCOMMITTED");
    space.madmall(["verify", "--at", "HEAD"]).success();
}

#[test]
fn an_executable_bit_that_was_not_committed_is_seen() {
    for (path, stage) in [("in", "file"), ("data/1", "folder"), ("found/1.txt", "found")] {
        let space = committed();
        let_execute(&space, path);
        space.run(&[]).success();
        let said = format!("`{stage}` used `{path}`, which was not committed as it was");
        is_clean(&space).code(4).says("E-UNCOMMITTED").says(&said);
        space.git(&["commit", "-q", "-am", "mode"]);
        space.run(&["--force"]).success();
        is_clean(&space).success();
    }
}

#[test]
fn where_git_knows_of_no_modes_no_bit_has_to_be_committed() {
    let space = committed();
    space.git(&["config", "core.fileMode", "false"]);
    let_execute(&space, "in");
    space.run(&[]).success();
    is_clean(&space).success();
}

#[test]
fn how_a_result_comes_to_be_made_from_a_commit_is_said() {
    let space = committed();
    space.write("in", "other\n");
    space.run(&[]).success();
    let help = "commit, then `madmall run --force pipeline.yaml file` makes it from the commit";
    is_clean(&space).code(4).says(help);
    space.git(&["commit", "-q", "-am", "second"]);
    is_clean(&space).code(4);
    space.run(&["--force", "file"]).success();
    is_clean(&space).success();
}

#[test]
fn what_the_repository_has_lost_is_not_taken_for_changed() {
    let space = committed();
    space.run(&[]).success();
    lose(&space, "in");
    lose(&space, "data/1");
    space
        .madmall(["verify"])
        .success()
        .says("W-COMMIT-GONE")
        .says("`in`")
        .says_not("E-COMMIT");
    let at = space.madmall(["verify", "--at", "HEAD"]).code(6);
    at.says("stage `file` at commit ")
        .says("cannot read `in`")
        .says_not("E-PIPELINE");
    // What can be told is told.
    space.write("found/1.txt", "other\n");
    space.git(&["add", "found/1.txt"]);
    let tree = space.git(&["write-tree", "--missing-ok"]);
    let commit = space.git(&["commit-tree", &tree, "-p", "HEAD", "-m", "second"]);
    space
        .madmall(["verify", "--at", &commit])
        .code(4)
        .says("stage `found` at commit ");
}

#[test]
fn a_pipeline_that_the_repository_has_lost_is_not_taken_for_changed() {
    let space = committed();
    space.run(&[]).success();
    lose(&space, "pipeline.yaml");
    space
        .madmall(["verify", "--at", "HEAD"])
        .code(6)
        .says("E-READ")
        .says("cannot read `pipeline.yaml`")
        .says_not("E-PIPELINE");
}

#[test]
fn what_one_pipeline_has_lost_hides_no_change_of_another() {
    let space = committed();
    let text = space.read("pipeline.yaml");
    space.write(
        "sub/other.yaml",
        text.replace("out/", "other/").replace("name: test", "name: other"),
    );
    space.git(&["add", "sub"]);
    space.git(&["commit", "-q", "-m", "other"]);
    space.run(&[]).success();
    space.madmall(["run", "sub/other.yaml"]).success();
    space.write("pipeline.yaml", text.replace("i: in", "i: nowhere"));
    space.git(&["commit", "-q", "-am", "changed"]);
    lose(&space, "sub");
    space
        .madmall(["verify", "--at", "HEAD"])
        .code(4)
        .says("E-PIPELINE")
        .says("no stage produces `nowhere`")
        .says("cannot read `sub/other.yaml`");
}

#[test]
fn a_repository_that_is_elsewhere_now_is_not_taken_for_none() {
    let space = committed();
    space.run(&[]).success();
    std::fs::remove_dir_all(space.path(".git")).expect("removed");
    space.write(".git", "gitdir: /nowhere/worktrees/here\n");
    space
        .run(&["--force"])
        .success()
        .says("cannot be read")
        .says("receipts name no commit")
        .says_not("git init");
    space.madmall(["verify", "--at", "HEAD"]).code(6).says("cannot be read");
    space.madmall(["gc", "--yes"]).code(7).says("cannot be read");
}

#[test]
fn how_line_ends_that_git_has_converted_are_put_back_is_said() {
    let space = committed();
    space.run(&[]).success();
    // Somebody has taken the attributes away, and checks out with converted line ends.
    space.git(&["add", "runs"]);
    space.git(&["rm", "-q", "-f", "runs/.gitattributes"]);
    space.git(&["commit", "-q", "-m", "runs"]);
    space.git(&["config", "core.autocrlf", "true"]);
    let file = format!("runs/{}", space.receipt_files()[0]);
    let put_back = || {
        space.remove(&file);
        space.git(&["checkout", "-q", "--", "runs/"]);
    };
    put_back();
    space.madmall(["verify"]).code(4).says(
        "git has converted its line ends: write `* -text` into `runs/.gitattributes`, remove the file, and put it back",
    );
    put_back();
    space.madmall(["verify"]).code(4);
    space.write("runs/.gitattributes", "* -text\n");
    put_back();
    space.madmall(["verify"]).success();
}

#[test]
fn how_a_shallow_clone_gets_a_commit_that_it_lacks_is_said() {
    let space = committed();
    space.run(&[]).success();
    let asked = || space.madmall(["verify", "--at", "HEAD~1"]).code(6);
    asked().says_not("shallow");
    space.write(".git/shallow", format!("{}\n", space.git(&["rev-parse", "HEAD"])));
    asked().says("this clone is shallow: `git fetch --unshallow`");
}

#[test]
fn what_to_do_about_outputs_of_a_pipeline_that_was_renamed_is_said() {
    let space = committed();
    space.run(&[]).success();
    space.git(&["mv", "pipeline.yaml", "renamed.yaml"]);
    space.git(&["commit", "-q", "-m", "renamed"]);
    let at = || space.madmall(["verify", "--at", "HEAD"]);
    at().code(4)
        .says("can be resolved: there is no pipeline file `pipeline.yaml`\n")
        .says("if it has another name there, `madmall run --force` of that");
    space.madmall(["run", "renamed.yaml"]).success().says("3 up to date");
    at().code(4);
    space.madmall(["run", "--force", "renamed.yaml"]).success();
    at().success();
    space.git(&["rm", "-q", "renamed.yaml"]);
    space.git(&["commit", "-q", "-m", "gone"]);
    at().code(4).says("if it is gone, `madmall clean --orphans`");
    space.madmall(["clean", "--orphans", "--yes"]).success();
    at().code(6);
}
