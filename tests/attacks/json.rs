//! Payloads that the operator's own key signed, in any spelling but the one: a key makes no bytes good.

use serde_json::{Value, json};

use crate::forge::canonical;
use crate::repo::FORGED;
use crate::table::{Attack, attack, try_all};

/// The last stage's payload, spelled otherwise and signed.
fn payload(name: &'static str, spell: fn(Vec<u8>) -> Vec<u8>) -> Attack {
    let attack = attack(name, move |repo| {
        let own = repo.own();
        repo.forge_bytes(&own, |stage| spell(canonical(&stage)));
    });
    attack.finds(&["E-JSON", "E-CHAIN"]).names(FORGED)
}

/// The same, as text with one thing replaced.
fn text(name: &'static str, from: &'static str, to: &'static str) -> Attack {
    let attack = attack(name, move |repo| {
        let own = repo.own();
        repo.forge_bytes(&own, |stage| {
            let text = String::from_utf8(canonical(&stage)).expect("UTF-8");
            assert!(text.contains(from), "{from} is not in {text}");
            text.replacen(from, to, 1).into_bytes()
        });
    });
    attack.finds(&["E-JSON", "E-CHAIN"]).names(FORGED)
}

#[test]
fn spellings() {
    try_all(vec![
        payload("a byte order mark", |bytes| [b"\xef\xbb\xbf", &bytes[..]].concat()).says("is not JSON"),
        payload("a space at the end", |bytes| [&bytes[..], b" "].concat()).says("canonical form"),
        payload("a line break at the end", |bytes| [&bytes[..], b"\n"].concat()).says("canonical form"),
        payload("a second value", |bytes| [&bytes[..], b"{}"].concat()).says("trailing characters"),
        payload("a zero at the end", |bytes| [&bytes[..], b"\0"].concat()).says("is not JSON"),
        payload("invalid UTF-8 in a text", |bytes| {
            let text = String::from_utf8_lossy(&bytes).replacen("research", "resear\u{1}h", 1);
            text.into_bytes()
                .into_iter()
                .map(|byte| if byte == 1 { 0xff } else { byte })
                .collect()
        })
        .says("is not JSON"),
        payload("cut off", |bytes| bytes[..bytes.len() - 1].to_vec()).says("is not JSON"),
        payload("nothing", |_| Vec::new()).says("is not JSON"),
        payload("null", |_| b"null".to_vec()).says("is not a statement"),
        payload("a list", |bytes| [b"[", &bytes[..], b"]"].concat()).says("is not a statement"),
        payload("a text that holds it", |bytes| {
            canonical(&Value::String(String::from_utf8(bytes).expect("UTF-8")))
        })
        .says("is not a statement"),
        payload("indented", |bytes| {
            let value: Value = serde_json::from_slice(&bytes).expect("JSON");
            serde_json::to_vec_pretty(&value).expect("a spelling")
        })
        .says("canonical form"),
        payload("nested too deep", |bytes| {
            let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
            String::from_utf8_lossy(&bytes)
                .replacen("\"research\"", &deep, 1)
                .into_bytes()
        })
        .says("nested too deep"),
        payload("a parameter nested deeper than may be", |bytes| {
            let deep = format!("{}\"null\"{}", r#"{"list":["#.repeat(60), "]}".repeat(60));
            let text = String::from_utf8_lossy(&bytes);
            text.replacen(r#""params":{"#, &format!(r#""params":{{"deep":{deep},"#), 1)
                .into_bytes()
        })
        .says("nested too deep"),
        payload("objects that never end", |_| br#"{"a":"#.repeat(100_000)).says("nested too deep"),
        payload("longer than any receipt", |bytes| {
            let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
            value["predicate"]["buildDefinition"]["externalParameters"]["purpose"] = "x".repeat(17 << 20).into();
            canonical(&value)
        })
        .says("longer than"),
        text("a key twice", r#""_type":"#, r#""_type":"x","_type":"#).says("duplicate key"),
        text(
            "a key twice, the last one good",
            r#""subject":["#,
            r#""subject":[],"subject":["#,
        )
        .says("duplicate key"),
        text(
            "a key twice in another spelling",
            r#""_type":"#,
            r#""\u005ftype":"x","_type":"#,
        )
        .says("duplicate key"),
        text(
            "a key twice deep inside",
            r#""invocationId":"#,
            r#""invocationId":"x","invocationId":"#,
        )
        .says("duplicate key"),
        text(
            "a key twice in a map",
            r#""params":{"#,
            r#""params":{"a":{"string":"x"},"a":{"string":"y"},"#,
        )
        .says("duplicate key"),
        text("an escaped letter", r#""research""#, r#""r\u0065search""#).says("canonical form"),
        text("an escaped slash", "https://in-toto.io", r"https:\/\/in-toto.io").says("canonical form"),
        text("an escaped key", r#""purpose""#, r#""p\u0075rpose""#).says("canonical form"),
        text("a lone surrogate", r#""research""#, r#""\ud800""#).says("is not JSON"),
        text("a raw control character", r#""research""#, "\"rese\u{1}rch\"").says("is not JSON"),
        text("a comment", r#"{"_type""#, r#"/* */{"_type""#).says("is not JSON"),
        text("single quotes", r#""research""#, "'research'").says("is not JSON"),
        text("a comma too many", r#""secrets":[]"#, r#""secrets":[],"#).says("is not JSON"),
        text("a space within", r#""secrets":[]"#, r#""secrets":[ ]"#).says("canonical form"),
        text("NaN", r#""research""#, "NaN").says("is not JSON"),
        text("Infinity", r#""research""#, "-Infinity").says("is not JSON"),
        text("a number beyond a double", r#""research""#, "1e400").says("is not JSON"),
        text("a number for a text", r#""research""#, "1").says("is not a statement"),
        text("a float", r#""research""#, "0.5").says("is not a statement"),
        text("null for what is absent", r#""research""#, "null").says("canonical form"),
        text(
            "an exit code as a float",
            r#""outcome":"succeeded""#,
            r#""outcome":{"exited":3.0}"#,
        )
        .says("is not a statement"),
        text(
            "an exit code beyond its type",
            r#""outcome":"succeeded""#,
            r#""outcome":{"exited":4294967299}"#,
        )
        .says("is not a statement"),
        text(
            "an exit code of many digits",
            r#""outcome":"succeeded""#,
            r#""outcome":{"exited":99999999999999999999999999}"#,
        )
        .says("is not a statement"),
        text(
            "an outcome in another spelling",
            r#""outcome":"succeeded""#,
            r#""outcome":{"succeeded":null}"#,
        )
        .says("canonical form"),
        text("keys out of order", r#""name":"count","#, "").says("is not a statement"),
        payload("keys in another order", |bytes| {
            let text = String::from_utf8(bytes).expect("UTF-8");
            let kind = r#""_type":"https://in-toto.io/Statement/v1","#;
            let rest = text.replacen(kind, "", 1);
            format!("{},{}}}", &rest[..rest.len() - 1], &kind[..kind.len() - 1]).into_bytes()
        })
        .says("canonical form"),
    ]);
}

#[test]
fn a_huge_number_takes_no_memory_or_time() {
    try_all(vec![
        payload("a number of a million digits", |bytes| {
            let text = String::from_utf8(bytes).expect("UTF-8");
            text.replacen("\"research\"", &"9".repeat(1_000_000), 1).into_bytes()
        }),
        payload("an exponent of a million digits", |bytes| {
            let text = String::from_utf8(bytes).expect("UTF-8");
            text.replacen("\"research\"", &format!("1e-{}", "9".repeat(1_000_000)), 1)
                .into_bytes()
        }),
    ]);
}

/// A field that nobody knows, at `pointer`.
fn unknown(pointer: &'static str) -> Attack {
    let attack = attack(pointer, move |repo| {
        repo.forge(|stage| {
            let place = stage.pointer_mut(pointer).expect("an object");
            place
                .as_object_mut()
                .expect("an object")
                .insert("zz".to_owned(), json!("x"));
        });
    });
    attack
        .finds(&["E-JSON", "E-CHAIN"])
        .names(FORGED)
        .says("unknown field `zz`")
}

#[test]
fn unknown_fields_at_each_level() {
    try_all(vec![
        unknown(""),
        unknown("/predicate"),
        unknown("/predicate/buildDefinition"),
        unknown("/predicate/buildDefinition/externalParameters"),
        unknown("/predicate/buildDefinition/externalParameters/stage"),
        unknown("/predicate/buildDefinition/internalParameters"),
        unknown("/predicate/buildDefinition/internalParameters/madmall"),
        unknown("/predicate/buildDefinition/internalParameters/madmall/made"),
        unknown("/predicate/buildDefinition/internalParameters/madmall/stage"),
        unknown("/predicate/buildDefinition/resolvedDependencies/0"),
        unknown("/predicate/buildDefinition/resolvedDependencies/0/annotations"),
        unknown("/predicate/buildDefinition/resolvedDependencies/0/annotations/madmall/commit"),
        unknown("/predicate/runDetails"),
        unknown("/predicate/runDetails/builder"),
        unknown("/predicate/runDetails/metadata"),
        unknown("/subject/0"),
        unknown("/subject/0/annotations"),
        unknown("/subject/0/annotations/madmall/output"),
    ]);
}

/// A known field with a value that it does not have, or none at all.
fn value(pointer: &'static str, value: Value) -> Attack {
    let attack = attack(pointer, move |repo| {
        repo.forge(|stage| {
            let (parent, field) = pointer.rsplit_once('/').expect("a field");
            let parent = stage.pointer_mut(parent).expect("an object");
            let parent = parent.as_object_mut().expect("an object");
            match &value {
                Value::Null => drop(parent.remove(field)),
                value => drop(parent.insert(field.to_owned(), value.clone())),
            }
        });
    });
    attack.finds(&["E-JSON", "E-CHAIN"]).names(FORGED)
}

#[test]
fn what_is_of_another_kind() {
    try_all(vec![
        value("/_type", json!("https://in-toto.io/Statement/v0.1")).says("`_type`"),
        value("/_type", Value::Null).says("missing field"),
        value("/predicateType", json!("https://slsa.dev/provenance/v0.2")).says("`predicateType`"),
        value("/predicateType", json!("https://slsa.dev/verification_summary/v1")).says("`predicateType`"),
        value("/predicate", json!({})).says("missing field"),
        value(
            "/predicate/buildDefinition/buildType",
            json!("https://example.org/other"),
        )
        .says("is not known"),
        value("/predicate/buildDefinition/buildType", json!("urn:madmall:stage:v2")).says("is not known"),
        value("/predicate/buildDefinition/buildType", json!("urn:madmall:run:v1")).says("do not go together"),
        value("/predicate/buildDefinition/externalParameters/stage", Value::Null).says("do not go together"),
        value(
            "/predicate/buildDefinition/internalParameters/madmall/stage",
            Value::Null,
        )
        .says("do not go together"),
        value(
            "/predicate/buildDefinition/internalParameters/madmall/outcome",
            json!("fine"),
        )
        .says("unknown variant"),
        value(
            "/predicate/buildDefinition/internalParameters/madmall/outcome",
            json!(0),
        )
        .says("is not a statement"),
        value(
            "/predicate/buildDefinition/internalParameters/madmall/outcome",
            json!("failed"),
        )
        .says("is that of a run"),
        value(
            "/predicate/buildDefinition/internalParameters/madmall/outcome",
            json!("interrupted"),
        )
        .says("is that of a run"),
        value(
            "/predicate/buildDefinition/internalParameters/madmall/outcome",
            json!({"exited": 3}),
        )
        .says("a failed stage has a subject that is not its log"),
        value(
            "/predicate/buildDefinition/internalParameters/madmall/outcome",
            json!("refused"),
        )
        .says("a failed stage has a subject that is not its log"),
        value(
            "/predicate/buildDefinition/externalParameters/stage/params",
            json!({"x": {"date": "2026"}}),
        )
        .says("unknown variant"),
        value(
            "/predicate/buildDefinition/externalParameters/stage/params",
            json!({"x": "plain"}),
        )
        .says("is not a statement"),
        value(
            "/predicate/buildDefinition/externalParameters/stage/params",
            json!({"x": {"number": "0.20"}}),
        )
        .says("shortest form"),
        value(
            "/predicate/buildDefinition/externalParameters/stage/params",
            json!({"x": {"list": [{"map": {"y": {"number": "+1"}}}]}}),
        )
        .says("shortest form"),
        value(
            "/predicate/buildDefinition/externalParameters/stage/command",
            json!({"script": "x"}),
        )
        .says("unknown variant"),
        value(
            "/predicate/buildDefinition/externalParameters/stage/command",
            json!({"shell": "x", "argv": []}),
        )
        .says("is not a statement"),
        value(
            "/predicate/buildDefinition/externalParameters/stage/secrets",
            json!(["b", "a"]),
        )
        .says("`secrets`"),
        value(
            "/predicate/buildDefinition/externalParameters/stage/secrets",
            json!(["a", "a"]),
        )
        .says("`secrets`"),
        value("/subject/0/annotations/madmall", json!({"artifact": {}})).says("unknown variant"),
        value("/subject/0/annotations/madmall", json!({})).says("is not a statement"),
        value("/subject", json!({})).says("is not a statement"),
        value("/subject", json!([])).says("`subject` is empty"),
        value("/predicate/runDetails/builder/id", json!("https://example.org/ci")).says("the builder is not known"),
        value("/predicate/runDetails/builder/version", json!({})).says("the builder's `version`"),
        value(
            "/predicate/runDetails/builder/version",
            json!({"madmall": "0.1.0", "zz": "1"}),
        )
        .says("the builder's `version`"),
        value("/predicate/runDetails/builder/version", json!({"other": "0.1.0"})).says("the builder's `version`"),
    ]);
}
