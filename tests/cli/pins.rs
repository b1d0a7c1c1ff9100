//! What an auditor kept of a history holds against whoever keeps it; and what a copy of a project proves.

use std::fs;

use camino::Utf8PathBuf;

use crate::space::{Space, files_below};

const TWO: &str = "stages:
  a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}";

/// A project after two runs.
fn finished() -> Space {
    let space = Space::with(TWO);
    for text in ["one", "two"] {
        space.write("in", text);
        space.run(&[]).success();
    }
    space
}

/// The one log, relative to the workspace.
fn log(space: &Space) -> String {
    let first = files_below(&space.path("runs/log")).remove(0);
    let (log, _) = first.split_once('/').expect("in a log's folder");
    format!("runs/log/{log}")
}

/// The checkpoints of the log, by size.
fn checkpoints(space: &Space) -> Vec<Utf8PathBuf> {
    let log = space.path(&log(space));
    let mut sizes: Vec<u64> = files_below(&log)
        .iter()
        .filter_map(|name| name.strip_prefix("checkpoint-")?.parse().ok())
        .collect();
    sizes.sort_unstable();
    sizes
        .iter()
        .map(|size| log.join(format!("checkpoint-{size}")))
        .collect()
}

fn keep(space: &Space, place: usize) {
    fs::copy(&checkpoints(space)[place], space.path("../kept")).expect("copied");
}

#[test]
fn a_history_that_went_on_extends_what_was_seen_of_it() {
    let space = finished();
    for place in [0, 1] {
        keep(&space, place);
        let verdict = space.madmall(["verify", "--pin", "../kept", "--json"]).success();
        let json: serde_json::Value = serde_json::from_str(&verdict.out).expect("JSON");
        assert_eq!(json["assurance"]["pin"], "held");
    }
    space.write("in", "three");
    space.run(&[]).success();
    space.madmall(["verify", "--pin", "../kept"]).success();
}

#[test]
fn a_history_that_was_cut_off_or_begun_anew_does_not() {
    let space = finished();
    keep(&space, 1);
    let whole = space.snapshot();
    // The operator takes the last run away, with everything that speaks of it.
    let last = space.receipt_files().pop().expect("two runs");
    space.remove(&format!("runs/{last}"));
    fs::remove_file(checkpoints(&space).pop().expect("two")).expect("removed");
    for file in files_below(&space.path(&log(&space)))
        .iter()
        .filter(|name| name.ends_with(".p/6"))
    {
        space.remove(&format!("{}/{file}", log(&space)));
    }
    space.write("in", "one");
    space.remove("out/a");
    space.remove("out/b");
    space
        .madmall(["verify", "--pin", "../kept"])
        .code(4)
        .says("E-PIN")
        .says("its end was cut off");
    // Everything from the beginning: another log.
    fs::remove_dir_all(space.path("runs")).expect("removed");
    fs::remove_dir_all(space.path(".madmall")).expect("removed");
    space.run(&[]).success();
    space.madmall(["verify"]).success();
    space
        .madmall(["verify", "--pin", "../kept"])
        .code(4)
        .says("the log that was seen before is not here");
    // Put back as it was, it holds.
    fs::remove_dir_all(space.path("runs")).expect("removed");
    for (path, bytes) in &whole {
        space.write(path, bytes);
    }
    space.madmall(["verify", "--pin", "../kept"]).success();
}

#[test]
fn what_is_no_checkpoint_is_refused_and_what_is_not_pinned_is_said() {
    let space = finished();
    space.write("../kept", "no checkpoint\n");
    space
        .madmall(["verify", "--pin", "../kept"])
        .code(2)
        .says("checkpoint-<size>");
    space
        .madmall(["verify", "--pin", "../absent"])
        .code(2)
        .says("../absent");
    space.madmall(["verify", "--pin", ".."]).code(2).says("no file");
    space
        .madmall(["verify"])
        .success()
        .says("pin: the history was compared with nothing");
}

#[test]
fn a_folder_that_was_copied_elsewhere_is_verified_where_it_lies() {
    let space = finished();
    let other = Space::empty();
    for (path, bytes) in space
        .snapshot()
        .iter()
        .filter(|(path, _)| !path.starts_with(".madmall"))
    {
        other.write(&format!("../copy of it/{path}"), bytes);
    }
    let pem = space.madmall(["key", "--pem"]).success().out;
    other.write("../operator.pem", pem);
    let arguments = ["verify", "../copy of it", "--trust", "../operator.pem"];
    other.madmall(arguments).success().says("out/b");
    other.write("../copy of it/out/b", "other");
    other.madmall(arguments).code(4).says("E-DIGEST");
}

#[cfg(unix)]
#[test]
fn who_may_execute_an_output_is_worth_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let space = finished();
    fs::set_permissions(space.path("out/b"), fs::Permissions::from_mode(0o755)).expect("own file");
    space.madmall(["verify"]).success().says("W-MODE");
}
