//! What may be removed, and what must stay: outputs that can be put back, and objects of the store that no run needs.

pub mod clean;
pub mod gc;
pub mod needed;
