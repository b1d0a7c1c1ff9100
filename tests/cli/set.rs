//! Parameters that are given on the command line or by a file.

use crate::space::Space;

const PIPELINE: &str = "params: { l2: 0.5, names: [a, b], note: none }
stages:
  a: { run: 'echo a >> $TRACE; echo ${params.l2} ${params.names} > ${outputs.o}', env: [TRACE], sandbox: off, outputs: { o: a } }
  b: { run: 'echo b >> $TRACE; echo ${params.note} > ${outputs.o}', env: [TRACE], sandbox: off, outputs: { o: b } }";

#[test]
fn a_value_from_outside_takes_the_place_of_the_pipelines() {
    let space = Space::with(PIPELINE);
    space.run(&[]).success();
    assert_eq!(
        (space.read("a").as_str(), space.read("b").as_str()),
        ("0.5 a b\n", "none\n")
    );
    space.trace();
    space.run(&["--set", "l2=0.50"]).success().says("2 up to date");
    space
        .run(&["--set", "l2=2", "--set", "names=[x, 'y z']"])
        .success()
        .says("1 ran, 1 up to date");
    assert_eq!(space.read("a"), "2 x y z\n");
    assert_eq!(space.trace(), "a\n");
    // Identity is by content: back to what was, nothing runs.
    space.run(&[]).success().says("1 restored, 1 up to date");
    assert_eq!(space.read("a"), "0.5 a b\n");
}

#[test]
fn a_file_comes_first_and_the_last_word_counts() {
    let space = Space::with(PIPELINE);
    space.write("one.yaml", "l2: 7\nnote: seven\n");
    space.write("two.yaml", "l2: 8\n");
    let arguments = [
        "--set", "l2=3", "--set", "l2=9", "--params", "one.yaml", "--params", "two.yaml",
    ];
    space.run(&arguments).success();
    assert_eq!(
        (space.read("a").as_str(), space.read("b").as_str()),
        ("9 a b\n", "seven\n")
    );
    space
        .madmall(["plan", "pipeline.yaml", "--check"].iter().chain(&arguments))
        .success();
    space
        .madmall(["plan", "pipeline.yaml", "--check"])
        .code(3)
        .says("command changed");
    space
        .madmall(["why", "pipeline.yaml", "b", "--set", "note=x"])
        .success()
        .says("command changed");
    space
        .madmall(["check", "pipeline.yaml", "--params", "one.yaml"])
        .success();
    space
        .run(&["--dry-run", "--set", "note=x"])
        .success()
        .says("command changed");
}

#[test]
fn what_is_no_parameter_is_refused_with_the_nearest() {
    let space = Space::with(PIPELINE);
    space
        .run(&["--set", "l3=1"])
        .code(2)
        .says("no parameter `l3`")
        .says("did you mean `l2`?")
        .says("--set:1:1");
    // What was misspelt may be personal.
    let misspelt = space.run(&["--set", "l3=P-1", "--set", "l4='P-2'"]).code(2);
    misspelt.says("no parameter `l4`").says_not("P-1").says_not("P-2");
    space.run(&["--set", "l2"]).code(2).says("lacks a value");
    space.run(&["--set", "l2=[1"]).code(2).says("not YAML");
    space
        .run(&["--params", "no.yaml"])
        .code(2)
        .says("cannot read the parameters `no.yaml`");
    space.write("bad.yaml", "l2: 1\nnote: 2\nnot: 3\n");
    space
        .run(&["--params", "bad.yaml"])
        .code(2)
        .says("bad.yaml:3:1")
        .says("did you mean `note`?");
    space.write("list.yaml", "[1]\n");
    space.run(&["--params", "list.yaml"]).code(2).says("is a map");
    space
        .madmall(["check", "pipeline.yaml", "--json", "--set", "l3=1"])
        .code(2)
        .says("no parameter `l3`");
    assert!(!space.exists("runs"));
}

#[test]
fn verify_at_a_commit_says_that_it_gives_another_definition() {
    let space = Space::with(PIPELINE);
    space.git(&["init", "-q"]);
    space.write(".gitignore", ".madmall/\n");
    space.git(&["add", "."]);
    space.git(&["commit", "-qm", "one"]);
    space.run(&["--set", "l2=2"]).success();
    space.madmall(["verify"]).success().says("W-STALE");
    space
        .madmall(["verify", "--at", "HEAD"])
        .code(4)
        .says("E-PIPELINE")
        .says("stage `a`");
    // No commit has it, so it is not compared; from its receipt alone it is made again.
    space.madmall(["verify", "--rerun"]).code(6).says("E-NORERUN");
    let run = space.receipt_files()[0].replace(".intoto.jsonl", "");
    space.madmall(["rerun", &run]).success();
}

#[test]
fn a_run_with_nothing_to_do_is_remembered_for_the_values_that_it_was_given() {
    let space = Space::with(PIPELINE);
    space.write("p.yaml", "l2: 3\n");
    for _ in 0..3 {
        space.run(&[]).success();
    }
    space.run(&["--set", "l2=2"]).success().says("1 ran, 1 up to date");
    for _ in 0..3 {
        space.run(&["--set", "l2=2"]).success().says("2 up to date");
    }
    space.run(&["--params", "p.yaml"]).success().says("1 ran");
    for _ in 0..3 {
        space.run(&["--params", "p.yaml"]).success().says("2 up to date");
    }
    space.write("p.yaml", "l2: 2\n");
    space.run(&["--params", "p.yaml"]).success().says("1 restored");
    space.run(&[]).success().says("1 restored");
    assert_eq!(
        (space.read("a").as_str(), space.trace().lines().count()),
        ("0.5 a b\n", 4)
    );
}

#[test]
fn a_text_that_looks_like_a_number_is_shown_as_a_text() {
    let space = Space::with(
        "params: {x: 2}\nstages: {a: {run: 'echo ${params.y} > ${outputs.o}', params: {y: '${params.x}'}, outputs: {o: a}}}",
    );
    space.run(&[]).success();
    space
        .run(&["--set", "x=\"2\""])
        .success()
        .says("param `y` changed: 2 → \"2\"");
    space
        .madmall(["diff", "latest~1", "latest"])
        .success()
        .says("y  2    \"2\"");
}
