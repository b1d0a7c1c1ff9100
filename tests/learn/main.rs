//! `featurize` and `train` as the runner calls them: files in, files out.

mod agreement;
mod bench;
mod featurizing;
mod frozen;
mod hostile;
mod preparing;
mod statistics;
mod training;
mod travelling;
mod weights;
