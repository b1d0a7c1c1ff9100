//! A pipeline that was resolved is remembered, and comes out as if it had been resolved anew.

use std::os::unix::fs::symlink;

use crate::space::{Space, files_below};
use crate::strace::trace;

const STAGES: &str = "params: {n: 1}
stages:
  a: {run: 'echo a >> $TRACE; cat ${inputs.i} > ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: in}, outputs: {o: out/a}}
  b:
    uses: stages/b.yaml
    inputs: {i: a, set: set, some: 'more/*.txt', maybe: {path: maybe, optional: true}}
    outputs: {o: out/b}
    params: {n: '${params.n}'}";
const B: &str = "version: 1
name: b
run: 'echo b${params.n} >> $TRACE; cat ${inputs.i} ${inputs.set}/* ${inputs.some} ${inputs.maybe} > ${outputs.o}'
env: [TRACE]
sandbox: off
inputs: {i: {}, set: {}, some: {}, maybe: {optional: true}}
outputs: {o: {}}
params: {n: {type: integer}}
";

fn space() -> Space {
    let space = Space::with(STAGES);
    space.write("stages/b.yaml", B);
    space.write("in", "1\n");
    space.write("set/one", "2\n");
    space.write("more/a.txt", "3\n");
    space.run(&[]).success();
    Space::let_clock_tick();
    space.write("in", "2\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "a\nb1\na\nb1\n");
    assert_eq!(files_below(&space.path(".madmall/plans")).len(), 1);
    space
}

/// Replaces a file by another one, as editors do.
fn replace(space: &Space, path: &str, text: &str) {
    let aside = format!("{path}.new");
    space.write(&aside, text);
    std::fs::rename(space.path(&aside), space.path(path)).expect("moved");
}

fn let_execute(space: &Space, path: &str) {
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
    std::fs::set_permissions(space.path(path), mode).expect("own file");
}

#[test]
fn after_an_edit_of_a_source_the_pipeline_is_not_read() {
    let space = space();
    replace(&space, "in", "3\n");
    let opened = |arguments: &[&str]| {
        let (code, calls) = trace(&space, arguments)?;
        assert_eq!(code, Some(0), "{calls:#?}");
        Some(move |part: &str| calls.iter().any(|call| call.contains("open") && call.contains(part)))
    };
    let Some(first) = opened(&["run", "pipeline.yaml"]) else {
        // Nothing can be traced here.
        return;
    };
    assert!(first("/in\"") && first(".madmall/plans/"));
    assert!(!first("pipeline.yaml") && !first("stages/b.yaml"));
    assert_eq!(space.trace(), "a\nb1\n");
    replace(&space, "in", "4\n");
    let strict = opened(&["run", "--strict", "pipeline.yaml"]).expect("traced");
    assert!(strict("pipeline.yaml") && strict("stages/b.yaml"));
}

/// What is changed, and what runs after it.
type Change = (&'static str, fn(&Space));

#[test]
fn whatever_changes_it_comes_out_as_if_it_were_resolved_anew() {
    let changes: &[Change] = &[
        ("nothing", |_| {}),
        ("a source", |space| replace(space, "in", "x\n")),
        ("a source that may be executed", |space| let_execute(space, "in")),
        ("a source removed", |space| space.remove("in")),
        ("a folder in the place of a source", |space| {
            space.remove("in");
            space.write("in/x", "x\n");
        }),
        ("a link in the place of a source", |space| {
            space.remove("in");
            symlink("set/one", space.path("in")).expect("a link");
        }),
        ("a link out in the place of a source", |space| {
            space.write("../elsewhere", "x\n");
            space.remove("in");
            symlink("../elsewhere", space.path("in")).expect("a link");
        }),
        ("a file more in a folder", |space| space.write("set/two", "x\n")),
        ("a file of a folder, where it lies", |space| {
            space.write("set/one", "x\n")
        }),
        ("a file of a folder that may be executed", |space| {
            let_execute(space, "set/one")
        }),
        ("another file in the place of one of a folder", |space| {
            replace(space, "set/one", "x\n")
        }),
        ("a folder in the place of a file of a folder", |space| {
            space.remove("set/one");
            space.write("set/one/x", "x\n");
        }),
        ("a link in the place of a file of a folder", |space| {
            space.remove("set/one");
            symlink("../in", space.path("set/one")).expect("a link");
        }),
        ("a link out in the place of a file of a folder", |space| {
            space.write("../elsewhere", "x\n");
            space.remove("set/one");
            symlink("../../elsewhere", space.path("set/one")).expect("a link");
        }),
        ("a socket in the place of a file of a folder", |space| {
            space.remove("set/one");
            drop(std::os::unix::net::UnixListener::bind(space.path("set/one")).expect("bound"));
        }),
        ("a file more of a pattern", |space| space.write("more/b.txt", "x\n")),
        ("no file of a pattern", |space| space.remove("more/a.txt")),
        ("an optional input that comes to be there", |space| {
            space.write("maybe", "x\n")
        }),
        ("the folder of outputs moved out, with a link to it", |space| {
            std::fs::rename(space.path("out"), space.path("../out")).expect("moved");
            symlink("../out", space.path("out")).expect("a link");
            space.write("in", "x\n");
        }),
        ("a folder of sources moved out, with a link to it", |space| {
            std::fs::rename(space.path("set"), space.path("../set")).expect("moved");
            symlink("../set", space.path("set")).expect("a link");
        }),
        ("a folder in the place of an output", |space| {
            space.remove("out/a");
            space.write("out/a/x", "x\n");
            space.write("in", "x\n");
        }),
        ("the pipeline", |space| space.pipeline(&STAGES.replace("n: 1", "n: 2"))),
        ("the pipeline, size and time put back", |space| {
            let path = space.path("pipeline.yaml");
            let modified = path.metadata().expect("there").modified().expect("a time");
            space.pipeline(&STAGES.replace("n: 1", "n: 3"));
            let file = std::fs::File::options().write(true).open(&path).expect("opened");
            file.set_modified(modified).expect("own file");
        }),
        ("the pipeline broken", |space| space.pipeline("stages: {")),
        ("the definition", |space| {
            space.write("stages/b.yaml", B.replace("echo b", "echo c"))
        }),
        ("the definition removed", |space| space.remove("stages/b.yaml")),
        ("settings that are wrong", |space| {
            space.write("madmall.yaml", "version: 1\nnothing: 1\n")
        }),
        ("what was remembered, one bit of it", |space| {
            let file = format!(".madmall/plans/{}", files_below(&space.path(".madmall/plans"))[0]);
            let mut bytes = space.bytes(&file);
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            space.write(&file, bytes);
            space.write("in", "x\n");
        }),
        ("what was remembered, cut off", |space| {
            let file = format!(".madmall/plans/{}", files_below(&space.path(".madmall/plans"))[0]);
            let bytes = space.bytes(&file);
            space.write(&file, &bytes[..bytes.len() / 2]);
            space.write("in", "x\n");
        }),
    ];
    for (what, change) in changes {
        let [with, without] = [true, false].map(|is_kept| {
            let space = space();
            change(&space);
            if !is_kept {
                std::fs::remove_dir_all(space.path(".madmall/plans")).expect("removed");
            }
            let ran = space.run(&[]);
            let said = ran.err.replace(space.base().as_str(), "");
            // The run's id, and its key, are its own.
            let own = ["key ", ".madmall/output/", ".madmall/displaced/"];
            let is_own = |line: &&str| own.iter().any(|own| line.contains(own));
            let said: Vec<String> = said.lines().filter(|line| !is_own(line)).map(str::to_owned).collect();
            let made = ["out/a", "out/b"].map(|path| std::fs::read(space.path(path)).ok());
            (ran.code, said, space.trace(), made)
        });
        assert_eq!(with, without, "{what}");
    }
}

#[test]
fn each_set_of_values_has_its_own() {
    let space = space();
    space.run(&["--set", "n=2"]).success();
    assert_eq!(space.trace(), "b2\n");
    space.write("in", "5\n");
    space.run(&["--set", "n=2"]).success();
    assert_eq!(space.trace(), "a\nb2\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "b1\n");
}
