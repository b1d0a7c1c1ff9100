//! Files that are written for a while: what their writers leave when they are killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::passed_on::event;
use crate::space::{Ran, Space, files_below};

const MODEL: &str = r#"{"format":"madmall-model/v1","kind":"logreg","labels":{"negative":"no","positive":"yes"},"feature_keys":["tsh"],"weights":[0.5],"bias":-1,"standardisation":null}"#;

/// More lines than are read at once, so that scores have been written when the writer is killed.
fn events() -> String {
    (0..60_000).map(|number| event(number, "research")).collect()
}

/// `predict` that waits for the rest of its input, after it has opened its output.
fn begun(space: &Space) -> (Child, std::process::ChildStdin) {
    let mut child = space
        .command(["predict", "--model", "model.json", "--out", "out/scores.ndjson"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(events().as_bytes()).expect("it is read");
    wait_for_output(space, &child);
    (child, stdin)
}

/// Waits until a program has opened a file in `out`.
fn wait_for_output(space: &Space, child: &Child) {
    let descriptors = format!("/proc/{}/fd", child.id());
    let is_open = || {
        let open = std::fs::read_dir(&descriptors).into_iter().flatten().flatten();
        let mut targets = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets.any(|target| target.starts_with(space.path("out")) && target.to_string_lossy().len() > 4)
    };
    let begin = Instant::now();
    while !is_open() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it opens its output");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn space(space: Space) -> Space {
    space.write("madmall.yaml", "");
    space.write("model.json", MODEL);
    space.write("out/scores.ndjson", "old\n");
    space
}

#[cfg(target_os = "linux")]
#[test]
fn a_writer_that_is_killed_leaves_nothing() {
    // Where files without a name can be had.
    let space = space(Space::in_memory());
    // As Ctrl-C does; which itself is ignored by what runs in a shell's background.
    for signal in ["-KILL", "-TERM"] {
        let (mut child, stdin) = begun(&space);
        let sent = std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(sent.expect("kill is there").success());
        let status = child.wait().expect("it ends");
        drop(stdin);
        assert!(!status.success(), "{signal}");
        assert_eq!(files_below(&space.path("out")), ["scores.ndjson"], "{signal}");
        assert_eq!(space.read("out/scores.ndjson"), "old\n");
    }
    let (child, stdin) = begun(&space);
    drop(stdin);
    Ran::of(&child.wait_with_output().expect("it ends")).success();
    assert_eq!(files_below(&space.path("out")), ["scores.ndjson"]);
    assert_eq!(space.read("out/scores.ndjson").lines().count(), 60_000);
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_killed_while_it_puts_a_long_output_in_place_leaves_nothing_beside_it() {
    let space = Space::in_memory();
    space.write("madmall.yaml", "");
    let pipeline = |byte: char| {
        let run = format!("head -c 300000000 /dev/zero | tr '\\0' {byte} > ${{outputs.o}}");
        let stage = format!("  a: {{run: \"{}\", outputs: {{o: out/a}}}}", run.replace('\\', "\\\\"));
        space.write("pipeline.yaml", format!("version: 1\nname: long\nstages:\n{stage}\n"));
    };
    // Nothing lies there, and an output of before.
    for byte in ['x', 'y'] {
        pipeline(byte);
        let mut command = space.command(["run", "pipeline.yaml"]);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().expect("it starts");
        wait_for_output(&space, &child);
        child.kill().expect("it can be killed");
        assert!(!child.wait().expect("it ends").success());
        let left = files_below(&space.path("out"));
        assert!(left.iter().all(|name| name == "a"), "{left:?}");
        space.run(&[]).success();
        assert_eq!(files_below(&space.path("out")), ["a"]);
        assert!(
            space
                .path("out/a")
                .metadata()
                .is_ok_and(|found| found.len() == 300_000_000)
        );
    }
    space.madmall(["verify"]).success();
}

#[test]
fn what_a_killed_writer_left_is_removed_by_the_next() {
    let space = space(Space::empty());
    space.write("events.ndjson", event(1, "research"));
    space.write("out/.madmall-tmp-out-abc", "half a line");
    space.write("out/.madmall-tmp-of-somebody", "");
    let predict = [
        "predict",
        "--model",
        "model.json",
        "--in",
        "events.ndjson",
        "--out",
        "out/new.ndjson",
    ];
    space.madmall(predict).success();
    assert_eq!(
        files_below(&space.path("out")),
        [".madmall-tmp-of-somebody", "new.ndjson", "scores.ndjson"]
    );
}

#[test]
fn verify_says_so_where_a_run_goes_on_that_has_published_nothing_yet() {
    let mut space = Space::with(
        "stages:
  a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  slow: {run: 'cat ${inputs.i} > ${outputs.o}; while [ ! -e \"$GO\" ]; do sleep 0.02; done', env: [GO], sandbox: off, inputs: {i: a}, outputs: {o: out/slow}}",
    );
    let go = space.path("go").into_string();
    space.set("GO", &go);
    space.write("go", "");
    space.write("in", "1");
    space.run(&[]).success();
    let said = "a run has this workspace (process ";
    space.madmall(["verify"]).success().says_not(said);
    space.remove("go");
    space.write("in", "2");
    let mut running = space
        .command(["run", "pipeline.yaml", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(running.stdout.take().expect("a pipe")).lines();
    let is_begun = |line: &str| line.contains("stageStarted") && line.contains("slow");
    assert!(lines.by_ref().any(|line| is_begun(&line.expect("text"))));
    let verdict = space.madmall(["verify"]).code(4);
    verdict.says("E-DIGEST").says(said).says("verify again then");
    space.write("go", "");
    // Until it has ended: then nobody has it.
    assert!(running.wait().expect("it ends").success());
    space.madmall(["verify"]).success();
    space.write("out/a", "3");
    space.madmall(["verify"]).code(4).says_not(said);
}

#[test]
fn verify_waits_for_nobody_who_put_a_pipe_in_the_place_of_the_lock() {
    let space = Space::with("stages: {a: {run: 'echo 1 > ${outputs.o}', outputs: {o: out}}}");
    space.run(&[]).success();
    space.write("out", "2");
    space.remove(".madmall/lock");
    let made = std::process::Command::new("mkfifo")
        .arg(space.path(".madmall/lock"))
        .status();
    assert!(made.expect("mkfifo is there").success());
    let mut child = space.begin(["verify"]);
    let began = Instant::now();
    let ended = loop {
        if let Some(ended) = child.try_wait().expect("it is ours") {
            break ended;
        }
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().expect("killed");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(ended.code(), Some(4));
}

#[test]
fn plan_and_status_say_so_where_a_run_has_died_that_had_published_nothing() {
    let space = Space::with(
        "stages:
  one: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/one}}
  two: {run: 'echo two >> $TRACE; cat ${inputs.i} > ${outputs.o}; sleep 1', env: [TRACE], sandbox: off, inputs: {i: one}, outputs: {o: out/two}}",
    );
    space.write("in", "1");
    let mut child = space.begin(["run", "pipeline.yaml"]);
    let began = Instant::now();
    while !space.path("../trace").exists() {
        assert!(began.elapsed() < Duration::from_secs(20), "the second never began");
        std::thread::sleep(Duration::from_millis(5));
    }
    let said = "a run has this workspace (process ";
    space.madmall(["plan", "pipeline.yaml"]).success().says(said);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let said = "a run in this workspace died before its receipts were published";
    for arguments in [
        &["plan", "pipeline.yaml"][..],
        &["status", "pipeline.yaml"],
        &["verify"],
    ] {
        space.madmall(arguments).says(said);
    }
    space.run(&[]).success().says("1 ran, 1 up to date");
    for arguments in [
        &["plan", "pipeline.yaml"][..],
        &["status", "pipeline.yaml"],
        &["verify"],
    ] {
        space.madmall(arguments).success().says_not(said);
    }
    space.write("in", "2");
    for arguments in [&["plan", "pipeline.yaml"][..], &["status", "pipeline.yaml"]] {
        space.madmall(arguments).success().says_not("help").says_not(said);
    }
}
