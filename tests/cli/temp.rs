//! Outputs that are kept only until they were read.

use std::time::Duration;

use crate::space::{Space, files_below};

/// `big` is temporary, and read by two.
const STAGES: &str = "stages:
  make: {run: 'echo make >> $TRACE; cat ${inputs.i} > ${outputs.big}; echo kept > ${outputs.log}', env: [TRACE], sandbox: off, inputs: {i: in}, outputs: {big: {path: tmp/big, temp: true}, log: log}}
  one: {run: 'echo one >> $TRACE; (echo n; wc -l < ${inputs.b}) > ${outputs.o}', env: [TRACE], sandbox: off, inputs: {b: make.big}, outputs: {o: one}}
  two: {run: 'echo two >> $TRACE; cat ${inputs.b} ${inputs.x} > ${outputs.o}', env: [TRACE], sandbox: off, inputs: {b: make.big, x: x}, outputs: {o: two}}";

fn made() -> Space {
    let space = Space::with(STAGES);
    space.write("in", "1\n");
    space.write("x", "x\n");
    space.run(&["-j", "1"]).success();
    assert_eq!(space.trace(), "make\none\ntwo\n");
    space
}

/// Whether the store has these bytes.
fn is_stored(space: &Space, bytes: &str) -> bool {
    let hex = madmall::digest::Digest::of(bytes.as_bytes()).to_hex();
    space.exists(&format!(".madmall/cas/{}/{}", &hex[..2], &hex[2..]))
}

#[test]
fn it_is_gone_when_all_have_read_it_and_nothing_is_to_do() {
    let space = made();
    assert!(!space.exists("tmp/big"));
    assert!(!is_stored(&space, "1\n"), "nor does the store have it");
    assert!(is_stored(&space, "kept\n"));
    assert_eq!(
        (space.read("one").trim(), space.read("two").as_str()),
        ("n\n1", "1\nx\n")
    );
    Space::let_clock_tick();
    space.run(&[]).success().says("3 up to date");
    assert_eq!(
        files_below(&space.path(".madmall/settled")).len(),
        1,
        "that is remembered"
    );
    space.run(&[]).success().says("3 up to date");
    assert_eq!(space.trace(), "");
    space
        .madmall(["plan", "pipeline.yaml", "--check"])
        .success()
        .says("in place, but for what is temporary (tmp/big)");
    space
        .madmall(["status"])
        .success()
        .says("tmp/big is temporary, and made again when it is needed");
    space.madmall(["verify"]).success().says("`tmp/big` is not here");
    space.madmall(["verify", "tmp/big"]).code(6);
}

#[test]
fn who_must_run_gets_it_made_again_and_nobody_else_runs() {
    let space = made();
    space.write("x", "y\n");
    space
        .madmall(["plan", "pipeline.yaml"])
        .success()
        .says("its temporary output `tmp/big` is needed by `two`")
        .says("2 stages have or may have work");
    space
        .madmall(["why", "pipeline.yaml", "make"])
        .success()
        .says("two: input `x` changed")
        .says("└ make: its temporary output `tmp/big` is needed by `two`");
    space.run(&[]).success().says("2 ran, 1 up to date");
    assert_eq!(space.trace(), "make\ntwo\n");
    assert_eq!(space.read("two"), "1\ny\n");
    assert!(!space.exists("tmp/big") && !is_stored(&space, "1\n"));
    space.madmall(["verify"]).success();
    space.run(&[]).success().says("3 up to date");
}

#[test]
fn a_reader_alone_gets_it_too() {
    let space = made();
    space.remove("one");
    std::fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    space.run(&["one"]).success();
    assert_eq!(space.trace(), "make\none\n");
    assert!(!space.exists("tmp/big"));
    // What can be put back from the store needs nothing.
    space.remove("one");
    space.run(&["one"]).success().says("restored");
    assert_eq!(space.trace(), "");
}

#[test]
fn without_a_reader_in_the_run_it_stays_until_there_is_one() {
    let space = Space::with(STAGES);
    space.write("in", "1\n");
    space.write("x", "x\n");
    space.run(&["make"]).success();
    assert_eq!(space.read("tmp/big"), "1\n");
    space.run(&["make"]).success().says("1 up to date");
    space.run(&["one"]).success();
    assert_eq!(space.trace(), "make\none\n");
    assert!(!space.exists("tmp/big"));
}

#[test]
fn what_failed_to_read_it_finds_it_there_the_next_time() {
    let space = Space::with(&STAGES.replace(
        "cat ${inputs.b} ${inputs.x}",
        "test -e fine; cat ${inputs.b} ${inputs.x}",
    ));
    space.write("in", "1\n");
    space.write("x", "x\n");
    space.run(&[]).code(1);
    assert_eq!(space.read("tmp/big"), "1\n");
    space.trace();
    space.pipeline(STAGES);
    space.run(&[]).success();
    assert_eq!(space.trace(), "two\n");
    assert!(!space.exists("tmp/big"));
}

#[test]
fn bytes_of_somebody_else_in_its_place_are_left_alone_until_it_is_made() {
    let space = made();
    space.write("tmp/big", "mine");
    space.run(&[]).success().says("3 up to date");
    assert_eq!(space.read("tmp/big"), "mine");
    space.write("x", "y\n");
    space.run(&[]).success().says("no receipt of yours claims");
    assert_eq!(space.read("two"), "1\ny\n");
    assert!(!space.exists("tmp/big"));
    let displaced = files_below(&space.path(".madmall/displaced"));
    assert!(displaced.iter().any(|path| path.ends_with("/tmp/big")), "{displaced:?}");
}

#[test]
fn a_chain_of_them_is_made_again_from_its_beginning() {
    let stage = |name: &str, from: &str, path: &str, temp: bool| {
        format!(
            "  {name}: {{run: 'echo {name} >> $TRACE; cat ${{inputs.i}} > ${{outputs.o}}; echo {name} >> ${{outputs.o}}', env: [TRACE], sandbox: off, inputs: {{i: {from}{}}}, outputs: {{o: {{path: {path}, temp: {temp}}}}}}}\n",
            if name == "d" { ", x: x" } else { "" },
        )
    };
    let stages = [
        stage("a", "in", "tmp/a", true),
        stage("b", "a", "tmp/b", true),
        stage("c", "b", "tmp/c", true),
        stage("d", "c", "d", false),
    ]
    .concat();
    let space = Space::with(&format!("stages:\n{stages}"));
    space.write("in", "1\n");
    space.write("x", "x\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "a\nb\nc\nd\n");
    assert!(files_below(&space.path("tmp")).is_empty());
    space.write("x", "y\n");
    let plan = space.madmall(["plan", "pipeline.yaml"]).success();
    assert_eq!(plan.out.matches("is needed by").count(), 3, "{}", plan.out);
    for jobs in ["1", "4"] {
        space.write("x", jobs);
        space.run(&["-j", jobs]).success().says("4 ran");
        assert_eq!(space.trace(), "a\nb\nc\nd\n");
        assert!(files_below(&space.path("tmp")).is_empty());
    }
    space.madmall(["verify"]).success();
    space.run(&[]).success().says("4 up to date");
}

#[test]
fn when_it_fails_to_be_made_again_its_reader_is_blocked_and_others_are_not() {
    let space = Space::with(&STAGES.replace("echo make >> $TRACE;", "echo make >> $TRACE; test ! -e $TRACE.bad;"));
    space.write("in", "1\n");
    space.write("x", "x\n");
    space.run(&[]).success();
    space.trace();
    space.write("x", "y\n");
    std::fs::write(space.base().join("trace.bad"), "").expect("written");
    space.run(&[]).code(1).says("two   blocked").says("1 failed");
    assert_eq!(space.trace(), "make\n");
    assert_eq!(space.read("two"), "1\nx\n");
    space.madmall(["verify"]).success();
    std::fs::remove_file(space.base().join("trace.bad")).expect("removed");
    space.run(&[]).success();
    assert_eq!(space.read("two"), "1\ny\n");
    space.madmall(["verify"]).success();
}

#[test]
fn one_that_comes_out_otherwise_is_what_is_read() {
    // Each time it is made it has other bytes.
    let space = Space::with(
        "stages:
  make: {run: 'echo x >> $TRACE.count; cp $TRACE.count ${outputs.b}', env: [TRACE], sandbox: off, outputs: {b: {path: b, temp: true}}}
  read: {run: 'cat ${inputs.b} ${inputs.x} > ${outputs.o}', inputs: {b: make, x: x}, outputs: {o: o}}",
    );
    space.write("x", "1\n");
    space.run(&[]).success();
    space.write("x", "2\n");
    space.run(&[]).success();
    assert_eq!(space.read("o"), "x\nx\n2\n");
    space.madmall(["verify"]).success();
    space.run(&[]).success().says("2 up to date");
}

#[test]
fn a_folder_is_temporary_as_a_file_is() {
    let space = Space::with(
        "stages:
  make: {run: 'echo make >> $TRACE; for i in 1 2 3; do echo $i > ${outputs.b}/$i; done', env: [TRACE], sandbox: off, outputs: {b: {path: b/, temp: true}, c: c/}}
  read: {run: 'cat ${inputs.b}/* ${inputs.x} > ${outputs.o}', inputs: {b: make.b, x: x}, outputs: {o: o}}"
            .replace("; done'", "; done; cp ${outputs.b}/1 ${outputs.c}'")
            .as_str(),
    );
    space.write("x", "x\n");
    space.run(&[]).success();
    assert!(!space.exists("b") && space.exists("c/1"));
    assert!(is_stored(&space, "1\n"), "the other folder has it too");
    assert!(!is_stored(&space, "2\n"));
    assert_eq!(files_below(&space.path(".madmall/trees")).len(), 1);
    space.run(&[]).success().says("2 up to date");
    space.trace();
    space.write("x", "y\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "make\n");
    assert_eq!(space.read("o"), "1\n2\n3\ny\n");
    space.madmall(["fsck"]).success();
}

#[test]
fn bytes_that_another_output_has_stay_in_the_store() {
    let space = Space::with(
        "stages:
  make: {run: 'cat ${inputs.i} > ${outputs.b}', inputs: {i: in}, outputs: {b: {path: b, temp: true}}}
  copy: {run: 'cat ${inputs.b} > ${outputs.o}', inputs: {b: make}, outputs: {o: o}}",
    );
    space.write("in", "1\n");
    space.run(&[]).success();
    assert!(!space.exists("b") && is_stored(&space, "1\n"));
    space.remove("o");
    space.run(&[]).success().says("1 restored");
}

#[test]
fn it_is_no_part_of_what_a_stage_is() {
    let space = made();
    space.pipeline(&STAGES.replace("{path: tmp/big, temp: true}", "tmp/big"));
    // Now it is to be there.
    space.run(&[]).success();
    assert_eq!(space.trace(), "make\n");
    assert!(space.exists("tmp/big"));
    space.pipeline(STAGES);
    space.run(&[]).success().says("3 up to date");
    assert!(!space.exists("tmp/big"));
    assert_eq!(space.trace(), "");
}

#[test]
fn a_run_that_is_killed_loses_no_receipt_and_the_next_one_is_right() {
    let space = made();
    for kill in 0..25_u64 {
        space.write("in", format!("{kill}\n"));
        let mut child = space.begin(["run", "pipeline.yaml"]);
        std::thread::sleep(Duration::from_millis(kill * 7));
        let _ = child.kill();
        child.wait().expect("it ends");
        space.trace();
        space.run(&[]).success();
        assert_eq!(space.read("two"), format!("{kill}\nx\n"));
        assert!(!space.exists("tmp/big"));
        space.madmall(["verify"]).success();
        space.run(&[]).success().says("3 up to date");
    }
}

#[test]
fn a_stage_is_made_again_from_its_receipt_though_it_is_gone() {
    let space = made();
    let name = space.receipt_files().pop().expect("a run");
    let run = name.strip_suffix(".intoto.jsonl").expect("a run's file");
    // The trace is written by a path that only this space has.
    space.madmall(["rerun", run]).success().says("identical     two");
}

#[test]
fn what_nobody_reads_is_worth_a_warning() {
    let space = Space::with("stages: {a: {run: 'echo 1 > ${outputs.o}', outputs: {o: {path: o, temp: true}}}}");
    space
        .madmall(["check", "pipeline.yaml"])
        .success()
        .says("no stage reads the temporary output `o`, so it stays");
    space.run(&[]).success();
    assert!(space.exists("o"));
    space.pipeline("stages: {a: {run: 'echo 1 > ${outputs.o}', outputs: {o: {path: o, temp: maybe}}}}");
    space.run(&[]).code(2).says("`temp`");
}

#[test]
fn what_nobody_reads_is_put_in_place_like_any_other() {
    let stage = |text: &str| {
        format!("stages: {{a: {{run: 'echo {text} > ${{outputs.o}}', outputs: {{o: {{path: o, temp: true}}}}}}}}")
    };
    let space = Space::with(&stage("1"));
    space.run(&[]).success();
    space.pipeline(&stage("2"));
    space.run(&[]).success();
    space.pipeline(&stage("1"));
    space.run(&[]).success().says("o from the store");
    assert_eq!(space.read("o"), "1\n");
    space.write("o", "edited");
    space.run(&[]).success().says("o from the store");
    assert_eq!(space.read("o"), "1\n");
    std::fs::remove_file(space.path("o")).expect("removed");
    space.madmall(["plan", "pipeline.yaml", "--check"]).code(3);
    space.run(&[]).success();
    assert_eq!(space.read("o"), "1\n");
}

#[test]
fn only_what_is_read_by_who_must_run_is_made_again() {
    let space = Space::with(
        "stages:
  mk: {run: 'echo mk >> $TRACE; cat ${inputs.i} > ${outputs.p}; echo q > ${outputs.q}', env: [TRACE], sandbox: off, inputs: {i: in}, outputs: {p: {path: out/p, temp: true}, q: {path: out/q, temp: true}}}
  rp: {run: 'echo rp >> $TRACE; cat ${inputs.i}; cat ${inputs.i} > ${outputs.o}; cat ${inputs.x} > ${outputs.x}', env: [TRACE], sandbox: off, inputs: {i: mk.p, x: x}, outputs: {o: out/rp, x: out/rx}}
  rq: {run: 'echo rq >> $TRACE; (cat ${inputs.i}; cat ${inputs.y}) > ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: mk.q, y: y}, outputs: {o: out/rq}}",
    );
    for file in ["in", "x", "y"] {
        space.write(file, format!("{file}\n"));
    }
    space.run(&[]).success();
    assert_eq!(space.trace().len(), "mk\nrp\nrq\n".len());
    // The store has `p`, for `rp` is a copy of it; of `q` it has nothing.
    assert!(is_stored(&space, "in\n") && !is_stored(&space, "q\n"));
    space.write("x", "other\n");
    let plan = space.madmall(["plan", "pipeline.yaml"]).success();
    plan.says("from the store").says("out/p");
    space.run(&[]).success().says("1 ran, 1 restored, 1 up to date");
    assert_eq!(space.trace(), "rp\n");
    assert!(!space.exists("out/p") && !space.exists("out/q"));
    // When both must run, both get what they read.
    space.write("x", "again\n");
    space.write("y", "again\n");
    space.run(&[]).success().says("3 ran");
    space.trace();
    assert_eq!(space.read("out/rq"), "q\nagain\n");
    space.write("y", "once more\n");
    space
        .run(&[])
        .success()
        .says("its temporary output `out/q` is needed by `rq`");
    assert_eq!(space.trace(), "mk\nrq\n");
    space.madmall(["verify"]).success();
}
