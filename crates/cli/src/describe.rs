//! `resnet completions` and `resnet man`: the command line, described for shells and for `man`.

use clap::CommandFactory;
use resnet_wgpu::internals::files::NewFile;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::failure::Failure;
use crate::output::Out;

pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "resnet", &mut script);
    let mut out = Out::new();
    out.write(String::from_utf8_lossy(&script).trim_end())?;
    out.flush()
}

pub(crate) fn man(args: &ManArgs) -> Result<(), Failure> {
    let cannot = |error| Failure::runtime(format!("cannot write the pages: {error}"));
    std::fs::create_dir_all(&args.folder).map_err(cannot)?;
    let mut program = Cli::command();
    program.build();
    write(&program, &args.folder)?;
    for command in pages_of(&program) {
        write(command, &args.folder)?;
        for below in pages_of(command) {
            write(below, &args.folder)?;
        }
    }
    Ok(())
}

/// The commands below one, without that which repeats what their pages say.
fn pages_of(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    let commands = command.get_subcommands();
    commands.filter(|command| command.get_name() != "help")
}

/// Writes the page of one command, under its full name with hyphens.
fn write(command: &clap::Command, folder: &std::path::Path) -> Result<(), Failure> {
    let page = clap_mangen::Man::new(command.clone());
    let mut bytes = Vec::new();
    page.render(&mut bytes)
        .map_err(|error| Failure::runtime(format!("cannot make a page: {error}")))?;
    let mut file = NewFile::create(&folder.join(page.get_filename()))?;
    file.write(&bytes)?;
    Ok(file.finish()?)
}
