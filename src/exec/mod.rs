//! Running a plan: bring each stage up to date, from the store or by running it, and attest what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use crate::commitment::PersonalKey;
use crate::consent::secret::ConsentSecret;
use crate::diagnostic::with_causes;
use crate::digest::{Digest, Digests};
use crate::git;
use crate::log::{Begun, News};
use crate::plan::{Plan, StageId};
use crate::receipt::key::SigningKey;
use crate::receipt::statement::LogHead;
use crate::receipt::trust::{Trust, TrustedKey};
use crate::store::believed::{Believed, Claim};
use crate::store::durable::Unsynced;
use crate::store::known::KeptKnown;
use crate::store::looks::{Looks, Rigour};
use crate::store::plans::{Asked, Resolved};
use crate::store::stat_cache::StatCache;
use crate::store::{Store, StoreError, atomic};
use crate::workspace::Workspace;

mod advice;
pub mod attest;
mod caches;
mod command;
mod confine;
mod consent;
mod error;
pub mod event;
mod folders;
pub mod forecast;
mod gate;
mod inbox;
pub mod inputs;
pub mod interrupt;
mod kept;
mod known;
mod log_pipe;
mod machine;
pub mod mask;
mod passed_on;
pub mod pending;
mod personal;
mod place;
pub mod process;
mod program;
mod publish;
mod read_ahead;
pub mod root;
pub mod sandbox;
pub mod scheduler;
pub mod stage;
pub mod state;
mod survey;
mod temporary;
pub mod tools;
mod trial;
mod worker;

pub use caches::Caches;
pub use consent::has_ingest;
pub use error::ExecError;

use event::{Event, Note, Observer, StageOutcome};
use inputs::FileHashes;
use interrupt::Interrupts;
use known::Remembered;
use pending::Pending;
use process::Groups;
use read_ahead::Ahead;
use root::Room;
use sandbox::{Bounds, Sandbox};
use scheduler::{Finished, schedule};
use tools::Tools;

/// How to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// How many stages at once, and how many threads a built-in stage may use.
    pub jobs: usize,
    /// What a failure means for the stages that do not depend on it.
    pub on_failure: OnFailure,
    /// Whether receipts can make a stage up to date.
    pub cache: CacheMode,
    /// Whether a run with nothing to do is attested too.
    pub record: Record,
    /// What vouches for files.
    pub rigour: Rigour,
}

/// What a failure means for the stages that do not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// They run all the same.
    KeepGoing,
    /// Those that run are finished, no other is begun.
    Stop,
}

/// Whether receipts can make a stage up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// They can.
    Use,
    /// Every selected stage runs.
    Bypass,
}

/// Whether a run with nothing to do is attested too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// Only a run in which something ran.
    WhenSomethingRan,
    /// Every run.
    Always,
}

/// Everything that a run works with. Shared by its workers.
pub struct Session<'a> {
    /// What to bring up to date.
    pub plan: &'a Plan,
    /// Where.
    pub workspace: &'a Workspace,
    /// Its store.
    pub store: &'a Store,
    /// What files hold.
    pub hashes: FileHashes<'a>,
    /// What receipts say.
    pub believed: Believed,
    /// Who signs.
    pub key: &'a SigningKey,
    /// What the tokens of events are keyed by, and the digests of what is personal; without it receipts name no population.
    pub secret: Option<ConsentSecret>,
    /// The run's id.
    pub run_id: String,
    /// The caller's environment.
    pub environment: &'a BTreeMap<String, String>,
    /// What time it is.
    pub clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// How to run.
    pub options: RunOptions,
    /// What the user says by signals.
    pub interrupts: &'a Interrupts,
    /// What programs may use, and what never.
    pub bounds: &'a Bounds,
    /// The receipts so far.
    pub pending: Mutex<Pending>,
    /// The processes that run.
    pub groups: Groups,
    /// Where the logs were when the run began; read when the first receipt is signed.
    logs: Mutex<Option<Vec<LogHead>>>,
    /// What all programs may use; opened when the first is run.
    sandbox: OnceLock<Sandbox>,
    /// Whether the user knows that receipts name no commit.
    told_no_commit: AtomicBool,
    /// What a group commit makes durable.
    pub unsynced: Unsynced,
    /// Files of outputs that were put in place, with what, and when.
    placed: Mutex<Vec<(Utf8PathBuf, Digests, Instant)>>,
    /// Who signs, as the policy has it; none if it is not trusted.
    own: Option<TrustedKey>,
    /// What the receipts so far claim, line by line; none where only reading them again can tell.
    claims: Mutex<Vec<Option<Claim>>>,
    /// What execution roots may take that are done with.
    room: Room,
    /// What stages read for others beside their own work.
    ahead: Ahead,
    /// Where the commit is that is checked out; opened for the first receipt.
    repository: OnceLock<Mutex<Result<Option<git::Repository>, git::GitError>>>,
    /// What is known of the programs of the machine.
    tools: Tools,
    /// By the keys of others, the stages that gave what their receipts have.
    confirmed: Mutex<BTreeMap<String, BTreeSet<StageId>>>,
    /// What the run before knew of the stages.
    remembered: Remembered<'a>,
}

/// What a session is opened with.
#[derive(Clone, Copy)]
pub struct SessionInputs<'a> {
    /// What to bring up to date.
    pub plan: &'a Plan,
    /// Where.
    pub workspace: &'a Workspace,
    /// Its store.
    pub store: &'a Store,
    /// Who signs.
    pub key: &'a SigningKey,
    /// What the tokens of events are keyed by; without it receipts name no population.
    pub secret: Option<&'a ConsentSecret>,
    /// Whose receipts are believed.
    pub trust: &'a Trust,
    /// The caller's environment.
    pub environment: &'a BTreeMap<String, String>,
    /// What time it is.
    pub clock: &'a (dyn Fn() -> Timestamp + Sync),
    /// Random bits for the run's id.
    pub nonce: u16,
    /// How to run.
    pub options: RunOptions,
    /// What the user says by signals.
    pub interrupts: &'a Interrupts,
    /// Where it is noted what the run looks at.
    pub looks: Option<&'a Looks>,
    /// What programs may use, and what never.
    pub bounds: &'a Bounds,
    /// How the plan was resolved, if it may be remembered.
    pub plan_kept: Option<PlanKept<'a>>,
}

/// A pipeline that was resolved, and may be remembered.
#[derive(Clone, Copy)]
pub struct PlanKept<'a> {
    /// What it was resolved from.
    pub asked: Asked<'a>,
    /// How.
    pub resolved: &'a Resolved,
}

/// A run that has ended.
pub struct Run {
    /// Its id.
    pub id: String,
    /// How each selected stage ended.
    pub stages: Vec<Finished>,
    /// The file with its receipts, relative to the workspace; none if nothing ran.
    pub receipts: Option<Utf8PathBuf>,
}

/// The folder of receipts of a workspace.
#[must_use]
pub fn runs_folder(workspace: &Workspace) -> Utf8PathBuf {
    workspace.absolute(Utf8Path::new("runs"))
}

impl<'a> Session<'a> {
    /// Opens the `caches`, some of which may have been read before; nothing is written yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the receipts cannot be read.
    pub fn open(inputs: SessionInputs<'a>, caches: Caches) -> Result<Self, StoreError> {
        let SessionInputs {
            plan,
            workspace,
            store,
            key,
            secret,
            trust,
            environment,
            clock,
            nonce,
            options,
            interrupts,
            looks,
            bounds,
            plan_kept,
        } = inputs;
        let load_cache = || match options.rigour {
            Rigour::Stamps => caches
                .stamps
                .unwrap_or_else(|| StatCache::load(&store.stat_cache_file())),
            Rigour::EveryByte => StatCache::default(),
        };
        if let Some(looks) = looks {
            looks.note_folder(workspace, Utf8Path::new("runs"));
        }
        let seal_key = key.derive_seal_key();
        let index = (&*store.believed_file(), caches.index);
        let open_believed = || Believed::open(index, workspace, trust, &seal_key);
        let (cache, believed) = rayon::join(load_cache, open_believed);
        let believed = believed?;
        let run_id = run_id(&plan.pipeline, clock(), nonce);
        let keyid = key.public().keyid();
        let mut session = Self {
            plan,
            workspace,
            store,
            hashes: FileHashes::new(workspace, cache)
                .noting(looks)
                .keyed_by(secret.map(PersonalKey::of)),
            believed,
            key,
            secret: secret.cloned(),
            pending: Mutex::new(Pending::of(store, &run_id)),
            run_id,
            environment,
            clock,
            options,
            interrupts,
            bounds,
            sandbox: OnceLock::new(),
            groups: Groups::default(),
            logs: Mutex::default(),
            told_no_commit: AtomicBool::new(false),
            unsynced: Unsynced::default(),
            placed: Mutex::default(),
            own: trust.keys.iter().find(|known| known.keyid == keyid).cloned(),
            claims: Mutex::default(),
            room: Room::default(),
            ahead: Ahead::default(),
            repository: OnceLock::new(),
            tools: Tools::default(),
            confirmed: Mutex::default(),
            remembered: Remembered::default(),
        };
        session.remember(plan_kept, caches.known.and_then(KeptKnown::if_still));
        Ok(session)
    }

    /// Brings the `selected` stages (closed under what they read from, in the plan's order) up to date. The workspace's
    /// lock must be held.
    ///
    /// # Errors
    ///
    /// [`ExecError`] if the receipts cannot be published; what was done is then published by the next run.
    pub fn run(mut self, selected: &[StageId], observer: &mut dyn Observer) -> Result<Run, ExecError> {
        let started = (self.clock)();
        atomic::remove_folder(&self.store.scratch_folder())?;
        self.ahead = Ahead::of(selected);
        let stages = schedule(&self, selected, observer)?;
        let is_plain = self.tell_of_many(observer);
        let is_published = self.is_published(&stages);
        let attest = || is_published.then(|| self.attest_run(&stages, started)).transpose();
        let tidy = || {
            let removed = atomic::remove_folders_of(&self.scratch())
                .and_then(|()| atomic::remove_folder(&self.store.scratch_folder()));
            (removed, self.unsynced.commit())
        };
        // What stages left may be all that fills the disk, and the receipts need a place on it.
        let publish = || -> Result<_, ExecError> {
            let (own, (removed, synced)) = rayon::join(attest, tidy);
            synced?;
            Ok((own?.map(|own| self.publish(&own)).transpose()?, removed))
        };
        // What files hold, and what the index will say, is known before the run's own receipt is.
        let (published, to_keep) = rayon::join(publish, || self.to_keep(&stages, is_published, is_plain));
        let (published, removed) = published?;
        let (receipts, news) = match published {
            Some((path, news)) => (Some(path), news),
            None => (None, News::Nothing),
        };
        if let Some(Begun { log, why }) = self.log(&news)? {
            let log = log.to_string();
            observer.event(Event::Note(Note::LogBegun { log, why }));
        }
        self.forget_temporary(&stages)?;
        removed?;
        let id = self.run_id.clone();
        // The receipts are published: what only spares the next run some work is no reason to fail, and comes last on a disk that
        // is nearly full.
        if let Err(error) = self.keep(&to_keep) {
            let why = with_causes(&error);
            observer.event(Event::Note(Note::NotKept { why }));
        }
        drop(to_keep);
        // The run is over: what is known of a hundred thousand files and receipts is not freed one by one.
        std::mem::forget((self.hashes, self.believed));
        Ok(Run { id, stages, receipts })
    }

    /// Tells what is said once of all stages. Gives whether the next run may take stages for what they are now without saying it again.
    fn tell_of_many(&mut self, observer: &mut dyn Observer) -> bool {
        let changed_tools = self.tools.take_changed();
        let is_plain = changed_tools.is_empty();
        for (tool, (stage, count)) in changed_tools {
            observer.event(Event::Note(Note::ToolChanged { tool, stage, count }));
        }
        let confirmed = std::mem::take(self.confirmed.get_mut().unwrap_or_else(PoisonError::into_inner));
        for (keyid, stages) in confirmed {
            if let Some(stage) = stages.first().copied() {
                let count = stages.len();
                observer.event(Event::Note(Note::Confirmed { stage, count, keyid }));
            }
        }
        is_plain
    }

    /// Whether the run gets a receipt.
    fn is_published(&self, stages: &[Finished]) -> bool {
        let has_run = |stage: &Finished| match stage.report.outcome {
            StageOutcome::Ran { .. } | StageOutcome::Failed(_) => true,
            // What it made is attested, and could not be put in place.
            StageOutcome::Broken(_) => stage.given.is_some(),
            _ => false,
        };
        let anything = stages.iter().any(|stage| stage.given.is_some());
        stages.iter().any(has_run) || (self.options.record == Record::Always && anything)
    }

    /// The names that an object with this plain BLAKE3 may have in receipts and in the store.
    pub(crate) fn names_of(&self, plain: Digest) -> impl Iterator<Item = Digest> {
        let keyed = self.hashes.key().map(|key| key.name(plain));
        std::iter::once(plain).chain(keyed)
    }

    /// The folder of this run for what nobody needs once it has ended.
    pub(crate) fn scratch(&self) -> Utf8PathBuf {
        self.store.scratch_folder().join(&self.run_id)
    }
}

/// A run's id: the second, the pipeline, and six digits of which the first three are the fraction of the second, so
/// that ids of a workspace sort by time, and the last three are random, so that those of two clones differ.
pub(crate) fn run_id(pipeline: &str, now: Timestamp, nonce: u16) -> String {
    let time = now.strftime("%Y-%m-%dT%H%M%SZ");
    let nanos = u64::try_from(now.subsec_nanosecond()).unwrap_or(0);
    let fraction = (nanos << 12) / 1_000_000_000;
    format!("{time}-{pipeline}-{fraction:03x}{:03x}", nonce & 0xfff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time_within_a_second_too() {
        let at = |text: &str, nonce| run_id("p", text.parse().expect("a time"), nonce);
        assert_eq!(at("2026-11-23T09:15:00.25Z", 0xa2c), "2026-11-23T091500Z-p-400a2c");
        assert!(at("2026-11-23T09:15:00.001Z", 0xfff) < at("2026-11-23T09:15:00.002Z", 0));
        assert!(at("2026-11-23T09:15:00.999999999Z", 0xfff) < at("2026-11-23T09:15:01Z", 0));
    }
}
