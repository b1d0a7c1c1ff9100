//! The programs that do a part of what the built-in stages do: how each is installed and told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Below which what can be installed is.
pub(crate) struct Peers {
    folder: PathBuf,
    python: Option<PathBuf>,
    node: bool,
}

/// What they need from Python's registry.
const PYTHON: [&str; 6] = [
    "duckdb",
    "msgspec",
    "pyarrow",
    "scikit-learn",
    "scikit-learn-intelex",
    "statsmodels",
];

/// Validates with structures that say what the schema says.
const MSGSPEC: &str = r#"
import sys
from multiprocessing import Pool
from typing import Literal, Union
import msgspec
Kind = Literal["self", "pharmacy", "event", "mobile_unit", "mail_kit"]
class Source(msgspec.Struct, forbid_unknown_fields=True):
    kind: Kind
    site_id: str = ""
    region: str = ""
class Consent(msgspec.Struct, forbid_unknown_fields=True):
    scope: Literal["care", "research"]
    revocable: bool
class Payload(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["symptom_snapshot", "adherence_ping", "context_ping", "lab_marker"]
    label: Union[str, None] = None
    features: dict[str, Union[float, str, bool, None]] = {}
class Event(msgspec.Struct, forbid_unknown_fields=True):
    event_id: str
    timestamp: str
    source: Source
    consent: Consent
    payload: Payload
def part(range_):
    path, begin, end = range_
    decode = msgspec.json.Decoder(Event).decode
    with open(path, "rb") as file:
        file.seek(begin)
        if begin:
            file.seek(begin - 1)
            file.readline()
        count = 0
        while file.tell() < end:
            line = file.readline()
            if not line:
                break
            event = decode(line)
            assert len(event.event_id) >= 6 and len(event.timestamp) >= 10
            count += 1
    return count
if __name__ == "__main__":
    import os
    path, processes = sys.argv[1], int(sys.argv[2])
    size = os.path.getsize(path)
    cuts = [size * n // processes for n in range(processes + 1)]
    ranges = [(path, a, b) for a, b in zip(cuts, cuts[1:])]
    if processes == 1:
        part(ranges[0])
    else:
        with Pool(processes) as pool:
            pool.map(part, ranges)
"#;

/// Validates with a validator that is compiled from the schema.
const AJV: &str = r#"
import { fork } from "node:child_process";
import { readFileSync, openSync, readSync, fstatSync } from "node:fs";
import Ajv2020 from "ajv/dist/2020.js";
const [schemaPath, path, processes, begin, end] = process.argv.slice(2);
function part(begin, end) {
  const schema = JSON.parse(readFileSync(schemaPath, "utf8"));
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  const validate = ajv.compile(schema);
  const file = openSync(path, "r");
  const chunk = Buffer.alloc(1 << 20);
  let at = begin, rest = Buffer.alloc(0), skip = begin > 0;
  if (skip) at -= 1;
  for (;;) {
    const read = readSync(file, chunk, 0, chunk.length, at);
    let bytes = Buffer.concat([rest, chunk.subarray(0, read)]);
    let base = at - rest.length;
    at += read;
    let from = 0;
    for (;;) {
      const newline = bytes.indexOf(10, from);
      if (newline < 0) break;
      const start = base + from;
      if (skip) skip = false;
      else if (start >= end) return;
      else if (!validate(JSON.parse(bytes.toString("utf8", from, newline)))) throw new Error("invalid at " + start);
      from = newline + 1;
    }
    rest = bytes.subarray(from);
    if (read === 0) return;
  }
}
if (begin !== undefined) part(Number(begin), Number(end));
else {
  const size = fstatSync(openSync(path, "r")).size, n = Number(processes);
  if (n === 1) part(0, size);
  else for (let k = 0; k < n; k++) {
    const cut = (k) => Math.floor((size * k) / n);
    fork(process.argv[1], [schemaPath, path, "1", cut(k), cut(k + 1)]);
  }
}
"#;

/// The same matrix, without validation.
const DUCKDB: &str = r#"
import sys
import duckdb
path, out, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
keys = sys.argv[4].split(",")
db = duckdb.connect()
db.execute(f"set threads to {threads}")
fields = ", ".join(f'"{k}": "JSON"' for k in keys)
columns = "{event_id: 'VARCHAR', payload: 'STRUCT(label VARCHAR, features STRUCT(" + ", ".join(f'"{k}" DOUBLE' if k not in ("meds", "smoke", "flag") else f'"{k}" BOOLEAN' for k in keys) + "))'}"
query = "select event_id, payload.label as label, " + ", ".join(f'coalesce(payload.features."{k}"::DOUBLE, 0.0) as "{k}"' for k in keys)
query += f" from read_json('{path}', format='newline_delimited', columns={columns})"
import pyarrow as pa
table = db.execute(query).to_arrow_table() if hasattr(db, "to_arrow_table") else db.execute(query).arrow()
if not isinstance(table, pa.Table):
    table = table.read_all()
with pa.OSFile(out, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
    writer.write_table(table)
"#;

/// Prints the seconds that the fit alone takes on the labelled rows of a features file.
const FIT: &str = r#"
import sys, time
import numpy as np, pyarrow as pa
which, path = sys.argv[1], sys.argv[2]
table = pa.ipc.open_file(pa.memory_map(path)).read_all()
table = table.filter(pa.compute.is_valid(table["label"])) if hasattr(pa, "compute") else table
import pyarrow.compute as pc
table = table.filter(pc.is_valid(table["label"]))
x = np.column_stack([table[n].to_numpy() for n in table.column_names if n.startswith("features.")])
labels = sorted(pc.unique(table["label"]).to_pylist())
y = (np.array(table["label"].to_pylist()) == labels[1]).astype(float)
x = (x - x.mean(axis=0)) / x.std(axis=0)
best = float("inf")
for _ in range(5):
    if which == "statsmodels":
        import statsmodels.api as sm
        begun = time.perf_counter()
        sm.Logit(y, sm.add_constant(x)).fit(method="newton", disp=0, tol=1e-12)
    else:
        if which == "intelex":
            from sklearnex.linear_model import LogisticRegression
        else:
            from sklearn.linear_model import LogisticRegression
        solver = "newton-cholesky" if which == "newton-cholesky" else "lbfgs"
        begun = time.perf_counter()
        LogisticRegression(solver=solver, C=1.0, max_iter=200).fit(x, y)
    best = min(best, time.perf_counter() - begun)
print(best)
"#;

/// Prints the seconds that it takes to load the events, score them and keep the scores, by a model file of ours; imports are left out.
const PREDICT: &str = r#"
import json, sys, time
import duckdb, numpy as np
from sklearn.linear_model import LogisticRegression
path, model, out, threads = sys.argv[1], json.load(open(sys.argv[2])), sys.argv[3], int(sys.argv[4])
keys = model["feature_keys"]
fitted = LogisticRegression()
fitted.classes_ = np.array([model["labels"]["negative"], model["labels"]["positive"]])
fitted.coef_, fitted.intercept_ = np.array([model["weights"]]), np.array([model["bias"]])
begun = time.perf_counter()
db = duckdb.connect()
db.execute(f"set threads to {threads}")
columns = "{event_id: 'VARCHAR', payload: 'STRUCT(features STRUCT(" + ", ".join(f'"{k}" DOUBLE' if k not in ("meds", "smoke", "flag") else f'"{k}" BOOLEAN' for k in keys) + "))'}"
query = "select event_id, " + ", ".join(f'coalesce(payload.features."{k}"::DOUBLE, 0.0) as "{k}"' for k in keys)
table = db.execute(query + f" from read_json('{path}', format='newline_delimited', columns={columns})").fetchnumpy()
x = np.column_stack([np.asarray(table[k]) for k in keys])
probabilities = fitted.predict_proba(x)[:, 1]
np.save(out, probabilities)
print(time.perf_counter() - begun)
"#;

/// The best pipeline of Python's: structures, DuckDB, scikit-learn; a hash of the input.
const PIPELINE: &str = r#"
import subprocess, sys, hashlib
here, path, features, keys = sys.argv[1:5]
subprocess.run([sys.executable, here + "/msgspec_check.py", path, "2"], check=True)
subprocess.run([sys.executable, here + "/duckdb_features.py", path, features, "2", keys], check=True)
import numpy as np, pyarrow as pa, pyarrow.compute as pc
from sklearn.linear_model import LogisticRegression
table = pa.ipc.open_file(pa.memory_map(features)).read_all()
table = table.filter(pc.is_valid(table["label"]))
x = np.column_stack([table[n].to_numpy() for n in table.column_names[2:]])
y = np.array(table["label"].to_pylist())
x = (x - x.mean(axis=0)) / x.std(axis=0)
LogisticRegression(solver="newton-cholesky").fit(x, y)
with open(path, "rb") as file:
    hashlib.file_digest(file, "sha256")
"#;

impl Peers {
    /// Installs what can be installed below `folder`, and says what is there.
    pub(crate) fn install(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("made");
        for (name, text) in [
            ("msgspec_check.py", MSGSPEC),
            ("ajv_check.mjs", AJV),
            ("duckdb_features.py", DUCKDB),
            ("fit.py", FIT),
            ("predict.py", PREDICT),
            ("pipeline.py", PIPELINE),
        ] {
            fs::write(folder.join(name), text).expect("written");
        }
        let venv = folder.join("venv");
        let python = venv.join("bin/python");
        let has_python = quiet(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            && quiet(Command::new(venv.join("bin/pip")).args(["install", "-q"]).args(PYTHON));
        let node = quiet(Command::new("npm").args(["install", "--prefix"]).arg(folder).arg("ajv"));
        let peers = Self {
            folder: folder.to_owned(),
            python: has_python.then_some(python),
            node,
        };
        peers.print_versions();
        peers
    }

    fn print_versions(&self) {
        if let Some(python) = &self.python {
            let list = Command::new(python)
                .args(["-m", "pip", "list", "--format=freeze"])
                .output();
            let list = list
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
                .unwrap_or_default();
            let named = |line: &&str| PYTHON.iter().any(|name| line.starts_with(&format!("{name}==")));
            println!("{}", list.lines().filter(named).collect::<Vec<_>>().join(", "));
        }
        if self.node {
            let package = fs::read_to_string(self.folder.join("node_modules/ajv/package.json")).unwrap_or_default();
            let package: serde_json::Value = serde_json::from_str(&package).unwrap_or_default();
            println!("ajv=={}", package["version"].as_str().unwrap_or("?"));
        }
    }

    /// A script of Python's with its arguments.
    pub(crate) fn python(&self, script: &str, arguments: &[&str]) -> Option<Command> {
        let mut command = Command::new(self.python.as_ref()?);
        command
            .arg(self.folder.join(script))
            .args(arguments)
            .current_dir(&self.folder);
        // Some machines tell older libraries what their processor is, which slows newer ones down.
        command.env_remove("OPENBLAS_CORETYPE").env_remove("OPENBLAS_L2_SIZE");
        Some(command)
    }

    /// The folder of the scripts.
    pub(crate) fn folder(&self) -> &str {
        self.folder.to_str().expect("a temporary folder is UTF-8")
    }

    /// The validator of Node's.
    pub(crate) fn ajv(&self, schema: &str, path: &str, processes: &str) -> Option<Command> {
        let mut command = Command::new("node");
        command
            .arg(self.folder.join("ajv_check.mjs"))
            .args([schema, path, processes])
            .current_dir(&self.folder);
        self.node.then_some(command)
    }
}

fn quiet(command: &mut Command) -> bool {
    let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}
