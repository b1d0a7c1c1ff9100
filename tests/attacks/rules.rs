//! Statements that the operator's own key signed and that are spelled as they must be, but whose fields do not go together; and receipts
//! that do not link up.

use serde_json::{Value, json};

use crate::forge::{canonical, id, statement};
use crate::repo::{FORGED, Repo, sort_dependencies};
use crate::table::{Attack, attack, harmless, try_all};

/// The last stage's statement with something changed.
fn stage(name: &'static str, change: fn(&mut Value)) -> Attack {
    let attack = attack(name, move |repo| repo.forge(change));
    attack.finds(&["E-JSON", "E-CHAIN"]).names(FORGED)
}

/// The run's statement with something changed.
fn run(name: &'static str, change: fn(&mut Value)) -> Attack {
    attack(name, move |repo| repo.forge_run(change))
        .finds(&["E-JSON"])
        .names(FORGED)
}

/// The same as the first version had it.
fn first_version(name: &'static str, change: fn(&mut Value)) -> Attack {
    attack(name, move |repo| {
        repo.forge_run(|run| {
            run["predicate"]["buildDefinition"]["buildType"] = "urn:madmall:run:v1".into();
            dependencies(run).iter_mut().for_each(as_first_version);
            change(run);
            sort_dependencies(dependencies(run));
        });
    })
    .finds(&["E-JSON"])
    .names(FORGED)
}

/// A receipt that a run names, called by its id.
fn as_first_version(dependency: &mut Value) {
    if dependency["annotations"]["madmall"]["receipt"].is_object() {
        dependency["annotations"]["madmall"]["receipt"]["stage"] = dependency["name"].clone();
        let id = dependency["digest"]["sha256"].as_str().expect("an id").to_owned();
        dependency["name"] = format!("sha256:{id}").into();
    }
}

fn list<'a>(statement: &'a mut Value, pointer: &str) -> &'a mut Vec<Value> {
    statement
        .pointer_mut(pointer)
        .and_then(Value::as_array_mut)
        .expect("a list")
}

fn subjects(statement: &mut Value) -> &mut Vec<Value> {
    list(statement, "/subject")
}

fn dependencies(statement: &mut Value) -> &mut Vec<Value> {
    list(statement, "/predicate/buildDefinition/resolvedDependencies")
}

/// The first dependency of that role.
fn dependency<'a>(statement: &'a mut Value, role: &str) -> &'a mut Value {
    let is_it = |dependency: &&mut Value| dependency["annotations"]["madmall"].get(role).is_some();
    dependencies(statement).iter_mut().find(is_it).expect("a dependency")
}

fn external(statement: &mut Value) -> &mut Value {
    &mut statement["predicate"]["buildDefinition"]["externalParameters"]
}

fn internal(statement: &mut Value) -> &mut Value {
    &mut statement["predicate"]["buildDefinition"]["internalParameters"]["madmall"]
}

fn metadata(statement: &mut Value) -> &mut Value {
    &mut statement["predicate"]["runDetails"]["metadata"]
}

/// Renames the output `count`, in the declaration as in the subject.
fn rename(statement: &mut Value, name: &str) {
    external(statement)["stage"]["outputs"]["count"] = name.into();
    subjects(statement)[0]["name"] = name.into();
    subjects(statement).sort_by_key(|subject| subject["name"].as_str().unwrap_or_default().to_owned());
}

#[test]
fn digests() {
    try_all(vec![
        stage("sha256 alone", |s| drop(digest(s).remove("blake3"))).says("is not `blake3` and `sha256`"),
        stage("blake3 alone", |s| drop(digest(s).remove("sha256"))).says("is not `blake3` and `sha256`"),
        stage("none", |s| digest(s).clear()).says("is not `blake3` and `sha256`"),
        stage("a third", |s| {
            drop(digest(s).insert("sha512".to_owned(), "0".repeat(128).into()))
        })
        .says("is not `blake3` and `sha256`"),
        stage("a weak one instead", |s| {
            digest(s).remove("blake3");
            digest(s).insert("md5".to_owned(), "0".repeat(32).into());
        })
        .says("is not `blake3` and `sha256`"),
        stage("a keyed one mixed with a plain one", |s| {
            let blake3 = digest(s).remove("blake3").expect("there");
            digest(s).insert("blake3Keyed".to_owned(), blake3);
        })
        .says("is not `blake3` and `sha256`"),
        stage("that of several files for one", |s| {
            let sha256 = digest(s).remove("sha256").expect("there");
            digest(s).insert("dirHash".to_owned(), sha256);
        })
        .says("is not `blake3` and `sha256`"),
        stage("an algorithm in capitals", |s| {
            let sha256 = digest(s).remove("sha256").expect("there");
            digest(s).insert("SHA256".to_owned(), sha256);
        })
        .says("is not `blake3` and `sha256`"),
        stage("hexadecimal in capitals", |s| {
            let text = digest(s)["sha256"].as_str().expect("text").to_uppercase();
            digest(s)["sha256"] = text.into();
        })
        .says("64 lower-case hexadecimal digits"),
        stage("too short", |s| {
            let text = digest(s)["sha256"].as_str().expect("text")[..62].to_owned();
            digest(s)["sha256"] = text.into();
        }),
        stage("too long", |s| {
            let text = digest(s)["sha256"].as_str().expect("text").to_owned() + "00";
            digest(s)["sha256"] = text.into();
        }),
        stage("no hexadecimal", |s| digest(s)["blake3"] = "z".repeat(64).into()),
        stage("with a prefix", |s| {
            let text = format!("sha256:{}", digest(s)["sha256"].as_str().expect("text"));
            digest(s)["sha256"] = text.into();
        }),
        stage("an input with sha256 alone", |s| {
            let input = dependency(s, "input");
            input["digest"].as_object_mut().expect("a set").remove("blake3");
        })
        .says("is not `blake3` and `sha256`"),
        stage("a definition with sha256 alone", |s| {
            dependency(s, "definition")["digest"]
                .as_object_mut()
                .expect("a set")
                .remove("blake3");
        })
        .says("is not `blake3` and `sha256`"),
        stage("a tool with sha256 alone", |s| {
            tool(s, "x");
            dependency(s, "tool")["digest"]
                .as_object_mut()
                .expect("a set")
                .remove("blake3");
        })
        .says("is not `blake3` and `sha256`"),
        stage("a source with dirHash alone", |s| {
            source(s, "data/set", &json!({"dirHash": "0".repeat(64)}));
        })
        .says("is not `blake3` and `dirHash`"),
        stage("a source with three", |s| {
            let zeros = "0".repeat(64);
            source(
                s,
                "data/set",
                &json!({"blake3": zeros, "dirHash": zeros, "dirHash2": zeros}),
            );
        })
        .says("is not `blake3` and `dirHash`"),
        stage("a stage's input with the digests of a folder", |s| {
            dependency(s, "input")["digest"] = json!({"blake3": "0".repeat(64), "dirHash": "0".repeat(64)});
        })
        .finds(&["E-CHAIN"]),
        stage("files of a folder that a stage made", |s| {
            let (digests, member) = folder_of_one("out/joined.txt/x");
            dependency(s, "input")["digest"] = digests;
            dependencies(s).push(member);
            sort_dependencies(dependencies(s));
        })
        .says("are listed with a stage that reads it"),
    ]);
}

/// The digests of a folder with one file, and that file as one of the input `text`.
fn folder_of_one(path: &str) -> (Value, Value) {
    use madmall::listing::{ListedFile, listing_digests};
    let digests = madmall::digest::Digests::of(b"");
    let file = ListedFile {
        path: path.into(),
        executable: false,
        digests,
    };
    let listing = listing_digests(&[file]).expect("a listing");
    let member = json!({
        "annotations": {"madmall": {"member": {"executable": false, "input": "text"}}},
        "digest": {"blake3": digests.blake3.to_hex(), "sha256": digests.sha256.to_hex()}, "name": path,
    });
    let digests = json!({"blake3": listing.blake3.to_hex(), "dirHash": listing.dir_hash.to_hex()});
    (digests, member)
}

fn digest(statement: &mut Value) -> &mut serde_json::Map<String, Value> {
    subjects(statement)[0]["digest"].as_object_mut().expect("a set")
}

fn zeros() -> Value {
    json!({"blake3": "0".repeat(64), "sha256": "0".repeat(64)})
}

fn tool(statement: &mut Value, name: &str) {
    dependencies(statement).push(json!({"annotations": {"madmall": {"tool": {}}}, "digest": zeros(), "name": name}));
    sort_dependencies(dependencies(statement));
}

/// Adds a second input, that nothing recorded made.
fn source(statement: &mut Value, path: &str, digest: &Value) {
    let role = json!({"input": {"input": "more"}});
    dependencies(statement).push(json!({"annotations": {"madmall": role}, "digest": digest, "name": path}));
    sort_dependencies(dependencies(statement));
}

/// Adds a file of an input.
fn member(statement: &mut Value, input: &str, path: &str) {
    let role = json!({"member": {"executable": false, "input": input}});
    dependencies(statement).push(json!({"annotations": {"madmall": role}, "digest": zeros(), "name": path}));
    sort_dependencies(dependencies(statement));
}

#[test]
fn subjects_of_a_stage() {
    try_all(vec![
        stage("one is missing", |s| drop(subjects(s).pop())).says("the subjects are not the stage's `outputs`"),
        stage("one is too many", |s| {
            let mut more = subjects(s)[0].clone();
            more["name"] = "out/more".into();
            more["annotations"]["madmall"]["output"]["output"] = "more".into();
            subjects(s).insert(1, more);
        })
        .says("the subjects are not the stage's `outputs`"),
        stage("one stands twice", |s| {
            let first = subjects(s)[0].clone();
            subjects(s).insert(1, first);
        })
        .says("names a file twice"),
        stage("one output has two files", |s| {
            let mut more = subjects(s)[0].clone();
            more["name"] = "out/count2.txt".into();
            subjects(s).insert(0, more);
            subjects(s).sort_by_key(|subject| subject["name"].as_str().unwrap_or_default().to_owned());
        })
        .says("the subjects are not the stage's `outputs`"),
        stage("they are not sorted", |s| subjects(s).reverse()).says("is not sorted by name"),
        stage("one has the name of another output", |s| {
            subjects(s)[0]["annotations"]["madmall"]["output"]["output"] = "other".into();
        })
        .says("the subjects are not the stage's `outputs`"),
        stage("one is a log", |s| {
            subjects(s)[0]["annotations"]["madmall"] = json!({"log": {"stage": "count"}})
        })
        .says("is not an output of the stage"),
        stage("one is of another stage", |s| {
            subjects(s)[0]["annotations"]["madmall"]["output"]["stage"] = "other".into();
        })
        .says("is not an output of the stage"),
        stage("a failed stage has another's log", |s| {
            internal(s)["outcome"] = json!({"signalled": 9});
            let mut log = subjects(s)[0].clone();
            log["annotations"]["madmall"] = json!({"log": {"stage": "other"}});
            *subjects(s) = vec![log];
        })
        .says("a failed stage has a subject that is not its log"),
    ]);
}

#[test]
fn names() {
    try_all(vec![
        stage("leads out", |s| rename(s, "../count.txt")).says("is not a relative path in normal form"),
        stage("leads out from within", |s| rename(s, "out/../../count.txt")).says("is not a relative path"),
        stage("goes up and down", |s| rename(s, "out/../out/count.txt")).says("is not a relative path"),
        stage("absolute", |s| rename(s, "/etc/passwd")).says("is not a relative path"),
        stage("begins with a dot", |s| rename(s, "./out/count.txt")).says("is not a relative path"),
        stage("a dot within", |s| rename(s, "out/./count.txt")).says("is not a relative path"),
        stage("empty", |s| rename(s, "")).says("is not a relative path"),
        stage("an empty part", |s| rename(s, "out//count.txt")).says("is not a relative path"),
        stage("a slash at the end", |s| rename(s, "out/count.txt/")).says("is not a relative path"),
        stage("a zero", |s| rename(s, "out/count\0.txt")).says("is not a relative path"),
        stage("a line break", |s| rename(s, "out/count\n.txt")).says("is not a relative path"),
        stage("an escape sequence", |s| rename(s, "out/\u{1b}[2Kcount.txt")).says("is not a relative path"),
        stage("a control character of Latin 1", |s| {
            rename(s, "out/\u{9b}31mcount.txt")
        })
        .says("is not a relative path"),
        stage("too long", |s| rename(s, &format!("out/{}", "x/".repeat(3000)))).says("is not a relative path"),
        stage("long", |s| rename(s, &"x".repeat(4097))).says("is not a relative path"),
        stage("two that differ in case only", |s| rename(s, "out/TOOL")).says("are one file"),
        stage("two that differ in composition only", |s| {
            rename(s, "out/e\u{301}");
            external(s)["stage"]["outputs"]["tool"] = "out/\u{e9}".into();
            subjects(s)[1]["name"] = "out/\u{e9}".into();
        })
        .says("are one file"),
        stage("in git's folder", |s| rename(s, ".git/config")).says("no stage may write"),
        stage("in git's folder in capitals", |s| rename(s, "out/.GIT/hooks/x")).says("no stage may write"),
        stage("in the folder of receipts", |s| rename(s, "runs/x")).says("no stage may write"),
        stage("in the store", |s| rename(s, ".madmall/actions")).says("no stage may write"),
        stage("a pipeline file that leads out", |s| {
            external(s)["pipelineFile"] = "../main.yaml".into()
        })
        .says("is not a relative path"),
        stage("a definition that leads out", |s| {
            let mut more = dependency(s, "definition").clone();
            more["name"] = "../main.yaml".into();
            dependencies(s).push(more);
            sort_dependencies(dependencies(s));
        })
        .says("is not a relative path"),
        stage("an input that leads out", |s| {
            dependency(s, "input")["name"] = "/etc/passwd".into()
        })
        .says("is not a relative path"),
        stage("a member that leads out", |s| member(s, "text", "../x")).says("is not a relative path"),
        stage("a tool with a folder", |s| tool(s, "bin/x")).says("is not a plain name"),
        stage("a tool with a backslash", |s| tool(s, r"bin\x")).says("is not a plain name"),
        stage("a tool without a name", |s| tool(s, "")).says("is not a plain name"),
        stage("a tool with a line break", |s| tool(s, "x\ny")).says("is not a plain name"),
        stage("a tool with a version of two lines", |s| {
            tool(s, "x");
            dependency(s, "tool")["annotations"]["madmall"]["tool"]["version"] = "1\n2".into();
        })
        .says("is not one short line"),
        harmless("a tool with a version of one line", |repo| {
            repo.forge(|s| {
                tool(s, "x");
                dependency(s, "tool")["annotations"]["madmall"]["tool"]["version"] = "x (GNU things) 9.1".into();
            });
        })
        .ask(&[FORGED])
        .finds(&["W-UNLOGGED"]),
        stage("a tool with an empty version", |s| {
            tool(s, "x");
            dependency(s, "tool")["annotations"]["madmall"]["tool"]["version"] = "".into();
        })
        .says("is not one short line"),
        stage("a tool with a version that is a book", |s| {
            tool(s, "x");
            dependency(s, "tool")["annotations"]["madmall"]["tool"]["version"] = "x".repeat(201).into();
        })
        .says("is not one short line"),
        stage("a tool with a long name", |s| tool(s, &"x".repeat(4097))).says("is not a plain name"),
    ]);
}

#[test]
fn dependencies_of_a_stage() {
    try_all(vec![
        stage("not in order", |s| dependencies(s).reverse()).says("is not in order"),
        stage("one twice", |s| {
            let first = dependencies(s)[0].clone();
            dependencies(s).insert(0, first);
        })
        .says("is not in order"),
        stage("an input twice", |s| {
            let mut more = dependency(s, "input").clone();
            more["name"] = "out/zz.txt".into();
            dependencies(s).push(more);
            sort_dependencies(dependencies(s));
        })
        .says("an input stands twice"),
        stage("a member of a file", |s| member(s, "text", "out/zz.txt")).says("an input that is a file has members"),
        stage("a member of no input", |s| member(s, "other", "out/zz.txt")).says("is of an input that is not there"),
        stage("members that do not give the digests", |s| {
            let zeros = "0".repeat(64);
            source(s, "data/set", &json!({"blake3": zeros, "dirHash": zeros}));
            member(s, "more", "data/set/one.txt");
        })
        .says("are not those of its members"),
        stage("more members than may be", |s| {
            let zeros = "0".repeat(64);
            source(s, "data/set", &json!({"blake3": zeros, "dirHash": zeros}));
            for number in 0..1001 {
                let role = json!({"member": {"executable": false, "input": "more"}});
                let name = format!("data/set/{number}");
                dependencies(s).push(json!({"annotations": {"madmall": role}, "digest": self::zeros(), "name": name}));
            }
            sort_dependencies(dependencies(s));
        })
        .says("lists more files than a receipt may"),
        stage("the receipt of a stage", |s| {
            let id = "0".repeat(64);
            let role = json!({"receipt": {"stage": "join"}});
            let name = format!("sha256:{id}");
            dependencies(s).push(json!({"annotations": {"madmall": role}, "digest": {"sha256": id}, "name": name}));
            sort_dependencies(dependencies(s));
        })
        .says("has a dependency of role `receipt`"),
        stage("an output", |s| {
            let role = json!({"output": {"output": "x"}});
            dependencies(s).push(json!({"annotations": {"madmall": role}, "digest": zeros(), "name": "out/x"}));
            sort_dependencies(dependencies(s));
        })
        .says("is no dependency by its role"),
        stage("a log", |s| {
            let role = json!({"log": {"stage": "x"}});
            dependencies(s).push(json!({"annotations": {"madmall": role}, "digest": zeros(), "name": "out/x"}));
            sort_dependencies(dependencies(s));
        })
        .says("is no dependency by its role"),
        stage("no pipeline file", |s| {
            dependencies(s).retain(|d| d["annotations"]["madmall"].get("definition").is_none());
        })
        .says("`pipelineFile` is not among"),
        stage("another pipeline file", |s| {
            external(s)["pipelineFile"] = "pipelines/fails.yaml".into()
        })
        .says("`pipelineFile` is not among"),
        stage("an input by a receipt that is none", |s| {
            dependency(s, "input")["annotations"]["madmall"]["input"]["receipt"] = "sha256:xyz".into();
        }),
        stage("the id of a receipt in capitals", |s| {
            let receipt = &mut dependency(s, "input")["annotations"]["madmall"]["input"]["receipt"];
            let text = receipt.as_str().expect("an id").replace("sha256:", "").to_uppercase();
            *receipt = format!("sha256:{text}").into();
        }),
        stage("a commit with another algorithm", |s| {
            let commit = dependency(s, "commit");
            commit["digest"] = json!({"sha1": commit["digest"]["gitCommit"]});
        }),
        stage("a commit with two algorithms", |s| {
            dependency(s, "commit")["digest"]["sha1"] = "0".repeat(40).into()
        })
        .says("is not `gitCommit` alone"),
        stage("a commit of another name", |s| {
            dependency(s, "commit")["name"] = "HEAD".into()
        }),
        stage("a commit in capitals", |s| {
            let commit = dependency(s, "commit")["digest"]["gitCommit"]
                .as_str()
                .expect("an id")
                .to_uppercase();
            dependency(s, "commit")["digest"]["gitCommit"] = commit.clone().into();
            internal(s)["made"]["commit"] = commit.into();
        })
        .says("is not named `commit`"),
        stage("a commit that is cut short", |s| {
            dependency(s, "commit")["digest"]["gitCommit"] = "0123456789".into();
            internal(s)["made"]["commit"] = "0123456789".into();
        })
        .says("is not named `commit`"),
        stage("another commit than it was made at", |s| {
            internal(s)["made"]["commit"] = "0".repeat(40).into()
        })
        .says("is not the one among the dependencies"),
        stage("no commit among the dependencies", |s| {
            dependencies(s).retain(|d| d["annotations"]["madmall"].get("commit").is_none());
        })
        .says("is not the one among the dependencies"),
        stage("a commit without a repository", |s| {
            internal(s)["made"]["repository"] = "none".into()
        })
        .says("has a repository without a commit"),
        stage("a repository without a commit", |s| {
            dependencies(s).retain(|d| d["annotations"]["madmall"].get("commit").is_none());
            drop(internal(s)["made"].as_object_mut().expect("made").remove("commit"));
        })
        .says("has a repository without a commit"),
        stage("files that differ from no commit", |s| {
            dependencies(s).retain(|d| d["annotations"]["madmall"].get("commit").is_none());
            internal(s)["made"] = json!({"differs": ["pipelines/main.yaml"], "repository": "none"});
        })
        .says("compares with a commit that it does not name"),
        stage("a file that differs and was not used", |s| {
            internal(s)["made"]["differs"] = json!(["data/in.txt"])
        })
        .says("`differs` names a file that is no dependency"),
        stage("an output that is said to differ", |s| {
            internal(s)["made"]["differs"] = json!(["out/joined.txt"])
        })
        .says("`differs` names a file that is no dependency"),
        stage("files that differ out of order", |s| {
            source(s, "data/in.txt", &zeros());
            internal(s)["made"]["differs"] = json!(["pipelines/main.yaml", "data/in.txt"]);
        })
        .says("`differs` is not sorted"),
        stage("a file that differs twice", |s| {
            internal(s)["made"]["differs"] = json!(["pipelines/main.yaml", "pipelines/main.yaml"]);
        })
        .says("`differs` is not sorted"),
    ]);
}

#[test]
fn the_rest_of_a_stage() {
    try_all(vec![
        stage("an action that is no digest", |s| {
            internal(s)["stage"]["action"] = "blake3:xyz".into()
        })
        .says("`action`"),
        stage("an action by another algorithm", |s| {
            internal(s)["stage"]["action"] = format!("sha256:{}", "0".repeat(64)).into();
        })
        .says("`action`"),
        stage("a definition in capitals", |s| {
            internal(s)["stage"]["definition"] = format!("blake3:{}", "A".repeat(64)).into();
        })
        .says("`definition`"),
        attack("a filter whose tools are pinned", |repo| {
            repo.forge(|s| {
                external(s)["stage"]["command"] = json!({"argv": ["cat"]});
                external(s)["stage"]["stdin"] = "text".into();
                external(s)["stage"]["stdout"] = "count".into();
                external(s)["stage"]["pin"] = true.into();
            });
        })
        .ask(&[FORGED])
        .ends(0),
        stage("a standard output that is no output", |s| {
            external(s)["stage"]["command"] = json!({"argv": ["cat"]});
            external(s)["stage"]["stdout"] = "other".into();
        })
        .says("`stdout` is not an output that is a file"),
        stage("a standard input of a command for a shell", |s| {
            external(s)["stage"]["stdin"] = "text".into()
        })
        .says("stands with a command that is not `argv`"),
        stage("a standard output of a command for a shell", |s| {
            external(s)["stage"]["stdout"] = "count".into()
        })
        .says("stands with a command that is not `argv`"),
        stage("a standard input that is a folder", |s| {
            let (digests, mut member) = folder_of_one("data/set/x");
            member["annotations"]["madmall"]["member"]["input"] = "more".into();
            source(s, "data/set", &digests);
            dependencies(s).push(member);
            sort_dependencies(dependencies(s));
            external(s)["stage"]["command"] = json!({"argv": ["cat"]});
            external(s)["stage"]["stdin"] = "more".into();
        })
        .says("`stdin` is not an input that is a file"),
        stage("a program without a system", |s| {
            drop(internal(s)["stage"].as_object_mut().expect("a stage").remove("system"));
        })
        .says("`system`"),
        stage("a built-in stage that is pinned", |s| {
            external(s)["stage"]["command"] = json!({"builtin": {"name": "ingest", "revision": 1}});
            external(s)["stage"]["pin"] = true.into();
            drop(internal(s)["stage"].as_object_mut().expect("a stage").remove("system"));
        })
        .says("`pin`"),
        stage("a stage that says that it is not pinned", |s| {
            external(s)["stage"]["pin"] = false.into();
        }),
        stage("a built-in stage with a system", |s| {
            external(s)["stage"]["command"] = json!({"builtin": {"name": "ingest", "revision": 1}});
        })
        .says("`system`"),
        stage("a sandbox out of order", |s| {
            internal(s)["stage"]["sandbox"] = json!(["b", "a"])
        })
        .says("`sandbox`"),
        stage("a sandbox of another making", |s| {
            internal(s)["stage"]["sandbox"] = json!(["everything"])
        })
        .says("`sandbox` has a word that is not known"),
        stage("a sandbox that is off and enforces", |s| {
            internal(s)["stage"]["sandbox"] = json!(["files", "off"])
        })
        .says("`sandbox` is `off` and says what was enforced"),
        stage("a built-in stage in a sandbox", |s| {
            external(s)["stage"]["command"] = json!({"builtin": {"name": "ingest", "revision": 1}});
            drop(internal(s)["stage"].as_object_mut().expect("a stage").remove("system"));
            internal(s)["stage"]["sandbox"] = json!(["files"]);
        })
        .says("`sandbox` stands with a built-in stage"),
        attack("a sandbox that is off", |repo| {
            repo.forge(|s| internal(s)["stage"]["sandbox"] = json!(["off"]));
        })
        .ask(&[FORGED])
        .ends(0),
        attack("no sandbox", |repo| {
            repo.forge(|s| internal(s)["stage"]["sandbox"] = json!([]))
        })
        .ask(&[FORGED])
        .ends(0),
        attack("a sandbox of two words", |repo| {
            repo.forge(|s| internal(s)["stage"]["sandbox"] = json!(["files", "network-allowed"]));
        })
        .ask(&[FORGED])
        .ends(0),
        stage("a sandbox twice", |s| {
            internal(s)["stage"]["sandbox"] = json!(["a", "a"])
        })
        .says("`sandbox`"),
        stage("a time with a fraction", |s| {
            metadata(s)["finishedOn"] = "2099-01-01T00:00:01.5Z".into()
        })
        .says("a time"),
        stage("a time with an offset", |s| {
            metadata(s)["finishedOn"] = "2099-01-01T00:00:01+00:00".into()
        })
        .says("a time"),
        stage("a time in small letters", |s| {
            metadata(s)["startedOn"] = "2099-01-01t00:00:01z".into()
        })
        .says("a time"),
        stage("a day that is not", |s| {
            metadata(s)["startedOn"] = "2099-02-30T00:00:00Z".into()
        })
        .says("a time"),
        stage("no time", |s| metadata(s)["finishedOn"] = "".into()).says("a time"),
        stage("an end before the beginning", |s| {
            metadata(s)["startedOn"] = "2099-01-02T00:00:00Z".into()
        })
        .says("ended before it began"),
        stage("a run id that leads out", |s| {
            metadata(s)["invocationId"] = "../x".into()
        })
        .says("`invocationId`"),
        stage("no run id", |s| metadata(s)["invocationId"] = "".into()).says("`invocationId`"),
        stage("a run id that begins with a dash", |s| {
            metadata(s)["invocationId"] = "-x".into()
        })
        .says("`invocationId`"),
        stage("a run id with a dot", |s| metadata(s)["invocationId"] = "a.b".into()).says("`invocationId`"),
        stage("a long run id", |s| {
            metadata(s)["invocationId"] = "x".repeat(201).into()
        })
        .says("`invocationId`"),
    ]);
}

#[test]
fn runs() {
    try_all(vec![
        run("one that names no receipt", |s| {
            dependencies(s).retain(|d| d["annotations"]["madmall"].get("receipt").is_none());
        })
        .says("a run names no receipt"),
        run("one that names two for a stage", |s| {
            let mut more = dependency(s, "receipt").clone();
            more["digest"]["sha256"] = "f".repeat(64).into();
            dependencies(s).push(more);
            sort_dependencies(dependencies(s));
        })
        .says("`resolvedDependencies` is not in order"),
        run("one that names a receipt by two digests", |s| {
            dependency(s, "receipt")["digest"]["blake3"] = "0".repeat(64).into();
        })
        .says("has other digests than `sha256`"),
        run("one that names a receipt by its commit", |s| {
            dependency(s, "receipt")["digest"] = json!({"gitCommit": "0".repeat(40)});
        })
        .says("has other digests than `sha256`"),
        run("one that names a receipt by its id", |s| {
            let receipt = dependency(s, "receipt");
            let id = receipt["digest"]["sha256"].as_str().expect("an id").to_owned();
            receipt["name"] = format!("sha256:{id}").into();
            sort_dependencies(dependencies(s));
        })
        .says("a run names a stage as none can be called"),
        run("one that names a receipt as the first version did", |s| {
            as_first_version(dependency(s, "receipt"));
            sort_dependencies(dependencies(s));
        })
        .says("is called otherwise than the `buildType` wants it"),
        run("one of the first version that names a receipt by its stage", |s| {
            s["predicate"]["buildDefinition"]["buildType"] = "urn:madmall:run:v1".into();
        })
        .says("is called otherwise than the `buildType` wants it"),
        first_version("one of the first version that names two for a stage", |s| {
            let mut more = dependency(s, "receipt").clone();
            let id = "f".repeat(64);
            more["name"] = format!("sha256:{id}").into();
            more["digest"]["sha256"] = id.into();
            dependencies(s).push(more);
        })
        .says("two receipts for one stage"),
        first_version("one of the first version that names a receipt by another digest", |s| {
            dependency(s, "receipt")["digest"]["sha256"] = "0".repeat(64).into();
        })
        .says("is not named by its digest"),
        first_version("one of the first version that names no id", |s| {
            dependency(s, "receipt")["name"] = "count".into();
        }),
        run("one of a version that is not known", |s| {
            s["predicate"]["buildDefinition"]["buildType"] = "urn:madmall:run:v3".into();
        })
        .says("is not known"),
        run("one that reads files", |s| source(s, "data/in.txt", &zeros())).says("a run does not depend on"),
        run("one that runs tools", |s| tool(s, "x")).says("a run does not depend on"),
        run("one that has the outcome of a stage", |s| {
            internal(s)["outcome"] = json!({"exited": 3})
        })
        .says("is that of a stage"),
        run("one that was refused", |s| internal(s)["outcome"] = "refused".into()).says("is that of a stage"),
        run("one with a subject of no stage", |s| {
            drop(
                subjects(s)[0]["annotations"]["madmall"]["output"]
                    .as_object_mut()
                    .expect("an output")
                    .remove("stage"),
            );
        })
        .says("is of no stage"),
        run("one with a subject of another stage", |s| {
            subjects(s)[0]["annotations"]["madmall"]["output"]["stage"] = "other".into();
        })
        .says("of a stage whose receipt is not named"),
        run("one with a stage's part within", |s| {
            internal(s)["stage"] = json!({
                "action": format!("blake3:{}", "0".repeat(64)),
                "definition": format!("blake3:{}", "0".repeat(64)),
                "sandbox": []
            });
        })
        .says("`stage` stands in the receipt of a run"),
        run("one with the type of a stage", |s| {
            s["predicate"]["buildDefinition"]["buildType"] = "urn:madmall:stage:v1".into();
            dependencies(s).iter_mut().for_each(as_first_version);
            sort_dependencies(dependencies(s));
        })
        .says("do not go together"),
        run("one whose subjects are not sorted", |s| subjects(s).reverse()).says("is not sorted by name"),
        run("one without its pipeline file", |s| {
            dependencies(s).retain(|d| d["annotations"]["madmall"].get("definition").is_none());
        })
        .says("`pipelineFile` is not among"),
    ]);
}

/// Receipts that each hold together, but not with each other.
fn chain(name: &'static str, change: impl Fn(&Repo) + Send + Sync + 'static) -> Attack {
    attack(name, change).finds(&["E-CHAIN"]).names(FORGED)
}

fn id_of(repo: &Repo, file: &str, line: usize) -> String {
    format!("sha256:{}", id(&crate::forge::payload(&repo.lines(file)[line])))
}

#[test]
fn links() {
    let input = |name, change: fn(&Repo, &mut Value)| {
        chain(name, move |repo| repo.forge(|s| change(repo, dependency(s, "input"))))
    };
    let whole = |name, change: fn(&Repo, &mut Value)| chain(name, move |repo| repo.forge_run(|s| change(repo, s)));
    try_all(vec![
        input("an input with other bytes than were made", |_, input| {
            input["digest"] = zeros()
        })
        .says("has other digests in the receipt that made it")
        .says("sha256:0000000000000000000000000000000000000000000000000000000000000000"),
        input("an input that differs in one digest", |_, input| {
            input["digest"]["blake3"] = "0".repeat(64).into()
        })
        .says("has other digests in the receipt that made it"),
        input("an input that was not made", |_, input| {
            input["name"] = "out/other.txt".into()
        })
        .says("is not made by the receipt named for it"),
        input("an input by a receipt that is nowhere", |_, input| {
            input["annotations"]["madmall"]["input"]["receipt"] = format!("sha256:{}", "0".repeat(64)).into();
        })
        .says("is not here: a line or a file is missing"),
        input("an input by the receipt of another stage", |repo, input| {
            input["annotations"]["madmall"]["input"]["receipt"] = id_of(repo, "{second}", 0).into();
        })
        .says("is not made by the receipt named for it"),
        input("an input by an older receipt", |repo, input| {
            input["annotations"]["madmall"]["input"]["receipt"] = id_of(repo, "{first}", 1).into();
        })
        .says("has other digests in the receipt that made it"),
        input("an input by the receipt of a run", |repo, input| {
            input["annotations"]["madmall"]["input"]["receipt"] = id_of(repo, "{second}", 3).into();
        })
        .says("is said to be made by a stage that failed"),
        input("an input by the receipt of a failure", |repo, input| {
            input["annotations"]["madmall"]["input"]["receipt"] = id_of(repo, "{failed}", 0).into();
        })
        .says("is said to be made by a stage that failed"),
        whole("a run with other bytes than were made", |_, s| {
            subjects(s)[0]["digest"] = zeros()
        })
        .says("has other digests in the receipt that made it"),
        whole("a run with a file that was not made", |_, s| {
            let mut more = subjects(s)[0].clone();
            more["name"] = "out/zz".into();
            subjects(s).push(more);
        })
        .says("is not made by the receipt named for it"),
        whole("a run that leaves out an output", |_, s| drop(subjects(s).remove(0)))
            .says("does not name `out/count.txt`"),
        whole("a run that names another run for a stage", |repo, s| {
            let other = id_of(repo, "{first}", 3);
            dependency(s, "receipt")["digest"]["sha256"] = other["sha256:".len()..].into();
        })
        .says("is that of a run"),
        whole("a run that names nothing that is here", |_, s| {
            dependency(s, "receipt")["digest"]["sha256"] = "0".repeat(64).into();
        })
        .says("is not here: a line or a file is missing"),
        whole("a run that calls a stage by another name", |_, s| {
            let stage = dependency(s, "receipt")["name"].clone();
            dependency(s, "receipt")["name"] = "renamed".into();
            sort_dependencies(dependencies(s));
            subjects(s).retain(|s| s["annotations"]["madmall"]["output"]["stage"] != stage);
        })
        .says("does not name"),
        chain("a run of the first version that leaves out what another made", |repo| {
            repo.forge(|_| {});
            let lines = repo.lines(FORGED);
            let mut run = statement(&lines[1]);
            run["predicate"]["buildDefinition"]["buildType"] = "urn:madmall:run:v1".into();
            dependencies(&mut run).iter_mut().for_each(as_first_version);
            sort_dependencies(dependencies(&mut run));
            subjects(&mut run).retain(|subject| subject["annotations"]["madmall"]["output"]["stage"] == "count");
            repo.write_lines(FORGED, &[lines[0].clone(), repo.own().line(&canonical(&run))]);
        })
        .says("the run does not name `out/joined.txt`"),
        chain("a failure that is said to have succeeded", |repo| {
            let mut run = statement(&repo.lines("{failed}")[1]);
            let metadata = metadata(&mut run);
            metadata["invocationId"] = "2099-01-01T000000Z-main-ffffff".into();
            internal(&mut run)["outcome"] = "succeeded".into();
            repo.write_lines(FORGED, &[repo.own().line(&canonical(&run))]);
        })
        .says("is said to have succeeded, but a stage of it failed"),
        chain("a stage that no run names", |repo| {
            let lines = repo.lines("{second}");
            let mut stage = statement(&lines[2]);
            metadata(&mut stage)["invocationId"] = "2099-01-01T000000Z-main-ffffff".into();
            let mut run = statement(&lines[3]);
            metadata(&mut run)["invocationId"] = "2099-01-01T000000Z-main-ffffff".into();
            let lines = [stage, run].map(|statement| repo.own().line(&canonical(&statement)));
            repo.write_lines(FORGED, &lines);
        })
        .says("is a receipt that the run's own does not name"),
    ]);
}
