//! The stages of a plan and what they read from each other, drawn: as text, Mermaid, DOT and SVG.

use crate::exec::forecast::Forecast;
use crate::plan::{Plan, StageId};

pub mod dot;
mod layout;
pub mod mermaid;
pub mod svg;
pub mod text;

/// How a stage stands, as a drawing marks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Nothing would be done.
    UpToDate,
    /// Outputs would be put back from the store.
    Restore,
    /// It runs if what runs before it changes its inputs.
    Perhaps,
    /// It would run.
    Run,
    /// It would be refused.
    Refused,
    /// It reads from a stage that would be refused.
    Blocked,
}

impl Mark {
    /// All, in the order in which a legend has them.
    pub const ALL: [Self; 6] = [
        Self::UpToDate,
        Self::Restore,
        Self::Perhaps,
        Self::Run,
        Self::Refused,
        Self::Blocked,
    ];

    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::UpToDate => "up to date",
            Self::Restore => "would be put back",
            Self::Perhaps => "may run",
            Self::Run => "would run",
            Self::Refused => "would be refused",
            Self::Blocked => "blocked",
        }
    }

    /// As one character.
    #[must_use]
    pub const fn symbol(self) -> char {
        match self {
            Self::UpToDate => '○',
            Self::Restore => '↺',
            Self::Perhaps => '◐',
            Self::Run => '●',
            Self::Refused => '✗',
            Self::Blocked => '◌',
        }
    }

    /// The name that styles go by.
    #[must_use]
    pub const fn class(self) -> &'static str {
        match self {
            Self::UpToDate => "fresh",
            Self::Restore => "restore",
            Self::Perhaps => "perhaps",
            Self::Run => "stale",
            Self::Refused => "refused",
            Self::Blocked => "blocked",
        }
    }
}

/// A stage in a drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub mark: Mark,
    /// The word for that in what is printed for programs.
    pub state: &'static str,
    /// Why it would run, or not.
    pub why: Vec<String>,
    /// The nodes that it reads from, each before it.
    pub reads: Vec<usize>,
}

/// What is drawn. Every node comes after those that it reads from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// The pipeline's name.
    pub title: String,
    /// The stages.
    pub nodes: Vec<Node>,
}

impl Graph {
    /// The graph of a plan, marked by what a run of all its stages would do.
    #[must_use]
    pub fn of(plan: &Plan, forecasts: &[(StageId, Forecast)]) -> Self {
        let nodes = forecasts.iter().map(|(id, forecast)| {
            let stage = &plan.stages[id.index()];
            let mark = match forecast {
                Forecast::UpToDate { .. } => Mark::UpToDate,
                Forecast::Restore { .. } => Mark::Restore,
                Forecast::Perhaps { .. } => Mark::Perhaps,
                Forecast::Run { .. } => Mark::Run,
                Forecast::Refuse { .. } => Mark::Refused,
                Forecast::Block { .. } => Mark::Blocked,
            };
            Node {
                name: stage.name.clone(),
                mark,
                state: forecast.word(),
                why: forecast.why().iter().map(ToString::to_string).collect(),
                reads: stage.reads_from().into_iter().map(StageId::index).collect(),
            }
        });
        Self {
            title: plan.pipeline.clone(),
            nodes: nodes.collect(),
        }
    }

    /// For each node its layer, from 0: one more than the highest of those that it reads from.
    #[must_use]
    pub fn layer_of_each(&self) -> Vec<usize> {
        let mut layers: Vec<usize> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let highest = node.reads.iter().filter_map(|read| layers.get(*read)).max();
            layers.push(highest.map_or(0, |highest| highest + 1));
        }
        layers
    }

    /// The nodes by layer; within a layer in the plan's order.
    #[must_use]
    pub fn layers(&self) -> Vec<Vec<usize>> {
        let layer_of_each = self.layer_of_each();
        let mut layers = vec![Vec::new(); layer_of_each.iter().max().map_or(0, |highest| highest + 1)];
        for (node, layer) in layer_of_each.into_iter().enumerate() {
            layers[layer].push(node);
        }
        layers
    }

    /// How many nodes have each mark, in the order of [`Mark::ALL`].
    #[must_use]
    pub fn counts(&self) -> [(Mark, usize); Mark::ALL.len()] {
        Mark::ALL.map(|mark| (mark, self.nodes.iter().filter(|node| node.mark == mark).count()))
    }
}

#[cfg(test)]
pub(crate) fn example(edges: &[(&str, &[usize])]) -> Graph {
    let nodes = edges.iter().enumerate().map(|(index, (name, reads))| Node {
        name: (*name).to_owned(),
        mark: Mark::ALL[index % 4],
        state: "upToDate",
        why: vec!["a reason".to_owned()],
        reads: reads.to_vec(),
    });
    Graph {
        title: "p".to_owned(),
        nodes: nodes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_one_more_than_the_highest_that_is_read() {
        let graph = example(&[("a", &[]), ("b", &[0]), ("c", &[]), ("d", &[1, 2]), ("e", &[0, 3])]);
        assert_eq!(graph.layer_of_each(), [0, 1, 0, 2, 3]);
        assert_eq!(graph.layers(), [vec![0, 2], vec![1], vec![3], vec![4]]);
        assert!(example(&[]).layers().is_empty());
    }
}
