//! What the database says of the table.

use std::cell::Cell as Flag;
use std::collections::HashSet;

use super::bind::{Handle, Statement};
use super::error::Result;
use super::sql;
use crate::plan::Plan;
use crate::values::Cell;

/// Questions about the table of a plan, inside a job.
pub struct Catalog<'h, 'p> {
    handle: Handle<'h>,
    plan: &'p Plan,
    locked: Flag<bool>,
}

impl<'h, 'p> Catalog<'h, 'p> {
    pub fn new(handle: Handle<'h>, plan: &'p Plan) -> Self {
        Self { handle, plan, locked: Flag::new(false) }
    }

    /// A question with the table's name as its first parameter.
    ///
    /// A write that changes nothing comes first. To read the schema before would take a read lock,
    /// and of two connections that do so and then write, one gets "database is locked" at once.
    fn ask(&self, question: &str) -> Result<Statement<'h, 'p>> {
        if !self.locked.replace(true)
            && let Ok(mut lock) = Statement::prepare(self.handle, &sql::write_nothing(self.plan))
        {
            lock.run()?;
        }
        let mut statement = Statement::prepare(self.handle, question)?;
        statement.bind_text(1, self.plan.table.as_bytes())?;
        Ok(statement)
    }

    /// A question that has the schema as its second parameter.
    fn ask_with_schema(&self, question: &str) -> Result<Statement<'h, 'p>> {
        let mut statement = self.ask(question)?;
        match &self.plan.schema {
            Some(schema) => statement.bind_text(2, schema.as_bytes())?,
            None => statement.bind_null(2)?,
        }
        Ok(statement)
    }

    /// Whether it is a table of its schema (not a temporary one or a view) without triggers.
    pub fn is_plain_table(&self) -> Result<bool> {
        let mut statement = self.ask(&sql::is_plain_table(self.plan))?;
        Ok(statement.step()? && statement.column(0) == Cell::Int(1))
    }

    /// Whether its rows have rowids, by which an insert can be told from an update.
    pub fn has_rowids(&self) -> Result<bool> {
        Ok(!self.ask_with_schema(sql::WITHOUT_ROWID)?.step()?)
    }

    /// Whether foreign keys are checked and one of the table's refers to the table.
    pub fn refers_to_itself(&self) -> Result<bool> {
        self.ask_with_schema(sql::REFERS_TO_ITSELF)?.step()
    }

    /// Whether its keys are compared byte by byte.
    pub fn compares_bytes(&self) -> Result<bool> {
        Ok(!self.ask_with_schema(sql::OTHER_COLLATIONS)?.step()?)
    }

    /// Columns that have a default in the database or are computed by it; in lower case, for
    /// SQLite's names are the same in either.
    pub fn columns_with_default(&self) -> Result<HashSet<String>> {
        let mut names = HashSet::new();
        let mut statement = self.ask_with_schema(sql::COLUMNS_WITH_DEFAULT)?;
        while statement.step()? {
            if let Cell::Text(name) = statement.column(0) {
                names.insert(name.to_ascii_lowercase());
            }
        }
        Ok(names)
    }
}
