//! Bundles: cut, flipped, packed anew with what does not belong there, and bombs.

use std::io::Write as _;

use crate::repo::Repo;
use crate::table::{Attack, attack, harmless, try_all};

/// The members of an archive: header, name and bytes.
type Members = Vec<(tar::Header, String, Vec<u8>)>;

/// Bundles the newest run.
fn bundled(repo: &Repo) {
    let run = repo.fill("{second}");
    let run = run.trim_start_matches("runs/").trim_end_matches(".intoto.jsonl");
    repo.madmall(["bundle", run, "--artifacts", "-o", "../audit.tar.zst"])
        .success();
}

fn unpacked(repo: &Repo) -> Vec<u8> {
    zstd::decode_all(&repo.bytes("../audit.tar.zst")[..]).expect("zstd")
}

fn members(repo: &Repo) -> Members {
    let bytes = unpacked(repo);
    let mut archive = tar::Archive::new(&bytes[..]);
    let entries = archive.entries().expect("tar").map(|entry| {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("read");
        (entry.header().clone(), name, bytes)
    });
    entries.collect()
}

/// Packs as bundles are packed.
fn packed(members: &Members, add: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (header, _, bytes) in members {
        let mut header = header.clone();
        header.set_size(bytes.len() as u64);
        seal(&mut header);
        builder.append(&header, &bytes[..]).expect("packed");
    }
    add(&mut builder);
    builder.into_inner().expect("packed")
}

/// The checksum as bundles spell it.
fn seal(header: &mut tar::Header) {
    header.set_cksum();
    let sum = header.cksum().expect("a checksum");
    header
        .as_old_mut()
        .cksum
        .copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

/// A header as bundles have them, of a file of that name.
fn header(name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    // Names that the crate would refuse are written by hand.
    let field = &mut header.as_old_mut().name;
    field[..name.len().min(100)].copy_from_slice(&name.as_bytes()[..name.len().min(100)]);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_device_major(0).expect("a header has one");
    header.set_device_minor(0).expect("a header has one");
    header.set_entry_type(tar::EntryType::Regular);
    header
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("zstd");
    encoder.include_checksum(true).expect("zstd");
    encoder.write_all(bytes).expect("zstd");
    encoder.finish().expect("zstd")
}

/// The bytes of a bundle, changed.
fn bytes(name: &'static str, change: fn(&mut Vec<u8>)) -> Attack {
    let attack = attack(name, move |repo| {
        bundled(repo);
        repo.edit("../audit.tar.zst", change);
    });
    attack.ask(&["../audit.tar.zst"])
}

/// The members of a bundle, changed, and packed again.
fn repacked(name: &'static str, change: fn(&Repo, &mut Members)) -> Attack {
    let attack = attack(name, move |repo| {
        bundled(repo);
        let mut members = members(repo);
        change(repo, &mut members);
        repo.write("../audit.tar.zst", compressed(&packed(&members, |_| {})));
    });
    attack.ask(&["../audit.tar.zst"])
}

/// A member that does not belong there.
fn added(name: &'static str, add: fn(&mut tar::Builder<Vec<u8>>)) -> Attack {
    let attack = attack(name, move |repo| {
        bundled(repo);
        repo.write("../audit.tar.zst", compressed(&packed(&members(repo), add)));
    });
    attack.ask(&["../audit.tar.zst"]).finds(&["E-BUNDLE"])
}

fn named(builder: &mut tar::Builder<Vec<u8>>, name: &str) {
    let mut header = header(name, 1);
    seal(&mut header);
    builder.append(&header, &b"x"[..]).expect("packed");
}

fn special(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType) {
    let mut header = header("workspace/zz", 0);
    header.set_entry_type(kind);
    let field = &mut header.as_old_mut().linkname;
    field[..11].copy_from_slice(b"/etc/passwd");
    seal(&mut header);
    builder.append(&header, &b""[..]).expect("packed");
}

#[test]
fn bytes_of_a_bundle() {
    let mut attacks = vec![
        harmless("a bundle as it was made", bundled).ask(&["../audit.tar.zst"]),
        bytes("cut off", |bytes| bytes.truncate(bytes.len() - 1)).finds(&["E-BUNDLE"]),
        bytes("cut in the middle", |bytes| bytes.truncate(bytes.len() / 2)).finds(&["E-BUNDLE"]),
        bytes("emptied", Vec::clear).finds(&["E-BUNDLE"]),
        bytes("a byte more", |bytes| bytes.push(0)).finds(&["E-BUNDLE"]),
        bytes("a second archive behind it", |bytes| bytes.extend_from_within(..)).finds(&["E-BUNDLE"]),
        bytes("not compressed", |bytes| {
            *bytes = zstd::decode_all(&bytes[..]).expect("zstd")
        })
        .finds(&["E-BUNDLE"]),
        bytes("compressed twice", |bytes| *bytes = compressed(bytes)).finds(&["E-BUNDLE"]),
        bytes("gigabytes of zeros", |bytes| *bytes = compressed(&vec![0; 256 << 20])).finds(&["E-BUNDLE"]),
        bytes("nothing in it", |bytes| *bytes = compressed(&[])).finds(&["E-BUNDLE"]),
    ];
    for place in 1..8 {
        let flip = move |repo: &Repo| {
            bundled(repo);
            repo.edit("../audit.tar.zst", |bytes| {
                let at = (bytes.len() - 1) * place / 7;
                bytes[at] ^= 1 << place;
            });
        };
        attacks.push(
            attack("a flipped bit", flip)
                .ask(&["../audit.tar.zst"])
                .finds(&["E-BUNDLE"]),
        );
    }
    try_all(attacks);
}

#[test]
fn members_of_a_bundle() {
    try_all(vec![
        added("a name that leads out", |b| named(b, "workspace/../../x")),
        added("an absolute name", |b| named(b, "/etc/cron.d/x")),
        added("a name with a dot", |b| named(b, "workspace/./zz")),
        added("no name", |b| named(b, "")),
        added("a name twice", |b| named(b, "bundle.json")),
        added("a name that differs in case", |b| named(b, "BUNDLE.json")),
        added("a name with a backslash", |b| named(b, r"workspace\..\..\x")),
        added("a file that the list does not have", |b| named(b, "workspace/zz")),
        added("a symbolic link", |b| special(b, tar::EntryType::Symlink)),
        added("a hard link", |b| special(b, tar::EntryType::Link)),
        added("a pipe", |b| special(b, tar::EntryType::Fifo)),
        added("a device", |b| special(b, tar::EntryType::Char)),
        added("a folder", |b| special(b, tar::EntryType::Directory)),
        added("a size beyond all disks", |b| {
            let mut header = header("workspace/zz", 1 << 32);
            seal(&mut header);
            b.append(&header, &b"x"[..]).expect("packed");
        }),
        harmless("packed again as it was", |repo| {
            bundled(repo);
            let again = packed(&members(repo), |_| {});
            assert!(again == unpacked(repo), "an archive of the same bytes");
            repo.write("../audit.tar.zst", compressed(&again));
        })
        .ask(&["../audit.tar.zst"]),
        repacked("an output with other bytes", |_, members| {
            let output = members
                .iter_mut()
                .find(|(_, name, _)| name == "workspace/out/count.txt")
                .expect("an output");
            output.2[0] ^= 1;
        })
        .finds(&["E-BUNDLE"]),
        repacked("receipts without one line", |_, members| {
            let receipts = members
                .iter_mut()
                .find(|(_, name, _)| name.ends_with(".jsonl"))
                .expect("receipts");
            let end = receipts.2.iter().position(|byte| *byte == b'\n').expect("a line");
            receipts.2.drain(..=end);
        })
        .finds(&["E-BUNDLE"]),
        repacked("the list removed", |_, members| drop(members.remove(0))).finds(&["E-BUNDLE"]),
        repacked("a member removed", |_, members| drop(members.pop())).finds(&["E-BUNDLE"]),
        repacked("members in another order", |_, members| members.swap(1, 2)).finds(&["E-BUNDLE"]),
        repacked("a list nested too deep", |_, members| {
            members[0].2 = b"[".repeat(100_000)
        })
        .finds(&["E-BUNDLE"]),
        repacked("a list with a key twice", |_, members| {
            let text = String::from_utf8_lossy(&members[0].2).replacen("{\"", "{\"version\":1,\"", 1);
            members[0].2 = text.into_bytes();
        })
        .finds(&["E-BUNDLE"]),
        attack("a bundle, and nobody is trusted", bundled)
            .ask(&["../audit.tar.zst"])
            .by_policy_in("nobody")
            .ends(6)
            .finds(&["E-ABSENT", "E-KEY"]),
        attack("a bundle, and a stranger is trusted", bundled)
            .ask(&["../audit.tar.zst"])
            .trusting("../stranger.pem")
            .finds(&["E-KEY"]),
        attack("a bundle of what was changed before", |repo| {
            let mut lines = repo.lines("{second}");
            lines[0] = crate::forge::envelope(&crate::forge::payload(&lines[0]), &repo.own().keyid(), &[7; 64]);
            bundled(repo);
            // The same names and sums, with a receipt whose signature does not fit.
            let mut members = members(repo);
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let receipts = members
                .iter_mut()
                .find(|(_, name, _)| name.ends_with(".jsonl"))
                .expect("receipts");
            receipts.2 = text.into_bytes();
            relist(&mut members);
            repo.write("../audit.tar.zst", compressed(&packed(&members, |_| {})));
        })
        .ask(&["../audit.tar.zst"])
        .says("E-SIG"),
    ]);
}

/// Makes the list say of every member what it is now.
fn relist(members: &mut Members) {
    let mut list: serde_json::Value = serde_json::from_slice(&members[0].2).expect("JSON");
    for entry in list["members"].as_array_mut().expect("a list") {
        let (_, _, bytes) = members
            .iter()
            .find(|(_, name, _)| entry["path"] == **name)
            .expect("a member");
        let digests = madmall::digest::Digests::of(bytes);
        entry["blake3"] = digests.blake3.to_hex().into();
        entry["sha256"] = digests.sha256.to_hex().into();
        entry["size"] = bytes.len().into();
    }
    members[0].2 = crate::forge::canonical(&list);
}
