//! Owns `tarn completions` and `tarn man`: what the command line says of itself.

use super::args::Cli;
use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::{Write, stdout};

pub(super) fn completions(shell: Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tarn", &mut text);
    Ok(stdout().write_all(&text)?)
}

/// One page for the program, and one for each command.
pub(super) fn man() -> Result<()> {
    let mut text = Vec::new();
    let mut program = Cli::command();
    program.build();
    clap_mangen::Man::new(program.clone()).render(&mut text)?;
    for command in program.get_subcommands().filter(|command| command.get_name() != "help") {
        clap_mangen::Man::new(command.clone()).render(&mut text)?;
    }
    Ok(stdout().write_all(&text)?)
}
