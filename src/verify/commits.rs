//! Do the commits that receipts name have the files that receipts say they have?

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::evidence::{Evidence, Known};
use super::report::{Code, Finding, State};
use crate::git::{CommitTree, Repository};
use crate::plan::is_pattern;
use crate::receipt::check::{file_digests, is_repository_file, tree_digests};
use crate::receipt::statement::{self, Resource, Role};

/// What comparing with the commits gave.
pub(super) struct Commits {
    pub(super) state: State,
    pub(super) findings: Vec<Finding>,
    pub(super) not_checked: Vec<String>,
}

/// Checks each receipt of `basis` against the commit it names. `repository` is the one here, or why there is none.
pub(super) fn check(
    evidence: &Evidence,
    basis: &[usize],
    repository: Result<&Repository, &str>,
    require_clean: bool,
) -> Commits {
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
                all_held &= check_commit(repository, commit, &receipts, &mut commits);
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

fn check_commit(repository: &Repository, commit: &str, receipts: &[&Known], commits: &mut Commits) -> bool {
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
    for receipt in receipts {
        held &= check_files(&tree, commit, receipt, commits);
    }
    held
}

/// Whether all that the receipt used could be compared, and is so.
fn check_files(tree: &CommitTree<'_>, commit: &str, receipt: &Known, commits: &mut Commits) -> bool {
    let mut held = true;
    let made = &receipt.statement.internal().made;
    let used = receipt
        .statement
        .dependencies()
        .iter()
        .filter(|d| is_repository_file(d));
    for file in used.filter(|file| made.differs.binary_search(&file.name).is_err()) {
        let Some(expected) = file_digests(file) else {
            held &= check_several(tree, commit, receipt, file, commits);
            continue;
        };
        let found = match tree.file_digests(Utf8Path::new(&file.name)) {
            Ok(Some(found)) if found == expected => continue,
            Ok(Some(found)) => found.sha256.to_string(),
            Ok(None) => "no file of that name".to_owned(),
            Err(error) => error.to_string(),
        };
        let message = format!("commit {commit} does not have it with the bytes that the receipt says it has");
        let finding = Finding::new(Code::Commit, message)
            .file(&file.name)
            .receipt(&receipt.id);
        commits
            .findings
            .push(finding.differs(expected.sha256.to_string(), found));
        held = false;
    }
    held
}

/// An input of several files: those that are listed are compared each by itself. If there are too many for that, a folder
/// is listed anew; what a pattern found cannot be known from the receipt alone.
fn check_several(
    tree: &CommitTree<'_>,
    commit: &str,
    receipt: &Known,
    input: &Resource,
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
    let found = match tree.listing(Utf8Path::new(&input.name)) {
        Ok(Some(found)) if tree_digests(input) == Some(found) => return true,
        Ok(Some(found)) => format!("dirHash:{}", found.dir_hash.to_hex()),
        Ok(None) => "no folder of files of that name".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("commit {commit} does not have it with the files that the receipt says it has");
    let finding = Finding::new(Code::Commit, message)
        .file(&input.name)
        .receipt(&receipt.id);
    let expected = input.digest.get("dirHash").map_or("none", String::as_str);
    commits
        .findings
        .push(finding.differs(format!("dirHash:{expected}"), found));
    false
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
    Finding::new(code, message)
        .receipt(&receipt.id)
        .help("commit, then `verify --at HEAD` ties the result to that commit by content")
}
