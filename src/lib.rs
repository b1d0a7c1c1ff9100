//! madmall: declarative, reproducible runs with signed receipts.
//!
//! One direction, each step a type; a later step never reaches back:
//!
//! ```text
//! pipelines/*.yaml ─ spec::parse ─▶ Spec ─ plan::resolve ─▶ Plan ─ exec ─▶ receipts ─▶ runs/
//! stages/*.yaml ───────┘         (spans)              (ids, DAG)   │  ▲                  │
//!                                                                  ▼  │                  ▼
//!                                               store: CAS + action cache + stat cache   verify
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | [`spec`] | YAML to a pipeline as written, every value with its span |
//! | [`plan`] | names become ids; what is in an action; why a stage must run |
//! | [`exec`] | the scheduler, program stages in execution roots, what is attested |
//! | [`store`] | bytes by digest, what receipts say by action, what files were when last hashed |
//! | [`receipt`] | statements, envelopes, keys, whom to trust |
//! | [`log`] | the append-only history of receipts: tiles, checkpoints, the copy that is appended to |
//! | [`bundle`] | receipts and what they speak of in one archive, written and read |
//! | [`verify`] | receipts and files checked again from nothing; knows nothing of `exec` and trusts no cache |
//! | [`fsck`] | the store, every object hashed again |
//! | [`status`], [`graph`] | how things stand; the stages and what they read, drawn |
//! | [`history`] | what receipts tell of past runs: metrics, and what is different between two |
//! | [`sweep`] | what may be removed from the workspace and the store |
//! | [`rerun`] | stages remade from their receipts in a clean checkout, and compared bit for bit |
//! | [`stages`], [`model`], [`consent`] | the built-in stages and what they speak of |
//! | [`preparation`] | how an event's features become the columns that a model weighs |
//! | [`predict`], [`card`] | events scored by a model; a page for people about one |
//! | [`recognise`] | events that are plainly valid, in one pass over their bytes |
//! | [`compat`] | the replaced package's commands |
//! | [`workspace`], [`git`], [`tree`] | files, as they are on disk or as a commit has them |
//! | [`digest`], [`listing`], [`commitment`], [`canonical`], [`json`] | hashing, keyed digests, the encodings that are hashed, strict JSON |
//! | [`diagnostic`], [`exit_code`], [`cli`] | how people and scripts are told; the only place that prints is `cli` |
//!
//! The words, each with one meaning:
//!
//! - A *stage* is one step of a *pipeline*, as the user writes it.
//! - An *action* is a stage resolved, with everything that can change its outputs; its digest is what a stage is known by.
//!   Its *definition* is the same without what its inputs hold.
//! - An *artifact* is a file that is read or made, known by its *digest*; the *CAS* keeps artifacts by digest.
//! - A *receipt* is an *envelope* (DSSE) that holds a *statement* (in-toto): a signed claim about *subjects*.
//!
//! What always holds:
//!
//! - Receipts are the only word on what an action gave. Everything under `.madmall/` may be deleted.
//! - Output in the store, then receipt, then output in place: whatever is in place has a receipt.
//! - What lies under `runs/` never changes.
//! - No clock, locale, map order, thread count or path reaches an output byte of a built-in stage.

pub mod bundle;
pub mod canonical;
pub mod card;
pub mod cli;
pub mod commitment;
pub mod compat;
pub mod consent;
pub mod diagnostic;
pub mod digest;
pub mod erase;
pub mod exec;
pub mod exit_code;
pub mod fsck;
pub mod git;
pub mod graph;
mod held;
pub mod history;
pub mod json;
pub mod listing;
pub mod log;
mod markup;
pub mod model;
pub mod plan;
pub mod predict;
pub mod preparation;
pub mod receipt;
pub mod recognise;
pub mod rerun;
pub mod shared_path;
pub mod spec;
pub mod stages;
pub mod stamp;
pub mod status;
pub mod store;
pub mod sweep;
pub mod tree;
pub mod verify;
pub mod workspace;
