//! The order in which stages can run, and the cycles that leave none.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};

/// An order of `0..count` in which each comes after what it reads, given as edges (maker, reader); of those that could
/// come next, the smallest comes next. If there is none: the shortest cycle through the first of each knot, each cycle
/// as the numbers in it in the direction of the edges.
pub(super) fn order(count: usize, edges: &[(usize, usize)]) -> Result<Vec<usize>, Vec<Vec<usize>>> {
    let mut graph = DiGraph::<(), ()>::with_capacity(count, edges.len());
    for _ in 0..count {
        graph.add_node(());
    }
    // Each edge once: looking for one among those of a stage that thousands read would take long.
    let mut edges = edges.to_vec();
    edges.sort_unstable();
    edges.dedup();
    for (maker, reader) in &edges {
        graph.add_edge(NodeIndex::new(*maker), NodeIndex::new(*reader), ());
    }
    let mut blockers: Vec<usize> = vec![0; count];
    for edge in graph.raw_edges() {
        blockers[edge.target().index()] += 1;
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..count).filter(|at| blockers[*at] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse(next)) = ready.pop() {
        order.push(next);
        for reader in graph.neighbors(NodeIndex::new(next)) {
            blockers[reader.index()] -= 1;
            if blockers[reader.index()] == 0 {
                ready.push(Reverse(reader.index()));
            }
        }
    }
    if order.len() == count {
        return Ok(order);
    }
    Err(cycles(&graph))
}

fn cycles(graph: &DiGraph<(), ()>) -> Vec<Vec<usize>> {
    let mut cycles = Vec::new();
    let mut knot_of = vec![usize::MAX; graph.node_count()];
    let knots = kosaraju_scc(graph);
    for (at, knot) in knots.iter().enumerate() {
        for node in knot {
            knot_of[node.index()] = at;
        }
    }
    for (at, knot) in knots.iter().enumerate() {
        let first = *knot.iter().min().expect("a component has a node");
        if knot.len() > 1 || graph.contains_edge(first, first) {
            cycles.push(shortest(graph, first, |node| knot_of[node.index()] == at));
        }
    }
    cycles.sort_unstable();
    cycles
}

/// The shortest way from `start` to itself through nodes that `is_in`.
fn shortest(graph: &DiGraph<(), ()>, start: NodeIndex, is_in: impl Fn(NodeIndex) -> bool) -> Vec<usize> {
    let mut came_from: HashMap<NodeIndex, NodeIndex> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    'search: while let Some(node) = queue.pop_front() {
        let mut next: Vec<NodeIndex> = graph.neighbors(node).filter(|next| is_in(*next)).collect();
        next.sort_unstable();
        for next in next {
            if let Entry::Vacant(unseen) = came_from.entry(next) {
                unseen.insert(node);
                if next == start {
                    break 'search;
                }
                queue.push_back(next);
            }
        }
    }
    let mut path = vec![start.index()];
    let mut node = start;
    while let Some(before) = came_from.get(&node).filter(|before| **before != start) {
        path.push(before.index());
        node = *before;
    }
    // Walked from the end to the beginning; the start stays first.
    path[1..].reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_first_comes_first_where_it_can() {
        assert_eq!(order(4, &[(3, 0), (3, 1)]), Ok(vec![2, 3, 0, 1]));
        assert_eq!(order(3, &[]), Ok(vec![0, 1, 2]));
        assert_eq!(order(2, &[(0, 1), (0, 1)]), Ok(vec![0, 1]));
    }

    #[test]
    fn each_knot_gives_its_shortest_cycle() {
        assert_eq!(order(1, &[(0, 0)]), Err(vec![vec![0]]));
        assert_eq!(
            order(7, &[(0, 1), (1, 2), (2, 0), (1, 0), (3, 4), (4, 5), (5, 3), (5, 6)]),
            Err(vec![vec![0, 1], vec![3, 4, 5]])
        );
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let count = 200_000;
        let mut edges: Vec<_> = (1..count).map(|at| (at - 1, at)).collect();
        assert!(order(count, &edges).is_ok());
        edges.push((count - 1, 0));
        assert_eq!(order(count, &edges).map_err(|cycles| cycles[0].len()), Err(count));
    }
}
