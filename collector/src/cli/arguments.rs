//! The arguments of the program and the choice of a command.

use clap::{Parser, Subcommand};

use super::failure::Failure;
use super::{config, doctor, run, schema, sql, status, tables, verify};

/// Records what happens on this host and answers questions about it in SQL
#[derive(Debug, Parser)]
#[command(
    name = "bygone",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        bygone run                         collect until stopped\n  \
        bygone sql 'SELECT time, pid, cmdline FROM process_events LIMIT 10'\n  \
        bygone sql                         a shell\n  \
        bygone schema process_events       the columns of a table and what they mean\n  \
        bygone doctor                      what can be seen on this host, and what not"
)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::RunArguments),
    Sql(sql::SqlArguments),
    Tables(tables::TablesArguments),
    Schema(schema::SchemaArguments),
    Doctor(doctor::DoctorArguments),
    Status(status::StatusArguments),
    Verify(verify::VerifyArguments),
    Config(config::ConfigArguments),
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// When it fails: the message and its causes say at what, and what would mend it.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Run(arguments) => run::run(&arguments)?,
            Command::Sql(arguments) => sql::run(&arguments)?,
            Command::Tables(arguments) => tables::run(&arguments)?,
            Command::Schema(arguments) => schema::run(&arguments)?,
            Command::Doctor(arguments) => doctor::run(&arguments)?,
            Command::Status(arguments) => status::run(&arguments)?,
            Command::Verify(arguments) => verify::run(&arguments)?,
            Command::Config(arguments) => config::run(&arguments)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_has_a_help_text() {
        let root = Arguments::command();
        for command in root.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument);
            }
        }
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for words in [
            &["bygone", "sql", "-o", "xml"][..],
            &["bygone", "sql", "--json", "-o", "csv"],
            &["bygone", "nonsense"],
            &["bygone"],
        ] {
            let error = Arguments::try_parse_from(words).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{words:?}");
        }
    }
}
