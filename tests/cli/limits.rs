//! Timeouts, retries, mutexes and resources: none of them is part of what a stage is.

use std::time::{Duration, Instant};

use crate::space::{Ran, Space};

#[test]
fn a_timeout_ends_the_group_and_is_a_failure_of_its_own() {
    let space = Space::with("stages: {a: {run: 'echo begun; sleep 300 & sleep 300', timeout: 1s, outputs: {o: out}}}");
    let began = Instant::now();
    space
        .run(&[])
        .code(1)
        .says("stage `a` took longer than its timeout of 1s")
        .says("| begun")
        .says("| madmall: it took longer than its timeout of 1s");
    assert!(began.elapsed() < Duration::from_secs(60));
    // Nothing is in place that could be verified; the receipt of the failure is sound.
    space
        .madmall(["verify"])
        .code(6)
        .says("held:        signature, subject, chain, log");
    space
        .run(&["--json"])
        .code(1)
        .says("\"how\":\"took longer than its timeout of 1s\"");
    // A timeout that is long enough changes nothing.
    space.pipeline("stages: {a: {run: 'echo x > ${outputs.o}', timeout: 1h, outputs: {o: out}}}");
    space.run(&[]).success();
}

#[test]
fn a_program_that_ends_well_when_its_time_is_up_has_failed_all_the_same() {
    let space = Space::with(
        "stages: {a: {run: 'o=${outputs.o}; trap \"echo late > $o; exit 0\" TERM; sleep 300 & wait', timeout: 1s, outputs: {o: out}}}",
    );
    space.run(&[]).code(1).says("took longer than its timeout");
    assert!(!space.exists("out"));
    space
        .madmall(["verify"])
        .code(6)
        .says("held:        signature, subject, chain, log");
}

#[test]
fn a_program_that_failed_is_tried_again_and_its_log_keeps_every_try() {
    let stage = |retries: &str| {
        format!(
            "stages: {{a: {{run: 'echo try >> $TRACE; echo said; test $(wc -l < $TRACE) -ge 3; echo done > ${{outputs.o}}', env: [TRACE], sandbox: off, {retries}outputs: {{o: out}}}}}}"
        )
    };
    let space = Space::with(&stage("retries: 1, "));
    space
        .run(&[])
        .code(1)
        .says("stage `a` ended with exit code 1; tried again (1 of 1)")
        .says("| madmall: retry 1");
    assert_eq!(space.trace(), "try\ntry\n");
    space.pipeline(&stage("retries: 5, "));
    space.run(&[]).success().says("tried again (2 of 5)").says("1 ran");
    assert_eq!(space.trace(), "try\ntry\ntry\n");
    let log = crate::space::files_below(&space.path(".madmall/output"))
        .into_iter()
        .map(|name| space.read(&format!(".madmall/output/{name}")))
        .find(|log| log.contains("retry 2"))
        .expect("the log");
    assert_eq!(log, "said\nmadmall: retry 1\nsaid\nmadmall: retry 2\nsaid\n");
    // None of it is part of what the stage is.
    space.pipeline(&stage(""));
    space.run(&[]).success().says("1 up to date");
}

#[test]
fn what_a_try_left_is_not_seen_by_the_next() {
    let space = Space::with(
        "stages: {a: {run: 'echo x >> ${outputs.o}; echo t >> $TRACE; test $(wc -l < $TRACE) -ge 2', env: [TRACE], sandbox: off, retries: 3, outputs: {o: out}}}",
    );
    space.run(&[]).success();
    assert_eq!(space.read("out"), "x\n");
}

#[test]
fn a_refusal_is_not_tried_again_and_a_built_in_has_no_timeout() {
    let space = Space::with(
        "purpose: care
stages: {a: {uses: madmall/ingest, retries: 2, timeout: 1s, inputs: {events: in, schema: s}, outputs: {events: out}}}",
    );
    space.write("in", "");
    space.write("s", "{}");
    space
        .madmall(["check", "pipeline.yaml"])
        .code(2)
        .says("a built-in stage has no `timeout`");
}

#[test]
fn stages_of_one_mutex_never_run_at_once() {
    // Each fails if it finds another one inside.
    let space = Space::with(
        "stages:
  a:
    matrix: { n: [1, 2, 3, 4, 5, 6] }
    run: 'mkdir $TRACE.lock; sleep 0.05; rmdir $TRACE.lock; echo > ${outputs.o}'
    env: [TRACE]
    sandbox: off
    mutex: [gpu, disk]
    outputs: { o: 'a/${matrix.n}' }
  b: { run: 'mkdir $TRACE.lock; sleep 0.05; rmdir $TRACE.lock; echo > ${outputs.o}', env: [TRACE], sandbox: off, mutex: disk, outputs: { o: b } }
  c: { run: 'echo > ${outputs.o}', outputs: { o: c } }",
    );
    space.run(&["-j", "8"]).success().says("8 stages: 8 ran");
}

#[test]
fn no_more_stages_run_at_once_than_there_are_slots_whoever_goes_on_with_the_next() {
    // Each fails if it finds no slot free; that of two cpus if not both are.
    let space = Space::with(
        "stages:
  a:
    matrix: { n: [1, 2, 3, 4, 5, 6, 7, 8] }
    run: 'l=1; mkdir $TRACE.1 2>/dev/null || { l=2; mkdir $TRACE.2; }; sleep 0.02; rmdir $TRACE.$l; echo > ${outputs.o}'
    env: [TRACE]
    sandbox: off
    outputs: { o: 'a/${matrix.n}' }
  b: { run: 'mkdir $TRACE.1 $TRACE.2; sleep 0.02; rmdir $TRACE.1 $TRACE.2; echo > ${outputs.o}', env: [TRACE], sandbox: off, resources: { cpus: 2 }, outputs: { o: b } }
  c:
    matrix: { n: [1, 2, 3, 4] }
    run: 'l=1; mkdir $TRACE.1 2>/dev/null || { l=2; mkdir $TRACE.2; }; sleep 0.02; rmdir $TRACE.$l; echo > ${outputs.o}'
    env: [TRACE]
    sandbox: off
    outputs: { o: 'c/${matrix.n}' }",
    );
    space.run(&["-j", "2"]).success().says("13 stages: 13 ran");
}

#[test]
fn a_stage_counts_as_its_cpus_and_one_that_needs_too_much_runs_alone() {
    let space = Space::with(
        "stages:
  a:
    matrix: { n: [1, 2, 3] }
    run: 'mkdir $TRACE.lock; sleep 0.05; rmdir $TRACE.lock; echo > ${outputs.o}'
    env: [TRACE]
    sandbox: off
    resources: { cpus: 3, time: 2h }
    outputs: { o: 'a/${matrix.n}' }
  m: { run: 'mkdir $TRACE.lock; sleep 0.05; rmdir $TRACE.lock; echo > ${outputs.o}', env: [TRACE], sandbox: off, resources: { cpus: 64, memory: 900TiB }, outputs: { o: m } }",
    );
    space.run(&["-j", "4"]).success().says("4 stages: 4 ran");
}

#[test]
fn a_definition_has_limits_that_a_pipeline_may_change() {
    let space = Space::with(
        "stages: {a: {uses: stages/flaky.yaml, outputs: {o: a}}, b: {uses: stages/flaky.yaml, retries: 0, outputs: {o: b}}}",
    );
    space.write(
        "stages/flaky.yaml",
        "version: 1\nname: flaky\nrun: 'test -e $TRACE || { echo > $TRACE; exit 1; }; echo > ${outputs.o}'\nenv: [TRACE]\nsandbox: off\noutputs: { o: {} }\nretries: 1\n",
    );
    space.run(&["a"]).success().says("tried again (1 of 1)");
    space.trace();
    space.run(&["b"]).code(1).says_not("tried again");
}

#[cfg(target_os = "linux")]
#[test]
fn no_variable_asks_for_threads_without_bound() {
    // The second is an older name of the first, which the library still reads.
    for variable in ["RAYON_NUM_THREADS", "RAYON_RS_NUM_CPUS"] {
        let mut space = Space::with("stages: {a: {run: 'sleep 1; echo made > ${outputs.o}', outputs: {o: out}}}");
        space.set(variable, "2000");
        let mut child = space.begin(["run", "pipeline.yaml"]);
        let (mut most, tasks) = (0, format!("/proc/{}/task", child.id()));
        while child.try_wait().expect("it can be asked").is_none() {
            most = most.max(std::fs::read_dir(&tasks).map_or(0, Iterator::count));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ran::of(&child.wait_with_output().expect("its output")).success();
        assert!((1..1000).contains(&most), "{variable}: {most} threads");
    }
}
