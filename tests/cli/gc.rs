//! `madmall gc`.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::space::{Space, files_below};

const COPY: &str = "stages: {copy: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out}}}";

/// A workspace in which so many inputs have gone through.
fn runs(inputs: &[&str]) -> Space {
    let space = Space::with(COPY);
    for input in inputs {
        run(&space, input);
    }
    space
}

fn run(space: &Space, input: &str) {
    space.write("in", input);
    space.run(&[]).success();
}

/// What the objects of the store hold, sorted.
fn stored(space: &Space) -> Vec<String> {
    let files = files_below(&space.path(".madmall/cas"));
    let mut texts: Vec<String> = files
        .iter()
        .map(|file| space.read(&format!(".madmall/cas/{file}")))
        .collect();
    texts.sort();
    texts
}

fn gc(space: &Space, arguments: &[&str]) -> Value {
    let ran = space.madmall(["gc", "--json"].iter().chain(arguments)).success();
    serde_json::from_str(&ran.out).expect("one JSON object")
}

#[test]
fn what_the_last_runs_need_stays_and_the_rest_goes_only_if_that_is_said() {
    let space = runs(&["1", "2", "3", "4", "5"]);
    let before = space.snapshot();
    space
        .madmall(["gc"])
        .success()
        .says("kept: 3 objects, 3 B, for 3 runs and what is up to date; no git repository\n")
        .says("would free: 2 objects, 2 B\n")
        .says("would remove: logs of 2 runs")
        .says("nothing was removed yet; --yes does it");
    space.is_as(&before);
    space.madmall(["gc", "--yes"]).success().says("freed: 2 objects, 2 B\n");
    assert_eq!(stored(&space), ["3", "4", "5"]);
    assert_eq!(gc(&space, &["--keep-last", "1", "--yes"])["freed"]["files"], 2);
    assert_eq!(stored(&space), ["5"]);
    space.run(&[]).success().says("up to date");
    space.madmall(["fsck"]).success();
    space.madmall(["verify"]).success();
}

#[test]
fn what_is_up_to_date_now_stays_though_no_new_run_tells_of_it() {
    let space = runs(&["1", "2", "3", "4", "5"]);
    run(&space, "1");
    space.remove("out");
    gc(&space, &["--keep-last", "1", "--yes"]);
    assert_eq!(stored(&space), ["1", "5"]);
    space.run(&[]).success().says("from the store");
}

#[test]
fn the_newest_run_that_succeeded_stays_after_many_that_failed() {
    let space = runs(&["1"]);
    for input in ["bad 1", "bad 2"] {
        space.write("in", input);
        space.pipeline(&COPY.replace("cp ", "false; cp "));
        space.run(&[]).code(1);
    }
    gc(&space, &["--keep-last", "1", "--yes"]);
    assert_eq!(stored(&space), ["1"]);
}

#[test]
fn branches_and_tags_keep_their_newest_runs() {
    let space = runs(&[]);
    space.git(&["init", "-q"]);
    let commit = |message: &str| {
        space.git(&["add", "-f", "in", "pipeline.yaml", "madmall.yaml", "runs"]);
        space.git(&["commit", "-q", "-m", message]);
    };
    run(&space, "0");
    run(&space, "1");
    commit("one");
    space.git(&["tag", "-a", "-m", "release", "v1"]);
    space.git(&["checkout", "-q", "-b", "side"]);
    run(&space, "2");
    commit("two");
    space.git(&["checkout", "-q", "main"]);
    for input in ["3", "4"] {
        run(&space, input);
    }
    commit("four");
    let found = gc(&space, &["--keep-last", "1", "--yes"]);
    assert_eq!(
        (&found["branchesAndTags"], &found["freed"]["files"]),
        (&3.into(), &2.into()),
        "{found}"
    );
    assert_eq!(stored(&space), ["1", "2", "4"]);
    space.git(&["branch", "-q", "-D", "side"]);
    gc(&space, &["--keep-last", "1", "--yes"]);
    assert_eq!(stored(&space), ["1", "4"]);
}

#[test]
fn broken_receipts_here_forbid_it_and_broken_ones_elsewhere_are_named() {
    let space = runs(&["1", "2"]);
    space.git(&["init", "-q"]);
    let broken = "runs/2099-01-01T000000Z-test-000000.intoto.jsonl";
    space.write(broken, "{}\n");
    space.git(&["add", "runs"]);
    space.git(&["commit", "-q", "-m", "broken"]);
    space
        .madmall(["gc", "--keep-last", "1"])
        .success()
        .says("--yes is refused until that is mended");
    space
        .madmall(["gc", "--keep-last", "1", "--yes"])
        .code(6)
        .says(&format!("it cannot be told what is needed by `{broken}`"));
    assert_eq!(stored(&space), ["1", "2"]);
    space.remove(broken);
    // Older than the run that is kept: what tokens it speaks of is not known all the same.
    let old = "runs/1999-01-01T000000Z-test-000000.intoto.jsonl";
    space.write(old, "{}\n");
    space
        .madmall(["gc", "--keep-last", "1", "--yes"])
        .code(6)
        .says(&format!("it cannot be told what is needed by `{old}`"));
    space.remove(old);
    space
        .madmall(["gc", "--keep-last", "1", "--yes"])
        .success()
        .says(": it keeps nothing")
        .says(broken);
    assert_eq!(stored(&space), ["2"]);
}

#[test]
fn displaced_bytes_are_counted_and_stay_unless_they_are_named() {
    let space = runs(&["1"]);
    space.write("out", "mine");
    space.run(&[]).success();
    space
        .madmall(["gc", "--yes"])
        .success()
        .says("displaced: 1 file, 4 B, stay (--displaced removes them)");
    assert_eq!(files_below(&space.path(".madmall/displaced")).len(), 1);
    space
        .madmall(["gc", "--displaced"])
        .success()
        .says("would remove displaced: 1 file, 4 B");
    assert_eq!(files_below(&space.path(".madmall/displaced")).len(), 1);
    space.madmall(["gc", "--displaced", "--yes"]).success();
    assert!(files_below(&space.path(".madmall/displaced")).is_empty());
}

#[test]
fn a_run_that_goes_on_is_waited_for() {
    let mut space = Space::with(
        "stages: {slow: {run: 'echo made > ${outputs.o}; while [ ! -e \"$GO\" ]; do sleep 0.02; done', env: [GO], sandbox: off, outputs: {o: out}}}",
    );
    let go = space.path("go").into_string();
    space.set("GO", &go);
    let mut running = space
        .command(["run", "pipeline.yaml", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut lines = BufReader::new(running.stdout.take().expect("piped")).lines();
    let first = lines.next().expect("a line").expect("text");
    assert!(first.contains("stageStarted"), "{first}");
    let mut waiting = space.begin(["gc", "--yes", "--keep-last", "0"]);
    let mut said = BufReader::new(waiting.stderr.take().expect("piped")).lines();
    let told = said.next().expect("a line").expect("text");
    assert!(
        told.contains("a run has this workspace (process ") && told.contains("pipeline test"),
        "{told}"
    );
    space.write("go", "");
    assert!(running.wait().expect("ends").success());
    assert!(waiting.wait().expect("ends").success());
    assert_eq!(stored(&space), ["made\n"]);
}

#[test]
fn without_a_store_or_runs_there_is_nothing_to_do() {
    let space = Space::with(COPY);
    space.write("in", "1");
    let before = space.snapshot();
    space.madmall(["gc"]).success().says("would free: 0 objects, 0 B");
    space.is_as(&before);
}

#[test]
fn what_killed_runs_were_writing_goes_too() {
    let space = runs(&["1"]);
    let object = files_below(&space.path(".madmall/cas")).remove(0);
    let left = format!(".madmall/cas/{}/.madmall-tmp-x7", &object[..2]);
    space.write(&left, "half an object");
    // Somebody's own file is nobody's leaving.
    let own = format!(".madmall/cas/{}/notes", &object[..2]);
    space.write(&own, "x");
    assert_eq!(gc(&space, &[])["freed"]["bytes"], 14);
    assert!(space.exists(&left));
    assert_eq!(gc(&space, &["--yes"])["freed"]["bytes"], 14);
    assert!(!space.exists(&left) && space.exists(&own));
    space.run(&[]).success().says("1 up to date");
}

#[test]
fn a_sweep_that_is_killed_takes_nothing_that_is_needed() {
    let inputs: Vec<String> = (0..40).map(|number| format!("{number}")).collect();
    let space = runs(&inputs.iter().map(String::as_str).collect::<Vec<_>>());
    let needed = |space: &Space| {
        space.remove("out");
        space.run(&[]).success().says("1 restored");
        space.madmall(["fsck"]).success();
    };
    for wait in [0, 1, 2, 3, 5, 8, 12, 20] {
        let mut child = space.begin(["gc", "--yes"]);
        std::thread::sleep(std::time::Duration::from_millis(wait));
        // It may have ended.
        let _ = child.kill();
        child.wait().expect("ends");
        needed(&space);
    }
    space.madmall(["gc", "--yes"]).success();
    needed(&space);
}
