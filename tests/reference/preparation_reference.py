#!/usr/bin/env python3
"""Features of the thyroid records as scikit-learn prepares them, as numbers to compare `featurize` with.

Once (Python 3.11 or later), in the repository's folder:

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pyarrow==26.0.1

The golden file, which `cargo test --test learn agreement` compares `featurize` with:

    /tmp/reference/bin/python tests/reference/preparation_reference.py data/raw/thyroid.ndjson tests/golden

To compare every row of your own features file, made with the parameters that are printed, name it as the third argument.

Fitted on all events, whatever their consent says: this is about numbers, not about who may use them.
"""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

PARAMS = {
    "range": {"age": [0, 120]},
    "impute": {"median": "all", "mean": ["TSH", "age"], "indicator": ["TBG"]},
    "scale": {"standard": "all", "minmax": ["age"], "none": ["TBG"]},
    "one_hot": ["sex", "source.kind", "source.region"],
    "interactions": [["age", "TSH"], ["sex=F", "FTI"]],
}
# So many rows are in the golden file.
SHOWN = 25


def read(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def number(event, key):
    value = event["payload"]["features"].get(key)
    if not isinstance(value, (int, float)):
        return np.nan
    least, greatest = PARAMS["range"].get(key, (-np.inf, np.inf))
    return float(value) if least <= value <= greatest else np.nan


def text(event, name):
    group = name.removeprefix("source.")
    value = event["payload"]["features"].get(name) if group == name else event["source"].get(group)
    return value if value is not None else np.nan


def method(param, key):
    named = [method for method, keys in PARAMS[param].items() if keys != "all" and key in keys]
    return named[0] if named else next(method for method, keys in PARAMS[param].items() if keys == "all")


def prepare(events):
    """Every column by its name."""
    features = [event["payload"]["features"] for event in events]
    keys = {key for each in features for key, value in each.items() if isinstance(value, (int, float))}
    columns = {}
    for key in keys:
        values = np.array([[number(event, key)] for event in events])
        impute, scale = method("impute", key), method("scale", key)
        if impute == "indicator":
            columns[f"{key}=missing"] = MissingIndicator().fit_transform(values).astype(float)[:, 0]
            imputer = SimpleImputer(strategy="constant", fill_value=0.0)
        else:
            imputer = SimpleImputer(strategy=impute)
        values = imputer.fit_transform(values)
        scaler = {"standard": StandardScaler(), "minmax": MinMaxScaler(), "none": None}[scale]
        columns[key] = (values if scaler is None else scaler.fit_transform(values))[:, 0]
    for name in PARAMS["one_hot"]:
        values = np.array([[text(event, name)] for event in events], dtype=object)
        encoder = OneHotEncoder(sparse_output=False)
        table = encoder.fit_transform(values)
        for index, level in enumerate(encoder.categories_[0]):
            if isinstance(level, str):
                columns[f"{name}={level}"] = table[:, index]
    for a, b in PARAMS["interactions"]:
        columns[f"{a}:{b}"] = columns[a] * columns[b]
    return {name: columns[name] for name in sorted(columns, key=lambda name: name.encode())}


def compare(path, events, columns):
    import pyarrow.ipc

    with pyarrow.ipc.open_file(path) as file:
        table = file.read_all()
    names = [name.removeprefix("features.") for name in table.column_names if name.startswith("features.")]
    assert names == list(columns), names
    place = {event["event_id"]: index for index, event in enumerate(events)}
    order = [place[id] for id in table.column("event_id").to_pylist()]
    assert len(order) == len(events), f"{len(order)} rows, not {len(events)}: was it made of the same events?"
    largest = 0.0
    for name, theirs in columns.items():
        difference = np.abs(table.column("features." + name).to_numpy() - theirs[order]) / np.maximum(np.abs(theirs[order]), 1)
        largest = max(largest, difference.max())
    print(f"{path}: the largest difference of {len(order)} rows, {len(names)} columns is {largest:.1e}")
    if largest > 1e-12:
        sys.exit("that is more than 1e-12")


def main(source, folder, compared=None):
    events = read(source)
    columns = prepare(events)
    print(f"params: {json.dumps(PARAMS)}")
    path = folder / "preparation-thyroid.json"
    rows = {event["event_id"]: [float(values[index]) for values in columns.values()] for index, event in enumerate(events[:SHOWN])}
    value = {"made_by": "scikit-learn", "params": PARAMS, "columns": list(columns), "rows": rows}
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    print(f"wrote {path}")
    if compared is not None:
        compare(compared, events, columns)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
