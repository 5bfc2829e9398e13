//! The answers to statements, as Python objects.

use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn, Error, Row, Value};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyTuple};

/// The character set of bytes that are none.
const BINARY: u16 = 63;

/// What came back from a statement.
#[derive(Default)]
pub struct Answer {
    columns: Vec<String>,
    rows: Vec<Row>,
    pub affected: u64,
    last_key: Option<u64>,
    pub warnings: u16,
}

impl Answer {
    /// Runs a statement, and takes all that it gives.
    pub async fn to(conn: &mut Conn, sql: &[u8]) -> Result<Self, Error> {
        let mut result = conn.query_iter(sql).await?;
        let columns = result.columns_ref().iter().map(|c| c.name_str().into_owned()).collect();
        let rows = result.collect().await?;
        result.drop_result().await?;
        Ok(Self { columns, rows, ..Self::last(conn) })
    }

    /// What the server said of the last statement.
    pub fn last(conn: &Conn) -> Self {
        Self {
            affected: conn.affected_rows(),
            last_key: conn.last_insert_id(),
            warnings: conn.get_warnings(),
            ..Self::default()
        }
    }
}

/// What became of rows that were to be sent without SQL around them.
#[derive(IntoPyObject)]
pub enum Taken {
    Answer(Answer),
    /// Why they are sent as literals.
    Refused(String),
}

/// `(columns, rows, affected rows, last generated key, number of warnings)`
impl<'py> IntoPyObject<'py> for Answer {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let rows = self.rows.iter().map(|row| to_tuple(py, row)).collect::<PyResult<Vec<_>>>()?;
        (self.columns, rows, self.affected, self.last_key, self.warnings).into_pyobject(py)
    }
}

fn to_tuple<'py>(py: Python<'py>, row: &Row) -> PyResult<Bound<'py, PyTuple>> {
    let columns = row.columns_ref().iter().enumerate();
    let values = columns.map(|(i, column)| to_python(py, column, row.as_ref(i)));
    PyTuple::new(py, values.collect::<Vec<_>>())
}

/// Values come as texts. What is asked over this connection is numbers and names.
fn to_python<'py>(py: Python<'py>, column: &Column, value: Option<&Value>) -> Bound<'py, PyAny> {
    let Some(Value::Bytes(bytes)) = value else {
        return py.None().into_bound(py);
    };
    match (std::str::from_utf8(bytes), column.character_set()) {
        (Ok(text), BINARY) if is_integer(column.column_type()) => text.parse::<i64>().map_or_else(
            |_| PyString::new(py, text).into_any(),
            |number| PyInt::new(py, number).into_any(),
        ),
        (Ok(text), charset) if charset != BINARY => PyString::new(py, text).into_any(),
        _ => PyBytes::new(py, bytes).into_any(),
    }
}

fn is_integer(type_: ColumnType) -> bool {
    matches!(
        type_,
        ColumnType::MYSQL_TYPE_TINY
            | ColumnType::MYSQL_TYPE_SHORT
            | ColumnType::MYSQL_TYPE_INT24
            | ColumnType::MYSQL_TYPE_LONG
            | ColumnType::MYSQL_TYPE_LONGLONG
    )
}
