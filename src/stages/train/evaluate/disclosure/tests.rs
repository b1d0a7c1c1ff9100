//! What an attacker who has the published table can compute: every set of people whose number follows from it is tried.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::stages::train::evaluate::Scores;

/// A row as the tests make it: its band and its label.
type Made = (usize, bool);

/// Log odds whose probability lies in the middle of `band`.
fn log_odds(band: usize) -> f64 {
    let probability = (band as f64 + 0.5) / BANDS as f64;
    libm::log(probability / (1.0 - probability))
}

/// Parts of rows, each row with its values.
fn population(parts: &[Vec<(Vec<String>, Made)>]) -> Population {
    let columns = parts.iter().flatten().next().map_or(0, |(values, _)| values.len());
    let names: Vec<String> = (0..columns).map(|column| format!("column {column}")).collect();
    let parts = parts.iter().map(|rows| {
        let scores = Scores {
            weights: None,
            log_odds: rows.iter().map(|(_, (band, _))| log_odds(*band)).collect(),
            labels: rows.iter().map(|(_, (_, label))| *label).collect(),
        };
        let groups = |row: usize, column: usize| rows.get(row).map(|(values, _)| values[column].as_str());
        (scores, groups)
    });
    Population::of_texts(&names, parts.collect())
}

/// What is published of one label in one part: which atoms (a combination of values, and a band) each number counts.
struct Published {
    /// Rows in each atom.
    atoms: Vec<u64>,
    /// For each published number, whether it counts the atom.
    sets: Vec<Vec<bool>>,
}

fn published(
    population: &Population,
    disclosure: &Disclosure,
    part: usize,
    label: usize,
    bands: &[usize],
) -> Published {
    let combinations = population.combinations();
    let atoms: Vec<(&Combination, usize)> = combinations
        .iter()
        .flat_map(|of| bands.iter().map(move |band| (of, *band)))
        .collect();
    let mut sets = Vec::new();
    let mut add = |cuts: &Cuts, keep: &dyn Fn(&Combination) -> bool| {
        for (from, to) in cuts.spans() {
            let counts = atoms.iter().map(|(of, band)| keep(of) && (from..to).contains(band));
            sets.push(counts.collect());
        }
    };
    add(&disclosure.overall, &|_| true);
    for (column, shown) in disclosure.shown.iter().enumerate() {
        for (value, _) in shown.iter().enumerate().filter(|(_, shown)| **shown) {
            add(&disclosure.grouped, &|of| of.values[column] == value);
        }
        add(&disclosure.grouped, &|of| !shown[of.values[column]]);
    }
    Published {
        atoms: atoms.iter().map(|(of, band)| of.counts[part][label][*band]).collect(),
        sets,
    }
}

/// Linear algebra in the integers modulo a prime: more can be computed there than with fractions, never less.
const PRIME: i64 = 1_000_003;

fn inverse(of: i64) -> i64 {
    let (mut result, mut base, mut power) = (1, of, PRIME - 2);
    while power > 0 {
        if power % 2 == 1 {
            result = result * base % PRIME;
        }
        base = base * base % PRIME;
        power /= 2;
    }
    result
}

/// Takes from `row` whatever the rows of `basis` have in their leading columns.
fn reduce(row: &mut [i64], basis: &[(usize, Vec<i64>)]) {
    for (lead, own) in basis {
        let factor = row[*lead];
        for (entry, of) in row.iter_mut().zip(own) {
            *entry = (*entry - factor * of % PRIME + PRIME) % PRIME;
        }
    }
}

fn basis(sets: &[Vec<bool>]) -> Vec<(usize, Vec<i64>)> {
    let mut basis: Vec<(usize, Vec<i64>)> = Vec::new();
    for set in sets {
        let mut row: Vec<i64> = set.iter().map(|counts| i64::from(*counts)).collect();
        reduce(&mut row, &basis);
        if let Some(lead) = row.iter().position(|entry| *entry != 0) {
            let factor = inverse(row[lead]);
            for entry in &mut row {
                *entry = *entry * factor % PRIME;
            }
            basis.push((lead, row));
        }
    }
    basis
}

/// Every set of atoms whose number can be computed, and how many people are in it.
fn computable(published: &Published) -> Vec<(Vec<bool>, u64)> {
    let basis = basis(&published.sets);
    let size = published.atoms.len();
    assert!(size <= 14, "{size} atoms are too many to try all sets");
    let mut found = Vec::new();
    for set in 1u32..1 << size {
        let set: Vec<bool> = (0..size).map(|atom| set >> atom & 1 == 1).collect();
        let mut row: Vec<i64> = set.iter().map(|counts| i64::from(*counts)).collect();
        reduce(&mut row, &basis);
        if row.iter().all(|entry| *entry == 0) {
            let people = set.iter().zip(&published.atoms).filter(|(counts, _)| **counts);
            found.push((set.clone(), people.map(|(_, people)| people).sum()));
        }
    }
    found
}

/// Whether all rows together are enough: their number is no secret, and nothing is split if they are not.
fn is_enough(population: &Population, least: u64) -> bool {
    population
        .parts
        .iter()
        .all(|part| part.scores.totals().iter().all(|total| *total >= least))
}

fn assert_nothing_small_is_computable(
    population: &Population,
    least: u64,
    bands: &[usize],
) -> Result<(), TestCaseError> {
    let disclosure = Disclosure::decide(population, least);
    for shown in disclosure.shown.iter().filter(|shown| shown.len() > 1) {
        // One group alone among the others is as good as shown.
        prop_assert_ne!(shown.iter().filter(|shown| !**shown).count(), 1, "{:?}", disclosure);
    }
    for part in 0..population.parts.len() {
        for label in 0..2 {
            let published = published(population, &disclosure, part, label, bands);
            for (set, people) in computable(&published) {
                let everybody = set.iter().all(|counts| *counts) && !is_enough(population, least);
                prop_assert!(
                    people >= least || everybody,
                    "{people} people of {set:?} in {:?}, by {disclosure:?}",
                    published.atoms
                );
            }
        }
    }
    Ok(())
}

fn made(bands: &'static [usize]) -> impl Strategy<Value = Made> {
    (prop::sample::select(bands), any::<bool>())
}

/// Rows of one column with few values, some of them rare.
fn one_column() -> impl Strategy<Value = Vec<Vec<(Vec<String>, Made)>>> {
    let value = prop_oneof![6 => Just("a"), 4 => Just("b"), 2 => Just("c"), 1 => Just("d")];
    let row = (value, made(&[3, 9, 14])).prop_map(|(value, made)| (vec![value.to_owned()], made));
    prop::collection::vec(prop::collection::vec(row, 0..70), 1..3)
}

/// Rows of two columns, of which the first is a function of the second.
fn nested() -> impl Strategy<Value = Vec<Vec<(Vec<String>, Made)>>> {
    let clinic = prop_oneof![5 => 0usize..3, 1 => 3usize..8];
    let row =
        (clinic, made(&[10])).prop_map(|(clinic, made)| (vec![(clinic % 3).to_string(), clinic.to_string()], made));
    prop::collection::vec(prop::collection::vec(row, 0..70), 1..3)
}

/// Rows of two columns that have nothing to do with one another.
fn crossed() -> impl Strategy<Value = Vec<Vec<(Vec<String>, Made)>>> {
    let value = || prop_oneof![4 => 0u8..2, 1 => 2u8..4];
    let row = (value(), value(), made(&[10])).prop_map(|(a, b, made)| (vec![a.to_string(), b.to_string()], made));
    prop::collection::vec(prop::collection::vec(row, 0..90), 1..2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_small_count_of_a_group_and_a_band_can_be_computed(parts in one_column(), least in 1u64..6) {
        assert_nothing_small_is_computable(&population(&parts), least, &[3, 9, 14])?;
    }

    #[test]
    fn no_small_count_can_be_computed_of_columns_that_lie_within_one_another(parts in nested(), least in 1u64..6) {
        assert_nothing_small_is_computable(&population(&parts), least, &[10])?;
    }

    /// An attacker knows that every combination of values may occur, and no more.
    #[test]
    fn no_small_count_can_be_computed_of_columns_that_cross(parts in crossed(), least in 1u64..6) {
        let mut parts = parts;
        // One row more of every combination, so that none is known to be empty.
        for (a, b) in (0..3).flat_map(|a| (0..3).map(move |b| (a, b))) {
            parts[0].retain(|(values, _)| values.iter().all(|value| value != "3"));
            parts[0].push((vec![a.to_string(), b.to_string()], (10, a > b)));
        }
        assert_nothing_small_is_computable(&population(&parts), least, &[10])?;
    }

    /// Every table that agrees with what is published is tried: a hidden count has more than one value among them.
    #[test]
    fn a_hidden_count_has_more_than_one_value(counts in prop::collection::vec((0u64..7, 0u64..7), 3..5), least in 1u64..5) {
        let row = |value: usize, label: bool| (vec![value.to_string()], (10, label));
        let rows = counts.iter().enumerate().flat_map(|(value, (negatives, positives))| {
            let negatives = (0..*negatives).map(move |_| row(value, false));
            negatives.chain((0..*positives).map(move |_| row(value, true)))
        });
        let population = population(&[rows.collect()]);
        prop_assume!(is_enough(&population, least));
        let disclosure = Disclosure::decide(&population, least);
        let Some(shown) = disclosure.shown.first() else { return Ok(()) };
        let combinations = population.combinations();
        let of = |value: usize, label: usize| combinations[value].counts[0][label].iter().sum::<u64>();
        let hidden: Vec<usize> = (0..shown.len()).filter(|value| !shown[*value]).collect();
        prop_assert_ne!(hidden.len(), 1);
        for label in 0..2 {
            let total: u64 = hidden.iter().map(|value| of(*value, label)).sum();
            for place in 0..hidden.len() {
                // All ways to spread `total` over the hidden groups: the values that this one takes.
                let values: BTreeSet<u64> = spread(total, hidden.len()).into_iter().map(|way| way[place]).collect();
                prop_assert!(values.len() > 1, "{} of {hidden:?} is known to be {values:?}", hidden[place]);
            }
        }
    }
}

fn spread(total: u64, over: usize) -> Vec<Vec<u64>> {
    if over == 1 {
        return vec![vec![total]];
    }
    let first = |first: u64| {
        let rest = spread(total - first, over - 1).into_iter();
        rest.map(move |rest| [vec![first], rest].concat())
    };
    (0..=total).flat_map(first).collect()
}

/// So many rows of each label of one value.
fn rows(values: &[&str], each: u64) -> Vec<(Vec<String>, Made)> {
    let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
    (0..2 * each).map(|row| (values.clone(), (10, row % 2 == 0))).collect()
}

fn shown(parts: &[Vec<(Vec<String>, Made)>], least: u64) -> Vec<Vec<bool>> {
    Disclosure::decide(&population(parts), least).shown
}

#[test]
fn the_next_smallest_hides_the_one_that_is_too_small() {
    let one = |small| [rows(&["a"], 9), rows(&["b"], 7), rows(&["c"], small)].concat();
    assert_eq!(shown(&[one(5)], 5), [[true, true, true]]);
    assert_eq!(shown(&[one(4)], 5), [[true, false, false]]);
    assert_eq!(shown(&[one(4)], 4), [[true, true, true]]);
    assert_eq!(shown(&[one(0)], 0), [[true, true]]);
    // Two that are too small hide one another if they are enough together.
    let two = [rows(&["a"], 9), rows(&["b"], 3), rows(&["c"], 2)].concat();
    assert_eq!(shown(&[two], 5), [[true, false, false]]);
}

#[test]
fn groups_have_no_threshold_that_all_rows_have_not() {
    let counted = |value: &str, by_band: [u64; 3]| -> Vec<(Vec<String>, Made)> {
        let bands = by_band.into_iter().enumerate();
        let rows = bands.flat_map(|(place, count)| (0..2 * count).map(move |row| (10 + place, row % 2 == 0)));
        rows.map(|made| (vec![value.to_owned()], made)).collect()
    };
    // All rows are split at 0.6, which leaves 4 in the band before it no split of their own. Groups cannot be split there, but
    // could at 0.55: and then those 4 would be the difference.
    let rows = [counted("a", [5, 2, 3]), counted("b", [5, 2, 4])].concat();
    let found = Disclosure::decide(&population(&[rows]), 5);
    let spans = |cuts: &Cuts| cuts.spans().collect::<Vec<_>>();
    assert_eq!(spans(&found.overall), [(0, 12), (12, 20)]);
    assert_eq!(spans(&found.grouped), [(0, 20)]);
}

#[test]
fn a_group_that_is_small_in_one_part_is_shown_in_none() {
    let train = [rows(&["a"], 90), rows(&["b"], 70), rows(&["c"], 50)].concat();
    let holdout = [rows(&["a"], 9), rows(&["b"], 7), rows(&["c"], 4)].concat();
    assert_eq!(shown(std::slice::from_ref(&train), 5), [[true, true, true]]);
    assert_eq!(shown(&[train, holdout], 5), [[true, false, false]]);
}

#[test]
fn a_clinic_cannot_be_found_by_subtracting_the_others_from_their_region() {
    // North is 10 + 3, south 10 + 10. Of the clinics the one with 3 is hidden, with the next smallest.
    let all = [
        rows(&["north", "1"], 10),
        rows(&["north", "2"], 3),
        rows(&["south", "3"], 11),
        rows(&["south", "4"], 12),
    ];
    let by_clinic: Vec<_> = all
        .concat()
        .into_iter()
        .map(|(values, made)| (vec![values[1].clone()], made))
        .collect();
    assert_eq!(shown(&[by_clinic], 5), [[false, false, true, true]]);
    let all: Vec<_> = all.concat();
    assert_eq!(shown(&[all], 5), [vec![true, true], vec![false, false, true, true]]);
    // With clinic 3 as the smaller, north less clinic 1 would be clinic 2.
    let all = [
        rows(&["north", "1"], 12),
        rows(&["north", "2"], 3),
        rows(&["south", "3"], 10),
        rows(&["south", "4"], 11),
    ];
    let hidden = [vec![true, true], vec![false, false, false, true]];
    assert_eq!(shown(&[all.concat()], 5), hidden);
}

#[test]
fn one_group_alone_is_not_hidden_by_being_called_the_others() {
    // North less clinic 1 is 3 of clinic 2, which has more in the south. Hiding clinic 1 alone would hide nothing.
    let all = [
        rows(&["north", "1"], 10),
        rows(&["north", "2"], 3),
        rows(&["south", "2"], 10),
    ];
    assert_eq!(shown(&[all.concat()], 5), [[true, true], [false, false]]);
}
