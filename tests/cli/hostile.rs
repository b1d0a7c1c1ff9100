//! Files, folders and repositories as nobody would wish them.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::space::{Space, files_below};

/// Waits until something is so.
#[track_caller]
fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn what_a_killed_run_leaves_is_tied_to_the_commit_by_all_its_definitions() {
    let space = Space::with(
        "stages:
  one: {run: 'echo 1 > ${outputs.o}', outputs: {o: out/one}}
  two: {uses: stages/two.yaml, inputs: {i: one}, outputs: {o: out/two}}
  three: {run: 'sleep 30; cp ${inputs.i} ${outputs.o}', inputs: {i: two}, outputs: {o: out/three}}",
    );
    let definition = "version: 1\nname: two\nrun: 'cp ${inputs.i} ${outputs.o}'\ninputs: {i: {}}\noutputs: {o: {}}\n";
    space.write("stages/two.yaml", definition);
    space.git(&["init", "-q"]);
    space.git(&["add", "."]);
    space.git(&["commit", "-q", "-m", "x"]);
    space.write("stages/two.yaml", format!("{definition}# not committed\n"));
    let mut child = space
        .command(["run", "pipeline.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    wait_for("two stages are done", || space.exists("out/two"));
    child.kill().expect("killed");
    child.wait().expect("it ended");

    space
        .run(&["two"])
        .success()
        .says("a run that was killed had finished stages");
    let run = space.receipt_files().remove(0);
    space
        .madmall(["verify", &format!("runs/{run}")])
        .says_not("E-COMMIT")
        .success()
        .says("W-UNCOMMITTED");
    assert!(files_below(&space.path(".madmall/pending")).is_empty());
}

/// A run whose receipts cannot be published: its last stage puts a file in the place of their folder.
fn unpublished() -> Space {
    let mut space = Space::with(
        "stages:
  a: {run: 'echo a >> $TRACE; echo a > ${outputs.o}', env: [TRACE], outputs: {o: out/a}}
  b: {run: 'echo b >> $TRACE; cp ${inputs.i} ${outputs.o}; test -e \"$RUNS\" || : > \"$RUNS\"', env: [TRACE, RUNS], inputs: {i: a}, outputs: {o: out/b}}",
    );
    let runs = space.path("runs").into_string();
    space.set("RUNS", &runs);
    space.run(&[]).code(7).says("runs");
    assert_eq!(space.trace(), "a\nb\n");
    assert!(
        files_below(&space.path(".madmall/scratch")).is_empty(),
        "nothing of ours fills the disk"
    );
    space.remove("runs");
    space
}

fn pending(space: &Space) -> String {
    let files = files_below(&space.path(".madmall/pending"));
    assert_eq!(files.len(), 1, "{files:?}");
    format!(".madmall/pending/{}", files[0])
}

#[test]
fn receipts_that_could_not_be_published_are_published_by_the_next_run() {
    let space = unpublished();
    space.run(&[]).success().says("2 up to date");
    assert_eq!(space.trace(), "");
    space.madmall(["verify"]).success();
}

#[test]
fn a_torn_line_takes_no_other_receipt_with_it() {
    let space = unpublished();
    let file = pending(&space);
    let text = space.read(&file);
    let lines: Vec<&str> = text.lines().collect();
    space.write(&file, format!("{}\n{}\n{}\n", lines[0], &lines[1][..100], lines[1]));
    space.run(&[]).success().says("2 up to date");
    space.madmall(["verify"]).success();

    let space = unpublished();
    let file = pending(&space);
    space.write(&file, "nothing that can be read\n");
    space.write("runs/.gitattributes", "* -text\n");
    space.run(&[]).success();
    let kept = pending(&space);
    assert!(kept.ends_with(".damaged"), "{kept}");
    assert_eq!(space.read(&kept), "nothing that can be read\n");
}
