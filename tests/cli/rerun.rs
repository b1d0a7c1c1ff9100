//! `verify --rerun` and `madmall rerun`: the same bits, other bits, or nobody can tell.

use std::fs;

use serde_json::Value;

use crate::space::Space;

const COPY: &str = "stages: {copy: {run: 'cp in.txt out.txt', inputs: {i: in.txt}, outputs: {o: out.txt}}}";

/// A committed workspace whose stages have run. Its folder for temporary files is its own, so that what is left there is seen.
fn ran(stages: &str) -> Space {
    let mut space = Space::with(stages);
    let temporary = space.root().with_file_name("temporary");
    fs::create_dir(&temporary).expect("made");
    space.set("TMPDIR", temporary.as_str());
    space.write("in.txt", "1\n");
    space.write(".gitignore", "out*\n.madmall/\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "."]);
    space.git(&["commit", "-q", "-m", "one"]);
    space.run(&[]).success();
    space
}

/// Nothing may be left in the folder for temporary files.
#[track_caller]
fn nothing_is_left(space: &Space) {
    let folder = space.root().with_file_name("temporary");
    let left: Vec<_> = fs::read_dir(folder)
        .expect("read")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "left: {left:?}");
}

/// `verify --rerun` in JSON, which must end with this code, write nothing and leave nothing.
#[track_caller]
fn rerun(space: &Space, code: i32, arguments: &[&str]) -> Value {
    let before = space.snapshot();
    let ran = space
        .madmall(["verify", "--rerun", "--json"].iter().chain(arguments))
        .code(code);
    space.is_as(&before);
    nothing_is_left(space);
    serde_json::from_str(&ran.out).expect("one JSON object")
}

/// The finding with this code.
#[track_caller]
fn finding<'a>(report: &'a Value, code: &str) -> &'a Value {
    let findings = report["findings"].as_array().expect("findings");
    findings
        .iter()
        .find(|finding| finding["code"] == code)
        .unwrap_or_else(|| panic!("no {code} in {report:#}"))
}

#[test]
fn what_comes_out_the_same_is_said_to_be_identical() {
    let space = ran(COPY);
    let report = rerun(&space, 0, &[]);
    assert_eq!(report["assurance"]["rerun"], "held");
    assert_eq!(report["rerun"][0]["verdict"], "identical");
    let head = space.git(&["rev-parse", "HEAD"]);
    assert_eq!(report["rerun"][0]["commit"], head);
    space
        .madmall(["verify", "--rerun"])
        .success()
        .says("run again, identical: copy");
}

#[test]
fn what_no_program_may_see_is_varied_and_nothing_of_it_reaches_a_stage() {
    let stages = "stages: {look: {run: 'env | grep -v -e ^HOME= -e ^TMPDIR= -e ^PWD= -e ^OLDPWD= | sort > out.txt; date >> out.log.txt; rm out.log.txt',
                   inputs: {i: in.txt}, outputs: {o: out.txt}}}";
    let space = ran(stages);
    rerun(&space, 0, &[]);
}

#[test]
fn a_stage_that_sees_the_clock_chance_or_the_umask_differs() {
    for command in [
        "date +%N > out.txt",
        "od -An -N8 -tx1 /dev/urandom > out.txt",
        "umask > out.txt",
        "pwd > out.txt",
    ] {
        let stages = format!("stages: {{odd: {{run: '{command}', inputs: {{i: in.txt}}, outputs: {{o: out.txt}}}}}}");
        let space = ran(&stages);
        let report = rerun(&space, 5, &[]);
        assert_eq!(report["assurance"]["rerun"], "failed", "{command}");
        let found = finding(&report, "E-RERUN");
        assert_eq!(found["file"], "out.txt");
        let message = found["message"].as_str().expect("a text");
        assert!(
            message.contains("stage `odd` is the first that came out otherwise"),
            "{message}"
        );
    }
}

#[test]
fn only_the_first_cause_is_blamed() {
    let stages = "stages: {
        odd: {run: 'date +%N > out.a', inputs: {i: in.txt}, outputs: {o: out.a}},
        next: {run: 'wc -c < out.a > out.b', inputs: {i: odd.o}, outputs: {o: out.b}},
        last: {run: 'cat out.b in.txt > out.c', inputs: {i: next.o, j: in.txt}, outputs: {o: out.c}}}";
    let space = ran(stages);
    let report = rerun(&space, 5, &[]);
    let verdicts: Vec<_> = report["rerun"].as_array().expect("stages").iter().collect();
    let of = |index: usize| (verdicts[index]["stage"].as_str(), verdicts[index]["verdict"].as_str());
    assert_eq!(of(0), (Some("odd"), Some("differs")));
    assert_eq!(
        of(1),
        (Some("next"), Some("identical")),
        "it was run on the recorded bytes"
    );
    assert_eq!(of(2), (Some("last"), Some("identical")));

    // Without the recorded bytes the stage after it cannot be compared.
    space.remove("out.a");
    fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    let report = rerun(&space, 5, &["out.b"]);
    assert_eq!(report["rerun"][1]["verdict"], "not-compared");
    let reason = report["rerun"][1]["reason"].as_str().expect("a reason").to_owned();
    assert!(reason.starts_with("a stage before it came out otherwise"), "{reason}");
}
