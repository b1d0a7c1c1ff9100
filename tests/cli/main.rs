//! The real program in fresh folders: a module for each subject.

#![expect(
    clippy::disallowed_methods,
    reason = "tests write files and read the environment as they please"
)]

#[path = "../common/archive.rs"]
mod archive;
mod authority;
mod baseline;
mod bundle;
mod by_hand;
mod canaries;
mod clean;
#[cfg(unix)]
mod committed;
mod compat;
mod consent;
mod consent_flow;
mod consent_places;
mod diff;
mod erase;
mod erase_lost;
mod erase_others;
mod evaluate;
mod evaluate_events;
mod event_files;
mod faults;
mod folders;
#[path = "../common/forge.rs"]
mod forge;
mod gc;
mod graph;
mod hostile;
mod include;
mod keys;
mod known;
mod limits;
mod lists;
mod log;
mod log_git;
mod log_proofs;
mod logs;
mod matrix;
mod meanwhile;
mod metrics;
mod model;
#[cfg(unix)]
mod modes;
mod optional;
mod out;
mod output_folders;
mod partial;
mod passed_on;
mod personal;
mod pins;
mod plans;
mod predict;
mod programs;
mod read_ahead;
mod report;
mod rerun;
mod sandbox;
mod set;
mod settled;
mod space;
mod status;
#[cfg(unix)]
mod store_links;
mod strace;
mod streams;
mod tamper;
mod temp;
mod tools;
mod unfinished;
mod up_to_date;
mod usage;
mod why;
