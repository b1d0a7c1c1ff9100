//! Files that a command line says to write: nothing but a file is ever replaced by one.

use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::process::Command;

use crate::erase::{lines, space};
use crate::space::Space;

/// Makes a FIFO, a link and a folder, and a device if this user may make one. Gives what each is called, and what it is.
fn others(space: &Space) -> Vec<(&'static str, &'static str)> {
    let make = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(space.root());
        command.output().is_ok_and(|made| made.status.success())
    };
    assert!(make("mkfifo", &["fifo.js"]));
    symlink("target.js", space.path("link.js")).expect("made");
    std::fs::create_dir(space.path("folder.js")).expect("made");
    let mut others = vec![
        ("fifo.js", "a FIFO"),
        ("link.js", "a symbolic link"),
        ("folder.js", "a folder"),
    ];
    // Only root may.
    if make("mknod", &["device.js", "c", "1", "3"]) {
        others.push(("device.js", "a device"));
    }
    others
}

#[test]
fn what_is_no_file_is_not_replaced_by_one() {
    let lines = lines();
    let space = space(&lines);
    space.run(&[]).success();
    let id = crate::erase::id_of(&lines[3]);
    let receipt = space.receipt_files().remove(0);
    let receipt = receipt.trim_end_matches(".intoto.jsonl");
    let commands: [&[&str]; 13] = [
        &[
            "predict",
            "--model",
            "models/model.json",
            "--in",
            "data/events.ndjson",
            "--out",
        ],
        &[
            "evaluate",
            "--model",
            "models/model.json",
            "--features",
            "data/features.arrow",
            "--out",
        ],
        &["model", "card", "models/model.json", "--out"],
        &["model", "export", "--sql", "models/model.json", "--out"],
        &["model", "export", "--js", "models/model.json", "--out"],
        &["ingest", "--in", "raw.ndjson", "--out"],
        &[
            "train",
            "--events",
            "raw.ndjson",
            "--models",
            "other models",
            "--receipt",
        ],
        &["bundle", "latest", "-o"],
        &["bundle", "latest", "--force", "-o"],
        &["log", "prove", receipt, "-o"],
        &["consent", "prove", "--event", &id, "-o"],
        &["consent", "report", "latest", "-o"],
        &["key", "export", "-o"],
    ];
    for (name, what) in others(&space) {
        let before = space.path(name).symlink_metadata().expect("it is there").file_type();
        for command in commands {
            let ran = space.madmall(command.iter().chain(&[name])).code(2);
            let says = ran.out + &ran.err;
            let is_key = command[0] == "key";
            assert!(
                says.contains(what) || is_key && says.contains("there already"),
                "{command:?}: {says}"
            );
            let after = space.path(name).symlink_metadata().expect("it is there").file_type();
            assert_eq!(before, after, "{command:?}");
        }
        space.madmall(["rerun", receipt, "-o", name]).code(2);
        assert_eq!(
            space.path(name).symlink_metadata().expect("it is there").file_type(),
            before
        );
    }
    assert!(!space.exists("target.js") && !space.exists("other models"));
    assert!(
        space
            .path("fifo.js")
            .symlink_metadata()
            .expect("there")
            .file_type()
            .is_fifo()
    );
}

#[test]
fn before_anything_is_read_it_is_said_what_to_do() {
    let space = Space::empty();
    symlink("/dev/null", space.path("out")).expect("made");
    let ran = space
        .madmall(["predict", "--model", "not there", "--out", "out"])
        .code(2);
    ran.says("`out` is a symbolic link")
        .says("or none: then it goes to standard output");
    space.write("scores", "");
    symlink("scores", space.path("link")).expect("made");
    space
        .madmall(["predict", "--model", "not there", "--out", "link"])
        .code(2)
        .says("name the file that it leads to");
    // Types beside a module are written too.
    space.write("model.json", "{}");
    symlink("elsewhere", space.path("model.d.ts")).expect("made");
    let ran = space
        .madmall(["model", "export", "--js", "model.json", "--out", "model.js"])
        .code(2);
    ran.says("`model.d.ts` is a symbolic link");
    // A file is replaced as ever.
    let space = space_with_card();
    space.write("card.md", "old");
    space
        .madmall(["model", "card", "models/model.json", "--out", "card.md"])
        .success();
    assert!(space.read("card.md").starts_with('#'));
}

#[test]
fn nothing_is_written_over_what_it_is_made_from() {
    let space = space_with_card();
    space.write("revoked", "");
    space.write("schema.json", "{}");
    space.write("model.mjs", space.read("models/model.json"));
    let before = space.snapshot();
    let events_are = ["--revocations", "revoked", "--schema", "schema.json"];
    let events = "data/events.ndjson";
    for input in ["models/model.json", events, "./data/../revoked", "schema.json"] {
        let predict = [
            "predict",
            "--model",
            "models/model.json",
            "--in",
            events,
            "--out",
            input,
        ];
        let evaluate = [
            "evaluate",
            "--model",
            "models/model.json",
            "--events",
            events,
            "-o",
            input,
        ];
        for command in [predict, evaluate] {
            let ran = space.madmall(command.iter().chain(&events_are)).code(2);
            ran.says(&format!("names `{input}`, which is an input"));
        }
    }
    for command in [
        &["model", "card", "models/model.json", "-o", "models/model.json"][..],
        &[
            "model",
            "export",
            "--sql",
            "models/model.json",
            "-o",
            "models/model.json",
        ],
        &["model", "export", "--js", "model.mjs", "-o", "model.mjs"],
    ] {
        space.madmall(command).code(2).says("which is an input");
    }
    let ran = space
        .madmall(["train", "--events", events, "--models", "other", "--receipt", events])
        .code(2);
    assert!(
        ran.out.contains("Cannot write the receipt: it is the events file"),
        "{}",
        ran.out
    );
    space.is_as(&before);
}

fn space_with_card() -> Space {
    let space = space(&lines());
    space.run(&[]).success();
    space
}
