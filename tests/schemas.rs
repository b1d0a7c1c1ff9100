//! The JSON Schemas that editors use accept what the parser accepts, as far as shapes go.

use madmall::diagnostic::Source;
use madmall::receipt::policy::Policy;
use madmall::spec::{self, Node, NodeKind, Scalar, check, parse, scalar};
use serde_json::{Map, Value, json};

const PIPELINE: &str = include_str!("../schemas/pipeline.schema.json");
const STAGE: &str = include_str!("../schemas/stage.schema.json");
const POLICY: &str = include_str!("../schemas/policy.schema.json");

fn schema(text: &str) -> Value {
    serde_json::from_str(text).expect("a schema is JSON")
}

/// A document as JSON, scalars as the parser takes them.
fn json_of(node: &Node) -> Value {
    match &node.kind {
        NodeKind::List(items) => Value::Array(items.iter().map(json_of).collect()),
        NodeKind::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.text.clone(), json_of(value)));
            Value::Object(entries.collect::<Map<_, _>>())
        }
        NodeKind::Broken => panic!("a table entry must be YAML"),
        NodeKind::Scalar { .. } => match scalar(node).expect("a scalar") {
            Scalar::Null => Value::Null,
            Scalar::Boolean(value) => json!(value),
            Scalar::Number(number) => json!(number.to_f64()),
            Scalar::String(text) => json!(text),
        },
    }
}

/// Whether the parser, and whether the schema, accepts the shape of `text`.
fn verdicts(text: &str, schema: &Value, is_pipeline: bool) -> (bool, bool) {
    let source = Source::new("x.yaml", text);
    let (root, faults) = parse(&source);
    assert!(faults.is_empty(), "a table entry must be YAML: {text}");
    let root = root.expect("a document");
    let faults = match is_pipeline {
        true => check::pipeline(&source, &root).1,
        false => check::definition(&source, &root).1,
    };
    let validator = jsonschema::draft202012::new(schema).expect("a schema");
    (faults.is_empty(), validator.is_valid(&json_of(&root)))
}

fn assert_agreement(schema: &str, is_pipeline: bool, table: &[(bool, &str)]) {
    let schema = self::schema(schema);
    for (good, text) in table {
        assert_eq!(
            verdicts(text, &schema, is_pipeline),
            (*good, *good),
            "(parser, schema) of\n{text}"
        );
    }
}

/// A pipeline with one stage, whose fields are `fields`.
macro_rules! stage {
    ($fields:literal) => {
        concat!("version: 1\nname: p\nstages: { a: { ", $fields, " } }")
    };
}

#[test]
fn parser_and_schema_agree_about_pipelines() {
    assert_agreement(
        PIPELINE,
        true,
        &[
            (true, stage!("run: x, outputs: { o: a }")),
            (true, stage!("uses: madmall/ingest, outputs: { o: a }")),
            (true, stage!("argv: [head, -n, 5, true, 010], outputs: { o: a }")),
            (true, stage!("run: 'no', outputs: { o: no }")),
            (
                true,
                stage!("run: x, inputs: {}, outputs: { o: a, p-q_1: b }, params: { x: [1, { y: ~ }] }"),
            ),
            (
                true,
                stage!("run: x, outputs: { o: a }, env: [A, _b], secrets: [C], sandbox: off"),
            ),
            (
                true,
                stage!("argv: [x], stdin: i, stdout: o, inputs: { i: b }, outputs: { o: a }"),
            ),
            (
                true,
                "version: 1\nname: p\npurpose: care\nparams: { a: 1, b: {}, c: }\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                true,
                "version: 1.0\nname: p\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (false, "[]"),
            (false, "text"),
            (false, "{}"),
            (false, "version: 1\nname: p"),
            (false, "version: 1\nname: p\nstages: {}"),
            (false, "version: 1\nname: p\nstages: []"),
            (false, "version: 1\nname: p\nstages:"),
            (true, "version: 1\nname: p\ninclude: [a.yaml]"),
            (false, "version: 1\nname: p\ninclude: []"),
            (false, "version: 1\nname: p\ninclude: a.yaml"),
            (false, "version: 1\nname: p\ninclude: [1]"),
            (true, stage!("run: x, inputs: { i: [a, b/, 'c*'] }, outputs: { o: x }")),
            (false, stage!("run: x, inputs: { i: [] }, outputs: { o: x }")),
            (false, stage!("run: x, inputs: { i: [a, 1] }, outputs: { o: x }")),
            (false, stage!("run: x, inputs: { i: [a, [b]] }, outputs: { o: x }")),
            (false, stage!("run: x, inputs: { i: [a, b, a] }, outputs: { o: x }")),
            (
                true,
                stage!("run: x, inputs: { i: { path: [a, b], personal: true } }, outputs: { o: x }"),
            ),
            (
                true,
                stage!("run: x, inputs: { i: { path: [a], optional: false } }, outputs: { o: x }"),
            ),
            (
                false,
                stage!("run: x, inputs: { i: { path: [a, b], optional: true } }, outputs: { o: x }"),
            ),
            (false, stage!("run: x, inputs: { i: { path: [] } }, outputs: { o: x }")),
            (true, stage!("run: x, outputs: { o: { path: a/, temp: true } }")),
            (false, stage!("run: x, outputs: { o: { path: a, temp: 1 } }")),
            (false, "name: p\nstages: { a: { run: x, outputs: { o: a } } }"),
            (
                false,
                "version: '1'\nname: p\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 2\nname: p\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: P\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: \"p\\n\"\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: 5\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: p\npurpose: none\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: p\npurpose: For Fun\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                true,
                "version: 1\nname: p\npurpose: fun\nstages: { a: { run: x, requires: fun, declassify: [o], outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: p\nstages: { a: { run: x, requires: none, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: p\npurpose:\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: p\nparams:\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: p\nparams: { A: 1 }\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: p\nextra: 1\nstages: { a: { run: x, outputs: { o: a } } }",
            ),
            (
                false,
                "version: 1\nname: p\nstages: { 1a: { run: x, outputs: { o: a } } }",
            ),
            (false, "version: 1\nname: p\nstages: { a: }"),
            (false, stage!("outputs: { o: a }")),
            (false, stage!("run: x")),
            (false, stage!("run: x, outputs: {}")),
            (false, stage!("run: x, outputs: [a]")),
            (false, stage!("run: x, outputs: { o: 5 }")),
            (false, stage!("run: x, outputs: { o: }")),
            (false, stage!("run: x, outputs: { O: a }")),
            (false, stage!("run: x, argv: [x], outputs: { o: a }")),
            (false, stage!("run: x, uses: y, outputs: { o: a }")),
            (false, stage!("run: [x], outputs: { o: a }")),
            (false, stage!("run: 5, outputs: { o: a }")),
            (false, stage!("run: , outputs: { o: a }")),
            (false, stage!("argv: [], outputs: { o: a }")),
            (false, stage!("argv: x, outputs: { o: a }")),
            (false, stage!("argv: [[x]], outputs: { o: a }")),
            (false, stage!("argv: [x, ~], outputs: { o: a }")),
            (false, stage!("uses: true, outputs: { o: a }")),
            (true, stage!("run: x, inputs: { i: [a] }, outputs: { o: a }")),
            (false, stage!("run: x, inputs: a, outputs: { o: a }")),
            (false, stage!("run: x, outputs: { o: a }, env: X")),
            (false, stage!("run: x, outputs: { o: a }, env: [A, A]")),
            (false, stage!("run: x, outputs: { o: a }, env: [A-B]")),
            (false, stage!("run: x, outputs: { o: a }, env: [5]")),
            (false, stage!("run: x, outputs: { o: a }, secrets: [$X]")),
            (false, stage!("run: x, outputs: { o: a }, sandbox: on")),
            (
                true,
                stage!("run: x, outputs: { o: a }, sandbox: required, network: true"),
            ),
            (false, stage!("run: x, outputs: { o: a }, network: 'true'")),
            (false, stage!("run: x, outputs: { o: a }, network:")),
            (false, stage!("run: x, stdout: o, outputs: { o: a }")),
            (false, stage!("run: x, stdin: i, inputs: { i: b }, outputs: { o: a }")),
            (false, stage!("uses: x, stdout: o, outputs: { o: a }")),
            (false, stage!("argv: [x], stdout: 5, outputs: { o: a }")),
            (false, stage!("argv: [x], stdin: [i], outputs: { o: a }")),
            (false, stage!("run: x, outputs: { o: a }, params: [x]")),
            (
                true,
                stage!(
                    "run: x, outputs: { o: a }, matrix: { x: [1, b, true], y: ['2'] }, foreach: { f: 'a/*', g: [b] }"
                ),
            ),
            (false, stage!("run: x, outputs: { o: a }, matrix: {}")),
            (false, stage!("run: x, outputs: { o: a }, matrix: { x: [] }")),
            (false, stage!("run: x, outputs: { o: a }, matrix: { x: 1 }")),
            (false, stage!("run: x, outputs: { o: a }, matrix: { x: 'a/*' }")),
            (false, stage!("run: x, outputs: { o: a }, matrix: { x: [[1]] }")),
            (false, stage!("run: x, outputs: { o: a }, matrix: { x: [~] }")),
            (false, stage!("run: x, outputs: { o: a }, matrix: { X: [1] }")),
            (false, stage!("run: x, outputs: { o: a }, foreach: {}")),
            (false, stage!("run: x, outputs: { o: a }, foreach: { x: data }")),
            (false, stage!("run: x, outputs: { o: a }, foreach: { x: 1 }")),
        ],
    );
}

/// A definition, whose fields are `fields`.
macro_rules! definition {
    ($fields:literal) => {
        concat!("version: 1\nname: d\n", $fields)
    };
}

#[test]
fn parser_and_schema_agree_about_stage_definitions() {
    assert_agreement(
        STAGE,
        false,
        &[
            (true, definition!("run: x\noutputs: { o: {} }")),
            (
                true,
                definition!("builtin: ingest\ndescription: d\noutputs: { o: { optional: true, description: d } }"),
            ),
            (
                true,
                definition!(
                    "argv: [x, 5]\ninputs: { i: {} }\noutputs: { o: {} }\nenv: [A]\nsecrets: []\nsandbox: auto\nnetwork: false"
                ),
            ),
            (
                true,
                definition!(
                    "run: x\noutputs: { o: {} }\nparams: { a: { type: number, default: ~, minimum: 0, maximum: 1.5 } }"
                ),
            ),
            (
                true,
                definition!("run: x\noutputs: { o: {} }\nparams: { a: { type: map, enum: [{}], optional: false } }"),
            ),
            (
                true,
                definition!("argv: [x]\nstdin: i\nstdout: o\ninputs: { i: {} }\noutputs: { o: {} }"),
            ),
            (false, definition!("run: x\nstdout: o\noutputs: { o: {} }")),
            (false, definition!("builtin: x\nstdin: o\noutputs: { o: {} }")),
            (false, definition!("outputs: { o: {} }")),
            (false, definition!("run: x")),
            (false, definition!("run: x\noutputs: {}")),
            (false, definition!("run: x\noutputs: { o: path }")),
            (false, definition!("run: x\noutputs: { o: }")),
            (false, definition!("run: x\nuses: y\noutputs: { o: {} }")),
            (false, definition!("run: x\nbuiltin: y\noutputs: { o: {} }")),
            (false, definition!("run: x\noutputs: { o: { optional: 1 } }")),
            (false, definition!("run: x\noutputs: { o: { type: x } }")),
            (false, definition!("run: x\noutputs: { o: {} }\ndescription: [x]")),
            (false, definition!("run: x\noutputs: { o: {} }\nparams: { a: {} }")),
            (false, definition!("run: x\noutputs: { o: {} }\nparams: { a: number }")),
            (
                false,
                definition!("run: x\noutputs: { o: {} }\nparams: { a: { type: float } }"),
            ),
            (
                false,
                definition!("run: x\noutputs: { o: {} }\nparams: { a: { type: number, enum: [] } }"),
            ),
            (
                false,
                definition!("run: x\noutputs: { o: {} }\nparams: { a: { type: number, enum: 1 } }"),
            ),
            (
                false,
                definition!("run: x\noutputs: { o: {} }\nparams: { a: { type: number, minimum: '0' } }"),
            ),
            (
                false,
                definition!("run: x\noutputs: { o: {} }\nparams: { a: { type: number, maximum: true } }"),
            ),
            (
                false,
                definition!("run: x\noutputs: { o: {} }\nparams: { a: { type: number, required: true } }"),
            ),
            (
                false,
                definition!("run: x\noutputs: { o: {} }\nparams: { A: { type: number } }"),
            ),
            (false, "name: d\nrun: x\noutputs: { o: {} }"),
            (false, "version: 1\nrun: x\noutputs: { o: {} }"),
        ],
    );
}

#[test]
fn the_schemas_have_the_fields_that_the_parser_knows() {
    let fields = |schema: &Value, place: &str| -> Vec<String> {
        let properties = schema.pointer(place).and_then(Value::as_object).expect("properties");
        let mut names: Vec<String> = properties.keys().cloned().collect();
        names.sort();
        names
    };
    let known = |names: &[&str]| -> Vec<String> {
        let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
        names.sort();
        names
    };
    let (pipeline, stage) = (schema(PIPELINE), schema(STAGE));
    assert_eq!(fields(&pipeline, "/properties"), known(check::PIPELINE_FIELDS));
    assert_eq!(fields(&pipeline, "/$defs/stage/properties"), known(check::STAGE_FIELDS));
    assert_eq!(fields(&pipeline, "/$defs/input/properties"), known(spec::INPUT_FIELDS));
    assert_eq!(
        fields(&pipeline, "/$defs/output/properties"),
        known(spec::OUTPUT_FIELDS)
    );
    assert_eq!(fields(&stage, "/properties"), known(check::DEFINITION_FIELDS));
    assert_eq!(fields(&stage, "/$defs/port/properties"), known(check::PORT_FIELDS));
    assert_eq!(
        fields(&stage, "/$defs/outputPort/properties"),
        known(check::OUTPUT_PORT_FIELDS)
    );
    assert_eq!(fields(&stage, "/$defs/param/properties"), known(check::PARAM_FIELDS));
    let words = |schema: &Value, place: &str| schema.pointer(place).cloned().expect("words");
    let types: Vec<&str> = madmall::spec::ParamType::ALL.iter().map(|(name, _)| *name).collect();
    assert_eq!(words(&stage, "/$defs/param/properties/type/enum"), json!(types));
}

/// The example of `docs/formats/policy.md`.
fn example() -> Value {
    let page = include_str!("../docs/formats/policy.md");
    let (_, rest) = page.split_once("```json\n").expect("an example");
    let (example, _) = rest.split_once("```").expect("its end");
    serde_json::from_str(example).expect("JSON")
}

#[test]
fn reader_and_schema_agree_about_policies() {
    let validator = jsonschema::draft202012::options()
        .should_validate_formats(true)
        .build(&schema(POLICY))
        .expect("a schema");
    let verdicts = |policy: &Value| {
        let read = Policy::parse(policy.to_string().as_bytes());
        (read.is_ok(), validator.is_valid(policy))
    };
    let full = {
        let mut policy = example();
        policy["logs"] = json!([{"origin": "madmall/0202020202020202", "keyid": policy["keys"][0]["keyid"]}]);
        policy["withdrawn"] = json!("fail");
        policy
    };
    assert_eq!(verdicts(&example()), (true, true));
    assert_eq!(verdicts(&full), (true, true));
    let time = "2026-01-01T00:00:00Z";
    let changes: &[(bool, &str, Value)] = &[
        (true, "/keys/1/until/logs", json!([])),
        (true, "/keys/1/builders", json!(["https://ci.example.org/runner"])),
        (true, "/withdrawn", json!("warn")),
        (false, "/withdrawn", json!("ignore")),
        (false, "/withdrawn", json!(true)),
        (false, "/withdrawn", Value::Null),
        (false, "/version", json!(2)),
        (false, "/version", json!("1")),
        (false, "/keys", json!({})),
        (false, "/logs", json!([])),
        (false, "/logs", Value::Null),
        (false, "/logs/0", json!({"origin": "madmall/0202020202020202"})),
        (false, "/logs/0/origin", json!("madmall/02")),
        (false, "/keys/0/keyid", json!("74C1")),
        (false, "/keys/0/public", json!(5)),
        (false, "/keys/0/name", json!("")),
        (false, "/keys/0", json!({"name": "x"})),
        (false, "/keys/0", json!("x")),
        (false, "/keys/1/builders", json!([])),
        (false, "/keys/1/builders", json!(["local"])),
        (false, "/keys/1/builders", json!(["urn:a b"])),
        (false, "/keys/1/pipelines", json!("baseline")),
        (false, "/keys/1/pipelines", json!(["Baseline"])),
        (false, "/keys/1/pipelines", json!(["a", "a"])),
        (false, "/keys/1/stages", json!([])),
        (false, "/keys/1/stages", json!([1])),
        (false, "/keys/1/stages", Value::Null),
        (false, "/keys/1/from", json!("2026-01-01")),
        (false, "/keys/1/from", json!("2026-13-01T00:00:00Z")),
        (false, "/keys/1/from", json!("2026-01-01T00:00:00+00:00")),
        (false, "/keys/1/from", json!(1)),
        (false, "/keys/1/until", json!(time)),
        (false, "/keys/1/until", json!({ "time": time })),
        (false, "/keys/1/until/time", json!("soon")),
        (false, "/keys/1/until/logs", json!({})),
        (false, "/keys/1/until/logs/0/root", json!("ab")),
        (false, "/keys/1/until/logs/0/size", json!(0)),
        (false, "/keys/1/until/logs/0/size", json!(-1)),
        (false, "/keys/1/until/logs/0/size", json!(1.5)),
        (false, "/keys/1/until/logs/0/origin", json!("madmall/01010101010101010")),
    ];
    for (good, place, value) in changes {
        let mut policy = full.clone();
        *policy.pointer_mut(place).expect(place) = value.clone();
        assert_eq!(
            verdicts(&policy),
            (*good, *good),
            "(reader, schema) of {place} = {value}"
        );
    }
    for place in ["", "/logs/0", "/keys/0", "/keys/1/until", "/keys/1/until/logs/0"] {
        let mut policy = full.clone();
        policy.pointer_mut(place).expect(place)["extra"] = json!(1);
        assert_eq!(
            verdicts(&policy),
            (false, false),
            "(reader, schema) of a field too many in `{place}`"
        );
    }
}

#[test]
fn parser_and_schema_agree_about_how_long_a_list_may_be() {
    for (parts, good) in [(spec::MOST_PARTS, true), (spec::MOST_PARTS + 1, false)] {
        let parts: Vec<String> = (0..parts).map(|part| format!("f{part}")).collect();
        let inputs = format!("inputs: {{ i: [{}] }}", parts.join(", "));
        let text = format!("version: 1\nname: p\nstages: {{ a: {{ run: x, {inputs}, outputs: {{ o: a }} }} }}");
        assert_agreement(PIPELINE, true, &[(good, &text)]);
    }
}
