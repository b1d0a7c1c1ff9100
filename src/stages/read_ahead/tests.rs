//! Both stages as the runner calls them. Where the second is given rows, the file that it names is not there.

use std::collections::HashSet;
use std::fs;

use camino::Utf8PathBuf;

use super::*;
use crate::consent::purposes::Purposes;
use crate::stages::featurize::BUILTIN as FEATURIZE;
use crate::stages::featurize::params::tests::{list, map, text};
use crate::stages::featurize::reading::lines::{Random, event, mutate};
use crate::stages::ingest::event::Reader;
use crate::stages::ingest::schema::EventSchema;
use crate::stages::ingest::{BUILTIN as INGEST, EVENTS};
use crate::stages::{Builtin, StageContext};

type Params = BTreeMap<String, ParamValue>;

const SCHEMA: &[u8] = include_bytes!("../../../schemas/byte_event.schema.json");

struct Space(tempfile::TempDir);

impl Space {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let space = Self(tempfile::tempdir().expect("a temporary folder"));
        for (name, bytes) in files.iter().chain(&[("schema.json", SCHEMA)]) {
            crate::store::atomic::write(&space.path(name), bytes).expect("written");
        }
        space
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.0.path()).expect("UTF-8").join(name)
    }

    fn ahead(&self, params: &Params) -> ReadAhead {
        ReadAhead::new(params, &self.path(".")).expect("good parameters")
    }

    /// Runs a stage, and gives the digest of what it passes on.
    fn run(
        &self,
        stage: &Builtin,
        inputs: BTreeMap<&str, Vec<InputFile>>,
        outputs: &[&'static str],
        (params, ahead): (&Params, Option<&ReadAhead>),
        threads: usize,
    ) -> Result<Option<Digest>, StageError> {
        let mut context = StageContext {
            purpose: Some("care"),
            inputs,
            outputs: outputs.iter().map(|name| (*name, self.path(name))).collect(),
            passed_on: BTreeMap::new(),
            consents: BTreeMap::new(),
            secret: None,
            population: None,
            read_ahead: ahead,
            purposes: &Purposes::default(),
            scratch: self.path("."),
            params,
            threads,
            log: &mut std::io::sink(),
            progress: &|_| {},
            cancelled: &AtomicBool::new(false),
        };
        (stage.run)(&mut context)?;
        Ok(context.passed_on.remove(EVENTS).map(|passed_on| passed_on.read))
    }

    /// Lets in what stands in the files `events`, and reads it `ahead`.
    fn ingest(&self, events: &[&str], ahead: &ReadAhead, threads: usize) -> Option<Digest> {
        let input = |name: &&str| InputFile {
            absolute: self.path(name),
            name: (*name).into(),
            digest: None,
        };
        let mut inputs = BTreeMap::from([
            (EVENTS, events.iter().map(input).collect()),
            ("schema", vec![input(&"schema.json")]),
        ]);
        if self.path("revocations").exists() {
            inputs.insert("revocations", vec![input(&"revocations")]);
        }
        let params = [("on_reject", text("quarantine"))].map(|(name, value)| (name.to_owned(), value));
        let outputs = ["accepted", "rejects", "events"];
        let run = self.run(&INGEST, inputs, &outputs, (&params.into(), Some(ahead)), threads);
        run.expect("it lets in what it can")
    }

    /// The features and the report that are made of the file `events`, or of what was read ahead.
    fn featurize(
        &self,
        (events, digest): (&str, Option<Digest>),
        params: &Params,
        ahead: Option<&ReadAhead>,
    ) -> Result<[Vec<u8>; 2], StageError> {
        let events = InputFile {
            absolute: self.path(events),
            name: "events".into(),
            digest,
        };
        let names = ["features", "report"];
        let inputs = BTreeMap::from([(EVENTS, vec![events])]);
        self.run(&FEATURIZE, inputs, &names, (params, ahead), 2)?;
        Ok(names.map(|name| fs::read(self.path(name)).expect("written")))
    }
}

/// Events that are let in and make rows, each with another id.
fn events(count: usize) -> Vec<u8> {
    let schema = EventSchema::byte_event();
    let mut reader = Reader::new(&schema, None);
    let care = Purposes::default().purpose("care").expect("it is one");
    let mut random = Random::new(11);
    let (mut ids, mut all) = (HashSet::new(), Vec::new());
    for number in 0.. {
        let mut line = event(&mut random, number).into_bytes();
        if number % 3 == 0 {
            mutate(&mut random, &mut line);
        }
        if line.contains(&b'\n') || read_event(Some(&line)).is_err() {
            continue;
        }
        if let Ok(event) = reader.read(&line)
            && event.facts.consent.scope.covers(care)
            && ids.insert(event.id)
        {
            all.extend_from_slice(&line);
            all.push(b'\n');
        }
        if ids.len() == count {
            break;
        }
    }
    all
}

/// Parameters by which texts and groups make columns too.
fn everything() -> Params {
    [
        ("groups", list(["source.region"])),
        ("exclude", list(["f3"])),
        ("impute", map([("median", text("all"))])),
        ("one_hot", list(["f1", "f2", "source.kind"])),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[test]
fn what_is_made_of_rows_read_ahead_is_what_is_made_of_the_file() {
    let space = Space::new(&[("in", &events(9000))]);
    for (params, threads) in [(Params::new(), 1), (everything(), 1), (everything(), 3)] {
        let expected = space.featurize(("in", None), &params, None).expect("features");
        let ahead = space.ahead(&params);
        let passed_on = space.ingest(&["in"], &ahead, threads);
        assert!(passed_on.is_some());
        let made = space.featurize(("absent", passed_on), &params, Some(&ahead));
        assert!(made.expect("rows were read ahead") == expected);
        space
            .featurize(("absent", passed_on), &params, Some(&ahead))
            .expect_err("nobody is given them twice");
    }
}

#[test]
fn rows_are_for_their_own_bytes_and_parameters_alone() {
    let space = Space::new(&[("in", &events(100))]);
    let params = Params::new();
    let other = Some(Digest::of(b"other"));
    let run = |digest: fn(Option<Digest>, Option<Digest>) -> Option<Digest>, asked: &Params| {
        let ahead = space.ahead(&params);
        let passed_on = space.ingest(&["in"], &ahead, 1);
        space.featurize(("absent", digest(passed_on, other)), asked, Some(&ahead))
    };
    run(|own, _| own, &params).expect("rows were read ahead");
    for (digest, asked) in [
        ((|_, other| other) as fn(_, _) -> _, &params),
        (|_, _| None, &params),
        (|own, _| own, &everything()),
    ] {
        let error = run(digest, asked).expect_err("these are not its rows");
        assert!(matches!(error, StageError::Io { verb: "read", .. }), "{error:?}");
    }
}

#[test]
fn nothing_is_read_ahead_where_the_file_is_not_let_in_as_it_is() {
    let good = events(40);
    let first = good.split_inclusive(|byte| *byte == b'\n').next().expect("a line");
    let with = |line: &[u8]| [&good, line].concat();
    let label = |label: &str| {
        format!(
            "{{\"event_id\":\"evt-last\",\"timestamp\":\"2026-01-05\",\"source\":\"self\",\"consent\":{{\"scope\":\"care\",\
             \"revocable\":true}},\"payload\":{{\"type\":\"lab_marker\",\"label\":\"{label}\"}}}}\n"
        )
    };
    let none = label("x").replace("care", "none");
    let revocation = "{\"event_id\":\"evt-last\",\"time\":\"2026-01-05T00:00:00Z\"}\n";
    for (what, bytes, revocation, expected) in [
        ("it is", with(label("x").as_bytes()), "", true),
        ("a line is a fault", with(b"{}\n"), "", false),
        ("a line stands twice", with(first), "", false),
        ("a line is blank", with(b"\n"), "", false),
        ("an event is revoked", with(label("x").as_bytes()), revocation, false),
        ("one is not covered", with(none.as_bytes()), "", false),
        // It is passed on, and `featurize` has something to say of it.
        ("one makes no row", with(label(" x").as_bytes()), "", false),
    ] {
        let space = Space::new(&[("in", &bytes), ("revocations", revocation.as_bytes())]);
        let ahead = space.ahead(&Params::new());
        let passed_on = space.ingest(&["in"], &ahead, 2).or(Some(Digest::of(&bytes)));
        let made = space.featurize(("absent", passed_on), &Params::new(), Some(&ahead));
        assert_eq!(made.is_ok(), expected, "{what}: {:?}", made.err());
        if !expected {
            let said = space.featurize(("in", Some(Digest::of(&bytes))), &Params::new(), Some(&ahead));
            let without = space.featurize(("in", None), &Params::new(), None);
            assert_eq!(format!("{said:?}"), format!("{without:?}"), "{what}");
        }
    }
    let space = Space::new(&[("in", &good), ("other", label("x").as_bytes())]);
    let ahead = space.ahead(&Params::new());
    assert_eq!(space.ingest(&["in", "other"], &ahead, 2), None);
    assert!(
        ahead.take(&Default::default(), &[]).is_none(),
        "two files are none that is passed on"
    );
}

#[test]
fn a_disk_that_is_full_ends_it_and_not_the_stage() {
    let space = Space::new(&[("in", &events(300))]);
    let mut ahead = space.ahead(&Params::new());
    ahead.room = Room::with(&space.path("absent"), 0);
    let passed_on = space.ingest(&["in"], &ahead, 2);
    assert!(passed_on.is_some());
    space
        .featurize(("absent", passed_on), &Params::new(), Some(&ahead))
        .expect_err("nothing was read ahead");
    let made = space.featurize(("in", passed_on), &Params::new(), Some(&ahead));
    made.expect("the file is read as ever");
}
