//! Programs without a shell: an input as standard input, an output as standard output.

use crate::space::Space;

/// Bytes of every value, no text in any encoding, longer than a pipe or a buffer holds.
fn bytes() -> Vec<u8> {
    (0..3 << 20_u32)
        .map(|n: u32| u8::try_from((n ^ n >> 8) & 0xff).expect("a byte"))
        .collect()
}

#[test]
fn a_filter_needs_no_shell_and_its_bytes_are_its_own() {
    let space = Space::with(
        "stages: {a: {argv: [tee, '${outputs.copy}'], stdin: i, stdout: o, inputs: {i: in}, outputs: {o: out/o, copy: out/copy}}}",
    );
    for bytes in [Vec::new(), b"\0\xff\r\n\x1b[31m no end".to_vec(), bytes()] {
        space.write("in", &bytes);
        space.run(&[]).success();
        assert_eq!(space.bytes("out/o").len(), bytes.len());
        assert!(space.bytes("out/o") == bytes && space.bytes("out/copy") == bytes);
    }
    space.run(&[]).success().says("1 up to date");
    space.madmall(["verify"]).success();
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "all"]);
    space
        .madmall(["verify", "--rerun", "out/o"])
        .success()
        .says("identical");
}

#[test]
fn what_the_streams_are_is_part_of_what_the_stage_is() {
    let stages = |streams: &str| {
        format!(
            "stages: {{a: {{argv: [sh, -c, 'cat; echo log >&2; cp in out/p 2>/dev/null || :; : >> out/o'], {streams} inputs: {{i: in, j: other}}, outputs: {{o: out/o, p: out/p}}}}}}"
        )
    };
    let space = Space::with(&stages(""));
    space.write("in", "1\n");
    space.write("other", "2\n");
    space.run(&[]).success();
    assert_eq!(space.read("out/o"), "");
    space.pipeline(&stages("stdin: i, stdout: o,"));
    space
        .run(&[])
        .success()
        .says("command changed")
        .says("< ${inputs.i} > ${outputs.o}");
    assert_eq!(space.read("out/o"), "1\n");
    space.pipeline(&stages("stdin: j, stdout: o,"));
    space.run(&[]).success().says("1 ran");
    assert_eq!(space.read("out/o"), "2\n");
    space.pipeline(&stages(""));
    space.run(&[]).success().says("1 restored");
    assert_eq!(space.read("out/o"), "");
}

#[test]
fn standard_error_goes_to_the_log_with_secrets_masked_and_standard_output_does_not() {
    let mut space = Space::with(
        "stages: {a: {argv: [sh, -c, 'echo \"$TOKEN\"; echo \"$TOKEN\" >&2; exit $CODE'], stdout: o, env: [CODE], secrets: [TOKEN], outputs: {o: out}}}",
    );
    space.set("TOKEN", "hunter2-hunter2");
    space.set("CODE", "0");
    space.run(&[]).success();
    assert_eq!(space.read("out"), "hunter2-hunter2\n");
    space.set("CODE", "4");
    let ran = space
        .run(&[])
        .code(1)
        .says("ended with exit code 4")
        .says("| ***")
        .says("> ${outputs.o}")
        .says_not("hunter2");
    assert_eq!(ran.err.matches("| ").count(), 1, "its log has one line: {}", ran.err);
}

#[test]
fn a_definition_connects_its_ports() {
    let space = Space::with(
        "stages: {a: {uses: sort.yaml, inputs: {from: in}, outputs: {to: out}}, b: {uses: sort.yaml, outputs: {to: none}}}",
    );
    space.write(
        "sort.yaml",
        "version: 1\nname: sort\nargv: [sort]\nstdin: from\nstdout: to\ninputs: {from: {optional: true}}\noutputs: {to: {}}\n",
    );
    space.write("in", "b\na\n");
    space.run(&[]).success();
    assert_eq!(
        (space.read("out").as_str(), space.read("none").as_str()),
        ("a\nb\n", "")
    );
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "all"]);
    space.madmall(["verify", "--at", "HEAD"]).success();
}

#[test]
fn what_cannot_be_a_stream_is_refused_with_its_place() {
    for (fields, message) in [
        ("argv: [cat], stdin: x, stdout: o", "`a` has no input `x`"),
        ("argv: [cat], stdin: i, stdout: i", "`a` has no output `i`"),
        (
            "argv: [cat], stdin: g",
            "`stdin` is a file, and the input `g` is several",
        ),
        (
            "argv: [cat], stdin: d",
            "`stdin` is a file, and the input `d` is several",
        ),
        ("run: cat, stdin: i", "`stdin` goes with `argv` alone"),
        ("run: cat, stdout: o", "write `> ${outputs.name}` in the text of `run`"),
        ("uses: madmall/ingest, stdout: o", "`stdout` goes with `argv` alone"),
    ] {
        let space = Space::with(&format!(
            "stages: {{a: {{{fields}, inputs: {{i: in, g: 'parts/*', d: tree}}, outputs: {{o: out}}}}}}"
        ));
        space.write("in", "1");
        space.write("parts/1", "1");
        space.write("tree/1", "1");
        space.run(&[]).code(2).says(message).says("pipeline.yaml:3:");
    }
}
