//! What `run` keeps for itself: poisoned caches and objects. `run` does not believe them unseen, and `verify` never reads them.

use std::time::SystemTime;

use camino::Utf8Path;
use madmall::digest::{Digest, Digests};
use madmall::stamp::Stamp;
use madmall::store::stat_cache::{Hashed, StatCache};

use crate::forge;
use crate::repo::{Repo, Verdict, stranger, touch_like};
use crate::space::files_below;

fn verify(repo: &Repo) -> Verdict {
    Verdict::of(repo.madmall(["verify", "--json", "--trust", "../policy.json"]))
}

#[track_caller]
fn run(repo: &Repo) {
    repo.madmall(["run", "pipelines/main.yaml"]).success();
}

#[track_caller]
fn holds(repo: &Repo, what: &str) {
    let verdict = verify(repo);
    assert_eq!(
        verdict.ran.code,
        Some(0),
        "{what}:\n{}{}",
        verdict.ran.out,
        verdict.ran.err
    );
}

#[track_caller]
fn is_found(repo: &Repo, file: &str) {
    let verdict = verify(repo);
    assert_eq!(verdict.ran.code, Some(4), "{}{}", verdict.ran.out, verdict.ran.err);
    let names = |finding: &&serde_json::Value| finding["code"] == "E-DIGEST" && finding["file"] == file;
    assert!(verdict.findings().iter().any(names), "{}", verdict.ran.out);
}

/// Where the bytes of a file lie in the store.
fn object(repo: &Repo, file: &str) -> String {
    let hex = Digest::of(&repo.bytes(file)).to_hex();
    format!(".madmall/cas/{}/{}", &hex[..2], &hex[2..])
}

fn writable(path: &Utf8Path) {
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    std::fs::set_permissions(path, mode).expect("own file");
}

/// Changes a bit of a file, and nothing else that shows.
fn edit_unseen(repo: &Repo, file: &str) {
    let path = repo.path(file);
    let before = repo.path("../before");
    std::fs::copy(&path, &before).expect("copied");
    touch_like(&before, &path);
    writable(&path);
    repo.edit(file, |bytes| bytes[0] ^= 1);
    touch_like(&path, &before);
}

#[test]
fn a_flipped_bit_of_any_cache_gives_no_wrong_output() {
    let files = files_below(&Repo::with_store().path(".madmall"));
    let files = files
        .into_iter()
        .filter(|file| !file.starts_with("cas/") && file != "lock");
    for file in files.filter(|file| !file.starts_with("output/")) {
        let repo = Repo::with_store();
        let wanted = repo.bytes("out/count.txt");
        repo.edit(&format!(".madmall/{file}"), |bytes| {
            let at = bytes.len() * 2 / 3;
            bytes[at] ^= 4;
        });
        repo.write("out/count.txt", "99\n");
        is_found(&repo, "out/count.txt");
        run(&repo);
        assert_eq!(repo.bytes("out/count.txt"), wanted, "{file}");
        holds(&repo, &file);
    }
}

#[test]
fn an_object_that_was_edited_is_never_put_in_place() {
    for file in ["out/upper.txt", "out/joined.txt", "out/count.txt", "out/tool"] {
        let repo = Repo::with_store();
        let wanted = repo.bytes(file);
        edit_unseen(&repo, &object(&repo, file));
        holds(&repo, "verify reads no object");
        repo.remove(file);
        run(&repo);
        assert_eq!(repo.bytes(file), wanted);
        holds(&repo, file);
    }
}

#[test]
fn an_output_that_is_a_hard_link_to_its_object_and_edited_is_found_and_made_again() {
    let repo = Repo::with_store();
    let wanted = repo.bytes("out/joined.txt");
    let object = object(&repo, "out/joined.txt");
    repo.remove("out/joined.txt");
    std::fs::hard_link(repo.path(&object), repo.path("out/joined.txt")).expect("linked");
    edit_unseen(&repo, "out/joined.txt");
    is_found(&repo, "out/joined.txt");
    run(&repo);
    assert_eq!(repo.bytes("out/joined.txt"), wanted);
    holds(&repo, "made again");
}

#[test]
fn an_output_edited_with_size_and_time_as_before_is_found_and_put_back() {
    let repo = Repo::with_store();
    run(&repo);
    let wanted = repo.bytes("out/joined.txt");
    edit_unseen(&repo, "out/joined.txt");
    is_found(&repo, "out/joined.txt");
    run(&repo);
    assert_eq!(repo.bytes("out/joined.txt"), wanted);
}

#[test]
fn a_stat_cache_that_lies_deceives_no_verifier() {
    let repo = Repo::with_store();
    let honest = Digests::of(&repo.bytes("out/count.txt"));
    repo.write("out/count.txt", "99\n");
    let path = repo.path(".madmall/stat-cache");
    let mut cache = StatCache::load(&path);
    let stamp = Stamp::of(&repo.path("out/count.txt")).expect("there");
    let later = SystemTime::now() + std::time::Duration::from_secs(3600);
    let hashed = Hashed { digests: honest, stamp };
    for key in [Utf8Path::new("out/count.txt").to_owned(), repo.path("out/count.txt")] {
        cache.put(key.as_path(), &hashed, later.into());
    }
    std::fs::write(&path, cache.sealed().expect("it has changed").concat()).expect("written");
    is_found(&repo, "out/count.txt");
}

/// `bytes` with `new` wherever `old` stands.
fn replaced(bytes: &[u8], old: &[u8; 32], new: &[u8; 32]) -> Vec<u8> {
    let (mut replaced, mut count) = (bytes.to_vec(), 0);
    for at in 0..bytes.len().saturating_sub(31) {
        if bytes[at..at + 32] == *old {
            replaced[at..at + 32].copy_from_slice(new);
            count += 1;
        }
    }
    assert!(count > 0, "it stands there");
    replaced
}

#[test]
fn an_index_of_receipts_sealed_by_somebody_else_is_not_believed() {
    let repo = Repo::with_store();
    let wanted = repo.bytes("out/count.txt");
    let index = repo.bytes(".madmall/believed");
    let (seal, body) = (32, index.iter().position(|byte| *byte == b'\n').expect("a header") + 1);
    let (header, body) = (&index[..body], &index[body + seal..]);
    // It says other bytes of the output than the receipts do.
    let other = b"99\n";
    let (honest, lie) = (Digests::of(&wanted), Digests::of(other));
    let body = replaced(body, honest.blake3.as_bytes(), lie.blake3.as_bytes());
    let body = replaced(&body, honest.sha256.as_bytes(), lie.sha256.as_bytes());
    let seal = blake3::keyed_hash(&[7; 32], &body);
    repo.write(".madmall/believed", [header, seal.as_bytes(), &body].concat());
    repo.write("out/count.txt", other);
    run(&repo);
    assert_eq!(repo.bytes("out/count.txt"), wanted);
    holds(&repo, "the index is made again");
}

#[test]
fn receipts_that_a_stranger_left_pending_are_not_published() {
    let repo = Repo::with_store();
    let line = repo.lines("{failed}").remove(0);
    let mut statement = forge::statement(&line);
    statement["predicate"]["runDetails"]["metadata"]["invocationId"] = "2020-01-01T000000Z-fails-ffffff".into();
    let line = stranger().line(&forge::canonical(&statement));
    repo.write(
        ".madmall/pending/2020-01-01T000000Z-fails-ffffff.jsonl",
        format!("{line}\n"),
    );
    repo.write("data/in.txt", "a third source\n");
    run(&repo);
    assert!(!repo.exists("runs/2020-01-01T000000Z-fails-ffffff.intoto.jsonl"));
    holds(&repo, "nothing of a stranger's was signed");
}

#[test]
fn a_receipt_by_a_stranger_makes_no_stage_up_to_date() {
    let repo = Repo::with_store();
    repo.write("data/in.txt", "a third source\n");
    let copy = repo.beside("elsewhere", "nobody");
    repo.git(&["clone", "-q", ".", "../elsewhere"]);
    copy.write("data/in.txt", "a third source\n");
    copy.madmall(["run", "pipelines/main.yaml"]).success();
    let known = files_below(&repo.path("runs"));
    for file in files_below(&copy.path("runs"))
        .into_iter()
        .filter(|file| !known.contains(file))
    {
        // What that run really gave is changed, and signed by whoever ran it.
        repo.write(&format!("runs/{file}"), copy.bytes(&format!("runs/{file}")));
    }
    let ran = repo.madmall(["run", "pipelines/main.yaml"]).success();
    assert!(
        !ran.err.contains("3 up to date") && !ran.out.contains("3 up to date"),
        "{}{}",
        ran.out,
        ran.err
    );
    holds(&repo, "one's own receipt");
}

#[test]
fn a_log_whose_working_copy_was_poisoned_is_not_forked() {
    for (file, place) in [("head", 1), ("head", 2), ("runs", 1), ("runs", 2)] {
        let repo = Repo::with_store();
        let path = format!(".madmall/log/{file}");
        if !repo.exists(&path) {
            continue;
        }
        repo.edit(&path, |bytes| {
            let at = bytes.len() * place / 3;
            bytes[at] ^= 1;
        });
        repo.write("data/in.txt", "a third source\n");
        run(&repo);
        holds(&repo, &path);
    }
}

#[test]
fn the_log_of_a_failed_stage_is_no_answer_to_a_question_about_everything() {
    let repo = Repo::with_store();
    let trust = repo.fill("{base}/policy.json");
    std::fs::remove_dir_all(repo.path("out")).expect("removed");
    let ran = repo.madmall(["verify", "--trust", &trust]).code(6);
    ran.says("E-ABSENT").says("nothing holds");
    // Asked about the failure, it is one.
    let failed = repo.fill("{failed}");
    repo.madmall(["verify", "--trust", &trust, &failed]).code(0);
}

#[test]
fn a_result_that_the_operator_made_up_does_not_come_out_again() {
    let repo = Repo::with_store();
    let trust = repo.fill("{base}/policy.json");
    let rerun = |file: &str| repo.madmall(["verify", "--rerun", "--trust", &trust, file]);
    rerun("out/count.txt").code(0).says("identical");
    repo.write("out/count.txt", "77\n");
    repo.forge(|stage| {
        let digests = Digests::of(b"77\n");
        stage["subject"][0]["digest"]["sha256"] = digests.sha256.to_hex().into();
        stage["subject"][0]["digest"]["blake3"] = digests.blake3.to_hex().into();
    });
    repo.madmall(["verify", "--trust", &trust, "out/count.txt"]).code(0);
    rerun("out/count.txt").code(5).says("E-RERUN").says("out/count.txt");
    // What it was made of is not here.
    repo.remove("data/in.txt");
    std::fs::remove_dir_all(repo.path(".madmall")).expect("removed");
    std::fs::remove_dir_all(repo.path(".git")).expect("removed");
    rerun("out/upper.txt").code(6).says("E-NORERUN");
}
