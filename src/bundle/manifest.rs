//! `bundle.json`: what is in a bundle, and what was left out.
//!
//! Canonical JSON (RFC 8785), fields in the byte order of their names, one spelling. Nothing in it is signed: it says what the
//! archive holds, so that a reader knows before it unpacks; what is true is for the receipts to say.

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::collisions::check_collisions;
use super::proofs::is_name;
use super::{KEYS, PROOFS, WORKSPACE};
use crate::digest::{Digest, Digests, Sha256};
use crate::receipt::check::is_run_id;
use crate::receipt::run_file::RUN_FILE_SUFFIX;

/// The version of the format.
pub const VERSION: u32 = 1;
/// The longest name of a member, in bytes.
pub const MAX_NAME: usize = 4096;
/// No name of a member has more parts, so that nobody's folders in folders take long to look at. Real ones have ten or twenty.
pub const MAX_PARTS: usize = 128;
/// No member is longer: larger numbers are not exact in every reader of JSON.
const MAX_SIZE: u64 = 1 << 53;

/// What is in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Manifest {
    /// What was asked for, or belongs to it, and is not in it. Sorted.
    pub left_out: Vec<LeftOut>,
    /// Everything but `bundle.json` itself, sorted by the bytes of the paths.
    pub members: Vec<Member>,
    /// The run that it was made for.
    pub run: String,
    /// [`VERSION`].
    pub version: u32,
}

/// What is not in a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// A path in the workspace, a key's or a receipt's id.
    pub name: String,
    /// Why, in words.
    pub why: String,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Of its bytes: 64 hexadecimal digits.
    #[serde(with = "blake3_hex")]
    pub blake3: Digest,
    /// Whether its owner may execute it; not written if not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub executable: bool,
    /// What it is.
    pub kind: Kind,
    /// Its name in the archive.
    pub path: Utf8PathBuf,
    /// Of its bytes: 64 hexadecimal digits.
    #[serde(with = "sha256_hex")]
    pub sha256: Sha256,
    /// How many bytes.
    pub size: u64,
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A public key.
    Key,
    /// A proof that a log has a receipt.
    Proof,
    /// The receipts of a run.
    Receipts,
    /// A file of a log.
    Log,
    /// A pipeline file, a stage file.
    Definition,
    /// An output.
    Artifact,
    /// A raw input.
    Input,
}

impl Kind {
    /// Whether a reader needs its bytes, and not its digests alone.
    #[must_use]
    pub const fn is_text(self) -> bool {
        !matches!(self, Self::Artifact | Self::Input)
    }

    /// Whether a member of this kind may have that name.
    fn fits(self, path: &Utf8Path) -> bool {
        let is_key = path.extension() == Some("pem");
        match path.as_str().split('/').collect::<Vec<_>>()[..] {
            [KEYS, _] => self == Self::Key && is_key,
            [PROOFS, name] => self == Self::Proof && is_name(name),
            [WORKSPACE, "runs", name] => self == Self::Receipts && name.ends_with(RUN_FILE_SUFFIX),
            [WORKSPACE, "runs", "log", _, ..] => self == Self::Log,
            [WORKSPACE, "runs", ..] => false,
            [WORKSPACE, _, ..] => matches!(self, Self::Definition | Self::Artifact | Self::Input),
            _ => false,
        }
    }
}

impl Member {
    /// Both digests.
    #[must_use]
    pub fn digests(&self) -> Digests {
        Digests {
            blake3: self.blake3,
            sha256: self.sha256,
        }
    }
}

impl Manifest {
    /// The bytes of `bundle.json`.
    ///
    /// # Errors
    ///
    /// What does not go together, in words, so that nothing is written that could not be read back.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        self.check()?;
        self.spell()
    }

    /// Reads what [`Manifest::to_bytes`] spells.
    ///
    /// # Errors
    ///
    /// Why it is anything else, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        // Read into its own shape, not into a tree of values: that would take many times the memory.
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        manifest.check()?;
        match manifest.spell()? == bytes {
            true => Ok(manifest),
            false => Err("it is not in canonical form (RFC 8785)".to_owned()),
        }
    }

    fn spell(&self) -> Result<Vec<u8>, String> {
        serde_json_canonicalizer::to_vec(self).map_err(|error| error.to_string())
    }

    fn check(&self) -> Result<(), String> {
        let version = self.version;
        require(version == VERSION, || {
            format!("version {version} is not known, only {VERSION}")
        })?;
        require(is_run_id(&self.run), || "`run` is no run id".to_owned())?;
        require(self.left_out.is_sorted(), || "`leftOut` is not sorted".to_owned())?;
        for pair in self.members.windows(2) {
            let order = pair[0].path.as_str().cmp(pair[1].path.as_str());
            require(order.is_lt(), || match order.is_eq() {
                true => format!("`{}` stands twice", shown(&pair[0].path)),
                false => format!("`{}` does not stand in order", shown(&pair[1].path)),
            })?;
        }
        for member in &self.members {
            check_member(member)?;
        }
        check_collisions(&self.members)?;
        let file = format!("{WORKSPACE}/runs/{}{RUN_FILE_SUFFIX}", self.run);
        let has_run = self
            .members
            .binary_search_by(|member| member.path.as_str().cmp(&file))
            .is_ok();
        require(has_run, || format!("the receipts of run `{}` are not in it", self.run))
    }
}

fn check_member(member: &Member) -> Result<(), String> {
    let path = &member.path;
    require(is_plain(path.as_str()), || {
        format!("`{}` is not a name that a bundle may hold", shown(path))
    })?;
    require(member.kind.fits(path), || {
        format!("`{}` is not where such a member has its place", shown(path))
    })?;
    require(member.size <= MAX_SIZE, || format!("`{}` is too large", shown(path)))?;
    require(!member.executable || !member.kind.is_text(), || {
        format!("`{}` must not be executable", shown(path))
    })
}

/// Whether every system takes `name` for the same relative path that stays below where it begins.
#[must_use]
pub fn is_plain(name: &str) -> bool {
    let is_part = |part: &str| !matches!(part, "" | "." | "..");
    let is_short = name.len() <= MAX_NAME && name.split('/').count() <= MAX_PARTS;
    is_short && name.split('/').all(is_part) && !name.contains(|c: char| c.is_control() || c == '\\')
}

pub(super) fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// A name that somebody else chose, in one line.
pub(super) fn shown(name: &Utf8Path) -> String {
    name.as_str().chars().take(200).flat_map(char::escape_debug).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

macro_rules! as_hex {
    ($module:ident, $digest:ty) => {
        mod $module {
            use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

            pub(super) fn serialize<S: Serializer>(digest: &$digest, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&digest.to_hex())
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$digest, D::Error> {
                let text = String::deserialize(deserializer)?;
                <$digest>::from_hex(&text).map_err(D::Error::custom)
            }
        }
    };
}
as_hex!(blake3_hex, crate::digest::Digest);
as_hex!(sha256_hex, crate::digest::Sha256);

#[cfg(test)]
mod tests {
    use super::*;

    fn member(path: &str, kind: Kind) -> Member {
        let digests = Digests::of(b"x");
        Member {
            blake3: digests.blake3,
            executable: false,
            kind,
            path: path.into(),
            sha256: digests.sha256,
            size: 1,
        }
    }

    fn manifest(more: &[(&str, Kind)]) -> Manifest {
        let own = ("workspace/runs/r.intoto.jsonl", Kind::Receipts);
        let mut members: Vec<Member> = more
            .iter()
            .chain([&own])
            .map(|(path, kind)| member(path, *kind))
            .collect();
        members.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
        Manifest {
            left_out: Vec::new(),
            members,
            run: "r".to_owned(),
            version: VERSION,
        }
    }

    #[test]
    fn it_reads_back_and_has_one_spelling() {
        let manifest = manifest(&[("workspace/a", Kind::Artifact), ("keys/0.pem", Kind::Key)]);
        let bytes = manifest.to_bytes().expect("well formed");
        assert_eq!(Manifest::parse(&bytes), Ok(manifest));
        let text = String::from_utf8(bytes).expect("UTF-8");
        for other in [
            text.replace("\"run\":", "\"run\": "),
            text.replace("\"run\":\"r\"", "\"run\":\"r\",\"run\":\"r\""),
            text.replace("\"version\":1", "\"version\":2"),
            text.replace("\"version\":1", "\"version\":1,\"x\":0"),
            text.replace("\"size\":1", "\"size\":1.5"),
            text.replace("\"size\":1", "\"size\":9007199254740994"),
            text.replace("\"kind\":\"key\"", "\"executable\":true,\"kind\":\"key\""),
            format!("{text}\n"),
        ] {
            assert_ne!(other, text);
            assert!(Manifest::parse(other.as_bytes()).is_err(), "{other}");
        }
    }

    #[test]
    fn no_name_has_more_parts_than_are_looked_at() {
        let named = |parts: usize| "workspace".to_owned() + &"/a".repeat(parts - 1);
        let refused = |parts: usize| manifest(&[(&named(parts), Kind::Artifact)]).to_bytes();
        assert!(refused(MAX_PARTS).is_ok());
        let why = refused(MAX_PARTS + 1).expect_err("too deep");
        assert!(why.contains("is not a name that a bundle may hold"), "{why}");
    }

    #[test]
    fn names_that_lead_out_collide_or_lie_elsewhere_are_refused() {
        let bad = [
            "workspace/../x",
            "workspace/./x",
            "workspace//x",
            "/workspace/x",
            "workspace/x/",
            "workspace/a\\b",
            "workspace/a\u{7f}",
            "workspace/a\nb",
            "x",
            "workspace",
            "workspace/runs/x",
        ];
        for path in bad {
            assert!(manifest(&[(path, Kind::Artifact)]).to_bytes().is_err(), "{path:?}");
        }
        for pair in [
            ["workspace/A", "workspace/a"],
            ["workspace/\u{e9}", "workspace/e\u{301}"],
            ["workspace/a", "workspace/a/b"],
            ["workspace/a", "workspace/A/b"],
            ["workspace/a/x", "workspace/A/y"],
            ["workspace/a", "workspace/a"],
        ] {
            let both = manifest(&[(pair[0], Kind::Artifact), (pair[1], Kind::Artifact)]);
            assert!(both.to_bytes().is_err(), "{pair:?}");
        }
        let kinds = [Kind::Artifact, Kind::Input, Kind::Definition];
        for kind in kinds {
            assert!(manifest(&[("workspace/a", kind)]).to_bytes().is_ok());
            assert!(manifest(&[("keys/a.pem", kind)]).to_bytes().is_err());
            assert!(manifest(&[("workspace/runs/log/x/y", kind)]).to_bytes().is_err());
        }
        assert!(manifest(&[("workspace/a", Kind::Receipts)]).to_bytes().is_err());
        let mut without = manifest(&[("workspace/a", Kind::Artifact)]);
        without.members.truncate(1);
        assert!(without.to_bytes().is_err());
    }
}
