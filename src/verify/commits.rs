//! Do the commits that receipts name have the files that receipts say they have?

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::Request;
use super::evidence::{Evidence, Known};
use super::report::{Code, Finding, State};
use super::source::FETCH;
use crate::commitment::{PersonalKey, Same};
use crate::diagnostic::shell_word;
use crate::git::{CommitTree, Repository};
use crate::listing::ArtifactDigests;
use crate::plan::is_pattern;
use crate::receipt::check::is_repository_file;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{self, Resource, Role};
use crate::tree::TreeError;

/// What comparing with the commits gave.
pub(super) struct Commits {
    pub(super) state: State,
    pub(super) findings: Vec<Finding>,
    pub(super) not_checked: Vec<String>,
}

/// What files of a commit are compared by.
#[derive(Clone, Copy)]
struct Comparing<'a, 'r> {
    tree: &'a CommitTree<'r>,
    commit: &'a str,
    /// What the digests of what is personal are keyed by, if it is known.
    key: Option<&'a PersonalKey>,
}

/// Checks each receipt of `basis` against the commit it names. `repository` is the one here, or why there is none.
pub(super) fn check(
    evidence: &Evidence,
    basis: &[usize],
    repository: Result<&Repository, &str>,
    request: &Request<'_>,
) -> Commits {
    let require_clean = request.require_clean;
    let mut commits = Commits {
        state: State::NotChecked,
        findings: Vec::new(),
        not_checked: Vec::new(),
    };
    let mut by_commit: BTreeMap<&str, Vec<&Known>> = BTreeMap::new();
    let mut all_held = !basis.is_empty();
    let mut outside_git = false;
    for receipt in basis.iter().map(|index| &evidence.receipts[*index]) {
        let made = &receipt.statement.internal().made;
        let clean = made.repository == statement::Repository::Git && made.differs.is_empty();
        outside_git |= made.commit.is_none();
        if !clean && (require_clean || made.commit.is_some()) {
            commits.findings.push(uncommitted(receipt, require_clean));
        }
        all_held &= clean;
        if let Some(commit) = &made.commit {
            by_commit.entry(commit).or_default().push(receipt);
        }
    }
    if outside_git {
        commits
            .not_checked
            .push("commit: some results were made where there was no commit to name".to_owned());
    }
    match repository {
        Err(why) => {
            all_held = false;
            if !by_commit.is_empty() {
                commits.not_checked.push(format!("commit: {why}"));
            }
        }
        Ok(repository) => {
            for (commit, receipts) in by_commit {
                all_held &= check_commit(repository, commit, &receipts, request.personal, &mut commits);
            }
        }
    }
    let failed = commits
        .findings
        .iter()
        .any(|f| matches!(f.code, Code::Commit | Code::Uncommitted));
    commits.state = match (failed, all_held) {
        (true, _) => State::Failed,
        (false, true) => State::Held,
        (false, false) => State::NotChecked,
    };
    commits
}

fn check_commit(
    repository: &Repository,
    commit: &str,
    receipts: &[&Known],
    key: Option<&PersonalKey>,
    commits: &mut Commits,
) -> bool {
    let tree = repository.find_commit(commit).map(|id| repository.tree(id));
    let tree = match tree {
        Some(Ok(tree)) => tree,
        gone => {
            let why = match gone {
                Some(Err(error)) => error.to_string(),
                _ => "it was rebased away, or the clone is shallow".to_owned(),
            };
            let message = format!("commit {commit} is not here ({why}), so what it had cannot be compared");
            let finding = Finding::new(Code::WarnCommitGone, message).receipt(&receipts[0].id);
            let help = "`verify --at COMMIT` compares with a commit that is here, by content";
            commits.findings.push(finding.help(help));
            return false;
        }
    };
    let mut held = true;
    let comparing = Comparing {
        tree: &tree,
        commit,
        key,
    };
    for receipt in receipts {
        held &= comparing.check_files(receipt, commits);
    }
    held
}

impl Comparing<'_, '_> {
    /// Whether all that the receipt used could be compared, and is so.
    fn check_files(&self, receipt: &Known, commits: &mut Commits) -> bool {
        let mut held = true;
        let made = &receipt.statement.internal().made;
        let used = receipt
            .statement
            .dependencies()
            .iter()
            .filter(|d| is_repository_file(d));
        for file in used.filter(|file| made.differs.binary_search(&file.name).is_err()) {
            held &= match artifact_digests(file) {
                Some(claimed) if !claimed.is_folder() => {
                    let found = self.tree.file_digests(Utf8Path::new(&file.name));
                    let found = found.map(|found| found.map(ArtifactDigests::File));
                    self.check(receipt, (file, claimed), found, commits)
                }
                Some(claimed) => self.check_several(receipt, (file, claimed), commits),
                None => true,
            };
        }
        held
    }

    /// An input of several files: those that are listed are compared each by itself. If there are too many for that, a folder
    /// is listed anew; what a pattern found cannot be known from the receipt alone.
    fn check_several(
        &self,
        receipt: &Known,
        (input, claimed): (&Resource, ArtifactDigests),
        commits: &mut Commits,
    ) -> bool {
        let Role::Input { input: name, .. } = input.role() else {
            return true;
        };
        let is_member = |other: &Resource| matches!(other.role(), Role::Member { input, .. } if input == name);
        if receipt.statement.dependencies().iter().any(is_member) {
            return true;
        }
        if is_pattern(&input.name) {
            commits.not_checked.push(format!(
                "commit: the receipt does not list the files that `{}` found; `--at` does",
                input.name
            ));
            return false;
        }
        let found = self.tree.listing(Utf8Path::new(&input.name));
        let found = found.map(|found| found.map(ArtifactDigests::Folder));
        self.check(receipt, (input, claimed), found, commits)
    }

    /// Whether the commit has what the receipt says it has.
    fn check(
        &self,
        receipt: &Known,
        (file, claimed): (&Resource, ArtifactDigests),
        found: Result<Option<ArtifactDigests>, TreeError>,
        commits: &mut Commits,
    ) -> bool {
        let (noun, missing) = match claimed.is_folder() {
            true => ("files", "no folder of files of that name"),
            false => ("bytes", "no file of that name"),
        };
        let found = match found {
            Ok(Some(found)) => match found.compare(&claimed, self.key) {
                Same::Yes => return true,
                Same::Unknown => {
                    let why = "is personal, and keyed by a consent secret that is not here";
                    commits.not_checked.push(format!("commit: `{}` {why}", file.name));
                    return false;
                }
                Same::No => found.as_claimed(&claimed, self.key).unwrap_or(found).public(),
            },
            Ok(None) => missing.to_owned(),
            Err(_) if self.tree.was_torn() => return self.is_lost(receipt, file, commits),
            Err(error) => error.to_string(),
        };
        let message = format!(
            "commit {} does not have it with the {noun} that the receipt says it has",
            self.commit
        );
        let finding = Finding::new(Code::Commit, message)
            .file(&file.name)
            .receipt(&receipt.id);
        commits.findings.push(finding.differs(claimed.public(), found));
        false
    }

    /// What the commit has there is not here to compare, as if the commit itself were not: nobody is said to have changed it.
    fn is_lost(&self, receipt: &Known, file: &Resource, commits: &mut Commits) -> bool {
        let message = format!(
            "what commit {} has as `{}` cannot be read from the git repository, so it cannot be compared",
            self.commit, file.name
        );
        let finding = Finding::new(Code::WarnCommitGone, message).receipt(&receipt.id);
        commits.findings.push(finding.help(FETCH));
        false
    }
}

fn uncommitted(receipt: &Known, require_clean: bool) -> Finding {
    let code = if require_clean {
        Code::Uncommitted
    } else {
        Code::WarnUncommitted
    };
    let statement = &receipt.statement;
    let name = statement.stage().map_or("the run", |(stage, _)| stage.name.as_str());
    let differs = &statement.internal().made.differs;
    let message = match differs.first() {
        Some(first) if differs.len() == 1 => format!("`{name}` used `{first}`, which was not committed as it was"),
        Some(first) => format!(
            "`{name}` used `{first}` and {} more files, which were not committed as they were",
            differs.len() - 1
        ),
        None => format!("`{name}` was made where there was no commit"),
    };
    let finding = Finding::new(code, message).receipt(&receipt.id);
    let Some((stage, _)) = statement.stage().filter(|_| require_clean) else {
        return finding.help("commit, then `verify --at HEAD` ties the result to that commit by content");
    };
    // To commit alone helps nothing here: the receipt says what was, and what is up to date does not run again.
    finding.help(format!(
        "commit, then `madmall run --force {} {}` makes it from the commit",
        shell_word(&statement.external().pipeline_file),
        shell_word(&stage.name)
    ))
}
