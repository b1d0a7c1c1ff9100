//! A stage that runs: tried, attested, and its outputs taken into the store and put in place.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::sync::PoisonError;

use camino::{Utf8Path, Utf8PathBuf};

use super::ExecError;
use super::attest::{StageRecord, Times, files_used, stage_statement};
use super::command::{CommandEnd, write_refusal};
use super::event::{Advice, Failure, FailureKind, Note, StageOutcome};
use super::inputs::InputError;
use super::passed_on::Known;
use super::place::output_resource;
use super::process::Ended;
use super::root::{ExecutionRoot, RootEntry, RootError};
use super::stage::{Attempt, Given, Said, Subject};
use crate::commitment::PersonalKey;
use crate::consent::population::{KeptPopulation, Population};
use crate::digest::{Digests, hash_file, hash_sized};
use crate::held::Held;
use crate::listing::ArtifactDigests;
use crate::plan::stage_name::log_name;
use crate::plan::{Command, Output};
use crate::receipt::envelope::sign;
use crate::receipt::statement::{Outcome, ReceiptId, Resource, Role};
use crate::stages::Refusal;
use crate::stamp::Stamp;
use crate::store::believed::ClaimedOutput;
use crate::store::{StoreError, atomic};

/// The number of the signal that asks a program to end.
const TERMINATED: i32 = 15;

/// A try: the root it was made in, the tools it used, what went wrong, if anything, and what is known of outputs that are inputs.
type Trial = (ExecutionRoot, CommandEnd, Known);

impl Attempt<'_> {
    /// Attests that the stage may not begin.
    pub(super) fn refuse(&self, refusal: Refusal) -> Result<(StageOutcome, Option<Given>), ExecError> {
        let now = (self.session.clock)();
        let log = self.log();
        let written = begin_log(&log).and_then(|mut file| write_refusal(&mut file, &refusal));
        written.map_err(|source| StoreError::Write {
            path: log.clone(),
            source,
        })?;
        let times = Times {
            run: &self.session.run_id,
            started: now,
            finished: now,
        };
        let kind = FailureKind::Refused(refusal);
        let (outcome, given) = self.fail((kind, Advice::default()), &log, &CommandEnd::default(), times)?;
        Ok((outcome, Some(given)))
    }

    /// Where the stage's log is to be.
    fn log(&self) -> Utf8PathBuf {
        let folder = self.session.store.output_folder(&self.session.run_id);
        folder.join(format!("{}.log", log_name(&self.stage.name)))
    }

    /// Runs the stage and attests what came of it.
    pub(super) fn run(&self) -> Result<(StageOutcome, Option<Given>), ExecError> {
        let session = self.session;
        if !self.stage.personal.is_empty() && self.stage.actual.is_none() {
            let path = session.plan.pipeline_file.clone();
            return Err(InputError::NoSecret { path }.into());
        }
        let started = (session.clock)();
        let log = self.log();
        let base = session.scratch().join(self.id.index().to_string());
        let entries = match self.stage.command {
            Command::Builtin { .. } => Vec::new(),
            _ => self.root_entries(),
        };
        let of = self.stage.limits.retries.unwrap_or(0);
        let mut retry = 0;
        let (root, end, known, failure) = loop {
            let (root, mut end, known) = self.try_once(&base, entries.clone(), &log, retry)?;
            match end.failure.take() {
                Some(kind) if retry < of && kind.is_of_program() => {
                    retry += 1;
                    append_to_log(&log, &kind)?;
                    let (stage, why) = (self.id, kind.to_string());
                    (self.say)(Said::Note(Note::Retrying { stage, why, retry, of }));
                    root.remove()?;
                }
                failure => break (root, end, known, failure),
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
                let (outcome, given) = self.succeed((&root, &known), &end, times)?;
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
        let mut known = Known::new();
        if end.failure.is_none() {
            match self.check_after(&root, &end)? {
                Ok(found) => known = found,
                Err(kind) => end.failure = Some(kind),
            }
        }
        Ok((root, end, known))
    }

    /// What the stage left or what happened to its inputs that makes its success none; or what is known of the outputs that are
    /// inputs, which are brought here once it is known that there is nothing in their places.
    fn check_after(&self, root: &ExecutionRoot, end: &CommandEnd) -> Result<Result<Known, FailureKind>, ExecError> {
        let is_written = |output: &&Output| !end.passed_on.contains_key(&output.name);
        let written: Vec<Output> = self.stage.outputs.iter().filter(is_written).cloned().collect();
        let breaches = root.breaches(&written).map_err(ExecError::Root)?;
        if !breaches.is_empty() {
            return Ok(Err(FailureKind::Breaches(breaches)));
        }
        let known = match self.bring_passed_on(root, &end.passed_on)? {
            Ok(known) => known,
            Err(kind) => return Ok(Err(kind)),
        };
        let changed = self.session.hashes.first_changed(&self.inputs);
        Ok(match changed {
            None => Ok(known),
            Some(path) => Err(FailureKind::InputChanged(path.to_owned())),
        })
    }

    /// Takes the outputs into the store, attests them, and puts them in place: in this order, so that whatever is in
    /// place has a receipt, and whatever has a receipt is in the store. If they are attested and cannot be put in place, the
    /// receipt is given all the same: the next run puts them there.
    fn succeed(
        &self,
        (root, known): (&ExecutionRoot, &Known),
        end: &CommandEnd,
        times: Times<'_>,
    ) -> Result<(StageOutcome, Given), ExecError> {
        let mut consents = self.session.consents(self.stage, self.inputs.iter(), &end.consents);
        let mut outputs = Vec::new();
        for output in &self.stage.outputs {
            let key = self.key_of(output)?;
            let (digests, executable) = match known.get(&output.name) {
                Some(digests) => (self.take_passed_on(root, &output.path, digests, key)?, false),
                None if output.is_folder => (self.take_folder(root, &output.path, key)?, false),
                None => self.take_file(root, &output.path, key)?,
            };
            outputs.push(ClaimedOutput {
                name: output.name.clone(),
                path: output.path.to_string(),
                digests,
                executable,
                consent: consents.remove(&output.name),
                is_declassified: self.stage.declassify.binary_search(&output.name).is_ok(),
            });
        }
        let subject: Vec<Resource> = outputs.iter().map(output_resource).collect();
        if let Some(population) = &end.population {
            self.keep_population(population)?;
        }
        let receipt = self.attest(Outcome::Succeeded, subject.clone(), end, times)?;
        self.compare_with_others(&outputs);
        let placed = self.place_all(&outputs).and_then(|(states, changed)| {
            let given = Given {
                receipt,
                outputs: self.given_states(receipt, &outputs, states)?,
                sources: self.known_sources(),
                subject: Subject::Own(subject.clone()),
            };
            Ok((StageOutcome::Ran { receipt, changed }, given))
        });
        Ok(placed.unwrap_or_else(|error| {
            let given = Given {
                receipt,
                outputs: Vec::new(),
                sources: None,
                subject: Subject::Own(subject),
            };
            (StageOutcome::Broken(Box::new(error)), given)
        }))
    }

    /// Keeps the tokens of the events that were let in, so that what the receipt says of them can be shown.
    fn keep_population(&self, population: &Population) -> Result<(), ExecError> {
        let to = KeptPopulation::place(self.session.store, population.root);
        let failed = |source| StoreError::Write {
            path: to.clone(),
            source,
        };
        atomic::create_folder(atomic::folder_of(&to))?;
        fs::rename(&population.file, &to).map_err(failed)?;
        self.session.unsynced.add(to);
        Ok(())
    }

    /// What the digests of `output` are keyed by, if it is personal.
    pub(super) fn key_of(&self, output: &Output) -> Result<Option<&PersonalKey>, ExecError> {
        match (output.is_personal, self.session.hashes.key()) {
            (false, _) => Ok(None),
            (true, Some(key)) => Ok(Some(key)),
            (true, None) => {
                let path = output.path.clone();
                Err(InputError::NoSecret { path }.into())
            }
        }
    }

    /// Takes the file that the stage has made at `path` into the store, by keyed digests if there is a `key`.
    fn take_file(
        &self,
        root: &ExecutionRoot,
        path: &Utf8Path,
        key: Option<&PersonalKey>,
    ) -> Result<(ArtifactDigests, bool), ExecError> {
        let read = MadeFile::read(root.held(), path).map_err(|source| StoreError::Read {
            path: root.folder().join(path),
            source,
        })?;
        let plain = ArtifactDigests::File(read.digests);
        let digests = plain.keyed_by(key);
        let move_to = |to: &Utf8Path| root.held().move_out(path, to);
        let object = self
            .session
            .store
            .cas()
            .adopt((&read.file, &read.found), digests.blake3(), move_to)?;
        self.session.unsynced.add_sized(object, read.bytes);
        Ok((digests, read.executable))
    }

    fn fail(
        &self,
        (kind, advice): (FailureKind, Advice),
        log: &Utf8Path,
        end: &CommandEnd,
        times: Times<'_>,
    ) -> Result<(StageOutcome, Given), ExecError> {
        if !matches!(kind, FailureKind::Refused(_)) {
            // Where there is no room for a copy it stays as it is: what is written to it later is found, as any change is.
            let _ = part_from_writers(log);
        }
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
        // What a program says of what is personal may be personal too.
        let plain = ArtifactDigests::File(digests);
        let key = self.session.hashes.key().filter(|_| self.stage.is_personal());
        let digests = plain.keyed_by(key);
        let subject = vec![Resource::artifact(name.as_str(), &digests, role)];
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
            sources: None,
            subject: Subject::Own(subject),
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
            key: session.hashes.key(),
            tools: &end.tools,
            sandbox: &end.sandbox,
            population: end.population.as_ref().filter(|_| outcome == Outcome::Succeeded),
            outcome,
            subject,
            made,
            logs: session.logs()?,
            times,
        });
        let receipt = sign(&statement, session.key)?;
        let id = receipt.id;
        let claim = session.own_claim(&receipt, &statement);
        let mut pending = session.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let line = pending.append(receipt)?;
        session.note_claim(claim, line);
        if session.unsynced.is_due() {
            session.unsynced.begin_commit(pending.path())?;
        }
        Ok(id)
    }

    /// Whether others who ran the same action got the same outputs.
    fn compare_with_others(&self, outputs: &[ClaimedOutput]) {
        for claim in self.session.believed.by_others(self.action) {
            let (stage, keyid) = (self.id, claim.keyid.to_string());
            let other = outputs.iter().find(|ours| {
                claim
                    .outputs
                    .iter()
                    .any(|theirs| theirs.name == ours.name && theirs.digests != ours.digests)
            });
            match other {
                None => {
                    let mut confirmed = self.session.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
                    confirmed.entry(keyid).or_default().insert(stage);
                }
                Some(output) => {
                    let path = output.path.clone().into();
                    (self.say)(Said::Note(Note::Diverged { stage, keyid, path }));
                }
            }
        }
    }
}

/// Makes the file of a log, and its folder if it is the run's first.
pub(super) fn begin_log(log: &Utf8Path) -> io::Result<File> {
    atomic::in_folder_of(log, || File::create(log))
}

/// Puts a copy in the place of a log: a process that left the stage's group may hold the file open, and would go on writing to what is
/// attested. What is written to it after this moment is in no log, as what is written to a pipe that is read no more.
fn part_from_writers(log: &Utf8Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Read {
        path: log.to_owned(),
        source,
    };
    let written = File::open(log).map_err(failed)?;
    // Who goes on writing could be read from for ever.
    let bytes = written.metadata().map_err(failed)?.len();
    atomic::write_long(log, false, |copy| {
        io::copy(&mut written.take(bytes), copy).map_err(failed)?;
        Ok(())
    })?;
    Ok(())
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

/// A file that a stage has made, open, so that it need not be looked for again.
pub(super) struct MadeFile {
    pub(super) file: File,
    /// What it was before it was read.
    pub(super) found: fs::Metadata,
    pub(super) digests: Digests,
    /// How long it is.
    pub(super) bytes: u64,
    /// Whether its owner may execute it.
    pub(super) executable: bool,
}

impl MadeFile {
    /// Reads the file at `path` in the `folder`.
    pub(super) fn read(folder: &Held, path: &Utf8Path) -> io::Result<Self> {
        let (file, found) = folder.file(path)?;
        let stamp = Stamp::from_metadata(&found);
        let (digests, bytes) = hash_sized(&file, stamp.size())?;
        let executable = stamp.is_executable();
        Ok(Self {
            file,
            found,
            digests,
            bytes,
            executable,
        })
    }
}
