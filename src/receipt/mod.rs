//! Receipts: what a stage or a run claims about its outputs, signed.

pub mod amend;
pub mod check;
mod consent;
pub mod digest_set;
pub mod digests;
pub mod envelope;
pub mod erasure;
pub mod key;
pub mod keyring;
pub mod keystore;
mod names;
pub mod payload;
pub mod policy;
mod resource;
pub mod run_file;
pub mod sandbox;
pub mod shared;
mod spelling;
mod ssh;
pub mod statement;
pub mod trust;

pub(crate) use names::{MAX_VERSION, is_plain_name, is_version};
