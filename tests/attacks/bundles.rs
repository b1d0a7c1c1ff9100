//! Bundles that somebody changed who knows the format: headers, the list, and contents with a list made to fit.

use madmall::digest::Digests;
use tar::{EntryType, Header};

use crate::archive::{Members, forged, members, packed, places, unpacked};
use crate::repo::{FORGED, Repo, stranger};
use crate::table::{Attack, attack, try_all};

const BUNDLE: &str = "../audit.tar.zst";
const ARTIFACT: &str = "workspace/out/joined.txt";

/// Makes a bundle of the second run and changes its bytes.
fn on_bytes(name: &'static str, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Attack {
    let change = move |repo: &Repo| {
        let run = repo.fill("{second}");
        repo.madmall(["bundle", &run, "--artifacts", "--inputs", "-o", BUNDLE])
            .success();
        repo.edit(BUNDLE, &change);
        // What lies around a bundle is no part of it.
        std::fs::remove_dir_all(repo.path("runs")).expect("removed");
    };
    attack(name, change).ask(&[BUNDLE]).finds(&["E-BUNDLE"])
}

/// The same with the archive in it.
fn on_archive(name: &'static str, change: impl Fn(&mut Vec<u8>) + Send + Sync + 'static) -> Attack {
    on_bytes(name, move |bundle| {
        let mut archive = unpacked(bundle);
        change(&mut archive);
        *bundle = packed(&archive);
    })
}

/// The same with its list, as a text.
fn on_list(name: &'static str, change: impl Fn(&str) -> String + Send + Sync + 'static) -> Attack {
    on_bytes(name, move |bundle| {
        let list = members(bundle).remove("bundle.json").expect("its list");
        let list = String::from_utf8(list).expect("UTF-8");
        let rest = unpacked(bundle).split_off(512 + list.len().next_multiple_of(512));
        let changed = change(&list);
        assert_ne!(changed, list);
        let mut archive = header("bundle.json", EntryType::Regular, changed.len() as u64).to_vec();
        archive.extend(changed.as_bytes());
        archive.resize(archive.len().next_multiple_of(512), 0);
        *bundle = packed(&[archive, rest].concat());
    })
}

/// The same with the members, the list made to fit.
fn on_members(name: &'static str, change: impl Fn(&mut Members) + Send + Sync + 'static) -> Attack {
    on_bytes(name, move |bundle| {
        let mut members = members(bundle);
        change(&mut members);
        *bundle = forged(&members);
    })
}

/// A header, spelled as those of bundles are.
fn header(name: &str, kind: EntryType, size: u64) -> [u8; 512] {
    let mut header = Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(kind);
    if kind.is_symlink() || kind.is_hard_link() {
        header.set_link_name("/etc/passwd").expect("short");
    }
    let mut block = *header.as_bytes();
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Another header in the place of an artifact's.
fn reheaded(name: &'static str, member: &'static str, kind: EntryType, size: Option<u64>) -> Attack {
    on_bytes(name, move |bundle| {
        let at = places(bundle)[ARTIFACT];
        let size = size.unwrap_or(members(bundle)[ARTIFACT].len() as u64);
        let mut archive = unpacked(bundle);
        archive[at - 512..at].copy_from_slice(&header(member, kind, size));
        *bundle = packed(&archive);
    })
}

/// A pipeline edited, and a receipt by somebody whom nobody trusts that names the edited bytes.
fn edited_and_named() -> Attack {
    const PIPELINE: &str = "pipelines/main.yaml";
    let change = |repo: &Repo| {
        let run = repo.fill("{second}");
        repo.madmall(["bundle", &run, "--artifacts", "-o", BUNDLE]).success();
        let mut members = members(&repo.bytes(BUNDLE));
        let pipeline = members.get_mut(&format!("workspace/{PIPELINE}")).expect("it is there");
        pipeline.push(b'\n');
        let digests = Digests::of(pipeline);
        repo.forge_by(&stranger(), |stage| {
            let dependencies = &mut stage["predicate"]["buildDefinition"]["resolvedDependencies"];
            let mut dependencies = dependencies.as_array_mut().expect("a list").iter_mut();
            let own = dependencies.find(|dependency| dependency["name"] == PIPELINE);
            let own = own.expect("its definition");
            own["digest"]["blake3"] = digests.blake3.to_hex().into();
            own["digest"]["sha256"] = digests.sha256.to_hex().into();
        });
        members.insert(format!("workspace/{FORGED}"), repo.bytes(FORGED));
        repo.write(BUNDLE, forged(&members));
    };
    attack("a pipeline edited, and named by a stranger", change)
        .ask(&[BUNDLE])
        .finds(&["E-DIGEST", "W-FOREIGN"])
        .names(PIPELINE)
}

/// A file beside those that hold, which only somebody names whom nobody trusts.
fn named_by_a_stranger() -> Attack {
    let change = |repo: &Repo| {
        let run = repo.fill("{second}");
        repo.madmall(["bundle", &run, "--artifacts", "-o", BUNDLE]).success();
        let digests = Digests::of(b"evil");
        repo.forge_by(&stranger(), |stage| {
            let dependencies = &mut stage["predicate"]["buildDefinition"]["resolvedDependencies"];
            let mut dependencies = dependencies.as_array_mut().expect("a list").iter_mut();
            let input = dependencies.find(|dependency| dependency["name"] == "out/joined.txt");
            let input = input.expect("its input");
            input["name"] = "data/evil.txt".into();
            input["digest"]["blake3"] = digests.blake3.to_hex().into();
            input["digest"]["sha256"] = digests.sha256.to_hex().into();
        });
        let mut members = members(&repo.bytes(BUNDLE));
        members.insert(format!("workspace/{FORGED}"), repo.bytes(FORGED));
        members.insert("workspace/data/evil.txt".to_owned(), b"evil".to_vec());
        repo.write(BUNDLE, forged(&members));
    };
    attack("a file that a stranger names", change)
        .ask(&[BUNDLE])
        .finds(&["E-KEY", "W-FOREIGN"])
        .names("data/evil.txt")
}

/// A bundle for a run that nobody whom anybody trusts has signed, of stages that hold.
fn made_for_a_stranger() -> Attack {
    attack("made for a run of a stranger", |repo| {
        repo.forge_by(&stranger(), |_| {});
        let run = FORGED.replace("runs/", "").replace(".intoto.jsonl", "");
        repo.madmall(["bundle", &run, "--artifacts", "-o", BUNDLE]).success();
    })
    .ask(&[BUNDLE])
    .finds(&["E-KEY"])
    .says("is by a key that is not trusted")
}

fn find(members: &Members, part: &str) -> String {
    let found = members.keys().find(|name| name.contains(part));
    found.expect("it is there").clone()
}

/// A member whose name has `part` in it, edited in its middle.
fn edited(name: &'static str, part: &'static str) -> Attack {
    on_members(name, move |members| {
        let name = find(members, part);
        let bytes = members.get_mut(&name).expect("it is there");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    })
}

/// Two members that take each other's place.
fn exchanged(name: &'static str, both: impl Fn(&Members) -> [String; 2] + Send + Sync + 'static) -> Attack {
    on_members(name, move |members| {
        let [a, b] = both(members);
        let bytes = members[&a].clone();
        let bytes = members.insert(b, bytes).expect("it is there");
        members.insert(a, bytes);
    })
}

#[test]
fn archives_that_are_not_as_they_were_packed() {
    let regular = EntryType::Regular;
    try_all(vec![
        on_bytes("a frame that is skipped before it", |bundle| {
            drop(bundle.splice(..0, [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]));
        }),
        on_bytes("something else under its name", |bundle| {
            *bundle = b"no archive".to_vec();
        }),
        on_archive("a member after the last", |archive| {
            archive.truncate(archive.len() - 1024);
            archive.extend(header("workspace/evil", EntryType::Regular, 0));
            archive.extend([0; 1024]);
        }),
        on_archive("zeros after it", |archive| archive.extend([0; 512])),
        on_archive("nothing at its end", |archive| archive.truncate(archive.len() - 1024)),
        reheaded("a symbolic link in it", ARTIFACT, EntryType::Symlink, None),
        reheaded("a hard link in it", ARTIFACT, EntryType::Link, None),
        reheaded("a device in it", ARTIFACT, EntryType::Char, None),
        reheaded("a pipe in it", ARTIFACT, EntryType::Fifo, None),
        reheaded("a folder in it", ARTIFACT, EntryType::Directory, None),
        reheaded("a sparse file in it", ARTIFACT, EntryType::GNUSparse, None),
        reheaded("a long name in it", ARTIFACT, EntryType::GNULongName, None),
        reheaded("a name for all that follows", ARTIFACT, EntryType::XGlobalHeader, None),
        reheaded("an absolute name in it", "/etc/passwd", regular, None),
        reheaded("a name that leads out in it", "workspace/../../evil", regular, None),
        reheaded("a member twice", "workspace/out/count.txt", regular, None),
        reheaded("a member of another size", ARTIFACT, regular, Some(1 << 30)),
        on_bytes("an artifact with another byte", |bundle| {
            let at = places(bundle)[ARTIFACT];
            let mut archive = unpacked(bundle);
            archive[at] ^= 1;
            *bundle = packed(&archive);
        }),
        on_bytes("a bomb", |bundle| {
            let mut archive = header("bundle.json", EntryType::Regular, 30 << 20).to_vec();
            archive.resize(30 << 20, b' ');
            *bundle = packed(&archive);
        }),
        on_bytes("a frame that wants much memory", |bundle| {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
            encoder.window_log(27).expect("a window");
            std::io::Write::write_all(&mut encoder, &unpacked(bundle)).expect("written");
            *bundle = encoder.finish().expect("a frame");
        }),
    ]);
}

#[test]
fn lists_that_are_not_what_is_in_the_archive() {
    let renamed = |name, to: &'static str| on_list(name, move |list| list.replace(ARTIFACT, to));
    let with = |name, after: &'static str| {
        on_list(name, move |list| {
            list.replace("\"version\":1", &format!("\"version\":1{after}"))
        })
    };
    try_all(vec![
        renamed("a name that leads out", "workspace/../out/joined.txt"),
        renamed("an absolute name", "/etc/passwd"),
        renamed("a name with a NUL", "workspace/out/joined.txt\\u0000"),
        renamed("a name in another folder", "elsewhere/joined.txt"),
        renamed("two names that are one on some file systems", "workspace/out/COUNT.txt"),
        renamed("a file that is a folder", "workspace/out/count.txt/x"),
        with("a field more", ",\"x\":1"),
        with("a field twice", ",\"version\":1"),
        with("another version", "0"),
        with("other spacing", " "),
        on_list("an output as if it were a receipt", |list| {
            list.replacen("\"kind\":\"artifact\"", "\"kind\":\"receipts\"", 1)
        }),
        on_list("another run", |list| list.replace("\"run\":\"2", "\"run\":\"3")),
        on_list("a size of all there is", |list| {
            list.replacen("\"size\":", "\"size\":9007199254740", 1)
        }),
    ]);
}

#[test]
fn contents_that_no_receipt_names() {
    try_all(vec![
        edited("an artifact edited", ARTIFACT)
            .finds(&["E-DIGEST"])
            .names("out/joined.txt"),
        edited("an input edited", "workspace/data/in.txt")
            .finds(&["E-DIGEST"])
            .names("data/in.txt"),
        edited("a file of an input edited", "workspace/data/set/one.txt")
            .finds(&["E-DIGEST"])
            .names("data/set/one.txt"),
        edited("a pipeline edited", "workspace/pipelines/main.yaml")
            .finds(&["E-DIGEST"])
            .names("pipelines/main.yaml"),
        edited_and_named(),
        named_by_a_stranger(),
        made_for_a_stranger(),
        edited("a stage file edited", "workspace/stages/upper.yaml")
            .finds(&["E-DIGEST"])
            .names("stages/upper.yaml"),
        edited("an entry of the log edited", "/tile/entries/").finds(&["E-LOG"]),
        edited("a hash of the log edited", "/tile/0/").finds(&["E-LOG"]),
        edited("a key edited", "keys/"),
        edited("a proof edited", "proofs/"),
        exchanged("two artifacts exchanged", |_| {
            [ARTIFACT.to_owned(), "workspace/out/count.txt".to_owned()]
        })
        .finds(&["E-DIGEST"]),
        exchanged("two proofs exchanged", |members| {
            let mut proofs = members.keys().filter(|name| name.starts_with("proofs/")).cloned();
            [proofs.next().expect("one"), proofs.next().expect("another")]
        }),
        on_members("a file that nobody named", |members| {
            members.insert("workspace/evil".to_owned(), b"x".to_vec());
        })
        .names("evil"),
        on_members("many files that nobody named", |members| {
            for number in 0..150 {
                members.insert(format!("workspace/evil/{number:03}"), b"x".to_vec());
            }
        })
        .names("evil/099")
        .says("52 more files in the bundle were not compared"),
        on_members("the receipt of a stage taken out", |members| {
            let name = find(members, ".intoto.jsonl");
            let lines = members.get_mut(&name).expect("it is there");
            let first = lines.iter().position(|byte| *byte == b'\n').expect("a line");
            lines.drain(..=first);
        })
        .finds(&["E-BUNDLE", "E-CHAIN"]),
        on_members("a receipt cut off", |members| {
            let name = find(members, ".intoto.jsonl");
            let lines = members.get_mut(&name).expect("it is there");
            lines.truncate(lines.len() - 1);
        })
        .finds(&["E-BUNDLE", "E-JSON"]),
    ]);
}

#[test]
fn bundles_that_harm_nobody() {
    let harmless = |attack: Attack| attack.ends(0).finds(&[]);
    try_all(vec![
        harmless(on_archive("compressed anew", |_| {}))
            .says("of runs that are not in the bundle")
            .says("definition: that the pipeline files give the stages that ran"),
        harmless(attack("with a later run that is in no log", |repo| {
            let run = repo.fill("{second}");
            repo.madmall(["bundle", &run, "--artifacts", "-o", BUNDLE]).success();
            repo.forge(|_| {});
            let mut members = members(&repo.bytes(BUNDLE));
            members.insert(format!("workspace/{FORGED}"), repo.bytes(FORGED));
            repo.write(BUNDLE, forged(&members));
        }))
        .ask(&[BUNDLE])
        .finds(&["W-UNLOGGED"])
        .says("2 receipts that the answer rests on are in no log"),
        on_members("without artifacts", |members| {
            members.retain(|name, _| !name.starts_with("workspace/out/"))
        })
        .ends(6)
        .finds(&["E-ABSENT"])
        .says("the bundle holds no artifact that a trusted receipt claims"),
        harmless(on_members("without artifacts but one", |members| {
            members.retain(|name, _| !name.starts_with("workspace/out/") || name == ARTIFACT);
        })),
        harmless(on_members("without proofs, keys and inputs", |members| {
            let parts = ["keys/", "proofs/", "workspace/data/"];
            members.retain(|name, _| !parts.iter().any(|part| name.starts_with(part)));
        })),
    ]);
}
