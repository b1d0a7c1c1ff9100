//! Every receipt under `runs/`, read strictly and its signature checked.

use std::collections::{BTreeMap, HashMap, HashSet};

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::VerifyError;
use super::kept::Kept;
use super::report::{Code, Finding};
use crate::listing::ArtifactDigests;
use crate::receipt::digests::artifact_digests;
use crate::receipt::envelope::EnvelopeError;
use crate::receipt::key::KeyId;
use crate::receipt::run_file::{self, LinesError, MAX_RUN_FILE, RUN_FILE_SUFFIX, Receipt, RunFileName};
use crate::receipt::statement::{ReceiptId, Role, Statement};
use crate::receipt::trust::TrustedKey;
use crate::tree::{EntryKind, EntryType, Site, TreeError};

/// The folder of receipts, relative to the workspace.
pub(super) const RUNS: &str = "runs";

/// A receipt that is in its one spelling and, if its key is known, signed by it.
pub(super) struct Known {
    pub(super) file: Utf8PathBuf,
    pub(super) line: usize,
    pub(super) id: ReceiptId,
    pub(super) keyid: KeyId,
    /// Which of the trusted keys signed it; none if it is by somebody else.
    pub(super) signer: Option<usize>,
    /// If a trusted key signed it and may not, why: it then counts as by somebody else.
    pub(super) limit: Option<String>,
    pub(super) statement: Statement,
}

impl Known {
    /// Who signed a receipt that is not trusted, for people.
    pub(super) fn stranger(&self) -> String {
        match &self.limit {
            Some(limit) => format!("key {}: {limit}", self.keyid),
            None => format!("key {}", self.keyid),
        }
    }
}

/// All receipts that could be read. Links can be followed after [`Evidence::index`].
#[derive(Default)]
pub(super) struct Evidence {
    /// The files of receipts, sorted.
    pub(super) files: Vec<Utf8PathBuf>,
    /// By file, then line.
    pub(super) receipts: Vec<Known>,
    /// The place in `receipts`; that of a trusted signer if there are several.
    pub(super) by_id: HashMap<ReceiptId, usize>,
    /// The run's own receipt, by run id.
    pub(super) runs: BTreeMap<String, usize>,
}

/// So many files are read together: all of them count, or none.
const BATCH: usize = 16;
/// So many lines of a file are each said to be wrong; of the others, only how many they are.
const MAX_FAULTS: usize = 100;

/// What one file gave.
#[derive(Default)]
struct FileEvidence {
    receipts: Vec<Known>,
    findings: Vec<Finding>,
}

/// Reads everything under `runs/`.
pub(super) fn gather(site: &dyn Site, trusted: &[TrustedKey]) -> Result<(Evidence, Vec<Finding>), VerifyError> {
    let (files, mut findings) = list(site)?;
    let mut evidence = Evidence::default();
    let kept = Kept::default();
    for (number, batch) in files.chunks(BATCH).enumerate() {
        // `collect` keeps the order of the names: nothing depends on which thread was first.
        let read: Vec<FileEvidence> = batch
            .par_iter()
            .map(|file| read_file(site, file.clone(), trusted, &kept))
            .collect();
        if kept.is_too_much() {
            // What of these files was read before that was known depends on which thread was first.
            let unread = files.len() - number * BATCH;
            let unread = match unread {
                1 => "one file was".to_owned(),
                unread => format!("{unread} files were"),
            };
            let message = format!("says more than is kept at once; {unread} not looked at");
            findings.push(Finding::new(Code::Read, message).file(RUNS));
            break;
        }
        for file in read {
            findings.extend(file.findings);
            evidence.receipts.extend(file.receipts);
        }
    }
    findings.extend(check_against_own(&evidence.receipts));
    evidence.files = files;
    Ok((evidence, findings))
}

/// The most names that the folder of receipts may hold.
const MAX_NAMES: usize = 1 << 22;

/// The names of run files, sorted. Folders and other names are none of ours.
pub(super) fn list(site: &dyn Site) -> Result<(Vec<Utf8PathBuf>, Vec<Finding>), VerifyError> {
    let mut files = Vec::new();
    let mut findings = Vec::new();
    if let Some(why) = no_folder(site, RUNS.into())? {
        findings.push(Finding::new(Code::File, format!("{why}: no receipt is read")).file(RUNS));
        return Ok((files, findings));
    }
    let entries = site.entries(RUNS.into(), 1, MAX_NAMES);
    for entry in entries.map_err(|source| failed(RUNS, source))? {
        if !entry.path.as_str().ends_with(RUN_FILE_SUFFIX) {
            continue;
        }
        if entry.kind == EntryType::File && entry.is_utf8 {
            files.push(entry.path);
        } else {
            let message = "is named like the file of a run, but is no regular file";
            findings.push(Finding::new(Code::Json, message).file(entry.path));
        }
    }
    files.sort_unstable();
    Ok((files, findings))
}

/// Why `folder` is none that is read; nothing is also said of one that is not there.
pub(super) fn no_folder(site: &dyn Site, folder: &Utf8Path) -> Result<Option<&'static str>, VerifyError> {
    let kind = site.kind(folder).map_err(|source| failed(folder, source))?;
    let real = site.real_path(folder).map_err(|source| failed(folder, source))?;
    Ok(match kind {
        None => None,
        Some(EntryKind::Folder) if real.as_deref() == Some(folder) => None,
        Some(EntryKind::Folder | EntryKind::BadLink) => Some("is a symbolic link, not a folder"),
        Some(EntryKind::File { .. } | EntryKind::Other) => Some("is no folder"),
    })
}

pub(super) fn failed(path: impl AsRef<Utf8Path>, source: TreeError) -> VerifyError {
    VerifyError::Read {
        path: path.as_ref().to_owned(),
        source,
    }
}

fn read_file(site: &dyn Site, path: Utf8PathBuf, trusted: &[TrustedKey], kept: &Kept) -> FileEvidence {
    if kept.is_too_much() {
        return FileEvidence::default();
    }
    let finding = match site.read(&path, MAX_RUN_FILE) {
        Ok(bytes) => return read_lines(&path, &bytes, trusted, kept),
        Err(TreeError::TooLarge { limit, .. }) => {
            Finding::new(Code::Json, format!("is longer than {limit} bytes")).file(path)
        }
        Err(TreeError::Read { source, .. }) => Finding::new(Code::Read, format!("cannot be read: {source}")).file(path),
        Err(error) => Finding::new(Code::Read, error.to_string()).file(path),
    };
    FileEvidence {
        findings: vec![finding],
        ..FileEvidence::default()
    }
}

fn read_lines(path: &Utf8Path, bytes: &[u8], trusted: &[TrustedKey], kept: &Kept) -> FileEvidence {
    let mut found = FileEvidence::default();
    if let Err(error) = run_file::split_lines(bytes) {
        let finding = Finding::new(Code::Json, error.to_string()).file(path);
        found.findings.push(finding.help(RESTORE));
        if error == LinesError::TooMany {
            kept.add_wrong(bytes.len());
            return found;
        }
    }
    // Of a file that was cut, whole lines still count as evidence.
    let lines: Vec<(usize, &[u8])> = run_file::whole_lines(bytes)
        .filter(|(_, line)| !line.is_empty())
        .collect();
    // Nothing of the file counts once it is too much.
    let is_asked = || !kept.is_too_much();
    let read: Vec<Option<Result<Known, Box<Finding>>>> = lines
        .par_iter()
        .map(|(number, line)| is_asked().then(|| read_line(path, *number, line, trusted, kept)))
        .collect();
    let (mut wrong, mut unlisted) = (bytes.len(), 0);
    for (line, (_, text)) in read.into_iter().zip(&lines) {
        let Some(line) = line else { continue };
        match line {
            Ok(receipt) => {
                wrong -= text.len() + 1;
                found.receipts.push(receipt);
            }
            Err(finding) if found.findings.len() < MAX_FAULTS => found.findings.push(*finding),
            Err(_) => unlisted += 1,
        }
    }
    kept.add_wrong(wrong);
    if unlisted > 0 {
        let message = format!("has {unlisted} more lines that are wrong");
        found.findings.push(Finding::new(Code::Json, message).file(path));
    }
    if found.findings.is_empty() {
        found.findings.extend(check_structure(path, &found.receipts));
    }
    found
}

const RESTORE: &str = "put the file back as it was committed (`git checkout -- runs/`), and ask who changed it";

/// What git converts it converts again when it is asked to put it back.
const CONVERTED: &str = "git has converted its line ends: write `* -text` into `runs/.gitattributes`, remove the file, and put it back (`git checkout -- runs/`)";

fn check_structure(path: &Utf8Path, receipts: &[Known]) -> Option<Finding> {
    let name = RunFileName::parse(path.file_name()?)?;
    if let Some(digits) = name.countersigner {
        return check_countersigned(path, name, digits, receipts);
    }
    if name.is_erasure {
        return check_erasure(path, name, receipts);
    }
    let statements: Vec<_> = receipts.iter().map(|r| (r.id, &r.statement)).collect();
    if let Err(message) = run_file::check_run_file(&statements) {
        return Some(Finding::new(Code::Chain, message).file(path).help(RESTORE));
    }
    let run_id = &receipts.last()?.statement.metadata().invocation_id;
    (name.run != run_id).then(|| other_run(path, name, run_id))
}

/// A countersignature holds receipts of the run of its name, each once, all by the key of its name.
fn check_countersigned(path: &Utf8Path, name: RunFileName<'_>, digits: &str, receipts: &[Known]) -> Option<Finding> {
    let mut seen = HashSet::new();
    for receipt in receipts {
        let run_id = &receipt.statement.metadata().invocation_id;
        let finding = if name.run != run_id {
            other_run(path, name, run_id)
        } else if !receipt.keyid.to_string().starts_with(digits) {
            let message = "holds a receipt that another key than that of its name is said to have signed";
            let expected = format!("key {digits}…");
            Finding::new(Code::Chain, message)
                .file(path)
                .differs(expected, format!("key {}", receipt.keyid))
        } else if !seen.insert(receipt.id) {
            Finding::new(Code::Chain, "holds a receipt twice").file(path)
        } else {
            continue;
        };
        return Some(finding.line(receipt.line).help(RESTORE));
    }
    None
}

/// What says that something was erased stands alone in its file.
fn check_erasure(path: &Utf8Path, name: RunFileName<'_>, receipts: &[Known]) -> Option<Finding> {
    match receipts {
        [receipt] if receipt.statement.erasure().is_some() => {
            let id = &receipt.statement.metadata().invocation_id;
            (name.run != id).then(|| other_run(path, name, id))
        }
        _ => {
            let message = "is named like one that says that something was erased, and is none";
            Some(Finding::new(Code::Chain, message).file(path).help(RESTORE))
        }
    }
}

fn other_run(path: &Utf8Path, name: RunFileName<'_>, run_id: &str) -> Finding {
    let expected = RunFileName { run: run_id, ..name };
    Finding::new(Code::Chain, "holds the receipts of another run than its name says")
        .file(path)
        .differs(expected.to_name(), name.to_name())
}

/// What is countersigned must be in the run's own file, if that is here.
fn check_against_own(receipts: &[Known]) -> Vec<Finding> {
    let name = |receipt: &'_ Known| -> Option<(String, bool)> {
        let name = RunFileName::parse(receipt.file.file_name()?)?;
        Some((name.run.to_owned(), name.countersigner.is_some()))
    };
    let mut own: HashMap<String, HashSet<ReceiptId>> = HashMap::new();
    let mut counter = Vec::new();
    for receipt in receipts {
        match name(receipt) {
            Some((run, false)) => {
                own.entry(run).or_default().insert(receipt.id);
            }
            Some((run, true)) => counter.push((run, receipt)),
            None => {}
        }
    }
    let is_other = |(run, receipt): &(String, &Known)| own.get(run).is_some_and(|ids| !ids.contains(&receipt.id));
    let others = counter.into_iter().filter(is_other);
    let finding = |(_, receipt): (String, &Known)| {
        let message = "countersigns a receipt that the run's own file does not have";
        Finding::new(Code::Chain, message)
            .file(&receipt.file)
            .line(receipt.line)
            .receipt(&receipt.id)
            .help(RESTORE)
    };
    others.map(finding).collect()
}

fn read_line(
    path: &Utf8Path,
    line: usize,
    bytes: &[u8],
    trusted: &[TrustedKey],
    kept: &Kept,
) -> Result<Known, Box<Finding>> {
    let fault = |code, message: String| {
        let finding = Finding::new(code, message).file(path).line(line);
        finding.help(if bytes.ends_with(b"\r") { CONVERTED } else { RESTORE })
    };
    let mut receipt = Receipt::parse(bytes).map_err(|error| Box::new(fault(Code::Json, error.to_string())))?;
    let signer = find_signer(&receipt, trusted)
        .map_err(|message| Box::new(fault(Code::Signature, message).receipt(&receipt.id)))?;
    kept.add(&mut receipt.statement, receipt.envelope.payload().len());
    Ok(Known {
        file: path.to_owned(),
        line,
        id: receipt.id,
        keyid: receipt.envelope.keyid(),
        signer,
        limit: None,
        statement: receipt.statement,
    })
}

/// Which trusted key signed `receipt`; `None` if none did and it does not say so; an error if it only says so, or if the
/// key that signed is another than it says.
fn find_signer(receipt: &Receipt, trusted: &[TrustedKey]) -> Result<Option<usize>, String> {
    let envelope = &receipt.envelope;
    let named = trusted.iter().position(|key| key.keyid == envelope.keyid());
    if let Some(index) = named {
        let verified = envelope.verify_signature(&trusted[index].key);
        return verified.map(|()| Some(index)).map_err(|error| error.to_string());
    }
    // The keyid is only a hint: one that was changed must not turn a trusted receipt into a stranger's.
    for key in trusted {
        if let Err(error @ EnvelopeError::KeyId { .. }) = envelope.verify_signature(&key.key) {
            return Err(error.to_string());
        }
    }
    Ok(None)
}

/// A receipt's claim that a file had certain bytes.
#[derive(Clone, Copy)]
pub(super) struct Claim {
    /// The place in [`Evidence::receipts`].
    pub(super) receipt: usize,
    pub(super) digests: ArtifactDigests,
}

impl Evidence {
    /// Finds the places of receipts and runs, once it is known who is trusted.
    pub(super) fn index(&mut self) {
        for (index, receipt) in self.receipts.iter().enumerate() {
            let entry = self.by_id.entry(receipt.id).or_insert(index);
            if self.receipts[*entry].signer.is_none() && receipt.signer.is_some() {
                *entry = index;
            }
            if receipt.statement.is_run() {
                let run = receipt.statement.metadata().invocation_id.clone();
                // Of the same receipt, countersigned, the one that is trusted.
                let entry = self.runs.entry(run).or_insert(index);
                if self.receipts[*entry].signer.is_none() && receipt.signer.is_some() {
                    *entry = index;
                }
            }
        }
    }

    /// What the receipts of stages claim about files, by path; for each path the latest last.
    pub(super) fn claims(&self) -> BTreeMap<&Utf8Path, Vec<Claim>> {
        let mut claims: BTreeMap<&Utf8Path, Vec<Claim>> = BTreeMap::new();
        for (index, receipt) in self.receipts.iter().enumerate() {
            if receipt.statement.stage().is_none() {
                continue;
            }
            for subject in &receipt.statement.subject {
                if let Some(digests) = artifact_digests(subject) {
                    let claim = Claim {
                        receipt: index,
                        digests,
                    };
                    claims.entry(Utf8Path::new(&subject.name)).or_default().push(claim);
                }
            }
        }
        for list in claims.values_mut() {
            list.sort_by_key(|claim| self.age(claim.receipt));
        }
        claims
    }

    /// All receipts by trusted keys.
    pub(super) fn trusted(&self) -> Vec<usize> {
        let all = 0..self.receipts.len();
        all.filter(|index| self.receipts[*index].signer.is_some()).collect()
    }

    /// Sorts receipts by when they say they were made.
    pub(super) fn age(&self, receipt: usize) -> (&str, &str, ReceiptId) {
        let receipt = &self.receipts[receipt];
        let metadata = receipt.statement.metadata();
        (&metadata.finished_on, &metadata.invocation_id, receipt.id)
    }

    /// The place of the receipt `id`.
    pub(super) fn named(&self, id: ReceiptId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    /// The same of the one whose id `text` spells (`sha256:…`).
    pub(super) fn spelled(&self, text: &str) -> Option<usize> {
        self.named(text.parse().ok()?)
    }

    /// `roots` and all receipts that their inputs rest on, sorted, each once. Of a run, its stages are roots themselves.
    pub(super) fn with_ancestors(&self, roots: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut waiting: Vec<usize> = roots.into_iter().collect();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(index) = waiting.pop() {
            if !seen.insert(index) {
                continue;
            }
            for dependency in self.receipts[index].statement.dependencies() {
                if let Role::Input { receipt: Some(id), .. } = dependency.role() {
                    waiting.extend(self.spelled(id));
                }
            }
        }
        seen.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::run_file::FROZEN;
    use crate::store::atomic;
    use crate::workspace::Workspace;

    #[test]
    fn what_two_files_say_is_kept_once() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8PathBuf::from_path_buf(folder.path().canonicalize().expect("it is there")).expect("UTF-8");
        atomic::create_folder(&root.join(RUNS)).expect("made");
        for name in ["a", "b"] {
            let file = root.join(RUNS).join(format!("{name}{RUN_FILE_SUFFIX}"));
            atomic::write(&file, FROZEN).expect("written");
        }
        let (evidence, _) = gather(&Workspace::at(root), &[]).expect("read");
        let (first, second) = evidence.receipts.split_at(evidence.receipts.len() / 2);
        assert!(!first.is_empty() && first.len() == second.len());
        for (first, second) in first.iter().zip(second) {
            assert_eq!(first.statement, second.statement);
            let pairs = first.statement.subject.iter().zip(&second.statement.subject);
            assert!(pairs.clone().count() > 0 && pairs.into_iter().all(|(first, second)| first.is_one_with(second)));
        }
    }

    #[test]
    fn of_what_is_too_much_no_more_lines_are_read() {
        let kept = Kept::default();
        assert!(!read_lines("runs/a".into(), FROZEN, &[], &kept).receipts.is_empty());
        kept.add_wrong(1 << 31);
        assert!(read_lines("runs/a".into(), FROZEN, &[], &kept).receipts.is_empty());
    }
}
