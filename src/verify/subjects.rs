//! Do the files in place have the bytes that receipts claim?

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::evidence::{Claim, Evidence};
use super::moved::{Here, Others, kept_listing};
use super::places::{self, Place, Places};
use super::question::NO_RECEIPT;
use super::report::{Code, Finding, Severity};
use crate::commitment::{PersonalKey, Same};
use crate::diagnostic::nearest;
use crate::listing::{ArtifactDigests, ListedFile};
use crate::receipt::statement::Role;
use crate::tree::Site;

/// Which files and receipts are asked about.
pub(super) struct Question<'a> {
    /// The files to compare, with what receipts claim about each (the latest last).
    pub(super) claims: BTreeMap<Utf8PathBuf, Vec<Claim>>,
    /// If receipts were asked for, only these can answer.
    pub(super) chosen: Option<BTreeSet<usize>>,
    /// The file that was asked for by name, which must then be here.
    pub(super) named: Option<&'a Utf8Path>,
    /// What was asked for, if that folder is `named` for it: it must be in the folder.
    pub(super) within: Option<&'a Utf8Path>,
    pub(super) key_severity: Severity,
    /// With nobody trusted there is one finding that says so, not one a file.
    pub(super) trusts_nobody: bool,
    /// What the digests of what is personal are keyed by, if it is known.
    pub(super) key: Option<&'a PersonalKey>,
}

/// What comparing gave.
#[derive(Default)]
pub(super) struct Answer {
    /// The files whose bytes a trusted receipt claims, that receipt, and the digests as it has them.
    pub(super) makers: BTreeMap<Utf8PathBuf, (usize, ArtifactDigests)>,
    /// The files and folders in whose place another output is.
    pub(super) gave_way: BTreeSet<Utf8PathBuf>,
    /// The receipts by which the rest of such a folder is here, with what they claim.
    pub(super) beside: Vec<(usize, ArtifactDigests)>,
    /// Foreign receipts that findings name.
    pub(super) blamed: BTreeSet<usize>,
    pub(super) findings: Vec<Finding>,
    pub(super) not_checked: Vec<String>,
}

impl Question<'_> {
    /// Looks at every place asked about.
    pub(super) fn look(&self, site: &dyn Site) -> Places {
        let is_folder = |claim: &Claim| claim.digests.is_folder();
        let (folders, files): (Vec<_>, Vec<_>) =
            self.claims.iter().partition(|(_, claims)| claims.iter().any(is_folder));
        let paths = |claims: Vec<(&Utf8PathBuf, _)>| claims.into_iter().map(|(path, _)| path.clone()).collect();
        let mut places = places::look(site, paths(files));
        places.extend(places::look_into(site, paths(folders)));
        places
    }

    /// Compares every file asked about.
    pub(super) fn answer(&self, site: &dyn Site, evidence: &Evidence, places: &Places) -> Answer {
        let mut answer = Answer::default();
        let others = Others {
            site,
            evidence,
            places,
            key: self.key,
            claims: OnceCell::new(),
        };
        for (path, claims) in &self.claims {
            let before = answer.findings.len();
            match places.get(path) {
                None | Some(Place::Absent) => self.absent(path, claims, evidence, &mut answer),
                // Nobody says that a file should be there, so nothing was changed.
                Some(Place::Refused(why)) if claims.is_empty() => {
                    let finding = Finding::new(Code::Absent, format!("{why}; {NO_RECEIPT}")).file(path);
                    let help = "name a file, a receipt or a run; without a name all outputs are verified";
                    answer.findings.push(finding.help(help));
                }
                Some(Place::Refused(why)) => {
                    let finding = Finding::new(Code::File, why.as_str()).file(path);
                    answer
                        .findings
                        .push(finding.help("put the file back, or run the pipeline again"));
                }
                Some(Place::Unreadable(why)) => {
                    let finding = Finding::new(Code::Read, format!("cannot be read: {why}"));
                    answer.findings.push(finding.file(path));
                }
                Some(Place::File { digests, executable }) => {
                    let found = ArtifactDigests::File(*digests);
                    self.compare(path, found, claims, evidence, &mut answer);
                    answer.findings.extend(other_mode(path, *executable, evidence, &answer));
                }
                Some(Place::Folder { files, listing }) => {
                    let found = ArtifactDigests::Folder(*listing);
                    self.compare(path, found, claims, evidence, &mut answer);
                    answer.findings.extend(self.not_within(path, files));
                    for finding in &mut answer.findings[before..] {
                        if finding.code == Code::Digest {
                            name_files(finding, files, claims, evidence, site);
                        }
                    }
                }
            }
            let is_changed = |finding: &Finding| matches!(finding.code, Code::Digest | Code::File);
            if answer.findings[before..].iter().any(is_changed)
                && let Some(here) = others.took_the_place_of(path, claims)
            {
                answer.findings.truncate(before);
                self.gave_way(path, claims, &here, evidence, &mut answer);
            }
        }
        answer
    }

    /// Another output is where this one was, so this one is not here: nothing was changed.
    fn gave_way(&self, path: &Utf8Path, claims: &[Claim], here: &Here, evidence: &Evidence, answer: &mut Answer) {
        let place = format!("`{}` is in its place", here.path);
        if self.named == Some(path) {
            let message = format!("is not here, so its bytes cannot be compared: {place}");
            answer.findings.push(Finding::new(Code::Absent, message).file(path));
        }
        answer.not_checked.push(format!("`{path}` is not here: {place}"));
        answer.gave_way.insert(path.to_owned());
        answer.beside.extend(here.beside);
        let is_trusted = |claim: &&Claim| evidence.receipts[claim.receipt].signer.is_some();
        let latest = claims.iter().rfind(is_trusted);
        if let Some(latest) = latest.filter(|latest| evidence.age(latest.receipt) > evidence.age(here.receipt)) {
            let run = &evidence.receipts[latest.receipt].statement.metadata().invocation_id;
            let message =
                format!("is as a trusted receipt says, but a later one (run {run}) claims `{path}` in its place");
            let finding = Finding::new(Code::WarnOlder, message).file(&here.path);
            answer
                .findings
                .push(finding.receipt(&evidence.receipts[here.receipt].id));
        }
    }

    /// That what was asked for is not among the `files` of the `folder` around it.
    fn not_within(&self, folder: &Utf8Path, files: &[ListedFile]) -> Option<Finding> {
        let wanted = self.within.filter(|_| self.named == Some(folder))?;
        if files.iter().any(|file| file.path.starts_with(wanted)) {
            return None;
        }
        let message = format!("is not here: `{folder}` has no such file");
        let finding = Finding::new(Code::Absent, message).file(wanted);
        let near = nearest(wanted.as_str(), files.iter().map(|file| file.path.as_str()));
        Some(match near {
            Some(near) => finding.help(format!("did you mean `{near}`?")),
            None => finding,
        })
    }

    fn absent(&self, path: &Utf8Path, claims: &[Claim], evidence: &Evidence, answer: &mut Answer) {
        if self.named == Some(path) {
            let finding = Finding::new(Code::Absent, "is not here, so its bytes cannot be compared").file(path);
            let known = evidence.claims();
            let near = match claims.is_empty() {
                true => nearest(path.as_str(), known.keys().map(|path| path.as_str())),
                false => None,
            };
            answer.findings.push(match near {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding,
            });
        }
        // A log may be thrown away at any time; that it is gone is no news.
        if !claims.iter().all(|claim| is_log(evidence, claim, path)) {
            answer.not_checked.push(format!("`{path}` is not here"));
        }
    }

    fn compare(
        &self,
        path: &Utf8Path,
        found: ArtifactDigests,
        claims: &[Claim],
        evidence: &Evidence,
        answer: &mut Answer,
    ) {
        let is_trusted = |claim: &&Claim| evidence.receipts[claim.receipt].signer.is_some();
        let (trusted, secret): (Vec<&Claim>, Vec<&Claim>) = claims
            .iter()
            .filter(is_trusted)
            .partition(|claim| found.compare(&claim.digests, self.key) != Same::Unknown);
        let is_chosen = |claim: &Claim| {
            self.chosen
                .as_ref()
                .is_none_or(|chosen| chosen.contains(&claim.receipt))
        };
        let is_same = |claim: &Claim| found.compare(&claim.digests, self.key) == Same::Yes;
        let matching = |claim: &&&Claim| is_same(claim);
        let maker = trusted.iter().rfind(|claim| matching(claim) && is_chosen(claim));
        if let Some(maker) = maker {
            answer.makers.insert(path.to_owned(), (maker.receipt, maker.digests));
            let latest = trusted.last().filter(|latest| !is_same(latest));
            if let Some(latest) = latest {
                answer.findings.push(older(path, maker, latest, evidence));
            }
            return;
        }
        if let Some(claim) = secret.last() {
            // They may be what it claims: nobody without the secret can tell.
            let is_keyed = "its digests are keyed by a consent secret that is not here (`--secret FILE`)";
            answer.not_checked.push(format!("`{path}` is personal: {is_keyed}"));
            if self.named == Some(path) {
                let receipt = &evidence.receipts[claim.receipt];
                let finding = Finding::new(Code::Absent, format!("cannot be compared: {is_keyed}"));
                answer.findings.push(finding.file(path).receipt(&receipt.id));
            }
            return;
        }
        // What was asked for is about other bytes than are here; does any other trusted receipt claim those?
        if let Some(other) = trusted.iter().rfind(matching) {
            let other = &evidence.receipts[other.receipt];
            let message = "is here as another receipt made it, so the one asked for cannot be compared";
            answer
                .findings
                .push(Finding::new(Code::WarnOlder, message).file(path).receipt(&other.id));
            answer.not_checked.push(format!("`{path}` is here with other bytes"));
            return;
        }
        if trusted.is_empty() {
            self.untrusted(path, claims, evidence, answer);
            return;
        }
        let claim = trusted.iter().rfind(|claim| is_chosen(claim));
        if let Some(claim) = claim.or(trusted.last()) {
            let stranger = claims.iter().rfind(|claim| is_same(claim));
            answer.blamed.extend(stranger.iter().map(|claim| claim.receipt));
            // In the form that the receipt has: nothing is shown that could be guessed from.
            let found = found.as_claimed(&claim.digests, self.key).unwrap_or(found);
            answer.findings.push(changed(path, claim, found, stranger, evidence));
        }
    }

    fn untrusted(&self, path: &Utf8Path, claims: &[Claim], evidence: &Evidence, answer: &mut Answer) {
        answer
            .not_checked
            .push(format!("`{path}`: no trusted receipt is about it"));
        let Some(claim) = claims.last().filter(|_| !self.trusts_nobody) else {
            return;
        };
        answer.blamed.extend(claims.iter().map(|claim| claim.receipt));
        let receipt = &evidence.receipts[claim.receipt];
        let finding = Finding::new(Code::Key, "only receipts by keys that are not trusted claim it")
            .severity(self.key_severity)
            .file(path)
            .receipt(&receipt.id)
            .differs("a trusted key", receipt.stranger())
            .help("if you know whose key that is, name it with `--trust`, or run the pipeline yourself");
        answer.findings.push(finding);
    }
}

impl Answer {
    /// The receipts of all that is here, with what they claim.
    pub(super) fn present(&self) -> impl Iterator<Item = (usize, ArtifactDigests)> {
        self.makers.values().chain(&self.beside).copied()
    }
}

/// Whether the file may be executed is no part of its bytes, but the next stage sees it.
fn other_mode(path: &Utf8Path, found: bool, evidence: &Evidence, answer: &Answer) -> Option<Finding> {
    let (maker, _) = answer.makers.get(path)?;
    let receipt = &evidence.receipts[*maker];
    // A copy under another name is a file of its own.
    let subject = receipt.statement.subject_named(path.as_str())?;
    let Role::Output { executable, .. } = subject.role() else {
        return None;
    };
    let mode = |executable: bool| if executable { "executable" } else { "not executable" };
    let message = "is as its receipt says, but for who may execute it";
    (found != *executable).then(|| {
        let finding = Finding::new(Code::WarnMode, message).file(path).receipt(&receipt.id);
        finding.differs(mode(*executable), mode(found))
    })
}

fn older(path: &Utf8Path, maker: &Claim, latest: &Claim, evidence: &Evidence) -> Finding {
    let latest_receipt = &evidence.receipts[latest.receipt];
    let message = format!(
        "is as a trusted receipt says, but a later one (run {}) claims other bytes",
        latest_receipt.statement.metadata().invocation_id
    );
    Finding::new(Code::WarnOlder, message)
        .file(path)
        .receipt(&evidence.receipts[maker.receipt].id)
        .differs(latest.digests.public(), maker.digests.public())
}

fn changed(
    path: &Utf8Path,
    claim: &Claim,
    found: ArtifactDigests,
    stranger: Option<&Claim>,
    evidence: &Evidence,
) -> Finding {
    let receipt = &evidence.receipts[claim.receipt];
    let mut message = "was changed: no trusted receipt claims the bytes that are here".to_owned();
    if let Some(stranger) = stranger {
        let stranger = &evidence.receipts[stranger.receipt];
        let _ = write!(
            message,
            " (one that is not trusted claims these bytes, by {})",
            stranger.stranger()
        );
    }
    // Both digests must fit; name the one that does not.
    let (expected, found) = if claim.digests.public() == found.public() {
        (claim.digests.blake3().to_string(), found.blake3().to_string())
    } else {
        (claim.digests.public(), found.public())
    };
    Finding::new(Code::Digest, message)
        .file(path)
        .receipt(&receipt.id)
        .differs(expected, found)
        .help("run the pipeline again to put back what the receipt names (a temporary output: remove it), and ask who changed it")
}

/// So many files of a folder are named.
const MOST_NAMED: usize = 5;

/// Says which files of a folder are not as the receipt that `finding` names says, if the store has its listing.
fn name_files(finding: &mut Finding, found: &[ListedFile], claims: &[Claim], evidence: &Evidence, site: &dyn Site) {
    let is_it = |claim: &&Claim| Some(evidence.receipts[claim.receipt].id.to_string()) == finding.receipt;
    let Some(ArtifactDigests::Folder(claimed)) = claims.iter().rfind(is_it).map(|claim| claim.digests) else {
        return;
    };
    let Some(files) = kept_listing(site, claimed) else {
        return;
    };
    let was: BTreeMap<&Utf8Path, &ListedFile> = files.iter().map(|file| (file.path.as_path(), file)).collect();
    let is: BTreeMap<&Utf8Path, &ListedFile> = found.iter().map(|file| (file.path.as_path(), file)).collect();
    let mut told: Vec<String> = Vec::new();
    for path in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
        told.extend(match (was.get(path), is.get(path)) {
            (Some(_), None) => Some(format!("`{path}` is missing")),
            (None, Some(_)) => Some(format!("`{path}` was added")),
            (Some(was), Some(is)) if was.digests != is.digests => Some(format!("`{path}` has other bytes")),
            (Some(was), Some(is)) if was.executable != is.executable => Some(match is.executable {
                true => format!("`{path}` can be executed now"),
                false => format!("`{path}` can no longer be executed"),
            }),
            _ => None,
        });
    }
    if told.len() > MOST_NAMED {
        let more = told.len() - MOST_NAMED;
        told.truncate(MOST_NAMED);
        told.push(format!("and {more} more"));
    }
    if !told.is_empty() {
        let _ = write!(finding.message, ": {}", told.join(", "));
    }
}

fn is_log(evidence: &Evidence, claim: &Claim, path: &Utf8Path) -> bool {
    let subject = evidence.receipts[claim.receipt].statement.subject_named(path.as_str());
    subject.is_some_and(|subject| matches!(subject.role(), Role::Log { .. }))
}
