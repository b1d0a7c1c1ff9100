//! The receipt of an ingest names the set of events that it let in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use madmall::consent::secret::ConsentSecret;
use serde_json::json;

use crate::project::{event, id, ingest, population, project, root, secret, write_events};
use crate::space::{Space, files_below};

#[test]
fn the_receipt_names_those_that_were_let_in_and_no_others() {
    let space = project(0..20);
    let mut lines = space.read("in.ndjson");
    // Twice the same, twice with other bytes, not covered, invalid, an id that is written with an escape.
    lines.push_str(&(event(&id(3), "research", 30) + "\n"));
    lines.push_str(&(event(&id(4), "research", 99) + "\n"));
    lines.push_str(&(event("evt-care", "care", 30) + "\n"));
    lines.push_str("{}\n");
    lines.push_str(&event(r"evt-\u0061bcd", "research", 30));
    space.write("in.ndjson", lines);
    space.write(
        "revocations.ndjson",
        "{\"event_id\":\"evt-000007\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"withdrawn\"}\n",
    );
    let ran = space.run(&[]).success();
    assert_eq!(ran.err.matches("made your consent secret").count(), 1, "{}", ran.err);
    let file = space.base().join("config/consent-secret");
    assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
    let let_in = (0..20)
        .filter(|number| ![4, 7].contains(number))
        .map(id)
        .chain(["evt-abcd".to_owned()]);
    let root = root(&space, let_in).to_hex();
    let (_, statement) = ingest(&space);
    let expected = json!({"root": root, "secret": secret(&space).id().to_hex(), "size": 19});
    assert_eq!(*population(&statement), expected);
    assert_eq!(
        files_below(&space.path(".madmall/populations")),
        std::slice::from_ref(&root)
    );
    space.madmall(["fsck"]).success().says_not("W-STRAY");
    space.madmall(["status"]).success().says("tokens of events");

    Space::let_clock_tick();
    space.run(&[]).success().says_not("consent secret");
    let before = space.snapshot();
    space.run(&[]).success();
    space.is_as(&before);
    // The order of the lines, and how often one stands there, is nothing to the set.
    let mut reversed: Vec<String> = space.read("in.ndjson").lines().map(str::to_owned).collect();
    reversed.reverse();
    space.write("in.ndjson", reversed.join("\n"));
    space.run(&[]).success();
    assert_eq!(population(&ingest(&space).1)["root"], root);
}

#[test]
fn tokens_are_kept_as_long_as_a_receipt_speaks_of_them() {
    let space = project(0..5);
    space.run(&[]).success();
    let first = space.receipt_files();
    write_events(&space, 0..6);
    space.run(&[]).success();
    space.madmall(["gc", "--keep-last", "1", "--yes"]).success();
    assert_eq!(files_below(&space.path(".madmall/populations")).len(), 2);
    space.remove(&format!("runs/{}", first[0]));
    space.madmall(["gc", "--keep-last", "1", "--yes"]).success();
    let kept = [root(&space, (0..6).map(id)).to_hex()];
    assert_eq!(files_below(&space.path(".madmall/populations")), kept);
    let file = format!(".madmall/populations/{}", kept[0]);
    let mut bytes = space.bytes(&file);
    bytes[40] ^= 1;
    space.write(&file, bytes);
    space.write(".madmall/populations/other", "");
    space.madmall(["fsck"]).code(4).says("E-OBJECT").says("W-STRAY");
}

#[test]
fn another_secret_is_said_and_a_rerun_needs_none() {
    let mut space = project(0..5);
    space.write(".gitignore", "/.madmall/\n");
    space.git(&["init", "-q"]);
    let commit = |space: &Space| space.git(&["add", "-A"]) + &space.git(&["commit", "-qm", "all"]);
    commit(&space);
    let other = format!("madmall-consent-secret-v1 {}", "ab".repeat(32));
    space.run(&[]).success();
    space.madmall(["verify"]).success().says_not("W-SECRET");
    let ours = secret(&space).id().to_hex();
    space.set("MADMALL_CONSENT_SECRET", &other);
    write_events(&space, 1..5);
    commit(&space);
    space.run(&[]).success();
    let named = population(&ingest(&space).1)["secret"].clone();
    assert_ne!(named, ours);
    space.madmall(["verify"]).success().says("W-SECRET");
    space.madmall(["verify", "--rerun"]).success();
    // A secret of this form may be in the environment of whoever runs stages, and no program sees it.
    space.unset("MADMALL_CONSENT_SECRET");
    write_events(&space, 2..5);
    space.run(&[]).success();
    assert_eq!(population(&ingest(&space).1)["secret"], ours);
}

#[test]
fn without_a_secret_that_can_be_kept_nothing_runs() {
    let mut space = project(0..5);
    space.madmall(["key"]).success();
    let file = space.base().join("config/consent-secret");
    fs::write(&file, ConsentSecret::from_bytes([1; 32]).to_text().as_bytes()).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("own file");
    space.run(&[]).code(7).says("chmod 600");
    fs::remove_file(&file).expect("own file");
    space.set("MADMALL_CONSENT_SECRET", "deadbeef");
    space
        .run(&[])
        .code(7)
        .says("MADMALL_CONSENT_SECRET")
        .says_not("deadbeef");
    assert!(!space.exists("events.ndjson") && space.receipt_files().is_empty());
    // A pipeline that lets no events in needs none.
    space.pipeline("stages: {a: {run: 'echo > ${outputs.o}', outputs: {o: out}}}");
    space.run(&[]).success();
}
