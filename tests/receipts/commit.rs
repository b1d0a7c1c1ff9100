//! Results and commits, tied by content. The repositories are real ones.

use camino::Utf8Path;
use madmall::digest::Digests;
use madmall::git;
use madmall::listing::{ListedFile, listing_digests};
use madmall::receipt::statement::Repository;
use madmall::receipt::trust::Trust;
use madmall::tree::{EntryKind, Tree as _, TreeError};
use madmall::verify::What;
use madmall::verify::report::{Report, State};

use super::world::{PIPELINE, World, codes, key};

/// Makes a repository of `folder` if it is none, and commits everything but `runs/` and outputs.
fn commit(world: &World, folder: &str) -> String {
    let root = world.path(folder);
    let repository = git2::Repository::open(&root)
        .or_else(|_| git2::Repository::init(&root))
        .expect("a repository");
    let mut index = repository.index().expect("an index");
    let mut skip = |path: &std::path::Path, _: &[u8]| {
        let path = path.to_string_lossy();
        i32::from(["runs/", "mid.txt", "out.txt"].iter().any(|part| path.contains(part)))
    };
    index
        .add_all(["*"], git2::IndexAddOption::DEFAULT, Some(&mut skip))
        .expect("added");
    index.update_all(["*"], None).expect("updated");
    index.write().expect("written");
    let tree = index.write_tree().expect("a tree");
    let tree = repository.find_tree(tree).expect("a tree");
    let time = git2::Time::new(1_800_000_000, 0);
    let author = git2::Signature::new("a", "a@example.org", &time).expect("a signature");
    let parent = repository.head().ok().and_then(|head| head.peel_to_commit().ok());
    let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
    let id = repository.commit(Some("HEAD"), &author, &author, "x", &tree, &parents);
    id.expect("a commit").to_string()
}

fn committed_and_run() -> (World, String) {
    let world = World::new();
    let id = commit(&world, "");
    world.run("run-1", "2026-11-23T09:15:00Z", &key(1));
    (world, id)
}

fn verify_at(world: &World, what: What, at: &str) -> Report {
    let trust = Trust::own_key(&key(1).public());
    world.verify_with(what, Some(&trust), Some(at), false)
}

#[test]
fn what_was_made_from_committed_files_holds_for_the_commit() {
    let (world, id) = committed_and_run();
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec![], 0), "{}", report.render());
    assert_eq!(report.assurance.commit, State::Held);
    assert_eq!(report.artifacts[0].commit.as_deref(), Some(id.as_str()));
    for revision in ["HEAD", &id[..10]] {
        let report = verify_at(&world, What::Everything, revision);
        assert_eq!(codes(&report), (vec![], 0), "{}", report.render());
        assert_eq!(report.assurance.commit, State::Held);
    }
}

#[test]
fn edit_run_commit_keeps_its_proof() {
    let world = World::new();
    commit(&world, "");
    world.write("in.txt", "edited");
    world.run("run-1", "2026-11-23T09:15:00Z", &key(1));
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec!["W-UNCOMMITTED"], 0), "{}", report.render());
    assert_eq!(report.assurance.commit, State::NotChecked);
    let trust = Trust::own_key(&key(1).public());
    let strict = world.verify_with(What::Everything, Some(&trust), None, true);
    assert_eq!(codes(&strict), (vec!["E-UNCOMMITTED"], 4), "{}", strict.render());
    assert_eq!(codes(&verify_at(&world, What::Everything, "HEAD")).1, 4);
    commit(&world, "");
    let report = verify_at(&world, What::Everything, "HEAD");
    assert_eq!(report.exit_code().number(), 0, "{}", report.render());
    assert_eq!(report.assurance.commit, State::Held);
}

#[test]
fn a_commit_whose_pipeline_or_inputs_are_others_is_e_pipeline() {
    for (path, part) in [(PIPELINE, "definition"), ("in.txt", "input `in`")] {
        let (world, first) = committed_and_run();
        world.write(path, "other");
        commit(&world, "");
        for what in [
            What::Everything,
            What::File("out.txt".into()),
            What::Run("run-1".to_owned()),
        ] {
            let report = verify_at(&world, what, "HEAD");
            assert!(codes(&report).0.contains(&"E-PIPELINE"), "{}", report.render());
            assert_eq!(report.exit_code().number(), 4);
            assert!(report.findings[0].message.contains(part), "{}", report.render());
            assert_eq!(report.assurance.commit, State::Failed);
        }
        assert_eq!(codes(&verify_at(&world, What::Everything, &first)).1, 0);
    }
}

#[test]
fn files_in_place_that_another_commit_gives_are_e_pipeline() {
    let (world, _) = committed_and_run();
    world.write("in.txt", "second");
    world.write("mid.txt", "second");
    world.write("out.txt", "second");
    let second = commit(&world, "");
    world.run("run-2", "2026-11-23T10:15:00Z", &key(1));
    assert_eq!(codes(&verify_at(&world, What::Everything, &second)).1, 0);
    let report = verify_at(&world, What::Everything, "HEAD~1");
    assert_eq!(
        codes(&report),
        (vec!["E-PIPELINE", "E-PIPELINE"], 4),
        "{}",
        report.render()
    );
    assert!(report.findings.iter().any(|f| f.file.as_deref() == Some("out.txt")));
}

#[test]
fn a_commit_without_the_pipeline_or_the_input_is_e_pipeline_and_none_at_all_is_6() {
    let (world, _) = committed_and_run();
    world.remove("in.txt");
    commit(&world, "");
    let report = verify_at(&world, What::Everything, "HEAD");
    assert_eq!(codes(&report), (vec!["E-PIPELINE"], 4), "{}", report.render());
    let report = verify_at(&world, What::Everything, "no-such-branch");
    assert_eq!(codes(&report), (vec!["E-READ"], 6), "{}", report.render());
    let outside = World::after_a_run();
    assert_eq!(
        codes(&verify_at(&outside, What::Everything, "HEAD")),
        (vec!["E-READ"], 6)
    );
}

#[test]
fn a_commit_that_is_gone_is_a_warning_and_one_that_has_other_bytes_a_failure() {
    let (world, _) = committed_and_run();
    std::fs::remove_dir_all(world.path(".git")).expect("removed");
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec![], 0), "{}", report.render());
    assert!(report.not_checked.iter().any(|n| n.contains("no git repository")));
    world.write("in.txt", "other history");
    commit(&world, "");
    let report = world.verify(What::Everything);
    assert!(codes(&report).0.contains(&"W-COMMIT-GONE"), "{}", report.render());
    assert_eq!(report.assurance.commit, State::NotChecked);

    // A receipt that names a commit, and says of a file that it was as in it, which is not so.
    let (world, _) = committed_and_run();
    let run = world.run("run-1", "2026-11-23T09:15:00Z", &key(1));
    let mut a = run.receipts()[0].statement.clone();
    for dependency in &mut a.predicate.build_definition.resolved_dependencies {
        if dependency.name == "in.txt" {
            *dependency = super::world::input("in", "in.txt", &Digests::of(b"lie"), None);
        }
    }
    let a = super::world::signed(&a, &key(1));
    let mut b = run.receipts()[1].statement.clone();
    for dependency in &mut b.predicate.build_definition.resolved_dependencies {
        if dependency.name == "mid.txt" {
            *dependency = super::world::input("in", "mid.txt", &Digests::of(b"mid"), Some(&a));
        }
    }
    let b = super::world::signed(&b, &key(1));
    world.finish(vec![a, b], "run-1", "2026-11-23T09:15:00Z", &key(1));
    let report = world.verify(What::Everything);
    assert_eq!(codes(&report), (vec!["E-COMMIT", "W-STALE"], 4), "{}", report.render());
    assert_eq!(report.findings[0].file.as_deref(), Some("in.txt"));
    assert_eq!(report.assurance.commit, State::Failed);
}

#[test]
fn made_says_whether_there_is_a_repository_and_a_commit() {
    let world = World::new();
    let root = world.workspace.root();
    let made = |used: &[git::Used<'_>]| git::open(root).and_then(|found| git::made(found.as_ref(), used));
    assert_eq!(made(&[]).expect("looked for").repository, Repository::None);
    git2::Repository::init(root).expect("a repository");
    assert_eq!(made(&[]).expect("opened").repository, Repository::Unborn);
    let id = commit(&world, "");
    let file = |path: &'static str, bytes: &[u8]| {
        git::Used::File(git::UsedFile {
            path: Utf8Path::new(path),
            digests: Digests::of(bytes),
            size: bytes.len() as u64,
            executable: None,
        })
    };
    let used = [file("in.txt", b"in"), file(PIPELINE, b"v2"), file("new.txt", b"new")];
    let found = made(&used).expect("read");
    assert_eq!(found.commit, Some(id));
    assert_eq!(found.differs, ["new.txt", PIPELINE]);
    world.write(".git/HEAD", "nonsense");
    assert!(made(&used).is_err());
}

#[test]
fn many_files_of_a_commit_are_hashed_together_as_each_of_them_is() {
    let world = World::new();
    let paths: Vec<String> = (0..600).map(|number| format!("data/{number}")).collect();
    // One is long.
    let text = |path: &str| path.repeat(if path == "data/9" { 300_000 } else { 1 });
    paths.iter().for_each(|path| world.write(path, text(path)));
    commit(&world, "");
    let workspace = madmall::workspace::Workspace::at(world.path(""));
    // Of one nothing is left but its name.
    let gone = git2::Oid::hash_object(git2::ObjectType::Blob, b"data/7")
        .expect("hashed")
        .to_string();
    let object = world.path(&format!(".git/objects/{}/{}", &gone[..2], &gone[2..]));
    std::fs::remove_file(object).expect("it was there");
    let repository = git::open(workspace.root()).expect("it can be read").expect("it is one");
    let head = repository.head().expect("it can be read").expect("a commit");
    let tree = repository.tree(head).expect("a tree");
    tree.hash_ahead(paths.iter().map(Utf8Path::new));
    for path in &paths {
        let digests = tree.file_digests(Utf8Path::new(path));
        match path.as_str() {
            "data/7" => assert!(matches!(digests, Err(TreeError::Read { .. })), "{digests:?}"),
            _ => assert_eq!(
                digests.expect("it can be read"),
                Some(Digests::of(text(path).as_bytes())),
                "{path}"
            ),
        }
    }
    assert!(tree.listing("data".into()).is_err());
}

#[cfg(unix)]
#[test]
fn a_commit_is_a_tree_as_the_folder_is_one() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let world = World::new();
    world.write("sub/data/one.txt", "1");
    world.write("sub/data/deep/two.txt", "22");
    world.write("outside.txt", "x");
    let link = |target: &str, name: &str| symlink(target, world.path("sub").join(name)).expect("a link");
    link("data/one.txt", "inside");
    link("data", "folder");
    link("../outside.txt", "leaves");
    link("/etc/hosts", "absolute");
    link("nowhere", "dangling");
    link("loop", "loop");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(world.path("sub/data/one.txt"), executable).expect("own file");
    commit(&world, "");

    // The workspace is a folder of the repository.
    let folder = madmall::workspace::Workspace::at(world.path("sub"));
    let repository = git::open(folder.root()).expect("it can be read").expect("it is one");
    let head = repository.head().expect("it can be read").expect("a commit");
    let tree = repository.tree(head).expect("a tree");
    for path in [
        "data",
        "data/one.txt",
        "data/deep/two.txt",
        "inside",
        "folder",
        "folder/one.txt",
        "leaves",
        "absolute",
        "dangling",
        "loop",
        "absent",
        "data/absent",
        "data/one.txt/x",
    ] {
        let path = Utf8Path::new(path);
        let in_folder = folder.kind(path).expect("it can be read");
        assert_eq!(tree.kind(path).expect("it can be read"), in_folder, "{path}");
        let real = folder.real_path(path).expect("it can be read");
        assert_eq!(tree.real_path(path).expect("it can be read"), real, "{path}");
    }
    assert_eq!(
        tree.kind("data/one.txt".into()).expect("read"),
        Some(EntryKind::File { executable: true })
    );
    let below = |tree: &dyn madmall::tree::Tree, path: &str| -> Vec<_> {
        let below = tree.files_below(path.into()).expect("it can be read").into_iter();
        below.map(|below| (below.path, below.kind)).collect()
    };
    assert_eq!(below(&tree, ""), below(&folder, ""));
    assert_eq!(below(&tree, "data"), below(&folder, "data"));
    assert_eq!(tree.read("inside".into(), 1).expect("one byte"), b"1");
    let listing = |folder: &str| tree.listing(folder.into()).expect("it can be read");
    let listed = ["data/deep/two.txt", "data/one.txt"].map(|path| ListedFile {
        path: path.into(),
        executable: path == "data/one.txt",
        digests: Digests::of(if path == "data/one.txt" { b"1" } else { b"22" }),
    });
    assert_eq!(listing("data"), Some(listing_digests(&listed).expect("a listing")));
    // What leads out is no file, and of no folder there is no listing.
    assert_eq!((listing(""), listing("absent"), listing("inside")), (None, None, None));
    assert!(matches!(
        tree.read("data/deep/two.txt".into(), 1),
        Err(TreeError::TooLarge { .. })
    ));
    assert!(tree.read("leaves".into(), 100).is_err());
    let digests = tree.file_digests("folder/one.txt".into()).expect("it can be read");
    assert_eq!(digests, Some(Digests::of(b"1")));
}

#[test]
fn a_commit_is_named_by_branch_or_the_beginning_of_its_id() {
    let (world, id) = committed_and_run();
    let repository = git::open(world.workspace.root())
        .expect("it can be read")
        .expect("it is one");
    for name in ["HEAD", &id, &id[..8]] {
        assert_eq!(repository.resolve_commit(name).expect("a commit").to_string(), id);
    }
    for name in ["", "no-such", "HEAD~5", "\0", "HEAD:in.txt"] {
        assert!(repository.resolve_commit(name).is_err(), "{name:?}");
    }
    for (name, meant) in [("HAED", Some("HEAD")), ("no-such", None), ("", None)] {
        assert_eq!(repository.meant(name).as_deref(), meant, "{name:?}");
    }
    assert!(repository.find_commit(&id).is_some());
    assert!(repository.find_commit(&id[..8]).is_none());
    assert!(repository.find_commit(&"0".repeat(40)).is_none());
}
#[cfg(unix)]
#[test]
fn a_repository_of_another_user_is_unreadable_and_the_fix_is_said() {
    let world = World::new();
    world.write("sub/x", "x");
    commit(&world, "");
    let give = |path: &str| std::os::unix::fs::chown(world.path(path), Some(12_345), None);
    if give("").is_err() {
        return; // Only root can give a folder away.
    }
    give(".git").expect("given like the folder above it");
    let error = git::open(&world.path("sub")).err().expect("it says why").to_string();
    let fix = format!("git config --global --add safe.directory {}`", world.workspace.root());
    assert!(error.contains(&fix), "{error}");
}
