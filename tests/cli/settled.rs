//! A run with nothing to do is remembered, and whatever could make it wrong is seen all the same.

use crate::space::{Space, files_below};
use crate::strace::trace;

const STAGES: &str = "stages:
  a: {run: 'echo a >> $TRACE; cat ${inputs.i} > ${outputs.o}', env: [TRACE, MODE], sandbox: off, inputs: {i: in}, outputs: {o: out/a}}
  b:
    uses: stages/b.yaml
    inputs: {i: a, set: set, some: 'more/*.txt'}
    outputs: {o: out/b}";
const B: &str = "version: 1
name: b
run: 'echo b >> $TRACE; cat ${inputs.i} $(find -L ${inputs.set} -type f | sort) ${inputs.some} > ${outputs.o}'
env: [TRACE]
sandbox: off
inputs: {i: {}, set: {}, some: {}}
outputs: {o: {}}
";

/// A workspace in which a run with nothing to do has been remembered.
fn settled() -> Space {
    let space = Space::with(STAGES);
    space.write("stages/b.yaml", B);
    space.write("in", "1\n");
    space.write("set/deep/one", "2\n");
    space.write("set/two", "3\n");
    space.write("more/a.txt", "4\n");
    space.run(&[]).success();
    Space::let_clock_tick();
    space.run(&[]).success().says("2 up to date");
    assert_eq!(files_below(&space.path(".madmall/settled")).len(), 1);
    assert_eq!(space.trace(), "a\nb\n");
    space
}

/// Whether a run reads the pipeline, or what is remembered of it: on the short way it reads neither.
fn takes_the_long_way(space: &Space) -> Option<bool> {
    let (code, calls) = trace(space, &["run", "pipeline.yaml"])?;
    assert_eq!(code, Some(0), "{calls:#?}");
    let is_read = |call: &String| {
        call.contains("open")
            && ["pipeline.yaml", ".madmall/plans/"]
                .iter()
                .any(|part| call.contains(part))
    };
    Some(calls.iter().any(is_read))
}

#[test]
fn a_settled_run_reads_neither_pipeline_nor_receipts_nor_inputs() {
    let space = settled();
    let Some((code, calls)) = trace(&space, &["run", "pipeline.yaml"]) else {
        // Nothing can be traced here.
        return;
    };
    assert_eq!(code, Some(0));
    let opened = |part: &str| calls.iter().any(|call| call.contains("open") && call.contains(part));
    for part in [
        "pipeline.yaml",
        "stages/b.yaml",
        "intoto.jsonl",
        "/in\"",
        "/out/",
        "/set/",
    ] {
        assert!(!opened(part), "{part} is opened: {calls:#?}");
    }
    assert!(opened(".madmall/settled/"));
}

#[test]
fn the_short_way_says_what_the_long_way_says() {
    let space = settled();
    for arguments in [&["run", "pipeline.yaml"][..], &["run", "pipeline.yaml", "--json"]] {
        // Times and the id of a run that leaves no trace differ.
        let plain = |text: &str| -> String {
            let text = text.split("\"run\":\"").next().expect("a piece").to_owned();
            let words = text.split(" in 0.").next().expect("a piece").to_owned();
            words
                .split("\"milliseconds\":")
                .map(|piece| piece.trim_start_matches(|c: char| c.is_ascii_digit()))
                .collect()
        };
        let short = space.madmall(arguments).success();
        std::fs::remove_dir_all(space.path(".madmall/settled")).expect("it is there");
        let long = space.madmall(arguments).success();
        assert_eq!(plain(&short.out), plain(&long.out));
        assert_eq!(short.err, long.err);
    }
}

/// What is changed in a settled workspace, and which stages then run.
type Change = (&'static str, fn(&mut Space), &'static str);

#[test]
fn whatever_changes_is_seen() {
    let changes: &[Change] = &[
        ("a source", |space| space.write("in", "2\n"), "a\nb\n"),
        (
            "a source, its size and mtime put back",
            |space| {
                let path = space.path("in");
                let modified = path.metadata().expect("there").modified().expect("a time");
                space.write("in", "7\n");
                let file = std::fs::File::options().write(true).open(&path).expect("opened");
                file.set_modified(modified).expect("own file");
            },
            "a\nb\n",
        ),
        ("a source that may be executed", |space| executable(space, "in"), "a\n"),
        (
            "a file deep in a folder",
            |space| space.write("set/deep/one", "x\n"),
            "b\n",
        ),
        (
            "a file more in a folder",
            |space| space.write("set/deep/new", "x\n"),
            "b\n",
        ),
        (
            "a file more of a pattern",
            |space| space.write("more/b.txt", "x\n"),
            "b\n",
        ),
        ("a file less in a folder", |space| space.remove("set/two"), "b\n"),
        (
            "a folder's file replaced by a link",
            |space| {
                space.remove("set/two");
                std::os::unix::fs::symlink("../in", space.path("set/two")).expect("a link");
            },
            "b\n",
        ),
        ("a variable", |space| space.set("MODE", "x"), "a\n"),
        (
            "a stage's definition",
            |space| space.write("stages/b.yaml", B.replace("echo b", "echo c")),
            "c\n",
        ),
        (
            "the pipeline",
            |space| space.pipeline(&STAGES.replace("echo a", "echo d")),
            "d\n",
        ),
        ("a comment", |space| space.pipeline(&format!("{STAGES}\n# nothing")), ""),
        ("an output edited", |space| space.write("out/b", "edited\n"), ""),
        ("an output removed", |space| space.remove("out/a"), ""),
        (
            "an output and the store removed",
            |space| {
                space.remove("out/a");
                std::fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
            },
            "a\n",
        ),
        (
            "the receipts removed",
            |space| std::fs::remove_dir_all(space.path("runs")).expect("removed"),
            "a\nb\n",
        ),
        (
            "what was remembered, one bit of it",
            |space| {
                let name = &files_below(&space.path(".madmall/settled"))[0];
                let file = format!(".madmall/settled/{name}");
                let mut bytes = space.bytes(&file);
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                space.write(&file, bytes);
                space.write("in", "5\n");
            },
            "a\nb\n",
        ),
    ];
    for (what, change, ran) in changes {
        let mut space = settled();
        change(&mut space);
        let wanted = space.madmall(["run", "pipeline.yaml"]).success();
        assert_eq!(space.trace(), *ran, "{what}: {}", wanted.out);
        let all = "1\n2\n3\n4\n";
        if matches!(
            *what,
            "an output edited" | "an output removed" | "an output and the store removed"
        ) {
            assert_eq!(space.read("out/b"), all, "{what}");
            assert_eq!(space.read("out/a"), "1\n", "{what}");
        }
    }
}

fn executable(space: &Space, file: &str) {
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(space.path(file), mode).expect("own file");
}

#[test]
fn settings_that_appear_are_read() {
    let space = settled();
    space.write("madmall.yaml", "version: 1\nno_such_setting: 1\n");
    space.run(&[]).code(2).says("no_such_setting");
}

#[test]
fn what_was_remembered_is_dropped_when_something_ran() {
    let space = settled();
    let remembered = || files_below(&space.path(".madmall/settled"));
    space.run(&["a"]).success().says("1 stage: 1 up to date");
    let both = remembered();
    assert_eq!(both.len(), 2);
    space.write("in", "other\n");
    space.run(&[]).success().says("2 ran");
    let left = remembered();
    assert!(left.len() == 1 && both.contains(&left[0]), "{left:?}");
    Space::let_clock_tick();
    space.run(&[]).success().says("2 up to date");
    assert_eq!(remembered(), both);
}

#[test]
fn another_question_is_another_answer() {
    let space = settled();
    space.run(&["a"]).success().says("1 stage: 1 up to date");
    space.run(&["b"]).success().says("2 stages: 2 up to date");
    space.run(&["nothing"]).code(2);
    space.run(&["--force"]).success();
    assert_eq!(space.trace(), "a\nb\n");
}

#[test]
fn somebody_elses_memory_is_not_believed() {
    let space = settled();
    let other = space.beside("work space", "config2");
    other.run(&[]).success();
    assert_eq!(space.trace(), "a\nb\n");
}

#[test]
fn a_touched_file_takes_the_long_way_once() {
    let space = settled();
    let touch = || space.write("in", "1\n");
    touch();
    Space::let_clock_tick();
    let Some(first) = takes_the_long_way(&space) else {
        // Nothing can be traced here.
        return;
    };
    assert!(first);
    assert_eq!(takes_the_long_way(&space), Some(false));
    assert_eq!(space.trace(), "");
}

#[test]
fn strict_hashes_every_file_again() {
    let space = settled();
    let Some((_, calls)) = trace(&space, &["run", "pipeline.yaml", "--strict"]) else {
        // Nothing can be traced here.
        return;
    };
    for file in ["work space/in", "out/a", "set/deep/one", "more/a.txt"] {
        let is_opened = calls.iter().any(|call| call.contains("open") && call.contains(file));
        assert!(is_opened, "{file} is not read again: {calls:#?}");
    }
    space.run(&["--strict"]).success().says("2 up to date");
    space.write("out/b", "edited\n");
    space.run(&["--strict"]).success().says("restored");
    assert_eq!(space.trace(), "");
}

#[test]
fn of_a_long_file_every_byte_counts_too() {
    let space = Space::with(
        "stages:
  a: {run: 'cat ${inputs.i} > ${outputs.o}; echo a >> $TRACE', env: [TRACE], sandbox: off, inputs: {i: in}, outputs: {o: out/a}}",
    );
    let long = |last: &str| "x".repeat(2 << 20) + last;
    space.write("in", long("1"));
    space.run(&[]).success();
    Space::let_clock_tick();
    space.run(&[]).success();
    assert_eq!(space.trace(), "a\n");
    // Other times, and the same bytes.
    for flags in [&[][..], &["--strict"]] {
        space.write("in", long("1"));
        space.run(flags).success().says("1 up to date");
    }
    for (flags, last) in [(&["--strict"][..], "2"), (&[], "3")] {
        Space::let_clock_tick();
        space.run(&[]).success();
        space.write("in", long(last));
        space.run(flags).success();
        assert_eq!(space.trace(), "a\n");
        assert!(space.read("out/a") == long(last));
        space.write("out/a", long("edited").split_off(5));
        space.run(flags).success().says("restored");
    }
    space.madmall(["verify"]).success();
}

#[test]
fn other_values_are_another_question() {
    let stage = "a: {run: 'echo ${params.n} > ${outputs.o}; echo a >> $TRACE', env: [TRACE], sandbox: off, outputs: {o: out/a}}";
    let space = Space::with(&format!("params: {{n: 1}}\nstages:\n  {stage}"));
    space.run(&[]).success();
    Space::let_clock_tick();
    space.run(&[]).success();
    assert_eq!(files_below(&space.path(".madmall/settled")).len(), 1);
    space.run(&["--set", "n=2"]).success();
    assert_eq!(space.read("out/a"), "2\n");
    space.run(&[]).success().says("restored");
    assert_eq!(space.read("out/a"), "1\n");
    assert_eq!(space.trace(), "a\na\n");
}

#[test]
fn what_a_run_writes_down_of_its_own_receipts_is_what_reading_them_gives() {
    let space = Space::with(
        "stages:
  a: {run: 'cat ${inputs.i} > ${outputs.o}; echo 1 > ${outputs.p}', inputs: {i: in}, outputs: {o: out/a, p: out/p}}
  bad: {run: 'exit 3', inputs: {i: a.o}, outputs: {o: out/bad}}
  b: {run: 'printf x > ${outputs.o}; chmod +x ${outputs.o}', inputs: {i: a.o}, outputs: {o: out/b}}",
    );
    let index = |space: &Space| space.bytes(".madmall/believed");
    for source in ["1", "2"] {
        space.write("in", source);
        space.run(&[]).code(1);
        let written = index(&space);
        space.remove(".madmall/believed");
        space.run(&["a"]).success().says("1 up to date");
        assert!(written == index(&space), "with source {source}");
    }
}

#[test]
fn a_folder_that_became_a_link_is_seen() {
    let space = settled();
    std::fs::rename(space.path("out"), space.path("../out")).expect("moved");
    std::os::unix::fs::symlink("../out", space.path("out")).expect("a link");
    space
        .run(&[])
        .code(2)
        .says("leads out of the workspace, through the link `out`");
}

#[test]
fn a_file_that_became_a_link_is_seen_however_hard_one_looks() {
    for file in [
        "in",
        "set/two",
        "more/a.txt",
        "pipeline.yaml",
        "stages/b.yaml",
        "out/a",
        "out/b",
    ] {
        let space = settled();
        let elsewhere = space.base().join("elsewhere");
        std::fs::rename(space.path(file), &elsewhere).expect("moved");
        std::os::unix::fs::symlink(&elsewhere, space.path(file)).expect("a link");
        for flags in [&["--strict"][..], &[]] {
            let said = format!("`{file}` is a link that leads out of the workspace");
            space.run(flags).code(2).says(&said);
        }
    }
}

#[test]
fn a_link_that_was_there_before_is_no_news() {
    let space = settled();
    space.write("real", "1\n");
    space.remove("in");
    std::os::unix::fs::symlink("real", space.path("in")).expect("a link");
    Space::let_clock_tick();
    space.run(&[]).success().says("2 up to date");
    for flags in [&["--strict"][..], &[]] {
        space.run(flags).success().says("2 up to date");
    }
    space.write("other", "1\n");
    space.remove("in");
    std::os::unix::fs::symlink("other", space.path("in")).expect("a link");
    for flags in [&["--strict"][..], &[]] {
        space.run(flags).success().says("2 up to date");
    }
    assert_eq!(space.trace(), "");
}

#[test]
fn a_folder_of_an_input_that_is_another_link_is_seen_however_hard_one_looks() {
    let space =
        Space::with("stages: {a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: data/x}, outputs: {o: out}}}");
    space.write("real/x", "1\n");
    std::os::unix::fs::symlink("real", space.path("data")).expect("a link");
    for flags in [&[][..], &[], &["--strict"]] {
        Space::let_clock_tick();
        space.run(flags).success();
    }
    space.write("../copy/x", "1\n");
    space.remove("data");
    std::os::unix::fs::symlink(space.path("../copy"), space.path("data")).expect("a link");
    for flags in [&["--strict"][..], &[]] {
        space.run(flags).code(2).says("leads out of the workspace");
    }
}
