//! What makes a stage run, and what does not.

use std::time::{Duration, SystemTime};

use crate::space::Space;

/// Three stages in a row: `a` drops comments, `b` and `c` copy. Each leaves its name in the trace.
const CHAIN: &str = "stages:
  a:
    run: 'echo a >> $TRACE; grep -v \"^#\" ${inputs.i} > ${outputs.o}'
    env: [TRACE]
    sandbox: off
    inputs: {i: in}
    outputs: {o: out/a}
  b: {run: 'echo b >> $TRACE; cp ${inputs.i} ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: a.o}, outputs: {o: out/b}}
  c: {run: 'echo c >> $TRACE; cp ${inputs.i} ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: b}, outputs: {o: out/c}}";

fn chain() -> Space {
    let space = Space::with(CHAIN);
    space.write("in", "1\n2\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "a\nb\nc\n");
    assert_eq!(space.read("out/c"), "1\n2\n");
    space
}

#[test]
fn an_unchanged_stage_is_not_run_again_and_nothing_is_written() {
    let space = chain();
    Space::let_clock_tick();
    space.run(&[]).success().says("3 up to date");
    let before = space.snapshot();
    space.run(&[]).success().says("3 up to date");
    assert_eq!(space.trace(), "");
    space.is_as(&before);
}

#[test]
fn touching_a_file_without_changing_it_runs_nothing() {
    let space = chain();
    let file = std::fs::File::options()
        .write(true)
        .open(space.path("in"))
        .expect("opened");
    file.set_modified(SystemTime::now() + Duration::from_secs(60))
        .expect("touched");
    space.run(&[]).success();
    assert_eq!(space.trace(), "");
}

#[test]
fn a_change_runs_what_depends_on_it_and_stops_where_outputs_are_as_before() {
    let space = chain();
    space.write("in", "1\n3\n");
    space.run(&[]).success().says("input `i` changed: in ");
    assert_eq!(space.trace(), "a\nb\nc\n");

    space.write("in", "# a comment\n1\n3\n");
    space.run(&[]).success().says("its outputs are as before");
    assert_eq!(space.trace(), "a\n");
}

#[test]
fn an_edit_that_puts_size_and_mtime_back_runs() {
    let space = chain();
    space.run(&[]).success();
    let modified = std::fs::metadata(space.path("in"))
        .expect("found")
        .modified()
        .expect("a time");
    space.write("in", "1\n4\n");
    let file = std::fs::File::options()
        .write(true)
        .open(space.path("in"))
        .expect("opened");
    file.set_modified(modified).expect("put back");
    space.run(&[]).success();
    assert_eq!(space.trace(), "a\nb\nc\n");
}

#[test]
fn renaming_a_stage_and_editing_a_comment_run_nothing_and_write_nothing() {
    let space = chain();
    space.run(&[]).success();
    let before = space.receipt_files();
    space.pipeline(&format!(
        "# a comment\n{}",
        CHAIN.replace("a.o", "first.o").replace("  a:\n", "  first:\n")
    ));
    space.run(&[]).success().says("3 up to date");
    assert_eq!(space.trace(), "");
    assert_eq!(space.receipt_files(), before);
}

#[test]
fn a_new_commit_runs_nothing_and_writes_nothing() {
    let space = chain();
    space.git(&["init", "-q"]);
    space.git(&["add", "in", "pipeline.yaml", "runs"]);
    space.git(&["commit", "-q", "-m", "one"]);
    Space::let_clock_tick();
    space.run(&[]).success();
    let before = space.snapshot();
    space.git(&["commit", "-q", "--allow-empty", "-m", "two"]);
    space.run(&[]).success().says("3 up to date");
    assert_eq!(space.trace(), "");
    space.is_as(&before);
    assert_eq!(space.git(&["status", "--porcelain", "runs"]), "");
}

#[test]
fn a_deleted_output_is_put_back_without_running() {
    let space = chain();
    space.remove("out/b");
    space.run(&[]).success().says("out/b from the store");
    assert_eq!(space.trace(), "");
    assert_eq!(space.read("out/b"), "1\n2\n");
}

#[test]
fn an_output_edited_by_hand_is_kept_aside_and_put_right() {
    let space = chain();
    space.write("out/a", "mine\n");
    let ran = space
        .run(&[])
        .success()
        .says("`out/a` held bytes that no receipt of yours claims");
    assert_eq!(space.trace(), "");
    assert_eq!(space.read("out/a"), "1\n2\n");
    assert_eq!(space.read("out/c"), "1\n2\n");
    let kept = ran
        .err
        .split('`')
        .find(|part| part.starts_with(".madmall/displaced/"))
        .expect("named")
        .to_owned();
    assert_eq!(space.read(&kept), "mine\n");
}

#[test]
fn without_the_store_a_stage_whose_output_is_gone_runs_again() {
    let space = chain();
    std::fs::remove_dir_all(space.path(".madmall")).expect("removed");
    space.run(&[]).success().says("3 up to date");
    space.remove("out/c");
    space
        .run(&[])
        .success()
        .says("output `out/c` is neither in place nor in the store");
    assert_eq!(space.trace(), "c\n");
}

#[test]
fn a_going_back_is_found_in_the_store() {
    let space = chain();
    space.write("in", "5\n");
    space.run(&[]).success();
    space.write("in", "1\n2\n");
    space.trace();
    space.run(&[]).success().says("3 restored");
    assert_eq!(space.trace(), "");
    assert_eq!(space.read("out/c"), "1\n2\n");
}

#[test]
fn a_changed_command_variable_or_output_runs_and_says_why() {
    let mut space = chain();
    space.pipeline(&CHAIN.replace(
        "cp ${inputs.i} ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: b}",
        "cat ${inputs.i} > ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: b}",
    ));
    space.run(&[]).success().says("command changed: ");
    assert_eq!(space.trace(), "c\n");

    space.pipeline(&CHAIN.replace("out/c", "out/d"));
    space.run(&[]).success().says("outputs changed: out/c → out/d");
    assert_eq!(space.trace(), "c\n");

    let elsewhere = space.path("../other trace").into_string();
    space.set("TRACE", &elsewhere);
    space.run(&[]).success().says("variable `TRACE` changed");
}

#[test]
fn force_runs_the_selected_stages_and_what_they_read_from() {
    let space = chain();
    space.run(&["--force", "b"]).success().says("forced");
    assert_eq!(space.trace(), "a\nb\n");
}

#[test]
fn receipts_of_another_key_are_not_believed_and_equal_outputs_confirm_them() {
    let mut space = chain();
    let other = space.path("../other-config").into_string();
    space.set("MADMALL_CONFIG_DIR", &other);
    let ran = space.run(&[]).success().says("run only by others");
    assert_eq!(ran.err.matches("confirmed").count(), 1, "{}", ran.err);
    ran.says("`a` and 2 more stages gave the same outputs as for the key ");
    assert_eq!(space.trace(), "a\nb\nc\n");
    space.run(&[]).success().says("3 up to date");
}

#[test]
fn another_output_for_the_same_action_is_said() {
    let mut space = Space::with("stages: {a: {run: 'date +%N > ${outputs.o}', outputs: {o: out}}}");
    space.run(&[]).success();
    let other = space.path("../other-config").into_string();
    space.set("MADMALL_CONFIG_DIR", &other);
    space.run(&[]).success().says("W-DIVERGED");
}

#[test]
fn a_stat_cache_or_index_that_somebody_wrote_is_dropped() {
    let space = chain();
    space.run(&[]).success();
    for file in [".madmall/stat-cache", ".madmall/believed"] {
        let mut bytes = space.bytes(file);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        space.write(file, bytes);
    }
    space.run(&[]).success().says("3 up to date");
    assert_eq!(space.trace(), "");
}

#[test]
fn a_damaged_object_is_not_restored_but_made_again() {
    let space = chain();
    let object = crate::space::files_below(&space.path(".madmall/cas")).remove(0);
    for name in crate::space::files_below(&space.path(".madmall/cas")) {
        let path = space.path(".madmall/cas").join(name);
        let mut permissions = std::fs::metadata(&path).expect("found").permissions();
        #[expect(
            clippy::permissions_set_readonly_false,
            reason = "the test damages what is read-only"
        )]
        permissions.set_readonly(false);
        std::fs::set_permissions(&path, permissions).expect("set");
        std::fs::write(&path, "damaged").expect("written");
    }
    assert!(!object.is_empty());
    space.remove("out/c");
    space.run(&[]).success();
    assert_eq!(space.read("out/c"), "1\n2\n");
    assert_eq!(space.trace(), "c\n");
}

/// Layers of this many stages, each of which reads two of the layer before.
const WIDTH: usize = 40;
const LAYERS: usize = 3;

/// Stages in layers: the first takes the first lines of two sources, all others copy.
fn layers() -> Space {
    let mut stages = "stages:\n".to_owned();
    for layer in 1..=LAYERS {
        for at in 0..WIDTH {
            let program = if layer == 1 { "head, -qn1" } else { "cat" };
            let read = |at: usize| match layer {
                1 => format!("src/{at}"),
                _ => format!("out/l{}_{at}", layer - 1),
            };
            let (one, two) = (read(at), read((at + 1) % WIDTH));
            stages += &format!(
                "  l{layer}_{at}: {{argv: [{program}, '${{inputs.i}}', '${{inputs.j}}'], stdout: o, inputs: {{i: {one}, j: {two}}}, \
                 outputs: {{o: out/l{layer}_{at}}}}}\n"
            );
        }
    }
    let space = Space::with(&stages);
    (0..WIDTH).for_each(|at| space.write(&format!("src/{at}"), format!("{at}\nmore\n")));
    space
}

/// Runs. Gives each stage and how it ended, in the order in which that was said.
fn ended(space: &Space) -> Vec<(String, String)> {
    let ran = space.run(&["--json", "-j", "2"]).success();
    let events = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let finished = events.filter(|event: &serde_json::Value| event["event"] == "stageFinished");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    finished
        .map(|event| (text(&event["stage"]), text(&event["outcome"])))
        .collect()
}

/// The stages that read from `source`, by way of others or not, in as many layers.
fn downstream(source: usize, layers: usize) -> Vec<String> {
    let of_layer = |layer: usize| (0..=layer).map(move |back| format!("l{layer}_{}", (source + WIDTH - back) % WIDTH));
    let mut all: Vec<String> = (1..=layers).flat_map(of_layer).collect();
    all.sort();
    all
}

#[test]
fn of_many_stages_those_run_that_read_what_changed_and_each_is_told_after_those_it_reads_from() {
    let space = layers();
    let ran = |ended: &[(String, String)]| {
        let ran = ended.iter().filter(|(_, outcome)| outcome == "ran");
        let mut ran: Vec<String> = ran.map(|(stage, _)| stage.clone()).collect();
        ran.sort();
        ran
    };
    let is_in_order = |ended: &[(String, String)]| {
        let place = |stage: &str| ended.iter().position(|(name, _)| name == stage).expect("it is told");
        (2..=LAYERS).all(|layer| {
            (0..WIDTH).all(|at| {
                let own = place(&format!("l{layer}_{at}"));
                let before = |at: usize| place(&format!("l{}_{}", layer - 1, at % WIDTH));
                own > before(at) && own > before(at + 1)
            })
        })
    };
    let first = ended(&space);
    assert_eq!(first.len(), LAYERS * WIDTH);
    assert!(is_in_order(&first) && first.iter().all(|(_, outcome)| outcome == "ran"));

    for source in [0, WIDTH / 2] {
        Space::let_clock_tick();
        space.write(&format!("src/{source}"), format!("changed {source}\nmore\n"));
        let after = ended(&space);
        assert_eq!(ran(&after), downstream(source, LAYERS));
        assert!(after.len() == LAYERS * WIDTH && is_in_order(&after), "{after:?}");

        // Beyond the first line.
        Space::let_clock_tick();
        space.write(&format!("src/{source}"), format!("changed {source}\nother\n"));
        let after = ended(&space);
        assert_eq!(ran(&after), downstream(source, 1));
        assert!(after.len() == LAYERS * WIDTH && is_in_order(&after), "{after:?}");
        // The run's receipt names what those have made, too, that did not run.
        space.madmall(["verify"]).success();
    }
    Space::let_clock_tick();
    space.remove("out/l2_7");
    space.write("out/l1_9", "by hand\n");
    let after = ended(&space);
    assert_eq!((ran(&after), after.len()), (Vec::new(), LAYERS * WIDTH));
    let last = space.read("out/l3_7");
    let lines: Vec<&str> = last.lines().collect();
    assert_eq!(lines, ["7", "8", "8", "9", "8", "9", "9", "10"]);
    assert_eq!(
        (space.exists("out/l2_7"), space.read("out/l1_9")),
        (true, "9\n10\n".to_owned())
    );
}
