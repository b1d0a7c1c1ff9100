//! The short way through `madmall run`: what was settled, and was not touched since, is settled.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use camino::Utf8Path;
use serde_json::json;

use super::opened::Opened;
use super::progress::up_to_date_lines;
use super::runs::Signer;
use super::summary::up_to_date_summary;
use super::surroundings::{Surroundings, random};
use super::terminal::{Failure, Terminal};
use crate::consent::secret::ConsentSecret;
use crate::digest::Digest;
use crate::exec::event::StageOutcome;
use crate::exec::{Run, run_id};
use crate::exit_code::ExitCode;
use crate::receipt::trust::Trust;
use crate::store::lock::WorkspaceLock;
use crate::store::looks::{Looks, Rigour};
use crate::store::settled::{Again, Asked, Settled};
use crate::store::{Store, StoreError};
use crate::workspace::Workspace;

/// What a run was asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The pipeline file, relative to the workspace.
    pub(super) file: &'a Utf8Path,
    /// The stages that were named.
    pub(super) stages: &'a [String],
    /// The parameters that were given, as they were said.
    pub(super) values: &'a [String],
    /// What vouches for files.
    pub(super) rigour: Rigour,
    /// Whether to answer in NDJSON.
    pub(super) json: bool,
}

impl Question<'_> {
    fn asked(&self, trust: &Trust, secret: Option<&ConsentSecret>) -> Asked<'_> {
        Asked {
            pipeline: self.file,
            stages: self.stages,
            values: self.values,
            trust: trust.digest(),
            secret: secret.map(ConsentSecret::id),
        }
    }

    /// Answers if a run does that is remembered for this `signer`: everything is up to date. Whatever is not plain is left to the long
    /// way.
    ///
    /// # Errors
    ///
    /// [`Failure`] if there are no random bits for what is told.
    pub(super) fn answer(
        &self,
        workspace: &Workspace,
        signer: &Signer,
        surroundings: &Surroundings,
        began: Instant,
        terminal: &mut Terminal,
    ) -> Result<bool, Failure> {
        let store = Store::of(workspace.root());
        let folder = store.settled_folder();
        if !folder.is_dir() {
            return Ok(false);
        }
        // A value that is no text is none that could be compared.
        if surroundings.has_unreadable() {
            return Ok(false);
        }
        // One that cannot be read is told of where it matters, which is the long way's business.
        let Ok(secret) = surroundings.secret_if_any() else {
            return Ok(false);
        };
        let holder = format!("process {}, {}", std::process::id(), self.file);
        // Whoever has to wait is told so, which is the long way's business.
        let Ok(Some(_lock)) = WorkspaceLock::take(&store, &holder, &mut |_| false) else {
            return Ok(false);
        };
        // What a run that died has left is to be published first.
        if store.has_pending() {
            return Ok(false);
        }
        let seal_key = signer.key.derive_seal_key();
        let again = Again {
            workspace,
            environment: &surroundings.environment,
            rigour: self.rigour,
        };
        let asked = self.asked(&signer.trust, secret.as_ref());
        let Some(settled) = Settled::load(&folder, &asked, &seal_key, again) else {
            return Ok(false);
        };
        self.tell(&settled, surroundings, began, terminal)?;
        Ok(true)
    }

    fn tell(
        &self,
        settled: &Settled,
        surroundings: &Surroundings,
        began: Instant,
        terminal: &mut Terminal,
    ) -> Result<(), Failure> {
        let stages = &settled.stages;
        if !self.json {
            let lines = up_to_date_lines(stages.iter().map(|(name, _)| name.as_str()));
            terminal.results(&(lines + &up_to_date_summary(stages.len(), began) + "\n"));
            return Ok(());
        }
        let events = stages.iter().map(|(name, receipt)| {
            let event = json!({
                "version": 1, "event": "stageFinished", "stage": name, "outcome": "upToDate",
                "receipt": receipt.to_string(), "restored": [], "why": [], "milliseconds": 0,
            });
            format!("{event}\n")
        });
        terminal.results(&events.collect::<String>());
        let run = run_id(&settled.name, (surroundings.clock)(), random()?);
        let code = ExitCode::Success.number();
        terminal.result(json!({ "version": 1, "event": "finished", "run": run, "receipts": null, "exitCode": code }));
        Ok(())
    }

    /// Forgets what was remembered before something ran.
    pub(super) fn forget(&self, store: &Store, trust: &Trust, secret: Option<&ConsentSecret>) {
        Settled::forget(&store.settled_folder(), &self.asked(trust, secret));
    }

    /// Remembers a run that found nothing to do and had nothing to tell, if what it looked at can be vouched for.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be written.
    pub(super) fn remember(
        &self,
        run: &Run,
        opened: &Opened,
        looks: &Looks,
        Signer { key, trust }: &Signer,
        secret: Option<&ConsentSecret>,
        surroundings: &Surroundings,
    ) -> Result<(), StoreError> {
        // What is believed of a key that has ended depends on what its logs have.
        if trust.keys.iter().any(|key| key.end().is_some()) {
            return Ok(());
        }
        let mut stages = Vec::with_capacity(run.stages.len());
        let mut variables = BTreeMap::new();
        for finished in &run.stages {
            let StageOutcome::UpToDate { receipt, restored } = &finished.report.outcome else {
                return Ok(());
            };
            if !restored.is_empty() {
                return Ok(());
            }
            let stage = &opened.plan.stages[finished.stage.index()];
            stages.push((stage.name.clone(), *receipt));
            // Where its programs are looked for.
            let path = (!stage.called_tools().is_empty()).then(|| "PATH".to_owned());
            for name in stage.env.iter().chain(&path) {
                let value = surroundings.environment.get(name);
                variables.insert(name.clone(), value.map(|value| Digest::of(value.as_bytes())));
            }
        }
        let Some(looks) = looks.settle() else {
            return Ok(());
        };
        let outputs = opened.plan.stages.iter().flat_map(|stage| &stage.outputs);
        let outputs: HashSet<&str> = outputs.map(|output| output.path.as_str()).collect();
        let (made, sources) = looks.into_iter().partition(|(path, _)| outputs.contains(path.as_str()));
        let settled = Settled {
            name: opened.plan.pipeline.clone(),
            variables,
            sources,
            made,
            stages,
        };
        let folder = Store::of(opened.workspace.root()).settled_folder();
        settled.save(&folder, &self.asked(trust, secret), &key.derive_seal_key())
    }
}
