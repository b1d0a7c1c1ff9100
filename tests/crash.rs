//! `kill -9` at random moments of a run: nothing that looks finished is not, and nothing finished is lost.

#![expect(
    clippy::disallowed_methods,
    reason = "tests write files and read the environment as they please"
)]

#[path = "cli/space.rs"]
mod space;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use space::{Space, files_below};

/// How often a run is killed.
const KILLS: u32 = 200;
/// How many events the pipeline has.
const EVENTS: usize = 200;
const OUTPUTS: [&str; 6] = [
    "data/events.ndjson",
    "reports/ingest.json",
    "data/features.arrow",
    "models/model.json",
    "models/metrics.json",
    "reports/card.md",
];
const PIPELINE: &str = "purpose: research
stages:
  ingest:
    uses: madmall/ingest
    inputs: {events: raw.ndjson, schema: byte_event.schema.json}
    outputs: {events: data/events.ndjson, report: reports/ingest.json}
  featurize: {uses: madmall/featurize, inputs: {events: ingest.events}, outputs: {features: data/features.arrow}}
  train:
    uses: madmall/train
    inputs: {features: featurize}
    params: {l2: 1, holdout: 0}
    outputs: {model: models/model.json, metrics: models/metrics.json}
  card: {run: 'wc -c ${inputs.model} > ${outputs.card}', inputs: {model: train.model}, outputs: {card: reports/card.md}}";

/// Event lines of the real data: the labelled ones of research consent, so that both labels occur among few.
fn lines() -> Vec<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/raw/thyroid.ndjson");
    let text = std::fs::read_to_string(path).expect("the data is in the repository");
    let wanted = |label: &str, count: usize| {
        text.lines()
            .filter(|line| line.contains(label) && line.contains("\"scope\":\"research\""))
            .take(count)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    [
        wanted("\"label\":\"hyperthyroid\"", EVENTS / 4),
        wanted("\"label\":\"negative\"", EVENTS - EVENTS / 4 + 2),
    ]
    .concat()
}

/// The raw events of a variant: each leaves out another event, so that every stage has another result.
fn raw(variant: usize) -> String {
    let mut lines = lines();
    lines.remove(variant);
    lines.truncate(EVENTS);
    lines.join("\n") + "\n"
}

fn space() -> Space {
    let space = Space::with(PIPELINE);
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/byte_event.schema.json");
    space.write(
        "byte_event.schema.json",
        std::fs::read(schema).expect("the schema is in the repository"),
    );
    space
}

fn outputs(space: &Space) -> BTreeMap<&'static str, Vec<u8>> {
    OUTPUTS
        .into_iter()
        .filter(|path| space.exists(path))
        .map(|path| (path, space.bytes(path)))
        .collect()
}

/// A generator of numbers that need not be good, only the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_nothing_that_looks_finished() {
    // What each variant gives when nobody kills it.
    let variants: Vec<_> = (0..3)
        .map(|variant| {
            let space = space();
            space.write("raw.ndjson", raw(variant));
            space.run(&[]).success();
            outputs(&space)
        })
        .collect();
    let space = space();
    space.write("raw.ndjson", raw(0));
    space.run(&[]).success();
    let full = typical_time(&space);

    let mut numbers = Numbers(1);
    let mut finished = BTreeSet::new();
    for kill in 0..KILLS {
        let variant = 1 + usize::try_from(numbers.next(2)).expect("small");
        space.write("raw.ndjson", raw(variant));
        // Without the store's index of what was done before, the stages have to run.
        std::fs::remove_dir_all(space.path("runs")).expect("removed");
        let _ = std::fs::remove_dir_all(space.path(".madmall/cas"));
        for path in OUTPUTS {
            if numbers.next(2) == 0 && space.exists(path) {
                space.remove(path);
            }
        }
        let mut child = space
            .command(["run", "pipeline.yaml"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("runs");
        std::thread::sleep(Duration::from_micros(numbers.next(full)));
        let ended = child.try_wait().expect("waited").is_some();
        kill_hard(&mut child);
        finished.insert(ended);

        for (path, bytes) in outputs(&space) {
            let known = variants.iter().any(|variant| variant[path] == bytes);
            assert!(known, "kill {kill}: {path} is in place with bytes that no run gives");
        }
        let verdict = space.madmall(["verify"]);
        assert_ne!(verdict.code, Some(4), "kill {kill}:\n{}{}", verdict.out, verdict.err);
        space.run(&[]).success();
        assert!(
            outputs(&space) == variants[variant],
            "kill {kill}: the next run took something for finished"
        );
        space.madmall(["verify"]).success();
    }
    assert!(finished.contains(&false), "no run was killed before its end");
    assert!(files_below(&space.path(".madmall/scratch")).is_empty());
}

/// Microseconds that a run of every stage takes here.
fn typical_time(space: &Space) -> u64 {
    let began = Instant::now();
    space.run(&["--force"]).success();
    u64::try_from(began.elapsed().as_micros()).expect("short")
}

fn kill_hard(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().expect("it ends");
}

#[test]
fn what_a_killed_run_had_finished_is_kept_and_attested() {
    let space = Space::with(
        "stages:
  first: {run: 'echo first >> $TRACE; echo 1 > ${outputs.o}', env: [TRACE], sandbox: off, outputs: {o: out/first}}
  second: {run: 'echo second >> $TRACE; cp ${inputs.i} ${outputs.o}; sleep 20', env: [TRACE], sandbox: off, inputs: {i: first}, outputs: {o: out/second}}",
    );
    let mut child = space
        .command(["run", "pipeline.yaml"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let began = Instant::now();
    while !std::fs::read_to_string(space.path("../trace")).is_ok_and(|trace| trace.contains("second")) {
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "the second stage never began"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_hard(&mut child);
    assert!(space.receipt_files().is_empty());
    space.trace();

    space
        .run(&["first"])
        .success()
        .says("an earlier run ended halfway")
        .says("1 up to date");
    assert_eq!(space.trace(), "");
    assert_eq!(space.receipt_files().len(), 1);
    space.madmall(["verify"]).success();
}

/// Takes away what a run does after its stages: what is left is that of a run that was killed before it published.
fn forget_publication(space: &Space, file: &str) {
    std::fs::remove_file(space.path("runs").join(file)).expect("removed");
    std::fs::remove_dir_all(space.path("runs/log")).expect("removed");
    std::fs::remove_dir_all(space.path(".madmall/log")).expect("removed");
}

#[test]
fn verify_tells_of_receipts_that_a_killed_run_has_not_published() {
    let space = Space::with("stages: {a: {run: 'cat ${inputs.i} > ${outputs.o}', inputs: {i: in}, outputs: {o: out}}}");
    for input in ["1", "2"] {
        space.write("in", input);
        space.run(&[]).success();
    }
    let file = space.receipt_files().remove(1);
    let text = space.read(&format!("runs/{file}"));
    let stage = text.lines().next().expect("the stage's receipt");
    forget_publication(&space, &file);
    let run = file.trim_end_matches(".intoto.jsonl");
    space.write(&format!(".madmall/pending/{run}.jsonl"), format!("{stage}\n"));
    let hint = "`madmall run` publishes what it had finished";
    let verdict = space.madmall(["verify"]).says("E-DIGEST").says(hint);
    assert_ne!(verdict.code, Some(0));
    space.madmall(["verify", "--json"]).says_not(hint);
    space.run(&[]).success().says("an earlier run ended halfway");
    space.madmall(["verify"]).says_not("E-DIGEST").says_not(hint);
}

#[test]
fn a_torn_pending_receipt_is_dropped_and_its_whole_neighbours_are_kept() {
    let space = Space::with("stages: {a: {run: 'echo 1 > ${outputs.o}', outputs: {o: out}}}");
    space.run(&[]).success();
    let file = space.receipt_files().remove(0);
    let text = space.read(&format!("runs/{file}"));
    let stage = text.lines().next().expect("the stage's receipt");
    forget_publication(&space, &file);
    let run = file.trim_end_matches(".intoto.jsonl");
    space.write(
        &format!(".madmall/pending/{run}.jsonl"),
        format!("{stage}\n{}", &stage[..stage.len() / 2]),
    );
    space.run(&[]).success().says("1 up to date");
    assert_eq!(space.read(&format!("runs/{file}")).lines().count(), 2);
    space.madmall(["verify"]).success();
}

#[test]
fn a_pending_receipt_whose_output_never_reached_the_disk_is_dropped_with_what_rests_on_it() {
    let space = Space::with(
        "stages:
  a: {run: 'echo a >> $TRACE; echo 1 > ${outputs.o}', env: [TRACE], sandbox: off, outputs: {o: out/a}}
  b: {run: 'echo b >> $TRACE; cat ${inputs.i} ${inputs.i} > ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: a}, outputs: {o: out/b}}
  c: {run: 'echo c >> $TRACE; echo 3 > ${outputs.o}', env: [TRACE], sandbox: off, outputs: {o: out/c}}",
    );
    space.run(&["-j", "1"]).success();
    space.trace();
    let file = space.receipt_files().remove(0);
    let text = space.read(&format!("runs/{file}"));
    let stages: Vec<&str> = text.lines().take(3).collect();
    let run = file.trim_end_matches(".intoto.jsonl");
    forget_publication(&space, &file);
    space.write(
        &format!(".madmall/pending/{run}.jsonl"),
        format!("{}\n", stages.join("\n")),
    );
    // As after a loss of power: the line is on disk, the bytes of `a` are not.
    for path in ["out/a", "out/b", "out/c"] {
        space.remove(path);
    }
    let lost = madmall::digest::Digest::of(b"1\n").to_hex();
    let object = format!(".madmall/cas/{}/{}", &lost[..2], &lost[2..]);
    std::fs::remove_file(space.path(&object)).expect("removed");
    space.write(&object, "");

    space.run(&[]).success();
    assert_eq!(space.trace(), "a\nb\n", "`c` was whole and is kept");
    assert_eq!(
        space.read(&format!("runs/{file}")).lines().count(),
        2,
        "`c` and the run"
    );
    space.madmall(["verify"]).success();
}

/// As after a loss of power that took a run that was published back to when it was not, and some of its receipts with it: what the next run
/// publishes has the name of the first.
#[test]
fn what_was_known_by_receipts_that_are_lost_is_not_known_any_more() {
    let space = Space::with(
        "stages:
  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in/a}, outputs: {o: out/a}}
  b: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in/b}, outputs: {o: out/b}}
  c: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in/c}, outputs: {o: out/c}}",
    );
    for name in ["a", "b", "c"] {
        space.write(&format!("in/{name}"), name);
    }
    for _ in 0..2 {
        Space::let_clock_tick();
        space.run(&["-j", "1"]).success();
    }
    let file = space.receipt_files().remove(0);
    let text = space.read(&format!("runs/{file}"));
    let first = text.lines().next().expect("the receipt of `a`");
    forget_publication(&space, &file);
    let run = file.trim_end_matches(".intoto.jsonl");
    space.write(&format!(".madmall/pending/{run}.jsonl"), format!("{first}\n"));
    space.write("in/c", "another");
    Space::let_clock_tick();
    space.run(&[]).success().says("3 stages: 2 ran, 1 up to date");
    space.madmall(["verify"]).success();
}
