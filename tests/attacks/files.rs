//! What stands in the place of outputs, receipts and definitions: links, pipes, folders, devices, and names nobody would wish.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::repo::{FORGED, Repo, touch_like};
use crate::table::{attack, try_all};

fn pipe(repo: &Repo, path: &str) {
    let made = std::process::Command::new("mkfifo").arg(repo.path(path)).status();
    assert!(made.expect("mkfifo runs").success());
}

/// Replaces a path by a link.
fn link(repo: &Repo, path: &str, target: &str) {
    let path = repo.path(&repo.fill(path));
    if path.is_dir() {
        std::fs::remove_dir_all(&path).expect("removed");
    } else {
        std::fs::remove_file(&path).expect("removed");
    }
    symlink(target, path).expect("a link");
}

/// A bundle that holds, in the place of an output.
fn bundle_in_its_place(repo: &Repo) {
    let run = repo.fill("{second}");
    repo.madmall(["bundle", &run, "--artifacts", "-o", "out/joined.txt", "--force"])
        .success();
}

#[test]
fn outputs() {
    try_all(vec![
        attack("edited", |repo| repo.write("out/count.txt", "99\n"))
            .finds(&["E-DIGEST"])
            .names("out/count.txt"),
        attack("edited, with size and time as before", |repo| {
            let keep = repo.path("../keep");
            std::fs::copy(repo.path("out/joined.txt"), &keep).expect("copied");
            touch_like(&keep, &repo.path("out/joined.txt"));
            repo.edit("out/joined.txt", |bytes| bytes[0] ^= 1);
            touch_like(&repo.path("out/joined.txt"), &keep);
        })
        .finds(&["E-DIGEST"])
        .names("out/joined.txt"),
        attack("a line more", |repo| {
            repo.edit("out/joined.txt", |bytes| bytes.push(b'\n'))
        })
        .finds(&["E-DIGEST"]),
        attack("emptied", |repo| repo.write("out/joined.txt", "")).finds(&["E-DIGEST"]),
        attack("two exchanged", |repo| {
            let (a, b) = (repo.bytes("out/joined.txt"), repo.bytes("out/count.txt"));
            repo.write("out/joined.txt", b);
            repo.write("out/count.txt", a);
        })
        .finds(&["E-DIGEST"])
        .names("out/count.txt"),
        attack("edited, and asked for", |repo| repo.write("out/count.txt", "99\n"))
            .ask(&["out/count.txt"])
            .finds(&["E-DIGEST"])
            .names("out/count.txt"),
        attack("a bundle of the run in its place, and asked for", bundle_in_its_place)
            .ask(&["out/joined.txt"])
            .finds(&["E-DIGEST"])
            .names("out/joined.txt"),
        attack("the same, asked for from elsewhere", bundle_in_its_place)
            .within("config")
            .ask(&["{base}/work space/out/joined.txt"])
            .finds(&["E-DIGEST"])
            .names("out/joined.txt"),
        attack("the same, and its folder a link", |repo| {
            std::fs::rename(repo.path("out"), repo.path("elsewhere")).expect("moved");
            symlink("elsewhere", repo.path("out")).expect("a link");
            let run = repo.fill("{second}");
            repo.madmall(["bundle", &run, "-o", "elsewhere/joined.txt", "--force"])
                .success();
        })
        .ask(&["out/joined.txt"])
        .finds(&["E-DIGEST"])
        .names("out/joined.txt"),
        attack("the same, and what claims it damaged", |repo| {
            bundle_in_its_place(repo);
            repo.edit("{second}", |bytes| bytes[0] = b'x');
        })
        .ask(&["out/joined.txt"])
        .finds(&["E-CHAIN", "E-DIGEST", "E-JSON", "E-LOG"]),
        attack("the same, and what claims it gone", |repo| {
            bundle_in_its_place(repo);
            for run in repo.receipt_files() {
                repo.remove(&format!("runs/{run}"));
            }
        })
        .ask(&["out/joined.txt"])
        .finds(&["E-ABSENT", "E-LOG"]),
        attack("edited, and its run asked for", |repo| {
            repo.write("out/count.txt", "99\n")
        })
        .ask(&["{second}"])
        .finds(&["E-DIGEST"]),
        attack("of an older run", |repo| {
            repo.git(&["checkout", "-q", "HEAD~3", "--", "out"]);
        })
        .ends(0)
        .finds(&["W-OLDER"])
        .names("out/joined.txt"),
        attack("of an older run, and the newer run asked for", |repo| {
            repo.git(&["checkout", "-q", "HEAD~3", "--", "out"]);
        })
        .ask(&["{second}"])
        .ends(0)
        .finds(&["W-OLDER"]),
        attack("a link to the same bytes elsewhere", |repo| {
            repo.write("../elsewhere", repo.bytes("out/count.txt"));
            link(repo, "out/count.txt", "../../elsewhere");
        })
        .finds(&["E-FILE"])
        .names("out/count.txt"),
        attack("a link to an absolute path", |repo| {
            link(repo, "out/count.txt", "/etc/passwd")
        })
        .finds(&["E-FILE"]),
        attack("a link to nothing", |repo| link(repo, "out/count.txt", "nothing")).finds(&["E-FILE"]),
        attack("a link to itself", |repo| link(repo, "out/count.txt", "count.txt")).finds(&["E-FILE"]),
        attack("a link to other bytes within", |repo| {
            link(repo, "out/count.txt", "joined.txt")
        })
        .finds(&["E-DIGEST"])
        .names("out/count.txt"),
        attack("a link to a device", |repo| link(repo, "out/count.txt", "/dev/zero")).finds(&["E-FILE"]),
        attack("a pipe", |repo| {
            repo.remove("out/count.txt");
            pipe(repo, "out/count.txt");
        })
        .finds(&["E-FILE"])
        .names("out/count.txt"),
        attack("a folder", |repo| {
            repo.remove("out/count.txt");
            repo.write("out/count.txt/x", "");
        })
        .finds(&["E-FILE"])
        .names("out/count.txt"),
        attack("their folder a link that leads out", |repo| {
            std::fs::rename(repo.path("out"), repo.path("../out")).expect("moved");
            symlink("../out", repo.path("out")).expect("a link");
        })
        .finds(&["E-FILE"])
        .names("out/count.txt"),
        attack("a program that may no longer be executed", |repo| {
            let mode = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(repo.path("out/tool"), mode).expect("own file");
        })
        .ends(0)
        .finds(&["W-MODE"])
        .names("out/tool"),
        attack("a text that may be executed", |repo| {
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(repo.path("out/count.txt"), mode).expect("own file");
        })
        .ends(0)
        .finds(&["W-MODE"])
        .names("out/count.txt"),
        attack("gone, and asked for", |repo| repo.remove("out/count.txt"))
            .ask(&["out/count.txt"])
            .ends(6)
            .finds(&["E-ABSENT"])
            .names("out/count.txt"),
        attack("a folder that no receipt is about, asked for", |_| {})
            .ask(&["out"])
            .ends(6)
            .finds(&["E-ABSENT"])
            .names("out"),
        attack("all gone", |repo| {
            std::fs::remove_dir_all(repo.path("out")).expect("removed")
        })
        .ends(6)
        .finds(&["E-ABSENT"]),
        attack("what nobody made, asked for", |repo| repo.write("out/new.txt", "new"))
            .ask(&["out/new.txt"])
            .ends(6)
            .finds(&["E-ABSENT"]),
        attack("what lies outside, asked for", |_| {})
            .ask(&["/etc/passwd"])
            .ends(2),
        attack("what lies outside, by dots", |_| {})
            .ask(&["out/../../policy.json"])
            .ends(2),
    ]);
}

#[test]
fn folders_and_files_of_receipts() {
    try_all(vec![
        attack("a link for a run's file", |repo| {
            repo.write("../elsewhere", repo.bytes(&repo.fill("{first}")));
            link(repo, "{first}", "../../elsewhere");
        })
        .finds(&["E-JSON", "E-LOG"])
        .names("{first}"),
        attack("a link within for a run's file", |repo| {
            link(repo, "{first}", "../README.md")
        })
        .finds(&["E-JSON", "E-LOG"])
        .names("{first}"),
        attack("a pipe for a run's file", |repo| {
            repo.remove(&repo.fill("{first}"));
            pipe(repo, &repo.fill("{first}"));
        })
        .finds(&["E-JSON", "E-LOG"])
        .names("{first}"),
        attack("a folder for a run's file", |repo| {
            repo.remove(&repo.fill("{first}"));
            repo.write(&repo.fill("{first}/x"), "");
        })
        .finds(&["E-JSON", "E-LOG"])
        .names("{first}"),
        attack("a huge file with holes", |repo| {
            let file = std::fs::File::create(repo.path(FORGED)).expect("made");
            file.set_len(1 << 40).expect("it has holes");
        })
        .finds(&["E-JSON"])
        .names(FORGED)
        .says("is longer than"),
        attack("a large file with holes", |repo| {
            let file = std::fs::File::create(repo.path(FORGED)).expect("made");
            file.set_len(64 << 20).expect("it has holes");
        })
        .finds(&["E-JSON"])
        .names(FORGED),
        attack("millions of empty lines", |repo| {
            repo.write(FORGED, vec![b'\n'; 8 << 20])
        })
        .finds(&["E-JSON"])
        .names(FORGED)
        .says("has more than"),
        attack("millions of lines of nothing", |repo| {
            repo.write(FORGED, b"x\n".repeat(4 << 20))
        })
        .finds(&["E-JSON"])
        .names(FORGED)
        .says("has more than"),
        attack("a name that is not UTF-8", |repo| {
            let name = std::ffi::OsStr::from_bytes(b"\xff.intoto.jsonl");
            let path = repo.path("runs").into_std_path_buf().join(name);
            std::fs::write(path, repo.bytes(&repo.fill("{first}"))).expect("written");
        })
        .finds(&["E-JSON"])
        .says("is no regular file"),
        attack("a name with an escape sequence", |repo| {
            repo.write("runs/\u{1b}[2J\nverified.intoto.jsonl", "x\n");
        })
        .finds(&["E-JSON"]),
        attack("the folder of receipts is a link that leads out", |repo| {
            std::fs::rename(repo.path("runs"), repo.path("../runs")).expect("moved");
            symlink("../runs", repo.path("runs")).expect("a link");
        })
        .finds(&["E-FILE", "E-ABSENT"])
        .names("runs"),
        attack("the folder of receipts is a link within", |repo| {
            std::fs::rename(repo.path("runs"), repo.path("other")).expect("moved");
            symlink("other", repo.path("runs")).expect("a link");
        })
        .finds(&["E-FILE", "E-ABSENT"])
        .names("runs"),
        attack("the folder of receipts is a file", |repo| {
            std::fs::remove_dir_all(repo.path("runs")).expect("removed");
            repo.write("runs", "x");
        })
        .finds(&["E-FILE", "E-ABSENT"])
        .names("runs"),
        attack("no folder of receipts", |repo| {
            std::fs::remove_dir_all(repo.path("runs")).expect("removed")
        })
        .ends(6)
        .finds(&["E-ABSENT"]),
        attack("the folder of logs is a link that leads out", |repo| {
            std::fs::rename(repo.path("runs/log"), repo.path("../log")).expect("moved");
            symlink("../../log", repo.path("runs/log")).expect("a link");
        })
        .finds(&["E-LOG"])
        .names("runs/log"),
        attack("the folder of logs is a link within", |repo| {
            std::fs::rename(repo.path("runs/log"), repo.path("log")).expect("moved");
            symlink("../log", repo.path("runs/log")).expect("a link");
        })
        .finds(&["E-LOG"])
        .names("runs/log"),
        attack("the folder of logs is a file", |repo| {
            std::fs::remove_dir_all(repo.path("runs/log")).expect("removed");
            repo.write("runs/log", "x");
        })
        .finds(&["E-LOG"])
        .names("runs/log"),
        attack("a log is a link", |repo| {
            let log = repo.fill("{log}");
            std::fs::rename(repo.path(&log), repo.path("log")).expect("moved");
            symlink("../../log", repo.path(&log)).expect("a link");
        })
        .finds(&["E-LOG"])
        .names("{log}"),
        attack("a checkpoint is a link", |repo| {
            let files = repo.log_files("{log}");
            let file = files
                .iter()
                .find(|file| file.contains("/checkpoint-"))
                .expect("a checkpoint");
            repo.write("kept", repo.bytes(file));
            link(repo, file, "../../../kept");
        })
        .finds(&["E-LOG"])
        .says("is no regular file"),
        attack("a checkpoint is a pipe", |repo| {
            let files = repo.log_files("{log}");
            let file = files
                .iter()
                .find(|file| file.contains("/checkpoint-"))
                .expect("a checkpoint");
            repo.remove(file);
            pipe(repo, file);
        })
        .finds(&["E-LOG"])
        .says("is no regular file"),
        attack("a name in a log that is not UTF-8", |repo| {
            let log = repo.path(&repo.fill("{log}")).into_std_path_buf();
            std::fs::write(log.join(std::ffi::OsStr::from_bytes(b"checkpoint-\xff")), "x").expect("written");
        })
        .finds(&["E-LOG"])
        .says("not UTF-8"),
    ]);
}

#[test]
fn what_is_compared_with_the_working_tree_is_never_waited_for() {
    try_all(vec![
        attack("the pipeline file is a pipe", |repo| {
            repo.remove("pipelines/main.yaml");
            pipe(repo, "pipelines/main.yaml");
        })
        .ends(0)
        .finds(&["W-STALE"])
        .names("pipelines/main.yaml"),
        attack("a stage's file is a pipe", |repo| {
            repo.remove("stages/upper.yaml");
            pipe(repo, "stages/upper.yaml");
        })
        .ends(0)
        .finds(&["W-STALE"]),
        attack("a source is a pipe", |repo| {
            repo.remove("data/in.txt");
            pipe(repo, "data/in.txt");
        })
        .ends(0)
        .finds(&["W-STALE"]),
        attack("a source's folder has a pipe", |repo| pipe(repo, "data/set/three.txt"))
            .ends(0)
            .finds(&["W-STALE"]),
        attack("a source is a link that leads out", |repo| {
            link(repo, "data/in.txt", "/etc/passwd")
        })
        .ends(0)
        .finds(&["W-STALE"]),
        attack("the settings are a pipe", |repo| {
            repo.remove("madmall.yaml");
            pipe(repo, "madmall.yaml");
        })
        .ends(0),
        attack("the pipeline file is a device", |repo| {
            link(repo, "pipelines/main.yaml", "/dev/zero")
        })
        .ends(0)
        .finds(&["W-STALE"]),
        attack("the pipeline file is huge", |repo| {
            let file = std::fs::File::create(repo.path("pipelines/main.yaml")).expect("made");
            file.set_len(1 << 40).expect("it has holes");
        })
        .ends(0)
        .finds(&["W-STALE"]),
    ]);
}
