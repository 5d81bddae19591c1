//! How answers are written.

use std::io::Write;

use clap::ValueEnum;
use hawser_volume::Result;
use serde::Serialize;

use crate::cli::{print, print_json};

use super::table::Table;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Form {
    /// For people. Its columns may change.
    #[default]
    Table,
    /// For programs: the fields that docs/cli.md names.
    Json,
    /// Ids alone, one a line, for xargs.
    Name,
}

/// What was typed about the output.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Output {
    /// How the answer is written.
    #[arg(short, long, value_enum, default_value_t)]
    output: Form,
    /// Ids alone, one a line, and no progress: the same as `-o name`.
    #[arg(short, long, conflicts_with = "output")]
    quiet: bool,
}

/// Says what a person should know beside the answer.
pub(super) fn warn(words: &str) {
    let _ = writeln!(std::io::stderr().lock(), "hawser: {words}");
}

impl Output {
    pub(super) fn form(self) -> Form {
        if self.quiet { Form::Name } else { self.output }
    }

    /// Whether it is for people.
    pub(super) fn is_table(self) -> bool {
        self.form() == Form::Table
    }

    /// Writes a list of things, each with its id.
    pub(super) fn list<T: Serialize>(self, all: &[T], id: impl Fn(&T) -> &str, table: impl FnOnce(&[T]) -> Table) -> Result<()> {
        match self.form() {
            Form::Table => print(&table(all).to_string()),
            Form::Json => print_json(&all),
            Form::Name => print(&all.iter().map(|one| format!("{}\n", id(one))).collect::<String>()),
        }
    }

    /// The same of what was done; `nothing` says that nothing was to be done.
    pub(super) fn done<T: Serialize>(
        self,
        all: &[T],
        id: impl Fn(&T) -> &str,
        table: impl FnOnce(&[T]) -> Table,
        nothing: &str,
    ) -> Result<()> {
        if all.is_empty() && self.is_table() {
            return print(&format!("{nothing}\n"));
        }
        self.list(all, id, table)
    }

    /// Writes one thing, its id, or a sentence about it.
    pub(super) fn one<T: Serialize>(self, one: &T, id: &str, sentence: &str) -> Result<()> {
        match self.form() {
            Form::Table => print(&format!("{sentence}\n")),
            Form::Json => print_json(one),
            Form::Name => print(&format!("{id}\n")),
        }
    }
}
