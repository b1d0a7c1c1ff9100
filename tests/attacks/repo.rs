//! The finished repository: two clones with a key each, runs of both, merged; and copies of it to attack.

use std::ops::Deref;
use std::sync::LazyLock;

use camino::Utf8Path;
use madmall::receipt::statement::Statement;
use serde_json::Value;

use crate::forge::{self, Forger, canonical};
use crate::space::{Ran, Space, files_below};

const MAIN: &str = "version: 1
name: main
purpose: research
params: {times: 2}
stages:
  upper: {uses: stages/upper.yaml, inputs: {text: data/in.txt}, outputs: {text: out/upper.txt}}
  join:
    run: 'cat ${inputs.set}/* ${inputs.text} > ${outputs.joined}; echo ${params.times} >> ${outputs.joined}'
    env: [MODE]
    params: {times: '${params.times}'}
    inputs: {set: data/set, text: upper}
    outputs: {joined: out/joined.txt}
  count:
    run: 'wc -c < ${inputs.text} > ${outputs.count}; printf \"echo hi\" > ${outputs.tool}; chmod +x ${outputs.tool}'
    inputs: {text: join}
    outputs: {count: out/count.txt, tool: out/tool}
";
const UPPER: &str = "version: 1\nname: upper\nargv: [cp, '${inputs.text}', '${outputs.text}']\ninputs: {text: {}}\noutputs: {text: {}}\n";
const FAILS: &str = "version: 1
name: fails
stages:
  bad: {run: 'echo no; exit 3', inputs: {text: data/in.txt}, outputs: {o: out/bad.txt}}
";
const THEIRS: &str = "version: 1
name: theirs
stages:
  theirs: {run: 'cat ${inputs.text} ${inputs.text} > ${outputs.o}', inputs: {text: data/theirs.txt}, outputs: {o: out/theirs.txt}}
";

/// Where things are, as the base was made.
#[derive(Clone, Default)]
struct Names {
    first: String,
    second: String,
    failed: String,
    theirs: String,
    log: String,
    their_log: String,
    /// The digits of the id of what the second run's last stage has for a receipt, and of the run's own.
    count: String,
    run: String,
    /// The operator's public key.
    own_digits: String,
    /// Of the colleague's keyid, as in the names of his countersignatures.
    their_digits: String,
}

struct Base {
    space: Space,
    names: Names,
}

/// Made once: it takes as long as a hundred attacks on it. Nothing is dropped when a process ends, so the next one removes it.
static BASE: LazyLock<Base> = LazyLock::new(make);

/// Every file below `runs/` that is not in `before`.
fn new_files(space: &Space, before: &[String]) -> Vec<String> {
    let files = files_below(&space.path("runs"));
    files.into_iter().filter(|file| !before.contains(file)).collect()
}

/// Runs it; the file of its receipts.
pub(crate) fn run(space: &Space, pipeline: &str, code: i32) -> String {
    let before = files_below(&space.path("runs"));
    space.madmall(["run", pipeline]).code(code);
    let new = new_files(space, &before);
    let file = new.iter().find(|file| file.ends_with(".intoto.jsonl"));
    format!("runs/{}", file.expect("a run's file"))
}

fn log_of(space: &Space, but: &str) -> String {
    let folder = space.path("runs/log");
    let logs = folder.read_dir_utf8().expect("logs").flatten();
    let mut logs = logs.map(|log| format!("runs/log/{}", log.file_name()));
    logs.find(|log| log != but).expect("a log")
}

pub(crate) fn commit(space: &Space, message: &str) {
    space.git(&["add", "-A"]);
    space.git(&["commit", "-q", "-m", message]);
}

fn make() -> Base {
    let space = Space::for_this_process("madmall-attacks");
    let mut names = Names::default();
    for (path, text) in [
        ("madmall.yaml", ""),
        (".gitignore", ".madmall\n"),
        ("README.md", "A project.\n"),
        ("pipelines/main.yaml", MAIN),
        ("pipelines/fails.yaml", FAILS),
        ("stages/upper.yaml", UPPER),
        ("data/in.txt", "some bytes\nof a source\n"),
        ("data/set/one.txt", "one\n"),
        ("data/set/two.txt", "two\n"),
    ] {
        space.write(path, text);
    }
    space.git(&["init", "-q", "--template="]);
    names.first = run(&space, "pipelines/main.yaml", 0);
    names.log = log_of(&space, "");
    commit(&space, "edit, run, commit");
    // Receipts have whole seconds: the next run is to be later.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    space.write("data/in.txt", "other bytes\nof a source\n");
    names.second = run(&space, "pipelines/main.yaml", 0);
    let lines = space.read(&names.second);
    let mut ids = lines.lines().rev().map(|line| forge::id(&forge::payload(line)));
    names.run = ids.next().expect("the run's own");
    names.count = ids.next().expect("a stage's");
    commit(&space, "another source");
    names.failed = run(&space, "pipelines/fails.yaml", 1);
    commit(&space, "a failure");

    let second = space.beside("second", "config2");
    space.git(&["clone", "-q", "--template=", ".", second.root().as_str()]);
    second.write("pipelines/theirs.yaml", THEIRS);
    second.write("data/theirs.txt", "theirs\n");
    names.theirs = run(&second, "pipelines/theirs.yaml", 0);
    names.their_log = log_of(&second, &names.log);
    commit(&second, "theirs");
    space.git(&["pull", "-q", "--no-rebase", "--no-edit", second.root().as_str(), "main"]);

    // One file instead of many: it is copied often.
    space.git(&["gc", "-q"]);

    let keys = [own_key(&space, "config"), own_key(&space, "config2")];
    keys[1].keyid()[..8].clone_into(&mut names.their_digits);
    names.own_digits = keys[0].public_hex();
    let entry = |(key, name): (&Forger, &str)| serde_json::json!({"keyid": key.keyid(), "public": key.public_hex(), "name": name});
    let entries: Vec<Value> = keys.iter().zip(["operator", "colleague"]).map(entry).collect();
    let policy = serde_json::json!({"version": 1, "keys": entries});
    space.write("../policy.json", policy.to_string());
    space.write("../own.pem", keys[0].public_pem());
    space.write("../theirs.pem", keys[1].public_pem());
    space.write("../stranger.pem", stranger().public_pem());
    Base { space, names }
}

fn own_key(space: &Space, config: &str) -> Forger {
    // The workspace may have been moved.
    let path = space.base().join(config).join("signing-key.pem");
    Forger::from_pem(&std::fs::read_to_string(path).expect("a key"))
}

/// The run's id, from the name of its file.
fn id_of(file: &str) -> String {
    let name = file
        .strip_prefix("runs/")
        .and_then(|name| name.strip_suffix(".intoto.jsonl"));
    name.unwrap_or_default().to_owned()
}

/// Whom nobody trusts.
pub(crate) fn stranger() -> Forger {
    Forger::from_seed(66)
}

/// A copy of the finished repository.
pub(crate) struct Repo {
    space: Space,
    names: Names,
}

impl Deref for Repo {
    type Target = Space;

    fn deref(&self) -> &Space {
        &self.space
    }
}

impl Repo {
    pub(crate) fn new() -> Self {
        Self {
            space: BASE.space.copied(&["work space/.madmall", "second"]),
            names: BASE.names.clone(),
        }
    }

    /// A copy that has the store as well.
    pub(crate) fn with_store() -> Self {
        Self {
            space: BASE.space.copied(&["second"]),
            names: BASE.names.clone(),
        }
    }

    /// The text with each name in braces replaced by what it is in this repository.
    pub(crate) fn fill(&self, text: &str) -> String {
        let names = &self.names;
        let mut text = text.to_owned();
        for (name, value) in [
            ("{first}", &names.first),
            ("{second}", &names.second),
            ("{failed}", &names.failed),
            ("{theirs}", &names.theirs),
            ("{log}", &names.log),
            ("{their_log}", &names.their_log),
            ("{base}", &self.space.base().to_string()),
            ("{first_id}", &id_of(&names.first)),
            ("{count_digits}", &names.count),
            ("{run_digits}", &names.run),
            ("{own_digits}", &names.own_digits),
            ("{their_digits}", &names.their_digits),
        ] {
            text = text.replace(name, value);
        }
        text
    }

    /// The lines of a run's file.
    pub(crate) fn lines(&self, file: &str) -> Vec<String> {
        self.read(&self.fill(file)).lines().map(str::to_owned).collect()
    }

    /// Writes a run's file from its lines.
    pub(crate) fn write_lines(&self, file: &str, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.write(&self.fill(file), text);
    }

    /// Removes a file by its name.
    pub(crate) fn remove_file(&self, file: &str) {
        self.space.remove(file);
    }

    /// Changes the bytes of a file.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let file = self.fill(file);
        let mut bytes = self.bytes(&file);
        change(&mut bytes);
        self.write(&file, bytes);
    }

    /// The key of whoever works in the first clone.
    pub(crate) fn own(&self) -> Forger {
        own_key(self, "config")
    }

    /// That of the second clone.
    pub(crate) fn theirs(&self) -> Forger {
        own_key(self, "config2")
    }

    /// All files of a log, relative to the workspace.
    pub(crate) fn log_files(&self, log: &str) -> Vec<String> {
        let log = self.fill(log);
        let files = files_below(&self.path(&log));
        files.into_iter().map(|file| format!("{log}/{file}")).collect()
    }

    /// Signs, as the operator, a later run in which the last stage ran again, with whatever `change` does to that stage's statement.
    pub(crate) fn forge(&self, change: impl FnOnce(&mut Value)) {
        self.forge_by(&self.own(), change);
    }

    pub(crate) fn forge_by(&self, key: &Forger, change: impl FnOnce(&mut Value)) {
        self.forge_bytes(key, |mut stage| {
            change(&mut stage);
            canonical(&stage)
        });
    }

    /// The same, and with whatever bytes are made of the statement.
    pub(crate) fn forge_bytes(&self, key: &Forger, spell: impl FnOnce(Value) -> Vec<u8>) {
        self.forge_like("{second}", key, spell);
    }

    /// The same of another run, whose last stage is `count` too.
    pub(crate) fn forge_like(&self, file: &str, key: &Forger, spell: impl FnOnce(Value) -> Vec<u8>) {
        let lines = self.lines(file);
        let [.., stage, run] = &lines[..] else {
            panic!("a stage and a run")
        };
        let mut stage = forge::statement(stage);
        later(&mut stage);
        let payload = spell(stage);
        let run = adopt(forge::statement(run), &payload);
        self.write_lines(FORGED, &[key.line(&payload), key.line(&canonical(&run))]);
    }

    /// Signs, as the operator, a run in which nothing ran again, with whatever `change` does to its statement.
    pub(crate) fn forge_run(&self, change: impl FnOnce(&mut Value)) {
        let mut run = forge::statement(self.lines("{second}").last().expect("a line"));
        later(&mut run);
        change(&mut run);
        self.write_lines(FORGED, &[self.own().line(&canonical(&run))]);
    }
}

/// The file of a second forged run, a moment after the first.
pub(crate) const FORGED_NEXT: &str = "runs/2099-01-01T000002Z-main-ffffff.intoto.jsonl";

/// The file of forged receipts.
pub(crate) const FORGED: &str = "runs/2099-01-01T000000Z-main-ffffff.intoto.jsonl";

/// Of the forged run, which is later than all others.
fn later(statement: &mut Value) {
    let metadata = &mut statement["predicate"]["runDetails"]["metadata"];
    metadata["invocationId"] = "2099-01-01T000000Z-main-ffffff".into();
    metadata["startedOn"] = "2099-01-01T00:00:00Z".into();
    metadata["finishedOn"] = "2099-01-01T00:00:01Z".into();
}

/// The run's statement, about the stage with this payload instead of the last one that it names.
fn adopt(mut run: Value, stage: &[u8]) -> Value {
    later(&mut run);
    let id = forge::id(stage);
    let dependencies = run["predicate"]["buildDefinition"]["resolvedDependencies"].as_array_mut();
    let dependencies = dependencies.expect("a list");
    for dependency in dependencies.iter_mut() {
        if dependency["annotations"]["madmall"]["receipt"].is_object() && dependency["name"] == "count" {
            dependency["digest"]["sha256"] = id.clone().into();
        }
    }
    sort_dependencies(dependencies);
    // A stage's statement that is refused must be the only one that is.
    let subjects = Statement::parse(stage)
        .ok()
        .and_then(|_| serde_json::from_slice::<Value>(stage).ok());
    let subjects = subjects.and_then(|stage| stage["subject"].as_array().cloned());
    if let Some(subjects) = subjects {
        let own = run["subject"].as_array_mut().expect("a list");
        own.retain(|subject| subject["annotations"]["madmall"]["output"]["stage"] != "count");
        own.extend(subjects.into_iter().map(|mut subject| {
            if subject["annotations"]["madmall"]["output"].is_object() {
                subject["annotations"]["madmall"]["output"]["stage"] = "count".into();
            }
            subject
        }));
        own.sort_by_key(|subject| subject["name"].to_string());
        own.dedup_by_key(|subject| subject["name"].to_string());
    }
    run
}

/// In the order in which receipts name them.
pub(crate) fn sort_dependencies(dependencies: &mut [Value]) {
    let rank = |dependency: &Value| {
        let role = dependency["annotations"]["madmall"]
            .as_object()
            .and_then(|role| role.keys().next().cloned());
        let order = [
            "commit",
            "definition",
            "input",
            "member",
            "output",
            "log",
            "receipt",
            "tool",
        ];
        let place = order.iter().position(|name| Some(*name) == role.as_deref());
        (place, dependency["name"].as_str().unwrap_or_default().to_owned())
    };
    dependencies.sort_by_key(rank);
}

/// What `verify --json` says.
pub(crate) struct Verdict {
    pub(crate) ran: Ran,
    pub(crate) report: Option<Value>,
}

impl Verdict {
    pub(crate) fn of(ran: Ran) -> Self {
        let report = serde_json::from_str(&ran.out).ok();
        Self { ran, report }
    }

    pub(crate) fn findings(&self) -> Vec<&Value> {
        let findings = self.report.as_ref().and_then(|report| report["findings"].as_array());
        findings.into_iter().flatten().collect()
    }

    pub(crate) fn codes(&self) -> Vec<&str> {
        let codes = self.findings().into_iter();
        let mut codes: Vec<&str> = codes.filter_map(|finding| finding["code"].as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }
}

/// Below a folder, every path with its modification time set to that of another file.
pub(crate) fn touch_like(path: &Utf8Path, other: &Utf8Path) {
    let time = other.metadata().expect("there").modified().expect("a time");
    let file = std::fs::File::options().write(true).open(path).expect("there");
    file.set_modified(time).expect("own file");
}
