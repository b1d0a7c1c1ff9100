//! Fan-out: a stage for each combination of values, or each file, and stages that gather.

use crate::space::Space;

const GRID: &str = "stages:
  fit:
    matrix: { l2: [0.01, 1, 100], seed: [1, 2] }
    run: 'echo ${matrix.l2}-${params.s} >> $TRACE; echo fit ${matrix.l2} ${matrix.seed} > ${outputs.model}'
    params: { s: '${matrix.seed}' }
    env: [TRACE]
    sandbox: off
    outputs: { model: 'models/${matrix.l2}-${matrix.seed}.txt' }
  score:
    matrix: { seed: [1, 2], l2: [1, 0.01, 100] }
    run: 'sed s/fit/score/ ${inputs.m} > ${outputs.score}'
    inputs: { m: fit.model }
    outputs: { score: 'scores/${matrix.l2}/${matrix.seed}' }
  best:
    argv: [sh, -c, 'o=\"$1\"; shift; echo \"$@\" > \"$o\"; cat \"$@\" >> \"$o\"', x, '${outputs.o}', '${inputs.scores}']
    inputs: { scores: score }
    outputs: { o: best.txt }";

#[test]
fn a_stage_runs_for_each_combination_and_a_gathering_one_gets_all_in_order() {
    let space = Space::with(GRID);
    space.run(&["-j", "1"]).success().says("13 stages: 13 ran");
    assert_eq!(space.trace(), "0.01-1\n0.01-2\n1-1\n1-2\n100-1\n100-2\n");
    assert_eq!(space.read("scores/0.01/2"), "score 0.01 2\n");
    assert_eq!(
        space.read("best.txt"),
        "scores/1/1 scores/0.01/1 scores/100/1 scores/1/2 scores/0.01/2 scores/100/2\n\
         score 1 1\nscore 0.01 1\nscore 100 1\nscore 1 2\nscore 0.01 2\nscore 100 2\n"
    );
    space.run(&[]).success().says("13 up to date");
    space.madmall(["verify"]).success();
    space.madmall(["verify", "best.txt"]).success();
    space.madmall(["why", "pipeline.yaml", "fit[l2=1,seed=2]"]).success();
    space
        .madmall(["why", "pipeline.yaml", "fit"])
        .code(2)
        .says("`fit` is 6 stages")
        .says("such as `fit[l2=0.01,seed=1]`");
}

#[test]
fn a_value_that_comes_or_goes_runs_only_what_it_changes() {
    let space = Space::with(GRID);
    space.run(&[]).success();
    space.trace();
    space.pipeline(&GRID.replace("[0.01, 1, 100], seed", "[0.01, 100, 1.0, 5], seed"));
    space.run(&[]).success().says("2 ran, 13 up to date");
    // An axis is no part of what a stage is: only what it gives.
    space.pipeline(&GRID.replace("l2", "lambda").replace("[0.01, 1, 100]", "[1, 0.01, 100]"));
    space.run(&[]).success().says("13 up to date");
    assert_eq!(space.trace().lines().count(), 2);
}

#[test]
fn stages_are_selected_by_name_or_by_values() {
    let space = Space::with(GRID);
    space.run(&["fit[l2=1.00]"]).success().says("2 stages: 2 ran");
    space.run(&["score[l2=100,seed=1]"]).success().says("2 stages: 2 ran");
    space.run(&["fit"]).success().says("6 stages: 3 ran, 3 up to date");
    space.run(&["fit[l2=3]"]).code(2).says("no stage `fit[l2=3]`");
    space.run(&["fits"]).code(2).says("no stage `fits`");
}

#[test]
fn a_failing_combination_is_named_and_blocks_what_gathers() {
    let space = Space::with(
        "stages:
  a: { matrix: { x: [1, 2] }, run: 'echo no; test ${matrix.x} = 1; echo > ${outputs.o}', outputs: { o: 'o/${matrix.x}' } }
  all: { run: 'cat ${inputs.i} > ${outputs.o}', inputs: { i: a }, outputs: { o: all } }",
    );
    let ran = space
        .run(&[])
        .code(1)
        .says("stage `a[x=2]` ended with exit code 1")
        .says("blocked");
    assert!(ran.err.contains("a[x=2].log") && space.exists("o/1") && !space.exists("all"));
    space.madmall(["verify"]).success();
}

#[test]
fn a_stage_runs_for_each_file_that_a_pattern_finds() {
    let space = Space::with(
        "stages:
  clean:
    foreach: { raw: 'data/raw/*.csv' }
    run: 'echo ${foreach.raw.stem} >> $TRACE; sort ${inputs.raw} > ${outputs.rows}'
    env: [TRACE]
    sandbox: off
    inputs: { raw: '${foreach.raw}' }
    outputs: { rows: 'data/clean/${foreach.raw.stem}.csv' }
  count:
    foreach: { raw: 'data/raw/*.csv' }
    matrix: { flag: [-l, -c] }
    argv: [sh, -c, 'wc \"$1\" < \"$2\" > \"$3\"', x, '${matrix.flag}', '${inputs.rows}', '${outputs.n}']
    inputs: { rows: clean }
    outputs: { n: 'counts/${foreach.raw.stem}.${matrix.flag}' }
  total: { run: 'cat ${inputs.n} > ${outputs.o}', inputs: { n: count.n }, outputs: { o: total } }",
    );
    space.write("data/raw/b.csv", "2\n1\n");
    space.write("data/raw/a.x.csv", "3\n");
    space.run(&["-j", "1"]).success().says("7 stages: 7 ran");
    assert_eq!(space.trace(), "a.x\nb\n");
    assert_eq!(space.read("total"), "1\n2\n2\n4\n");
    for _ in 0..3 {
        space.run(&[]).success().says("7 up to date");
    }
    space.write("data/raw/c.csv", "4\n");
    space.run(&["-j", "1"]).success().says("4 ran, 6 up to date");
    assert_eq!(space.trace(), "c\n");
    space
        .run(&["count[raw=data/raw/b.csv]"])
        .success()
        .says("3 stages: 3 up to date");
    space.madmall(["verify"]).success();
}

#[test]
fn what_a_matrix_made_verifies_at_a_commit_and_is_made_again() {
    let space = Space::with(GRID);
    space.git(&["init", "-q"]);
    space.write(".gitignore", ".madmall/\n");
    space.git(&["add", "."]);
    space.git(&["commit", "-qm", "one"]);
    space.run(&[]).success();
    space.madmall(["verify", "--at", "HEAD"]).success();
    space.madmall(["verify", "--rerun"]).success();
    space.write("models/1-2.txt", "other\n");
    space.madmall(["verify", "--at", "HEAD"]).code(4).says("models/1-2.txt");
    space.pipeline(
        &GRID
            .replace("[1, 2] }", "[1, 3] }")
            .replace("seed: [1, 2], l2", "seed: [1, 3], l2"),
    );
    space.git(&["commit", "-qam", "two"]);
    space.madmall(["verify", "--at", "HEAD"]).code(4).says("E-PIPELINE");
}

#[test]
fn a_built_in_stage_takes_what_many_made() {
    let events = |from: u32| -> String {
        (from..from + 4)
            .map(|n| {
                format!(
                    "{{\"event_id\":\"e{n}\",\"payload\":{{\"label\":\"{}\",\"x\":{n}}}}}\n",
                    n % 2
                )
            })
            .collect()
    };
    let space = Space::with(
        "stages:
  part: { foreach: { f: 'raw/*' }, run: 'cp ${inputs.i} ${outputs.o}', inputs: { i: '${foreach.f}' }, outputs: { o: 'parts/${foreach.f.stem}' } }
  table: { uses: madmall/featurize, inputs: { events: part }, outputs: { features: f.arrow } }",
    );
    space.write("raw/a.ndjson", events(0));
    space.write("raw/b.ndjson", events(4));
    let ran = space.run(&[]);
    assert!(ran.code == Some(0), "{ran:?}");
    space.madmall(["verify"]).success();
}
