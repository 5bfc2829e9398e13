//! Returned rows into columns.

use super::bind::Statement;
use crate::kind::Kind;
use crate::output::Outcome;
use crate::values::{Series, SeriesBuilder, Values};

/// Collects the rows of several statements, column by column.
#[derive(Default)]
pub struct Collector {
    columns: Vec<SeriesBuilder>,
    rows: usize,
}

impl Collector {
    /// Takes the row that the statement stands on.
    pub fn take(&mut self, statement: &Statement<'_, '_>) {
        if self.rows == 0 {
            self.columns = (0..statement.column_count())
                .map(|_| SeriesBuilder::new(Kind::Dynamic, 0))
                .collect();
        }
        for (index, column) in self.columns.iter_mut().enumerate() {
            column.push(statement.column(index as i32));
        }
        self.rows += 1;
    }

    pub fn finish(self, rowcount: u64) -> Outcome {
        let columns = self.columns.into_iter().map(SeriesBuilder::finish).collect();
        Outcome { rowcount, rows: self.rows, columns, ..Outcome::default() }
    }
}

/// Whether generated keys ascend, as they do when the rows stand in the order of their insert.
/// SQLite gives them so, but its documentation does not promise it
/// (<https://sqlite.org/lang_returning.html#processing_order>).
pub fn ascends(keys: &Series) -> bool {
    match &keys.values {
        Values::Int(keys) => keys.is_sorted(),
        _ => true,
    }
}
