//! Where the boxes of a drawing stand: layers from left to right, few crossings, short lines.
//!
//! The usual steps (Sugiyama): an edge over several layers gets a place to pass in each, the order within layers comes from
//! the mean place of the neighbours, and heights from that mean as far as order and gaps allow.

use super::Graph;

/// How often the layers are swept for crossings, and for heights.
const SWEEPS: usize = 8;
/// More passing places than this are not made: long edges then cross what stands in their way.
const MAX_PASSING: usize = 50_000;

/// A place in a layer: a node, or where an edge passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    /// The node; none where an edge passes.
    pub(super) node: Option<usize>,
    /// The layer.
    pub(super) layer: usize,
    /// The middle, in drawing units from the top.
    pub(super) y: f64,
}

/// The places of all nodes (first, by their index) and passings, and the edges as chains of places.
pub(super) struct Layout {
    pub(super) places: Vec<Place>,
    /// Each from what is read to what reads it, through the layers between.
    pub(super) chains: Vec<Vec<usize>>,
    /// The height of everything.
    pub(super) height: f64,
}

/// How much room a place takes from top to bottom.
#[derive(Clone, Copy)]
pub(super) struct Heights {
    pub(super) node: f64,
    pub(super) passing: f64,
}

/// Lays the graph out.
pub(super) fn lay_out(graph: &Graph, heights: Heights) -> Layout {
    let layer_of_each = graph.layer_of_each();
    let mut places: Vec<Place> = layer_of_each
        .iter()
        .enumerate()
        .map(|(node, layer)| Place {
            node: Some(node),
            layer: *layer,
            y: 0.0,
        })
        .collect();
    let chains = chains(graph, &layer_of_each, &mut places);
    let mut before = vec![Vec::new(); places.len()];
    let mut after = vec![Vec::new(); places.len()];
    for chain in &chains {
        for pair in chain.windows(2) {
            after[pair[0]].push(pair[1]);
            before[pair[1]].push(pair[0]);
        }
    }
    let mut layers = vec![Vec::new(); layer_of_each.iter().max().map_or(0, |highest| highest + 1)];
    for (index, place) in places.iter().enumerate() {
        layers[place.layer].push(index);
    }
    order(&mut layers, places.len(), &before, &after);
    let height = set_heights(&mut places, &layers, heights, &before, &after);
    Layout { places, chains, height }
}

fn chains(graph: &Graph, layer_of_each: &[usize], places: &mut Vec<Place>) -> Vec<Vec<usize>> {
    let mut chains = Vec::new();
    for (reader, node) in graph.nodes.iter().enumerate() {
        for read in &node.reads {
            let mut chain = vec![*read];
            let between = layer_of_each[*read] + 1..layer_of_each[reader];
            if places.len() + between.len() <= graph.nodes.len() + MAX_PASSING {
                for layer in between {
                    chain.push(places.len());
                    places.push(Place {
                        node: None,
                        layer,
                        y: 0.0,
                    });
                }
            }
            chain.push(reader);
            chains.push(chain);
        }
    }
    chains
}

/// Sorts each layer by the mean place of its neighbours, forward and backward in turn.
fn order(layers: &mut [Vec<usize>], places: usize, before: &[Vec<usize>], after: &[Vec<usize>]) {
    let mut rank = vec![0.0; places];
    let number = |layer: &[usize], rank: &mut Vec<f64>| {
        let mut at = 0.0;
        for place in layer {
            rank[*place] = at;
            at += 1.0;
        }
    };
    for layer in layers.iter() {
        number(layer, &mut rank);
    }
    for sweep in 0..SWEEPS {
        let forward = sweep % 2 == 0;
        let count = layers.len();
        for step in 0..count {
            let layer = &mut layers[if forward { step } else { count - 1 - step }];
            let neighbours = if forward { before } else { after };
            let mut keyed: Vec<(f64, usize)> = layer
                .iter()
                .map(|place| (mean(&neighbours[*place], &rank).unwrap_or(rank[*place]), *place))
                .collect();
            // Stable: what has the same mean stays in the plan's order.
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
            *layer = keyed.into_iter().map(|(_, place)| place).collect();
            number(layer, &mut rank);
        }
    }
}

fn mean(of: &[usize], values: &[f64]) -> Option<f64> {
    let mut sum = 0.0;
    let mut count = 0.0;
    for index in of {
        sum += values[*index];
        count += 1.0;
    }
    (count > 0.0).then(|| sum / count)
}

/// Gives each place its height; the height of everything.
fn set_heights(
    places: &mut [Place],
    layers: &[Vec<usize>],
    heights: Heights,
    before: &[Vec<usize>],
    after: &[Vec<usize>],
) -> f64 {
    let half = |place: &Place| match place.node {
        Some(_) => heights.node / 2.0,
        None => heights.passing / 2.0,
    };
    let mut y = vec![0.0; places.len()];
    for sweep in 0..=SWEEPS {
        let forward = sweep % 2 == 0;
        for step in 0..layers.len() {
            let layer = &layers[if forward { step } else { layers.len() - 1 - step }];
            let neighbours = if forward { before } else { after };
            // Where each would like to be, less the room of those before it: then only the order must be kept.
            let mut offset = 0.0;
            let mut offsets = Vec::with_capacity(layer.len());
            let mut wishes = Vec::with_capacity(layer.len());
            for place in layer {
                offset += half(&places[*place]);
                let stays = if sweep == 0 { offset } else { y[*place] };
                wishes.push(mean(&neighbours[*place], &y).unwrap_or(stays) - offset);
                offsets.push(offset);
                offset += half(&places[*place]);
            }
            for ((place, level), offset) in layer.iter().zip(levels(&wishes)).zip(offsets) {
                y[*place] = level + offset;
            }
        }
    }
    let top = places
        .iter()
        .zip(&y)
        .map(|(place, y)| y - half(place))
        .fold(f64::INFINITY, f64::min);
    let bottom = places
        .iter()
        .zip(&y)
        .map(|(place, y)| y + half(place))
        .fold(0.0, f64::max);
    for (place, y) in places.iter_mut().zip(&y) {
        place.y = y - top;
    }
    if places.is_empty() { 0.0 } else { bottom - top }
}

/// The values nearest to `wishes` (by squares) that never fall: neighbours that would are taken together at their mean.
fn levels(wishes: &[f64]) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for wish in wishes {
        pools.push((*wish, 1));
        while let [.., (first, many), (second, more)] = pools[..] {
            if first <= second {
                break;
            }
            let weight = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            let pooled = (first * weight(many) + second * weight(more)) / weight(many + more);
            pools.truncate(pools.len() - 2);
            pools.push((pooled, many + more));
        }
    }
    pools
        .into_iter()
        .flat_map(|(level, count)| std::iter::repeat_n(level, count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::example;

    const HEIGHTS: Heights = Heights {
        node: 10.0,
        passing: 4.0,
    };

    #[test]
    fn levels_never_fall_and_stay_where_they_may() {
        assert_eq!(levels(&[1.0, 5.0, 3.0, 9.0]), [1.0, 4.0, 4.0, 9.0]);
        assert_eq!(levels(&[3.0, 2.0, 1.0]), [2.0, 2.0, 2.0]);
        assert!(levels(&[]).is_empty());
    }

    #[test]
    fn no_two_boxes_of_a_layer_overlap_and_a_crossing_is_undone() {
        let graph = example(&[("a", &[]), ("b", &[]), ("c", &[1]), ("d", &[0]), ("e", &[0, 2, 3])]);
        let layout = lay_out(&graph, HEIGHTS);
        let y = |node: usize| layout.places[node].y;
        assert!(y(3) + 10.0 <= y(2) + 1e-9, "d stands where a does, above c");
        assert!(y(0) + 10.0 <= y(1) + 1e-9);
        // a to e passes the layer between.
        assert_eq!(layout.places.len(), 6);
        assert!(layout.chains.iter().any(|chain| chain == &[0, 5, 4]));
        assert!(
            layout
                .places
                .iter()
                .all(|place| place.y >= 0.0 && place.y <= layout.height)
        );
    }

    #[test]
    fn an_empty_graph_has_no_height() {
        assert!(lay_out(&example(&[]), HEIGHTS).height.abs() < 1e-9);
    }
}
