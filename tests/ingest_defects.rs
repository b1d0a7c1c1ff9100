//! Each defect of the package that madmall replaces, as a case that must come out right: in its command (`compat`),
//! which shares its checks with the stage, and over the real records.

use std::fs::{self, File};
use std::io::Write as _;

use camino::Utf8PathBuf;
use madmall::compat::CompatOutcome;
use madmall::compat::ingest::{IngestArgs, ingest};
use madmall::exit_code::ExitCode;
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};
use proptest::strategy::Strategy as _;
use serde_json::Value;

const GOOD: &str = r#"{"event_id":"evt-000001","timestamp":"2026-01-05T07:12:33Z","source":{"kind":"self"},"consent":{"scope":"care","revocable":true},"payload":{"type":"lab_marker","label":"a","features":{"x":1.5}}}"#;

struct Space {
    folder: tempfile::TempDir,
}

impl Space {
    fn with(raw: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut file = File::create(folder.path().join("raw.ndjson")).expect("the folder can be written to");
        file.write_all(raw).expect("the folder can be written to");
        Self { folder }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.folder.path().join(name)).expect("a UTF-8 path")
    }

    fn run(&self) -> (CompatOutcome, Value) {
        let outcome = ingest(
            &IngestArgs {
                raw: self.path("raw.ndjson"),
                out: self.path("out/events.ndjson"),
            },
            2,
        );
        let json = serde_json::from_str(&outcome.json).expect("one JSON object");
        (outcome, json)
    }

    fn written(&self) -> Option<Vec<u8>> {
        fs::read(self.path("out/events.ndjson")).ok()
    }
}

/// What is accepted, with the very bytes that came in.
fn accepted(raw: &[u8]) -> Vec<u8> {
    let space = Space::with(raw);
    let (outcome, json) = space.run();
    assert_eq!(outcome.code, ExitCode::Success, "{}", outcome.json);
    assert_eq!(json["status"], "OK");
    space.written().expect("events were written")
}

/// The errors of what is refused, as `field: message`; nothing is written.
fn refused(raw: &[u8]) -> Vec<String> {
    let space = Space::with(raw);
    let (outcome, json) = space.run();
    let shown = String::from_utf8_lossy(&raw[..raw.len().min(300)]).into_owned();
    assert_eq!(outcome.code, ExitCode::Refused, "{shown}");
    assert_eq!(json["status"], "FAIL_CLOSED");
    assert_eq!(space.written(), None);
    let events = json["errors"].as_array().cloned().unwrap_or_default();
    events
        .iter()
        .flat_map(|event| event["errors"].as_array().expect("a list of errors"))
        .map(|error| {
            let text = |key: &str| error[key].as_str().expect("a text").to_owned();
            format!("{}: {}", text("field"), text("message"))
        })
        .collect()
}

fn changed(from: &str, to: &str) -> Vec<u8> {
    assert!(GOOD.contains(from), "`{from}` is not in the event");
    GOOD.replacen(from, to, 1).into_bytes()
}

#[test]
fn what_the_schema_rejects_is_refused_by_field_and_rule() {
    let source = r#"{"kind":"self"}"#;
    for (from, to, error) in [
        (
            r#""event_id""#,
            r#""extra":1,"event_id""#,
            "extra: is no known field [additionalProperties]",
        ),
        (
            r#""kind""#,
            r#""extra":1,"kind""#,
            "source.extra: is no known field [additionalProperties]",
        ),
        (
            r#""scope""#,
            r#""extra":1,"scope""#,
            "consent.extra: is no known field [additionalProperties]",
        ),
        (
            r#""type""#,
            r#""extra":1,"type""#,
            "payload.extra: is no known field [additionalProperties]",
        ),
        (
            "evt-000001",
            "evt-1",
            "event_id: is shorter than 6 characters [minLength]",
        ),
        (
            "evt-000001",
            "😀😀😀😀😀",
            "event_id: is shorter than 6 characters [minLength]",
        ),
        (
            "2026-01-05T07:12:33Z",
            "2026-01-0",
            "timestamp: is shorter than 10 characters [minLength]",
        ),
        (
            "2026-01-05T07:12:33Z",
            "not-a-date",
            "timestamp: is no valid `date` or `date-time` [format]",
        ),
        (
            "2026-01-05T07:12:33Z",
            "2026-02-30",
            "timestamp: is no valid `date` or `date-time` [format]",
        ),
        (
            source,
            r#"{"kind":"self","site_id":7}"#,
            "source.site_id: is not of type \"string\" [type]",
        ),
        (
            source,
            r#"{"kind":"self","region":null}"#,
            "source.region: is not of type \"string\" [type]",
        ),
        (
            r#"label":"a""#,
            r#"label":1"#,
            "payload.label: is not of type \"null\" or \"string\" [type]",
        ),
        (
            r#"label":"a""#,
            r#"label":true"#,
            "payload.label: is not of type \"null\" or \"string\" [type]",
        ),
        (
            r#"label":"a""#,
            r#"label":{}"#,
            "payload.label: is not of type \"null\" or \"string\" [type]",
        ),
        (
            r#"{"x":1.5}"#,
            "null",
            "payload.features: is not of type \"object\" [type]",
        ),
        (
            "1.5",
            "[1]",
            "payload.features.x: is not of type \"null\" or \"boolean\" or \"number\" or \"string\" [type]",
        ),
        (
            "1.5",
            r#"{"v":1}"#,
            "payload.features.x: is not of type \"null\" or \"boolean\" or \"number\" or \"string\" [type]",
        ),
        (
            r#""care""#,
            r#""any""#,
            "consent.scope: is not one of \"care\", \"research\" [enum]",
        ),
        (
            r#""kind":"self""#,
            r#""region":"r""#,
            "source.kind: is missing [required]",
        ),
        (
            source,
            r#""hacker""#,
            "source: is not one of \"self\", \"pharmacy\", \"event\", \"mobile_unit\", \"mail_kit\" [enum]",
        ),
        (source, "7", "source: is not of type \"object\" or \"string\" [type]"),
        (
            r#","consent":{"scope":"care","revocable":true}"#,
            "",
            "consent: is missing [required]",
        ),
    ] {
        let errors = refused(&changed(from, to));
        assert!(errors.iter().any(|found| found == error), "{to}: {errors:?}");
    }
}

#[test]
fn what_the_schema_accepts_is_accepted() {
    for (from, to) in [
        ("evt-000001", "      "),
        ("evt-000001", "😀😀😀😀😀😀"),
        ("2026-01-05T07:12:33Z", "2026-01-05"),
        ("2026-01-05T07:12:33Z", "2026-01-05T07:12:33.25+02:00"),
        (r#"{"kind":"self"}"#, r#""mail_kit""#),
        (r#""label":"a","#, ""),
        (r#""label":"a""#, r#""label":null"#),
        ("1.5", "null"),
        ("1.5", r#""text""#),
        ("1.5", "18446744073709551616"),
    ] {
        let raw = changed(from, to);
        assert_eq!(accepted(&raw), raw, "{to}");
    }
}

#[test]
fn what_is_no_json_is_a_fault_of_its_line_and_never_a_crash() {
    let long = |digits: usize| "9".repeat(digits);
    for (from, to) in [
        ("1.5", "NaN".to_owned()),
        ("1.5", "Infinity".to_owned()),
        ("1.5", "-Infinity".to_owned()),
        ("1.5", "01".to_owned()),
        ("1.5", "1e400".to_owned()),
        ("1.5", long(400)),
        ("1.5", long(5000)),
        ("1.5", "[".repeat(100_000)),
        ("1.5", format!("{}{}", "[".repeat(70), "]".repeat(70))),
        (r#""x""#, "\"x\u{1}\"".to_owned()),
        (r#"label":"a""#, r#"label":"\ud800""#.to_owned()),
        ("}}}", "}}".to_owned()),
        ("}}}", "}}} {}".to_owned()),
        ("{\"event_id", "\u{a0}{\"event_id".to_owned()),
        ("{\"event_id", "\u{c}{\"event_id".to_owned()),
        ("{\"event_id", "\u{1c}{\"event_id".to_owned()),
        (r#""scope":"care""#, r#""scope":"research","scope":"care""#.to_owned()),
        (r#""kind":"self""#, r#""kind":"hacker","kind":"self""#.to_owned()),
        (r#""x":1.5"#, r#""x":1.5,"\u0078":2.5"#.to_owned()),
    ] {
        let errors = refused(&changed(from, &to));
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].ends_with("[json]"), "{errors:?}");
    }
    assert!(refused(b"{\"event_id\":\"\xff\xfe\"}")[0].ends_with("[json]"));
    assert!(
        refused(b"\"\xed\xa0\x80\"")[0].ends_with("[json]"),
        "surrogates in CESU form are no UTF-8"
    );
}

#[test]
fn lines_end_with_lf_or_cr_lf_and_nothing_else_parts_events() {
    let line = |raw: String| refused(raw.as_bytes());
    assert!(line(format!("{GOOD}\r{GOOD}\n"))[0].contains("carriage return inside"));
    assert!(line(GOOD.replacen(',', ",\r", 1))[0].contains("carriage return inside"));
    assert!(line(format!("{GOOD}\r\r\n"))[0].contains("carriage return inside"));
    assert!(line(format!("\u{feff}{GOOD}"))[0].contains("byte order mark"));
    assert!(line(GOOD.replace("1.5", &format!("\"{}\"", "x".repeat(8 << 20))))[0].contains("longer than"));
    let crlf = format!("{GOOD}\r\n");
    assert_eq!(accepted(crlf.as_bytes()), crlf.as_bytes());
}

#[test]
fn a_value_of_another_type_than_expected_is_a_fault_and_never_a_crash() {
    for (from, to, field) in [
        (r#""kind":"self""#, r#""kind":["self"]"#, "source.kind"),
        (r#""scope":"care""#, r#""scope":{}"#, "consent.scope"),
        (r#""type":"lab_marker""#, r#""type":[]"#, "payload.type"),
    ] {
        let errors = refused(&changed(from, to));
        assert!(errors[0].starts_with(field), "{errors:?}");
    }
    for raw in ["null", "[]", "7", "\"x\""] {
        assert!(!refused(raw.as_bytes()).is_empty());
    }
}

#[test]
fn one_id_with_two_contents_and_a_nul_in_an_id_are_faults() {
    let other = GOOD.replace("1.5", "2.5");
    let errors = refused(format!("{GOOD}\n{other}\n").as_bytes());
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(
        errors[0].contains("(line 2) [duplicate]") && errors[1].contains("(line 1) [duplicate]"),
        "{errors:?}"
    );
    assert!(refused(&changed("evt-000001", "evt-\\u0000001"))[0].starts_with("event_id: holds a control character"));
    let raw = format!("{GOOD}\n{GOOD}\n");
    assert_eq!(accepted(raw.as_bytes()), format!("{GOOD}\n").into_bytes());
}

#[test]
fn a_missing_or_empty_input_is_refused_with_the_path() {
    let space = Space::with(b" \n\n");
    let (outcome, json) = space.run();
    assert_eq!(
        (outcome.code, &json["why"]),
        (ExitCode::Refused, &Value::from("No events found in the input file"))
    );
    fs::remove_file(space.path("raw.ndjson")).expect("the file is there");
    let (outcome, json) = space.run();
    assert_eq!(
        (outcome.code, &json["why"]),
        (ExitCode::Refused, &Value::from("Input file not found"))
    );
    assert_eq!(json["path"], space.path("raw.ndjson").as_str());
    fs::create_dir(space.path("raw.ndjson")).expect("the folder can be written to");
    assert_eq!(space.run().0.code, ExitCode::Refused);
}

#[test]
fn the_output_is_whole_or_as_it_was() {
    let space = Space::with(GOOD.as_bytes());
    assert_eq!(space.run().0.code, ExitCode::Success);
    let good = space.written();
    let mut raw = File::create(space.path("raw.ndjson")).expect("the folder can be written to");
    let bad = changed(r#"label":"a""#, r#"label":"\ud800""#);
    raw.write_all(&[GOOD.as_bytes(), b"\n", &bad].concat())
        .expect("the folder can be written to");
    assert_eq!(space.run().0.code, ExitCode::Refused);
    assert_eq!(space.written(), good);
    let beside: Vec<_> = fs::read_dir(space.path("out")).expect("a folder").collect();
    assert_eq!(beside.len(), 1, "a temporary file was left");
}

#[test]
fn no_value_is_rewritten() {
    let values = r#"{"x":1e2,"y":1e-400,"z":-0.0,"w":1.50,"\u0076":"\u00e9"}"#;
    let raw = format!("  {}\t\n", GOOD.replace(r#"{"x":1.5}"#, values)).into_bytes();
    assert_eq!(accepted(&raw), raw);
}

#[test]
fn what_is_printed_keeps_the_replaced_packages_keys_and_order() {
    let bad = GOOD.replace("evt-000001", "evt-1");
    let space = Space::with(format!("{GOOD}\n\n \t\n{bad}\n").as_bytes());
    let (outcome, _) = space.run();
    let expected = r#"{
  "status": "FAIL_CLOSED",
  "why": "One or more events failed schema validation",
  "errors": [
    {
      "index": 1,
      "line": 4,
      "errors": [
        {
          "message": "is shorter than 6 characters [minLength]",
          "field": "event_id"
        }
      ]
    }
  ]
}"#;
    assert_eq!(outcome.json, expected);
    let space = Space::with(GOOD.as_bytes());
    let path = space.path("out/events.ndjson");
    let expected = format!("{{\n  \"status\": \"OK\",\n  \"written\": 1,\n  \"path\": \"{path}\"\n}}");
    assert_eq!(space.run().0.json, expected);
}

#[test]
fn errors_are_bounded_and_the_rest_is_counted() {
    let lines: String = (0..3000).map(|n| format!("{{\"n\":{n}\n")).collect();
    let space = Space::with(lines.as_bytes());
    let (outcome, json) = space.run();
    assert_eq!(json["errors"].as_array().map(Vec::len), Some(1000));
    assert_eq!(outcome.notes, ["2,000 more errors are not listed"]);
}

#[test]
fn no_message_repeats_a_value_of_an_event() {
    for (from, to) in [
        ("2026-01-05T07:12:33Z", "SECRET-TIME"),
        (r#""label":"a""#, r#""label":["SECRET"]"#),
        (r#""kind":"self""#, r#""kind":"SECRET""#),
        (r#"{"kind":"self"}"#, r#""SECRET""#),
        (r#""care""#, r#""SECRET""#),
        ("1.5", r#"["SECRET"]"#),
        ("1.5", r#""SECRET" "SECRET""#),
        ("true", r#""SECRET""#),
    ] {
        let space = Space::with(&changed(from, to));
        let (outcome, _) = space.run();
        assert_eq!(outcome.code, ExitCode::Refused);
        assert!(!outcome.json.contains("SECRET"), "{}", outcome.json);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_written_whole_or_refused(raw in bytes()) {
        let space = Space::with(&raw);
        let (outcome, json) = space.run();
        match space.written() {
            Some(_) => prop_assert_eq!(outcome.code, ExitCode::Success),
            None => {
                prop_assert_eq!(outcome.code, ExitCode::Refused);
                let lines: Vec<u64> = json["errors"].as_array().into_iter().flatten().filter_map(|e| e["line"].as_u64()).collect();
                prop_assert!(lines.is_sorted());
            }
        }
    }
}

/// Bytes of any kind, and events with some of their bytes changed.
fn bytes() -> impl proptest::strategy::Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..400);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let damaged = edits.prop_map(|edits| {
        let mut raw = format!("{GOOD}\r\n\n{}\n{GOOD}", GOOD.replace("000001", "000002")).into_bytes();
        for (index, byte) in edits {
            let at = index.index(raw.len());
            raw[at] = byte;
        }
        raw
    });
    proptest::prop_oneof![noise, damaged]
}
