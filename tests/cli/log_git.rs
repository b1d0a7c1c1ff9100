//! Whatever git does with branches, every log stays one history, and every checkpoint that was ever seen stays true.

use std::collections::BTreeMap;

use crate::space::{Space, files_below};

const TWO: &str = "stages:
  a: {run: 'cp ${inputs.i} ${outputs.o}', inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'cat ${inputs.i} ${inputs.i} > ${outputs.o}', inputs: {i: a}, outputs: {o: out/b}}";

/// A repository, with what was ever seen of its logs.
struct Repository {
    space: Space,
    /// Beside the workspace, by log and size.
    kept: BTreeMap<String, String>,
    /// Whom `verify` is told to trust; the user's own policy if nobody is named.
    trust: Option<String>,
}

impl Repository {
    fn new() -> Self {
        let repository = Self::around(Space::empty());
        repository.space.pipeline(TWO);
        repository.space.write(".gitignore", "out\n.madmall\n");
        repository.space.git(&["init", "-q"]);
        repository
    }

    fn around(space: Space) -> Self {
        Self {
            space,
            kept: BTreeMap::new(),
            trust: None,
        }
    }

    /// Runs with this input, commits, and keeps every checkpoint that is there.
    fn run(&mut self, input: &str) {
        self.space.write("in", format!("{input}\n"));
        self.space.run(&[]).success();
        self.commit(input);
        self.keep();
    }

    fn commit(&self, message: &str) {
        self.space.git(&["add", "-A"]);
        self.space.git(&["commit", "-q", "-m", message]);
    }

    fn keep(&mut self) {
        for name in files_below(&self.space.path("runs/log")) {
            if let Some((log, checkpoint)) = name.split_once('/')
                && checkpoint.starts_with("checkpoint-")
            {
                let to = format!("../kept/{log}-{checkpoint}");
                self.space.write(&to, self.space.bytes(&format!("runs/log/{name}")));
                self.kept.insert(name, self.space.path(&to).into_string());
            }
        }
    }

    /// `verify` with the checkpoints that were kept of the logs that are here, all of which it must find to hold.
    #[track_caller]
    fn holds(&self) {
        let mut arguments = vec!["verify", "--json"];
        let trust: Vec<&str> = self.trust.iter().flat_map(|trust| ["--trust", trust]).collect();
        arguments.extend(&trust);
        let here = files_below(&self.space.path("runs/log"));
        let is_here = |name: &str| {
            name.split_once('/')
                .is_some_and(|(log, _)| here.iter().any(|file| file.starts_with(log)))
        };
        for (_, path) in self.kept.iter().filter(|(name, _)| is_here(name)) {
            arguments.extend(["--pin", path]);
        }
        let report = self.space.madmall(arguments).success().out;
        let report: serde_json::Value = serde_json::from_str(&report).expect("one JSON object");
        let state = |name: &str| report["assurance"][name].as_str().map(str::to_owned);
        assert_eq!(
            (state("log").as_deref(), state("pin").as_deref()),
            (Some("held"), Some("held")),
            "{report:#}"
        );
        // The same, proven to somebody who has nothing but the proof and what was kept.
        for (_, path) in self.kept.iter().filter(|(name, _)| is_here(name)) {
            for arguments in [
                ["log", "prove", "--since", path, "-o", "../proof"].as_slice(),
                &["log", "check", "../proof", "--old", path],
            ] {
                self.space.madmall(arguments.iter().chain(&trust)).success();
            }
        }
    }
}

#[test]
fn switching_merging_and_rebasing_branches_leaves_every_log_one_history() {
    let mut repository = Repository::new();
    repository.run("first");
    repository.space.git(&["checkout", "-q", "-b", "one"]);
    repository.run("one");
    repository.run("one more");
    repository.holds();
    repository.space.git(&["checkout", "-q", "main"]);
    repository.space.git(&["checkout", "-q", "-b", "two"]);
    repository.run("two");
    repository.holds();
    // To and fro, with a run on each.
    repository.space.git(&["checkout", "-q", "one"]);
    repository.run("one again");
    repository.space.git(&["checkout", "-q", "two"]);
    repository.run("two again");
    repository.holds();
    repository
        .space
        .git(&["merge", "-q", "-X", "ours", "-m", "both", "one"]);
    repository.holds();
    repository
        .space
        .madmall(["verify"])
        .success()
        .says_not("W-ELSEWHERE")
        .says_not("E-LOG");
    repository.run("after the merge");
    repository.holds();

    // A branch from the beginning, put on top of all that.
    repository.space.git(&["checkout", "-q", "-b", "three", "main"]);
    repository.run("three");
    repository.holds();
    repository.space.git(&["rebase", "-q", "-X", "theirs", "two"]);
    repository.holds();
    repository.run("after the rebase");
    repository.holds();
    repository
        .space
        .madmall(["verify"])
        .success()
        .says_not("W-ELSEWHERE")
        .says_not("E-LOG");
    let sizes: Vec<&String> = repository.kept.keys().collect();
    assert_eq!(sizes.len(), 9, "one log and a checkpoint for each run: {sizes:?}");

    // Squashed, too: files are all there is to it.
    repository.space.git(&["checkout", "-q", "-b", "four", "main"]);
    repository
        .space
        .git(&["merge", "-q", "--squash", "-X", "theirs", "three"]);
    repository.commit("squashed");
    repository.holds();
}

/// Runs with the key of that name, made if there is none, and gives its line in a policy.
fn sign_with(repository: &mut Repository, name: &str) -> serde_json::Value {
    let folder = repository.space.root().join(format!("../key-{name}"));
    repository.space.set("MADMALL_CONFIG_DIR", folder.as_str());
    let shown = repository.space.madmall(["key"]).success().out;
    let field = |wanted: &str| {
        let value = shown.lines().find_map(|line| line.strip_prefix(wanted));
        value.expect("a line").trim().to_owned()
    };
    serde_json::json!({ "keyid": field("keyid "), "name": name, "public": field("public ") })
}

#[test]
fn the_work_of_two_clones_with_two_keys_each_merges_into_four_logs_that_all_hold() {
    let mut ours = Repository::new();
    let mut keys = vec![sign_with(&mut ours, "ours")];
    ours.run("ours");
    let mut theirs = Repository::around(Space::empty());
    theirs.space.git(&["clone", "-q", ours.space.root().as_str(), "."]);
    keys.push(sign_with(&mut theirs, "theirs"));
    theirs.run("theirs");
    keys.push(sign_with(&mut theirs, "their second"));
    theirs.run("theirs again");
    keys.push(sign_with(&mut ours, "our second"));
    ours.run("ours again");
    let policy = serde_json::json!({ "version": 1, "keys": keys }).to_string();
    for repository in [&mut ours, &mut theirs] {
        repository.space.write("../policy.json", &policy);
        repository.trust = Some(repository.space.path("../policy.json").into_string());
        repository.holds();
    }

    ours.space.git(&["fetch", "-q", theirs.space.root().as_str(), "main"]);
    ours.space
        .git(&["merge", "-q", "-X", "ours", "-m", "both", "FETCH_HEAD"]);
    ours.keep();
    ours.holds();
    let logs = std::fs::read_dir(ours.space.path("runs/log")).expect("logs").count();
    assert_eq!(logs, 4);
    theirs.space.git(&["fetch", "-q", ours.space.root().as_str(), "main"]);
    theirs.space.git(&["merge", "-q", "FETCH_HEAD"]);
    theirs.space.run(&["--force"]).success().says_not("new log");
    theirs.commit("all four");
    theirs.keep();
    theirs.holds();

    // The last receipt names all four logs, so that none of them can be cut any more.
    let run = theirs
        .space
        .receipt_files()
        .pop()
        .expect("runs")
        .replace(".intoto.jsonl", "");
    let payload = theirs.space.madmall(["show", &run, "--json"]).success().out;
    let payload: serde_json::Value = serde_json::from_str(&payload).expect("a statement");
    let named = &payload["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
    assert_eq!(named.as_array().map(Vec::len), Some(4), "{named}");
    let compared = ours
        .space
        .madmall(["log", "compare", ".", theirs.space.root().as_str()])
        .success()
        .out;
    assert_eq!(compared.matches("equal, ").count(), 3, "{compared}");
    assert_eq!(compared.matches("B goes on from A").count(), 1, "{compared}");
}
