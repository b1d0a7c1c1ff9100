//! Links where a part of the store should be, as a repository can bring them along: nothing is done where they lead.

use std::fs;
use std::os::unix::fs::symlink;

use camino::Utf8Path;

use crate::space::Space;

/// All that lies directly in `.madmall`, and the folder itself.
const PARTS: [&str; 16] = [
    "",
    "/.gitignore",
    "/believed",
    "/cas",
    "/displaced",
    "/known",
    "/lock",
    "/log",
    "/output",
    "/pending",
    "/plans",
    "/populations",
    "/scratch",
    "/settled",
    "/stat-cache",
    "/trees",
];

/// What `gc` and `logs` would take for a run's.
const RUN: &str = "2020-01-01T000000Z-test-000000";

/// A workspace in which a stage has run twice, and a folder beside it that looks like the store of another.
fn space() -> Space {
    let space = Space::with("stages: {copy: {run: 'echo hi; cp in out', inputs: {i: in}, outputs: {o: out}}}");
    for input in ["1", "2"] {
        space.write("in", input);
        space.run(&[]).success();
    }
    space.write(&format!("../elsewhere/{RUN}/copy.log"), "mine\n");
    space.write(&format!("../elsewhere/output/{RUN}/copy.log"), "mine\n");
    space.write("../file", "mine\n");
    space
}

fn remove(path: &Utf8Path) {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).expect("removed"),
        Ok(_) => fs::remove_file(path).expect("removed"),
        Err(_) => {}
    }
}

#[test]
fn a_link_is_refused_and_named_and_nothing_is_done_where_it_leads() {
    for part in PARTS {
        for target in ["../elsewhere", "../file", "../nowhere"] {
            let space = space();
            let part = format!(".madmall{part}");
            remove(&space.path(&part));
            symlink(space.path(target), space.path(&part)).expect("linked");
            let before = space.snapshot();
            let said = format!("{part}` is a symbolic link");
            for arguments in [
                &["run", "pipeline.yaml"][..],
                &["run", "pipeline.yaml", "--force"],
                &["plan", "pipeline.yaml"],
                &["status"],
                &["logs"],
                &["fsck"],
                &["gc"],
                &["gc", "--yes", "--keep-last", "1", "--displaced"],
                &["clean", "--yes"],
            ] {
                space.madmall(arguments).code(7).says(&said).says("remove it");
            }
            space.is_as(&before);
            assert!(space.path(&part).is_symlink());
            for file in [
                "../file".to_owned(),
                format!("../elsewhere/{RUN}/copy.log"),
                format!("../elsewhere/output/{RUN}/copy.log"),
            ] {
                assert_eq!(space.read(&file), "mine\n", "{part} -> {target}");
            }
            assert_eq!(fs::read_dir(space.path("../elsewhere")).expect("listed").count(), 2);
            assert!(!space.exists("../nowhere"));
            fs::remove_file(space.path(&part)).expect("removed");
            space.run(&[]).success();
        }
    }
}

#[test]
fn nothing_is_put_where_a_link_within_a_part_leads() {
    let space = space();
    fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    fs::create_dir(space.path(".madmall/cas")).expect("made");
    for number in 0..=255 {
        symlink(
            space.path("../elsewhere"),
            space.path(&format!(".madmall/cas/{number:02x}")),
        )
        .expect("linked");
    }
    space.write("in", "3");
    space
        .run(&[])
        .code(7)
        .says("/.madmall/cas/")
        .says("` is a symbolic link");
    assert_eq!(fs::read_dir(space.path("../elsewhere")).expect("listed").count(), 2);
}

#[test]
fn a_lock_with_another_name_is_not_emptied() {
    let space = space();
    space.remove(".madmall/lock");
    fs::hard_link(space.path("../file"), space.path(".madmall/lock")).expect("linked");
    for arguments in [&["run", "pipeline.yaml"][..], &["gc", "--yes"]] {
        space
            .madmall(arguments)
            .code(7)
            .says(".madmall/lock`")
            .says("has another name, too: remove it");
    }
    assert_eq!(space.read("../file"), "mine\n");
    space.remove(".madmall/lock");
    space.run(&[]).success().says("1 up to date");
}

#[test]
fn folders_that_are_of_no_run_are_not_removed() {
    let space = space();
    for folder in ["output", "displaced"] {
        space.write(&format!(".madmall/{folder}/my notes/copy.log"), "mine\n");
        space.write(&format!(".madmall/{folder}/{RUN}/copy.log"), "of a run\n");
    }
    space
        .madmall(["gc", "--yes", "--keep-last", "1", "--displaced"])
        .success();
    for folder in ["output", "displaced"] {
        assert_eq!(space.read(&format!(".madmall/{folder}/my notes/copy.log")), "mine\n");
        assert!(!space.exists(&format!(".madmall/{folder}/{RUN}")), "{folder}");
    }
}
