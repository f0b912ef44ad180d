//! The `resnet` program: [`args`] defines the command line, and each command is carried out by its
//! own module.
//!
//! stdout is data, stderr is log and progress. Every failure is a [`failure::Failure`]: one line
//! and an exit code.

mod args;
mod bench;
mod bundled;
mod cam;
mod caption;
mod classify;
mod compare;
mod convert;
mod describe;
mod devices;
mod embed;
mod escape;
mod failure;
mod fetch;
mod golden;
mod images;
mod inspect;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod manifests;
mod network;
mod npy;
mod output;
mod overwrite;
mod patterns;
mod profile;
mod progress;
mod runner;
mod search;
mod selftest;
#[cfg(unix)]
mod signals;
mod software;
mod stats;
mod tolerances;
mod tune;
mod values;
mod versions;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` end up here too; a closed pipe is no reason to complain.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(failure::USAGE));
        }
    };
    software::settle();
    start_log(cli.quiet, cli.verbose);
    #[cfg(unix)]
    signals::clean_up();
    let done = match &cli.command {
        Command::Devices(args) => devices::run(args),
        Command::Classify(args) => classify::run(args, cli.quiet),
        Command::Embed(args) => embed::run(args, cli.quiet),
        Command::Search(args) => search::run(args, cli.quiet),
        Command::Cam(args) => cam::run(args, cli.quiet),
        Command::Inspect(args) => inspect::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Fetch(args) => fetch::run(args, cli.quiet),
        Command::Compare(args) => compare::run(args, cli.quiet),
        Command::Bench(args) => bench::run(args, cli.quiet),
        Command::Tune(args) => tune::run(args, cli.quiet),
        Command::Profile(args) => profile::run(args, cli.quiet),
        Command::Selftest(args) => selftest::run(args),
        Command::Completions(args) => describe::completions(args),
        Command::Man(args) => describe::man(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// Starts logging: notes of the program itself unless `-q` is given. The flags override `RUST_LOG`.
fn start_log(quiet: bool, verbose: u8) {
    let filter = match (quiet, verbose) {
        // Drivers log errors while adapters are merely being enumerated.
        (true, _) => "off,resnet_wgpu=error,resnet=error",
        (false, 0) => "off,resnet_wgpu=warn,resnet=info",
        (false, 1) => "warn,resnet_wgpu=info,resnet=debug",
        (false, 2) => "info,resnet_wgpu=debug,resnet=debug",
        (false, _) => "trace",
    };
    let mut log = env_logger::Builder::new();
    log.parse_filters(filter);
    if !quiet
        && verbose == 0
        && let Ok(filter) = std::env::var("RUST_LOG")
    {
        log.parse_filters(&filter);
    }
    log.format(|line, record| {
        let level = match record.level() {
            log::Level::Error => "error",
            log::Level::Warn => "warning",
            log::Level::Info => "note",
            log::Level::Debug => "debug",
            log::Level::Trace => "trace",
        };
        let text = record.args().to_string();
        let text = match record.level() {
            // Multi-line texts from drivers.
            log::Level::Debug | log::Level::Trace => {
                let lines: Vec<String> = text.lines().map(escape::printable).collect();
                lines.join("\n")
            }
            _ => escape::one_line(&text),
        };
        let style = line.default_level_style(record.level());
        writeln!(line, "{style}{level}{style:#}: {text}")
    });
    log.init();
}
