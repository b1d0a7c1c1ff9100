//! Numbers across runs: a table with a row for each run and a column for each number.

mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use camino::Utf8Path;
use serde_json::Number;

use super::artifact;
use super::numbers::{self, Named};
use super::runs::{self, RunError};
use crate::digest::Digest;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::Outcome;
use crate::store::Store;
use crate::store::run_files::read_each;
use crate::workspace::Workspace;
use written::{Output, Stages};

/// The outputs that are looked at if nothing is selected.
const METRICS: &str = "metrics";
/// The most columns a table has.
pub const MOST_COLUMNS: usize = 2000;

/// Where a number comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// The stage.
    pub stage: String,
    /// Its output.
    pub output: String,
    /// The number's name in the file.
    pub name: String,
}

/// A run's numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The run.
    pub run: String,
    /// Its pipeline.
    pub pipeline: String,
    /// When it ended.
    pub finished_on: String,
    /// Its commit, if there was one.
    pub commit: Option<String>,
    /// Whether files that it used were not as in the commit.
    pub uncommitted: bool,
    /// Whether all its stages did what they should.
    pub succeeded: bool,
    /// One for each column.
    pub values: Vec<Option<Number>>,
}

/// Numbers across runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What the columns are called, shortest first that tells them apart.
    pub columns: Vec<String>,
    /// Oldest first. Runs without any of the numbers are not among them.
    pub rows: Vec<Row>,
    /// How many runs have none of the numbers.
    pub without: usize,
    /// Columns beyond [`MOST_COLUMNS`].
    pub left_out: usize,
    /// Names that were selected and that no run has, each with those that there are.
    pub unknown: Vec<(String, Vec<String>)>,
    /// What could not be read, in words.
    pub notes: Vec<String>,
    /// Whether there is a run that was asked for.
    pub any_run: bool,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// A pipeline's name or file; none for all.
    pub pipeline: Option<&'a str>,
    /// Names of numbers; none for those on the highest level of outputs named `metrics`.
    pub select: &'a [String],
    /// Only so many of the newest runs.
    pub limit: Option<usize>,
}

/// A number and whence.
type Found = (Source, usize, Number);

/// The table for `request`, from the runs `ids` (oldest first).
#[must_use]
pub fn table(workspace: &Workspace, store: &Store, ids: &[String], request: Request<'_>) -> Table {
    let mut table = Table::default();
    let mut stages = Stages::default();
    let mut asked: Vec<(Row, Vec<usize>)> = Vec::new();
    let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
    for (id, own) in read_each(newest_first.clone(), |id| {
        (id.to_owned(), runs::read_own(workspace, id))
    }) {
        if request.limit.is_some_and(|limit| asked.len() >= limit) {
            break;
        }
        match own {
            Ok(own) if is_asked(&own, request.pipeline) => asked.push((row(&own), stages.of(&own))),
            Ok(_) => {}
            Err(error) => table.notes.push(unread(&id, &error)),
        }
    }
    let mut reader = Reader {
        workspace,
        store,
        known: HashMap::new(),
    };
    let outputs = stages.outputs(workspace, newest_first, request.select.is_empty());
    let read = asked.into_iter().map(|(row, stages)| {
        let found = reader.numbers(&row.run, outputs.of(&stages), &mut table.notes);
        (row, found)
    });
    let mut rows: Vec<(Row, Vec<Found>)> = read.collect();
    rows.reverse();
    table.any_run = !rows.is_empty();
    let mut sources = match request.select.is_empty() {
        true => highest(&rows),
        false => selected(&rows, request.select, &mut table.unknown),
    };
    table.left_out = sources.len().saturating_sub(MOST_COLUMNS);
    sources.truncate(MOST_COLUMNS);
    table.columns = labels(&sources);
    for (mut row, found) in rows {
        let mut by_source: HashMap<Source, Number> =
            found.into_iter().map(|(source, _, number)| (source, number)).collect();
        row.values = sources.iter().map(|source| by_source.remove(source)).collect();
        match row.values.iter().any(Option::is_some) {
            true => table.rows.push(row),
            false => table.without += 1,
        }
    }
    table
}

fn unread(id: &str, error: &RunError) -> String {
    format!("`{}`: {error}; `madmall verify` says more", runs::file_of(id))
}

fn is_asked(own: &Receipt, pipeline: Option<&str>) -> bool {
    let external = own.statement.external();
    pipeline.is_none_or(|asked| external.pipeline_file == asked || external.pipeline == asked)
}

fn row(own: &Receipt) -> Row {
    let (external, internal, metadata) = (
        own.statement.external(),
        own.statement.internal(),
        own.statement.metadata(),
    );
    Row {
        run: metadata.invocation_id.clone(),
        pipeline: external.pipeline.clone(),
        finished_on: metadata.finished_on.clone(),
        commit: internal.made.commit.clone(),
        uncommitted: !internal.made.differs.is_empty(),
        succeeded: internal.outcome == Outcome::Succeeded,
        values: Vec::new(),
    }
}

/// Reads files, each once however many runs have it.
struct Reader<'a> {
    workspace: &'a Workspace,
    store: &'a Store,
    known: HashMap<Digest, Result<Vec<Named>, String>>,
}

impl Reader<'_> {
    fn numbers(
        &mut self,
        run: &str,
        (outputs, missing): (Vec<(&str, &Output)>, usize),
        notes: &mut Vec<String>,
    ) -> Vec<Found> {
        let mut all = Vec::new();
        for (stage, output) in outputs {
            let path = &output.path;
            let read = match &output.digest {
                Ok(digest) => self.read(*digest, path).map_err(Clone::clone),
                Err(why) => Err(why.to_string()),
            };
            match read {
                Ok(named) => all.extend(named.iter().map(|number| {
                    let source = Source {
                        stage: stage.to_owned(),
                        output: output.name.clone(),
                        name: number.name.clone(),
                    };
                    (source, number.depth, number.value.clone())
                })),
                Err(why) => notes.push(format!("`{path}` of {run}: {why}")),
            }
        }
        if missing > 0 {
            notes.push(match missing {
                1 => format!("the receipt of a stage of {run} is not here; `madmall verify` says more"),
                _ => format!("the receipts of {missing} stages of {run} are not here; `madmall verify` says more"),
            });
        }
        all
    }

    fn read(&mut self, digest: Digest, path: &Utf8Path) -> Result<&Vec<Named>, &String> {
        let (workspace, store) = (self.workspace, self.store);
        let read = || {
            let bytes = artifact::bytes(workspace, store, digest, path, numbers::LIMITS.bytes as u64);
            let bytes = bytes.map_err(|error| error.to_string())?;
            let numbers = numbers::read(&bytes).map_err(|error| format!("is not read: {error}"))?;
            Ok(numbers.named)
        };
        self.known.entry(digest).or_insert_with(read).as_ref()
    }
}

/// The numbers of each output that lie on the highest level on which it has any, in the order of the newest file.
fn highest(rows: &[(Row, Vec<Found>)]) -> Vec<Source> {
    let mut depths: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let all = || rows.iter().rev().flat_map(|(_, found)| found);
    for (source, depth, _) in all() {
        let least = depths.entry((&source.stage, &source.output)).or_insert(*depth);
        *least = (*least).min(*depth);
    }
    let is_highest = |(source, depth, _): &&Found| depths.get(&(&*source.stage, &*source.output)) == Some(depth);
    let mut seen = BTreeSet::new();
    let sources = all().filter(is_highest).map(|(source, _, _)| source);
    sources.filter(|source| seen.insert(*source)).cloned().collect()
}

/// The numbers that the names mean, in their order: by their whole name (with the stage, and the output, or without), else
/// by the last part of it. Those of outputs named `metrics` come before others of the same name.
fn selected(rows: &[(Row, Vec<Found>)], names: &[String], unknown: &mut Vec<(String, Vec<String>)>) -> Vec<Source> {
    let mut all: Vec<&Source> = Vec::new();
    let mut seen = BTreeSet::new();
    for (source, _, _) in rows.iter().rev().flat_map(|(_, found)| found) {
        if seen.insert(source) {
            all.push(source);
        }
    }
    let (metrics, others): (Vec<&Source>, Vec<&Source>) = all.into_iter().partition(|source| source.output == METRICS);
    let mut chosen: Vec<Source> = Vec::new();
    for name in names {
        let whole = |s: &&&Source| {
            s.name == *name
                || *name == format!("{}.{}", s.stage, s.name)
                || *name == format!("{}.{}.{}", s.stage, s.output, s.name)
        };
        let last = |s: &&&Source| {
            s.name
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.ends_with('.'))
        };
        let last_of_no_list = |s: &&&Source| last(s) && !numbers::is_in_list(&s.name);
        let meant = [
            metrics.iter().filter(whole).collect::<Vec<_>>(),
            metrics.iter().filter(last_of_no_list).collect(),
            metrics.iter().filter(last).collect(),
            others.iter().filter(whole).collect(),
            others.iter().filter(last).collect(),
        ];
        match meant.into_iter().find(|meant| !meant.is_empty()) {
            Some(meant) => {
                for source in meant {
                    if !chosen.contains(source) {
                        chosen.push((*source).clone());
                    }
                }
            }
            None => {
                let known = metrics.iter().chain(&others).map(|source| source.name.clone());
                unknown.push((name.clone(), known.collect()));
            }
        }
    }
    chosen
}

/// The shortest names that tell the columns apart.
fn labels(sources: &[Source]) -> Vec<String> {
    let mut names: HashMap<&str, usize> = HashMap::new();
    let mut with_stage: HashMap<(&str, &str), usize> = HashMap::new();
    for source in sources {
        *names.entry(&source.name).or_default() += 1;
        *with_stage.entry((&source.stage, &source.name)).or_default() += 1;
    }
    let label = |source: &Source| {
        let Source { stage, output, name } = source;
        if names.get(name.as_str()) == Some(&1) && !name.is_empty() {
            name.clone()
        } else if with_stage.get(&(stage.as_str(), name.as_str())) == Some(&1) {
            format!("{stage}.{name}").trim_end_matches('.').to_owned()
        } else {
            format!("{stage}.{output}.{name}").trim_end_matches('.').to_owned()
        }
    };
    sources.iter().map(label).collect()
}

impl Table {
    /// The columns that fit, by their place: all if they do, else those first in which runs differ. `fits` is asked of more
    /// and more of them.
    #[must_use]
    pub fn fitting(&self, fits: &dyn Fn(&[usize]) -> bool) -> Vec<usize> {
        let all: Vec<usize> = (0..self.columns.len()).collect();
        if fits(&all) {
            return all;
        }
        let varies = |column: &usize| {
            let mut values = self.rows.iter().filter_map(|row| row.values[*column].as_ref());
            let first = values.next();
            values.any(|value| Some(value) != first)
        };
        let (mut by_use, same): (Vec<usize>, Vec<usize>) = all.into_iter().partition(varies);
        by_use.extend(same);
        let mut chosen: Vec<usize> = Vec::new();
        for column in by_use {
            let mut more = chosen.clone();
            more.push(column);
            more.sort_unstable();
            if chosen.is_empty() || fits(&more) {
                chosen = more;
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(stage: &str, output: &str, name: &str) -> Source {
        Source {
            stage: stage.to_owned(),
            output: output.to_owned(),
            name: name.to_owned(),
        }
    }

    fn found(sources: &[(&str, &str, &str, usize)]) -> Vec<(Row, Vec<Found>)> {
        let row = Row {
            run: "r".to_owned(),
            pipeline: "p".to_owned(),
            finished_on: String::new(),
            commit: None,
            uncommitted: false,
            succeeded: true,
            values: Vec::new(),
        };
        let found = sources
            .iter()
            .map(|(stage, output, name, depth)| (source(stage, output, name), *depth, 1.into()));
        vec![(row, found.collect())]
    }

    #[test]
    fn columns_are_called_by_the_shortest_name_that_tells_them_apart() {
        let sources = [
            source("a", "metrics", "auc"),
            source("a", "x", "loss"),
            source("b", "metrics", "auc"),
        ];
        assert_eq!(labels(&sources), ["a.auc", "loss", "b.auc"]);
        let sources = [
            source("a", "metrics", "auc"),
            source("a", "x", "auc"),
            source("b", "x", ""),
        ];
        assert_eq!(labels(&sources), ["a.metrics.auc", "a.x.auc", "b"]);
    }

    #[test]
    fn by_default_the_highest_level_that_has_numbers_is_shown() {
        let rows = found(&[
            ("a", "metrics", "train.auc", 2),
            ("a", "metrics", "x.y.z", 3),
            ("b", "metrics", "loss", 1),
        ]);
        assert_eq!(
            highest(&rows),
            [source("a", "metrics", "train.auc"), source("b", "metrics", "loss")]
        );
    }

    #[test]
    fn a_name_means_the_whole_or_the_last_part_and_metrics_come_first() {
        let rows = found(&[
            ("a", "metrics", "train.auc", 2),
            ("a", "metrics", "holdout.auc", 2),
            ("a", "model", "auc", 1),
            ("a", "model", "bias", 1),
        ]);
        let select = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut unknown = Vec::new();
            let chosen: Vec<String> = selected(&rows, &names, &mut unknown)
                .into_iter()
                .map(|s| s.output + " " + &s.name)
                .collect();
            (chosen, unknown.len())
        };
        assert_eq!(select(&["auc"]).0, ["metrics train.auc", "metrics holdout.auc"]);
        assert_eq!(
            select(&["bias", "a.holdout.auc"]).0,
            ["model bias", "metrics holdout.auc"]
        );
        assert_eq!(select(&["a.model.auc"]).0, ["model auc"]);
        assert_eq!(select(&["uc"]), (Vec::new(), 1));
    }
}
