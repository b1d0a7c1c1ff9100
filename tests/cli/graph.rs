//! `madmall graph`.

use serde_json::Value;

use crate::space::Space;

const THREE: &str = "stages:
  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}
  c: {run: 'cat ${inputs.i} ${inputs.j} > ${outputs.o}', inputs: {i: a, j: b}, outputs: {o: out/c}}
  d: {run: 'echo d > ${outputs.o}', outputs: {o: out/d}}";

fn space() -> Space {
    let space = Space::with(THREE);
    space.write("in", "1");
    space.run(&[]).success();
    space.write("in", "2");
    space
}

#[test]
fn text_is_laid_out_by_layers_with_what_is_stale_marked() {
    let ran = space().madmall(["graph", "pipeline.yaml"]).success();
    assert_eq!(
        ran.out,
        "test: 4 stages in 3 layers
1  ● a
   ○ d
2  ◐ b  ← a
3  ◐ c  ← a, b
○ 1 up to date   ◐ 2 may run   ● 1 would run\n"
    );
}

#[test]
fn the_other_formats_have_every_stage_and_edge() {
    let space = space();
    let draw = |format: &str| {
        space
            .madmall(["graph", "pipeline.yaml", "--format", format])
            .success()
            .out
    };
    let mermaid = draw("mermaid");
    assert!(mermaid.contains("s0[\"a<br/>would run\"]:::stale\n"), "{mermaid}");
    assert_eq!(mermaid.matches(" --> ").count(), 3);
    let dot = draw("dot");
    assert_eq!(dot.matches(" -> ").count(), 3);
    assert!(
        dot.contains("[label=\"a\", tooltip=\"would run: input `i` changed: in "),
        "{dot}"
    );
    let svg = draw("svg");
    assert_eq!(svg.matches("<rect ").count(), 4);
    assert_eq!(svg.matches("marker-end").count(), 3);
    for from_elsewhere in ["<script", "href", "url(h", "@import"] {
        assert!(!svg.contains(from_elsewhere), "{from_elsewhere}");
    }
}

#[test]
fn json_names_layers_states_and_edges() {
    let ran = space().madmall(["graph", "pipeline.yaml", "--json"]).success();
    let found: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    let c = found["stages"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|stage| stage["stage"] == "c");
    let c = c.expect("it is there");
    assert_eq!((&c["layer"], &c["state"]), (&Value::from(3), &Value::from("perhaps")));
    assert_eq!(c["readsFrom"], serde_json::json!(["a", "b"]));
    space()
        .madmall(["graph", "pipeline.yaml", "--json", "--format", "dot"])
        .code(2);
    space()
        .madmall(["graph", "nowhere.yaml"])
        .code(2)
        .says("there is no pipeline file");
}

#[test]
fn parameters_that_are_given_are_those_of_the_run() {
    let space = Space::with(
        "params: {n: 1}\nstages: {a: {run: 'echo ${params.n} > ${outputs.o}', params: {n: '${params.n}'}, outputs: {o: out}}}",
    );
    space.run(&["--set", "n=2"]).success();
    space.madmall(["graph", "pipeline.yaml"]).success().says("1 would run");
    let set = ["graph", "pipeline.yaml", "--set", "n=2"];
    space.madmall(set).success().says("1 up to date");
}
