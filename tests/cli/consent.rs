//! Withdrawn consents: what they leave, and who is affected.

use crate::baseline::baseline;
use crate::space::Space;

const PIPELINE: &str = "pipelines/baseline.yaml";
const RAW: &str = "data/raw/thyroid.ndjson";
const REVOCATIONS: &str = "data/revocations.ndjson";

/// What stands on the events.
const MADE: [&str; 5] = [
    "data/events.ndjson",
    "data/features.arrow",
    "models/baseline.model.json",
    "models/baseline.metrics.json",
    "reports/features.json",
];

fn id_of(line: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
    event["event_id"].as_str().expect("a text").to_owned()
}

/// Adds revocations of these events.
fn revoke<'a>(space: &Space, ids: impl IntoIterator<Item = &'a str>) {
    let mut text = space.read(REVOCATIONS);
    for id in ids {
        text.push_str(&format!(
            "{{\"event_id\":\"{id}\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"withdrawn\"}}\n"
        ));
    }
    space.write(REVOCATIONS, text);
}

#[test]
fn what_is_revoked_leaves_the_model_that_was_never_trained_on_it() {
    let space = baseline();
    space.madmall(["run", PIPELINE]).success();
    let used: Vec<String> = space.read("data/events.ndjson").lines().map(id_of).collect();
    let raw = space.read(RAW);
    for count in [1, 100, 1000] {
        // From all parts of the file; the first is one that the model is trained on.
        let revoked: Vec<&str> = (0..count).map(|n| used[(n * 7 + 3) % used.len()].as_str()).collect();
        let before = space.bytes(MADE[2]);
        revoke(&space, revoked.iter().copied());
        space.madmall(["run", PIPELINE]).success().says("3 ran");
        assert!(space.bytes(MADE[2]) != before, "{count}");

        let fresh = baseline();
        let is_left = |line: &&str| !revoked.contains(&id_of(line).as_str());
        let left: Vec<&str> = raw.lines().filter(is_left).collect();
        assert_eq!(left.len() + count, raw.lines().count());
        fresh.write(RAW, left.join("\n") + "\n");
        fresh.madmall(["run", PIPELINE]).success();
        for path in MADE {
            assert!(space.bytes(path) == fresh.bytes(path), "{path} without {count}");
        }
        let report: serde_json::Value = serde_json::from_str(&space.read("reports/ingest.json")).expect("JSON");
        assert_eq!(report["revocations"]["unknown"], 0);
        assert_eq!(report["revocations"]["by_event"], 38 + count);
    }
}
