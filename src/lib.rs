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
pub mod compat;
pub mod consent;
pub mod digest;
pub mod exit_code;
pub mod json;
pub mod model;
pub mod plan;
pub mod receipt;
pub mod stages;
pub mod tree;
pub mod workspace;
