//! Outputs that are folders.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::time::Duration;

use serde_json::Value;

use crate::space::{Ran, Space, files_below};

/// Pages from a list of names, and what reads them.
const PAGES: &str = "stages:
  pages:
    run: |
      echo pages >> $TRACE
      mkdir -p ${outputs.p}/sub
      while read name; do echo \"$name\" > ${outputs.p}/sub/$name; done < ${inputs.names}
      echo '#!/bin/sh' > ${outputs.p}/run.sh; chmod +x ${outputs.p}/run.sh
    env: [TRACE]
    sandbox: off
    inputs: {names: names}
    outputs: {p: build/pages/}
  index:
    run: 'echo index >> $TRACE; (cd ${inputs.p}; find . -type f | sort; ls -l run.sh | cut -c1-4) > ${outputs.o}'
    env: [TRACE]
    sandbox: off
    inputs: {p: pages.p}
    outputs: {o: index}";
const INDEX: &str = "./run.sh\n./sub/a\n./sub/b\n-rwx\n";

fn pages() -> Space {
    let space = Space::with(PAGES);
    space.write("names", "a\nb\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "pages\nindex\n");
    assert_eq!(space.read("index"), INDEX);
    space
}

/// A pipeline of one stage that runs this text, with an output folder `p`.
fn writes(text: &str) -> Space {
    Space::with(&format!("stages: {{a: {{run: '{text}', outputs: {{p: out/}}}}}}"))
}

#[track_caller]
fn fails(text: &str, message: &str) {
    let space = writes(text);
    space.write("out/before", "kept");
    space.run(&[]).code(1).says(message);
    assert_eq!(
        files_below(&space.path("out")),
        ["before"],
        "the workspace is as before"
    );
    assert_eq!(space.read("out/before"), "kept");
}

/// What `verify` finds, as JSON.
fn verified(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).expect("JSON")
}

#[test]
fn a_folder_is_made_read_attested_and_up_to_date() {
    let space = pages();
    space.run(&[]).success().says("2 up to date");
    assert_eq!(space.trace(), "");
    space.madmall(["verify"]).success();
    space.madmall(["plan", "pipeline.yaml", "--check"]).success();
    let ran = space.madmall(["verify", "build/pages", "--json"]).success();
    let artifact = verified(&ran)["artifacts"][0].clone();
    assert_eq!(artifact["path"], "build/pages");
    assert!(
        artifact["dirHash"]
            .as_str()
            .is_some_and(|digest| digest.starts_with("dirHash:"))
    );
    assert!(artifact.get("sha256").is_none());
}

#[test]
fn its_dir_hash_is_what_other_tools_say() {
    let space = pages();
    let by_hand = "find build/pages -type f | LC_ALL=C sort | xargs sha256sum | sha256sum";
    let output = std::process::Command::new("sh")
        .args(["-c", by_hand])
        .current_dir(space.root())
        .output()
        .expect("sh runs");
    let expected = String::from_utf8(output.stdout).expect("UTF-8");
    let expected = format!("dirHash:{}", &expected[..64]);
    let ran = space.madmall(["verify", "build/pages", "--json"]).success();
    assert_eq!(verified(&ran)["artifacts"][0]["dirHash"], expected);
}

#[test]
fn the_same_folder_ends_a_change() {
    let space = pages();
    // Other bytes of the input, and the same pages.
    space.write("names", "a\nb\nb\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "pages\n");
    space.write("names", "a\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "pages\nindex\n");
    assert_eq!(files_below(&space.path("build/pages")), ["run.sh", "sub/a"]);
    // What is back is put back, as a whole, and nothing of it is displaced.
    space.write("names", "a\nb\n");
    space.run(&[]).success().says("2 restored");
    assert_eq!(files_below(&space.path("build/pages")), ["run.sh", "sub/a", "sub/b"]);
    assert!(!space.exists(".madmall/displaced"));
}

#[test]
fn whatever_is_done_to_it_is_noticed_and_put_back() {
    type Change = fn(&Space);
    let changes: [(&str, Change, &[&str]); 8] = [
        ("edited", |s| s.write("build/pages/sub/a", "x"), &["sub/a"]),
        ("added", |s| s.write("build/pages/sub/new", "n"), &["sub/new"]),
        ("added hidden", |s| s.write("build/pages/.x/y", "n"), &[".x/y"]),
        ("removed", |s| s.remove("build/pages/sub/b"), &[]),
        (
            "no longer executable",
            |s| {
                let mode = std::fs::Permissions::from_mode(0o644);
                std::fs::set_permissions(s.path("build/pages/run.sh"), mode).expect("own file");
            },
            &[],
        ),
        (
            "swapped by a link",
            |s| {
                s.remove("build/pages/sub/a");
                symlink("b", s.path("build/pages/sub/a")).expect("a link");
            },
            &[],
        ),
        (
            "all removed",
            |s| std::fs::remove_dir_all(s.path("build/pages")).expect("removed"),
            &[],
        ),
        (
            "another in its place",
            |s| {
                std::fs::remove_dir_all(s.path("build/pages")).expect("removed");
                s.write("build/pages/mine", "m");
            },
            &["mine"],
        ),
    ];
    for (name, change, displaced) in changes {
        let space = pages();
        Space::let_clock_tick();
        space.run(&[]).success().says("2 up to date");
        change(&space);
        space.madmall(["plan", "pipeline.yaml", "--check"]).code(3);
        let ran = space.run(&[]).success().says("build/pages from the store");
        assert_eq!(space.trace(), "", "{name}: nothing runs");
        assert_eq!(
            files_below(&space.path("build/pages")),
            ["run.sh", "sub/a", "sub/b"],
            "{name}"
        );
        space.madmall(["verify"]).success();
        let kept = files_below(&space.path(".madmall/displaced"));
        let inside: Vec<&str> = kept
            .iter()
            .filter_map(|path| path.split_once("/build/pages/").map(|(_, inside)| inside))
            .collect();
        assert_eq!(inside, displaced, "{name}");
        assert_eq!(
            ran.err.contains("no receipt of yours claims"),
            !displaced.is_empty() || name.contains("link"),
            "{name}: {}",
            ran.err
        );
        space.run(&[]).success().says("2 up to date");
    }
}

#[test]
fn a_remembered_run_looks_at_every_file_and_folder() {
    let space = pages();
    Space::let_clock_tick();
    space.run(&[]).success();
    assert_eq!(files_below(&space.path(".madmall/settled")).len(), 1);
    space.run(&["--strict"]).success().says("2 up to date");
    for file in ["build/pages/sub/new", "build/pages/.git", "build/pages/sub/a"] {
        space.write(file, "x");
        space.run(&[]).success().says("restored");
        Space::let_clock_tick();
        space.run(&[]).success().says("2 up to date");
    }
}

#[test]
fn what_no_folder_may_hold_makes_the_stage_fail() {
    fails("true", "it wrote no file into its output folder `out/`");
    fails("mkdir out/a", "it wrote no file into its output folder `out/`");
    fails("rmdir out", "it did not write its output `out`");
    fails("rmdir out; echo > out", "its output `out/` is a file, not a folder");
    fails(
        "rmdir out; ln -s /tmp out",
        "its output `out/` is a link (to `/tmp`), not a folder",
    );
    fails(
        "ln -s /etc/passwd out/a",
        "it wrote `out/a`, which is a link (to `/etc/passwd`, out of the folder or nowhere)",
    );
    fails(
        "echo > out/b; ln -s b out/a",
        "it wrote `out/a`, which is a link (to `b`): an output folder holds regular files",
    );
    fails("mkfifo out/a", "which is a special file");
    fails(
        "echo > out/a; echo > out/A",
        "is one file with `out/A` on some file systems",
    );
    fails("mkdir out/a out/A; echo > out/a/x; echo > out/A/y", "is one file with");
    fails(
        r#"echo > "out/$(printf "caf\303\251")"; echo > "out/$(printf "cafe\314\201")""#,
        "is one file with",
    );
    fails(r#"echo > "out/$(printf "\377")""#, "has a name that is not UTF-8");
    fails(
        r#"echo > "out/$(printf "a\tb")""#,
        "has a control character in its name",
    );
    fails("mkdir out/.git; echo > out/.git/x", "has a name that is git");
    fails(
        "echo > out/a; echo > other",
        "it wrote `other`, which it does not declare",
    );
}

#[test]
fn what_the_program_made_read_only_is_taken_all_the_same() {
    let space = writes("mkdir out/a; echo 1 > out/a/b; chmod 400 out/a/b; chmod 500 out/a");
    space.run(&[]).success();
    assert_eq!(space.read("out/a/b"), "1\n");
    space.write("out/a/b", "x");
    space.run(&[]).success().says("restored");
    assert_eq!(space.read("out/a/b"), "1\n");
}

#[test]
fn patterns_and_folders_do_not_look_into_it() {
    let space = Space::with(
        "stages:
  a: {run: 'echo 1 > ${outputs.p}/a.txt', outputs: {p: all/made/}}
  b: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: 'all/**/*.txt'}, outputs: {o: b}}",
    );
    space.write("all/mine.txt", "2\n");
    for _ in 0..2 {
        space.run(&[]).success();
        assert_eq!(space.read("b"), "2\n");
    }
}

#[test]
fn odd_names_are_taken_as_they_are() {
    let space = writes(r##"cd out; for name in " a b" "\$(x)" "é" "*" "-n" "a#" ; do echo x > "./$name"; done"##);
    space.run(&[]).success();
    space.run(&[]).success().says("1 up to date");
    space.madmall(["verify"]).success();
    std::fs::remove_dir_all(space.path("out")).expect("removed");
    space.run(&[]).success().says("restored");
    assert_eq!(files_below(&space.path("out")).len(), 6);
}

#[test]
fn a_failing_stage_leaves_the_folder_as_it_was() {
    let space = pages();
    let before = files_below(&space.path("build"));
    space.pipeline(&PAGES.replace("echo '#!", "exit 3; echo '#!"));
    space.run(&[]).code(1);
    assert_eq!(files_below(&space.path("build")), before);
}

#[test]
fn a_folder_for_each_value() {
    let space = Space::with(
        "stages:
  a:
    matrix: {n: [1, 2]}
    run: 'echo ${matrix.n} > ${outputs.p}/x'
    outputs: {p: 'out/${matrix.n}/'}
  all: {run: 'cat out/*/x > ${outputs.o}', inputs: {p: a}, outputs: {o: all}}",
    );
    space.run(&[]).success();
    assert_eq!(space.read("all"), "1\n2\n");
    space.madmall(["verify"]).success();
}

#[test]
fn a_folder_is_read_by_its_path_too_and_by_a_built_in() {
    let space = Space::with(
        "stages:
  a: {run: 'echo 1 > ${outputs.p}/x', outputs: {p: out/}}
  b: {run: 'cat ${inputs.i}/x > ${outputs.o}', inputs: {i: out}, outputs: {o: b}}
  c: {argv: [cat, '${inputs.i}/x'], stdout: o, inputs: {i: ./out/}, outputs: {o: c}}",
    );
    space.run(&[]).success();
    assert_eq!((space.read("b"), space.read("c")), ("1\n".to_owned(), "1\n".to_owned()));
}

#[test]
fn definitions_say_that_an_output_is_a_folder() {
    let definition =
        |folder: &str| format!("version: 1\nname: d\nrun: 'echo 1 > ${{outputs.p}}/x'\noutputs: {{p: {{{folder}}}}}\n");
    let space = Space::with("stages: {a: {uses: stages/d.yaml, outputs: {p: out/}}}");
    space.write("stages/d.yaml", definition("folder: true"));
    space.run(&[]).success();
    assert_eq!(space.read("out/x"), "1\n");
    space.write("stages/d.yaml", definition(""));
    space
        .run(&[])
        .code(2)
        .says("the output `p` of `stages/d.yaml` is a file")
        .says("`folder: true`");
    space.write("stages/d.yaml", definition("folder: true"));
    space.pipeline("stages: {a: {uses: stages/d.yaml, outputs: {p: out}}}");
    space
        .run(&[])
        .code(2)
        .says("the output `p` of `stages/d.yaml` is a folder")
        .says("`out/`");
}

#[test]
fn a_program_that_fills_the_folder_anew_sees_none_of_the_old() {
    let space = Space::with(
        "stages: {a: {run: 'n=$(ls ${outputs.p} | wc -l); echo $n > ${outputs.p}/count', inputs: {i: in}, outputs: {p: out/}}}",
    );
    for text in ["1", "2"] {
        space.write("in", text);
        space.write("out/left", text);
        space.run(&[]).success();
        assert_eq!(space.read("out/count").trim(), "0");
        assert_eq!(files_below(&space.path("out")), ["count"]);
    }
}

#[test]
fn status_clean_and_gc_know_folders() {
    let space = pages();
    space.write("build/pages/sub/a", "x");
    space.madmall(["status"]).says("build/pages was edited");
    space
        .madmall(["clean", "--yes"])
        .success()
        .says("no receipt that you believe claims its bytes");
    space.run(&[]).success();
    // One more file, which would be lost.
    space.write("build/pages/mine", "m");
    space.madmall(["clean", "--yes"]).success().says("build/pages  stays");
    assert!(space.exists("build/pages/mine"));
    space.remove("build/pages/mine");
    space.madmall(["clean", "--yes"]).success().says("build/pages");
    assert!(!space.exists("build/pages") && !space.exists("index"));
    space
        .madmall(["gc", "--yes", "--keep-last", "1"])
        .success()
        .says("freed: 0 objects");
    space.run(&[]).success().says("2 restored");
    assert_eq!(files_below(&space.path("build/pages")), ["run.sh", "sub/a", "sub/b"]);

    // Of runs that nobody needs any more nothing is kept, and the listing goes with its files.
    for names in ["c\n", "d\n"] {
        space.write("names", names);
        space.run(&[]).success();
    }
    assert_eq!(files_below(&space.path(".madmall/trees")).len(), 3);
    space.madmall(["gc", "--yes", "--keep-last", "1"]).success();
    assert_eq!(files_below(&space.path(".madmall/trees")).len(), 1);
    space.madmall(["fsck"]).success();
    space.run(&[]).success().says("2 up to date");
}

#[test]
fn what_no_pipeline_makes_any_more_is_an_orphan() {
    let space = pages();
    space.pipeline(&PAGES.replace("build/pages/", "build/other/"));
    space.run(&[]).success();
    space.madmall(["status"]).says("build/pages");
    // Another pipeline's output in an old folder keeps it.
    space.write(
        "pipelines/two.yaml",
        "version: 1\nname: two\nstages: {a: {run: 'echo 1 > ${outputs.o}', outputs: {o: build/pages/x}}}\n",
    );
    let kept = space.madmall(["clean", "--orphans"]).success();
    assert!(!kept.out.contains("build/pages"), "{}", kept.out);
    space.remove("pipelines/two.yaml");
    space
        .madmall(["clean", "--orphans", "--yes"])
        .success()
        .says("build/pages");
    assert!(!space.exists("build/pages"));
    assert!(space.exists("build/other/run.sh"));
}

#[test]
fn a_damaged_store_is_noticed_and_made_again() {
    let space = pages();
    for file in files_below(&space.path(".madmall/trees")) {
        let file = format!(".madmall/trees/{file}");
        space.write(&file, space.read(&file).replace(" - ", " x "));
    }
    space.madmall(["fsck"]).code(4).says("E-OBJECT");
    space.run(&[]).success().says("2 up to date");
    std::fs::remove_dir_all(space.path("build/pages")).expect("removed");
    space.run(&[]).success();
    assert_eq!(space.trace(), "pages\n");
    space.madmall(["fsck"]).success();
    space.madmall(["verify"]).success();

    // An object of it that is damaged is not put in place.
    let digest = madmall::digest::Digest::of(b"a\n").to_hex();
    let object = space.path(&format!(".madmall/cas/{}/{}", &digest[..2], &digest[2..]));
    std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o644)).expect("own file");
    std::fs::write(&object, "b").expect("written");
    std::fs::remove_dir_all(space.path("build/pages")).expect("removed");
    space.run(&[]).success();
    assert_eq!(space.trace(), "pages\n");
    assert_eq!(space.read("build/pages/sub/a"), "a\n");
}

#[test]
fn it_is_made_again_bit_for_bit_and_the_file_that_differs_is_named() {
    let space = pages();
    let name = space.receipt_files().pop().expect("a run");
    let run = name.strip_suffix(".intoto.jsonl").expect("a run's file");
    space
        .madmall(["rerun", run])
        .success()
        .says("identical     pages")
        .says("identical     index");

    let space = Space::with(
        "stages:
  a: {run: 'echo 1 > ${outputs.p}/same; mktemp -u XXXXXXXXXX > ${outputs.p}/other.txt', outputs: {p: out/}}
  b: {run: 'cat ${inputs.p}/same > ${outputs.o}', inputs: {p: a}, outputs: {o: b}}",
    );
    space.run(&[]).success();
    let name = space.receipt_files().pop().expect("a run");
    let run = name.strip_suffix(".intoto.jsonl").expect("a run's file");
    // The stage after it gets what was recorded.
    space
        .madmall(["rerun", run])
        .code(5)
        .says("`out/other.txt`: byte ")
        .says("identical     b");
}

#[test]
fn a_bundle_takes_it_along() {
    let space = pages();
    let run = space.receipt_files().pop().expect("a run");
    let run = run.strip_suffix(".intoto.jsonl").expect("a run's file");
    space
        .madmall(["bundle", run, "--artifacts", "-o", "all.tar.zst"])
        .success();
    let ran = space.madmall(["verify", "all.tar.zst"]).success();
    assert!(ran.out.contains("held:        signature, subject"), "{}", ran.out);
    space
        .madmall(["bundle", run, "--artifact", "build/pages/", "-o", "one.tar.zst"])
        .success();
    space.madmall(["verify", "one.tar.zst"]).success().says("build/pages");
    // From the store, when it is not in place.
    std::fs::remove_dir_all(space.path("build/pages")).expect("removed");
    space
        .madmall(["bundle", run, "--artifact", "build/pages", "-o", "two.tar.zst"])
        .success();
    space.madmall(["verify", "two.tar.zst"]).success().says("build/pages");
}

#[test]
fn what_is_on_the_commit_is_verified_by_content() {
    let space = pages();
    space.write(".gitignore", "build\nindex\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "first"]);
    space.madmall(["verify", "--at", "HEAD"]).success();
    space.write("build/pages/sub/a", "x");
    space
        .madmall(["verify", "--at", "HEAD"])
        .code(4)
        .says("`build/pages/sub/a` has other bytes");
}

#[test]
fn an_old_receipt_of_a_folder_is_an_older_one() {
    let space = pages();
    space.write("names", "c\n");
    // Receipts have whole seconds: the next run is to be later.
    std::thread::sleep(Duration::from_millis(1100));
    space.run(&[]).success();
    space.write("names", "a\nb\n");
    space.run(&[]).success().says("restored");
    space.madmall(["verify"]).success().says("W-OLDER");
}

#[test]
fn an_output_whose_place_another_one_took_is_not_here_and_was_not_changed() {
    let writes =
        |text: &str, path: &str| format!("stages: {{a: {{run: '{text}', inputs: {{i: in}}, outputs: {{o: {path}}}}}}}");
    let space = Space::with(&writes("cat ${inputs.i} > ${outputs.o}", "out/a"));
    space.write("in", "1\n2\n3\n");
    space.run(&[]).success();
    let moves = [
        (
            "cat ${inputs.i} > ${outputs.o}",
            "out/a/x",
            "`out/a` is not here: `out/a/x` is in its place",
        ),
        (
            "head -n 1 ${inputs.i} > ${outputs.o}/x",
            "out/a/",
            "`out/a/x` is not here: `out/a` is in its place",
        ),
        (
            "head -n 2 ${inputs.i} > ${outputs.o}/y",
            "out/a/v/",
            "`out/a` is not here: `out/a/v` is in its place",
        ),
        (
            "mkdir ${outputs.o}/a; tail -n 1 ${inputs.i} > ${outputs.o}/a/x",
            "out/",
            "`out/a/x` is not here: `out` is in its place",
        ),
    ];
    for (text, path, message) in moves {
        std::fs::remove_dir_all(space.path("out")).expect("removed");
        space.pipeline(&writes(text, path));
        // Receipts have whole seconds: the next run is to be later.
        std::thread::sleep(Duration::from_millis(1100));
        space.run(&[]).success();
        let verified = space.madmall(["verify"]).success();
        assert!(verified.out.contains(message), "{}", verified.out);
        assert!(!verified.out.contains("W-OLDER"), "{}", verified.out);
    }
    space
        .madmall(["verify", "out/a/x"])
        .code(6)
        .says("`out` is in its place");
}

#[test]
fn what_lies_beside_an_output_in_the_place_of_a_folder_is_claimed_or_was_changed() {
    let space =
        Space::with("stages: {a: {run: 'echo 1 > ${outputs.o}/x; echo 2 > ${outputs.o}/y', outputs: {o: out/}}}");
    space.run(&[]).success();
    space.pipeline("stages: {a: {run: 'echo 3 > ${outputs.o}', outputs: {o: out/sub/x}}}");
    std::thread::sleep(Duration::from_millis(1100));
    space.run(&[]).success();
    // What the folder held before lies there still.
    space
        .madmall(["verify"])
        .success()
        .says("`out` is not here: `out/sub/x` is in its place");
    space.write("out/y", "edited\n");
    space.madmall(["verify"]).code(4).says("`out/y` has other bytes");
    space.write("out/y", "2\n");
    space.write("out/new", "2\n");
    space.madmall(["verify"]).code(4).says("`out/new` was added");
    std::fs::remove_file(space.path("out/new")).expect("removed");
    space.write("out/sub/x", "edited\n");
    space.madmall(["verify"]).code(4);
    space.write("out/sub/x", "3\n");
    // Back to the folder, which is put back; the later receipt is of the other one.
    space.pipeline("stages: {a: {run: 'echo 1 > ${outputs.o}/x; echo 2 > ${outputs.o}/y', outputs: {o: out/}}}");
    space.run(&[]).success();
    space.madmall(["verify"]).success();
    space.write("out/y", "edited\n");
    space.madmall(["verify"]).code(4).says("`out/y` has other bytes");
}

/// A folder of which there are two versions, where another output was before.
fn twice_made_where_another_output_was() -> Space {
    let folder = |x: u8, y: u8| {
        format!(
            "stages: {{a: {{run: 'echo {x} > ${{outputs.o}}/x; echo {y} > ${{outputs.o}}/y', outputs: {{o: out/}}}}}}"
        )
    };
    let space = Space::with("stages: {a: {run: 'echo old > ${outputs.o}', outputs: {o: out/sub/z}}}");
    space.run(&[]).success();
    for text in [folder(1, 2), folder(3, 4)] {
        std::thread::sleep(Duration::from_millis(1100));
        space.pipeline(&text);
        space.run(&[]).success();
    }
    space.madmall(["verify"]).success().says_not("W-OLDER");
    space
}

#[test]
fn an_output_of_another_time_hides_no_change_beside_it() {
    let space = twice_made_where_another_output_was();
    space.write("out/sub/z", "old\n");
    space
        .madmall(["verify"])
        .success()
        .says("W-OLDER")
        .says("`out` is not here: `out/sub/z` is in its place");
    // Of one version some, of the other the rest; and a part of one.
    space.write("out/y", "2\n");
    space.madmall(["verify"]).code(4).says("`out/y` has other bytes");
    space.remove("out/y");
    space.madmall(["verify"]).code(4).says("`out/y` is missing");
    // A folder in which something is no file is not compared by its listing.
    space.write("out/y", "edited\n");
    std::os::unix::fs::symlink("y", space.path("out/link")).expect("linked");
    space.madmall(["verify"]).code(4).says("E-FILE").says("`out/link`");
    space.remove("out/link");
    std::fs::rename(space.path("out"), space.path("other")).expect("renamed");
    std::os::unix::fs::symlink("other", space.path("out")).expect("linked");
    space
        .madmall(["verify"])
        .code(4)
        .says("is a symbolic link, not a folder");
}

#[test]
fn an_output_whose_place_another_one_took_is_not_what_a_commit_gives() {
    let space = twice_made_where_another_output_was();
    space.write(".gitignore", ".madmall\nout\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "folder"]);
    let at = || space.madmall(["verify", "--at", "HEAD"]);
    at().success();
    space.write("out/sub/z", "old\n");
    at().code(4).says("E-PIPELINE").says("`out`");
    // Where it was moved, the commit before has it elsewhere.
    space.pipeline("stages: {a: {run: 'echo new > ${outputs.o}', outputs: {o: out/v1/z}}}");
    space.git(&["commit", "-q", "-am", "moved"]);
    std::fs::remove_dir_all(space.path("out")).expect("removed");
    space.run(&[]).success();
    at().success();
    space.madmall(["verify", "--at", "HEAD~1"]).code(4).says("E-PIPELINE");
}

#[test]
fn what_lies_beside_an_output_in_a_folder_counts_as_here() {
    let space = Space::with("stages: {a: {run: 'echo old > ${outputs.o}', outputs: {o: out/sub/z}}}");
    space.write(".gitignore", ".madmall\nout\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "first"]);
    space.run(&[]).success();
    std::thread::sleep(Duration::from_millis(1100));
    space.pipeline("stages: {a: {run: 'echo 1 > ${outputs.o}/x', outputs: {o: out/}}}");
    space.run(&[]).success();
    let is_clean = || space.madmall(["verify", "--require-clean"]);
    is_clean().code(4).says("E-UNCOMMITTED");
    space.write("out/sub/z", "old\n");
    is_clean().code(4).says("E-UNCOMMITTED");
    space.remove("out/x");
    is_clean().success();
}

#[test]
fn a_run_that_is_killed_leaves_the_old_folder_none_or_the_new_one() {
    let space = Space::with(
        "stages: {a: {run: 'for i in $(seq 400); do cat ${inputs.i} > ${outputs.p}/$i; done', inputs: {i: in}, outputs: {p: out/}}}",
    );
    space.write("in", "0\n");
    space.run(&[]).success();
    for kill in 1..24_u64 {
        space.write("in", format!("{kill}\n"));
        let mut child = space.begin(["run", "pipeline.yaml"]);
        std::thread::sleep(Duration::from_millis(kill * 29 % 640));
        let _ = child.kill();
        child.wait().expect("it ends");
        let files = files_below(&space.path("out"));
        assert!(files.is_empty() || files.len() == 400, "{} files", files.len());
        if let Some(first) = files.first() {
            let first = space.read(&format!("out/{first}"));
            assert!(files.iter().all(|file| space.read(&format!("out/{file}")) == first));
        }
    }
    space.run(&[]).success();
    assert_eq!(space.read("out/400"), "23\n");
    space.madmall(["verify"]).success();
    assert!(files_below(&space.path(".madmall/scratch")).is_empty());
}

#[test]
fn a_folder_that_is_moved_and_moved_back_is_not_made_again() {
    let writes_to = |path: &str| {
        format!(
            "stages: {{a: {{run: 'echo a >> $TRACE; echo 1 > ${{outputs.o}}/x', env: [TRACE], sandbox: off, outputs: {{o: {path}}}}}}}"
        )
    };
    let space = Space::with(&writes_to("out/"));
    space.run(&[]).success();
    space.pipeline(&writes_to("out/v1/"));
    space.run(&[]).success();
    assert_eq!(space.trace(), "a\na\n");
    space.pipeline(&writes_to("out/"));
    space.run(&[]).success();
    assert_eq!(space.trace(), "");
    assert_eq!(space.read("out/x"), "1\n");
}
