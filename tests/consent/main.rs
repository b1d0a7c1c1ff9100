//! Consent that travels with the data: what a receipt commits to, and what can be shown by it.

mod vectors;
