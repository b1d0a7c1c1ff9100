//! One spelling: what is read is what was written, byte for byte.

use std::collections::BTreeMap;

use madmall::digest::{Digests, Sha256};
use madmall::receipt::envelope::{Envelope, EnvelopeError, sign};
use madmall::receipt::run_file::{RunFile, split_lines};
use madmall::receipt::statement::{LogHead, MAX_LOG_HEADS, Made, Repository, Resource, Role, Statement};
use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

use super::world::{World, key, run_statement, signed};

/// Changes digests to what they may not be.
fn change_digests(resource: &mut Resource, change: impl FnOnce(&mut BTreeMap<String, String>)) {
    let digest = serde_json::to_value(&resource.digest).expect("a map");
    let mut all = serde_json::from_value(digest).expect("of texts");
    change(&mut all);
    resource.digest = all.into();
}

fn run_file() -> RunFile {
    World::new().run("run-1", "2026-11-23T09:15:00Z", &key(1))
}

#[test]
fn what_was_signed_reads_back_and_verifies_with_its_key_alone() {
    let file = run_file();
    assert_eq!(RunFile::parse(&file.to_bytes()).expect("its own spelling"), file);
    file.verify_signatures(&key(1).public()).expect("its own key");
    assert!(file.verify_signatures(&key(2).public()).is_err());
    assert_eq!(file.run_id(), "run-1");
}

#[test]
fn an_envelope_that_names_another_key_than_the_one_that_signed_is_refused() {
    let line = run_file().receipts()[0].envelope.to_line();
    let (own, other) = (key(1).public().keyid(), key(2).public().keyid());
    let line = line.replace(&own.to_string(), &other.to_string());
    let envelope = Envelope::parse(line.as_bytes()).expect("still an envelope");
    let error = envelope
        .verify_signature(&key(1).public())
        .expect_err("must be refused");
    assert!(matches!(error, EnvelopeError::KeyId { .. }));
}

#[test]
fn other_spellings_of_the_same_envelope_are_refused() {
    let line = run_file().receipts()[0].envelope.to_line();
    for other in [
        line.replace(r#"{"payload""#, r#"{ "payload""#),
        line.replace(r#""payloadType""#, r#""payload\u0054ype""#),
        line.replace(r#"}]}"#, r#"},{"keyid":"","sig":""}]}"#),
        line.replace(r#"}]}"#, r#"}],"x":1}"#),
        line.replace("==\"", "\""),
        format!("{line}\n"),
        format!(" {line}"),
        line.replace("in-toto+json", "in-toto+jso"),
    ] {
        assert_ne!(other, line);
        assert!(Envelope::parse(other.as_bytes()).is_err(), "{other}");
    }
}

#[test]
fn other_spellings_of_the_same_statement_are_refused() {
    let payload = run_file().receipts()[0].envelope.payload().to_vec();
    let text = String::from_utf8(payload).expect("UTF-8");
    assert!(Statement::parse(text.as_bytes()).is_ok());
    let second = |from: &str, to: &str| text.replacen(from, to, 1);
    for other in [
        second(r#""stage":{"command""#, r#""stage": {"command""#),
        second(r#""purpose":"research""#, r#""purpose":null"#),
        second(r#""purpose":"research""#, r#""purpose":"research","purpose":"care""#),
        second(r#""purpose":"research""#, r#""purpose":"research","reason":"x""#),
        second(r#""purpose":"research""#, r#""purpose":1.5"#),
        second(
            r#""_type":"https://in-toto.io/Statement/v1""#,
            r#""_type":"https://in-toto.io/Statement/v0.1""#,
        ),
        second("urn:madmall:stage:v1", "urn:madmall:stage:v2"),
        second("urn:madmall:builder:local", "urn:madmall:builder:other"),
        second("2026-11-23T09:15:00Z", "2026-11-23T09:15:00.0Z"),
        second("2026-11-23T09:15:00Z", "2026-13-23T09:15:00Z"),
        second(r#""number":"0.5""#, r#""number":"0.50""#),
        second(r#""invocationId":"run-1""#, r#""invocationId":"../run""#),
    ] {
        assert_ne!(other, text);
        assert!(Statement::parse(other.as_bytes()).is_err(), "{other}");
    }
}

#[test]
fn a_statement_whose_parts_do_not_go_together_is_never_signed() {
    let statement = run_file().receipts()[0].statement.clone();
    let digests = Digests::of(b"x");
    let output = || Role::Output {
        consent: None,
        executable: false,
        output: "out".to_owned(),
        stage: None,
    };
    type Change<'a> = &'a dyn Fn(&mut Statement);
    let broken: [(&str, Change<'_>); 10] = [
        ("no subject", &|s| s.subject.clear()),
        ("a second subject", &|s| {
            s.subject.push(Resource::file("z", &digests, output()))
        }),
        ("a path that leaves", &|s| s.subject[0].name = "../mid.txt".to_owned()),
        ("an absolute path", &|s| s.subject[0].name = "/mid.txt".to_owned()),
        ("one digest of two", &|s| {
            change_digests(&mut s.subject[0], |all| drop(all.remove("blake3")))
        }),
        ("an unknown digest", &|s| {
            change_digests(&mut s.subject[0], |all| {
                drop(all.insert("md5".to_owned(), "00".to_owned()))
            });
        }),
        ("an upper-case digest", &|s| {
            change_digests(&mut s.subject[0], |all| {
                let digest = all.get_mut("sha256").expect("it is there");
                *digest = digest.to_uppercase();
            });
        }),
        ("dependencies out of order", &|s| {
            s.predicate.build_definition.resolved_dependencies.reverse();
        }),
        ("a commit that is no dependency", &|s| {
            s.predicate.build_definition.internal_parameters.madmall.made = Made {
                commit: Some("0".repeat(40)),
                differs: Vec::new(),
                repository: Repository::Git,
            };
        }),
        ("a difference without a commit", &|s| {
            let made = &mut s.predicate.build_definition.internal_parameters.madmall.made;
            made.differs.push("in.txt".to_owned());
        }),
    ];
    for (what, change) in broken {
        let mut changed = statement.clone();
        change(&mut changed);
        assert!(changed.to_payload().is_err(), "{what}");
    }
}

#[test]
fn heads_of_logs_are_in_one_order_and_one_spelling() {
    let statement = run_file().receipts()[0].statement.clone();
    let head = |number: usize| LogHead {
        origin: format!("madmall/{number:016x}"),
        root: "0".repeat(64),
        size: 1,
    };
    let with = |logs: Vec<LogHead>| {
        let mut changed = statement.clone();
        changed.predicate.build_definition.internal_parameters.madmall.logs = logs;
        changed.to_payload()
    };
    let most: Vec<LogHead> = (0..MAX_LOG_HEADS).map(head).collect();
    let payload = with(most.clone()).expect("a statement");
    assert_eq!(Statement::parse(&payload).expect("read").internal().logs, most);
    type Change<'a> = &'a dyn Fn(&mut Vec<LogHead>);
    let broken: [(&str, Change<'_>); 8] = [
        ("one too many", &|logs| logs.push(head(MAX_LOG_HEADS))),
        ("twice", &|logs| logs[1].origin = logs[0].origin.clone()),
        ("out of order", &|logs| logs.swap(0, 1)),
        ("empty", &|logs| logs[0].size = 0),
        ("beyond what JSON holds", &|logs| logs[0].size = 1 << 53),
        ("an upper-case root", &|logs| logs[0].root = "A".repeat(64)),
        ("another origin", &|logs| logs[0].origin = "example.org/log".to_owned()),
        ("a short id", &|logs| logs[0].origin = "madmall/0".to_owned()),
    ];
    for (what, change) in broken {
        let mut logs = most.clone();
        change(&mut logs);
        assert!(with(logs).is_err(), "{what}");
    }
}

#[test]
fn a_folder_as_input_is_tied_to_each_of_its_files() {
    use madmall::listing::{ListedFile, listing_digests};
    let mut statement = run_file().receipts()[0].statement.clone();
    let digests = Digests::of(b"1");
    let files = [ListedFile {
        path: "d/1".into(),
        executable: true,
        digests,
    }];
    let listing = listing_digests(&files).expect("a listing");
    let dependencies = &mut statement.predicate.build_definition.resolved_dependencies;
    let folder = Role::Input {
        consent: None,
        input: "folder".to_owned(),
        receipt: None,
    };
    let member = |executable| Role::Member {
        executable,
        input: "folder".to_owned(),
    };
    dependencies.push(Resource::artifact(
        "d",
        &madmall::listing::ArtifactDigests::Folder(listing),
        folder,
    ));
    dependencies.push(Resource::file("d/1", &digests, member(true)));
    let statement = Statement::new(statement.subject, statement.predicate);
    assert!(statement.to_payload().is_ok());
    let mut other = statement.clone();
    let last = other.predicate.build_definition.resolved_dependencies.last_mut();
    last.expect("the member").annotations.madmall = member(false);
    assert!(other.to_payload().is_err());
    // With none of its files listed (there are too many), the digests stand alone; but not a part of the files.
    let mut unlisted = statement.clone();
    unlisted.predicate.build_definition.resolved_dependencies.pop();
    let payload = unlisted.to_payload().expect("a statement");
    assert!(Statement::parse(&payload).is_ok());
    let mut more = statement.clone();
    let dependencies = &mut more.predicate.build_definition.resolved_dependencies;
    dependencies.push(Resource::file("d/2", &digests, member(false)));
    assert!(more.to_payload().is_err());
    for (name, value) in [("dirHash", "0"), ("sha256", &"0".repeat(64))] {
        let mut other = unlisted.clone();
        let mut dependencies = other.predicate.build_definition.resolved_dependencies.iter_mut();
        let folder = dependencies.find(|resource| resource.name == "d");
        change_digests(folder.expect("the folder"), |all| {
            all.remove("dirHash").expect("it is there");
            all.insert(name.to_owned(), value.to_owned());
        });
        let is_file = name == "sha256";
        assert_eq!(
            other.to_payload().is_ok(),
            is_file,
            "{name}: as a file it may stand there"
        );
    }
}

/// The receipt of a run of so many stages, each with an output.
fn run_of(stages: usize) -> Statement {
    let file = run_file();
    let mut statement = file.receipts().last().expect("the run's own").statement.clone();
    let output = statement.subject[0].clone();
    statement.subject.clear();
    let dependencies = &mut statement.predicate.build_definition.resolved_dependencies;
    dependencies.retain(|dependency| matches!(dependency.role(), Role::Definition {}));
    for number in 0..stages {
        let stage = format!("s{number}");
        dependencies.push(Resource::receipt_of_stage(Sha256::of(stage.as_bytes()), &stage));
        let mut output = output.clone();
        output.name = format!("out/\u{e4}{number}");
        if let Role::Output { stage: of, .. } = &mut output.annotations.madmall {
            *of = Some(stage);
        }
        statement.subject.push(output);
    }
    Statement::new(statement.subject, statement.predicate)
}

#[test]
fn the_receipt_of_many_stages_is_spelled_and_signed_like_any_other() {
    for stages in [1, 255, 256, 257, 512, 600] {
        let statement = run_of(stages);
        let payload = statement.to_payload().expect("it holds together");
        let canonical = serde_json_canonicalizer::to_vec(&statement).expect("spelled");
        assert!(payload == canonical, "{stages} stages");

        let signed = sign(&statement, &key(1)).expect("signed");
        let line = signed.line.strip_suffix('\n').expect("a line");
        let envelope = Envelope::parse(line.as_bytes()).expect("its own spelling");
        assert!(envelope.to_line() == line, "{stages} stages");
        assert_eq!(envelope.payload(), payload);
        assert_eq!(envelope.verify_signature(&key(1).public()), Ok(()));
        assert_eq!((envelope.receipt_id(), envelope.keyid()), (signed.id, signed.keyid));
        assert_eq!(signed.id, Sha256::of(&payload));
    }
}

#[test]
fn a_run_file_with_lines_missing_or_moved_is_refused() {
    let file = run_file();
    let text = String::from_utf8(file.to_bytes()).expect("UTF-8");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let [a, b, run] = lines[..] else { panic!("three lines") };
    for (other, part) in [
        (String::new(), "empty"),
        (format!("{a}{b}"), "last receipt"),
        (format!("{a}{run}{b}"), "last receipt"),
        (format!("{a}{a}{b}{run}"), "twice"),
        (format!("{a}\n{b}{run}"), "empty"),
        (format!("{text}\n"), "empty"),
        (text.trim_end().to_owned(), "no line break"),
        (format!("{run}{run}"), "not the last"),
    ] {
        let error = RunFile::parse(other.as_bytes())
            .expect_err("must be refused")
            .to_string();
        assert!(error.contains(part), "{error}");
    }
    // A run's receipt that names the first stage only.
    let [first, _, whole] = file.receipts() else {
        panic!("three receipts")
    };
    let made = whole.statement.internal().made.clone();
    let part = run_statement(std::slice::from_ref(first), made, "run-1", "2026-11-23T09:15:00Z");
    let part = signed(&part, &key(1)).envelope.to_line() + "\n";
    let error = RunFile::parse(format!("{a}{b}{part}").as_bytes()).expect_err("must be refused");
    assert!(error.to_string().contains("does not name"), "{error}");
    let stranger = World::new().run("run-2", "2026-11-23T09:15:00Z", &key(1));
    let stranger = String::from_utf8(stranger.to_bytes()).expect("UTF-8");
    let first = stranger.split_inclusive('\n').next().expect("a line");
    let error = RunFile::parse(format!("{first}{text}").as_bytes()).expect_err("must be refused");
    assert!(error.to_string().contains("another run"), "{error}");
}

#[test]
fn the_same_receipt_by_two_keys_has_one_id() {
    let file = run_file();
    let statement = &file.receipts()[0].statement;
    assert_eq!(signed(statement, &key(1)).id, signed(statement, &key(2)).id);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused_without_panic(bytes: Vec<u8>) {
        if let Ok(envelope) = Envelope::parse(&bytes) {
            prop_assert_eq!(envelope.to_line().into_bytes(), bytes.clone());
        }
        let _ = Statement::parse(&bytes);
        let _ = RunFile::parse(&bytes);
        let _ = split_lines(&bytes);
    }

    #[test]
    fn damaged_receipts_are_read_back_as_they_are_or_refused(
        at in any::<proptest::sample::Index>(), byte: u8, cut in any::<proptest::sample::Index>(),
    ) {
        let line = run_file().receipts()[0].envelope.to_line().into_bytes();
        let mut changed = line.clone();
        changed[at.index(line.len())] = byte;
        if let Ok(envelope) = Envelope::parse(&changed) {
            prop_assert_eq!(envelope.to_line().into_bytes(), changed);
        }
        assert!(Envelope::parse(&line[..cut.index(line.len())]).is_err());
        let payload = run_file().receipts()[0].envelope.payload().to_vec();
        let mut changed = payload.clone();
        changed[at.index(payload.len())] = byte;
        if let Ok(statement) = Statement::parse(&changed) {
            prop_assert_eq!(statement.to_payload().expect("it was read"), changed);
        }
    }
}

#[test]
fn keyed_digests_are_of_one_kind_and_one_secret_and_go_on_to_what_is_made() {
    use madmall::commitment::PersonalKey;
    use madmall::consent::secret::ConsentSecret;
    use madmall::listing::ArtifactDigests;
    let statement = run_file().receipts()[0].statement.clone();
    let key = |byte| PersonalKey::of(&ConsentSecret::from_bytes([byte; 32]));
    let keyed = |resource: &mut Resource, byte| {
        let plain = ArtifactDigests::File(Digests::of(b"x")).keyed(&key(byte));
        *resource = Resource::artifact(resource.name.clone(), &plain, resource.role().clone());
    };
    let input = |statement: &mut Statement, change: &dyn Fn(&mut Resource)| {
        let dependencies = &mut statement.predicate.build_definition.resolved_dependencies;
        let is_input = |resource: &&mut Resource| matches!(resource.role(), Role::Input { .. });
        change(dependencies.iter_mut().find(is_input).expect("an input"));
    };
    let mut personal = statement.clone();
    input(&mut personal, &|resource| keyed(resource, 7));
    keyed(&mut personal.subject[0], 7);
    let payload = personal.to_payload().expect("a statement");
    assert!(Statement::parse(&payload).expect("read") == personal);
    // An output may be personal by itself.
    let mut alone = statement.clone();
    keyed(&mut alone.subject[0], 7);
    assert!(alone.to_payload().is_ok());
    type Change<'a> = &'a dyn Fn(&mut Statement);
    let broken: [(&str, Change<'_>); 8] = [
        ("plain, of what is keyed", &|s| {
            s.subject[0] = statement.subject[0].clone()
        }),
        ("two secrets", &|s| keyed(&mut s.subject[0], 8)),
        ("no secret named", &|s| s.subject[0].annotations.madmall_secret = None),
        ("a secret of another spelling", &|s| {
            s.subject[0].annotations.madmall_secret = Some("A".repeat(64));
        }),
        ("a secret beside plain digests", &|s| {
            s.subject[0].digest = statement.subject[0].digest.clone();
        }),
        ("of both kinds", &|s| {
            change_digests(&mut s.subject[0], |all| {
                drop(all.insert("sha256".to_owned(), "0".repeat(64)))
            });
        }),
        ("half of each kind", &|s| {
            change_digests(&mut s.subject[0], |all| {
                all.remove("hmacSha256").expect("it is there");
                all.insert("sha256".to_owned(), "0".repeat(64));
            });
        }),
        ("a definition", &|s| {
            let dependencies = &mut s.predicate.build_definition.resolved_dependencies;
            let is_definition = |resource: &&mut Resource| matches!(resource.role(), Role::Definition {});
            keyed(dependencies.iter_mut().find(is_definition).expect("one"), 7);
        }),
    ];
    for (what, change) in broken {
        let mut changed = personal.clone();
        change(&mut changed);
        assert!(changed.to_payload().is_err(), "{what}");
    }
    // Unless it says that it holds nothing of a person any more; then it is not keyed.
    let mut declassified = personal.clone();
    declassified.subject[0] = statement.subject[0].clone();
    let stage = &mut declassified.predicate.build_definition.external_parameters.stage;
    stage.as_mut().expect("a stage").declassify = vec!["out".to_owned()];
    assert!(declassified.to_payload().is_ok());
    keyed(&mut declassified.subject[0], 7);
    assert!(declassified.to_payload().is_err());
}
