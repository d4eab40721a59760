//! `squall man`: the manual page, one section per subcommand.

use std::io::Write as _;

use clap::Command;

use super::Exit;
use super::stdio::print;

/// Prints the page in troff, for `man -l -`.
pub fn main(command: &Command) -> anyhow::Result<Exit> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    for subcommand in command.get_subcommands().filter(|subcommand| !subcommand.is_hide_set()) {
        writeln!(page, ".SH \"SQUALL {}\"", subcommand.get_name().to_uppercase())?;
        let man =
            clap_mangen::Man::new(subcommand.clone().bin_name(format!("squall {}", subcommand.get_name())));
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        man.render_options_section(&mut page)?;
    }
    print(String::from_utf8_lossy(&page))?;
    Ok(Exit::Fine)
}
