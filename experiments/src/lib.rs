//! Runs from inputs to reports: what the command line, the experiments and the tests share.
//!
//! [`inputs`] turns names and files into parsed things, [`execute`] runs them and measures the run.
//!
//! Not here: drawing (`conductor-plots`), and the terminal (the root package).

pub mod execute;
pub mod inputs;
pub mod measure;
