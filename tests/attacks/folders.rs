//! Output folders: what is added, removed, changed, swapped, and what the store then says of it.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::repo::Repo;
use crate::space::files_below;
use crate::table::{Attack, attack, harmless, try_all};

const PAGES: &str = "version: 1
name: pages
stages:
  pages:
    run: 'mkdir ${outputs.p}/sub; echo 1 > ${outputs.p}/one; echo 2 > ${outputs.p}/sub/two'
    inputs: {text: data/in.txt}
    outputs: {p: out/pages/}
";

/// Makes an output folder, and then changes it.
fn pages(name: &'static str, change: impl Fn(&Repo) + Send + Sync + 'static) -> Attack {
    attack(name, made_and(change))
}

fn made_and(change: impl Fn(&Repo)) -> impl Fn(&Repo) {
    move |repo| {
        repo.write("pipelines/pages.yaml", PAGES);
        repo.madmall(["run", "pipelines/pages.yaml"]).success();
        change(repo);
    }
}

fn changed(attack: Attack) -> Attack {
    attack.finds(&["E-DIGEST"]).names("out/pages")
}

#[test]
fn of_files_in_a_folder() {
    let set_mode = |repo: &Repo, mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(repo.path("out/pages/one"), mode).expect("own file");
    };
    try_all(vec![
        changed(pages("a file added", |repo| repo.write("out/pages/three", "3\n"))).says("`out/pages/three` was added"),
        changed(pages("a hidden file added", |repo| {
            repo.write("out/pages/sub/.x", "");
        })),
        changed(pages("a repository added", |repo| {
            repo.write("out/pages/.git/config", "");
        })),
        changed(pages("a file removed", |repo| repo.remove("out/pages/one"))).says("`out/pages/one` is missing"),
        changed(pages("a file changed", |repo| {
            repo.edit("out/pages/sub/two", |bytes| bytes[0] ^= 1);
        }))
        .says("`out/pages/sub/two` has other bytes"),
        changed(pages("a file made executable", move |repo| set_mode(repo, 0o755))).says("can be executed now"),
        changed(pages("a file renamed", |repo| {
            std::fs::rename(repo.path("out/pages/one"), repo.path("out/pages/uno")).expect("moved");
        })),
        changed(pages("two files exchanged", |repo| {
            repo.write("out/pages/one", "2\n");
            repo.write("out/pages/sub/two", "1\n");
        })),
        changed(pages("all files removed", |repo| {
            std::fs::remove_dir_all(repo.path("out/pages")).expect("removed");
            std::fs::create_dir(repo.path("out/pages")).expect("made");
        })),
        changed(pages("a file changed, and it asked for", |repo| {
            repo.write("out/pages/one", "x")
        }))
        .ask(&["out/pages/one"]),
        changed(pages("a file changed, and its folder asked for", |repo| {
            repo.write("out/pages/one", "x")
        }))
        .ask(&["out/pages/"]),
        // Its digests are not those of the receipt, so it is not asked which files were changed.
        changed(pages("a file changed, and the listing in the store with it", |repo| {
            repo.write("out/pages/one", "x");
            let name = files_below(&repo.path(".madmall/trees")).pop().expect("a listing");
            repo.edit(&format!(".madmall/trees/{name}"), |bytes| {
                let place = bytes.iter().rposition(|byte| *byte == b'-').expect("a mode");
                bytes[place] = b'x';
            });
        }))
        .says_not("has other bytes"),
        pages("a file asked for that is not in it", |_| {})
            .ask(&["out/pages/sub/tow"])
            .ends(6)
            .finds(&["E-ABSENT"])
            .names("out/pages/sub/tow")
            .says("`out/pages` has no such file"),
        pages("a folder asked for that is not in it", |_| {})
            .ask(&["out/pages/su"])
            .ends(6)
            .finds(&["E-ABSENT"])
            .names("out/pages/su"),
        changed(pages("a file changed, and a project made of its folder", |repo| {
            repo.write("out/pages/out/pages/one", "1\n");
            repo.write("out/pages/out/pages/sub/two", "2\n");
            for run in repo.receipt_files() {
                repo.write(&format!("out/pages/runs/{run}"), repo.bytes(&format!("runs/{run}")));
            }
            repo.write("out/pages/madmall.yaml", "");
            repo.write("out/pages/one", "x");
        }))
        .ask(&["out/pages"]),
        changed(pages("a file changed, and the store removed", |repo| {
            repo.write("out/pages/one", "x");
            std::fs::remove_dir_all(repo.path(".madmall")).expect("removed");
        })),
    ]);
}

#[test]
fn of_a_folder_as_a_whole() {
    let moved = |repo: &Repo, to: &str| std::fs::rename(repo.path("out/pages"), repo.path(to)).expect("moved");
    try_all(vec![
        pages("a file swapped by a link to the same bytes", |repo| {
            repo.write("elsewhere", "1\n");
            repo.remove("out/pages/one");
            symlink("../../elsewhere", repo.path("out/pages/one")).expect("a link");
        })
        .finds(&["E-FILE"])
        .names("out/pages"),
        pages("a link that leads out added", |repo| {
            symlink("/etc/passwd", repo.path("out/pages/three")).expect("a link");
        })
        .finds(&["E-FILE"])
        .names("out/pages"),
        pages("a pipe added", |repo| {
            let made = std::process::Command::new("mkfifo")
                .arg(repo.path("out/pages/pipe"))
                .status();
            assert!(made.expect("mkfifo runs").success());
        })
        .finds(&["E-FILE"])
        .names("out/pages"),
        pages("a link to the same folder elsewhere within", move |repo| {
            moved(repo, "elsewhere");
            symlink("../elsewhere", repo.path("out/pages")).expect("a link");
        })
        .finds(&["E-FILE"])
        .names("out/pages"),
        pages("a link to the same folder outside", move |repo| {
            moved(repo, "../elsewhere");
            symlink("../../elsewhere", repo.path("out/pages")).expect("a link");
        })
        .finds(&["E-FILE"])
        .names("out/pages"),
        pages("a file in its place", move |repo| {
            moved(repo, "elsewhere");
            repo.write("out/pages", "1\n");
        })
        .finds(&["E-DIGEST"])
        .names("out/pages"),
        harmless("a folder in it asked for", made_and(|_| {})).ask(&["out/pages/sub"]),
        harmless(
            "an empty folder in it",
            made_and(|repo| {
                std::fs::create_dir(repo.path("out/pages/nothing")).expect("made");
            }),
        ),
        harmless(
            "as it was, and the store removed",
            made_and(|repo| {
                std::fs::remove_dir_all(repo.path(".madmall")).expect("removed");
            }),
        ),
    ]);
}
