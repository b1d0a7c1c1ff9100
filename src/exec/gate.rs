//! Who may begin: as many stages as `-j` has slots, memory for all of them, and one of each `mutex:` at a time.
//!
//! Mutexes are taken one after the other in the order of their names, and each has a queue: so nobody waits for ever, and
//! no two for each other. Who has all of its mutexes stands in one queue for slots and memory, and nobody passes the first
//! in it: a stage that needs much is not passed by small ones without end. Each step costs the same whatever the number of
//! stages.

use std::collections::VecDeque;

use crate::plan::{Plan, StageId};

/// So many stages wait behind each slot: the more they are, the less often the owner of the run is woken, and the longer waits one that
/// needs more than a slot.
const AHEAD_OF_A_SLOT: usize = 2;

/// What a stage needs.
struct Needs {
    slots: usize,
    memory: u64,
    /// By number, ascending; the numbers are in the order of the names.
    mutexes: Vec<usize>,
}

#[derive(Default)]
struct Mutex {
    is_held: bool,
    waiting: VecDeque<StageId>,
}

/// Lets stages begin.
pub(super) struct Gate {
    needs: Vec<Needs>,
    mutexes: Vec<Mutex>,
    /// How many of its mutexes each stage holds.
    held: Vec<usize>,
    /// Those that hold all of their mutexes.
    queue: VecDeque<StageId>,
    jobs: usize,
    slots: usize,
    memory: u64,
    /// How many are inside.
    inside: usize,
    /// How many were let in ahead, each as soon as one that is inside leaves.
    ahead: usize,
}

impl Gate {
    /// A gate for the stages of `plan`, `jobs` slots wide, on a machine with `memory` bytes (if that is known).
    pub(super) fn new(plan: &Plan, jobs: usize, memory: Option<u64>) -> Self {
        let memory = memory.unwrap_or(u64::MAX);
        let mut names: Vec<&str> = plan
            .stages
            .iter()
            .flat_map(|stage| stage.limits.mutex.iter().flatten().map(String::as_str))
            .collect();
        names.sort_unstable();
        names.dedup();
        let needs = plan.stages.iter().map(|stage| {
            let own = stage.limits.mutex.iter().flatten();
            let mut mutexes: Vec<usize> = own
                .filter_map(|name| names.binary_search(&name.as_str()).ok())
                .collect();
            mutexes.sort_unstable();
            mutexes.dedup();
            Needs {
                // One that needs more than there is runs alone.
                slots: usize::try_from(stage.limits.cpus.unwrap_or(1))
                    .unwrap_or(jobs)
                    .clamp(1, jobs.max(1)),
                memory: stage.limits.memory.unwrap_or(0).min(memory),
                mutexes,
            }
        });
        Self {
            needs: needs.collect(),
            mutexes: names.iter().map(|_| Mutex::default()).collect(),
            held: vec![0; plan.stages.len()],
            queue: VecDeque::new(),
            jobs: jobs.max(1),
            slots: jobs.max(1),
            memory,
            inside: 0,
            ahead: 0,
        }
    }

    /// A stage wants to begin.
    pub(super) fn come(&mut self, stage: StageId) {
        self.take_mutexes(stage);
    }

    /// The next stage that may begin; it is inside until it leaves.
    pub(super) fn next(&mut self) -> Option<StageId> {
        let stage = *self.queue.front()?;
        let needs = &self.needs[stage.index()];
        if self.inside > 0 && (needs.slots > self.slots || needs.memory > self.memory) {
            return None;
        }
        self.slots = self.slots.saturating_sub(needs.slots);
        self.memory = self.memory.saturating_sub(needs.memory);
        self.inside += 1;
        self.queue.pop_front()
    }

    /// The next stage that may begin as soon as any leaves that is inside, whichever that is; it is inside from then on. There is one
    /// only while each slot is taken by a stage of its own, and no more than two for each.
    pub(super) fn next_ahead(&mut self) -> Option<StageId> {
        let stage = *self.queue.front()?;
        let needs = &self.needs[stage.index()];
        let fits = needs.slots == 1 && needs.memory == 0;
        if !fits || self.inside < self.jobs || self.ahead == self.jobs * AHEAD_OF_A_SLOT {
            return None;
        }
        self.ahead += 1;
        self.queue.pop_front()
    }

    /// A stage that was inside is done with.
    pub(super) fn leave(&mut self, stage: StageId) {
        let needs = &self.needs[stage.index()];
        self.slots += needs.slots;
        self.memory = self.memory.saturating_add(needs.memory);
        self.inside -= 1;
        if self.ahead > 0 {
            self.ahead -= 1;
            self.inside += 1;
            self.slots -= 1;
        }
        self.held[stage.index()] = 0;
        for mutex in needs.mutexes.clone() {
            match self.mutexes[mutex].waiting.pop_front() {
                // It is handed on, not freed: a stage that comes later cannot take it in between.
                Some(next) => {
                    self.held[next.index()] += 1;
                    self.take_mutexes(next);
                }
                None => self.mutexes[mutex].is_held = false,
            }
        }
    }

    /// Takes the mutexes that `stage` lacks, up to the first that another has.
    fn take_mutexes(&mut self, stage: StageId) {
        let held = &mut self.held[stage.index()];
        for mutex in &self.needs[stage.index()].mutexes[*held..] {
            let mutex = &mut self.mutexes[*mutex];
            if mutex.is_held {
                mutex.waiting.push_back(stage);
                return;
            }
            mutex.is_held = true;
            *held += 1;
        }
        self.queue.push_back(stage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Command, Limits, SandboxMode, Stage};

    fn plan(limits: Vec<Limits>) -> Plan {
        let stages = limits.into_iter().map(|limits| Stage { limits, ..stage() });
        Plan {
            pipeline: "p".into(),
            purpose: None,
            purposes: crate::consent::purposes::Purposes::default(),
            pipeline_file: "p.yaml".into(),
            definition_files: Vec::new(),
            stages: stages.collect(),
            personal: std::collections::BTreeSet::new(),
        }
    }

    fn needs(cpus: u32, memory: u64, mutexes: &[&str]) -> Limits {
        Limits {
            cpus: Some(cpus),
            memory: Some(memory),
            mutex: Some(mutexes.iter().map(|name| (*name).to_owned()).collect()),
            ..Limits::default()
        }
    }

    fn gate(jobs: usize, limits: Vec<Limits>) -> Gate {
        let count = limits.len();
        let mut gate = Gate::new(&plan(limits), jobs, Some(100));
        for stage in 0..count {
            gate.come(StageId::new(stage));
        }
        gate
    }

    fn next(gate: &mut Gate) -> Vec<usize> {
        std::iter::from_fn(|| gate.next()).map(StageId::index).collect()
    }

    fn leave(gate: &mut Gate, stage: usize) -> Vec<usize> {
        gate.leave(StageId::new(stage));
        next(gate)
    }

    #[test]
    fn cpus_and_memory_count_and_nobody_is_passed() {
        let mut gate = gate(
            4,
            vec![
                needs(1, 0, &[]),
                needs(9, 0, &[]),
                needs(1, 60, &[]),
                needs(1, 60, &[]),
                needs(1, 0, &[]),
            ],
        );
        assert_eq!(next(&mut gate), [0], "the second needs all, and is not passed");
        assert_eq!(leave(&mut gate, 0), [1]);
        assert_eq!(leave(&mut gate, 1), [2], "there is no memory for the other");
        assert_eq!(leave(&mut gate, 2), [3, 4]);
    }

    #[test]
    fn two_for_each_slot_are_let_in_ahead_if_they_fit_whoever_leaves() {
        const NONE: [usize; 0] = [];
        let mut all = vec![needs(1, 0, &[]); 8];
        all.extend([needs(2, 0, &[]), needs(1, 1, &[]), needs(1, 0, &[])]);
        let mut gate = gate(2, all);
        let ahead = |gate: &mut Gate| {
            std::iter::from_fn(|| gate.next_ahead())
                .map(StageId::index)
                .collect::<Vec<_>>()
        };
        assert_eq!(ahead(&mut gate), NONE, "there is a slot");
        assert_eq!(gate.next().map(StageId::index), Some(0));
        assert_eq!(ahead(&mut gate), NONE, "there is a slot");
        assert_eq!(next(&mut gate), [1]);
        assert_eq!(ahead(&mut gate), [2, 3, 4, 5]);
        assert_eq!(leave(&mut gate, 1), NONE, "one of them has the slot");
        assert_eq!(ahead(&mut gate), [6]);
        for stage in [0, 2, 3, 4, 5] {
            assert_eq!(leave(&mut gate, stage), NONE);
            assert!(ahead(&mut gate).len() <= 1);
        }
        assert_eq!(leave(&mut gate, 6), NONE, "7 is inside, and 8 needs both slots");
        assert_eq!(leave(&mut gate, 7), [8]);
        assert_eq!(
            ahead(&mut gate),
            NONE,
            "one that is inside has two slots, and 9 needs memory"
        );
        assert_eq!(leave(&mut gate, 8), [9, 10]);
    }

    #[test]
    fn more_memory_than_there_is_runs_alone() {
        let mut gate = gate(4, vec![needs(1, 1 << 60, &[]), needs(1, 1, &[])]);
        assert_eq!(next(&mut gate), [0]);
        assert_eq!(leave(&mut gate, 0), [1]);
    }

    #[test]
    fn a_mutex_is_handed_on_in_order_and_holds_up_nobody_else() {
        let gpu = || needs(1, 0, &["gpu"]);
        let mut gate = gate(4, vec![gpu(), gpu(), gpu(), needs(1, 0, &[])]);
        assert_eq!(next(&mut gate), [0, 3]);
        assert_eq!(leave(&mut gate, 0), [1]);
        assert_eq!(leave(&mut gate, 3), Vec::<usize>::new());
        assert_eq!(leave(&mut gate, 1), [2]);
    }

    #[test]
    fn several_mutexes_end_in_no_knot() {
        let mut gate = gate(
            9,
            vec![
                needs(1, 0, &["b", "a"]),
                needs(1, 0, &["c", "b"]),
                needs(1, 0, &["c", "a"]),
                needs(1, 0, &["c"]),
                needs(1, 0, &["a"]),
            ],
        );
        let mut inside = next(&mut gate);
        let mut order = inside.clone();
        while let Some(stage) = inside.pop() {
            let more = leave(&mut gate, stage);
            order.extend(&more);
            inside.extend(more);
        }
        order.sort_unstable();
        assert_eq!(order, [0, 1, 2, 3, 4]);
    }

    fn stage() -> Stage {
        let statement = Command::Shell("true".into());
        Stage {
            name: "a".into(),
            uses: None,
            definition_file: None,
            included: Vec::new(),
            command: statement,
            params: std::collections::BTreeMap::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            env: Vec::new(),
            secrets: Vec::new(),
            tools: Vec::new(),
            pin: false,
            sandbox: SandboxMode::Auto,
            network: false,
            streams: crate::plan::Streams::default(),
            limits: Limits::default(),
            requires: None,
            declassify: Vec::new(),
            personal: Vec::new(),
            actual: None,
        }
    }
}
