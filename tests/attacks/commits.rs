//! Commits: files that a receipt says a commit has, and pipelines, definitions and inputs that were edited after the run.

use serde_json::{Value, json};

use crate::forge::canonical;
use crate::repo::{FORGED, Repo, commit, run, sort_dependencies};
use crate::table::{Attack, attack, try_all};

fn zeros() -> Value {
    json!({"blake3": "0".repeat(64), "sha256": "0".repeat(64)})
}

fn dependencies(statement: &mut Value) -> &mut Vec<Value> {
    let dependencies = &mut statement["predicate"]["buildDefinition"]["resolvedDependencies"];
    dependencies.as_array_mut().expect("a list")
}

fn source(statement: &mut Value, path: &str, digest: &Value) {
    let role = json!({"input": {"input": "more"}});
    dependencies(statement).push(json!({"annotations": {"madmall": role}, "digest": digest, "name": path}));
    sort_dependencies(dependencies(statement));
}

/// The operator's receipt says of a file that it was as in the commit that it names.
fn lie(name: &'static str, change: fn(&mut Value)) -> Attack {
    attack(name, move |repo| repo.forge(change)).finds(&["E-COMMIT"])
}

#[test]
fn what_a_receipt_says_of_its_commit() {
    try_all(vec![
        lie("a pipeline file with other bytes", |s| {
            let is_it = |d: &&mut Value| d["annotations"]["madmall"].get("definition").is_some();
            dependencies(s).iter_mut().find(is_it).expect("a definition")["digest"] = zeros();
        })
        .names("pipelines/main.yaml")
        .says("does not have it with the bytes"),
        lie("a source with other bytes", |s| source(s, "data/in.txt", &zeros())).names("data/in.txt"),
        lie("a source that it does not have", |s| {
            source(s, "data/none.txt", &zeros())
        })
        .names("data/none.txt")
        .says("no file of that name"),
        lie("a folder with other files", |s| {
            let zeros = "0".repeat(64);
            source(s, "data/set", &json!({"blake3": zeros, "dirHash": zeros}));
        })
        .names("data/set")
        .says("does not have it with the files"),
        lie("a folder that it does not have", |s| {
            let zeros = "0".repeat(64);
            source(s, "data/none", &json!({"blake3": zeros, "dirHash": zeros}));
        })
        .names("data/none")
        .says("no folder of files"),
        attack("files of a pattern that are not listed", |repo| {
            repo.forge(|s| {
                let zeros = "0".repeat(64);
                source(s, "data/*.txt", &json!({"blake3": zeros, "dirHash": zeros}));
            });
        })
        .ends(0)
        .says("does not list the files that"),
        attack("a commit that is nowhere", |repo| {
            repo.forge(|s| {
                let id = "7".repeat(40);
                s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["made"]["commit"] =
                    id.clone().into();
                let is_it = |d: &&mut Value| d["annotations"]["madmall"].get("commit").is_some();
                dependencies(s).iter_mut().find(is_it).expect("a commit")["digest"]["gitCommit"] = id.into();
            });
        })
        .ends(0)
        .finds(&["W-COMMIT-GONE"]),
        attack("a tree in the place of a commit", |repo| {
            let tree = repo.git(&["rev-parse", "HEAD^{tree}"]);
            repo.forge(|s| {
                s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["made"]["commit"] =
                    tree.clone().into();
                let is_it = |d: &&mut Value| d["annotations"]["madmall"].get("commit").is_some();
                dependencies(s).iter_mut().find(is_it).expect("a commit")["digest"]["gitCommit"] = tree.into();
            });
        })
        .ends(0)
        .finds(&["W-COMMIT-GONE"]),
        attack("files that were not committed", |_| {})
            .ask(&["--require-clean"])
            .finds(&["E-UNCOMMITTED"])
            .says("used `data/in.txt`, which was not committed as it was"),
        attack("two files that are said to differ", |repo| {
            repo.forge(|s| {
                source(s, "data/in.txt", &zeros());
                let made = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["made"];
                made["differs"] = json!(["data/in.txt", "pipelines/main.yaml"]);
            });
        })
        .ask(&[FORGED, "--require-clean"])
        .finds(&["E-UNCOMMITTED"])
        .says("used `data/in.txt` and 1 more files"),
        attack("a file that is said to differ", |repo| {
            repo.forge(|s| {
                let made = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["made"];
                made["differs"] = json!(["pipelines/main.yaml"]);
            });
        })
        .ask(&[FORGED, "--require-clean"])
        .finds(&["E-UNCOMMITTED"]),
        attack("no commit at all", |repo| {
            repo.forge(|s| {
                dependencies(s).retain(|d| d["annotations"]["madmall"].get("commit").is_none());
                let made = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["made"];
                *made = json!({"differs": [], "repository": "none"});
            });
        })
        .ask(&[FORGED, "--require-clean"])
        .finds(&["E-UNCOMMITTED"])
        .says("was made where there was no commit"),
    ]);
}

const CLEAN: &str = "version: 1
name: clean
stages:
  count: {run: 'cat ${inputs.set}/* > ${outputs.o}', inputs: {set: data/set}, outputs: {o: out/clean.txt}}
";

/// A run of nothing but what was committed, and a later one that the operator signs, with whatever `change` does to its stage.
fn clean(name: &'static str, change: fn(&mut Value)) -> Attack {
    let attack = attack(name, move |repo| {
        repo.write("pipelines/clean.yaml", CLEAN);
        commit(repo, "clean");
        let file = run(repo, "pipelines/clean.yaml", 0);
        repo.forge_like(&file, &repo.own(), |mut stage| {
            change(&mut stage);
            canonical(&stage)
        });
    });
    attack.ask(&[FORGED]).ends(0)
}

#[test]
fn what_was_committed_before() {
    try_all(vec![
        clean("nothing", |_| {}).assures("commit", "held"),
        clean("a folder whose files are not listed", |s| {
            dependencies(s).retain(|d| d["annotations"]["madmall"].get("member").is_none());
        })
        .assures("commit", "held"),
        clean("files of a pattern that are not listed", |s| {
            let zeros = "0".repeat(64);
            source(s, "data/*.txt", &json!({"blake3": zeros, "dirHash": zeros}));
        })
        .assures("commit", "not-checked")
        .says("does not list the files that"),
    ]);
}

/// Something is committed after the run, and the commit is asked for.
fn at(name: &'static str, what: &'static str, change: fn(&Repo)) -> Attack {
    let attack = attack(name, move |repo| {
        change(repo);
        repo.git(&["add", "-A"]);
        repo.git(&["commit", "-q", "--allow-empty", "-m", "after the run"]);
    });
    attack.ask(&[what, "--at", "HEAD"]).finds(&["E-PIPELINE"])
}

fn replace(repo: &Repo, file: &str, from: &str, to: &str) {
    let text = repo.read(file);
    assert!(text.contains(from), "{from} is not in {file}");
    repo.write(file, text.replace(from, to));
}

fn remove_count(repo: &Repo) {
    let text = repo.read("pipelines/main.yaml");
    let (text, _) = text.split_once("  count:").expect("a stage");
    repo.write("pipelines/main.yaml", text);
}

#[test]
fn what_a_commit_gives() {
    try_all(vec![
        at("an edited command", "out/count.txt", |repo| {
            replace(repo, "pipelines/main.yaml", "wc -c", "wc -l")
        })
        .names("pipelines/main.yaml")
        .says("stage `count`"),
        at("an edited parameter", "out/count.txt", |repo| {
            replace(repo, "pipelines/main.yaml", "times: 2", "times: 3")
        })
        .says("stage `join`"),
        at("an edited environment", "out/count.txt", |repo| {
            replace(repo, "pipelines/main.yaml", "env: [MODE]", "env: [MODE, OTHER]");
        })
        .says("stage `join`"),
        at("an edited stage file", "out/count.txt", |repo| {
            replace(repo, "stages/upper.yaml", "[cp, ", "[cp, -p, ")
        })
        .says("stage `upper`"),
        at("an edited input", "out/count.txt", |repo| {
            repo.write("data/in.txt", "edited\n")
        })
        .says("its input `text` (data/in.txt)")
        .says_not("stage `join`")
        .says_not("stage `count`"),
        at(
            "an edited stage that what is asked for does not rest on",
            "out/upper.txt",
            |repo| replace(repo, "pipelines/main.yaml", "wc -c", "wc -l"),
        )
        .ends(0)
        .finds(&[]),
        at("an edited file of a folder", "out/count.txt", |repo| {
            repo.write("data/set/one.txt", "edited\n")
        })
        .says("its input `set` (data/set)"),
        at("a file more in a folder", "out/count.txt", |repo| {
            repo.write("data/set/three.txt", "3\n")
        })
        .says("its input `set` (data/set)"),
        at("a file of a folder renamed", "out/count.txt", |repo| {
            repo.write("data/set/zwei.txt", repo.bytes("data/set/two.txt"));
            repo.remove("data/set/two.txt");
        })
        .says("its input `set` (data/set)"),
        at("an input removed", "out/count.txt", |repo| repo.remove("data/in.txt")).says("that can be resolved"),
        at("the pipeline removed", "out/count.txt", |repo| {
            repo.remove("pipelines/main.yaml")
        })
        .says("does not have a pipeline that can be resolved"),
        at("the pipeline broken", "out/count.txt", |repo| {
            repo.write("pipelines/main.yaml", "{")
        })
        .says("does not have a pipeline that can be resolved"),
        at("another output", "out/count.txt", |repo| {
            replace(repo, "pipelines/main.yaml", "out/count.txt", "out/other.txt");
        }),
        at("a stage removed", "out/count.txt", remove_count).names("out/count.txt"),
        at("an older output in place", "out/count.txt", |repo| {
            repo.git(&["checkout", "-q", "HEAD~3", "--", "out"]);
        })
        .names("out/count.txt")
        .says("is not what"),
        at("a failure that nobody made good", "{second}", |repo| {
            replace(repo, "pipelines/main.yaml", "wc -c", "wc -l");
        }),
        attack("everything, with a stage that only failed", |_| {})
            .ask(&["--at", "HEAD"])
            .finds(&["E-PIPELINE"])
            .names("pipelines/fails.yaml")
            .says_not("writes it"),
        attack("everything, with an output whose stage is no more", |repo| {
            remove_count(repo);
            commit(repo, "without count");
        })
        .ask(&["--at", "HEAD"])
        .finds(&["E-PIPELINE", "W-STALE"])
        .says("no stage of `pipelines/main.yaml` at commit"),
        at(
            "a stage removed, and a copy of its output is asked for",
            "copy.txt",
            |repo| {
                repo.write("copy.txt", repo.bytes("out/count.txt"));
                remove_count(repo);
            },
        )
        .names("out/count.txt"),
        attack("edited, and edited back without a commit", |repo| {
            let text = repo.read("pipelines/main.yaml");
            replace(repo, "pipelines/main.yaml", "wc -c", "wc -l");
            repo.git(&["commit", "-q", "-am", "edited"]);
            repo.write("pipelines/main.yaml", text);
        })
        .ask(&["out/count.txt", "--at", "HEAD"])
        .finds(&["E-PIPELINE"]),
        attack("a commit that is not there", |_| {})
            .ask(&["out/count.txt", "--at", "no-such-branch"])
            .ends(6)
            .finds(&["E-READ"]),
        attack("no repository", |repo| {
            std::fs::remove_dir_all(repo.path(".git")).expect("removed")
        })
        .ask(&["out/count.txt", "--at", "HEAD"])
        .ends(6)
        .finds(&["E-READ"]),
        attack("git's objects damaged", |repo| {
            let pack = crate::space::files_below(&repo.path(".git/objects"));
            let pack = pack.iter().find(|file| file.ends_with(".pack")).expect("a pack");
            let file = format!(".git/objects/{pack}");
            let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
            std::fs::set_permissions(repo.path(&file), mode).expect("own file");
            repo.edit(&file, |bytes| {
                let from = bytes.len() / 8;
                bytes[from..].iter_mut().step_by(3).for_each(|byte| *byte ^= 0x55);
            });
        })
        .ask(&["out/count.txt", "--at", "HEAD"])
        .ends(6)
        .finds(&["E-READ"]),
    ]);
}
