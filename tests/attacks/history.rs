//! Logs: entries, tiles and checkpoints removed, cut, swapped, forged and forked.

use madmall::log::name::{FileName, bundle, entry, tile};
use madmall::log::tree::{Levels, TILE_WIDTH, leaf_hash};
use madmall::receipt::statement::ReceiptId;

use crate::forge::{Forger, id, payload};
use crate::repo::{FORGED, Repo, stranger};
use crate::table::{Attack, attack, try_all};

/// The one file of a log whose name `wanted` takes; the largest checkpoint, the widest tile.
fn file_of(repo: &Repo, log: &str, wanted: &str) -> String {
    let mut files = repo.log_files(log);
    files.retain(|file| file.contains(wanted));
    let number = |file: &String| {
        file.rsplit(['-', '/'])
            .next()
            .and_then(|number| number.parse::<u64>().ok())
    };
    files.into_iter().max_by_key(number).expect("a file")
}

fn ids(repo: &Repo, files: &[&str]) -> Vec<ReceiptId> {
    let lines = files.iter().flat_map(|file| repo.lines(file));
    lines
        .map(|line| format!("sha256:{}", id(&payload(&line))).parse().expect("an id"))
        .collect()
}

/// Makes the log anew, with these entries and this key, as if it had always been so.
fn remake(repo: &Repo, log: &str, ids: &[ReceiptId], key: &Forger) {
    for file in repo.log_files(log) {
        repo.remove(&file);
    }
    add(repo, log, ids, key);
}

/// Adds the files of a log with these entries.
fn add(repo: &Repo, log: &str, ids: &[ReceiptId], key: &Forger) {
    let log = repo.fill(log);
    let name = log.rsplit('/').next().expect("a name");
    let size = ids.len();
    let leaves: Vec<_> = ids.iter().map(|id| leaf_hash(&entry(id))).collect();
    let levels = Levels::of(leaves);
    for (index, ids) in ids.chunks(TILE_WIDTH).enumerate() {
        let (index, width) = (index as u64, ids.len());
        let name = FileName::Entries { index, width }.path();
        repo.write(&format!("{log}/{name}"), bundle(ids));
    }
    for level in 0..=1 {
        for index in 0.. {
            let hashes = levels.tile(usize::from(level), index);
            if hashes.is_empty() {
                break;
            }
            let (index, width) = (index as u64, hashes.len());
            let name = FileName::Tile { level, index, width }.path();
            repo.write(&format!("{log}/{name}"), tile(hashes));
        }
    }
    let root = levels.root_at(size).expect("of all");
    let text = format!("madmall/{name}\n{size}\n{}\n", base64_of(root.as_bytes()));
    repo.write(&format!("{log}/checkpoint-{size}"), key.checkpoint(&text));
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Changes the text of the largest checkpoint, and signs it with the operator's key.
fn checkpoint(name: &'static str, change: fn(&str) -> String) -> Attack {
    let attack = attack(name, move |repo| {
        let file = file_of(repo, "{log}", "/checkpoint-");
        let text = repo.read(&file);
        let (text, _) = text.split_once("\n\n").expect("a signature");
        repo.write(&file, repo.own().checkpoint(&change(&format!("{text}\n"))));
    });
    attack.finds(&["E-LOG"])
}

/// Replaces text in the largest checkpoint, signature and all.
fn spelled(name: &'static str, change: fn(&str) -> String) -> Attack {
    let attack = attack(name, move |repo| {
        let file = file_of(repo, "{log}", "/checkpoint-");
        let text = repo.read(&file);
        let other = change(&text);
        assert_ne!(text, other);
        repo.write(&file, other);
    });
    attack.finds(&["E-LOG"])
}

#[test]
fn files_removed_and_cut() {
    let at = |name, file: &'static str, change: fn(&Repo, &str)| {
        attack(name, move |repo| change(repo, &file_of(repo, "{log}", file))).finds(&["E-LOG"])
    };
    try_all(vec![
        at("the entries removed", "/tile/entries/", Repo::remove_file),
        at("the hashes removed", "/tile/0/", Repo::remove_file),
        attack("all tiles removed", |repo| {
            let log = repo.path(&repo.fill("{log}/tile"));
            std::fs::remove_dir_all(log).expect("removed");
        })
        .finds(&["E-LOG"])
        .says("is missing")
        .says_not("neither the entries nor the hashes"),
        attack("all tiles narrower than they were", |repo| {
            for (tile, length) in [("/tile/entries/", 93), ("/tile/0/", 32)] {
                let file = file_of(repo, "{log}", tile);
                let narrower = format!("{}/2", file.rsplit_once('/').expect("a folder").0);
                let bytes = repo.bytes(&file);
                repo.remove(&file);
                repo.write(&narrower, &bytes[..2 * length]);
            }
        })
        .finds(&["E-LOG"])
        .says("neither the entries nor the hashes"),
        at("the entries emptied", "/tile/entries/", |repo, file| {
            repo.write(file, "")
        }),
        at("a checkpoint emptied", "/checkpoint-", |repo, file| {
            repo.write(file, "")
        }),
        at("the last entry cut off", "/tile/entries/", |repo, file| {
            repo.edit(file, |bytes| bytes.truncate(bytes.len() - 93));
        })
        .says("has not the length"),
        at("the last byte cut off", "/tile/0/", |repo, file| {
            repo.edit(file, |bytes| bytes.truncate(bytes.len() - 1))
        }),
        at("an entry more than the name says", "/tile/entries/", |repo, file| {
            repo.edit(file, |bytes| bytes.extend_from_within(..93));
        })
        .says("has not the length"),
        at("two entries swapped", "/tile/entries/", |repo, file| {
            repo.edit(file, |bytes| {
                let first: Vec<u8> = bytes.drain(..93).collect();
                bytes.splice(93..93, first);
            });
        })
        .says("is not what the signed root gives"),
        at("two hashes swapped", "/tile/0/", |repo, file| {
            repo.edit(file, |bytes| {
                let first: Vec<u8> = bytes.drain(..32).collect();
                bytes.splice(32..32, first);
            });
        })
        .says("is not what the signed root gives"),
        at("entries and hashes swapped alike", "/tile/entries/", |repo, file| {
            repo.edit(file, |bytes| bytes.rotate_left(93));
            repo.edit(&file_of(repo, "{log}", "/tile/0/"), |bytes| bytes.rotate_left(32));
        })
        .says("neither the entries nor the hashes"),
        at(
            "an entry with another length before it",
            "/tile/entries/",
            |repo, file| {
                repo.edit(file, |bytes| bytes[1] ^= 1);
            },
        ),
        at("an entry in another spelling", "/tile/entries/", |repo, file| {
            repo.edit(file, |bytes| bytes[2..93].make_ascii_uppercase());
        }),
        at("a checkpoint renamed to a larger size", "/checkpoint-", |repo, file| {
            let (folder, _) = file.rsplit_once('/').expect("a folder");
            let bytes = repo.bytes(file);
            repo.remove(file);
            repo.write(&format!("{folder}/checkpoint-999"), bytes);
        }),
        at("a name with a zero before it", "/checkpoint-", |repo, file| {
            repo.write(&file.replace("checkpoint-", "checkpoint-0"), repo.bytes(file));
        })
        .says("is no file of a log"),
        at("a file that is none of a log", "/checkpoint-", |repo, file| {
            let (folder, _) = file.rsplit_once('/').expect("a folder");
            repo.write(&format!("{folder}/notes"), "x");
        })
        .says("is no file of a log"),
        at("a level that no log has", "/tile/0/", |repo, file| {
            repo.write(&file.replace("/tile/0/", "/tile/9/"), repo.bytes(file));
        }),
        attack("the logs' folders exchanged", |repo| {
            let [a, b] = ["{log}", "{their_log}"].map(|log| repo.path(&repo.fill(log)));
            let aside = repo.path("aside");
            std::fs::rename(&a, &aside).expect("moved");
            std::fs::rename(&b, &a).expect("moved");
            std::fs::rename(&aside, &b).expect("moved");
        })
        .finds(&["E-LOG"]),
        attack("a log under another name", |repo| {
            let log = repo.path(&repo.fill("{log}"));
            std::fs::rename(&log, log.with_file_name("0123456789abcdef")).expect("moved");
        })
        .finds(&["E-LOG"])
        .says("is the checkpoint of size"),
        attack("a file in the place of a log", |repo| {
            let log = repo.fill("{log}");
            std::fs::remove_dir_all(repo.path(&log)).expect("removed");
            repo.write(&log, "x");
        })
        .finds(&["E-LOG"])
        .names("{log}")
        .says("is no folder"),
    ]);
}

#[test]
fn checkpoints_forged_by_the_operator() {
    try_all(vec![
        checkpoint("another root", |text| replace_line(text, 2, &base64_of(&[7; 32])))
            .says("neither the entries nor the hashes"),
        checkpoint("a larger size", |text| replace_line(text, 1, "9999")).says("is the checkpoint of size 9999"),
        checkpoint("another log's name", |text| {
            replace_line(text, 0, "madmall/0123456789abcdef")
        })
        .says("of the log 0123456789abcdef"),
        checkpoint("an unknown line", |text| format!("{text}witness x\n")).says("not in its one spelling"),
        checkpoint("two lines of the same kind", |text| {
            let line = format!("continues madmall/0123456789abcdef 1 {}\n", base64_of(&[7; 32]));
            format!("{text}{line}{line}")
        }),
        checkpoint("a size with a zero before it", |text| {
            let size = text.lines().nth(1).expect("a size").to_owned();
            replace_line(text, 1, &format!("0{size}"))
        })
        .says("not in their one spelling"),
        checkpoint("a size with a sign", |text| {
            let size = text.lines().nth(1).expect("a size").to_owned();
            replace_line(text, 1, &format!("+{size}"))
        })
        .says("not in their one spelling"),
        checkpoint("a size beyond all numbers", |text| {
            replace_line(text, 1, "99999999999999999999999999")
        }),
        checkpoint("a short root", |text| replace_line(text, 2, &base64_of(&[7; 31]))),
        checkpoint("the name of another program", |text| {
            text.replacen("madmall/", "other/", 1)
        }),
        spelled("a flipped signature", |text| {
            let at = text.len() - 20;
            let other = if &text[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &text[..at], &text[at + 1..])
        }),
        spelled("a second signature", |text| {
            let line = text.lines().last().expect("a signature");
            format!("{text}{line}\n")
        }),
        spelled("no signature", |text| {
            text.split_once("\n\n").expect("a signature").0.to_owned() + "\n\n"
        }),
        spelled("a hyphen for the dash", |text| text.replacen('—', "-", 1)),
        spelled("line ends converted", |text| text.replace('\n', "\r\n")),
        spelled("a line break at the end", |text| format!("{text}\n")),
        spelled("a space at the end", |text| format!("{} \n", text.trim_end())),
        attack("invalid UTF-8", |repo| {
            let file = file_of(repo, "{log}", "/checkpoint-");
            repo.edit(&file, |bytes| bytes.insert(3, 0xff));
        })
        .finds(&["E-LOG"])
        .says("it is not UTF-8"),
        attack("a checkpoint longer than may be", |repo| {
            let file = file_of(repo, "{log}", "/checkpoint-");
            repo.edit(&file, |bytes| bytes.extend(vec![b'x'; 2 << 20]));
        })
        .finds(&["E-LOG"])
        .says("is longer than"),
        attack("a checkpoint of four billion entries", |repo| {
            let log = repo.fill("{log}");
            let name = log.rsplit('/').next().expect("a name").to_owned();
            let size = 1_u64 << 32;
            let text = format!("madmall/{name}\n{size}\n{}\n", base64_of(&[7; 32]));
            repo.write(&format!("{log}/checkpoint-{size}"), repo.own().checkpoint(&text));
        })
        .finds(&["E-LOG"])
        .says("which this version does not read"),
        attack("a checkpoint of four million entries", |repo| {
            let log = repo.fill("{log}");
            let name = log.rsplit('/').next().expect("a name").to_owned();
            let size = 1_u64 << 22;
            let text = format!("madmall/{name}\n{size}\n{}\n", base64_of(&[7; 32]));
            repo.write(&format!("{log}/checkpoint-{size}"), repo.own().checkpoint(&text));
        })
        .finds(&["E-LOG"])
        .says("is missing"),
    ]);
}

fn replace_line(text: &str, line: usize, with: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines[line] = with;
    lines.join("\n") + "\n"
}

/// The operator's last checkpoint says that so many receipts were not here, from that entry on; and runs are removed.
fn absent(name: &'static str, (first, count): (u64, u64), removed: &'static [&'static str]) -> Attack {
    attack(name, move |repo| {
        let file = file_of(repo, "{log}", "/checkpoint-");
        let text = repo.read(&file);
        let (text, _) = text.split_once("\n\n").expect("a signature");
        repo.write(
            &file,
            repo.own().checkpoint(&format!("{text}\nabsent {first} {count}\n")),
        );
        for run in removed {
            repo.remove(&repo.fill(run));
        }
    })
}

#[test]
fn receipts_that_were_absent_when_the_log_was_signed() {
    try_all(vec![
        absent("the first run", (0, 4), &["{first}"])
            .ends(0)
            .finds(&["W-ELSEWHERE"])
            .says("lists 4 receipts that are not here, and were not when it was signed"),
        absent("the first run, but for the run's own", (0, 3), &["{first}"])
            .finds(&["E-LOG", "W-ELSEWHERE"])
            .says("entry 3,"),
        absent("the first run, but for its first stage", (1, 3), &["{first}"])
            .finds(&["E-LOG", "W-ELSEWHERE"])
            .says("entry 0,"),
        absent(
            "the first run, and another is removed too",
            (0, 4),
            &["{first}", "{failed}"],
        )
        .finds(&["E-LOG", "W-ELSEWHERE"])
        .says("entry 8,")
        .says("entry 9,"),
        absent("the last run", (8, 2), &["{failed}"])
            .ends(0)
            .finds(&["W-ELSEWHERE"]),
        absent("the last run, and the first is removed", (8, 2), &["{first}"])
            .finds(&["E-LOG"])
            .says("entry 0,")
            .says("entry 3,"),
    ]);
}

/// Three hundred runs more, so that the log fills a tile and has a second level; then something is done to it.
fn long(name: &'static str, change: fn(&Repo)) -> Attack {
    let attack = attack(name, move |repo| {
        let mut ids = ids(repo, &["{first}", "{second}", "{failed}"]);
        for number in 0..300 {
            repo.forge_run(|run| run["predicate"]["runDetails"]["metadata"]["invocationId"] = run_id(number).into());
            let line = repo.lines(FORGED).remove(0);
            repo.write_lines(
                &format!("runs/{}.intoto.jsonl", run_id(number)),
                std::slice::from_ref(&line),
            );
            ids.push(format!("sha256:{}", id(&payload(&line))).parse().expect("an id"));
        }
        repo.remove(FORGED);
        remake(repo, "{log}", &ids, &repo.own());
        change(repo);
    });
    attack.ask(&["runs/2099-01-01T000000Z-main-000299.intoto.jsonl"])
}

fn run_id(number: u32) -> String {
    format!("2099-01-01T000000Z-main-{number:06}")
}

#[test]
fn a_log_of_several_tiles() {
    let without = |name, change: fn(&Repo)| long(name, change).finds(&["E-LOG"]);
    try_all(vec![
        long("nothing", |_| {})
            .ends(0)
            .assures("log", "held")
            .says_not("W-UNLOGGED"),
        without("the hashes of the first tile removed", |repo| {
            repo.remove(&repo.fill("{log}/tile/0/000"));
        })
        .names("{log}/tile/0/000")
        .says("is missing"),
        without("the last entries removed", |repo| {
            repo.remove(&file_of(repo, "{log}", "/tile/entries/001.p/"));
        })
        .says("is missing"),
        without("the second level removed", |repo| {
            repo.remove(&repo.fill("{log}/tile/1/000.p/1"));
        })
        .names("{log}/tile/1/000.p/1")
        .says("is missing"),
        long("the second level changed", |repo| {
            repo.edit("{log}/tile/1/000.p/1", |bytes| bytes[0] ^= 1);
        })
        .finds(&["E-LOG"])
        .names("{log}/tile/1/000.p/1")
        .says("is not what the signed root gives"),
        long("an entry of the second tile changed", |repo| {
            repo.edit(&file_of(repo, "{log}", "/tile/entries/001.p/"), |bytes| bytes[80] ^= 1);
        })
        .finds(&["E-LOG"])
        .says("is not what the signed root gives"),
        long("a hash of the second tile changed", |repo| {
            repo.edit(&file_of(repo, "{log}", "/tile/0/001.p/"), |bytes| bytes[0] ^= 1);
        })
        .finds(&["E-LOG"])
        .says("is not what the signed root gives"),
    ]);
}

#[test]
fn forks() {
    try_all(vec![
        attack("an older checkpoint of another history", |repo| {
            let log = repo.fill("{log}");
            let name = log.rsplit('/').next().expect("a name").to_owned();
            let text = format!("madmall/{name}\n2\n{}\n", base64_of(&[7; 32]));
            repo.write(&format!("{log}/checkpoint-2"), repo.own().checkpoint(&text));
        })
        .finds(&["E-LOG"])
        .says("the history was forked"),
        attack("a longer history that leaves a failure out", |repo| {
            let ids = ids(repo, &["{first}", "{second}", "{second}", "{first}"]);
            add(repo, "{log}", &ids, &repo.own());
        })
        .finds(&["E-LOG"]),
        attack("a longer history by a stranger", |repo| {
            let ids = ids(repo, &["{first}", "{second}", "{second}", "{first}"]);
            add(repo, "{log}", &ids, &stranger());
        })
        .finds(&["E-LOG"]),
        attack("a receipt left out of the entries", |repo| {
            let mut ids = ids(repo, &["{first}", "{second}", "{failed}"]);
            ids.remove(1);
            let hidden = repo.lines("{failed}");
            add(repo, "{log}", &ids, &repo.own());
            drop(hidden);
        })
        .finds(&["E-LOG"]),
        attack("a receipt that never was", |repo| {
            let mut ids = ids(repo, &["{first}", "{second}", "{failed}"]);
            ids.push(format!("sha256:{}", "7".repeat(64)).parse().expect("an id"));
            remake(repo, "{log}", &ids, &repo.own());
        })
        .finds(&["E-LOG"])
        .says("lists a receipt, entry"),
        attack("another's receipts taken into one's own log", |repo| {
            let ids = ids(repo, &["{first}", "{second}", "{failed}", "{theirs}"]);
            remake(repo, "{log}", &ids, &repo.own());
        })
        .finds(&["E-LOG"])
        .says("is not by the key"),
    ]);
}

/// Where the operator's log was: kept by an auditor.
fn keep(repo: &Repo) {
    let file = file_of(repo, "{log}", "/checkpoint-");
    repo.write("../pin", repo.bytes(&file));
}

/// The auditor kept a checkpoint; then something is done to the history.
fn pinned(name: &'static str, change: fn(&Repo)) -> Attack {
    let attack = attack(name, move |repo| {
        keep(repo);
        change(repo);
    });
    attack.ask(&["--pin", "../pin"])
}

#[test]
fn what_an_auditor_saw_before() {
    try_all(vec![
        // The operator hides a failure, and all that names it: only who saw the history before can know.
        pinned("the end of the history cut off, with all that names it", |repo| {
            repo.remove(&repo.fill("{failed}"));
            repo.remove(&repo.fill("{theirs}"));
            std::fs::remove_dir_all(repo.path(&repo.fill("{their_log}"))).expect("removed");
            repo.remove("out/theirs.txt");
            let ids = ids(repo, &["{first}", "{second}"]);
            remake(repo, "{log}", &ids, &repo.own());
        })
        .finds(&["E-PIN"])
        .says("its end was cut off"),
        pinned("another history of the same length", |repo| {
            repo.remove(&repo.fill("{theirs}"));
            std::fs::remove_dir_all(repo.path(&repo.fill("{their_log}"))).expect("removed");
            repo.remove("out/theirs.txt");
            let mut ids = ids(repo, &["{first}", "{second}", "{failed}"]);
            // What the receipts themselves say of the log still holds: its first four entries.
            let last = ids.len() - 1;
            ids.swap(last, last - 1);
            remake(repo, "{log}", &ids, &repo.own());
        })
        .finds(&["E-PIN"])
        .says("the history was forked"),
        pinned("the log removed", |repo| {
            std::fs::remove_dir_all(repo.path(&repo.fill("{log}"))).expect("removed");
        })
        .finds(&["E-PIN", "W-ELSEWHERE"])
        .says("is not here"),
        pinned("the log signed anew by a stranger", |repo| {
            let ids = ids(repo, &["{first}", "{second}", "{failed}"]);
            remake(repo, "{log}", &ids, &stranger());
        })
        .finds(&["E-PIN"])
        .says("by a trusted key"),
        pinned("its files damaged", |repo| {
            repo.remove(&file_of(repo, "{log}", "/tile/entries/"));
            repo.edit(&file_of(repo, "{log}", "/tile/0/"), |bytes| bytes[0] ^= 1);
        })
        .finds(&["E-LOG", "E-PIN"])
        .says("do not give its root"),
        attack("a pin that is none", |repo| repo.write("../pin", "nonsense"))
            .ask(&["--pin", "../pin"])
            .ends(2),
        attack("a pin that is not there", |_| {})
            .ask(&["--pin", "../none"])
            .ends(2),
    ]);
}

#[test]
fn what_receipts_say_of_logs() {
    try_all(vec![
        // Each receipt names where the logs were: whoever cuts one off has to change the others too.
        attack("the end of the history cut off", |repo| {
            repo.remove(&repo.fill("{failed}"));
            let ids = ids(repo, &["{first}", "{second}"]);
            remake(repo, "{log}", &ids, &repo.own());
        })
        .finds(&["E-LOG"])
        .names("{theirs}")
        .says("the end of its history is missing"),
        attack("another history of the same length", |repo| {
            let mut ids = ids(repo, &["{first}", "{second}", "{failed}"]);
            ids.swap(0, 9);
            remake(repo, "{log}", &ids, &repo.own());
        })
        .finds(&["E-LOG"])
        .says("the history was forked"),
        attack("a log signed by two keys", |repo| {
            let ids = ids(repo, &["{first}", "{second}", "{failed}", "{theirs}"]);
            add(repo, "{log}", &ids, &repo.theirs());
        })
        .finds(&["E-LOG"]),
        attack("a log removed", |repo| {
            std::fs::remove_dir_all(repo.path(&repo.fill("{their_log}"))).expect("removed");
        })
        .ends(0)
        .finds(&["W-UNLOGGED"]),
        attack("the operator's log removed", |repo| {
            std::fs::remove_dir_all(repo.path(&repo.fill("{log}"))).expect("removed");
        })
        .ends(0)
        .finds(&["W-ELSEWHERE", "W-UNLOGGED"]),
        attack("the operator's checkpoints removed", |repo| {
            for file in repo.log_files("{log}") {
                if file.contains("/checkpoint-") {
                    repo.remove(&file);
                }
            }
        })
        .ends(0)
        .finds(&["W-ELSEWHERE", "W-UNLOGGED"]),
        attack("the log of somebody who is not trusted", |_| {})
            .trusting("../theirs.pem")
            .ask(&["out/theirs.txt"])
            .ends(0)
            .finds(&["W-FOREIGN"])
            .says_not("W-ELSEWHERE"),
        attack("heads of logs out of order", |repo| {
            repo.forge(|s| {
                let logs = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
                let head = |name: &str| serde_json::json!({"origin": format!("madmall/{name}"), "root": "0".repeat(64), "size": 1});
                *logs = serde_json::json!([head("fedcba9876543210"), head("0123456789abcdef")]);
            });
        })
        .finds(&["E-CHAIN", "E-JSON"])
        .says("`logs` is not sorted"),
        attack("two heads of one log", |repo| {
            repo.forge(|s| {
                let logs = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
                let head = |size: u64| serde_json::json!({"origin": "madmall/0123456789abcdef", "root": "0".repeat(64), "size": size});
                *logs = serde_json::json!([head(1), head(2)]);
            });
        })
        .finds(&["E-CHAIN", "E-JSON"])
        .says("names a log twice"),
        attack("a head beyond the largest number", |repo| {
            repo.forge(|s| {
                let logs = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
                let size = 1_u64 << 53;
                *logs = serde_json::json!([{"origin": "madmall/0123456789abcdef", "root": "0".repeat(64), "size": size}]);
            });
        })
        .finds(&["E-CHAIN", "E-JSON"])
        .says("not spelled as heads are"),
        attack("a head of the largest number, of a log that is not here", |repo| {
            repo.forge(|s| {
                let logs = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
                let size = (1_u64 << 53) - 1;
                *logs = serde_json::json!([{"origin": "madmall/0123456789abcdef", "root": "0".repeat(64), "size": size}]);
            });
        })
        .ask(&[FORGED])
        .ends(0),
        attack("a head of a log whose name is short", |repo| {
            repo.forge(|s| {
                let logs = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
                *logs = serde_json::json!([{"origin": "madmall/0123456789abcde", "root": "0".repeat(64), "size": 1}]);
            });
        })
        .finds(&["E-CHAIN", "E-JSON"])
        .says("not spelled as heads are"),
        attack("a head of a log whose name has no digits", |repo| {
            repo.forge(|s| {
                let logs = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
                *logs = serde_json::json!([{"origin": "madmall/0123456789abcdeg", "root": "0".repeat(64), "size": 1}]);
            });
        })
        .finds(&["E-CHAIN", "E-JSON"])
        .says("not spelled as heads are"),
        attack("a head of nothing", |repo| {
            repo.forge(|s| {
                let logs = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
                *logs = serde_json::json!([{"origin": "madmall/0123456789abcdef", "root": "0".repeat(64), "size": 0}]);
            });
        })
        .finds(&["E-CHAIN", "E-JSON"])
        .says("not spelled as heads are"),
        attack("a head that the log never had", |repo| {
            let name = repo.fill("{log}").rsplit('/').next().expect("a name").to_owned();
            repo.forge(|s| {
                let logs = &mut s["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["logs"];
                *logs = serde_json::json!([{"origin": format!("madmall/{name}"), "root": "0".repeat(64), "size": 3}]);
            });
        })
        .finds(&["E-LOG"])
        .says("the history was forked"),
    ]);
}
