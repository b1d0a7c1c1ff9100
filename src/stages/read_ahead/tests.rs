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
            purpose: Some("research"),
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

    /// Lets in what stands in the files `events`, and reads it `ahead`. Gives the digest of what was let in.
    fn ingest(&self, events: &[&str], ahead: &ReadAhead, threads: usize) -> Digest {
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
        let outputs = ["rejects", EVENTS];
        let run = self.run(&INGEST, inputs, &outputs, (&params.into(), Some(ahead)), threads);
        if run.expect("it lets in what it can").is_some() {
            // As the runner does.
            fs::copy(self.path(events[0]), self.path(EVENTS)).expect("copied");
        }
        Digest::of(&fs::read(self.path(EVENTS)).expect("there"))
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
    let research = Purposes::default().purpose("research").expect("it is one");
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
        let told = reader.read(&line, |event| (event.facts.consent.scope, event.key()));
        if let Ok((scope, id)) = told
            && scope.covers(research)
            && ids.insert(id)
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
        let let_in = Some(space.ingest(&["in"], &ahead, threads));
        let made = space.featurize(("absent", let_in), &params, Some(&ahead));
        assert!(made.expect("rows were read ahead") == expected);
        space
            .featurize(("absent", let_in), &params, Some(&ahead))
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
        let let_in = Some(space.ingest(&["in"], &ahead, 1));
        space.featurize(("absent", digest(let_in, other)), asked, Some(&ahead))
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

/// A line that is let in.
fn last(label: &str) -> String {
    format!(
        "{{\"event_id\":\"evt-last\",\"timestamp\":\"2026-01-05\",\"source\":\"self\",\"consent\":{{\"scope\":\"research\",\
         \"revocable\":true}},\"payload\":{{\"type\":\"lab_marker\",\"label\":\"{label}\"}}}}\n"
    )
}

#[test]
fn rows_are_of_the_lines_that_are_let_in_whatever_else_is_in_the_files() {
    let good = events(40);
    let first = good.split_inclusive(|byte| *byte == b'\n').next().expect("a line");
    let with = |line: &[u8]| [line, &good].concat();
    let care = last("x").replace("research", "care");
    let escaped = care.replace("event_id", r"\u0065vent_id");
    let revocation = "{\"event_id\":\"evt-last\",\"time\":\"2026-01-05T00:00:00Z\"}\n";
    for (what, bytes, revocation, is_read_ahead) in [
        ("all are let in", with(last("x").as_bytes()), "", true),
        ("one is a fault", with(b"{}\n"), "", true),
        ("one is blank", with(b" \n"), "", true),
        ("one is not covered", with(care.as_bytes()), "", true),
        (
            "one that only the complete reader takes is not covered",
            with(escaped.as_bytes()),
            "",
            true,
        ),
        (
            "all are let in, though another is revoked",
            good.clone(),
            revocation,
            true,
        ),
        ("one stands twice", with(first), "", false),
        ("one is revoked", with(last("x").as_bytes()), revocation, true),
        // It is let in, and `featurize` has something to say of it.
        ("one makes no row", with(last(" x").as_bytes()), "", false),
    ] {
        let space = Space::new(&[("in", &bytes), ("revocations", revocation.as_bytes())]);
        let without = |digest| space.featurize((EVENTS, digest), &Params::new(), None);
        let ahead = space.ahead(&Params::new());
        let let_in = Some(space.ingest(&["in"], &ahead, 2));
        let made = space.featurize(("absent", let_in), &Params::new(), Some(&ahead));
        match made {
            Ok(made) => assert!(is_read_ahead && without(let_in).expect("features") == made, "{what}"),
            // There is no such file.
            Err(error) => assert!(
                !is_read_ahead && matches!(error, StageError::Io { verb: "read", .. }),
                "{what}: {error:?}"
            ),
        }
    }
}

#[test]
fn nothing_of_a_line_that_is_left_out_is_in_what_is_made() {
    // The keys of one that is not covered are known to who recognises lines, and come before those of one that is.
    let with = |id: &str, scope: &str, key: &str| {
        let features = format!(",\"features\":{{\"a\":1,\"{key}\":2}}}}}}");
        let line = last("x").replace("last", id).replace("research", scope);
        line.replace("}}", &features)
    };
    let lines = with("first", "research", "b") + &with("second", "care", "hidden") + &with("third", "research", "c");
    let space = Space::new(&[("in", lines.as_bytes())]);
    let params: Params = [("exclude".to_owned(), list(["hidden"]))].into();
    for (params, is_good) in [(Params::new(), true), (params, false)] {
        let ahead = space.ahead(&params);
        let let_in = Some(space.ingest(&["in"], &ahead, 1));
        let made = space.featurize(("absent", let_in), &params, Some(&ahead));
        let expected = space.featurize((EVENTS, let_in), &params, None);
        assert_eq!(made.is_ok(), is_good, "no event that is let in has `hidden`");
        assert_eq!(format!("{made:?}"), format!("{expected:?}"));
    }
}

#[test]
fn rows_of_several_files_are_those_of_the_one_that_they_become() {
    let all = events(3000);
    let lines: Vec<&[u8]> = all.split_inclusive(|byte| *byte == b'\n').collect();
    let [one, other] = [lines[..1000].concat(), lines[1000..].concat()];
    let space = Space::new(&[
        ("one", &one),
        ("other", &[&other, &b"\n{}\n"[..]].concat()),
        ("all", &all),
    ]);
    let ahead = space.ahead(&everything());
    let let_in = Some(space.ingest(&["one", "other"], &ahead, 2));
    assert_eq!(let_in, Some(Digest::of(&all)));
    let made = space.featurize(("absent", let_in), &everything(), Some(&ahead));
    let expected = space.featurize(("all", None), &everything(), None);
    assert!(made.expect("rows were read ahead") == expected.expect("features"));
}

#[test]
fn a_row_is_said_to_stand_where_it_stands_among_those_that_are_let_in() {
    let params: Params = [("weights".to_owned(), text("w"))].into();
    let weighing = |id: u32, weight: u32| {
        last("x")
            .replace("last", &(100_000 + id).to_string())
            .replace("}}", &format!(",\"features\":{{\"w\":{weight}}}}}}}"))
    };
    let bytes: String = (0..10_000)
        .map(|id| {
            if id % 10 == 3 {
                "{}\n".to_owned()
            } else {
                weighing(id, u32::from(id != 9001))
            }
        })
        .collect();
    let space = Space::new(&[("in", bytes.as_bytes())]);
    let ahead = space.ahead(&params);
    let let_in = Some(space.ingest(&["in"], &ahead, 2));
    let refusal = |made: Result<_, StageError>| match made {
        Err(StageError::Refused(refusal)) => refusal.details,
        other => panic!("{other:?}"),
    };
    let details = refusal(space.featurize(("absent", let_in), &params, Some(&ahead)));
    assert_eq!(details, refusal(space.featurize((EVENTS, let_in), &params, None)));
    // Of the lines before it every tenth is left out.
    assert_eq!(details, ["events:8102: /payload/features/w"]);
}

#[test]
fn a_disk_that_is_full_ends_it_and_not_the_stage() {
    let space = Space::new(&[("in", &events(300))]);
    let mut ahead = space.ahead(&Params::new());
    ahead.room = Room::with(&space.path("absent"), 0);
    let let_in = Some(space.ingest(&["in"], &ahead, 2));
    space
        .featurize(("absent", let_in), &Params::new(), Some(&ahead))
        .expect_err("nothing was read ahead");
    let made = space.featurize(("in", let_in), &Params::new(), Some(&ahead));
    made.expect("the file is read as ever");
}
