//! How often the parts of a schema can be asked about one value: where parts refer to others twice, that doubles with each step, and a
//! schema of a few lines would take for ever.

use std::collections::BTreeMap;

use serde_json::Value;

use super::graph::{Part, Within, parts_of};

/// So often parts may be asked about one value, an event or something in it.
pub(super) const MOST: u64 = 100_000;

/// Why it cannot be said how often parts are asked, or they are asked too often.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The schema refers to what is not in it.
    Unknown(String),
    /// A part is asked about a value because it is asked about that value.
    Circle,
    /// There are events about which too many parts are asked, though no part refers to itself; or any event is one.
    TooMany,
}

/// A schema that refers to itself in such a way that there are events, nested deep, about which too many parts would be asked.
pub(super) struct Visits {
    parts: Vec<Part>,
    /// Those that ask others about the same value stand before these.
    order: Vec<usize>,
    /// The place of each in that order.
    ranks: Vec<usize>,
    /// Events that are nested no deeper are never too much.
    harmless: usize,
}

impl Visits {
    /// Counts for `schema`, and events that are nested no deeper than `depth`. Gives nothing if none of them is too much.
    pub(super) fn of(schema: &Value, depth: usize) -> Result<Option<Self>, Unfit> {
        let parts = parts_of(schema).map_err(Unfit::Unknown)?;
        let order = ordered(&parts, |part| part.same.clone()).ok_or(Unfit::Circle)?;
        // By part: how many are asked about a value so deep within that about which it is asked, at most.
        let mut above = vec![0; parts.len()];
        for deep in 0..=depth {
            let counts = counts(&parts, &order, &above, deep == 0);
            if counts[0] > MOST {
                let is_endless = ordered(&parts, everything).is_none();
                let harmless = deep.checked_sub(1).filter(|_| is_endless).ok_or(Unfit::TooMany)?;
                let mut ranks = vec![0; parts.len()];
                for (rank, part) in order.iter().enumerate() {
                    ranks[*part] = rank;
                }
                return Ok(Some(Self {
                    parts,
                    order,
                    ranks,
                    harmless,
                }));
            }
            if deep > 0 && counts == above {
                break;
            }
            above = counts;
        }
        Ok(None)
    }

    /// Whether no value in `event` is asked about too often.
    pub(super) fn allows(&self, event: &Value) -> bool {
        !is_deeper(event, self.harmless) || self.is_asked(event, BTreeMap::from([(self.ranks[0], 1)]))
    }

    /// Goes through a value about which these parts, by rank, are asked so often each.
    fn is_asked(&self, value: &Value, mut asked: BTreeMap<usize, u64>) -> bool {
        if asked.is_empty() {
            return true;
        }
        let mut all = Vec::new();
        let mut sum: u64 = 0;
        while let Some((rank, count)) = asked.pop_first() {
            sum = sum.saturating_add(count);
            if sum > MOST {
                return false;
            }
            let part = &self.parts[self.order[rank]];
            self.add(&mut asked, &part.same, count.saturating_mul(part.times));
            all.push((part, count));
        }
        match value {
            Value::Object(members) => members.iter().all(|(name, value)| {
                let mut asked = BTreeMap::new();
                for (part, count) in &all {
                    let named = part.members.named.get(name);
                    self.add_within(&mut asked, (&part.members, named), *count);
                }
                self.is_asked(value, asked)
            }),
            Value::Array(items) => items.iter().enumerate().all(|(place, value)| {
                let mut asked = BTreeMap::new();
                for (part, count) in &all {
                    let named = part.items.named.get(place);
                    self.add_within(&mut asked, (&part.items, named), *count);
                }
                self.is_asked(value, asked)
            }),
            _ => true,
        }
    }

    fn add_within<N>(&self, asked: &mut BTreeMap<usize, u64>, (of, named): (&Within<N>, Option<&usize>), count: u64) {
        let others = named.map_or(of.others.as_slice(), std::slice::from_ref);
        self.add(asked, others, count);
        self.add(asked, &of.each, count);
    }

    fn add(&self, asked: &mut BTreeMap<usize, u64>, parts: &[usize], count: u64) {
        for part in parts {
            let sum = asked.entry(self.ranks[*part]).or_default();
            *sum = sum.saturating_add(count);
        }
    }
}

/// How many parts are asked, by part: about the value itself, or one in it by what it is for one level less.
fn counts(parts: &[Part], order: &[usize], above: &[u64], is_itself: bool) -> Vec<u64> {
    let mut counts: Vec<u64> = vec![0; parts.len()];
    let sum = |of: &[usize], counts: &[u64]| of.iter().fold(0, |sum: u64, part| sum.saturating_add(counts[*part]));
    for place in order.iter().rev() {
        let part = &parts[*place];
        let most = |named: Option<u64>, others: &[usize], each: &[usize]| {
            let one = named.unwrap_or(0).max(sum(others, above));
            one.saturating_add(sum(each, above))
        };
        let (members, items) = (&part.members, &part.items);
        let member = members.named.values().map(|part| above[*part]).max();
        let item = items.named.iter().map(|part| above[*part]).max();
        let own = match is_itself {
            true => 1,
            false => most(member, &members.others, &members.each).max(most(item, &items.others, &items.each)),
        };
        counts[*place] = sum(&part.same, &counts).saturating_mul(part.times).saturating_add(own);
    }
    counts
}

/// All that a part asks.
fn everything(part: &Part) -> Vec<usize> {
    let members = part
        .members
        .named
        .values()
        .chain(&part.members.others)
        .chain(&part.members.each);
    let items = part
        .items
        .named
        .iter()
        .chain(&part.items.others)
        .chain(&part.items.each);
    part.same.iter().chain(members).chain(items).copied().collect()
}

/// The parts, each before those that it asks; nothing if one asks itself.
fn ordered(parts: &[Part], asks: impl Fn(&Part) -> Vec<usize>) -> Option<Vec<usize>> {
    let mut waiting_for = vec![0_usize; parts.len()];
    for part in parts.iter().flat_map(&asks) {
        waiting_for[part] += 1;
    }
    let mut order: Vec<usize> = (0..parts.len()).filter(|part| waiting_for[*part] == 0).collect();
    let mut next = 0;
    while let Some(part) = order.get(next).copied() {
        next += 1;
        for part in asks(&parts[part]) {
            waiting_for[part] -= 1;
            if waiting_for[part] == 0 {
                order.push(part);
            }
        }
    }
    (order.len() == parts.len()).then_some(order)
}

fn is_deeper(value: &Value, depth: usize) -> bool {
    let is_in = |value: &Value| depth.checked_sub(1).is_none_or(|depth| is_deeper(value, depth));
    match value {
        Value::Array(items) => items.iter().any(is_in),
        Value::Object(members) => members.values().any(is_in),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
