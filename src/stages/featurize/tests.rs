//! Rows for which there is no room in memory.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};
use proptest::prelude::*;

use super::params::tests::{list, map, text};
use super::rows::blocks::BLOCK_ROWS;
use super::*;
use crate::plan::{Number, ParamValue};

/// Every kind of preparation, of the features `a` to `d`.
fn everything() -> BTreeMap<String, ParamValue> {
    let number = |value| ParamValue::Number(Number::from_f64(value).expect("finite"));
    let range = map([("b", ParamValue::List(vec![number(-50.0), number(50.0)]))]);
    [
        ("groups", list(["source.region"])),
        ("range", range),
        ("exclude", list(["d", "c=two"])),
        (
            "impute",
            map([
                ("median", text("all")),
                ("mean", list(["a"])),
                ("indicator", list(["b"])),
            ]),
        ),
        ("scale", map([("standard", list(["a"])), ("none", text("all"))])),
        ("one_hot", list(["c", "source.kind"])),
        ("interactions", ParamValue::List(vec![list(["a", "b"])])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// An event; which number its id has, and what else is in it.
type Event = (u64, u64);

/// Its line. The last key is of no other event, so that shapes differ.
fn line((id, seed): Event) -> String {
    let mut features = vec![format!("\"a\":{}.5", seed % 97)];
    if !seed.is_multiple_of(5) {
        features.push(format!("\"b\":{}e-1", (seed * 31) % 2003));
    }
    if !seed.is_multiple_of(3) {
        features.push(format!(
            "\"c\":\"{}\"",
            ["one", "two", "three"][(seed % 7 % 3) as usize]
        ));
    }
    if seed.is_multiple_of(11) {
        features.push("\"d\":1".to_owned());
    }
    for place in 0..6 {
        if seed >> place & 1 == 1 {
            features.push(format!("\"e{place}\":{seed}"));
        }
    }
    let kind = ["self", "clinic"][(seed % 2) as usize];
    let region = ["", ",\"region\":\"north\""][(seed % 3 % 2) as usize];
    let label = ["null", "\"x\"", "\"y\""][(seed % 3) as usize];
    let features = features.join(",");
    format!(
        "{{\"event_id\":\"evt-{id}\",\"source\":{{\"kind\":\"{kind}\"{region}}},\"payload\":{{\"label\":{label},\"features\":{{{features}}}}}}}\n"
    )
}

struct Space(tempfile::TempDir);

impl Space {
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        let space = Self(tempfile::tempdir().expect("a temporary folder"));
        let lines: String = events.into_iter().map(line).collect();
        let events = crate::store::atomic::write(&space.path("events"), lines.as_bytes());
        events.expect("written");
        fs::create_dir_all(space.path("scratch")).expect("made");
        space
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).expect("UTF-8").join(name)
    }

    /// The digests of what the stage writes, or why it does not, with room for so many bytes.
    fn outcome(
        &self,
        params: &BTreeMap<String, ParamValue>,
        held: usize,
        threads: usize,
    ) -> Result<[blake3::Hash; 2], Refusal> {
        let scratch = self.path("scratch");
        match self.run(params, &Room::with(&scratch, held), threads) {
            Ok(written) => {
                assert_eq!(fs::read_dir(scratch).expect("listed").count(), 0, "no file has a name");
                Ok(written.map(|bytes| blake3::hash(&bytes)))
            }
            Err(StageError::Refused(refusal)) => Err(refusal),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn run(
        &self,
        params: &BTreeMap<String, ParamValue>,
        room: &Room,
        threads: usize,
    ) -> Result<[Vec<u8>; 2], StageError> {
        let names = ["features", "report"];
        let events = InputFile {
            absolute: self.path("events"),
            name: "data/events".into(),
            digest: None,
        };
        let mut context = StageContext {
            purpose: None,
            inputs: BTreeMap::from([("events", vec![events])]),
            outputs: names.map(|name| (name, self.path(name))).into(),
            passed_on: BTreeMap::new(),
            consents: BTreeMap::new(),
            secret: None,
            population: None,
            read_ahead: None,
            purposes: &crate::consent::purposes::Purposes::default(),
            scratch: self.path("nobody looks here"),
            params,
            threads,
            log: &mut std::io::sink(),
            progress: &|_| {},
            cancelled: &AtomicBool::new(false),
        };
        run_in(&mut context, room)?;
        Ok(names.map(|name| fs::read(self.path(name)).expect("written")))
    }
}

/// More room than any of the tables here takes.
const ALL: usize = 64 << 20;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_written_does_not_depend_on_memory(
        seeds in prop::collection::vec((0..1_000_000_u64, 0..10_000_u64), 40..300),
        twice in prop_oneof![3 => Just(None), 1 => (0..40_usize, 0..40_usize).prop_map(Some)],
    ) {
        let mut events: Vec<Event> = seeds;
        if let Some((from, to)) = twice {
            events[to].0 = events[from].0;
        }
        let space = Space::new(events);
        let whole = space.outcome(&everything(), ALL, 2);
        for (held, threads) in [(0, 1), (500, 3), (20_000, 1)] {
            let outcome = space.outcome(&everything(), held, threads);
            prop_assert_eq!(&outcome, &whole, "{} bytes held", held);
        }
    }
}

#[test]
fn blocks_of_rows_are_the_same_wherever_rows_are_kept() {
    let rows = 2 * BLOCK_ROWS as u64 + 777;
    let space = Space::new((0..rows).map(|id| (id, id * 7919 % 100_003)));
    let whole = space.outcome(&everything(), ALL, 2).expect("good events");
    for (held, threads) in [(1 << 16, 3), (1 << 20, 1)] {
        assert!(
            space.outcome(&everything(), held, threads).expect("good events") == whole,
            "{held} bytes held"
        );
    }
}

#[test]
fn rows_are_the_same_in_whatever_order_their_lines_stand() {
    // Of more than one block, of which the first and the last have other levels first.
    let event = |id: u64| (id, if id < 12_000 { 3 * id + 1 } else { 7 * id });
    let ids = 0..24_000;
    let [one, other] = [Space::new(ids.clone().map(event)), Space::new(ids.rev().map(event))];
    let whole = one.outcome(&everything(), ALL, 2).expect("good events");
    assert!(other.outcome(&everything(), ALL, 2).expect("good events") == whole);
    assert!(other.outcome(&everything(), 1 << 16, 2).expect("good events") == whole);
}

#[test]
fn an_event_that_stands_again_and_again_is_refused_without_being_held() {
    let space = Space::new((0..3000).map(|line| (line % 1000 / 999, line)));
    let whole = space.outcome(&BTreeMap::new(), ALL, 1).expect_err("they stand twice");
    assert_eq!(whole.details.len(), MAX_DETAILS);
    // The canonical order is that of BLAKE3, in which the other id comes later.
    assert_eq!(whole.details[0], "data/events:2: has the id of data/events:1");
    for held in [0, 1000, 100_000] {
        let refusal = space.outcome(&BTreeMap::new(), held, 2).expect_err("they stand twice");
        assert_eq!(refusal, whole, "{held} bytes held");
    }
}

#[test]
fn a_disk_that_cannot_be_written_is_said() {
    let space = Space::new((0..10).map(|id| (id, id)));
    let absent = Room::with(&space.path("absent"), 0);
    match space.run(&BTreeMap::new(), &absent, 1) {
        Err(StageError::Io {
            verb: "write", path, ..
        }) => assert!(path.ends_with("absent")),
        other => panic!("{other:?}"),
    }
}
