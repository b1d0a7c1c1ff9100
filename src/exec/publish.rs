//! What is said of a run: its receipts, published and in the history, and how its files compare with the commit.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use camino::Utf8PathBuf;
use jiff::Timestamp;
use rayon::prelude::*;

use super::attest::{self, RunRecord, StagesOfRun, definition, rfc3339, run_statement, used};
use super::event::{Note, StageOutcome};
use super::pending::Pending;
use super::place::output_resource;
use super::scheduler::Finished;
use super::stage::{Said, Subject};
use super::{ExecError, Session, runs_folder};
use crate::git::{self, Used};
use crate::log::{self, Begun, News, Publication};
use crate::receipt::envelope::{Signed, sign};
use crate::receipt::statement::{LogHead, Made, Outcome, Repository};

/// So many stages are told of together, by any core.
const TOGETHER: usize = 128;

impl Session<'_> {
    /// Signs the run's own receipt. Nothing is written.
    pub(super) fn attest_run(&self, stages: &[Finished], started: Timestamp) -> Result<Signed, ExecError> {
        let made = self.made(
            &self.plan.definition_files.iter().map(used).collect::<Vec<_>>(),
            &|_| {},
        );
        let given = || stages.iter().filter_map(|stage| stage.given.as_ref());
        // What is as it was is said by the receipts of the runs that made it.
        let is_any_own = given().any(|given| matches!(given.subject, Subject::Own(_)));
        let parts = stages.par_chunks(TOGETHER);
        let parts = parts.map(|stages| self.stages_of_run(stages, !is_any_own));
        let statement = run_statement(RunRecord {
            pipeline: &self.plan.pipeline,
            pipeline_file: self.plan.pipeline_file.as_str(),
            purpose: self.plan.purpose.as_deref(),
            purposes: attest::declared(&self.plan.purposes),
            definitions: self.plan.definition_files.iter().map(definition).collect(),
            stages: parts.collect(),
            outcome: outcome_of(stages),
            made,
            logs: self.logs()?,
            times: (self.run_id.clone(), rfc3339(started), rfc3339((self.clock)())),
        });
        Ok(sign(&statement, self.key)?)
    }

    /// Publishes the run's receipts, its `own` last.
    pub(super) fn publish(&self, own: &Signed) -> Result<(Utf8PathBuf, News), ExecError> {
        let nothing = Pending::of(self.store, &self.run_id);
        let pending = std::mem::replace(
            &mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner),
            nothing,
        );
        let runs = runs_folder(self.workspace);
        let publication = Publication::begin(&runs);
        let (path, ids) = pending.publish(&runs, &self.run_id, own)?;
        let published = publication.end(&runs, path.file_name().unwrap_or_default(), ids);
        let path = path.strip_prefix(self.workspace.root()).unwrap_or(&path).to_owned();
        Ok((path, News::Run(published)))
    }

    /// What the run's receipt says of these stages; of those that had not to run `with_claimed`, what earlier runs made.
    fn stages_of_run(&self, stages: &[Finished], with_claimed: bool) -> StagesOfRun {
        let mut all = StagesOfRun::with_capacity(stages.len());
        for stage in stages {
            let Some(given) = &stage.given else { continue };
            let name = &self.plan.stages[stage.stage.index()].name;
            match &given.subject {
                Subject::Own(subject) => all.add(name, given.receipt, subject.iter().cloned()),
                Subject::Claimed(outputs) => {
                    let outputs = outputs.iter().filter(|_| with_claimed);
                    all.add(name, given.receipt, outputs.map(output_resource));
                }
            }
        }
        all
    }

    /// Appends what was published to the history, by this run or by one that died. A run that published nothing begins none.
    /// Gives the log that was begun, if one was although there was something before it.
    pub(super) fn log(&self, news: &News) -> Result<Option<Begun>, ExecError> {
        let appended = log::catch_up(self.store, &runs_folder(self.workspace), self.key, news);
        Ok(appended.map_err(ExecError::Log)?.begun)
    }

    /// Where the logs were when the run began. Nobody appends meanwhile: the workspace's lock is held.
    pub(crate) fn logs(&self) -> Result<Vec<LogHead>, ExecError> {
        let mut known = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(logs) = &*known {
            return Ok(logs.clone());
        }
        let logs = log::heads(self.store, &runs_folder(self.workspace)).map_err(ExecError::Heads)?;
        Ok(known.insert(logs).clone())
    }

    /// How the files compare with the commit; tells why if there is none to compare with.
    pub(crate) fn made(&self, files: &[Used<'_>], say: &dyn Fn(Said)) -> Made {
        let (made, why) = self.try_made(files).unwrap_or_else(|why| {
            let made = Made::without_commit(Repository::Unreadable);
            (made, Some(why))
        });
        if let Some(why) = why
            && !self.told_no_commit.swap(true, Ordering::Relaxed)
        {
            say(Said::Note(Note::NoCommit { why }));
        }
        made
    }

    /// How the files compare with the commit, and why with none; or why the repository cannot be read.
    fn try_made(&self, files: &[Used<'_>]) -> Result<(Made, Option<String>), String> {
        // Opening it costs more than all that is asked of it, and each file of the commit is hashed once.
        let repository = self
            .repository
            .get_or_init(|| Mutex::new(git::open(self.workspace.root())));
        let repository = repository.lock().unwrap_or_else(PoisonError::into_inner);
        let repository = repository.as_ref().map_err(ToString::to_string)?;
        let made = git::made(repository.as_ref(), files).map_err(|error| error.to_string())?;
        let why = match made.repository {
            Repository::None => Some("the workspace is in no git repository: `git init` makes one"),
            Repository::Unborn => Some("the git repository has no commit yet"),
            Repository::Git | Repository::Unreadable => None,
        };
        Ok((made, why.map(str::to_owned)))
    }
}

/// A run's outcome, from those of its stages.
fn outcome_of(stages: &[Finished]) -> Outcome {
    let any = |wanted: fn(&StageOutcome) -> bool| stages.iter().any(|stage| wanted(&stage.report.outcome));
    if any(|outcome| matches!(outcome, StageOutcome::Interrupted | StageOutcome::Broken(_))) {
        Outcome::Interrupted
    } else if any(|outcome| matches!(outcome, StageOutcome::Failed(_))) {
        Outcome::Failed
    } else if any(|outcome| matches!(outcome, StageOutcome::NotStarted)) {
        Outcome::Interrupted
    } else {
        Outcome::Succeeded
    }
}
