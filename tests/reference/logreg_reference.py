#!/usr/bin/env python3
"""Logistic regression on the thyroid records by scikit-learn and statsmodels, as numbers to compare `train` with.

Once (Python 3.11 or later), in the repository's folder:

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 statsmodels==0.15.0 pyarrow==26.0.1

The golden files, which `cargo test --test learn agreement` compares `train` with (with these versions they come out byte
for byte; with others the last digits may differ, so see `git diff tests/golden`):

    /tmp/reference/bin/python tests/reference/logreg_reference.py data/raw/thyroid.ndjson tests/golden

A model of your own pipeline: with `holdout: 0.0` and `l2: 1.0` in `pipelines/baseline.yaml`, run it, and compare its
coefficients with scikit-learn's on the same table:

    madmall run pipelines/baseline.yaml
    mkdir -p /tmp/numbers
    /tmp/reference/bin/python tests/reference/logreg_reference.py data/features.arrow /tmp/numbers models/baseline.model.json

So the first argument is the events, or a features file that `featurize` made of them; the second is the folder to write
to; the third, which may be left out, is a model to compare.

Every labelled event counts, whatever its consent says: this is about numbers, not about who may use them. Features are
the numbers and booleans (1 and 0) of `payload.features`, missing ones 0; an age outside 0 to 120 is a missing one. The
positive label is the later one, `negative`.

Written are `logreg-thyroid-l2.json` (scikit-learn, newton-cholesky, tol 1e-12, C = 1, which is lambda = 1) and
`logreg-thyroid-unregularised.json` (statsmodels Logit by Newton, without the columns that leave no optimum).
"""

import json
import sys
from pathlib import Path

import numpy as np
import statsmodels.api as sm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

AGES = (0, 120)
POSITIVE, NEGATIVE = "negative", "hyperthyroid"
# One is constant among the labelled records, the others separate the labels: beyond a threshold only one label occurs.
NO_OPTIMUM = ["TT4_measured", "goitre", "hypopituitary", "lithium", "psych", "thyroid_surgery"]


def from_events(path):
    rows = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            payload = json.loads(line)["payload"]
            if payload.get("label") is None:
                continue
            values = {k: v for k, v in payload.get("features", {}).items() if isinstance(v, (int, float))}
            if not AGES[0] <= values.get("age", AGES[0]) <= AGES[1]:
                del values["age"]
            rows.append((values, payload["label"]))
    keys = sorted({key for values, _ in rows for key in values}, key=lambda key: key.encode())
    matrix = np.array([[float(values.get(key, 0)) for key in keys] for values, _ in rows])
    return keys, matrix, [label for _, label in rows]


def from_features(path):
    import pyarrow.ipc

    with pyarrow.ipc.open_file(path) as file:
        table = file.read_all()
    labels = table.column("label").to_pylist()
    labelled = [index for index, label in enumerate(labels) if label is not None]
    keys = [name.removeprefix("features.") for name in table.column_names if name.startswith("features.")]
    matrix = np.column_stack([table.column("features." + key).to_numpy()[labelled] for key in keys])
    age = keys.index("age")
    assert matrix[:, age].min() >= AGES[0] and matrix[:, age].max() <= AGES[1], "made with `range: {age: [0, 120]}`"
    return keys, matrix, [labels[index] for index in labelled]


def write(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def compare(path, keys, reference):
    """Says how far the coefficients of the model at `path` are from those of `reference`, made from the same table."""
    found = json.loads(Path(path).read_text(encoding="utf-8"))
    assert found["feature_keys"] == keys, found["feature_keys"]
    assert found["standardisation"] is None, "compare a model without `standardize`"
    # The other label's odds are one over these: every sign is turned.
    sign = 1 if found["labels"]["positive"] == POSITIVE else -1
    ours = sign * np.array([*found["weights"], found["bias"]])
    theirs = np.array([*reference.coef_[0], reference.intercept_[0]])
    largest = (np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1)).max()
    print(f"{path}: the largest difference of a coefficient is {largest:.1e}")
    if largest > 1e-8:
        sys.exit("that is more than 1e-8: was it trained with `holdout: 0.0` and `l2: 1.0`, on this table?")


def main(source, folder, compared=None):
    keys, matrix, labels = (from_features if source.endswith(".arrow") else from_events)(source)
    assert set(labels) == {POSITIVE, NEGATIVE}, set(labels)
    y = np.array([label == POSITIVE for label in labels], dtype=float)
    print(f"{len(y)} rows, {len(keys)} features, {int(y.sum())} `{POSITIVE}`")

    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=10_000).fit(matrix, y)
    probability = model.predict_proba(matrix)[:, 1]
    write(
        folder / "logreg-thyroid-l2.json",
        {
            "made_by": "scikit-learn newton-cholesky, tol 1e-12, C 1",
            "rows": len(y),
            "labels": {"negative": NEGATIVE, "positive": POSITIVE},
            "feature_keys": keys,
            "weights": model.coef_[0].tolist(),
            "bias": float(model.intercept_[0]),
            "auc": float(roc_auc_score(y, model.decision_function(matrix))),
            "log_loss": float(log_loss(y, probability)),
            "brier": float(brier_score_loss(y, probability)),
        },
    )

    if compared is not None:
        compare(compared, keys, model)

    kept = [index for index, key in enumerate(keys) if key not in NO_OPTIMUM]
    design = np.column_stack([matrix[:, kept], np.ones(len(y))])
    result = sm.Logit(y, design).fit(method="newton", maxiter=200, tol=1e-14, disp=False)
    # statsmodels stops by the size of a step; a last step by hand shows that there is nothing left to gain.
    step = np.linalg.solve(result.model.hessian(result.params), -result.model.score(result.params))
    assert np.abs(step).max() < 1e-9, np.abs(step).max()
    names = [keys[index] for index in kept] + [None]
    columns = zip(names, result.params, result.bse, result.tvalues, result.pvalues)
    write(
        folder / "logreg-thyroid-unregularised.json",
        {
            "made_by": "statsmodels Logit, newton",
            "rows": len(y),
            "without": NO_OPTIMUM,
            "coefficients": [
                {
                    **({} if name is None else {"feature": name}),
                    "estimate": float(estimate),
                    "standard_error": float(error),
                    "z": float(z),
                    "p_value": float(p),
                }
                for name, estimate, error, z, p in columns
            ],
        },
    )


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
