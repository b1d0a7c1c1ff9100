//! Countersignatures: a run's receipts signed once more, in a file of their own.

use serde_json::Value;

use crate::forge::{Forger, canonical, payload, statement};
use crate::repo::Repo;
use crate::table::{Attack, attack, harmless, try_all};

/// The name of the file in which `digits` would countersign the run with the file `run`.
fn name(repo: &Repo, run: &str, digits: &str) -> String {
    let run = repo.fill(run);
    let stem = run.strip_suffix(".intoto.jsonl").expect("a run's file");
    format!("{stem}.{digits}.intoto.jsonl")
}

/// The receipts of a run's file, signed by `key`.
fn signed(repo: &Repo, run: &str, key: &Forger) -> Vec<String> {
    let lines = repo.lines(run);
    lines.iter().map(|line| key.line(&payload(line))).collect()
}

fn digits(key: &Forger) -> String {
    key.keyid()[..8].to_owned()
}

/// The colleague countersigns `{first}` as he should, but for `change`, which gets the name of the file and its lines.
fn countersigned(name: &'static str, change: fn(&Repo, &mut String, &mut Vec<String>)) -> Attack {
    attack(name, move |repo| {
        let mut file = self::name(repo, "{first}", &digits(&repo.theirs()));
        let mut lines = signed(repo, "{first}", &repo.theirs());
        change(repo, &mut file, &mut lines);
        repo.write_lines(&file, &lines);
    })
}

#[test]
fn files_that_are_not_what_their_names_say() {
    try_all(vec![
        countersigned("nothing", |_, _, _| {}).ends(0).says_not("E-CHAIN"),
        countersigned("only some of the receipts", |_, _, lines| lines.truncate(2)).ends(0),
        countersigned("the receipts of another run", |repo, file, _| {
            *file = name(repo, "{second}", &digits(&repo.theirs()));
        })
        .finds(&["E-CHAIN"])
        .says("holds the receipts of another run than its name says")
        .says("{first_id}.{their_digits}.intoto.jsonl"),
        countersigned("a name with a digit too few", |repo, file, _| {
            *file = name(repo, "{first}", &repo.theirs().keyid()[..7]);
        })
        .finds(&["E-CHAIN"])
        .says("holds the receipts of another run than its name says"),
        countersigned("a name with a digit too many", |repo, file, _| {
            *file = name(repo, "{first}", &repo.theirs().keyid()[..9]);
        })
        .finds(&["E-CHAIN"])
        .says("holds the receipts of another run than its name says"),
        countersigned("a name with something else than digits", |repo, file, _| {
            *file = name(repo, "{first}", "theirkey");
        })
        .finds(&["E-CHAIN"])
        .says("holds the receipts of another run than its name says"),
        countersigned("receipts by another key than that of its name", |repo, _, lines| {
            *lines = signed(repo, "{first}", &repo.own());
        })
        .finds(&["E-CHAIN"])
        .says("another key than that of its name"),
        countersigned("a receipt twice", |_, _, lines| lines.push(lines[0].clone()))
            .finds(&["E-CHAIN"])
            .says("holds a receipt twice"),
        countersigned("a receipt that the run does not have", |repo, _, lines| {
            let mut stage = statement(&lines[0]);
            stage["predicate"]["runDetails"]["metadata"]["finishedOn"] = "2099-01-01T00:00:00Z".into();
            lines[0] = repo.theirs().line(&canonical(&stage));
        })
        .finds(&["E-CHAIN"])
        .says("countersigns a receipt that the run's own file does not have"),
        harmless("the run's own file is with somebody else", |repo| {
            let file = name(repo, "{first}", &digits(&repo.theirs()));
            let (log, their_log) = (repo.fill("{log}"), repo.fill("{their_log}"));
            for log in [log, their_log] {
                std::fs::remove_dir_all(repo.path(&log)).expect("removed");
            }
            repo.write_lines(&file, &signed(repo, "{first}", &repo.theirs()));
            repo.remove(&repo.fill("{first}"));
        }),
    ]);
}

/// A countersignature by somebody whom nobody trusts changes nothing.
#[test]
fn by_a_stranger() {
    let by_a_stranger = |repo: &Repo| {
        let stranger = crate::repo::stranger();
        let file = name(repo, "{second}", &digits(&stranger));
        repo.write_lines(&file, &signed(repo, "{second}", &stranger));
    };
    let without_own = move |repo: &Repo| {
        by_a_stranger(repo);
        repo.remove(&repo.fill("{second}"));
    };
    let is_count = |line: &String| {
        let stage: Value = statement(line);
        stage["predicate"]["buildDefinition"]["externalParameters"]["stage"]["name"] == "count"
    };
    let edited = move |repo: &Repo| {
        // In the place of the operator's receipt of the last stage, a stranger's of the same.
        let mut lines = repo.lines("{second}");
        let at = lines.iter().position(is_count).expect("its receipt");
        lines[at] = crate::repo::stranger().line(&payload(&lines[at]));
        repo.write_lines("{second}", &lines);
    };
    try_all(vec![
        harmless("of what the operator signed", by_a_stranger).finds(&["W-FOREIGN"]),
        attack("and the operator's own is gone", without_own).finds(&["E-DIGEST", "E-LOG"]),
        attack("in its place", edited).finds(&["E-DIGEST", "E-KEY", "E-LOG"]),
    ]);
}
