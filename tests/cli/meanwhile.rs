//! What `verify` says while a run goes on beside it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use camino::Utf8Path;

use crate::space::{Ran, Space};

/// Whether the calls of a program can be held up here.
fn can_hold_up() -> bool {
    let probe = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    probe.is_ok_and(|output| output.status.success())
}

/// `verify`, which opens `path` for the first time only two seconds after it wants to; its calls are written to `calls`.
fn held_up(space: &Space, path: &str, calls: &Utf8Path) -> Child {
    let own = space.command(["verify"]);
    let mut strace = Command::new("strace");
    // It may be named from the workspace's folder on.
    strace.args([
        "-f",
        "-qq",
        "-P",
        path,
        "-P",
        space.path(path).as_str(),
        "-o",
        calls.as_str(),
    ]);
    strace.args(["-e", "trace=openat", "-e", "inject=openat:delay_enter=2000000:when=1"]);
    strace.arg(own.get_program()).args(own.get_args());
    strace.current_dir(space.root()).env_clear();
    strace.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let begun = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    begun.expect("it ran a moment ago")
}

/// Waits until `verify` wants to open what it is held up at.
fn wait_for_call(calls: &Utf8Path) {
    let begin = Instant::now();
    while !std::fs::read_to_string(calls).is_ok_and(|text| text.contains("openat(")) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it gets there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_run_publishes_while_verify_reads_is_not_taken_for_something_that_was_removed() {
    if !can_hold_up() {
        return;
    }
    let space =
        Space::with("stages: {a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}}");
    space.write("in", "1");
    space.run(&[]).success();
    // Between the receipts and the log that lists them; and between these and the outputs.
    for (round, held_at) in [(2, "runs/log"), (3, "out/a")] {
        let calls = space.root().join(format!("../calls-{round}"));
        let verify = held_up(&space, held_at, &calls);
        wait_for_call(&calls);
        space.write("in", round.to_string());
        space.run(&[]).success();
        let verdict = Ran::of(&verify.wait_with_output().expect("it ends"));
        verdict.success().says("verified");
    }
    // What is gone is still missed.
    let newest = space.receipt_files().pop().expect("a run");
    space.remove(&format!("runs/{newest}"));
    space.madmall(["verify"]).code(4).says("E-LOG");
}
