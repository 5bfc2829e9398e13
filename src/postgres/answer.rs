//! The answers to statements that were sent as text, and what becomes of their rows.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyString, PyTuple};
use tokio_postgres::types::Type;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow, Statement};

use super::decode;
use crate::output::Outcome;

/// Name and type of each column.
#[derive(Clone, Default)]
pub struct Described(Arc<[(String, Type)]>);

impl Described {
    pub fn of(statement: &Statement) -> Self {
        let columns = statement.columns().iter();
        Self(columns.map(|c| (c.name().to_owned(), c.type_().clone())).collect())
    }

    fn types(&self) -> impl Iterator<Item = &Type> {
        self.0.iter().map(|(_, type_)| type_)
    }
}

/// What came back from the statements of one text.
pub struct Answers {
    columns: Described,
    answers: Vec<Answer>,
}

#[derive(Default)]
struct Answer {
    rows: Vec<SimpleQueryRow>,
    count: u64,
}

impl Answers {
    pub fn new(columns: Described, messages: Vec<SimpleQueryMessage>) -> Self {
        let mut answers = Vec::new();
        let mut answer = Answer::default();
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => answer.rows.push(row),
                SimpleQueryMessage::CommandComplete(count) => {
                    answer.count = count;
                    answers.push(std::mem::take(&mut answer));
                }
                _ => {}
            }
        }
        Self { columns, answers }
    }
}

/// `([(name, oid)], [(rowcount, rows)])`
impl<'py> IntoPyObject<'py> for Answers {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let columns: Vec<_> =
            self.columns.0.iter().map(|(name, t)| (name.clone(), t.oid())).collect();
        let described = &self.columns;
        let answers: Vec<_> = self
            .answers
            .into_iter()
            .map(|answer| {
                let rows = PostgresRows { columns: described.clone(), rows: answer.rows };
                (answer.count, rows)
            })
            .collect();
        (columns, answers).into_pyobject(py)
    }
}

/// Rows as the server's texts, until they are asked for.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct PostgresRows {
    columns: Described,
    rows: Vec<SimpleQueryRow>,
}

#[pymethods]
impl PostgresRows {
    fn __len__(&self) -> usize {
        self.rows.len()
    }

    /// The rows as Python objects; a value whose type is not read here comes as bytes.
    fn tuples<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let readers: Vec<_> = self.columns.types().map(Reader::of).collect();
        self.rows
            .iter()
            .map(|row| {
                let values = (0..row.len()).map(|column| {
                    let reader = readers.get(column).copied().unwrap_or(Reader::Bytes);
                    match row.get(column) {
                        Some(text) => reader.read(py, text),
                        None => py.None().into_bound(py),
                    }
                });
                PyTuple::new(py, values.collect::<Vec<_>>())
            })
            .collect()
    }

    /// The rows as columns, without the GIL; None where a value is none that Arrow and Python have
    /// as PostgreSQL has it.
    fn outcome(&self, py: Python<'_>) -> Option<Outcome> {
        py.detach(|| {
            if self.columns.0.is_empty() {
                return None;
            }
            let columns = self
                .columns
                .types()
                .enumerate()
                .map(|(column, type_)| {
                    decode::series(type_, self.rows.iter().map(|row| row.get(column)))
                })
                .collect::<Option<_>>()?;
            Some(Outcome { rows: self.rows.len(), columns, ..Outcome::default() })
        })
    }
}

/// How the text of a value becomes a Python object.
#[derive(Clone, Copy)]
enum Reader {
    Bool,
    Int,
    Float,
    Text,
    /// Only the driver's own code knows how.
    Bytes,
}

impl Reader {
    fn of(type_: &Type) -> Self {
        match *type_ {
            Type::BOOL => Self::Bool,
            Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Self::Int,
            Type::FLOAT4 | Type::FLOAT8 => Self::Float,
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => Self::Text,
            _ => Self::Bytes,
        }
    }

    fn read<'py>(self, py: Python<'py>, text: &str) -> Bound<'py, PyAny> {
        let bytes = || PyBytes::new(py, text.as_bytes()).into_any();
        match self {
            Self::Bool => PyBool::new(py, text == "t").to_owned().into_any(),
            Self::Int => text
                .parse::<i64>()
                .map_or_else(|_| bytes(), |value| PyInt::new(py, value).into_any()),
            // Rust reads "NaN" and "-Infinity" as PostgreSQL writes them.
            Self::Float => text
                .parse::<f64>()
                .map_or_else(|_| bytes(), |value| PyFloat::new(py, value).into_any()),
            Self::Text => PyString::new(py, text).into_any(),
            Self::Bytes => bytes(),
        }
    }
}
