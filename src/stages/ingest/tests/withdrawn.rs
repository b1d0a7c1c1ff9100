//! Revocations: what they name, and what becomes of it.

use super::*;
use crate::consent::secret::ConsentSecret;

/// An event of a person, whose consent may be withdrawn or not.
fn of_person(id: &str, person: &str, is_revocable: bool) -> String {
    let source = format!("{{\"kind\":\"self\",\"site_id\":\"{person}\"}}");
    event(id, "research")
        .replace("\"self\"", &source)
        .replace("\"revocable\":true", &format!("\"revocable\":{is_revocable}"))
}

/// Revocations of these, named by the member `name`.
fn withdrawn(name: &str, ids: &[&str]) -> String {
    let line =
        |id: &&str| format!("{{\"{name}\":\"{id}\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"withdrawn\"}}\n");
    ids.iter().map(line).collect()
}

#[test]
fn a_revoked_event_is_left_out_and_an_unknown_revocation_is_told_by_line() {
    let space = Space::new(&three()).revoking(
        "{\"event_id\":\"evt-000003\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"withdrawn\"}\n\n\
         {\"event_id\":\"evt-999999\",\"time\":\"2026-02-01T00:00:00Z\"}\n",
    );
    assert_eq!(space.accepted(), event("evt-000001", "research"));
    let report = space.report();
    assert_eq!(report["counts"]["excluded"]["revoked"], 1);
    assert_eq!(report["revocations"]["matched"], 1);
    assert_eq!(report["revocations"]["unknown"], 1);
    let log = space.run().log;
    assert!(
        log.contains("3 events: 1 accepted, 1 not covered by the purpose, 1 revoked"),
        "{log}"
    );
    assert!(log.contains("data/revocations.ndjson:3"), "{log}");
    assert!(!log.contains("evt-"), "{log}");
}

#[test]
fn an_escaped_spelling_of_an_id_is_revoked_too() {
    let escaped = event("evt-000001", "research").replace("evt-000001", "\\u0065vt-000001");
    let space = Space::new(&[escaped, event("evt-000009", "research")].concat())
        .revoking("{\"event_id\":\"evt-000001\",\"time\":\"2026-02-01T00:00:00Z\"}");
    assert_eq!(space.accepted(), event("evt-000009", "research"));
}

#[test]
fn a_revocation_that_is_invalid_refuses_everything() {
    for revocation in [
        "{\"event_id\":\"evt-000001\"}",
        "{\"event_id\":\"evt-000001\",\"time\":\"yesterday\"}",
        "{\"event_id\":\"evt-000001\",\"time\":\"2026-02-01T00:00:00Z\",\"event_id\":\"evt-000002\"}",
        "{\"event_id\":\"evt-000001\",\"time\":\"2026-02-01T00:00:00Z\",\"note\":1}",
        "{\"event_id\":\"evt-000001\",\"subject\":\"p1\",\"time\":\"2026-02-01T00:00:00Z\"}",
        "{\"time\":\"2026-02-01T00:00:00Z\"}",
        "{\"event_id\":\"evt-000001\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"She moved away\"}",
        "evt-000001",
    ] {
        let refusal = Space::new(&three()).revoking(revocation).refusal();
        assert!(refusal.summary.starts_with("1 of 1 revocations"), "{}", refusal.summary);
        assert!(
            refusal.details[0].starts_with("data/revocations.ndjson:1: "),
            "{:?}",
            refusal.details
        );
    }
}

#[test]
fn a_revocation_says_which_one_thing_it_names() {
    for (revocation, told) in [
        (
            "{\"time\":\"2026-02-01T00:00:00Z\"}",
            "must have one of `event_id`, `subject`, `event_token`, `subject_token`, and only one [oneOf]",
        ),
        (
            "{\"event_id\":\"a\",\"subject\":\"b\",\"time\":\"2026-02-01T00:00:00Z\"}",
            "must have one of `event_id`, `subject`, `event_token`, `subject_token`, and only one [oneOf]",
        ),
        (
            "{\"event_id\":\"a\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"Moved away\"}",
            "/reason: does not match the pattern `^[a-z][a-z0-9_-]{0,63}$` [pattern]",
        ),
    ] {
        let refusal = Space::new(&three()).revoking(revocation).refusal();
        assert_eq!(refusal.details, [format!("data/revocations.ndjson:1: {told}")]);
    }
}

#[test]
fn a_person_is_revoked_with_all_events_of_theirs() {
    let lines = [
        of_person("evt-000001", "p1", true),
        of_person("evt-000002", "p2", true),
        of_person("evt-000003", "p1", true).replace("p1", "\\u0070\\u0031"),
        of_person("evt-000004", "p11", true),
        of_person("evt-000005", "p3", true),
    ];
    let revocations = withdrawn("subject", &["p1", "p3", "p9"]) + &withdrawn("event_id", &["evt-000001", "evt-000009"]);
    for pointer in ["/source/site_id", "/event_id"] {
        let mut space = Space::new(&lines.concat())
            .revoking(&revocations)
            .set("subject", pointer);
        if pointer == "/event_id" {
            space = space.revoking(&withdrawn(
                "subject",
                &["evt-000001", "evt-000003", "evt-000005", "evt-000009"],
            ));
        }
        assert_eq!(space.accepted(), [&*lines[1], &lines[3]].concat(), "{pointer}");
        let counts = match pointer {
            "/event_id" => serde_json::json!({
                "by_event": 0, "by_subject": 3, "kept": 0, "matched": 3, "non_revocable": 0, "total": 4, "unknown": 1
            }),
            // What is named itself and by its person is counted as named itself.
            _ => serde_json::json!({
                "by_event": 1, "by_subject": 2, "kept": 0, "matched": 3, "non_revocable": 0, "total": 5, "unknown": 2
            }),
        };
        assert_eq!(space.report()["revocations"], counts, "{pointer}");
        assert_eq!(space.report()["counts"]["excluded"]["revoked"], 3);
    }
}

#[test]
fn a_person_is_not_revoked_where_it_is_not_known_who_that_is() {
    let events = of_person("evt-000001", "p1", true);
    let revocations = withdrawn("event_id", &["evt-000009"]) + &withdrawn("subject", &["p1"]);
    let refusal = Space::new(&events).revoking(&revocations).refusal();
    assert_eq!(
        refusal.summary,
        "1 of 2 revocations name a person, and it is not known where events do; until it is, no event can be let in"
    );
    assert_eq!(refusal.details, ["data/revocations.ndjson:2: the first of them"]);
    assert!(refusal.help.is_some_and(|help| help.contains("`subject`")));
}

#[test]
fn where_events_name_a_person_every_event_must() {
    let lines = [
        of_person("evt-000001", "p1", true),
        event("evt-000002", "research"),
        of_person("evt-000003", "", true),
        of_person("evt-000004", "p\\u0007", true),
    ];
    let refusal = Space::new(&lines.concat()).set("subject", "/source/site_id").refusal();
    assert_eq!(
        refusal.details,
        [
            "data/in.ndjson:2: /source/site_id: is not a text: every event must name the person it came from [subject]",
            "data/in.ndjson:3: /source/site_id: is empty: every event must name the person it came from [subject]",
            "data/in.ndjson:4: /source/site_id: holds a control character [subject]",
        ]
    );
    for pointer in ["", "site_id", "/a~2"] {
        let summary = Space::new(&lines[0]).set("subject", pointer).refusal().summary;
        assert!(summary.contains("`subject` is no JSON pointer"), "{summary}");
    }
}

#[test]
fn what_cannot_be_revoked_is_revoked_all_the_same_unless_the_pipeline_keeps_it() {
    let lines = [
        of_person("evt-000001", "p1", false),
        of_person("evt-000002", "p1", true),
        of_person("evt-000003", "p3", false),
        of_person("evt-000004", "p4", true),
        of_person("evt-000005", "p1", false).replace("research", "care"),
    ];
    let revocations = withdrawn("event_id", &["evt-000003", "evt-000004"]) + &withdrawn("subject", &["p1"]);
    let space = || {
        Space::new(&lines.concat())
            .revoking(&revocations)
            .set("subject", "/source/site_id")
    };

    let refusal = space().refusal();
    assert!(
        refusal.summary.contains("5 events: 0 accepted, 5 revoked"),
        "{}",
        refusal.summary
    );
    let all = space().set("on_empty", "allow");
    let log = all.run().log;
    assert!(
        log.contains(
            "3 revoked, though their consents say that they cannot be: left out all the same (`non_revocable: honour`)"
        ),
        "{log}"
    );
    let counts = serde_json::json!({
        "by_event": 2, "by_subject": 3, "kept": 0, "matched": 3, "non_revocable": 3, "total": 3, "unknown": 0
    });
    assert_eq!(all.report()["revocations"], counts);

    let kept = space().set("non_revocable", "keep");
    let log = kept.run().log;
    assert_eq!(kept.output("events"), [&*lines[0], &lines[2]].concat());
    assert!(
        log.contains("2 revoked, though their consents say that they cannot be: kept (`non_revocable: keep`)"),
        "{log}"
    );
    // What the purpose does not cover is not kept either.
    let counts = serde_json::json!({
        "by_event": 1, "by_subject": 1, "kept": 2, "matched": 3, "non_revocable": 0, "total": 3, "unknown": 0
    });
    assert_eq!(kept.report()["revocations"], counts);
    assert_eq!(
        kept.report()["counts"]["excluded"],
        serde_json::json!({"purpose": 1, "revoked": 2})
    );
    assert_eq!(kept.report()["accepted_by"]["scope"]["research"], 2);

    let refusal = space().set("non_revocable", "ask").refusal();
    assert_eq!(refusal.summary, "`non_revocable` is not one of `honour`, `keep`");
}

#[test]
fn a_consent_that_does_not_say_so_can_be_revoked() {
    let line = event("evt-000001", "research").replace(",\"revocable\":true", "");
    for member in ["", ",\"revocable\":null", ",\"revocable\":\"false\""] {
        let line = line.replace("\"research\"", &format!("\"research\"{member}"));
        let space = Space::new(&line)
            .revoking(&withdrawn("event_id", &["evt-000001"]))
            .set("non_revocable", "keep")
            .set("on_empty", "allow");
        space.write("schema.json", b"{}");
        assert_eq!(space.accepted(), "", "{line}");
        assert_eq!(space.report()["revocations"]["kept"], 0);
    }
}

#[test]
fn the_quick_reader_and_the_complete_one_find_the_same_person_and_the_same_consent() {
    use crate::stages::featurize::reading::lines::{Random, event, mutate};

    let bytes = include_bytes!("../../../../schemas/byte_event.schema.json");
    let mut random = Random::new(19);
    for pointer in [
        None,
        Some("/source/site_id"),
        Some("/source"),
        Some("/payload/label"),
        Some("/payload/features/f1"),
    ] {
        let subject: Option<SubjectPointer> = pointer.map(|pointer| pointer.parse().expect("a pointer"));
        let schema = EventSchema::compile_with_subject(bytes, subject).expect("it is embedded");
        let recogniser = schema.recogniser().expect("it is in the subset");
        let mut memory = recogniser.memory();
        let (mut recognised, mut others, mut bound) = (0, 0, 0);
        for number in 0..20_000 {
            let mut line = event(&mut random, number).replace(" \\\"b\\\"", "").into_bytes();
            if random.below(2) == 0 {
                mutate(&mut random, &mut line);
            }
            let quick = recogniser
                .recognise(&line, &mut memory)
                .and_then(|found| event::Event::of(&found, &schema, None));
            let tree = event::read_json(&line);
            let complete = match &tree {
                Ok(tree) => event::check(tree, &schema, None),
                Err(_) => Err(Vec::new()),
            };
            match quick {
                Some(event) => {
                    recognised += 1;
                    bound += usize::from(!event.facts.consent.is_revocable);
                    let told =
                        |event: &event::Event<'_>| (event.id.to_owned(), event.subject.map(str::to_owned), event.facts);
                    let complete = complete.as_ref().map(told);
                    assert_eq!(complete, Ok(told(&event)), "{}", String::from_utf8_lossy(&line));
                }
                None => others += usize::from(complete.is_ok()),
            }
        }
        // What stands where another member is told is for the complete reader.
        let is_told_elsewhere = pointer == Some("/source");
        assert_eq!(
            recognised == 0,
            is_told_elsewhere,
            "{pointer:?}: {recognised}, {others}"
        );
        assert!(
            is_told_elsewhere || recognised > 500,
            "{pointer:?}: {recognised}, {others}"
        );
        assert!(
            is_told_elsewhere || (bound > 100 && bound < recognised),
            "{pointer:?}: {bound}"
        );
    }
}

/// Revocations of these, named by tokens under the secret of `tokens`.
fn by_token(tokens: &Tokens, events: &[&str], persons: &[&str]) -> String {
    let line = |name: &str, token: String| {
        let secret = tokens.secret().to_hex();
        format!(
            "{{\"{name}\":\"{token}\",\"secret\":\"{secret}\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"erased\"}}\n"
        )
    };
    let events = events.iter().map(|id| line("event_token", tokens.token(id).to_hex()));
    let persons = persons
        .iter()
        .map(|id| line("subject_token", tokens.subject(id).to_hex()));
    events.chain(persons).collect()
}

#[test]
fn an_event_that_is_revoked_by_its_token_is_known_when_it_comes_back() {
    let lines = [
        of_person("evt-000001", "p1", true).replace("evt-", "\\u0065vt-"),
        of_person("evt-000002", "p2", true),
        of_person("evt-000003", "p3", true),
        of_person("evt-000004", "p3", true),
    ];
    let secret = ConsentSecret::from_bytes([9; 32]);
    let tokens = Tokens::by(&secret);
    let revocations = by_token(&tokens, &["evt-000001", "evt-000003", "evt-000009"], &["p3"]);
    let mut space = Space::new(&lines.concat())
        .revoking(&revocations)
        .set("subject", "/source/site_id");
    space.secret = Some(secret);
    assert_eq!(space.accepted(), lines[1]);
    let counts = serde_json::json!({
        "by_event": 2, "by_subject": 1, "kept": 0, "matched": 3, "non_revocable": 0, "total": 4, "unknown": 1
    });
    assert_eq!(space.report()["revocations"], counts);
}

#[test]
fn tokens_under_a_secret_that_is_not_at_hand_refuse_everything() {
    let theirs = Tokens::by(&ConsentSecret::from_bytes([9; 32]));
    let revocations = by_token(&theirs, &["evt-999999"], &[]) + &withdrawn("event_id", &["evt-999999"]);
    for (secret, what) in [
        (None, "there is no consent secret at hand"),
        (Some([8; 32]), "the consent secret at hand is another"),
    ] {
        let mut space = Space::new(&three()).revoking(&revocations);
        space.secret = secret.map(ConsentSecret::from_bytes);
        let refusal = space.refusal();
        let summary =
            format!("1 of 2 revocations name by a token, and {what}; until theirs is, no event can be let in");
        assert_eq!(refusal.summary, summary);
        let id = &theirs.secret().to_hex()[..8];
        let detail = format!("data/revocations.ndjson:1: under the secret {id}…, the first of them");
        assert_eq!(refusal.details, [detail]);
        assert!(refusal.help.is_some_and(|help| help.contains("MADMALL_CONSENT_SECRET")));
    }
    // A token without its secret could be of any; a secret without a token is a mistake.
    let hash = "ab".repeat(32);
    for (line, told) in [
        (
            format!("{{\"event_token\":\"{hash}\",\"time\":\"2026-02-01T00:00:00Z\"}}"),
            "/secret: is missing [required]",
        ),
        (
            format!("{{\"event_id\":\"a\",\"secret\":\"{hash}\",\"time\":\"2026-02-01T00:00:00Z\"}}"),
            "/secret: stands beside a token only [dependentSchemas]",
        ),
        (
            format!("{{\"event_token\":\"AB\",\"secret\":\"{hash}\",\"time\":\"2026-02-01T00:00:00Z\"}}"),
            "/event_token: does not match the pattern",
        ),
    ] {
        let mut space = Space::new(&three()).revoking(&line);
        space.secret = Some(ConsentSecret::from_bytes([9; 32]));
        let details = space.refusal().details.concat();
        assert!(details.contains(told), "{line}: {details}");
    }
}
