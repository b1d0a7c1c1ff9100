//! Bundles taken apart and put together again, as somebody would who knows the format and has no key.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use camino::Utf8Path;
use madmall::bundle::manifest::{Kind, Manifest, Member};
use madmall::bundle::{Planned, Source, write};
use madmall::digest::Digests;

/// Members by name.
pub(crate) type Members = BTreeMap<String, Vec<u8>>;

/// The archive in a bundle.
pub(crate) fn unpacked(bundle: &[u8]) -> Vec<u8> {
    zstd::decode_all(bundle).expect("a frame")
}

/// A frame with that archive.
pub(crate) fn packed(archive: &[u8]) -> Vec<u8> {
    zstd::encode_all(archive, 1).expect("packed")
}

/// The members of a bundle with their bytes, and where those begin in the archive, as another implementation reads them.
fn entries(bundle: &[u8]) -> BTreeMap<String, (Vec<u8>, usize)> {
    let mut archive = tar::Archive::new(Cursor::new(unpacked(bundle)));
    let entries = archive.entries().expect("an archive");
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.expect("a member");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("readable");
        let place = usize::try_from(entry.raw_file_position()).expect("in memory");
        let name = entry.path().expect("a name").to_str().expect("UTF-8").to_owned();
        (name, (bytes, place))
    };
    entries.map(read).collect()
}

/// The members of a bundle.
pub(crate) fn members(bundle: &[u8]) -> Members {
    entries(bundle)
        .into_iter()
        .map(|(name, (bytes, _))| (name, bytes))
        .collect()
}

/// Where the bytes of each member begin in the archive.
pub(crate) fn places(bundle: &[u8]) -> BTreeMap<String, usize> {
    entries(bundle)
        .into_iter()
        .map(|(name, (_, place))| (name, place))
        .collect()
}

/// A bundle of these members, its list made to fit.
pub(crate) fn forged(members: &Members) -> Vec<u8> {
    let mut manifest = Manifest::parse(&members["bundle.json"]).expect("its list");
    let known: BTreeMap<_, _> = manifest
        .members
        .iter()
        .map(|member| (member.path.clone(), member.clone()))
        .collect();
    let others = members.iter().filter(|(name, _)| *name != "bundle.json");
    let member = |(name, bytes): (&String, &Vec<u8>)| {
        let digests = Digests::of(bytes);
        let before = known.get(Utf8Path::new(name));
        Member {
            blake3: digests.blake3,
            executable: before.is_some_and(|member| member.executable),
            kind: match before {
                Some(member) => member.kind,
                None if name.ends_with(".intoto.jsonl") => Kind::Receipts,
                None => Kind::Input,
            },
            path: name.into(),
            sha256: digests.sha256,
            size: bytes.len() as u64,
        }
    };
    manifest.members = others.clone().map(member).collect();
    let planned = Planned {
        manifest,
        sources: others.map(|(_, bytes)| Source::Bytes(bytes.clone())).collect(),
    };
    let mut bytes = Vec::new();
    write(&planned, &mut bytes).expect("written");
    bytes
}
