//! The action cache: what the receipts under `runs/` say, each checked once.
//!
//! Receipts are the only word on what an action gave; this is an index of them that can be made again from `runs/` at
//! any time. It is sealed with a keyed BLAKE3 whose key derives from the signing key, so that nobody else can have
//! written it; one that does not open, or was made under another policy, is dropped, not repaired. A receipt is believed if the
//! user's own policy trusts its key for it (by default one's own key alone); those of others are kept only to compare with.

mod claim;
mod consent;
mod index;
mod kept;
mod run_lines;
mod spelled;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use memchr::memmem;
use rayon::prelude::*;

pub use self::claim::{Claim, ClaimedOutput, Raw};
use self::index::Index;
pub use self::kept::{Kept, Sealed};
use self::run_lines::RunLines;
use self::table::{Table, stage_key};
use super::ended::Ended;
use super::run_files::{read_each, run_files};
use super::{MAX_CACHE, StoreError, read_bounded};
use crate::canonical::CanonicalHasher;
use crate::digest::Digest;
use crate::receipt::envelope::Envelope;
use crate::receipt::run_file::{MAX_RUN_FILE, RUN_FILE_SUFFIX, RunFileName};
use crate::receipt::statement::{ReceiptId, STAGE_BUILD_TYPE, Statement};
use crate::receipt::trust::Trust;
use crate::workspace::Workspace;

/// The folder of receipts, relative to the workspace.
const RUNS: &str = "runs";

/// The index of receipts.
pub struct Believed {
    runs: Utf8PathBuf,
    index: Index,
    /// The file that was read from last.
    last_read: Mutex<Option<RunLines>>,
    changed: bool,
}

impl Believed {
    /// Reads the index at `file` for whoever opens it in a moment; `None` if there is none that opens.
    #[must_use]
    pub fn read(file: &Utf8Path, workspace: &Workspace, trust: &Trust, seal_key: &[u8; 32]) -> Option<Kept> {
        Kept::read(file, seal_key, Ended::of(workspace, trust).context())
    }

    /// Opens the index at `file`, which may have been read before as `kept`, and brings it up to date with the receipts in the folder of
    /// runs of `workspace`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] if `runs` is there and cannot be read.
    pub fn open(
        (file, kept): (&Utf8Path, Option<Kept>),
        workspace: &Workspace,
        trust: &Trust,
        seal_key: &[u8; 32],
    ) -> Result<Self, StoreError> {
        let runs = workspace.absolute(Utf8Path::new(RUNS));
        let ended = Ended::of(workspace, trust);
        let context = ended.context();
        let kept = kept.and_then(|kept| kept.if_still(file, seal_key, context));
        let kept = kept
            .or_else(|| kept::load(file, seal_key, context))
            .unwrap_or_else(|| Index::empty(context));
        let names = run_files(&runs)?;
        let is_new = |name: &&String| kept.file(name).is_none();
        let new = names.iter().filter(is_new).cloned().collect();
        let mut read = read_each(new, |name| read_run_file(&runs.join(name), name, trust, &ended));
        let mut files = Vec::with_capacity(names.len());
        for name in &names {
            let claims = if is_new(&name) { read.next().transpose()? } else { None };
            files.push((name.as_str(), claims));
        }
        drop(read);
        let changed = files.len() != kept.names().len() || files.iter().any(|(_, claims)| claims.is_some());
        let index = match changed {
            true => {
                let files: Vec<_> = files.iter().map(|(name, claims)| (*name, claims.as_deref())).collect();
                kept.with(&files).into_index()
            }
            false => kept,
        };
        Ok(Self {
            runs,
            index,
            last_read: Mutex::default(),
            changed,
        })
    }

    /// The index as its file holds it, if it has changed since it was opened; with the claims of a run that is `published` since,
    /// under the name of its file.
    #[must_use]
    pub fn sealed(&self, published: Option<&(String, Vec<Claim>)>, seal_key: &[u8; 32]) -> Option<Sealed<'_>> {
        if !self.changed && published.is_none() {
            return None;
        }
        let spelled = match published {
            Some((published, claims)) => {
                // A clock that was set back gives a name that stands before others.
                let mut names: Vec<_> = self.index.names().map(|name| (name, None)).collect();
                let place = names.partition_point(|(name, _)| *name < published.as_str());
                names.insert(place, (published, Some(claims.as_slice())));
                self.index.with(&names)
            }
            None => self.index.spelled(),
        };
        Some(Sealed::of(spelled, seal_key))
    }

    /// All that decides which receipts are believed, by the names of their files, for what lies in them never changes; as it is when a file
    /// more is `published`.
    #[must_use]
    pub fn state(&self, published: Option<&str>) -> Digest {
        let names: BTreeSet<&str> = self.index.names().chain(published).collect();
        let mut hasher = CanonicalHasher::new("madmall receipts that are known v1");
        hasher.digest(self.index.context);
        hasher.list(&names, |h, name| {
            h.str(name);
        });
        hasher.finish()
    }

    /// The claims of `action`, oldest first.
    fn of_action(&self, action: Digest) -> impl DoubleEndedIterator<Item = Claim> {
        let alike = self.index.about(Table::Action, action.as_bytes());
        alike.filter(move |claim| claim.action == action)
    }

    /// The newest believed receipt of a success of `action`, unless what it gave is to be made anew: a folder of which
    /// receipts say something else by now.
    #[must_use]
    pub fn lookup(&self, action: Digest) -> Option<Claim> {
        let mut newest_first = self.of_action(action).rev();
        let newest = newest_first.find(|claim| claim.believed && claim.succeeded);
        newest.filter(|newest| self.is_last_word(newest))
    }

    /// All successes of `action` that somebody else's key signed.
    pub fn by_others(&self, action: Digest) -> impl Iterator<Item = Claim> {
        self.of_action(action)
            .filter(|claim| !claim.believed && claim.succeeded)
    }

    /// The believed receipts of a stage by its name, newest first.
    pub fn of_stage(&self, pipeline: &str, stage: &str) -> impl Iterator<Item = Claim> {
        self.of_stage_by_anyone(pipeline, stage).filter(|claim| claim.believed)
    }

    /// The receipts of a stage by its name, newest first, whoever signed them.
    pub fn of_stage_by_anyone(&self, pipeline: &str, stage: &str) -> impl Iterator<Item = Claim> {
        let alike = self.index.about(Table::Stage, &stage_key(pipeline, stage)).rev();
        alike.filter(move |claim| claim.pipeline == pipeline && claim.stage == stage)
    }

    /// What the receipt `id` says, if it is here and believed.
    #[must_use]
    pub fn by_receipt(&self, id: ReceiptId) -> Option<Claim> {
        let mut alike = self.index.about(Table::Receipt, id.as_bytes());
        alike.find(|claim| claim.id == id && claim.believed)
    }

    /// All receipts of stages, oldest first, whoever signed them.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = Claim> {
        self.index.all()
    }

    /// Whether a believed receipt claims an output with these bytes.
    #[must_use]
    pub fn is_claimed(&self, digest: Digest) -> bool {
        self.gives(Table::Output, digest)
    }

    fn gives(&self, table: Table, digest: Digest) -> bool {
        let mut alike = self.index.about(table, digest.as_bytes());
        alike.any(|claim| claim.outputs.iter().any(|output| output.digests.blake3() == digest))
    }

    /// Whether there is any receipt of a stage.
    #[must_use]
    pub fn knows_any(&self) -> bool {
        self.index.knows(Table::Action)
    }

    /// Whether any believed receipt claims a personal output.
    #[must_use]
    pub fn knows_personal(&self) -> bool {
        self.index.knows(Table::Personal)
    }

    /// Whether a believed receipt claims a personal output by this keyed digest.
    #[must_use]
    pub fn is_personal(&self, keyed: Digest) -> bool {
        self.gives(Table::Personal, keyed)
    }

    /// Whether any believed receipt says anything of consent.
    #[must_use]
    pub fn knows_consent(&self) -> bool {
        self.index.knows(Table::Carrier)
    }

    /// The whole statement of a claim, read again from its file. `None` if it is no longer there as it was.
    #[must_use]
    pub fn statement(&self, claim: &Claim) -> Option<Statement> {
        let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        // What is asked of many stages is mostly in one file.
        if last_read.as_ref().is_none_or(|read| !read.is_of(&claim.run)) {
            let path = self.runs.join(format!("{}{RUN_FILE_SUFFIX}", claim.run));
            *last_read = RunLines::open(&claim.run, &path);
        }
        let line = last_read.as_mut()?.line(claim.line as usize)?;
        let envelope = Envelope::parse(line).ok()?;
        // It was read strictly when it came into the index.
        (envelope.receipt_id() == claim.id).then(|| Statement::parse_known(envelope.payload()))?
    }
}

/// Drops the index at `file` if it has anything of the run `run`, whose receipts may be others from now on. What knows nothing of it
/// stays: to make an index again takes reading all that was ever run.
///
/// # Errors
///
/// [`StoreError::Write`] if it cannot be removed.
pub fn forget_run(file: &Utf8Path, run: &str) -> Result<(), StoreError> {
    // The names of files stand in it as they are.
    let knows = |bytes: Vec<u8>| memmem::find(&bytes, run.as_bytes()).is_some();
    if read_bounded(file, MAX_CACHE).is_some_and(|bytes| !knows(bytes)) {
        return Ok(());
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| StoreError::Write {
            path: file.to_owned(),
            source,
        }),
    }
}

/// What the receipts of stages in a run's file say. A line that is no receipt, and one whose signature by a trusted key does not
/// hold, says nothing here; `verify` says what is wrong with it.
fn read_run_file(path: &Utf8Path, name: &str, trust: &Trust, ended: &Ended<'_>) -> Result<Vec<Claim>, StoreError> {
    let failed = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.len() > MAX_RUN_FILE {
        return Ok(Vec::new());
    }
    let bytes = fs::read(path).map_err(failed)?;
    // A countersignature has the run's receipts as its own file has them.
    let run = RunFileName::parse(name).map_or(name, |name| name.run);
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines: Vec<(u32, &[u8])> = (0..).zip(lines).collect();
    let read = |(number, line): (u32, &[u8])| read_claim(line, run, number, trust, ended);
    Ok(lines.into_par_iter().filter_map(read).collect())
}

fn read_claim(line: &[u8], run: &str, number: u32, trust: &Trust, ended: &Ended<'_>) -> Option<Claim> {
    let envelope = Envelope::parse(line).ok()?;
    let signer = trust.keys.iter().find(|key| key.keyid == envelope.keyid());
    if signer.is_some_and(|signer| envelope.verify_signature(&signer.key).is_err()) {
        return None;
    }
    let statement = Statement::parse(envelope.payload()).ok()?;
    let build = &statement.predicate.build_definition;
    if build.build_type != STAGE_BUILD_TYPE || statement.predicate.run_details.metadata.invocation_id != run {
        return None;
    }
    let believed = signer.is_some_and(|key| {
        key.refuses(&statement).is_none() && (key.end().is_none() || ended.was_logged(key, envelope.receipt_id()))
    });
    let claim = Claim::of(envelope.receipt_id(), envelope.keyid(), &statement, number)?;
    Some(Claim { believed, ..claim })
}

#[cfg(test)]
mod tests {
    use super::spelled::tests::of_one_file;
    use super::*;
    use crate::commitment::{Commitment, Shape};
    use crate::consent::purposes::NONE;
    use crate::digest::{Digests, Sha256};
    use crate::listing::ArtifactDigests;
    use crate::stamp::Stamp;
    use crate::store::atomic;

    /// One of two digests that begin alike.
    fn alike(what: u8, last: u8) -> [u8; 32] {
        let mut bytes = [what; 32];
        bytes[31] = last;
        bytes
    }

    fn claim(last: u8) -> Claim {
        let digest = |what| Digest::from_bytes(alike(what, last));
        let output = |name: &str, digests| ClaimedOutput {
            name: name.to_owned(),
            path: format!("out/{name}"),
            digests,
            executable: false,
            consent: Some(format!("{name} {last}")),
            is_declassified: false,
        };
        let plain = ArtifactDigests::File(Digests {
            blake3: digest(1),
            sha256: Sha256::of(b"plain"),
        });
        let keyed = ArtifactDigests::Keyed(Commitment {
            shape: Shape::File,
            blake3: digest(2),
            sha256: Sha256::of(b"keyed"),
            key: Sha256::of(b"secret"),
        });
        Claim {
            id: ReceiptId::from_bytes(alike(3, last)),
            run: "run".into(),
            line: last.into(),
            believed: true,
            keyid: ReceiptId::of(b"key").into(),
            pipeline: "p".into(),
            stage: format!("s{last}"),
            action: digest(4),
            succeeded: true,
            outputs: vec![output("keyed", keyed), output("plain", plain)],
            tools: Vec::new(),
            raw: vec![Raw {
                path: "raw".to_owned(),
                digest: digest(5),
                is_made: false,
                is_unlisted: false,
            }],
        }
    }

    fn believed(claims: &[Claim]) -> Believed {
        Believed {
            runs: "runs".into(),
            index: of_one_file("run", claims),
            last_read: Mutex::default(),
            changed: false,
        }
    }

    fn consents_of(known: &Believed, digest: Digest) -> Vec<String> {
        known.consents_of(&[digest], "anywhere".into(), &[])
    }

    #[test]
    fn an_index_is_dropped_only_for_a_run_that_it_knows() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = Utf8PathBuf::from_path_buf(folder.path().join("believed")).expect("UTF-8");
        forget_run(&file, "run").expect("there is none");
        let index = of_one_file("2026-run", &[claim(1)]);
        atomic::write_cache(&file, Sealed::of(index.spelled(), &[7; 32]).parts()).expect("written");
        let before = Stamp::of(&file).expect("it is there");
        forget_run(&file, "2026-other").expect("it stays");
        assert_eq!(Stamp::of(&file).expect("it stayed"), before);
        forget_run(&file, "2026-run").expect("it goes");
        assert!(!file.exists());
    }

    #[test]
    fn what_begins_alike_is_told_apart() {
        let claims = [claim(1), claim(2)];
        let known = believed(&claims);
        for (at, last) in [1, 2].into_iter().enumerate() {
            let digest = |what| Digest::from_bytes(alike(what, last));
            let this = Some(&claims[at]);
            assert_eq!(known.lookup(digest(4)).as_ref(), this);
            assert_eq!(known.by_receipt(ReceiptId::from_bytes(alike(3, last))).as_ref(), this);
            assert_eq!(known.of_stage("p", &format!("s{last}")).next().as_ref(), this);
            assert!(known.is_claimed(digest(1)) && known.is_claimed(digest(2)));
            assert!(known.is_personal(digest(2)) && !known.is_personal(digest(1)));
            assert_eq!(consents_of(&known, digest(1)), [format!("plain {last}")]);
            assert_eq!(consents_of(&known, digest(5)), [NONE]);
            assert_eq!(known.consent_giver(digest(2)).as_ref(), this);
            assert_eq!(known.consent_giver(digest(5)).as_ref(), this);
        }
        let other = |what| Digest::from_bytes(alike(what, 3));
        assert_eq!(known.lookup(other(4)), None);
        assert_eq!(known.by_receipt(ReceiptId::from_bytes(alike(3, 3))), None);
        assert!(!known.is_claimed(other(1)) && !known.is_personal(other(2)));
        assert_eq!(
            (consents_of(&known, other(1)), known.consent_giver(other(5))),
            (Vec::new(), None)
        );
    }

    #[test]
    fn the_newest_believed_success_counts_and_what_others_sign_is_kept_apart() {
        let failed = Claim {
            succeeded: false,
            line: 1,
            ..claim(1)
        };
        let foreign = Claim {
            believed: false,
            line: 2,
            ..claim(1)
        };
        let newer = Claim { line: 3, ..claim(1) };
        let action = newer.action;
        let known = believed(&[failed.clone(), foreign.clone()]);
        assert_eq!(known.lookup(action), None);
        assert_eq!(
            known.by_others(action).collect::<Vec<_>>(),
            std::slice::from_ref(&foreign)
        );
        assert!(!known.is_claimed(Digest::from_bytes(alike(1, 1))) && !known.knows_personal());
        assert_eq!(
            known.of_stage("p", "s1").collect::<Vec<_>>(),
            std::slice::from_ref(&failed)
        );
        // A failure says what it has read, and so whose consent that takes.
        assert!(known.knows_consent());
        let known = believed(&[claim(1), newer.clone(), foreign.clone()]);
        assert_eq!(known.lookup(action), Some(newer));
        assert_eq!(known.of_stage_by_anyone("p", "s1").next(), Some(foreign.clone()));
        let known = believed(&[foreign]);
        assert!(!known.knows_consent() && known.by_receipt(ReceiptId::from_bytes(alike(3, 1))).is_none());
    }
}
