//! Changes that harm nobody: whoever makes them must not be told that something is wrong.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::forge::{canonical, statement};
use crate::repo::{FORGED, FORGED_NEXT, Repo, stranger};
use crate::space::files_below;
use crate::table::{harmless, try_all};

/// Sets the mode of every file and folder, where owners may read; what may be executed stays so.
fn set_modes(repo: &Repo, others: u32) {
    for file in files_below(&repo.root()) {
        let path = repo.path(&file);
        let mode = path.metadata().expect("there").permissions().mode() & 0o700;
        let mode = std::fs::Permissions::from_mode(mode | (mode >> 3 & others) | (mode >> 6 & others));
        std::fs::set_permissions(path, mode).expect("own file");
    }
}

#[test]
fn in_the_workspace() {
    try_all(vec![
        harmless("nothing", |_| {})
            .assures("signature", "held")
            .assures("subject", "held")
            .assures("chain", "held")
            .assures("log", "held")
            .assures("commit", "not-checked")
            .assures("pin", "not-checked")
            .finds(&["W-UNCOMMITTED"])
            .says("compared with nothing that was seen")
            .says(r#""signer":"operator""#)
            .says(r#""signer":"colleague""#)
            .says_not("W-FOREIGN")
            .says_not("W-ELSEWHERE"),
        harmless("nothing, by the operator's own policy", |_| {})
            .ask(&["out/count.txt"])
            .by_policy_in("config"),
        harmless("nothing, and a file is asked for", |_| {}).ask(&["out/joined.txt"]),
        harmless("nothing, and what a file was made of is asked for", |_| {})
            .ask(&["out/count.txt"])
            .says("\"data/in.txt\""),
        harmless("nothing, and a run is asked for", |_| {}).ask(&["{second}"]),
        harmless("a run that rests on another that is in no log", |repo| {
            repo.forge(|_| {});
            let mut run = statement(repo.lines(FORGED).last().expect("a line"));
            let metadata = &mut run["predicate"]["runDetails"]["metadata"];
            metadata["invocationId"] = "2099-01-01T000002Z-main-ffffff".into();
            metadata["startedOn"] = "2099-01-01T00:00:02Z".into();
            metadata["finishedOn"] = "2099-01-01T00:00:02Z".into();
            repo.write_lines(FORGED_NEXT, &[repo.own().line(&canonical(&run))]);
        })
        .ask(&[FORGED_NEXT])
        .finds(&["W-UNLOGGED"])
        .says("2 receipts that the answer rests on are in no log"),
        harmless("nothing, and another's run is asked for", |_| {}).ask(&["{theirs}"]),
        harmless("an unrelated file", |repo| repo.write("notes/todo.txt", "buy milk\n")),
        harmless("an unrelated file beside outputs", |repo| {
            repo.write("out/notes.txt", "x\n")
        }),
        harmless("unrelated files among receipts", |repo| {
            repo.write("runs/README.md", "receipts\n");
            repo.write("runs/.DS_Store", "x");
            repo.write("runs/old/x.intoto.jsonl", "x");
            repo.write("runs/log/README.md", "logs\n");
        }),
        harmless("the attributes for git removed", |repo| {
            repo.remove("runs/.gitattributes")
        }),
        harmless("rubbish in the store", |repo| {
            for file in [
                "actions",
                "believed",
                "stat-cache",
                "log/head",
                "cas/00/00",
                "lock",
                "pending/x.jsonl",
            ] {
                repo.write(&format!(".madmall/{file}"), "rubbish");
            }
        }),
        harmless("some outputs deleted", |repo| {
            repo.remove("out/upper.txt");
            repo.remove("out/joined.txt");
        }),
        harmless(
            "an output deleted, and nothing is said of the failed stage's log",
            |repo| repo.remove("out/joined.txt"),
        )
        .says("`out/joined.txt` is not here")
        .says_not(".log` is not here"),
        harmless("all outputs of one clone deleted", |repo| {
            for file in ["upper.txt", "joined.txt", "count.txt", "tool"] {
                repo.remove(&format!("out/{file}"));
            }
        }),
        harmless("every file touched", |repo| {
            for file in files_below(&repo.root()) {
                let path = repo.path(&file);
                repo.write(&file, std::fs::read(path).expect("read"));
            }
        }),
        harmless("a narrow umask", |repo| set_modes(repo, 0)),
        harmless("a wide umask", |repo| set_modes(repo, 0o077)),
        harmless("a copy of an output elsewhere", |repo| {
            repo.write("copy.txt", repo.bytes("out/count.txt"));
        })
        .ask(&["copy.txt"])
        .says(r#""copyOf":"out/count.txt""#),
        harmless("a copy that is called like a receipt", |repo| {
            repo.write("abcdef0123456789", repo.bytes("out/count.txt"));
        })
        .ask(&["abcdef0123456789"])
        .says(r#""copyOf":"out/count.txt""#),
        harmless("an output that is a link to the same bytes within", |repo| {
            std::fs::rename(repo.path("out/count.txt"), repo.path("elsewhere")).expect("moved");
            symlink("../elsewhere", repo.path("out/count.txt")).expect("a link");
        }),
        harmless("the stages' lines of a run in another order", |repo| {
            let mut lines = repo.lines("{second}");
            lines.swap(0, 1);
            repo.write_lines("{second}", &lines);
        }),
        harmless("a source edited since", |repo| repo.write("data/in.txt", "edited\n")).finds(&["W-STALE"]),
        harmless("a pipeline that cannot be read since", |repo| {
            repo.write("pipelines/main.yaml", "{")
        })
        .finds(&["W-STALE"]),
        harmless("a later run by the operator", |repo| repo.forge(|_| {}))
            .finds(&["W-UNLOGGED"])
            .assures("log", "not-checked"),
        harmless("a run by a stranger for the same bytes", |repo| {
            repo.forge_by(&stranger(), |_| {})
        })
        .finds(&["W-FOREIGN"]),
        harmless("more runs than are read at once", |repo| {
            let mut run = statement(repo.lines("{second}").last().expect("a line"));
            for number in 0..140 {
                let id = format!("2030-01-01T000000Z-main-{number:06}");
                run["predicate"]["runDetails"]["metadata"]["invocationId"] = id.clone().into();
                repo.write_lines(&format!("runs/{id}.intoto.jsonl"), &[stranger().line(&canonical(&run))]);
            }
        })
        .finds(&["W-FOREIGN"])
        .says("140 receipts are by key"),
        harmless("a log by a stranger", |repo| {
            let name = "0123456789abcdef";
            let root = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
            let text = format!("madmall/{name}\n1\n{root}\n");
            repo.write(&format!("runs/log/{name}/checkpoint-1"), stranger().checkpoint(&text));
        })
        .finds(&["W-FOREIGN"]),
        harmless("an append that was cut short", |repo| {
            let log = repo.fill("{log}");
            repo.write(&format!("{log}/tile/entries/.tmp-1"), "x");
        }),
    ]);
}

/// Runs all stages again.
fn again(repo: &Repo) {
    repo.madmall(["run", "--force", "pipelines/main.yaml"]).success();
}

/// Where a log is: kept by an auditor.
fn keep(repo: &Repo, log: &str, at: &str) {
    let files = repo.log_files(log);
    let file = files.iter().find(|file| file.contains("/checkpoint-"));
    repo.write(at, repo.bytes(file.expect("a checkpoint")));
}

#[test]
fn with_git_and_elsewhere() {
    try_all(vec![
        harmless("a fresh clone", |repo| {
            repo.git(&["clone", "-q", ".", "../clone"]);
        })
        .within("clone"),
        harmless("a clone of the last commit alone", |repo| {
            let from = format!("file://{}", repo.root());
            repo.git(&["clone", "-q", "--depth", "1", &from, "../clone"]);
        })
        .within("clone")
        .finds(&["W-COMMIT-GONE"])
        .assures("commit", "not-checked"),
        harmless("a folder of another name", |repo| {
            std::fs::rename(repo.root(), repo.path("../ä place with spaces")).expect("moved");
        })
        .within("ä place with spaces"),
        harmless("a folder deep in others", |repo| {
            std::fs::create_dir_all(repo.path("../a/b/c")).expect("made");
            std::fs::rename(repo.root(), repo.path("../a/b/c/d")).expect("moved");
        })
        .within("a/b/c/d"),
        harmless("asked from a folder within", |_| {}).within("work space/out"),
        harmless("another user, who names whom to trust", |_| {})
            .by_policy_in("nobody")
            .trusting("../policy.json"),
        harmless("no git", |repo| {
            std::fs::remove_dir_all(repo.path(".git")).expect("removed")
        })
        .assures("commit", "not-checked")
        .says("commit: there is no git repository"),
        harmless("a run of what had been committed", again)
            .ask(&["out/count.txt"])
            .assures("commit", "held")
            .says_not("W-UNCOMMITTED"),
        harmless("a run where there is no git", |repo| {
            std::fs::remove_dir_all(repo.path(".git")).expect("removed");
            again(repo);
        })
        .ask(&["out/count.txt"])
        .assures("commit", "not-checked")
        .says("there was no commit to name")
        .says_not("W-UNCOMMITTED"),
        harmless("a run that only another branch has", |repo| {
            let before = repo.receipt_files();
            again(repo);
            let mut first = repo.receipt_files();
            first.retain(|file| !before.contains(file));
            repo.remove(&format!("runs/{}", first[0]));
            again(repo);
        })
        .finds(&["W-ELSEWHERE"])
        .says("lists 4 receipts that are not here"),
        harmless("git's objects packed anew", |repo| {
            repo.git(&["repack", "-q", "-a", "-d", "-f"]);
        }),
        harmless("an unrelated commit", |repo| {
            repo.write("README.md", "Another text.\n");
            repo.git(&["commit", "-q", "-am", "unrelated"]);
        })
        .ask(&["out/count.txt", "--at", "HEAD"])
        .assures("commit", "held"),
        harmless("the last commit amended", |repo| {
            repo.git(&["commit", "-q", "--amend", "--allow-empty", "-m", "amended"]);
        })
        .ask(&["out/count.txt", "--at", "HEAD"]),
        harmless("all commits squashed into one", |repo| {
            repo.git(&["checkout", "-q", "--orphan", "squashed"]);
            repo.git(&["commit", "-q", "-m", "all"]);
            repo.git(&["branch", "-q", "-D", "main"]);
            repo.git(&["reflog", "expire", "--expire=now", "--all"]);
            repo.git(&["gc", "-q", "--prune=now"]);
        })
        .finds(&["W-COMMIT-GONE"]),
        harmless("the same, and the commit is asked for", |repo| {
            repo.git(&["checkout", "-q", "--orphan", "squashed"]);
            repo.git(&["commit", "-q", "-m", "all"]);
        })
        .ask(&["out/count.txt", "--at", "HEAD"]),
        harmless("a branch with other work, merged", |repo| {
            repo.git(&["checkout", "-q", "-b", "other", "HEAD~1"]);
            repo.write("other.txt", "x\n");
            repo.git(&["add", "other.txt"]);
            repo.git(&["commit", "-q", "-m", "other"]);
            repo.git(&["merge", "-q", "--no-edit", "main"]);
        }),
        harmless("a pin that is held, of one log", |repo| keep(repo, "{log}", "../pin"))
            .ask(&["--pin", "../pin"])
            .assures("pin", "not-checked")
            .says("are in no log that is pinned"),
        harmless("a pin that is held, and what is asked for is in its log", |repo| {
            keep(repo, "{log}", "../pin")
        })
        .ask(&["out/count.txt", "--pin", "../pin"])
        .assures("pin", "held")
        .says_not("log that is pinned"),
        harmless("pins of all logs that are held", |repo| {
            keep(repo, "{log}", "../pin");
            keep(repo, "{their_log}", "../theirs");
        })
        .ask(&["--pin", "../pin", "--pin", "../theirs"])
        .assures("pin", "held"),
        harmless(
            "a pin that is held, and nothing is known of what is asked for",
            |repo| keep(repo, "{log}", "../pin"),
        )
        .ask(&["README.md", "--pin", "../pin"])
        .ends(6)
        .finds(&["E-ABSENT"])
        .assures("pin", "not-checked")
        .assures("log", "not-checked")
        .assures("commit", "not-checked"),
    ]);
}

#[test]
fn what_is_told_of_an_answer() {
    let path = |path: &str| format!("\"path\":\"{path}\"");
    let nothing = || harmless("nothing", |_| {});
    try_all(vec![
        // Of everything, what no other output was made from.
        nothing()
            .says(&path("out/count.txt"))
            .says(&path("out/theirs.txt"))
            .says_not(&path("out/joined.txt"))
            .says_not(&path("out/upper.txt"))
            .says_not("copyOf"),
        nothing().ask(&["out/joined.txt"]).says(&path("out/joined.txt")),
        nothing()
            .ask(&["{second}"])
            .says(&path("out/upper.txt"))
            .says(&path("out/tool")),
        // Of a receipt, what it made; of a run's, what its stages made.
        nothing()
            .ask(&["sha256:{count_digits}"])
            .says(&path("out/count.txt"))
            .says_not(&path("out/joined.txt")),
        nothing()
            .ask(&["{count_digits}"])
            .says(&path("out/count.txt"))
            .says_not(&path("out/joined.txt")),
        nothing().ask(&["{run_digits}"]).says(&path("out/upper.txt")),
        // Whether what it was made of was committed.
        nothing().ask(&["out/upper.txt"]).says("\"uncommitted\":true"),
        nothing()
            .ask(&["sha256:{count_digits}"])
            .says("\"uncommitted\":false")
            .says_not("\"uncommitted\":true"),
    ]);
}

#[test]
fn what_can_be_asked() {
    try_all(vec![
        harmless("the id of no receipt", |_| {})
            .ask(&["sha256:0000000000000000"])
            .ends(6)
            .finds(&["E-ABSENT"])
            .says("no receipt here has an id that begins with"),
        harmless("an id that is too short", |_| {}).ask(&["sha256:abc"]).ends(2),
        harmless("an id that is none", |_| {})
            .ask(&["sha256:no-such-receipt"])
            .ends(2),
        harmless("an id with more digits than there are", |repo| {
            drop(repo.fill("{count_digits}"))
        })
        .ask(&["sha256:{count_digits}00"])
        .ends(2),
        harmless("no file", |_| {})
            .ask(&["out/none.txt"])
            .ends(6)
            .finds(&["E-ABSENT"]),
    ]);
}
