//! madmall: declarative, reproducible runs with signed receipts.
//!
//! One direction, each step a type:
//!
//! ```text
//! pipelines/*.yaml ─ spec::parse ─▶ Spec ─ plan::resolve ─▶ Plan ─ exec ─▶ receipts ─▶ runs/
//! stages/*.yaml ───────┘         (spans)              (ids, DAG)   │  ▲                  │
//!                                                                  ▼  │                  ▼
//!                                               store: CAS + action cache + stat cache   verify
//! ```

pub mod canonical;
pub mod cli;
pub mod compat;
pub mod consent;
pub mod diagnostic;
pub mod digest;
pub mod exec;
pub mod exit_code;
pub mod git;
pub mod json;
pub mod listing;
pub mod model;
pub mod plan;
pub mod receipt;
pub mod spec;
pub mod stages;
pub mod store;
pub mod tree;
pub mod verify;
pub mod workspace;
