//! Inputs that are written as lists.

use serde_json::Value;

use crate::bundle::{Auditor, full};
use crate::passed_on::event;
use crate::space::Space;

const PARTS: &str = "[z.ndjson, raw/b/, 'raw/o,d*.ndjson', raw/packed.zst]";
const STAGES: &str = "purpose: research
stages:
  i:
    uses: madmall/ingest
    inputs: {events: PARTS, schema: schema.json, revocations: [gone/a.ndjson, gone/b/]}
    outputs: {events: out/events.ndjson, report: out/report.json}
  p:
    run: 'printf \"%s\\n\" ${inputs.t} > ${outputs.o}; cat ${inputs.t} >> ${outputs.o}'
    inputs: {t: [b.txt, a.txt, d/]}
    outputs: {o: out/p}";

fn stages(parts: &str) -> String {
    STAGES.replace("PARTS", parts)
}

fn revocation(number: usize) -> String {
    format!("{{\"event_id\":\"evt-{number:06}\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"withdrawn\"}}\n")
}

/// A committed project whose stages read lists.
fn space() -> Space {
    let space = Space::with(&stages(PARTS));
    space.write("schema.json", include_str!("../../schemas/byte_event.schema.json"));
    let files = [
        "z.ndjson",
        "raw/b/.hidden",
        "raw/b/c/x.ndjson",
        "raw/o,d1.ndjson",
        "raw/not.ndjson",
    ];
    for (number, path) in (0..).zip(files) {
        space.write(path, event(number, "research") + &event(number + 10, "research"));
    }
    let packed = zstd::encode_all(event(5, "research").as_bytes(), 1).expect("a frame");
    space.write("raw/packed.zst", packed);
    space.write("gone/a.ndjson", revocation(10));
    space.write("gone/b/x", revocation(12));
    for (path, text) in [("a.txt", "A\n"), ("b.txt", "B\n"), ("d/e.txt", "E\n")] {
        space.write(path, text);
    }
    space.write(".gitignore", "out\n.madmall\nruns\n");
    space.git(&["init", "-q"]);
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", "one"]);
    space
}

/// What the receipts of a run say.
fn claims(run: &str) -> String {
    use base64::Engine as _;
    let payload = |line: &str| {
        let envelope: Value = serde_json::from_str(line).expect("JSON");
        let payload = envelope["payload"].as_str().expect("a payload").to_owned();
        base64::engine::general_purpose::STANDARD
            .decode(payload)
            .expect("base64")
    };
    let payloads: Vec<u8> = run.lines().flat_map(payload).collect();
    String::from_utf8(payloads).expect("UTF-8")
}

fn ids(space: &Space) -> Vec<usize> {
    let text = space.read("out/events.ndjson");
    let number = |line: &str| line.split("evt-").nth(1).and_then(|rest| rest[..6].parse().ok());
    text.lines().map(|line| number(line).expect("an id")).collect()
}

#[test]
fn a_list_is_read_part_by_part_in_the_order_of_paths_and_receipts_name_every_file() {
    let space = space();
    space.run(&[]).success().says("2 ran");
    // `raw/b/.hidden`, `raw/b/c/x.ndjson`, `raw/o,d1.ndjson`, `raw/packed.zst`, `z.ndjson`; two are withdrawn.
    assert_eq!(ids(&space), [1, 11, 2, 3, 13, 5, 0]);
    assert_eq!(space.read("out/p"), "a.txt\nb.txt\nd/e.txt\nA\nB\nE\n");
    let name = space.receipt_files().pop().expect("a run");
    let claims = claims(&space.read(&format!("runs/{name}")));
    for part in [
        "raw/b/.hidden",
        "raw/o,d1.ndjson",
        "raw/packed.zst",
        "z.ndjson",
        "gone/b/x",
    ] {
        assert!(claims.contains(&format!("\"name\":\"{part}\"")), "{part}: {claims}");
    }
    space.madmall(["verify", "--at", "HEAD"]).success();

    // Another order is the same input.
    space.pipeline(
        &stages("[raw/packed.zst, 'raw/o,d*.ndjson', ./z.ndjson, raw/b]").replace("b.txt, a.txt", "a.txt, b.txt"),
    );
    space.run(&[]).success().says("2 up to date");
    // So is the pattern that it stands for.
    space.pipeline(&stages("'{raw/b/,raw/o\\,d*.ndjson,raw/packed.zst,z.ndjson}'"));
    space.run(&[]).success().says("2 up to date");
    space.pipeline(&stages("z.ndjson"));
    space.run(&[]).success().says("1 ran");
    space.pipeline(&stages("[z.ndjson]"));
    space.run(&[]).success().says("2 up to date");
}

#[test]
fn what_changes_in_a_part_is_told_by_its_name() {
    let space = space();
    space.run(&[]).success();
    space.write("raw/b/new.ndjson", event(7, "research"));
    space.write("d/e.txt", "other\n");
    space.madmall(["graph", "pipeline.yaml"]).success().says("2 would run");
    let plan = space.madmall(["plan", "pipeline.yaml"]).success();
    plan.says("input `events` changed: {raw/b/,")
        .says("input `t` changed: {a.txt,b.txt,d/}");
    let why = space.madmall(["why", "pipeline.yaml", "i"]).success();
    why.says("{raw/b/,")
        .says("raw/b/new.ndjson is new")
        .says_not("z.ndjson:");
    space.madmall(["why", "pipeline.yaml", "p"]).success().says("d/e.txt: ");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    space.run(&[]).success().says("2 ran");
    space.madmall(["diff", "latest~1", "latest"]).success().says("{raw/b/,");
    // A file that no part finds is no part of it.
    space.write("raw/other.ndjson", "no event");
    space.run(&[]).success().says("2 up to date");
    space.remove("z.ndjson");
    space.run(&[]).code(2).says("z.ndjson");
}

#[test]
fn what_was_made_from_lists_is_made_again_and_bundled() {
    let space = space();
    space.run(&[]).success();
    let again = space.madmall(["verify", "--rerun", "--json"]).success();
    let report: Value = serde_json::from_str(&again.out).expect("one JSON object");
    assert_eq!(report["assurance"]["rerun"], "held", "{report:#}");
    let auditor = Auditor::trusting(&space);
    let bundle = full(&space);
    let verified = auditor.verify(&bundle, &[]).success();
    verified.says("out/p").says("out/events.ndjson");
    let holds = |path: &str| {
        crate::archive::members(&bundle)
            .iter()
            .any(|(name, _)| name.ends_with(path))
    };
    assert!(holds("raw/packed.zst") && holds("d/e.txt"));
}

#[test]
fn events_in_a_part_are_withdrawn_and_erased_like_any_other() {
    let space = space();
    space.run(&[]).success();
    let id = "evt-000002";
    let asked = space.madmall(["consent", "affected", "--event", id]).code(3);
    asked.says("out/events.ndjson");
    space.write("gone/b/y", revocation(2));
    space.madmall(["consent", "affected"]).code(3).says("out/events.ndjson");
    space.run(&[]).success().says("1 ran");
    assert_eq!(ids(&space), [1, 11, 3, 13, 5, 0]);
    space
        .madmall(["erase", "--event", "evt-000011", "--rewrite-inputs"])
        .code(3)
        .says("raw/b/.hidden");
    assert_eq!(space.read("raw/b/.hidden"), event(1, "research"));
    space.run(&[]).success();
    assert_eq!(ids(&space), [1, 3, 13, 5, 0]);
    space.madmall(["verify"]).success().says("W-ERASED");
}

#[test]
fn a_list_is_taken_strictly() {
    let space = space();
    for (parts, says) in [
        (
            "[z.ndjson, raw/none.ndjson]",
            "`raw/none.ndjson`, and no such file exists",
        ),
        ("[z.ndjson, 'raw/none*']", "the pattern `raw/none*` finds no file"),
        ("[z.ndjson, z.ndjson]", "`z.ndjson` stands in the list twice"),
        (
            "[z.ndjson, ./z.ndjson]",
            "the file `z.ndjson` is in two parts of the list",
        ),
        (
            "[raw/b/, raw/b/.hidden]",
            "the file `raw/b/.hidden` is in two parts of the list",
        ),
        (
            "[raw, 'raw/o*']",
            "the file `raw/o,d1.ndjson` is in two parts of the list",
        ),
        (
            "[z.ndjson, p.o]",
            "`p.o` is written by a stage, and cannot be part of a list",
        ),
        (
            "[z.ndjson, out/p]",
            "`out/p` is written by a stage, and cannot be part of a list",
        ),
        ("[z.ndjson, ../x]", "the path has a `..`"),
        ("[z.ndjson, .git/config]", "lies in `.git`"),
        ("[]", "input `events` is an empty list"),
        ("[z.ndjson, {path: raw/b}]", "a part of input `events` must be a text"),
    ] {
        space.pipeline(&stages(parts));
        space.run(&[]).code(2).says(says);
    }
    // Receipts can be kept from saying what is in it.
    space.pipeline(&stages(PARTS).replace("[b.txt, a.txt, d/]", "{path: [b.txt, d/], personal: true}"));
    space.run(&[]).success();
    let name = space.receipt_files().pop().expect("a run");
    let claims = claims(&space.read(&format!("runs/{name}")));
    assert!(
        claims.contains("{b.txt,d/}") && claims.contains("blake3Keyed"),
        "{claims}"
    );
    // All that is wrong with it is said at once.
    space.pipeline(&stages("[no1, z.ndjson, no2]"));
    space.run(&[]).code(2).says("`no1`").says("`no2`");
    // No stage writes into a folder that is read, and nobody else reads raw events.
    space.pipeline(&stages("[z.ndjson, raw/b/]").replace("out/p}", "raw/b/p}"));
    space.run(&[]).code(2).says("lies inside the input folder `raw/b`");
    space.pipeline(&stages(PARTS).replace("[b.txt,", "[raw/b/c/x.ndjson,"));
    space.run(&[]).code(2).says("only ingest may read `raw/b/c/x.ndjson`");
    let link = space.path("raw/link.ndjson");
    std::os::unix::fs::symlink("../z.ndjson", link).expect("made");
    space.pipeline(&stages("[z.ndjson, raw/link.ndjson]"));
    space
        .run(&[])
        .code(2)
        .says("`raw/link.ndjson` and `z.ndjson`, in two parts of the list, are one file");
}

#[test]
fn values_of_axes_stand_in_the_parts_of_a_list() {
    let space = Space::with(
        "stages:
  each:
    foreach: {f: [a b.txt, c.txt]}
    run: cat ${inputs.all} > ${outputs.o}
    inputs: {all: ['${foreach.f}', more/]}
    outputs: {o: 'out/${foreach.f.stem}'}",
    );
    space.write("a b.txt", "a");
    space.write("more/x", "x");
    space.run(&[]).code(2).says("no stage produces `c.txt`");
    space.write("c.txt", "c");
    space.run(&[]).success().says("2 ran");
    assert_eq!(
        (space.read("out/a b"), space.read("out/c")),
        ("ax".to_owned(), "cx".to_owned())
    );
    space.madmall(["verify"]).success();
}
