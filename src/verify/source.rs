//! Where results come from: the pipelines as a commit or the working tree has them, and the raw inputs.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::Request;
use super::conform::{self, Conformity, Definitions, Files, Misfit};
use super::evidence::{Evidence, Known};
use super::places::{self, Place, Places};
use super::report::{Artifact, Code, Finding, Source, State};
use super::subjects::{Answer, Question};
use crate::diagnostic::shell_word;
use crate::digest::Digests;
use crate::git::{CommitTree, Repository};
use crate::listing::ArtifactDigests;
use crate::plan::{Plan, StageId};
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{Resource, Role};
use crate::receipt::trust::TrustedKey;
use crate::tree::{EntryKind, Tree as _, TreeError};
use crate::verify::What;

/// What may help where the repository lacks an object.
pub(super) const FETCH: &str = "a partial clone lacks what was not fetched: `git checkout` of that commit fetches it; else `git fsck` says what is broken";

/// What to do where the commit gives something else.
const RUN_THERE: &str = "run the pipeline at that commit, then verify again";
/// What to do about outputs of a pipeline file that the commit does not have.
const MOVED: &str = "if it has another name there, `madmall run --force` of that makes its outputs from it; if it is gone, `madmall clean --orphans` removes them";

/// Compares pipelines with the receipts.
pub(super) struct Pipelines<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) evidence: &'a Evidence,
    /// The receipts that the answer rests on.
    pub(super) basis: &'a [usize],
    pub(super) answer: &'a Answer,
}

impl Pipelines<'_> {
    /// Each pipeline file that the answer rests on, as `revision` has it, must give what the receipts say.
    pub(super) fn check_at(&self, revision: &str, repository: Result<&Repository, String>) -> (State, Vec<Finding>) {
        let opened = repository.map_err(|why| (why, None)).and_then(|repository| {
            let commit = repository.resolve_commit(revision);
            let commit = commit.map_err(|error| (error.to_string(), advice(repository, revision)))?;
            let tree = repository.tree(commit).map_err(|error| (error.to_string(), None))?;
            Ok((commit, tree))
        });
        let (commit, tree) = match opened {
            Ok(opened) => opened,
            Err((why, advice)) => {
                let message = format!("commit `{revision}` cannot be compared with: {why}");
                let finding = Finding::new(Code::Read, message);
                let finding = match advice {
                    Some(advice) => finding.help(advice),
                    None => finding,
                };
                return (State::NotChecked, vec![finding]);
            }
        };
        let mut findings = Vec::new();
        let used = self.pipeline_files(self.basis.iter().copied());
        // What no file in place rests on counts as well, as far as the commit has it.
        let trusted = (0..self.evidence.receipts.len()).filter(|index| self.evidence.receipts[*index].signer.is_some());
        let known = match self.request.what {
            What::Everything => self.pipeline_files(trusted),
            _ => BTreeSet::new(),
        };
        let in_commit = |file: &Utf8PathBuf| !matches!(tree.kind(file), Ok(None));
        let files: BTreeSet<Utf8PathBuf> = known.into_iter().filter(in_commit).chain(used).collect();
        let mut compared = 0;
        for file in &files {
            compared += self.check_pipeline_at(file, &tree, &commit.to_string(), &mut findings);
        }
        let failed = findings.iter().any(|finding| finding.code == Code::Pipeline);
        let is_unknown = findings
            .iter()
            .any(|finding| matches!(finding.code, Code::Absent | Code::Read));
        let state = match (failed, compared) {
            (true, _) => State::Failed,
            (false, 0) => State::NotChecked,
            (false, _) if is_unknown => State::NotChecked,
            (false, _) => State::Held,
        };
        if state == State::NotChecked && !is_unknown {
            let message = format!("no stage of commit {commit} could be compared with a receipt");
            findings.push(Finding::new(Code::Absent, message));
        }
        (state, findings)
    }

    /// Returns how many stages have a receipt that is of that commit.
    fn check_pipeline_at(
        &self,
        file: &Utf8Path,
        tree: &CommitTree<'_>,
        commit: &str,
        findings: &mut Vec<Finding>,
    ) -> usize {
        let fault = |message: String| Finding::new(Code::Pipeline, message).file(file).help(RUN_THERE);
        let plan = match self.resolve_at(file, tree, commit) {
            Ok(plan) => plan,
            Err(finding) => {
                findings.push(*finding);
                return 0;
            }
        };
        let unread = |error: TreeError| Misfit::Unknown(format!("{error} from the git repository"));
        let files = |path: &Utf8Path| {
            let digests = tree.file_digests(path).map_err(unread)?;
            let kind = tree.kind(path).map_err(unread)?;
            let digests = digests.ok_or_else(|| Misfit::Fault(format!("the commit has no file `{path}`")))?;
            Ok((digests, kind == Some(EntryKind::File { executable: true })))
        };
        tree.hash_ahead(self.sources(&plan).iter().map(Utf8PathBuf::as_path));
        let conformity = self.compare(&plan, &files, tree.tells_modes());
        let is_torn = tree.was_torn();
        for (stage, reason) in &conformity.faults {
            let name = &plan.stages[stage.index()].name;
            findings.push(fault(format!("stage `{name}` at commit {commit}: {reason}")));
        }
        findings.extend(conformity.unknown.iter().map(|(stage, reason)| {
            let name = &plan.stages[stage.index()].name;
            let message = format!("stage `{name}` at commit {commit}: {reason}");
            let finding = Finding::new(Code::Absent, message).file(file);
            if is_torn { finding.help(FETCH) } else { finding }
        }));
        findings.extend(self.others_in_place(&plan, &conformity).into_iter().map(|path| {
            let message = format!("is not what `{file}` gives at commit {commit}");
            Finding::new(Code::Pipeline, message).file(path)
        }));
        let written: BTreeSet<&Utf8Path> = outputs_of(&plan).collect();
        for path in self
            .asked_outputs(file)
            .into_iter()
            .filter(|path| !written.contains(path.as_path()))
        {
            // An output of a stage that is no more may stay in place; a file that is asked for by name must be made.
            let code = match self.request.what {
                What::Everything => Code::WarnStale,
                _ => Code::Pipeline,
            };
            let message = format!("no stage of `{file}` at commit {commit} writes it");
            findings.push(Finding::new(code, message).file(path));
        }
        conformity
            .accepted
            .iter()
            .filter(|receipts| !receipts.is_empty())
            .count()
    }

    /// The pipeline `file` as the commit has it, or what is wrong with it there.
    fn resolve_at(&self, file: &Utf8Path, tree: &CommitTree<'_>, commit: &str) -> Result<Plan, Box<Finding>> {
        // What could not be read of another pipeline explains no mistake of this one.
        let _ = tree.was_torn();
        (self.request.resolve)(tree, file).map_err(|why| {
            let why = first_mistake(&why);
            // What the commit has there is not known then: it is not said to be something else.
            let finding = match tree.was_torn() {
                true => {
                    let message = format!("the pipeline of commit {commit} cannot be compared with: {why}");
                    Finding::new(Code::Read, message).help(FETCH)
                }
                false => {
                    let message = format!("commit {commit} does not have a pipeline that can be resolved: {why}");
                    let is_gone = matches!(tree.kind(file), Ok(None));
                    Finding::new(Code::Pipeline, message).help(if is_gone { MOVED } else { RUN_THERE })
                }
            };
            Box::new(finding.file(file))
        })
    }

    /// The outputs in place that rest on the pipeline file `file`, by the names that their receipts give them.
    fn asked_outputs(&self, file: &Utf8Path) -> BTreeSet<Utf8PathBuf> {
        let mut outputs = BTreeSet::new();
        for (path, (maker, digests)) in &self.answer.makers {
            let statement = &self.evidence.receipts[*maker].statement;
            if statement.external().pipeline_file != *file || !statement.is_stage_success() {
                continue;
            }
            match statement.subject_named(path.as_str()) {
                Some(_) => outputs.extend([path.clone()]),
                // A copy: its original.
                None => {
                    let originals = statement
                        .subject
                        .iter()
                        .filter(|subject| artifact_digests(subject) == Some(*digests));
                    outputs.extend(originals.map(|subject| Utf8PathBuf::from(&subject.name)));
                }
            }
        }
        outputs
    }

    /// Outputs of the plan that are in place with other bytes than the receipts that are of the plan claim, or in whose place
    /// another output is.
    fn others_in_place(&self, plan: &Plan, conformity: &Conformity) -> Vec<Utf8PathBuf> {
        let mut others = Vec::new();
        for (stage, accepted) in plan.stages.iter().zip(&conformity.accepted) {
            for output in stage.outputs.iter().filter(|_| !accepted.is_empty()) {
                if self.answer.gave_way.contains(&output.path) {
                    others.push(output.path.clone());
                    continue;
                }
                let Some((_, digests)) = self.answer.makers.get(&output.path) else {
                    continue;
                };
                let claims = accepted.iter().any(|index| {
                    let subject = self.evidence.receipts[*index]
                        .statement
                        .subject_named(output.path.as_str());
                    subject.is_some_and(|subject| artifact_digests(subject) == Some(*digests))
                });
                if !claims {
                    others.push(output.path.clone());
                }
            }
        }
        others
    }

    /// The same comparison with the files as they are now: only a warning.
    pub(super) fn check_working_tree(&self) -> Vec<Finding> {
        let site = self.request.site;
        let places = RefCell::new(Places::new());
        let files = |path: &Utf8Path| -> Result<(Digests, bool), Misfit> {
            let mut places = places.borrow_mut();
            let place = places
                .entry(path.to_owned())
                .or_insert_with(|| places::look_at(site, path));
            let reason = match place {
                Place::File { digests, executable } => return Ok((*digests, *executable)),
                Place::Folder { .. } => format!("`{path}` is a folder, not a file"),
                Place::Absent => format!("`{path}` is not here"),
                Place::Refused(why) => format!("`{path}` {why}"),
                Place::Unreadable(why) => format!("`{path}` cannot be read: {why}"),
            };
            Err(Misfit::Fault(reason))
        };
        let mut findings = Vec::new();
        let stale = |file: &Utf8Path, message: String| {
            Finding::new(Code::WarnStale, message)
                .file(file)
                .help("`madmall plan` says what would run now, and why")
        };
        for file in self.pipeline_files(self.basis.iter().copied()) {
            let plan = match (self.request.resolve)(site.as_tree(), &file) {
                Ok(plan) => plan,
                Err(why) => {
                    let message = format!("cannot be resolved as it is now: {}", first_mistake(&why));
                    let finding = Finding::new(Code::WarnStale, message).file(&file);
                    findings.push(finding.help(format!(
                        "`madmall check {}` says where, and what to do",
                        shell_word(file.as_str())
                    )));
                    continue;
                }
            };
            // Hashed in parallel beforehand, and each file once.
            let unknown = |path: &Utf8PathBuf| !places.borrow().contains_key(path);
            let sources = self.sources(&plan).into_iter().filter(unknown).collect();
            places.borrow_mut().extend(places::look(site, sources));
            for (stage, reason) in self.compare(&plan, &files, true).faults {
                let name = &plan.stages[stage.index()].name;
                findings.push(stale(&file, format!("stage `{name}` as it is now: {reason}")));
            }
        }
        findings
    }

    /// Compares the stages that are asked about: all, or those that made what is asked for and what they rest on.
    fn compare(&self, plan: &Plan, files: Files<'_>, tells_modes: bool) -> Conformity {
        let definitions = Definitions::of(self.evidence);
        let selected = self.selected(plan);
        let ledger = conform::Ledger {
            evidence: self.evidence,
            definitions: &definitions,
            key: self.request.personal,
            tells_modes,
        };
        conform::compare(plan, files, ledger, &|id| selected.contains(&id))
    }

    fn selected(&self, plan: &Plan) -> BTreeSet<StageId> {
        match self.request.what {
            What::Everything => (0..plan.stages.len()).map(StageId::new).collect(),
            _ => self.stages_asked_for(plan),
        }
    }

    /// The files that the stages asked about read and no stage writes.
    fn sources(&self, plan: &Plan) -> HashSet<Utf8PathBuf> {
        let mut sources = HashSet::new();
        for id in self.selected(plan) {
            for input in &plan.stages[id.index()].inputs {
                sources.extend(input.source.files().map(Utf8Path::to_owned));
            }
        }
        sources
    }

    /// The stages that write what is asked for, and those before them.
    fn stages_asked_for(&self, plan: &Plan) -> BTreeSet<StageId> {
        let asked = self.asked_outputs(&plan.pipeline_file);
        let mut selected = BTreeSet::new();
        // A stage stands after those that it reads from: going backwards, each is reached after all that read from it.
        for (index, stage) in plan.stages.iter().enumerate().rev() {
            let writes = stage.outputs.iter().any(|output| asked.contains(&output.path));
            let id = StageId::new(index);
            if writes || selected.contains(&id) {
                selected.insert(id);
                selected.extend(stage.reads_from());
            }
        }
        selected
    }

    fn pipeline_files(&self, receipts: impl Iterator<Item = usize>) -> BTreeSet<Utf8PathBuf> {
        let file = |index: usize| self.evidence.receipts[index].statement.external().pipeline_file.clone();
        receipts.map(|index| Utf8PathBuf::from(file(index))).collect()
    }
}

/// The first mistake in a pipeline is enough here: who wants them all asks `check`.
fn first_mistake(why: &str) -> &str {
    let first = why.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first)
}

/// What to do about a revision that names nothing here.
fn advice(repository: &Repository, revision: &str) -> Option<String> {
    const UNSHALLOW: &str = "this clone is shallow: `git fetch --unshallow` brings the commits that it lacks";
    let meant = repository.meant(revision).map(|name| format!("did you mean `{name}`?"));
    match (meant, repository.is_shallow()) {
        (Some(meant), true) => Some(format!("{meant} Or {UNSHALLOW}")),
        (None, true) => Some(UNSHALLOW.to_owned()),
        (meant, false) => meant,
    }
}

fn outputs_of(plan: &Plan) -> impl Iterator<Item = &Utf8Path> {
    plan.stages
        .iter()
        .flat_map(|stage| stage.outputs.iter().map(|output| output.path.as_path()))
}

/// The verdict on each final artifact that is in place: of everything, those that no other one was made from.
pub(super) fn artifacts(
    evidence: &Evidence,
    answer: &Answer,
    trusted: &[TrustedKey],
    question: &Question<'_>,
) -> Vec<Artifact> {
    let asked_for_all = question.named.is_none() && question.chosen.is_none();
    let makers: BTreeSet<usize> = answer.makers.values().map(|(maker, _)| *maker).collect();
    let mut consumed: BTreeSet<(&str, &str)> = BTreeSet::new();
    // What failed has made nothing of it.
    let made = makers.iter().map(|index| &evidence.receipts[*index].statement);
    let made = made.filter(|statement| statement.is_stage_success());
    for dependency in made.flat_map(|statement| statement.dependencies()) {
        if let Role::Input { receipt: Some(id), .. } = dependency.role() {
            consumed.insert((id, &dependency.name));
        }
    }
    let mut sources: BTreeMap<usize, Vec<Source>> = BTreeMap::new();
    let mut artifacts = Vec::new();
    for (path, (maker, digests)) in &answer.makers {
        let receipt = &evidence.receipts[*maker];
        let id = receipt.id.to_string();
        let is_final = !consumed.contains(&(id.as_str(), path.as_str()));
        let is_shown = !asked_for_all || (is_final && receipt.statement.is_stage_success());
        let Some((stage, _)) = receipt.statement.stage().filter(|_| is_shown) else {
            continue;
        };
        let made = &receipt.statement.internal().made;
        artifacts.push(Artifact {
            path: path.to_string(),
            copy_of: original(receipt, path, *digests),
            sha256: matches!(digests, ArtifactDigests::File(_)).then(|| digests.public()),
            dir_hash: matches!(digests, ArtifactDigests::Folder(_)).then(|| digests.public()),
            keyed: matches!(digests, ArtifactDigests::Keyed(_)).then(|| digests.public()),
            receipt: id,
            stage: stage.name.clone(),
            pipeline_file: receipt.statement.external().pipeline_file.clone(),
            run: receipt.statement.metadata().invocation_id.clone(),
            commit: made.commit.clone(),
            uncommitted: !made.differs.is_empty(),
            finished_on: receipt.statement.metadata().finished_on.clone(),
            signer: super::signer_name(trusted, receipt.signer),
            keyid: receipt.keyid.to_string(),
            sources: sources
                .entry(*maker)
                .or_insert_with(|| raw_inputs(evidence, *maker))
                .clone(),
        });
    }
    artifacts
}

/// What `path` is a copy of, if `receipt` does not name it but made the same bytes.
fn original(receipt: &Known, path: &Utf8Path, digests: ArtifactDigests) -> Option<String> {
    let statement = &receipt.statement;
    let is_it = |subject: &&Resource| artifact_digests(subject) == Some(digests);
    match statement.subject_named(path.as_str()) {
        Some(_) => None,
        None => statement.subject.iter().find(is_it).map(|subject| subject.name.clone()),
    }
}

/// Everything that nothing recorded made, of a receipt and all it rests on.
fn raw_inputs(evidence: &Evidence, receipt: usize) -> Vec<Source> {
    let source = |dependency: &Resource| match dependency.role() {
        Role::Input { receipt: None, .. } => Some(Source {
            path: dependency.name.clone(),
            digest: dependency.digest.public()?,
        }),
        _ => None,
    };
    let chain = evidence.with_ancestors([receipt]);
    let dependencies = chain
        .iter()
        .flat_map(|index| evidence.receipts[*index].statement.dependencies());
    let sources: BTreeSet<Source> = dependencies.filter_map(source).collect();
    sources.into_iter().collect()
}
