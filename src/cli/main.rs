//! `nibblama`, the command line.
//!
//! Exit codes: 0 done; 1 bad input or failed work, said in one line on stderr.

mod args;
mod chat;
mod eval;
mod footprint;
mod generate;
mod inspect;
mod load;
mod logits;
mod output;
mod quantize;
mod tensor;
mod text;
mod tokenize;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use nibblama::{Error, ErrorCode};

use args::{Cli, Command};
use output::{Failure, Outcome};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => return refuse(&e),
    };
    match run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => output::report(failure, cli.json),
    }
}

fn run(cli: &Cli) -> Outcome {
    match &cli.command {
        Command::Tokenize(args) => tokenize::run(args, cli.json),
        Command::Inspect(args) => inspect::run(args, cli.json),
        Command::Footprint(args) => footprint::run(args, cli.json),
        Command::Quantize(args) => quantize::run(args, cli.json),
        Command::Generate(args) => generate::run(args, cli.json),
        Command::Logits(args) => logits::run(args, cli.json),
        Command::Eval(args) => eval::run(args, cli.json),
    }
}

/// Arguments that clap refuses are bad input like any other: one line, exit code 1. Help and version go to stdout.
fn refuse(e: &clap::Error) -> ExitCode {
    if !e.use_stderr() {
        // `exit` would end the process through a panic where stdout is closed.
        let _ = e.print();
        return ExitCode::SUCCESS;
    }
    let reason = if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        "no command given; `nibblama --help` lists them".to_owned()
    } else {
        // The first paragraphs say what is wrong; usage and a hint at --help follow.
        let text = e.to_string();
        let said = text.split("\n\nUsage:").next().and_then(|s| s.split("\n\nFor more information").next());
        let said = said.unwrap_or(&text);
        output::one_line(said.strip_prefix("error: ").unwrap_or(said))
    };
    let json = std::env::args_os().any(|arg| arg == "--json");
    output::report(Failure::Error(Error::new(ErrorCode::InvalidArgument, reason)), json)
}
