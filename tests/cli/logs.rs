//! `madmall logs`.

use serde_json::Value;

use crate::space::Space;

const PIPELINE: &str = "stages:
  a: {matrix: {x: [1, 2]}, run: 'echo hello ${matrix.x}; echo ${matrix.x} > ${outputs.o}', outputs: {o: 'out/${matrix.x}'}}
  b: {run: 'cat ${inputs.i}; echo about to fail >&2; exit 3', inputs: {i: in}, outputs: {o: out/b}}
";

fn space() -> Space {
    let space = Space::empty();
    space.pipeline(PIPELINE);
    space.write("in", "first\n");
    space.run(&["--keep-going"]).code(1);
    space
}

#[test]
fn what_a_stage_printed_when_it_last_ran_is_printed_byte_for_byte() {
    let space = space();
    space.write("in", "\u{1b}[31msecond\0");
    space.run(&["--keep-going"]).code(1);
    let ran = space.madmall(["logs", "b"]).success();
    assert_eq!(ran.out, "\u{1b}[31msecond\0about to fail\n");
    // What did not run the second time is in the log of the first.
    assert_eq!(space.madmall(["logs", "a"]).success().out, "hello 1\nhello 2\n");
    assert_eq!(space.madmall(["logs", "a[x=2]"]).success().out, "hello 2\n");
}

#[test]
fn the_logs_of_a_run_are_listed_and_printed() {
    let space = space();
    space.write("in", "second\n");
    space.run(&["--keep-going"]).code(1);
    let list = |arguments: &[&str]| {
        let ran = space.madmall(["logs", "--json"].iter().chain(arguments)).success();
        let listed: Value = serde_json::from_str(&ran.out).expect("one JSON object");
        let logs = listed["logs"].as_array().expect("a list").clone();
        let part = |log: &Value, name: &str| log[name].as_str().expect("a text").to_owned();
        logs.iter()
            .map(|log| (part(log, "stage"), part(log, "run"), part(log, "path")))
            .collect::<Vec<_>>()
    };
    let all = list(&[]);
    let stages: Vec<&str> = all.iter().map(|(stage, ..)| stage.as_str()).collect();
    assert_eq!(stages, ["a[x=1]", "a[x=2]", "b"]);
    let (first, second) = (&all[0].1, &all[2].1);
    assert_ne!(first, second);
    assert_eq!(list(&["--run", first]).len(), 3);
    assert_eq!(list(&["--run", second]), all[2..]);
    assert!(space.path(&all[2].2).is_file());
    let printed = space.madmall(["logs", "b", "--run", first]).success().out;
    assert_eq!(printed, "first\nabout to fail\n");
    space
        .madmall(["logs"])
        .success()
        .says(&format!("b       21 B  {second}\n"));
}

#[test]
fn a_stage_or_a_run_that_is_not_there_is_refused_with_what_is() {
    let space = space();
    space.madmall(["logs", "bb"]).code(2).says("did you mean `b`?");
    space.write("in", "second\n");
    space.run(&["--keep-going"]).code(1);
    let ran = space.madmall(["logs", "a", "--run", "latest"]).code(2);
    ran.says("there is no log of a stage `a`").says("it last ran in `20");
    space
        .madmall(["logs", "--run", "2001-01-01"])
        .code(2)
        .says("no run here is called");
    std::fs::remove_dir_all(space.path(".madmall/output")).expect("removed");
    let nothing_yet = "no stage has printed anything here yet";
    space.madmall(["logs", "b"]).code(2).says(nothing_yet);
    let stage = space.madmall(["log", "b"]).code(2);
    stage.says("`madmall logs b` prints what a stage printed");
    let ran = space.madmall(["logs"]).success();
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("", "no stage has printed anything here yet\n")
    );
}

#[cfg(unix)]
#[test]
fn what_is_no_log_of_a_run_is_passed_over() {
    use std::os::unix::ffi::OsStrExt as _;
    let space = space();
    let runs = space.path(".madmall/output");
    let run = runs
        .read_dir_utf8()
        .expect("listed")
        .next()
        .expect("a run")
        .expect("read");
    space.write("other/c.log", "of somebody else\n");
    std::os::unix::fs::symlink(space.path("other/c.log"), run.path().join("c.log")).expect("linked");
    std::fs::write(
        run.path().as_std_path().join(std::ffi::OsStr::from_bytes(b"\xff.log")),
        "",
    )
    .expect("written");
    assert_eq!(space.madmall(["logs", "a"]).success().out, "hello 1\nhello 2\n");
    space.madmall(["logs", "c"]).code(2);
    std::fs::remove_dir_all(run.path()).expect("removed");
    std::os::unix::fs::symlink(space.path("other"), run.path()).expect("linked");
    space.madmall(["logs", "c"]).code(2);
    space.madmall(["logs", "c", "--run", run.file_name()]).code(2);
}
