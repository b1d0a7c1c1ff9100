//! For which stage of a run another reads lines beside its own work ([`crate::stages::read_ahead`]).
//!
//! What was read is held in memory until its stage begins. It is for one stage at a time, and whichever built-in stage begins in
//! between has that memory instead.

use std::sync::{Arc, Mutex, PoisonError};

use super::CacheMode;
use super::stage::Attempt;
use super::state::{Content, FileState, InputState};
use crate::plan::{Command, InputSource, Stage, StageId, written_input};
use crate::stages::featurize::BUILTIN as FEATURIZE;
use crate::stages::ingest::{BUILTIN as INGEST, EVENTS};
use crate::stages::read_ahead::ReadAhead;

/// What is read ahead in a run.
#[derive(Default)]
pub(super) struct Ahead {
    /// The stages that will run, or be found up to date.
    selected: Vec<StageId>,
    held: Mutex<Option<(StageId, Arc<ReadAhead>)>>,
}

impl Ahead {
    /// Nothing yet, in a run of the stages `selected`.
    pub(super) fn of(selected: &[StageId]) -> Self {
        Self {
            selected: selected.to_vec(),
            held: Mutex::default(),
        }
    }
}

impl Attempt<'_> {
    /// What this built-in stage, which begins now, is to read ahead, or what was read for it.
    pub(super) fn read_ahead(&self) -> Option<Arc<ReadAhead>> {
        let ahead = &self.session.ahead;
        let mut held = ahead.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((reader, made)) = held.take()
            && reader == self.id
        {
            return Some(made);
        }
        let reader = self.reader()?;
        let stage = &self.session.plan.stages[reader.index()];
        let params = stage.actual.as_ref().map_or(&stage.params, |actual| &actual.params);
        let folder = self.session.scratch();
        // Parameters that it cannot have are told when it begins.
        let made = Arc::new(ReadAhead::new(params, &folder).ok()?);
        *held = Some((reader, Arc::clone(&made)));
        Some(made)
    }

    /// The stage that makes features of nothing but the events that this one lets in, and that would have to run if they were the file
    /// that comes in.
    fn reader(&self) -> Option<StageId> {
        let session = self.session;
        if !is(self.stage, INGEST.name) {
            return None;
        }
        let output = self.stage.outputs.iter().position(|output| output.name == EVENTS)?;
        let reads = |id: &StageId| {
            let stage = &session.plan.stages[id.index()];
            let [input] = stage.inputs.as_slice() else {
                return false;
            };
            let is_events = |source: &InputSource| matches!(source, InputSource::Output { stage, output: of } if *stage == self.id && *of == output);
            is(stage, FEATURIZE.name) && is_events(&input.source)
        };
        let reader = session.ahead.selected.iter().copied().find(reads)?;
        if session.options.cache == CacheMode::Bypass {
            return Some(reader);
        }
        let inputs = self.stage.inputs.iter().zip(&self.inputs);
        let events = inputs.filter(|(input, _)| written_input(&input.name) == EVENTS);
        let events: Vec<&Content> = events.map(|(_, state)| &state.content).collect();
        let [Content::File(FileState { hashed, .. })] = events[..] else {
            return Some(reader);
        };
        let passed_on = InputState::from(FileState {
            path: self.stage.outputs[output].path.as_path().into(),
            hashed: *hashed,
        });
        let input = &session.plan.stages[reader.index()].inputs[0];
        let passed_on = session.as_input(input, passed_on).ok()?;
        let action = Attempt::with(session, reader, vec![passed_on], &|_| {}).action;
        session.believed.lookup(action).is_none().then_some(reader)
    }
}

fn is(stage: &Stage, name: &str) -> bool {
    let command = stage.actual.as_ref().map_or(&stage.command, |actual| &actual.command);
    matches!(command, Command::Builtin { name: own, .. } if own == name)
}
