//! `conductor experiment …`
use crate::args::ExperimentCommand;
use crate::failure::Failure;

pub(crate) fn run(_command: &ExperimentCommand) -> Result<(), Failure> {
    Err(Failure::Run("experiments come with the next commit".into()))
}
