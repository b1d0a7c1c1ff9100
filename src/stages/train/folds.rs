//! Cross-validation: each fold of the training rows measured by a model of the others.

use super::evaluate::bands::Cuts;
use super::evaluate::{Measure, evaluate};
use super::params::Params;
use super::refuse::refused;
use super::{Part, Split, fit, score, standardise};
use crate::model::metrics::{CrossValidation, Figures, Fold};
use crate::stages::{StageContext, StageError};

/// Divides the rows of `train` into `folds` parts and measures each by a model that was trained on the others just as the
/// model itself is: same parameters, standardised anew.
///
/// # Errors
///
/// [`StageError::Refused`] if a fold would have fewer rows of a label than may be shown, or some other folds give no model.
pub(crate) fn cross_validate(
    ctx: &StageContext<'_>,
    keys: &[String],
    train: &Part,
    params: &Params,
    folds: usize,
) -> Result<CrossValidation, StageError> {
    check(&train.labels, folds, params.suppress_below)?;
    let assigned = assign(&train.labels, folds);
    let measure = Measure {
        confidence: params.confidence,
        least: 0,
        fitted: false,
    };
    let each = (0..folds).map(|fold| {
        let mut split = Split {
            train: train.some(|row| assigned[row] != fold),
            holdout: train.some(|row| assigned[row] == fold),
        };
        if params.standardize {
            standardise(&mut split, ctx.threads);
        }
        let fit = fit(ctx, keys, &split.train, params).map_err(|error| name_fold(error, fold, folds))?;
        let found = evaluate(&score(&split.holdout, &fit, ctx.threads), &Cuts::none(), measure);
        Ok(Fold {
            n: found.n,
            positives: found.positives,
            figures: Figures {
                auc: found.auc,
                average_precision: found.average_precision,
                log_loss: found.log_loss,
                brier: found.brier,
            },
        })
    });
    let folds = each.collect::<Result<Vec<Fold>, StageError>>()?;
    Ok(CrossValidation {
        mean: over(&folds, mean),
        deviation: over(&folds, deviation),
        folds,
    })
}

/// Every fold must have enough rows of each label.
fn check(labels: &[bool], folds: usize, least: u64) -> Result<(), StageError> {
    let positives = labels.iter().filter(|label| **label).count();
    let fewest = positives.min(labels.len() - positives) / folds;
    let least = least.max(1);
    if (fewest as u64) < least {
        return Err(refused(format!(
            "with `folds: {folds}` a fold has {fewest} rows of a label, and must have {least} (`suppress_below`); there are {} and {} rows to train on",
            labels.len() - positives,
            positives
        )));
    }
    Ok(())
}

/// The fold of each row. The rows of each label are counted off in canonical order, which is that of the hash of their ids:
/// every fold has as many of them as any other, give or take one, and nothing but the set of ids decides.
fn assign(labels: &[bool], folds: usize) -> Vec<usize> {
    let mut seen = [0; 2];
    let fold = |label: &bool| {
        let rank = &mut seen[usize::from(*label)];
        *rank += 1;
        (*rank - 1) % folds
    };
    labels.iter().map(fold).collect()
}

fn name_fold(error: StageError, fold: usize, folds: usize) -> StageError {
    match error {
        StageError::Refused(mut refusal) => {
            refusal.summary = format!("without fold {} of {folds}: {}", fold + 1, refusal.summary);
            StageError::Refused(refusal)
        }
        other => other,
    }
}

/// Each figure of all folds, as one number.
fn over(folds: &[Fold], number: fn(&[f64]) -> f64) -> Figures {
    let of = |figure: fn(&Figures) -> Option<f64>| {
        let values: Option<Vec<f64>> = folds.iter().map(|fold| figure(&fold.figures)).collect();
        values.map(|values| number(&values))
    };
    Figures {
        auc: of(|figures| figures.auc),
        average_precision: of(|figures| figures.average_precision),
        log_loss: of(|figures| figures.log_loss),
        brier: of(|figures| figures.brier),
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_have_as_many_rows_of_each_label() {
        let labels: Vec<bool> = (0..100).map(|row| row % 7 == 0).collect();
        let assigned = assign(&labels, 4);
        for label in [false, true] {
            let size = |fold| {
                (0..100)
                    .filter(|row| labels[*row] == label && assigned[*row] == fold)
                    .count()
            };
            let sizes: Vec<usize> = (0..4).map(size).collect();
            assert!(
                sizes.iter().max() <= sizes.iter().min().map(|least| least + 1).as_ref(),
                "{sizes:?}"
            );
        }
    }

    #[test]
    fn too_few_rows_for_the_folds_are_refused() {
        let labels: Vec<bool> = (0..100).map(|row| row < 20).collect();
        assert!(check(&labels, 4, 5).is_ok());
        let message = check(&labels, 5, 5).expect_err("four positives in a fold").to_string();
        assert!(
            message.contains("`folds: 5`") && message.contains("80 and 20"),
            "{message}"
        );
        assert!(check(&labels, 20, 0).is_ok());
        assert!(check(&labels, 21, 0).is_err());
    }

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        assert!((deviation(&[1.0, 2.0, 3.0, 4.0]) - (5.0f64 / 3.0).sqrt()).abs() < 1e-15);
    }
}
