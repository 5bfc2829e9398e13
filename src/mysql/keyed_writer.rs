//! What Python calls for rows that are found by their keys.

use std::iter;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::encode::literal_type;
use super::keyed::{Statement, Statements, Template, Templates, example, shapes};
use super::sql::{Refusal, Size, mysql_insert_sql};
use super::text::Style;
use super::upsert::{Echo, Insert, OnDuplicateKey};
use super::writer::refuse;
use crate::error::Result;
use crate::plan::{Plan, Verb};
use crate::slice::Slice;
use crate::values::Values;

/// Rows, and what stands for the key of each where some are equal.
type Ordered = (Vec<usize>, Option<Vec<usize>>);

/// Writes the statements of a plan of update, upsert or delete.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct MysqlKeyed {
    plan: Py<Plan>,
    templates: Templates,
    row_word: String,
    index: Option<String>,
    generated: Option<usize>,
    avoid: Option<String>,
    plain_floats: bool,
}

#[pymethods]
impl MysqlKeyed {
    /// `typed` and `differs` have a template per column of the plan; `row_word` stands before each
    /// row of VALUES, `index` is what finds rows, `generated` the name of the auto-increment
    /// column; the rest is as for `MysqlWriter`.
    #[new]
    #[pyo3(signature = (plan, *, typed, differs, row_word, index, generated, avoid=None,
                        plain_floats=false))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        plan: Py<Plan>,
        typed: Vec<Template>,
        differs: Vec<Template>,
        row_word: String,
        index: Option<String>,
        generated: Option<&str>,
        avoid: Option<String>,
        plain_floats: bool,
    ) -> Self {
        let generated = generated.and_then(|name| {
            plan.get().columns.iter().position(|column| column.get().name == name)
        });
        let templates = Templates { typed, differs };
        Self { plan, templates, row_word, index, generated, avoid, plain_floats }
    }

    /// What the literals of each column are to the server; None where they differ.
    #[staticmethod]
    fn literals(plan: &Plan, slice: &Slice) -> Vec<Option<&'static str>> {
        let columns = slice.columns.iter().enumerate();
        columns
            .map(|(position, series)| literal_type(series, slice.rows, plan.column(position)))
            .collect()
    }

    /// The rows that give their whole key, and the others.
    fn with_keys(&self, slice: &Slice, rows: Vec<usize>) -> (Vec<usize>, Vec<usize>) {
        let plan = self.plan.get();
        let has_key =
            |row: &usize| plan.key().all(|(column, _)| !slice.columns[column].is_null(*row));
        rows.into_iter().partition(has_key)
    }

    /// The rows by what they set, each with whether that is anything.
    fn shapes(&self, slice: &Slice, rows: Vec<usize>) -> Vec<(bool, Vec<usize>)> {
        shapes(self.plan.get(), slice, &rows)
    }

    /// The rows in the order of their keys, and numbers that equal keys share, if there are some;
    /// None where only the server can tell.
    fn order(&self, slice: &Slice, mut rows: Vec<usize>) -> Option<Ordered> {
        let mut keys = Vec::new();
        for (position, _) in self.plan.get().key() {
            let Values::Int(values) = &slice.columns[position].values else { return None };
            keys.push(values);
        }
        let key = |row: usize| keys.iter().map(move |values| values[row]);
        rows.sort_by(|&a, &b| key(a).cmp(key(b)));
        let differs: Vec<_> = rows.windows(2).map(|pair| key(pair[0]).ne(key(pair[1]))).collect();
        if differs.iter().all(|&differs| differs) {
            return Some((rows, None));
        }
        let ranks = iter::once(0).chain(differs.iter().scan(0, |rank, &differs| {
            *rank += usize::from(differs);
            Some(*rank)
        }));
        let ranks = ranks.collect();
        Some((rows, Some(ranks)))
    }

    /// A statement that asks the server for it.
    fn ranks<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: Vec<usize>,
        limit: usize,
    ) -> Result<(Bound<'py, PyBytes>, usize)> {
        let size = Size { wanted: limit, limit };
        self.filled(py, slice, &rows, size, |of| of.ranks(slice))
    }

    /// A statement for the first of these rows: `look`, `peek` (which takes no locks), `update`,
    /// `update all`, `delete` or `back`; and how many rows those are. `alone` is about one row.
    #[pyo3(signature = (what, slice, rows, *, wanted, limit, alone=false))]
    #[allow(clippy::too_many_arguments)]
    fn write<'py>(
        &self,
        py: Python<'py>,
        what: &str,
        slice: &Slice,
        rows: Vec<usize>,
        wanted: usize,
        limit: usize,
        alone: bool,
    ) -> Result<(Bound<'py, PyBytes>, usize)> {
        let like = rows.first().copied().unwrap_or_default();
        self.filled(py, slice, &rows, Size { wanted, limit }, |of| match what {
            "update" => of.update(slice, like, alone),
            "update all" => of.update_all(slice, like),
            "delete" => of.delete(slice, like, alone),
            "back" => of.back(slice, like, alone),
            what => of.look(slice, like, alone, what == "look"),
        })
    }

    /// The INSERT of the first of these rows; `tail` follows them.
    #[pyo3(signature = (slice, rows, *, tail, wanted, limit))]
    fn insert<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: Vec<usize>,
        tail: String,
        wanted: usize,
        limit: usize,
    ) -> Result<(Bound<'py, PyBytes>, usize)> {
        let plan = self.plan.get();
        let written = py.detach(|| {
            let insert = Insert::new(plan, slice, self.generated, tail, self.style());
            insert.statement(&rows, Size { wanted, limit })
        });
        self.finish(py, slice, written, limit)
    }

    /// What such an INSERT does with rows that are there; None where the clause can't say it.
    ///
    /// With `bits`, a number below 2 to the 15th, `LAST_INSERT_ID()` tells which of the rows those
    /// were, of at most 48: above 48 bits it is that number, and there is a bit for each; with
    /// `count` it has their number, which after each row is another. With `guarded` a row that is
    /// there with another key is an error: a number is out of range. With `keeps` rows that are
    /// there stay as they are.
    #[pyo3(signature = (slice, rows, *, alias, bits=None, count=None, guarded=false, keeps=false))]
    #[allow(clippy::too_many_arguments)]
    fn on_duplicate_key(
        &self,
        py: Python<'_>,
        slice: &Slice,
        rows: Vec<usize>,
        alias: bool,
        bits: Option<u64>,
        count: Option<u64>,
        guarded: bool,
        keeps: bool,
    ) -> Result<Option<String>> {
        let (plan, style) = (self.plan.get(), self.style());
        let echo = bits.map(Echo::Bits).or(count.map(Echo::Count));
        let rows = &rows;
        let clause = OnDuplicateKey { plan, slice, rows, alias, echo, guarded, keeps, style };
        clause.write().map_err(|refusal| refuse(py, plan, slice, refusal, 0))
    }
}

impl MysqlKeyed {
    fn style(&self) -> Style<'_> {
        let avoid = self.avoid.as_deref().map(str::as_bytes);
        Style { avoid, plain_floats: self.plain_floats }
    }

    fn filled<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        rows: &[usize],
        size: Size,
        statement: impl FnOnce(&Statements<'_>) -> Result<Statement, Refusal> + Send,
    ) -> Result<(Bound<'py, PyBytes>, usize)> {
        let of = Statements {
            plan: self.plan.get(),
            templates: &self.templates,
            row_word: &self.row_word,
            index: self.index.as_deref(),
            style: self.style(),
        };
        let written = py.detach(|| statement(&of).and_then(|it| of.fill(&it, slice, rows, size)));
        self.finish(py, slice, written, size.limit)
    }

    fn finish<'py>(
        &self,
        py: Python<'py>,
        slice: &Slice,
        written: Result<(Vec<u8>, usize), Refusal>,
        limit: usize,
    ) -> Result<(Bound<'py, PyBytes>, usize)> {
        match written {
            Ok((sql, rows)) => Ok((PyBytes::new(py, &sql), rows)),
            Err(refusal) => Err(refuse(py, self.plan.get(), slice, refusal, limit)),
        }
    }
}

/// The statement of a row that gives all columns, with parameters.
#[pyfunction]
pub fn mysql_example_sql(plan: &Plan) -> String {
    match plan.verb {
        Verb::Insert | Verb::Upsert => mysql_insert_sql(plan),
        Verb::Update | Verb::Delete => example(plan),
    }
}
