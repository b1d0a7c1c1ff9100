//! What the run before knew of stages spares work, and changes nothing: a workspace in which it is forgotten before each run does the
//! same as one in which it is not.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::space::Space;

/// Some that read each other, one that takes a variable, one that calls a program by its name, and some that cannot be known by their files alone.
const STAGES: &str = "stages:
  a: {run: 'cat ${inputs.x} ${inputs.y} > ${outputs.o}', inputs: {x: in/x, y: in/y}, outputs: {o: out/a}}
  b: {run: 'head -n 1 ${inputs.i} > ${outputs.o}', inputs: {i: in/y}, outputs: {o: out/b}}
  c: {run: 'cat ${inputs.a} ${inputs.b} > ${outputs.o}; head -n 1 ${inputs.b} > ${outputs.p}',
    inputs: {a: a, b: b}, outputs: {o: out/c, p: out/c2}}
  d: {run: 'echo \"$WORD\" | cat - ${inputs.i} > ${outputs.o}', inputs: {i: in/z}, env: [WORD], outputs: {o: out/d}}
  e: {argv: [called, '${inputs.c}', '${outputs.o}'], tools: [called], inputs: {c: c.p}, outputs: {o: out/e}}
  f: {run: 'cat ${inputs.set}/* > ${outputs.o}', inputs: {set: in/set/}, outputs: {o: out/f}}
  g: {run: 'mkdir -p ${outputs.o}; cp ${inputs.i} ${outputs.o}/1', inputs: {i: f}, outputs: {o: out/g/}}
  h: {run: 'cat ${inputs.t} ${inputs.e} > ${outputs.o}', inputs: {t: t, e: e}, outputs: {o: out/h}}
  t: {run: 'cp ${inputs.d} ${outputs.o}', inputs: {d: d}, outputs: {o: {path: out/t, temp: true}}}
";

/// Changes of a workspace, by their numbers.
const CHANGES: usize = 24;

fn change(space: &mut Space, which: usize, step: usize) {
    // A link that leads out is refused until somebody removes it.
    let link = space.path("out/a");
    if link.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
        std::fs::remove_file(&link).expect("removed");
    }
    // Another program is told of until its stage has run again; here it comes and goes.
    call(space, USUAL);
    // Few values, so that what was made once is made again.
    let text = format!("{}\n", step % 3);
    let executable = |space: &Space, path: &str| {
        let path = space.path(path);
        if path.exists() {
            set_mode(&path, 0o755);
        }
    };
    match which {
        0 => space.write("in/x", text),
        1 => space.write("in/y", text),
        // The first line stays, so that `b` comes out as before.
        2 => space.write("in/y", format!("first\n{text}")),
        3 => space.write("in/z", text),
        4 => space.write("in/set/1", text),
        5 => space.write("in/set/2", text),
        6 => space.write("out/c", text),
        7 => drop(std::fs::remove_file(space.path("out/a"))),
        8 => drop(std::fs::remove_file(space.path("out/e"))),
        9 => executable(space, "out/b"),
        10 => executable(space, "in/x"),
        // With the same bytes.
        11 => space.write("in/x", space.bytes("in/x")),
        12 => space.write("out/d", space.bytes("out/d")),
        13 => space.set("WORD", &text),
        14 => space.unset("WORD"),
        15 => call(space, "true; cp \"$1\" \"$2\""),
        16 => call(space, "cat \"$1\" \"$1\" > \"$2\""),
        17 => space.pipeline(&STAGES.replace(
            "head -n 1",
            if step.is_multiple_of(2) {
                "head -n 2"
            } else {
                "head -n 1"
            },
        )),
        // Receipts that were there are not any more.
        18 => {
            let files = space.receipt_files();
            let place = if step.is_multiple_of(2) {
                files.len() - 1
            } else {
                files.len() / 2
            };
            space.remove(&format!("runs/{}", files[place]));
        }
        19 => {
            // One file for two.
            std::fs::copy(space.path("in/x"), space.path("in/z")).expect("copied");
        }
        20 => {
            // What another makes: in its place a link to the same.
            let target = space.path("../aside");
            if std::fs::rename(&link, &target).is_ok() {
                std::os::unix::fs::symlink(&target, &link).expect("linked");
            }
        }
        // Another pipeline finds out what files hold.
        21 | 22 => drop(space.madmall(["run", "other.yaml"])),
        _ => {}
    }
}

/// What is called `called` does.
const USUAL: &str = "cp \"$1\" \"$2\"";

/// A pipeline that reads what the other does.
const OTHER: &str = "version: 1
name: other
stages:
  x: {run: 'cat ${inputs.x} ${inputs.y} > ${outputs.o}', inputs: {x: in/x, y: in/y}, outputs: {o: elsewhere/x}}
  z: {run: 'cat ${inputs.z} ${inputs.b} ${inputs.d} > ${outputs.o}', inputs: {z: in/z, b: out/b, d: out/d}, outputs: {o: elsewhere/z}}
";

fn set_mode(path: &camino::Utf8Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("changed");
}

/// What is called `called` does this.
fn call(space: &Space, text: &str) {
    space.write("../bin/called", format!("#!/bin/sh\n{text}\n"));
    set_mode(&space.path("../bin/called"), 0o755);
}

fn begin() -> Space {
    let mut space = Space::in_memory();
    space.write("madmall.yaml", "");
    space.pipeline(STAGES);
    space.write("other.yaml", OTHER);
    for path in ["in/x", "in/y", "in/z", "in/set/1", "in/set/2"] {
        space.write(path, format!("first\n{path}\n"));
    }
    call(&space, USUAL);
    let path = format!("{}:{}", space.path("../bin"), std::env::var("PATH").expect("a PATH"));
    space.set("PATH", &path);
    space
}

/// How each stage ended, and the notes; not when, and not by which receipts.
fn told(space: &Space, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let ran = space.madmall([&["run", "pipeline.yaml", "--json", "-j", "1"], arguments].concat());
    let text = ran.out.replace(space.base().as_str(), "BASE");
    let mut events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    events.retain(|event| !matches!(event["event"].as_str(), Some("stageStarted" | "progress" | "finished")));
    for event in &mut events {
        let event = event.as_object_mut().expect("an object");
        // What was moved away is called by the run.
        event.retain(|name, _| !matches!(&**name, "milliseconds" | "receipt" | "to" | "log"));
    }
    events.sort_by_key(|event| event["stage"].to_string());
    (ran.code, events)
}

fn made(space: &Space) -> BTreeMap<String, Vec<u8>> {
    let all = space.snapshot().into_iter();
    all.filter(|(path, _)| path.starts_with("out/")).collect()
}

#[test]
fn a_run_does_the_same_whether_the_one_before_is_remembered_or_not() {
    let seed = std::env::var("MADMALL_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut random: u64 = seed.unwrap_or(7);
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        usize::try_from(random >> 33).expect("31 bits") % below
    };
    let (mut knows, mut forgets) = (begin(), begin());
    let mut succeeded = 0;
    for step in 0..60 {
        let changes: Vec<usize> = (0..1 + next(2))
            .map(|_| if step < CHANGES { step } else { next(CHANGES) })
            .collect();
        if step > 0 {
            for which in &changes {
                change(&mut knows, *which, step);
                change(&mut forgets, *which, step);
            }
        }
        let _ = std::fs::remove_dir_all(forgets.path(".madmall/known"));
        let arguments: &[&str] = match next(12) {
            0 => &["e"],
            1 => &["c", "d"],
            2 => &["--record"],
            _ => &[],
        };
        Space::let_clock_tick();
        let (one, other) = (told(&knows, arguments), told(&forgets, arguments));
        assert_eq!(one, other, "step {step}, changes {changes:?}, {arguments:?}");
        assert_eq!(made(&knows), made(&forgets), "step {step}, changes {changes:?}");
        assert!(knows.exists(".madmall/known"), "step {step}");
        succeeded += usize::from(one.0 == Some(0));
        let (one, other) = (knows.madmall(["verify"]), forgets.madmall(["verify"]));
        assert_eq!(
            one.code, other.code,
            "step {step}, changes {changes:?}, {arguments:?}: {}",
            one.out
        );
    }
    assert!(succeeded > 45, "{succeeded}");
    for space in [&knows, &forgets] {
        space.madmall(["fsck"]).success();
    }
}

/// The receipts by which stages are up to date, or that they have got now.
fn receipts(space: &Space, arguments: &[&str]) -> BTreeMap<String, (String, String)> {
    let ran = space.madmall([&["run", "--json"], arguments].concat()).success();
    let events = ran
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let ended = events.filter(|event| event["event"] == "stageFinished");
    ended
        .map(|event| {
            (
                text(&event, "stage"),
                (text(&event, "outcome"), text(&event, "receipt")),
            )
        })
        .collect()
}

/// Two stages that read and make the same bytes in different ways, and one beside them.
fn alike() -> Space {
    let space = Space::with(
        "stages:\n  a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in/a}, outputs: {o: out/a}}
  b: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in/b}, outputs: {o: out/b}}
  z: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in/z}, outputs: {o: out/z}}",
    );
    for path in ["in/a", "in/b", "in/z"] {
        space.write(path, "1\n");
    }
    settle(&space, "pipeline.yaml");
    space
}

/// Runs until nothing is new to what is remembered.
fn settle(space: &Space, pipeline: &str) {
    for _ in 0..3 {
        Space::let_clock_tick();
        space.madmall(["run", pipeline]).success();
    }
}

#[test]
fn what_was_known_of_another_plan_is_not_known_of_this_one() {
    let space = alike();
    let before = receipts(&space, &["pipeline.yaml"]);
    let known = space.path(".madmall/known");
    std::fs::rename(&known, space.path("../known")).expect("moved");
    // The same stages in another order: nothing runs, and no receipt is new.
    let text = space.read("pipeline.yaml");
    let (head, stages) = text.split_once("  a:").expect("the first");
    let (a, rest) = stages.split_once("  b:").expect("the second");
    let (b, z) = rest.split_once("  z:").expect("the third");
    space.write("pipeline.yaml", format!("{head}  b:{b}  a:{a}  z:{z}"));
    settle(&space, "pipeline.yaml");
    std::fs::remove_dir_all(&known).expect("removed");
    std::fs::rename(space.path("../known"), &known).expect("moved back");
    space.write("in/z", "2\n");
    Space::let_clock_tick();
    let after = receipts(&space, &["pipeline.yaml"]);
    assert_eq!((&after["a"], &after["b"]), (&before["a"], &before["b"]));
    assert_eq!(after["z"].0, "ran");
}

#[test]
fn a_file_that_another_pipeline_has_read_since_is_compared_with_what_it_was() {
    let space = alike();
    let other = "version: 1\nname: other\nstages:\n  x: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in/a}, outputs: {o: elsewhere}}\n";
    space.write("other.yaml", other);
    // Both know both.
    for text in ["2\n", "1\n"] {
        space.write("in/a", text);
        settle(&space, "other.yaml");
        settle(&space, "pipeline.yaml");
    }
    space.write("in/a", "2\n");
    Space::let_clock_tick();
    space.madmall(["run", "other.yaml"]).success().says("from the store");
    space.madmall(["run", "pipeline.yaml"]).success();
    assert_eq!(space.read("out/a"), "2\n");
    // Whether it may be executed is seen by programs, too.
    let mut ended = Vec::new();
    for mode in [0o755, 0o644, 0o755] {
        set_mode(&space.path("in/a"), mode);
        if ended.len() < 2 {
            settle(&space, "other.yaml");
            settle(&space, "pipeline.yaml");
        } else {
            Space::let_clock_tick();
            space.madmall(["run", "other.yaml"]).success();
        }
        ended.push(receipts(&space, &["pipeline.yaml"])["a"].1.clone());
    }
    assert!(ended[0] != ended[1] && ended[0] == ended[2], "{ended:?}");
}

#[test]
fn what_this_run_signs_and_does_not_believe_is_not_known() {
    let space = alike();
    let stranger = Space::empty();
    stranger.madmall(["key"]).success();
    let policy = stranger.bytes("../config/policy.json");
    space.write("../config/policy.json", policy);
    for text in ["2\n", "2\n", "3\n"] {
        space.write("in/z", text);
        Space::let_clock_tick();
        let ended = receipts(&space, &["pipeline.yaml"]);
        assert!(ended.values().all(|(outcome, _)| outcome == "ran"), "{ended:?}");
    }
}

#[test]
fn a_secret_that_is_here_again_is_asked_about_what_was_known_without_it() {
    let space = Space::with(
        "stages: {p: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: {path: in/p, personal: true}}, outputs: {o: out/p}}}",
    );
    space.write("in/p", "yes\n");
    space.run(&[]).success();
    // Without the secret nobody can tell that this is the same.
    space.write("copy", "yes\n");
    space.write("in/z", "1\n");
    space.write(
        "other.yaml",
        "version: 1\nname: other\nstages:
  leak: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: ./copy}, outputs: {o: out/leak}}
  z: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in/z}, outputs: {o: out/z}}\n",
    );
    let (secret, aside) = (space.path("../config/consent-secret"), space.path("../secret"));
    std::fs::rename(&secret, &aside).expect("moved");
    settle(&space, "other.yaml");
    std::fs::rename(&aside, &secret).expect("moved back");
    space.write("in/z", "2\n");
    Space::let_clock_tick();
    let ran = space.madmall(["run", "other.yaml"]).code(2);
    ran.says("its receipt would name by plain digests what is personal");
}

#[test]
fn a_run_that_is_recorded_names_all_outputs_whatever_is_known() {
    let space = alike();
    space.madmall(["run", "pipeline.yaml", "--record"]).success();
    space
        .madmall(["verify", "latest"])
        .success()
        .says("out/a")
        .says("out/z");
}

#[test]
fn another_tool_is_told_of_as_long_as_it_is_another() {
    let space = begin();
    settle(&space, "pipeline.yaml");
    call(&space, "true; cp \"$1\" \"$2\"");
    for step in 0..3 {
        space.write("in/z", format!("{step}\n"));
        Space::let_clock_tick();
        space.madmall(["run", "pipeline.yaml"]).success().says("W-TOOL");
    }
}
