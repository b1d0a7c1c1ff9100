//! Receipts: what a stage or a run claims about its outputs, signed.

pub mod statement;
