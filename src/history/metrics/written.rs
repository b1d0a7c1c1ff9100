//! What the stages of runs wrote that may hold numbers, by their receipts, in whichever file those are.

use std::collections::HashMap;

use camino::Utf8PathBuf;

use super::METRICS;
use crate::digest::Digest;
use crate::history::artifact::{self, Unavailable};
use crate::history::named::find_each;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{ReceiptId, Resource, Role};
use crate::workspace::Workspace;

/// The stages of runs, each with its receipt: most of one run are those of the next.
#[derive(Default)]
pub(super) struct Stages {
    places: HashMap<(String, ReceiptId), usize>,
}

impl Stages {
    /// The places of those of a run.
    pub(super) fn of(&mut self, own: &Receipt) -> Vec<usize> {
        let mut place = |(stage, id): (&str, ReceiptId)| {
            let next = self.places.len();
            *self.places.entry((stage.to_owned(), id)).or_insert(next)
        };
        own.statement.receipts().map(&mut place).collect()
    }

    /// What they wrote that may hold numbers, by the receipts in the files of `runs`: what is called `metrics`, and if that is not all that is
    /// asked for, all JSON.
    pub(super) fn outputs(self, workspace: &Workspace, runs: Vec<String>, only_metrics: bool) -> Outputs {
        let mut written: HashMap<ReceiptId, Vec<Output>> = HashMap::new();
        let wanted = self.places.keys().map(|(_, id)| *id).collect();
        let missing = find_each(workspace, runs, &wanted, |receipt| {
            let outputs = receipt.statement.subject.iter().filter_map(Output::of);
            let is_asked = |output: &Output| output.name == METRICS || (!only_metrics && output.is_json());
            written.insert(receipt.id, outputs.filter(is_asked).collect());
        });
        let mut by_place = vec![None; self.places.len()];
        for ((stage, id), place) in self.places {
            by_place[place] = match missing.contains(&id) {
                true => None,
                false => Some((stage, written.get(&id).cloned().unwrap_or_default())),
            };
        }
        Outputs { by_place }
    }
}

/// An output that may hold numbers.
#[derive(Clone)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) path: Utf8PathBuf,
    pub(super) digest: Result<Digest, Unavailable>,
}

impl Output {
    /// Of a failed stage there is none; a folder holds no numbers of its own.
    fn of(subject: &Resource) -> Option<Self> {
        let Role::Output { output, .. } = subject.role() else {
            return None;
        };
        Some(Self {
            name: output.clone(),
            path: subject.name.clone().into(),
            digest: artifact::digest(subject)?,
        })
    }

    fn is_json(&self) -> bool {
        self.path.extension() == Some("json")
    }
}

/// What the stages of runs wrote.
pub(super) struct Outputs {
    /// With the stage; none if its receipt is not here.
    by_place: Vec<Option<(String, Vec<Output>)>>,
}

impl Outputs {
    /// Of the stages at these places: their outputs by path, each with its stage, and how many of them have no receipt here.
    pub(super) fn of(&self, places: &[usize]) -> (Vec<(&str, &Output)>, usize) {
        let stages = || places.iter().map(|place| &self.by_place[*place]);
        let here = stages().flatten();
        let outputs = here.flat_map(|(stage, outputs)| outputs.iter().map(|output| (stage.as_str(), output)));
        let mut outputs: Vec<_> = outputs.collect();
        outputs.sort_by_key(|(_, output)| &output.path);
        (outputs, stages().filter(|stage| stage.is_none()).count())
    }
}
