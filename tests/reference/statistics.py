#!/usr/bin/env python3
"""What `train` and `madmall evaluate` say of three data sets, held against statsmodels, scikit-learn and plain numpy.

Once (Python 3.11 or later), in the repository's folder:

    python3 -m venv /tmp/reference
    /tmp/reference/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 statsmodels==0.15.0

Compare a madmall (`cargo build --release`) with them; the largest difference of each kind of number is printed, and one above
1e-8 is an error:

    /tmp/reference/bin/python tests/reference/statistics.py target/release/madmall

Make the golden files again, which `cargo test --test learn statistics` compares `train` with:

    /tmp/reference/bin/python tests/reference/statistics.py --golden tests/golden

The data sets: the thyroid records of this repository; and two that come with scikit-learn, breast cancer (ten features, benign or
malignant) and wine (six features, the second cultivar or another), which this script turns into events. Each is trained on
with nothing held out: without a penalty (statsmodels `Logit` by Newton, and a last step by hand), and with one
(scikit-learn `newton-cholesky`, C = 1); the latter two also as an elastic net of standardised features (`saga`, C = 0.1,
l1_ratio 0.9; on the thyroid records it does not get to 1e-8 in minutes) and with rows that weigh what one of the features says, which is
none then (statsmodels `GLM` with `freq_weights`, scikit-learn with `sample_weight`). Hosmer and Lemeshow's test and DeLong's error are in neither package: they are
written down here once more, from their definitions.

The sources of what is committed of these two, both CC BY 4.0, both from the UCI Machine Learning Repository by way of scikit-learn:
Wolberg, Mangasarian, Street and Street, Breast Cancer Wisconsin (Diagnostic), doi:10.24432/C5DW2B; Aeberhard and Forina, Wine,
doi:10.24432/C5PC7J. Changed: the form (events), the labels, and how many features there are. Ids, times, sources and consents
are made up; they stand for no person.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import statsmodels.api as sm
from scipy.stats import chi2
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

REPOSITORY = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-8
# One is constant among the labelled thyroid records, the others separate the labels.
NO_OPTIMUM = ["TT4_measured", "goitre", "hypopituitary", "lithium", "psych", "thyroid_surgery"]
WINE = ["malic_acid", "ash", "alcalinity_of_ash", "magnesium", "nonflavanoid_phenols", "hue"]


def events_of(load, name, keep, label):
    """The rows of a data set of scikit-learn as events."""
    data = load()
    columns = [index for index, key in enumerate(data.feature_names) if keep(key)]
    for row, (values, target) in enumerate(zip(data.data, data.target)):
        yield {
            "event_id": f"{name}-{row:04}",
            "timestamp": "2026-01-05T07:12:33Z",
            "source": {"kind": "event"},
            "consent": {"scope": "research", "revocable": True},
            "payload": {
                "type": "lab_marker",
                "label": label(data, target),
                "features": {str(data.feature_names[c]).replace(" ", "_"): float(values[c]) for c in columns},
            },
        }


def thyroid():
    """All records: each has consent to care, which is the purpose of the pipeline below."""
    with open(REPOSITORY / "data/raw/thyroid.ndjson", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


# The features that are taken for what rows weigh.
WEIGHTS = {"breast_cancer": "mean_area", "wine": "magnesium"}

# Events, features to leave out without a penalty, and the range that `featurize` is told.
DATA_SETS = {
    "thyroid": (thyroid, NO_OPTIMUM, {"age": [0, 120]}),
    "breast_cancer": (
        lambda: events_of(
            load_breast_cancer, "bc", lambda key: key.startswith("mean "), lambda data, t: str(data.target_names[t])
        ),
        [],
        {},
    ),
    "wine": (
        lambda: events_of(load_wine, "wine", WINE.__contains__, lambda _, t: "second" if t == 1 else "other"),
        [],
        {},
    ),
}


def table(events, exclude, ranges):
    """Keys, matrix and label (1 for the later one in byte order) of the labelled events."""
    rows, labels = [], []
    for event in events:
        payload = event["payload"]
        if payload.get("label") is None:
            continue
        values = {k: v for k, v in payload.get("features", {}).items() if isinstance(v, (int, float)) and k not in exclude}
        for key, (low, high) in ranges.items():
            if key in values and not low <= values[key] <= high:
                del values[key]
        rows.append(values)
        labels.append(payload["label"])
    keys = sorted({key for values in rows for key in values}, key=lambda key: key.encode())
    matrix = np.array([[float(values.get(key, 0)) for key in keys] for values in rows])
    positive = sorted(set(labels), key=lambda label: label.encode())[1]
    return keys, matrix, np.array([label == positive for label in labels], dtype=float)


def hosmer_lemeshow(y, scores, fitted):
    """Ten groups of risk; rows of equal score are where the first of them is."""
    order = np.argsort(scores, kind="stable")
    y, scores = y[order], scores[order]
    first = np.searchsorted(scores, scores, side="left")
    groups = first * 10 // len(y)
    p = 1 / (1 + np.exp(-scores))
    statistic, used = 0.0, 0
    for group in np.unique(groups):
        at = groups == group
        n, mean = at.sum(), p[at].mean()
        statistic += (y[at].sum() - n * mean) ** 2 / (n * mean * (1 - mean))
        used += 1
    degrees = used - 2 if fitted else used
    return {"statistic": statistic, "degrees_of_freedom": degrees, "p_value": float(chi2.sf(statistic, degrees))}


def delong(y, scores):
    """The standard error of the area under the ROC curve, by looking at every pair."""
    positive, negative = scores[y == 1], scores[y == 0]
    won = (positive[:, None] > negative[None, :]) + 0.5 * (positive[:, None] == negative[None, :])
    by_positive, by_negative = won.mean(axis=1), won.mean(axis=0)
    return float(np.sqrt(by_positive.var(ddof=1) / len(positive) + by_negative.var(ddof=1) / len(negative)))


def measured(y, scores):
    p = 1 / (1 + np.exp(-scores))
    at_half = p >= 0.5
    return {
        "n": len(y),
        "positives": int(y.sum()),
        "auc": float(roc_auc_score(y, scores)),
        "auc_standard_error": delong(y, scores),
        "average_precision": float(average_precision_score(y, scores)),
        "log_loss": float(log_loss(y, p)),
        "brier": float(brier_score_loss(y, p)),
        "hosmer_lemeshow": hosmer_lemeshow(y, scores, True),
        "confusion": {
            "true_positive": int((at_half & (y == 1)).sum()),
            "false_positive": int((at_half & (y == 0)).sum()),
            "true_negative": int((~at_half & (y == 0)).sum()),
            "false_negative": int((~at_half & (y == 1)).sum()),
        },
    }


def unpenalised(keys, matrix, y):
    design = np.column_stack([matrix, np.ones(len(y))])
    result = sm.Logit(y, design).fit(method="newton", maxiter=200, tol=1e-14, disp=False, warn_convergence=False)
    # statsmodels stops by the size of a step; a last step by hand shows that there is nothing left to gain.
    step = np.linalg.solve(result.model.hessian(result.params), -result.model.score(result.params))
    assert (np.abs(step) <= 1e-9 * np.maximum(np.abs(result.params), 1)).all(), step
    columns = zip([*keys, None], result.params, result.bse, result.tvalues, result.pvalues, result.conf_int())
    return {
        "made_by": "statsmodels Logit, newton",
        "coefficients": [
            {
                **({} if key is None else {"feature": key}),
                "estimate": float(estimate),
                "standard_error": float(error),
                "z": float(z),
                "p_value": float(p),
                "interval": {"lower": float(interval[0]), "upper": float(interval[1])},
                "odds_ratio": float(np.exp(estimate)),
            }
            for key, estimate, error, z, p, interval in columns
        ],
        "likelihood": {
            "log_likelihood": float(result.llf),
            "null_log_likelihood": float(result.llnull),
            "mcfadden_r2": float(result.prsquared),
            "likelihood_ratio": {
                "statistic": float(result.llr),
                "degrees_of_freedom": int(result.df_model),
                "p_value": float(result.llr_pvalue),
            },
            "aic": float(result.aic),
            "bic": float(result.bic),
        },
        "train": measured(y, design @ result.params),
    }


def penalised(keys, matrix, y):
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=10_000).fit(matrix, y)
    weights = zip([*keys, None], [*model.coef_[0], model.intercept_[0]])
    return {
        "made_by": "scikit-learn newton-cholesky, tol 1e-12, C 1",
        "coefficients": [
            {**({} if key is None else {"feature": key}), "estimate": float(weight)} for key, weight in weights
        ],
        "train": measured(y, model.decision_function(matrix)),
    }


def elastic_net(keys, matrix, y):
    matrix = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    model = LogisticRegression(C=0.1, l1_ratio=0.9, solver="saga", tol=1e-14, max_iter=100_000).fit(matrix, y)
    weights = zip([*keys, None], [*model.coef_[0], model.intercept_[0]])
    return {
        "made_by": "scikit-learn saga, tol 1e-14, C 0.1, l1_ratio 0.9, standardised",
        "coefficients": [
            {**({} if key is None else {"feature": key}), "estimate": float(weight)} for key, weight in weights
        ],
        "train": measured(y, model.decision_function(matrix)),
    }


def measured_by_weight(y, scores, w):
    """What is measured by weight, and what is counted by rows all the same."""
    by_rows = measured(y, scores)
    p = 1 / (1 + np.exp(-scores))
    return {
        **{name: by_rows[name] for name in ("n", "positives", "confusion")},
        "auc": float(roc_auc_score(y, scores, sample_weight=w)),
        "average_precision": float(average_precision_score(y, scores, sample_weight=w)),
        "log_loss": float(log_loss(y, p, sample_weight=w)),
        "brier": float(brier_score_loss(y, p, sample_weight=w)),
    }


def apart(keys, matrix, weights):
    """The column of weights, and the others."""
    at = keys.index(weights)
    return keys[:at] + keys[at + 1 :], np.delete(matrix, at, axis=1), matrix[:, at]


def weighted(keys, matrix, y, weights):
    keys, matrix, w = apart(keys, matrix, weights)
    design = np.column_stack([matrix, np.ones(len(y))])
    model = sm.GLM(y, design, family=sm.families.Binomial(), freq_weights=w)
    result = model.fit(tol=1e-14, maxiter=200)
    step = np.linalg.solve(model.hessian(result.params), -model.score(result.params))
    assert (np.abs(step) <= 1e-9 * np.maximum(np.abs(result.params), 1)).all(), step
    ratio = 2 * (result.llf - result.llnull)
    columns = zip([*keys, None], result.params, result.bse, result.tvalues, result.pvalues, result.conf_int())
    return {
        "made_by": "statsmodels GLM, Binomial, freq_weights",
        "coefficients": [
            {
                **({} if key is None else {"feature": key}),
                "estimate": float(estimate),
                "standard_error": float(error),
                "z": float(z),
                "p_value": float(p),
                "interval": {"lower": float(interval[0]), "upper": float(interval[1])},
                "odds_ratio": float(np.exp(estimate)),
            }
            for key, estimate, error, z, p, interval in columns
        ],
        "likelihood": {
            "log_likelihood": float(result.llf),
            "null_log_likelihood": float(result.llnull),
            "mcfadden_r2": float(result.pseudo_rsquared(kind="mcf")),
            "likelihood_ratio": {
                "statistic": float(ratio),
                "degrees_of_freedom": int(result.df_model),
                "p_value": float(chi2.sf(ratio, result.df_model)),
            },
            "aic": float(result.aic),
            "bic": float(result.bic_llf),
            "weight": float(w.sum()),
        },
        "train": measured_by_weight(y, design @ result.params, w),
    }


def weighted_penalised(keys, matrix, y, weights):
    keys, matrix, w = apart(keys, matrix, weights)
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-12, max_iter=10_000)
    model.fit(matrix, y, sample_weight=w)
    columns = zip([*keys, None], [*model.coef_[0], model.intercept_[0]])
    return {
        "made_by": "scikit-learn newton-cholesky, tol 1e-12, C 1, sample_weight",
        "coefficients": [
            {**({} if key is None else {"feature": key}), "estimate": float(weight)} for key, weight in columns
        ],
        "train": measured_by_weight(y, model.decision_function(matrix), w),
    }


# What `train` is told for each kind of fit.
PARAMETERS = {
    "unpenalised": {"l2": 0},
    "penalised": {"l2": 1},
    "elastic_net": {"l2": 10, "l1_ratio": 0.9, "standardize": True},
    "weighted": {"l2": 0, "weights": "weight"},
    "weighted_penalised": {"l2": 1, "weights": "weight"},
}


def reference(name):
    events, exclude, ranges = DATA_SETS[name]
    whole = table(events(), [], ranges)
    found = {"unpenalised": unpenalised(*table(events(), exclude, ranges)), "penalised": penalised(*whole)}
    if name != "thyroid":
        found["elastic_net"] = elastic_net(*whole)
        found["weighted"] = weighted(*whole, WEIGHTS[name])
        found["weighted_penalised"] = weighted_penalised(*whole, WEIGHTS[name])
    return found


PIPELINE = """\
version: 1
name: {name}
purpose: care
stages:
  ingest:
    uses: madmall/ingest
    inputs: {{ events: events.ndjson, schema: schema.json }}
    outputs: {{ events: out/events.ndjson }}
  featurize:
    uses: madmall/featurize
    inputs: {{ events: ingest.events }}
    params: {{ range: {ranges}, exclude: {exclude}{weights} }}
    outputs: {{ features: out/features.arrow }}
  train:
    uses: madmall/train
    inputs: {{ features: featurize.features }}
    params: {parameters}
    outputs: {{ model: out/model.json, metrics: out/metrics.json }}
"""


def run(madmall, name, kind):
    """The metrics of the real program, in a folder and with a configuration of its own."""
    events, exclude, ranges = DATA_SETS[name]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        work, configuration = folder / "work", folder / "configuration"
        work.mkdir()
        write(work / "madmall.yaml", "")
        write(work / "events.ndjson", "".join(json.dumps(event) + "\n" for event in events()))
        write(work / "schema.json", (REPOSITORY / "schemas/byte_event.schema.json").read_text(encoding="utf-8"))
        exclude = exclude if kind == "unpenalised" else []
        parameters = json.dumps({"holdout": 0, "suppress_below": 0, **PARAMETERS[kind]})
        weights = f", weights: {WEIGHTS[name]}" if "weights" in PARAMETERS[kind] else ""
        text = PIPELINE.format(
            name=name, ranges=json.dumps(ranges), exclude=json.dumps(exclude), weights=weights, parameters=parameters
        )
        write(work / "pipeline.yaml", text)
        environment = {**os.environ, "MADMALL_CONFIG_DIR": str(configuration)}
        command = [madmall, "run", "pipeline.yaml"]
        ran = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True)
        if ran.returncode != 0:
            sys.exit(ran.stderr)
        metrics = json.loads((work / "out/metrics.json").read_text(encoding="utf-8"))
    metrics["coefficients"].append(metrics["intercept"])
    for part in ("train", "holdout"):
        if metrics[part] is not None and metrics[part]["auc_interval"] is not None:
            metrics[part]["auc_standard_error"] = metrics[part]["auc_interval"]["standard_error"]
    return metrics


def differences(ours, theirs, path=""):
    """Each number of `theirs` with how far ours is from it: absolutely for small ones, relatively for large ones."""
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            if key != "made_by":
                yield from differences(ours[key], value, f"{path}.{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), path
        for mine, value in zip(ours, theirs):
            yield from differences(mine, value, path)
    elif isinstance(theirs, str):
        assert ours == theirs, path
    else:
        yield path.strip("."), abs(ours - theirs) / max(abs(theirs), 1)


def compare(madmall):
    worst = {}
    for name in DATA_SETS:
        expected = reference(name)
        for kind in expected:
            for what, difference in differences(run(madmall, name, kind), expected[kind]):
                key = (name, kind, what)
                worst[key] = max(worst.get(key, 0), difference)
    for (name, kind, what), difference in worst.items():
        print(f"{name:14} {kind:12} {what:45} {difference:.1e}")
    largest = max(worst.values())
    print(f"the largest difference is {largest:.1e}")
    if not largest <= TOLERANCE:
        sys.exit(f"that is more than {TOLERANCE}")


def golden(folder):
    for name in DATA_SETS:
        write(folder / f"statistics-{name}.json", json.dumps(reference(name), indent=2) + "\n")
        if name != "thyroid":
            events = DATA_SETS[name][0]()
            lines = (json.dumps(event, separators=(",", ":")) + "\n" for event in events)
            write(folder / f"statistics-{name}.ndjson", "".join(lines))


def write(path, text):
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--golden":
        golden(Path(sys.argv[2]))
    elif len(sys.argv) == 2:
        compare(str(Path(sys.argv[1]).resolve()))
    else:
        sys.exit(__doc__)
