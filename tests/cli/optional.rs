//! Inputs that may be absent.

use crate::space::Space;

const PIPELINE: &str = "stages:
  a:
    run: 'echo a >> $TRACE; cat in ${inputs.extra} ${inputs.parts} > ${outputs.o}'
    env: [TRACE]
    sandbox: off
    inputs: { i: in, extra: { path: extra/x, optional: true }, parts: { path: 'parts/*', optional: true } }
    outputs: { o: out }";

#[test]
fn a_stage_is_as_if_an_absent_input_were_not_written() {
    let space = Space::with(PIPELINE);
    space.write("in", "1");
    space.run(&[]).success();
    assert_eq!(space.read("out"), "1");
    let without =
        "run: 'echo a >> $TRACE; cat in   > ${outputs.o}'\n    env: [TRACE]\n    sandbox: off\n    inputs: { i: in }";
    space.pipeline(&format!("stages:\n  a:\n    {without}\n    outputs: {{ o: out }}"));
    space.run(&[]).success().says("1 up to date");
    space.pipeline(PIPELINE);
    space.write("extra/x", "2");
    space.run(&[]).success().says("1 ran");
    space.write("parts/y", "3");
    space.run(&[]).success();
    assert_eq!(space.read("out"), "123");
    space.madmall(["verify"]).success();
    space.remove("extra/x");
    space.remove("parts/y");
    // It is what it was at first.
    space.run(&[]).success().says("1 restored");
    assert_eq!((space.read("out").as_str(), space.trace().lines().count()), ("1", 3));
}

#[test]
fn an_optional_input_that_is_there_is_read_like_any_other() {
    let space = Space::with(PIPELINE);
    space.write("in", "1");
    space.write("extra/x/y", "a folder");
    space.run(&[]).code(1);
    space.pipeline(&PIPELINE.replace("extra/x", "../x"));
    space.run(&[]).code(2).says("`..`");
    space.pipeline(
        "stages: {a: {uses: madmall/train, inputs: {features: {path: f, optional: true}}, outputs: {model: m}}}",
    );
    space
        .run(&[])
        .code(2)
        .says("`madmall/train` needs the input `features`, so it cannot be optional");
}
