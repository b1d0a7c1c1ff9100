//! `train`: a features file in, a logistic regression and its metrics out.
//!
//! The optimum of Σ cᵢ · log loss + λ/2 · ‖w‖² by Newton's method, or of an elastic net, the intercept not penalised. Rows are added up in
//! canonical order, in blocks of 4096 whose sums are added in block order, with `exp` and `log1p` of the `libm` crate:
//! the bytes of model and metrics are a function of the rows and the parameters, and not of threads, of the order of
//! rows, of the build or the processor. `docs/model.md` says it in full.

pub mod assess;
pub(crate) mod blocks;
mod cholesky;
mod elastic;
pub(crate) mod envelope;
pub(crate) mod evaluate;
mod features_file;
mod folds;
mod identify;
mod kernels;
pub(crate) mod loss;
mod measure;
mod params;
mod refuse;
pub(crate) mod solve;
mod weights;

use std::fs::File;
use std::io::Write as _;

use self::blocks::Matrix;
use self::envelope::EnvelopeError;
use self::evaluate::Scores;
use self::evaluate::population::Population;
pub(crate) use self::features_file::is_weight;
use self::features_file::{FeatureTable, FeaturesError, LabelledRows};
use self::loss::Objective;
use self::params::{Params, Solver};
use self::refuse::{no_fit, no_optimum, refused, wrong_labels};
use self::solve::{Fit, SolveError};
use super::ingest::blocks::pool;
use super::{Builtin, Progress, StageContext, StageError, Unit};
use crate::model::metrics::{self, Coefficient, Convergence, FeatureCoefficient, Metrics, RowCounts};
use crate::model::{Labels, Model, Standardisation};

/// The stage as the runner knows it.
pub const BUILTIN: Builtin = Builtin {
    name: "train",
    revision: 2,
    definition: include_str!("../../../stages/train.yaml"),
    needs_purpose: false,
    run,
};

fn run(ctx: &mut StageContext<'_>) -> Result<(), StageError> {
    let params = Params::read(ctx.params)?;
    let (table, parts) = read(ctx, &params)?;
    let labels = choose_labels(&table, params.positive.as_deref())?;
    let mut data = Split::new(&table, parts, &labels, params.holdout)?;
    let standardisation = params.standardize.then(|| standardise(&mut data, ctx.threads));
    let fit = fit(ctx, &table.keys, &data.train, &params)?;
    let model = Model {
        preparation: table.preparation.clone(),
        ..model(&table.keys, &labels, &fit, standardisation)
    };
    let bytes = model
        .to_bytes()
        .map_err(|error| refused(format!("no model: {error}")))?;
    let mut metrics = metrics(&table, &labels, &data, &params, &fit, ctx.threads);
    if let Some(folds) = params.folds {
        metrics.cross_validation = Some(folds::cross_validate(ctx, &table.keys, &data.train, &params, folds)?);
    }
    let metrics_bytes = metrics
        .to_bytes()
        .map_err(|error| refused(format!("no metrics: {error}")))?;
    ctx.check_cancelled()?;
    write(ctx, "model", &bytes)?;
    write(ctx, "metrics", &metrics_bytes)?;
    let line = format!(
        "{} rows, {} features, {} steps, gradient norm {:e}\n",
        data.train.labels.len(),
        table.keys.len(),
        fit.steps,
        fit.gradient_norm
    );
    // A log that cannot be written is no reason to fail.
    let _ = ctx.log.write_all(line.as_bytes());
    Ok(())
}

/// Why the features file gave no table.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Features(#[from] FeaturesError),
    #[error(transparent)]
    Stage(#[from] StageError),
}

fn read(ctx: &StageContext<'_>, params: &Params) -> Result<(FeatureTable, [LabelledRows; 2]), StageError> {
    let input = ctx
        .input("features")?
        .ok_or_else(|| refused("input `features` is not named"))?;
    let unreadable = |source| StageError::Io {
        verb: "read",
        path: input.name.clone(),
        source,
    };
    let file = File::open(&input.absolute).map_err(unreadable)?;
    let on_rows = |done| {
        ctx.check_cancelled()?;
        (ctx.progress)(Progress {
            unit: Unit::Rows,
            done,
            total: None,
        });
        Ok::<_, ReadError>(())
    };
    let pool = pool(ctx.threads).map_err(unreadable)?;
    FeatureTable::read(file, params.holdout, params.weights.as_deref(), &pool, on_rows).map_err(|error| match error {
        ReadError::Stage(error) => error,
        ReadError::Features(FeaturesError::Envelope(EnvelopeError::Io(source))) => unreadable(source),
        ReadError::Features(error) => refused(format!("`{}` is no features file: {error}", input.name)),
    })
}

/// The positive label is the later one in byte order, unless it is named.
fn choose_labels(table: &FeatureTable, positive: Option<&str>) -> Result<Labels, StageError> {
    if table.labels.is_empty() {
        return Err(refused(format!(
            "there are no labelled rows among {}; events need a `payload.label`",
            table.total_rows
        )));
    }
    let mut labels = table.labels.keys();
    let (Some(earlier), Some(later), None) = (labels.next(), labels.next(), labels.next()) else {
        return Err(wrong_labels(&table.labels));
    };
    if table.keys.is_empty() {
        return Err(refused(
            "there are no features; events need numbers or booleans in `payload.features`",
        ));
    }
    let (negative, positive) = match positive {
        None => (earlier, later),
        Some(positive) if positive == later => (earlier, later),
        Some(positive) if positive == earlier => (later, earlier),
        Some(other) => {
            return Err(refused(format!(
                "parameter `positive` is `{other}`, but the labels are `{earlier}` and `{later}`"
            )));
        }
    };
    Ok(Labels {
        negative: negative.clone(),
        positive: positive.clone(),
    })
}

/// Rows and, for each, whether its label is the positive one.
struct Part {
    /// Where each row's values are, as [`FeatureTable::values`] knows them.
    groups: Vec<Vec<u32>>,
    labels: Vec<bool>,
    matrix: Matrix,
    /// What each row weighs; nothing if all weigh alike.
    weights: Option<Vec<f64>>,
}

impl Part {
    fn new(table: &FeatureTable, rows: LabelledRows, labels: &Labels) -> Self {
        Self {
            labels: table.have_label(&rows, &labels.positive),
            groups: rows.groups,
            matrix: rows.matrix,
            weights: rows.weights,
        }
    }

    /// The same rows without what they have beside features and labels, as far as `keep`, told their place, says yes.
    fn some(&self, keep: impl Fn(usize) -> bool) -> Self {
        let places: Vec<usize> = (0..self.labels.len()).filter(|place| keep(*place)).collect();
        Self {
            groups: Vec::new(),
            labels: places.iter().map(|place| self.labels[*place]).collect(),
            matrix: self.matrix.pick(&places),
            weights: (self.weights.as_ref()).map(|weights| places.iter().map(|place| weights[*place]).collect()),
        }
    }
}

/// The rows, apart by the hash of their ids.
struct Split {
    train: Part,
    holdout: Part,
}

impl Split {
    fn new(table: &FeatureTable, parts: [LabelledRows; 2], labels: &Labels, holdout: f64) -> Result<Self, StageError> {
        let [train, holdout_rows] = parts.map(|part| Part::new(table, part, labels));
        let positives = train.labels.iter().filter(|label| **label).count();
        if positives == 0 || positives == train.labels.len() {
            return Err(refused(format!(
                "with `holdout` at {holdout} only one label is left to train on ({} rows); set it lower",
                train.labels.len()
            )));
        }
        Ok(Self {
            train,
            holdout: holdout_rows,
        })
    }
}

/// Brings features to mean 0 and deviation 1 on the rows that are trained on.
fn standardise(data: &mut Split, threads: usize) -> Standardisation {
    let columns = data.train.matrix.columns() - 1;
    let weights = data.train.weights.as_deref();
    let mut means = identify::means(&data.train.matrix, &data.train.labels, weights, threads);
    let mut scales = identify::deviations(&data.train.matrix, &data.train.labels, weights, threads, &means);
    means.truncate(columns);
    scales.truncate(columns);
    for scale in &mut scales {
        // A constant column becomes 0, and is found where that matters.
        if *scale <= 0.0 {
            *scale = 1.0;
        }
    }
    let standardisation = Standardisation { means, scales };
    for part in [&mut data.train, &mut data.holdout] {
        part.matrix.change(|column, value| match column < columns {
            true => standardisation.apply(column, value),
            false => value,
        });
    }
    standardisation
}

fn fit(ctx: &StageContext<'_>, keys: &[String], train: &Part, params: &Params) -> Result<Fit, StageError> {
    let on_step = |done| {
        ctx.check_cancelled()?;
        (ctx.progress)(Progress {
            unit: Unit::Steps,
            done,
            total: None,
        });
        Ok(())
    };
    let objective = Objective {
        matrix: &train.matrix,
        labels: &train.labels,
        l2: params.solver.quadratic(),
        class_weights: class_weights(train, params.balanced),
        weights: train.weights.as_deref(),
        threads: ctx.threads,
        stride: 1,
    };
    match params.solver {
        Solver::Descent => solve::descent(&objective, &on_step).map_err(|error| no_fit(error, false)),
        Solver::ElasticNet { l2, l1_ratio } => {
            elastic::elastic_net(&objective, l2 * l1_ratio, &on_step).map_err(|error| no_fit(error, true))
        }
        Solver::Newton { l2 } if l2 > 0.0 => solve::newton(&objective, &on_step).map_err(|error| no_fit(error, true)),
        Solver::Newton { .. } => fit_unpenalised(&objective, keys, &on_step),
    }
}

/// Without a penalty there need not be an optimum. If there is none, every column that is to blame is named.
fn fit_unpenalised(objective: &Objective<'_>, keys: &[String], on_step: solve::OnStep<'_>) -> Result<Fit, StageError> {
    let (matrix, labels, threads) = (objective.matrix, objective.labels, objective.threads);
    let findings = identify::examine(matrix, labels, threads);
    let mut kept = findings.others(keys.len());
    kept.push(keys.len());
    let selected = (kept.len() < matrix.columns()).then(|| matrix.select(&kept));
    let rest = selected.as_ref().unwrap_or(matrix);
    let result = solve::newton(
        &Objective {
            matrix: rest,
            ..*objective
        },
        on_step,
    );
    match result {
        Ok(fit) if findings.is_empty() => Ok(fit),
        Err(SolveError::Separated { direction }) => {
            let jointly = identify::material(rest, labels, threads, &direction);
            let jointly: Vec<usize> = jointly.into_iter().map(|column| kept[column]).collect();
            Err(no_optimum(keys, &findings, &jointly))
        }
        Err(SolveError::Stopped(error)) => Err(error),
        Err(error) if findings.is_empty() => Err(no_fit(error, false)),
        // Whatever the rest would give, what was found is enough to refuse.
        Ok(_) | Err(_) => Err(no_optimum(keys, &findings, &[])),
    }
}

/// The weight of a negative and of a positive row: n / (2 · nₗ) if balanced, a row counted as often as it weighs.
fn class_weights(train: &Part, balanced: bool) -> [f64; 2] {
    if !balanced {
        return [1.0, 1.0];
    }
    let totals = weights::totals(&train.labels, train.weights.as_deref());
    let all = totals[0] + totals[1];
    totals.map(|total| all / (2.0 * total))
}

fn model(keys: &[String], labels: &Labels, fit: &Fit, standardisation: Option<Standardisation>) -> Model {
    // Adding 0 makes -0 into 0, which is how it is written.
    let mut weights: Vec<f64> = fit.parameters.iter().map(|parameter| parameter + 0.0).collect();
    let bias = weights.pop().unwrap_or(0.0);
    Model {
        labels: labels.clone(),
        feature_keys: keys.to_vec(),
        weights,
        bias,
        standardisation,
        preparation: None,
    }
}

fn metrics(table: &FeatureTable, labels: &Labels, data: &Split, params: &Params, fit: &Fit, threads: usize) -> Metrics {
    let (train, holdout) = (score(&data.train, fit, threads), score(&data.holdout, fit, threads));
    let rows = RowCounts {
        total: table.total_rows,
        unlabelled: table.unlabelled_rows(),
        train: train.len() as u64,
        holdout: holdout.len() as u64,
    };
    let mut parts = vec![(train, table.values(&data.train.groups))];
    if params.holdout > 0.0 {
        parts.push((holdout, table.values(&data.holdout.groups)));
    }
    let population = Population::new(&table.groups, parts);
    let (measured, likelihood) = rayon::join(
        || measure::measure(&population, params.confidence, params.suppress_below, true),
        || measure::likelihood(&population.parts[0].scores, table.keys.len(), params),
    );
    let (overall, groups) = measured.into_parts();
    let mut coefficients = measure::coefficients(fit, params);
    let intercept = coefficients.pop().unwrap_or_else(Coefficient::none);
    Metrics {
        format: metrics::FORMAT,
        labels: labels.clone(),
        rows,
        settings: params.settings(),
        convergence: Convergence {
            converged: fit.gradient_norm <= solve::TOLERANCE,
            iterations: fit.steps,
            gradient_norm: fit.gradient_norm,
            objective: fit.value,
        },
        likelihood,
        intercept,
        coefficients: table
            .keys
            .iter()
            .zip(coefficients)
            .map(|(feature, coefficient)| FeatureCoefficient {
                feature: feature.clone(),
                coefficient,
            })
            .collect(),
        train: overall.train,
        holdout: overall.holdout,
        cross_validation: None,
        groups,
    }
}

fn score(part: &Part, fit: &Fit, threads: usize) -> Scores {
    Scores {
        log_odds: loss::log_odds(&part.matrix, &part.labels, threads, &fit.parameters),
        labels: part.labels.clone(),
        weights: part.weights.clone(),
    }
}

/// Writes the output `name`, if the pipeline names it.
fn write(ctx: &StageContext<'_>, name: &str, bytes: &[u8]) -> Result<(), StageError> {
    let Some(path) = ctx.output(name) else {
        return Ok(());
    };
    let written = File::create(path).and_then(|mut file| file.write_all(bytes));
    written.map_err(|source| StageError::Io {
        verb: "write",
        path: path.to_owned(),
        source,
    })
}
