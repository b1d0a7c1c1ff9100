//! One stage, from its inputs to its receipt: what a worker does.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::PoisonError;
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};

use super::attest::{StageRecord, Times, files_used, stage_statement};
use super::command::CommandEnd;
use super::event::{Advice, Failure, FailureKind, Note, StageOutcome, StageReport};
use super::inputs::{FileState, InputState};
use super::process::Ended;
use super::root::{ExecutionRoot, RootEntry, RootError};
use super::{CacheMode, ExecError, Session};
use crate::digest::{Digest, hash_file};
use crate::listing::ArtifactDigests;
use crate::plan::action::{Resolved, action_digest};
use crate::plan::stage_name::log_name;
use crate::plan::stale::Stale;
use crate::plan::{Command, InputSource, Stage, StageId};
use crate::receipt::envelope::sign;
use crate::receipt::statement::{Outcome, ReceiptId, Resource, Role};
use crate::stages::Progress;
use crate::store::believed::{Claim, ClaimedOutput};
use crate::store::{StoreError, atomic};

/// The number of the signal that asks a program to end.
const TERMINATED: i32 = 15;

/// What the stages before have given: for each input that is another stage's output, what it holds, and its receipt.
pub type Upstream = BTreeMap<usize, InputState>;

/// What a stage has given to those after it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The receipt.
    pub receipt: ReceiptId,
    /// Its outputs in place, in the order of [`Stage::outputs`].
    pub outputs: Vec<InputState>,
    /// The receipt's subject.
    pub subject: Vec<Resource>,
}

/// What a worker tells the owner while a stage goes on.
pub enum Said {
    /// It runs, for these reasons.
    Started(Vec<Stale>),
    /// It is this far.
    Progress(Progress),
    /// The user should know this.
    Note(Note),
}

/// What is wanted of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That it is up to date. A temporary output need not be here for that.
    Settled,
    /// That its temporary outputs are here too: this stage has to run, and reads one.
    Outputs {
        /// That stage.
        by: StageId,
    },
}

/// What came of a stage.
pub enum Brought {
    /// It is done with.
    Done(Box<Done>),
    /// It has to run, and temporary outputs that it reads are not here: these stages make them.
    Needs(Vec<StageId>),
}

/// A stage that is done with.
pub struct Done {
    /// How it ended.
    pub report: StageReport,
    /// What it gives, if it is up to date now; or the receipt and log of its failure.
    pub given: Option<Given>,
}

/// Brings one stage up to date: from the store, or by running it.
pub fn bring_up_to_date(
    session: &Session<'_>,
    (id, wanted): (StageId, Wanted),
    upstream: &Upstream,
    say: &dyn Fn(Said),
) -> Brought {
    let began = Instant::now();
    let mut why = Vec::new();
    let (outcome, given) = match attempt(session, (id, wanted), upstream, say, &mut why) {
        Ok(Ok(ended)) => ended,
        Ok(Err(makers)) => return Brought::Needs(makers),
        Err(ExecError::Interrupted) => (StageOutcome::Interrupted, None),
        Err(error) => (StageOutcome::Broken(Box::new(error)), None),
    };
    Brought::Done(Box::new(Done {
        report: StageReport {
            outcome,
            elapsed: began.elapsed(),
            why,
        },
        given,
    }))
}

/// What an attempt came to; or the stages that have to make something before.
type Tried = Result<(StageOutcome, Option<Given>), Vec<StageId>>;

/// A stage with all that its action is made of.
pub(super) struct Attempt<'a> {
    pub(super) session: &'a Session<'a>,
    id: StageId,
    pub(super) stage: &'a Stage,
    pub(super) inputs: Vec<InputState>,
    pub(super) resolved: Resolved,
    action: Digest,
    pub(super) say: &'a dyn Fn(Said),
}

fn attempt(
    session: &Session<'_>,
    (id, wanted): (StageId, Wanted),
    upstream: &Upstream,
    say: &dyn Fn(Said),
    why: &mut Vec<Stale>,
) -> Result<Tried, ExecError> {
    let attempt = Attempt::new(session, id, upstream, say)?;
    if session.options.cache == CacheMode::Use
        && let Some(claim) = session.believed.lookup(attempt.action)
    {
        match attempt.put_in_place(claim, wanted)? {
            Placed::Whole { restored, given } => {
                let outcome = StageOutcome::UpToDate {
                    receipt: claim.id,
                    restored,
                };
                session.compare_tools(id, claim);
                return Ok(Ok((outcome, Some(given))));
            }
            Placed::Missing(path) => why.push(match wanted {
                Wanted::Outputs { by } if attempt.is_temporary(&path) => Stale::Needed {
                    path,
                    by: session.plan.stages[by.index()].name.clone(),
                },
                _ => Stale::OutputMissing { path },
            }),
        }
    }
    let makers = attempt.makers_of_gone();
    if !makers.is_empty() {
        return Ok(Err(makers));
    }
    if why.is_empty() {
        *why = attempt.reasons();
    }
    say(Said::Started(why.clone()));
    attempt.run().map(Ok)
}

/// The stage, if it is up to date and that is known without reading a file: so quickly that no worker is asked.
pub fn known_up_to_date(session: &Session<'_>, id: StageId, upstream: &Upstream) -> Option<Done> {
    if session.options.cache == CacheMode::Bypass {
        return None;
    }
    let began = Instant::now();
    let stage = &session.plan.stages[id.index()];
    // A temporary output need not be there, and to look at the files of a folder is work for all cores.
    if stage
        .outputs
        .iter()
        .any(|output| output.is_temporary || output.is_folder)
    {
        return None;
    }
    let inputs = inputs_of(stage, upstream, |source| match source {
        InputSource::File { path } => {
            let (path, hashed) = (path.clone(), session.hashes.vouched(path).ok_or(())?);
            Ok(FileState { path, hashed }.into())
        }
        _ => Err(()),
    });
    let attempt = Attempt::with(session, id, inputs.ok()?, &|_| {});
    let claim = session.believed.lookup(attempt.action)?;
    let mut states = Vec::with_capacity(claim.outputs.len());
    for output in &claim.outputs {
        let path = Utf8PathBuf::from(&output.path);
        let hashed = session.hashes.vouched(&path)?;
        let state = InputState::from(FileState { path, hashed });
        states.push(Some(state).filter(|state| state.is(output))?);
    }
    let given = attempt.given(claim.id, &claim.outputs, states, Vec::new()).ok()?;
    session.compare_tools(id, claim);
    let outcome = StageOutcome::UpToDate {
        receipt: claim.id,
        restored: Vec::new(),
    };
    Some(Done {
        report: StageReport {
            outcome,
            elapsed: began.elapsed(),
            why: Vec::new(),
        },
        given: Some(given),
    })
}

/// What the stage reads: from the stages before, or by `look`.
fn inputs_of<E>(
    stage: &Stage,
    upstream: &Upstream,
    look: impl Fn(&InputSource) -> Result<InputState, E>,
) -> Result<Vec<InputState>, E> {
    let inputs = (0..).zip(&stage.inputs).map(|(index, input)| {
        let made = match &input.source {
            InputSource::Output { .. } => upstream.get(&index),
            _ => None,
        };
        match made {
            Some(state) => Ok(state.clone()),
            None => look(&input.source),
        }
    });
    inputs.collect()
}

/// A try: the root it was made in, the tools it used, and what went wrong, if anything.
type Trial = (ExecutionRoot, CommandEnd);

/// Whether the outputs that a receipt claims are in place.
enum Placed {
    /// They are, perhaps put back just now.
    Whole { restored: Vec<Utf8PathBuf>, given: Given },
    /// This one is neither in place nor in the store.
    Missing(Utf8PathBuf),
}

impl<'a> Attempt<'a> {
    fn new(
        session: &'a Session<'a>,
        id: StageId,
        upstream: &Upstream,
        say: &'a dyn Fn(Said),
    ) -> Result<Self, ExecError> {
        let stage = &session.plan.stages[id.index()];
        let inputs = inputs_of(stage, upstream, |source| session.hashes.source(source))?;
        Ok(Self::with(session, id, inputs, say))
    }

    fn with(session: &'a Session<'a>, id: StageId, inputs: Vec<InputState>, say: &'a dyn Fn(Said)) -> Self {
        let stage = &session.plan.stages[id.index()];
        let resolved = Resolved {
            inputs: inputs.iter().map(InputState::resolved).collect(),
            env: stage
                .env
                .iter()
                .map(|name| session.environment.get(name).cloned())
                .collect(),
            tools: session.pinned(stage),
        };
        let action = action_digest(session.plan, stage, &resolved);
        Self {
            session,
            id,
            stage,
            inputs,
            resolved,
            action,
            say,
        }
    }

    /// Why the stage must run, by its last receipt.
    fn reasons(&self) -> Vec<Stale> {
        let session = self.session;
        if session.options.cache == CacheMode::Bypass {
            return vec![Stale::Forced];
        }
        super::forecast::reasons(session.plan, self.stage, &self.resolved, &session.believed)
    }

    /// The stages that make the temporary outputs which this one reads, and which are not here.
    fn makers_of_gone(&self) -> Vec<StageId> {
        let inputs = self.stage.inputs.iter().zip(&self.inputs);
        let mut makers: Vec<StageId> = inputs
            .filter(|(_, state)| state.is_gone())
            .filter_map(|(input, _)| match input.source {
                InputSource::Output { stage, .. } => Some(stage),
                _ => None,
            })
            .collect();
        makers.sort_unstable();
        makers.dedup();
        makers
    }

    fn is_temporary(&self, path: &Utf8Path) -> bool {
        let mut outputs = self.stage.outputs.iter();
        outputs.any(|output| output.is_temporary && output.path == path)
    }

    /// Puts the outputs that `claim` names in place, from the store where they are not there already; those that are temporary
    /// only if they are wanted.
    fn put_in_place(&self, claim: &Claim, wanted: Wanted) -> Result<Placed, ExecError> {
        let mut restored = Vec::new();
        let mut states = Vec::with_capacity(claim.outputs.len());
        for output in &claim.outputs {
            let path = Utf8Path::new(&output.path);
            let is_folder = matches!(output.digests, ArtifactDigests::Folder(_));
            if wanted == Wanted::Settled && self.is_temporary(path) {
                let found = self.session.hashes.output_if_there(path, is_folder).ok().flatten();
                let found = found.filter(|state| state.is(output));
                states.push(Some(found.unwrap_or_else(|| InputState::gone(output))));
                continue;
            }
            states.push(match self.session.hashes.output(path, is_folder) {
                Ok(state) if state.is(output) => Some(state),
                _ if self.session.store.holds(&output.digests) => None,
                _ => return Ok(Placed::Missing(path.to_owned())),
            });
        }
        for (output, state) in claim.outputs.iter().zip(&mut states) {
            if state.is_some() {
                continue;
            }
            match self.place(output) {
                Err(ExecError::Store(StoreError::Damaged { .. })) => {
                    return Ok(Placed::Missing(output.path.clone().into()));
                }
                placed => *state = Some(placed?),
            }
            restored.push(output.path.clone().into());
        }
        let states = states.into_iter().flatten().collect();
        let given = self.given(claim.id, &claim.outputs, states, Vec::new())?;
        Ok(Placed::Whole { restored, given })
    }

    /// Puts one output in place from the store. What lies there and could be lost is moved away first.
    /// Gives what lies there then.
    fn place(&self, output: &ClaimedOutput) -> Result<InputState, ExecError> {
        let path = Utf8Path::new(&output.path);
        let digests = match &output.digests {
            ArtifactDigests::Folder(listing) => return self.place_folder(path, listing),
            ArtifactDigests::File(digests) => digests,
        };
        self.displace(path)?;
        let absolute = self.session.workspace.absolute(path);
        let cas = self.session.store.cas();
        cas.place(digests.blake3, &absolute, output.executable)?;
        self.session.unsynced.add(absolute);
        self.session.note_placed(path);
        let found = self.session.hashes.output(path, false);
        Ok(found.map_err(|source| StoreError::Read {
            path: path.to_owned(),
            source,
        })?)
    }

    /// Moves what lies at `path` to `.madmall/displaced/`, unless the store has the same bytes under a believed receipt.
    pub(super) fn displace(&self, path: &Utf8Path) -> Result<(), ExecError> {
        let session = self.session;
        let absolute = session.workspace.absolute(path);
        match fs::symlink_metadata(&absolute) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(StoreError::Read { path: absolute, source }.into()),
            Ok(found) if found.is_file() => {
                let digest = session.hashes.file(path).map(|hashed| hashed.digests.blake3);
                if digest
                    .is_ok_and(|digest| session.believed.is_claimed(digest) && session.store.cas().contains(digest))
                {
                    return Ok(());
                }
            }
            Ok(_) => {}
        }
        let to = session.store.displaced_folder(&session.run_id).join(path);
        atomic::rename(&absolute, &to)?;
        let to = to.strip_prefix(session.workspace.root()).unwrap_or(&to).to_owned();
        (self.say)(Said::Note(Note::Displaced {
            path: path.to_owned(),
            to,
        }));
        Ok(())
    }

    /// What the stage gives to those after it, once its outputs are in place: `states`, in the order of `outputs`.
    fn given(
        &self,
        receipt: ReceiptId,
        outputs: &[ClaimedOutput],
        states: Vec<InputState>,
        subject: Vec<Resource>,
    ) -> Result<Given, ExecError> {
        let subject = if subject.is_empty() {
            outputs.iter().map(output_resource).collect()
        } else {
            subject
        };
        let claimed = outputs.iter().zip(states);
        let mut by_name: BTreeMap<&str, (&ClaimedOutput, InputState)> = claimed
            .map(|(output, state)| (output.name.as_str(), (output, state)))
            .collect();
        let states = self.stage.outputs.iter().map(|output| {
            let found = by_name.remove(output.name.as_str());
            match found.filter(|(claimed, state)| claimed.digests == state.digests()) {
                Some((_, state)) => Ok(InputState {
                    receipt: Some(receipt),
                    ..state
                }),
                None => Err(ExecError::OutputMeddled {
                    path: output.path.clone(),
                }),
            }
        });
        Ok(Given {
            receipt,
            outputs: states.collect::<Result<_, _>>()?,
            subject,
        })
    }

    /// Runs the stage and attests what came of it.
    fn run(&self) -> Result<(StageOutcome, Option<Given>), ExecError> {
        let session = self.session;
        let started = (session.clock)();
        let log = session
            .store
            .output_folder(&session.run_id)
            .join(format!("{}.log", log_name(&self.stage.name)));
        atomic::create_folder(atomic::folder_of(&log))?;
        let base = session
            .store
            .scratch_folder()
            .join(&session.run_id)
            .join(self.id.index().to_string());
        let entries = match self.stage.command {
            Command::Builtin { .. } => Vec::new(),
            _ => self.root_entries(),
        };
        let of = self.stage.limits.retries.unwrap_or(0);
        let mut retry = 0;
        let (root, end, failure) = loop {
            let (root, mut end) = self.try_once(&base, entries.clone(), &log, retry)?;
            match end.failure.take() {
                Some(kind) if retry < of && kind.is_of_program() => {
                    retry += 1;
                    append_to_log(&log, &kind)?;
                    let (stage, why) = (self.id, kind.to_string());
                    (self.say)(Said::Note(Note::Retrying { stage, why, retry, of }));
                    root.remove()?;
                }
                failure => break (root, end, failure),
            }
        };
        let finished = (session.clock)();
        let times = Times {
            run: &session.run_id,
            started,
            finished,
        };
        let (outcome, given, cleared) = match failure {
            Some(kind) => {
                let advice = self.advice(&kind, &root, &log);
                let (outcome, given) = self.fail((kind, advice), &log, &end, times)?;
                (outcome, given, root.remove())
            }
            None => {
                let (outcome, given) = self.succeed(&root, &end, times)?;
                (outcome, given, root.leave(&self.stage.outputs, &session.room))
            }
        };
        // There is a receipt, whatever happens now: the run's own has to name it.
        Ok(match cleared {
            Ok(()) => (outcome, Some(given)),
            Err(error) => (StageOutcome::Broken(Box::new(error)), Some(given)),
        })
    }

    /// Runs the command in a root of its own. Gives the root, and how the command ended, with what it left.
    fn try_once(
        &self,
        base: &Utf8Path,
        entries: Vec<RootEntry>,
        log: &Utf8Path,
        retry: u32,
    ) -> Result<Trial, ExecError> {
        let root = ExecutionRoot::prepare(base.to_owned(), entries, &self.stage.outputs);
        let root = root.map_err(|error| match error {
            RootError::Store(error) => ExecError::Store(error),
            other => ExecError::Root(other),
        })?;
        let mut end = self.run_in(&root, log, retry)?;
        if self.session.interrupts.is_requested() {
            return Err(ExecError::Interrupted);
        }
        if end.failure.is_none() {
            end.failure = self.check_after(&root)?;
        }
        Ok((root, end))
    }

    /// What the stage left or what happened to its inputs that makes its success none.
    fn check_after(&self, root: &ExecutionRoot) -> Result<Option<FailureKind>, ExecError> {
        let breaches = root.breaches(&self.stage.outputs).map_err(ExecError::Root)?;
        if !breaches.is_empty() {
            return Ok(Some(FailureKind::Breaches(breaches)));
        }
        let changed = self.session.hashes.first_changed(&self.inputs);
        Ok(changed.map(|path| FailureKind::InputChanged(path.to_owned())))
    }

    /// Takes the outputs into the store, attests them, and puts them in place: in this order, so that whatever is in
    /// place has a receipt, and whatever has a receipt is in the store. If they are attested and cannot be put in place, the
    /// receipt is given all the same: the next run puts them there.
    fn succeed(
        &self,
        root: &ExecutionRoot,
        end: &CommandEnd,
        times: Times<'_>,
    ) -> Result<(StageOutcome, Given), ExecError> {
        let mut outputs = Vec::new();
        for output in &self.stage.outputs {
            let made = root.folder().join(&output.path);
            let (digests, executable) = match output.is_folder {
                true => (ArtifactDigests::Folder(self.take_folder(&made, &output.path)?), false),
                false => self.take_file(&made)?,
            };
            outputs.push(ClaimedOutput {
                name: output.name.clone(),
                path: output.path.to_string(),
                digests,
                executable,
            });
        }
        let subject: Vec<Resource> = outputs.iter().map(output_resource).collect();
        let receipt = self.attest(Outcome::Succeeded, subject.clone(), end, times)?;
        self.compare_with_others(&outputs);
        let placed = self.place_all(&outputs).and_then(|(states, changed)| {
            let given = self.given(receipt, &outputs, states, subject.clone())?;
            Ok((StageOutcome::Ran { receipt, changed }, given))
        });
        Ok(placed.unwrap_or_else(|error| {
            let given = Given {
                receipt,
                outputs: Vec::new(),
                subject,
            };
            (StageOutcome::Broken(Box::new(error)), given)
        }))
    }

    /// Puts in place what is not there. Gives what lies there then, and whether anything is new.
    fn place_all(&self, outputs: &[ClaimedOutput]) -> Result<(Vec<InputState>, bool), ExecError> {
        let mut changed = false;
        let mut states = Vec::with_capacity(outputs.len());
        for output in outputs {
            let is_folder = matches!(output.digests, ArtifactDigests::Folder(_));
            let in_place = self.session.hashes.output(Utf8Path::new(&output.path), is_folder);
            states.push(match in_place {
                Ok(state) if state.is(output) => state,
                _ => {
                    changed = true;
                    self.place(output)?
                }
            });
        }
        Ok((states, changed))
    }

    /// Takes the file that the stage has made at `made` into the store.
    fn take_file(&self, made: &Utf8Path) -> Result<(ArtifactDigests, bool), ExecError> {
        let failed = |source| StoreError::Read {
            path: made.to_owned(),
            source,
        };
        let (digests, _) = hash_file(made).map_err(failed)?;
        let executable = is_executable(made).map_err(failed)?;
        let object = self.session.store.cas().adopt(made, digests.blake3)?;
        self.session.unsynced.add(object);
        Ok((ArtifactDigests::File(digests), executable))
    }

    fn fail(
        &self,
        (kind, advice): (FailureKind, Advice),
        log: &Utf8Path,
        end: &CommandEnd,
        times: Times<'_>,
    ) -> Result<(StageOutcome, Given), ExecError> {
        if !matches!(kind, FailureKind::Ended(_) | FailureKind::Refused(_)) {
            append_to_log(log, &kind)?;
        }
        let failed = |source| StoreError::Read {
            path: log.to_owned(),
            source,
        };
        let (digests, _) = hash_file(log).map_err(failed)?;
        self.session.unsynced.add(log.to_owned());
        let name = log
            .strip_prefix(self.session.workspace.root())
            .unwrap_or(log)
            .to_owned();
        let role = Role::Log {
            stage: self.stage.name.clone(),
        };
        let subject = vec![Resource::file(name.as_str(), &digests, role)];
        let outcome = match &kind {
            // It may have ended well when it was asked to: that is no success.
            FailureKind::TimedOut {
                ended: Ended::Exited(0),
                ..
            } => Outcome::Signalled(TERMINATED),
            FailureKind::TimedOut { ended, .. } | FailureKind::Ended(ended) => match ended {
                Ended::Exited(code) => Outcome::Exited(*code),
                Ended::Signalled(signal) => Outcome::Signalled(*signal),
            },
            FailureKind::Refused(_) => Outcome::Refused,
            FailureKind::Breaches(_) | FailureKind::InputChanged(_) => Outcome::BrokeDeclaration,
        };
        let receipt = self.attest(outcome, subject.clone(), end, times)?;
        let given = Given {
            receipt,
            outputs: Vec::new(),
            subject,
        };
        Ok((
            StageOutcome::Failed(Failure {
                receipt,
                kind,
                log: name,
                advice,
            }),
            given,
        ))
    }

    /// Signs what happened; when this returns, the receipt survives the end of the process.
    fn attest(
        &self,
        outcome: Outcome,
        subject: Vec<Resource>,
        end: &CommandEnd,
        times: Times<'_>,
    ) -> Result<ReceiptId, ExecError> {
        let session = self.session;
        let made = session.made(&files_used(session.plan, self.stage, &self.inputs), self.say);
        let statement = stage_statement(StageRecord {
            plan: session.plan,
            stage: self.stage,
            action: self.action,
            resolved: &self.resolved,
            inputs: &self.inputs,
            tools: &end.tools,
            sandbox: &end.sandbox,
            outcome,
            subject,
            made,
            logs: session.logs()?,
            times,
        });
        let envelope = sign(&statement, session.key)?;
        let mut pending = session.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let line = pending.append(&envelope)?;
        session.note_claim(&envelope, &statement, line);
        if session.unsynced.is_due() {
            session.unsynced.commit()?;
            pending.sync()?;
        }
        Ok(envelope.receipt_id())
    }

    /// Whether others who ran the same action got the same outputs.
    fn compare_with_others(&self, outputs: &[ClaimedOutput]) {
        for claim in self.session.believed.by_others(self.action) {
            let (stage, keyid) = (self.id, claim.keyid.clone());
            let other = outputs.iter().find(|ours| {
                claim
                    .outputs
                    .iter()
                    .any(|theirs| theirs.name == ours.name && theirs.digests != ours.digests)
            });
            (self.say)(Said::Note(match other {
                None => Note::Confirmed { stage, keyid },
                Some(output) => Note::Diverged {
                    stage,
                    keyid,
                    path: output.path.clone().into(),
                },
            }));
        }
    }
}

fn output_resource(output: &ClaimedOutput) -> Resource {
    let role = Role::Output {
        output: output.name.clone(),
        stage: None,
        executable: output.executable,
    };
    match &output.digests {
        ArtifactDigests::File(digests) => Resource::file(&output.path, digests, role),
        ArtifactDigests::Folder(listing) => Resource::tree(&output.path, listing, role),
    }
}

fn append_to_log(log: &Utf8Path, kind: &FailureKind) -> Result<(), StoreError> {
    let write = || {
        let mut file = File::options().append(true).open(log)?;
        match kind {
            FailureKind::Breaches(breaches) => breaches
                .iter()
                .try_for_each(|breach| writeln!(file, "madmall: {breach}")),
            FailureKind::InputChanged(path) => {
                writeln!(file, "madmall: its input `{path}` changed while it ran")
            }
            FailureKind::TimedOut { .. } => writeln!(file, "madmall: it {kind}"),
            FailureKind::Ended(_) | FailureKind::Refused(_) => Ok(()),
        }
    };
    write().map_err(|source| StoreError::Write {
        path: log.to_owned(),
        source,
    })
}

#[cfg(unix)]
pub(super) fn is_executable(path: &Utf8Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::metadata(path)?.permissions().mode() & 0o100 != 0)
}

#[cfg(not(unix))]
pub(super) fn is_executable(_path: &Utf8Path) -> io::Result<bool> {
    Ok(false)
}
