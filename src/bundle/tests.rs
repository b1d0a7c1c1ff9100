//! What is written can be read, and nothing else can.

use std::io::Cursor;

use camino::Utf8Path;
use proptest::prelude::*;
use tar::EntryType;

use super::manifest::{Kind, LeftOut, Manifest, Member, VERSION};
use super::read::{Bundle, BundleError, Limits};
use super::write::{Planned, Source, write};
use super::{END, header};
use crate::digest::Digests;
use crate::shared_path::SharedPath;
use crate::tree::{EntryKind, Site as _, Tree as _};

const RUN: &str = "workspace/runs/r.intoto.jsonl";

fn planned(members: &[(&str, Kind, &[u8])]) -> Planned {
    let mut members = members.to_vec();
    members.sort();
    let member = |(path, kind, bytes): &(&str, Kind, &[u8])| {
        let digests = Digests::of(bytes);
        Member {
            blake3: digests.blake3,
            executable: *kind == Kind::Artifact,
            kind: *kind,
            path: (*path).into(),
            sha256: digests.sha256,
            size: bytes.len() as u64,
        }
    };
    Planned {
        manifest: Manifest {
            left_out: Vec::new(),
            members: members.iter().map(member).collect(),
            run: "r".to_owned(),
            version: VERSION,
        },
        sources: members
            .iter()
            .map(|(.., bytes)| Source::Bytes(bytes.to_vec()))
            .collect(),
    }
}

/// An artifact, an input, a definition, the receipts, a file of a log.
fn sample() -> Planned {
    planned(&[
        (RUN, Kind::Receipts, b"receipts\n"),
        ("workspace/a/b", Kind::Artifact, &[7; 700]),
        ("workspace/in", Kind::Input, b""),
        ("workspace/p.yaml", Kind::Definition, b"version: 1\n"),
        ("workspace/runs/log/0/checkpoint-1", Kind::Log, b"checkpoint"),
    ])
}

fn packed(planned: &Planned) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(planned, &mut bytes).expect("written");
    bytes
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    zstd::decode_all(bytes).expect("a frame")
}

fn repacked(archive: &[u8]) -> Vec<u8> {
    zstd::encode_all(archive, 1).expect("memory can be written")
}

fn read(bytes: &[u8]) -> Result<Bundle, BundleError> {
    Bundle::read(bytes, &Limits::default())
}

#[track_caller]
fn refused(bytes: &[u8], why: &str) {
    let error = read(bytes).expect_err("must be refused").to_string();
    assert!(error.contains(why), "`{why}` is not in: {error}");
}

#[test]
fn what_is_written_reads_back_as_a_site() {
    let bundle = read(&packed(&sample())).expect("a bundle");
    let path = Utf8Path::new;
    assert_eq!(bundle.run(), "r");
    assert_eq!(
        bundle.kind(path("a/b")).ok(),
        Some(Some(EntryKind::File { executable: true }))
    );
    assert_eq!(bundle.kind(path("a")).ok(), Some(Some(EntryKind::Folder)));
    assert_eq!(bundle.kind(path("")).ok(), Some(Some(EntryKind::Folder)));
    assert_eq!(bundle.kind(path("b")).ok(), Some(None));
    assert_eq!(
        bundle.real_path(path("a/b")).ok().flatten().as_deref(),
        Some(path("a/b"))
    );
    assert_eq!(bundle.digests(path("a/b")).ok(), Some(Digests::of(&[7; 700])));
    assert!(bundle.read(path("a/b"), 1000).is_err(), "only its digests are kept");
    assert_eq!(
        bundle.read(path("p.yaml"), 1000).ok().as_deref(),
        Some(&b"version: 1\n"[..])
    );
    assert!(bundle.read(path("p.yaml"), 3).is_err());
    let below: Vec<_> = bundle
        .files_below(path(""))
        .expect("listed")
        .into_iter()
        .map(|below| below.path)
        .collect();
    assert_eq!(below, ["a/b", "in", "p.yaml"].map(SharedPath::from));
    let entries = |folder, depth, most| {
        let entries = bundle.entries(path(folder), depth, most).expect("listed").into_iter();
        entries.map(|entry| entry.path.into_string()).collect::<Vec<_>>()
    };
    assert_eq!(entries("runs", 1, 9), ["runs/log", "runs/r.intoto.jsonl"]);
    assert_eq!(entries("runs/log", 9, 9), ["runs/log/0", "runs/log/0/checkpoint-1"]);
    assert_eq!(entries("runs/log", 9, 1).len(), 1);
    assert_eq!(entries("nowhere", 9, 9), Vec::<String>::new());
    assert!(bundle.is_excerpt() && bundle.folder().is_none());
}

#[test]
fn the_same_members_are_the_same_bytes_and_other_bytes_are_not_written() {
    assert_eq!(packed(&sample()), packed(&sample()));
    for bytes in [&b"x"[..], &[7; 699], &[7; 701], &[8; 700]] {
        let mut changed = sample();
        changed.sources[0] = Source::Bytes(bytes.to_vec());
        assert!(write(&changed, &mut Vec::new()).is_err());
    }
}

#[test]
fn long_names_read_back() {
    let name = format!("workspace/{}/é", ["x".repeat(200), "y".repeat(200)].join("/"));
    let long = planned(&[(RUN, Kind::Receipts, b"r"), (&name, Kind::Input, b"1")]);
    let bundle = read(&packed(&long)).expect("a bundle");
    let path = name.strip_prefix("workspace/").expect("in it");
    assert_eq!(bundle.digests(path.into()).ok(), Some(Digests::of(b"1")));
}

#[test]
fn cut_off_anywhere_it_is_refused() {
    let whole = packed(&sample());
    for length in 0..whole.len() {
        refused(&whole[..length], "cut off");
    }
    let archive = unpacked(&whole);
    for length in (0..archive.len()).step_by(7) {
        assert!(read(&repacked(&archive[..length])).is_err(), "{length}");
    }
}

#[test]
fn no_bit_of_the_archive_can_change_unseen() {
    let archive = unpacked(&packed(&sample()));
    for place in 0..archive.len() {
        let mut changed = archive.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(read(&repacked(&changed)).is_err(), "byte {place}");
    }
}

#[test]
fn a_changed_byte_of_the_frame_is_refused_or_changes_nothing() {
    let whole = packed(&sample());
    let digests = |bundle: &Bundle| -> Vec<_> { bundle.files.values().map(|held| held.digests).collect() };
    let wanted = digests(&read(&whole).expect("a bundle"));
    for place in 0..whole.len() {
        let mut changed = whole.clone();
        changed[place] ^= 1 << (place % 8);
        if let Ok(bundle) = read(&changed) {
            assert_eq!(digests(&bundle), wanted, "byte {place}");
        }
    }
}

#[test]
fn nothing_may_stand_before_or_after_it() {
    let whole = packed(&sample());
    let archive = unpacked(&whole);
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0];
    refused(&[&whole[..], b"\0"].concat(), "follows its end");
    refused(&[&whole[..], &whole].concat(), "follows its end");
    refused(&[&whole[..], &skippable].concat(), "follows its end");
    refused(&[&skippable[..], &whole].concat(), "does not begin");
    refused(&repacked(&[&archive[..], &[0; 512]].concat()), "follows its end");
    refused(&repacked(&[&archive[..], b"x"].concat()), "follows its end");
    let more = [
        &archive[..archive.len() - END.len()],
        &header::spell("workspace/z", 0, false),
        &END,
    ]
    .concat();
    refused(&repacked(&more), "is not in its list");
    refused(b"no archive at all", "does not begin");
    refused(&repacked(b"no archive at all"), "cut off");
    refused(&repacked(&[0; 2048]), "ends before it");
}

/// The archive up to where the member `workspace/a/b` begins, its own blocks, and the rest.
fn parts(archive: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
    let wanted = header::spell("workspace/a/b", 700, true);
    let place = archive
        .windows(wanted.len())
        .position(|window| window == wanted)
        .expect("it is there");
    let end = place + wanted.len() + 1024;
    (
        archive[..place].to_vec(),
        archive[place..end].to_vec(),
        archive[end..].to_vec(),
    )
}

/// A header as another implementation spells it.
fn theirs(name: &str, kind: EntryType, size: u64, edit: impl FnOnce(&mut tar::Header)) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(kind);
    edit(&mut header);
    header::seal(header.as_mut_bytes());
    header.as_bytes().to_vec()
}

#[test]
fn what_is_no_regular_file_is_refused_by_its_kind() {
    let (before, own, after) = parts(&unpacked(&packed(&sample())));
    let kinds = [
        (EntryType::Symlink, "a symbolic link"),
        (EntryType::Link, "a hard link"),
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a pipe"),
        (EntryType::Directory, "a folder"),
        (EntryType::GNUSparse, "a sparse file"),
        (EntryType::GNULongName, "a long name"),
        (EntryType::GNULongLink, "a long name"),
        (EntryType::XHeader, "a pax header"),
        (EntryType::XGlobalHeader, "a pax header"),
        (EntryType::Continuous, "no regular file"),
        (EntryType::new(b'?'), "no regular file"),
    ];
    for (kind, why) in kinds {
        let link = |header: &mut tar::Header| header.set_link_name("/etc/passwd").expect("short");
        let in_place = theirs("workspace/a/b", kind, 0, link);
        refused(&repacked(&[&before[..], &in_place, &after].concat()), why);
        // The same before the member that belongs there.
        refused(&repacked(&[&before[..], &in_place, &own, &after].concat()), why);
    }
}

#[test]
fn a_header_that_says_anything_else_is_refused() {
    let (before, own, after) = parts(&unpacked(&packed(&sample())));
    let content = &own[512..];
    type Edit = fn(&mut tar::Header);
    let edits: [(&str, Edit); 7] = [
        ("size", |header| header.set_size(699)),
        ("size", |header| header.set_size(1 << 40)),
        ("mode", |header| header.set_mode(0o4755)),
        ("time", |header| header.set_mtime(1)),
        ("owner", |header| header.set_uid(1000)),
        ("spelling", |header| header.set_username("root").expect("short")),
        ("spelling", |header| header.set_device_major(1).expect("ustar")),
    ];
    for (part, edit) in edits {
        let changed = theirs("workspace/a/b", EntryType::Regular, 700, edit);
        refused(&repacked(&[&before[..], &changed, content, &after].concat()), part);
    }
    let same = theirs("workspace/a/b", EntryType::Regular, 700, |_| {});
    assert!(read(&repacked(&[&before[..], &same, content, &after].concat())).is_ok());
    for name in [
        "/workspace/a/b",
        "workspace/a/../b",
        "workspace/A/b",
        "../../a/b",
        "workspace/a/b/",
    ] {
        let changed = theirs(name, EntryType::Regular, 700, |_| {});
        refused(
            &repacked(&[&before[..], &changed, content, &after].concat()),
            "in its place stands",
        );
    }
    refused(
        &repacked(&[&before[..], &own, &own, &after].concat()),
        "in its place stands `workspace/a/b`",
    );
    refused(
        &repacked(&[&before[..], &after].concat()),
        "in its place stands `workspace/in`",
    );
}

/// An archive whose list is spelled by hand, with nothing after it.
fn with_list(list: &str) -> Vec<u8> {
    let mut archive = header::spell("bundle.json", list.len() as u64, false);
    archive.extend(list.as_bytes());
    archive.resize(archive.len() + header::padding(list.len() as u64), 0);
    archive.extend(END);
    repacked(&archive)
}

#[test]
fn a_list_that_leads_out_or_names_twice_is_refused_before_anything_else_is_read() {
    let list = String::from_utf8(sample().manifest.to_bytes().expect("spelled")).expect("UTF-8");
    for (name, why) in [
        ("workspace/../b", "not a name"),
        ("workspace/a\\\\b", "not a name"),
        ("workspace/a/b/", "not a name"),
        ("workspace/\\u0000", "not a name"),
        ("/workspace/a/b", "not a name"),
        ("out/a/b", "has its place"),
        ("workspace/IN", "same name as another"),
        ("workspace/P.YAML/x", "a file and a folder"),
        ("workspace/in", "stands twice"),
        ("workspace/z", "in order"),
    ] {
        let changed = list.replace("workspace/a/b", name);
        assert_ne!(changed, list);
        refused(&with_list(&changed), why);
    }
    refused(
        &with_list(&list.replace("\"version\":1", "\"version\":2")),
        "is not known",
    );
    refused(&with_list(&list.replace("{\"leftOut\"", "{ \"leftOut\"")), "canonical");
    refused(&with_list("[]"), "is wrong");
    refused(&with_list(&list), "the archive ends before it");
}

#[test]
fn a_bomb_is_refused_and_whoever_expects_it_may_read_it() {
    let zeros = vec![0; 24 << 20];
    let bomb = packed(&planned(&[
        (RUN, Kind::Receipts, b"r"),
        ("workspace/zeros", Kind::Artifact, &zeros),
    ]));
    assert!(bomb.len() < 10_000);
    refused(&bomb, "200 times its size");
    let limits = |unpacked| Limits {
        unpacked,
        ratio: None,
        ..Limits::default()
    };
    assert!(Bundle::read(&bomb[..], &limits(25 << 20)).is_ok());
    let error = Bundle::read(&bomb[..], &limits(20 << 20)).expect_err("refused");
    assert!(matches!(error, BundleError::TooLarge(_)), "{error}");
    // One that does not even say what it unpacks to.
    let error = read(&repacked(&zeros)).expect_err("refused").to_string();
    assert!(error.contains("ends before it"), "{error}");
    let mut list = header::spell("bundle.json", 30 << 20, false);
    list.resize(25 << 20, b' ');
    refused(&repacked(&list), "200 times its size");
    refused(&repacked(&header::spell("bundle.json", 33 << 20, false)), "longer than");
}

#[test]
fn counts_and_texts_are_bounded() {
    let whole = packed(&sample());
    let with = |edit: fn(&mut Limits)| {
        let mut limits = Limits::default();
        edit(&mut limits);
        Bundle::read(&whole[..], &limits).expect_err("refused").to_string()
    };
    assert!(with(|limits| limits.members = 4).contains("more than 4 members"));
    assert!(with(|limits| limits.text = 29).contains("more than 29 bytes"));
    assert!(with(|limits| limits.list = 100).contains("longer than 100 bytes"));
    assert!(with(|limits| limits.unpacked = 3000).contains("more than 3000 bytes"));
    assert!(
        Bundle::read(
            &whole[..],
            &Limits {
                members: 5,
                text: 30,
                ..Limits::default()
            }
        )
        .is_ok()
    );
}

#[test]
fn what_the_list_announces_is_weighed_before_it_is_unpacked() {
    let list = String::from_utf8(sample().manifest.to_bytes().expect("spelled")).expect("UTF-8");
    let limits = Limits {
        unpacked: 512 + list.len() as u64 + header::padding(list.len() as u64) as u64 + 600,
        ..Limits::default()
    };
    // Nothing follows the list; whoever unpacked on would say that.
    let error = Bundle::read(&with_list(&list)[..], &limits).expect_err("refused");
    assert!(matches!(error, BundleError::TooLarge(_)), "{error}");
}

#[test]
fn a_frame_that_wants_much_memory_is_refused() {
    let archive = unpacked(&packed(&sample()));
    for (window, is_taken) in [(23, true), (24, false), (27, false)] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
        encoder.window_log(window).expect("a window");
        std::io::copy(&mut Cursor::new(&archive), &mut encoder).expect("written");
        let frame = encoder.finish().expect("a frame");
        assert_eq!(read(&frame).is_ok(), is_taken, "{window}");
    }
}

#[test]
fn what_was_left_out_is_read_and_a_key_has_its_own_name() {
    let mut left = sample();
    left.manifest.left_out.push(LeftOut {
        name: "x".to_owned(),
        why: "gone".to_owned(),
    });
    assert_eq!(read(&packed(&left)).expect("a bundle").left_out().len(), 1);
    let key = crate::receipt::key::SigningKey::from_seed(&[1; 32]).public();
    let name = format!("keys/{}.pem", key.keyid());
    let pem = key.to_pem();
    let with = |name: &str, pem: &str| {
        packed(&planned(&[
            (RUN, Kind::Receipts, b"r"),
            (name, Kind::Key, pem.as_bytes()),
        ]))
    };
    assert!(read(&with(&name, &pem)).is_ok());
    refused(&with("keys/0.pem", &pem), "not the public key of that name");
    refused(&with(&name, &format!("{pem}\n")), "not the public key of that name");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, place: prop::sample::Index, list: String) {
        let _ = read(&bytes);
        let _ = read(&repacked(&bytes));
        let _ = read(&with_list(&list));
        let _ = read(&repacked(&[header::spell("bundle.json", bytes.len() as u64, false), bytes.clone()].concat()));
        let mut whole = packed(&sample());
        let mut archive = unpacked(&whole);
        let (at, within) = (place.index(whole.len()), place.index(archive.len()));
        whole.splice(at..whole.len().min(at + bytes.len()), bytes.iter().copied());
        archive.splice(within..archive.len().min(within + bytes.len()), bytes.iter().copied());
        let _ = read(&whole);
        let _ = read(&repacked(&archive));
    }
}
