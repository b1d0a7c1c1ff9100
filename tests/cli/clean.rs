//! `madmall clean`.

use std::process::Command;

use serde_json::Value;

use crate::space::{Space, files_below};

const TWO: &str = "stages:
  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}";

fn space() -> Space {
    let space = Space::with(TWO);
    space.write("in", "1\n");
    space.run(&[]).success();
    space
}

#[test]
fn outputs_that_can_be_put_back_are_removed_only_if_that_is_said() {
    let space = space();
    let before = space.snapshot();
    space
        .madmall(["clean", "pipeline.yaml"])
        .success()
        .says("would remove 2 outputs, 6 B; --yes does it");
    space.is_as(&before);
    space
        .madmall(["clean", "pipeline.yaml", "--yes"])
        .success()
        .says("removed 2 outputs, 6 B\n");
    assert!(!space.exists("out/a") && !space.exists("out/b") && space.exists("in"));
    space.run(&[]).success().says("2 restored");
    assert_eq!(space.read("out/b"), "1\n1\n");
    space.madmall(["clean"]).success().says("would remove 2 outputs");
}

#[test]
fn bytes_that_nobody_claims_or_that_the_store_lacks_stay() {
    let space = space();
    space.write("out/a", "mine");
    std::fs::remove_dir_all(space.path(".madmall/cas")).expect("removed");
    space
        .madmall(["clean", "--yes"])
        .success()
        .says("out/a  stays: no receipt that you believe claims its bytes\n")
        .says("out/b  stays: the store does not have its bytes\n")
        .says("nothing to remove");
    assert!(space.exists("out/a") && space.exists("out/b"));
}

#[test]
fn an_object_that_is_damaged_puts_nothing_back() {
    let space = space();
    for file in crate::space::files_below(&space.path(".madmall/cas")) {
        let path = space.path(&format!(".madmall/cas/{file}"));
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "other").expect("written");
    }
    space.madmall(["clean", "--yes"]).success().says("nothing to remove");
    assert!(space.exists("out/a") && space.exists("out/b"));
}

#[test]
fn a_link_in_an_outputs_place_or_on_the_way_stays() {
    let space = space();
    std::fs::rename(space.path("out"), space.path("elsewhere")).expect("moved");
    std::os::unix::fs::symlink("elsewhere", space.path("out")).expect("made");
    space.madmall(["clean", "--yes"]).code(2).says("cannot be read");
    std::fs::remove_file(space.path("out")).expect("removed");
    std::fs::create_dir(space.path("out")).expect("made");
    std::os::unix::fs::symlink("../elsewhere/a", space.path("out/a")).expect("made");
    space.madmall(["clean", "--yes"]).says_not("removed");
    assert!(space.exists("elsewhere/a") && space.path("out/a").is_symlink());
}

#[test]
fn orphans_are_removed_unless_they_were_edited_or_are_read_now() {
    let space = space();
    let only_a = TWO
        .lines()
        .filter(|line| !line.starts_with("  b:"))
        .collect::<Vec<_>>()
        .join("\n");
    space.pipeline(&only_a);
    space
        .madmall(["clean", "--orphans"])
        .success()
        .says("out/b  4 B, of `b`")
        .says("would remove 1 output, 4 B");
    assert!(space.exists("out/b"));
    space.pipeline(&format!(
        "{only_a}\n  c: {{run: 'cp ${{inputs.i}} ${{outputs.o}}', inputs: {{i: out/b}}, outputs: {{o: out/c}}}}"
    ));
    space
        .madmall(["clean", "--orphans", "--yes"])
        .success()
        .says("nothing to remove");
    space.pipeline(&only_a);
    let bytes = space.read("out/b");
    space.write("out/b", "mine");
    space
        .madmall(["clean", "--orphans", "--yes"])
        .success()
        .says("out/b  stays: no receipt that you believe claims its bytes");
    space.write("out/b", bytes);
    let ran = space.madmall(["clean", "--orphans", "--yes", "--json"]).success();
    let found: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!(
        (&found["outputs"][0]["path"], &found["outputs"][0]["removed"]),
        (&"out/b".into(), &true.into())
    );
    assert!(!space.exists("out/b") && space.exists("out/a"));
}

#[test]
fn a_pipeline_with_mistakes_may_make_anything() {
    let space = space();
    space.write("pipelines/broken.yaml", "version: 1\n");
    space
        .madmall(["clean", "--orphans", "--yes"])
        .code(2)
        .says("`pipelines/broken.yaml` cannot be read, so it is not known what it makes");
    space.madmall(["clean", "--yes"]).code(2);
    assert!(space.exists("out/a") && space.exists("out/b"));
    space
        .madmall(["clean", "pipeline.yaml", "--yes"])
        .success()
        .says("removed 2 outputs");
}

#[test]
fn what_two_pipelines_include_is_removed_once() {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("in", "1\n");
    space.write(
        "parts/common.yaml",
        "version: 1\nstages:\n  a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}\n",
    );
    for name in ["p", "r"] {
        let text = format!(
            "version: 1\nname: {name}\ninclude: [parts/common.yaml]\nstages:\n  {name}: {{run: 'cat ${{inputs.i}} ${{inputs.i}} > ${{outputs.o}}', inputs: {{i: a}}, outputs: {{o: out/{name}}}}}\n"
        );
        let file = format!("pipelines/{name}.yaml");
        space.write(&file, text);
        space.madmall(["run", &file]).success();
    }
    let shown = space.madmall(["clean"]).success().says("would remove 3 outputs, 10 B;");
    assert_eq!(shown.out.matches("out/a ").count(), 1, "{}", shown.out);
    let removed = space.madmall(["clean", "--yes"]).success();
    removed.says("removed 3 outputs, 10 B").says_not("changed meanwhile");
    assert!(!space.exists("out/a"));
}

#[test]
fn an_output_folder_goes_as_a_whole_or_stays() {
    let probe = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        return;
    }
    let space =
        Space::with("stages: {a: {run: 'for n in 1 2 3 4; do echo $n > ${outputs.d}/$n; done', outputs: {d: out/a/}}}");
    space.run(&[]).success();
    for call in 1..8 {
        let own = space.command(["clean", "pipeline.yaml", "--yes"]);
        let kill = format!("inject=unlinkat:signal=SIGKILL:when={call}");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat", "-e", &kill]);
        strace.arg(own.get_program()).args(own.get_args());
        strace.current_dir(space.root()).env_clear();
        strace.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
        strace.output().expect("it ran a moment ago");
        let is_whole = space.path("out/a/4").exists();
        space
            .madmall(["verify"])
            .code(if is_whole { 0 } else { 6 })
            .says_not("E-DIGEST");
        space.run(&[]).success();
        assert_eq!(files_below(&space.path("out/a")), ["1", "2", "3", "4"]);
    }
}
