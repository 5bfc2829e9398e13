//! The plan of a call: plain data that Python read off the mapper.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::error::{Error, Result};
use crate::kind::Kind;

/// What happens to a column when a row gives no value for it.
#[derive(Debug)]
pub enum Absent {
    /// Nothing is declared: the column stays out, or NULL stands in where the catalog allows it.
    Null,
    /// The database makes the value: the column stays out of the statement.
    Omit,
    /// A Python value.
    Value(Py<PyAny>),
    /// A Python callable that takes the default's context.
    Call(Py<PyAny>),
    /// A SQL expression, rendered into the statement.
    Sql(String),
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Insert,
    Update,
    Upsert,
    Delete,
}

impl Verb {
    fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "insert" => Self::Insert,
            "update" => Self::Update,
            "upsert" => Self::Upsert,
            "delete" => Self::Delete,
            other => return Err(Error::Internal(format!("no verb is named {other:?}"))),
        })
    }
}

/// What a column's values are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// They are stored.
    Value,
    /// They find the row.
    Key,
    /// They have to be in the row that the key finds (version ids).
    Match,
    /// They are stored in a new row that gives no value for the column (defaults).
    Default,
    /// They are stored in a row that is there already and gives no value for the column
    /// (`onupdate`).
    Update,
    /// Only expressions refer to them.
    Input,
}

impl Role {
    fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "value" => Self::Value,
            "key" => Self::Key,
            "match" => Self::Match,
            "default" => Self::Default,
            "update" => Self::Update,
            "input" => Self::Input,
            other => return Err(Error::Internal(format!("no role is named {other:?}"))),
        })
    }
}

/// A piece of a SQL expression.
#[derive(Debug, FromPyObject)]
pub enum Piece {
    /// The value that the row gives for the column at that position.
    Given(usize),
    Sql(String),
}

/// A SQL expression over the row that is there and the one that is given.
pub type Expression = Vec<Piece>;

/// Which of several rows with one key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// None: that is an error.
    Error,
    First,
    Last,
}

/// What an upsert meets and does.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub struct Conflict {
    /// The columns and the condition of the unique key, as SQL: `(email) WHERE active`.
    pub target: String,
    /// The condition alone.
    pub key_where: Option<String>,
    /// Positions of the given columns that are stored in a row that is there already.
    pub updates: Vec<usize>,
    /// A row that would be the same afterwards is left alone.
    pub only_changed: bool,
    /// The primary key's columns, as SQL.
    pub primary_key: Vec<String>,
    #[pyo3(from_py_with = duplicates)]
    pub duplicates: Duplicates,
}

fn duplicates(name: &Bound<'_, PyAny>) -> PyResult<Duplicates> {
    Ok(match name.to_string().as_str() {
        "error" => Duplicates::Error,
        "first" => Duplicates::First,
        "last" => Duplicates::Last,
        other => {
            return Err(
                Error::Internal(format!("no rule for duplicates is named {other:?}")).into()
            );
        }
    })
}

/// One column of the target table.
#[pyclass(frozen, module = "fastbulk._native")]
#[derive(Debug)]
pub struct Column {
    /// The mapped attribute's name; empty for a column that the mapper leaves out.
    #[pyo3(get)]
    pub key: String,
    /// The column's name in the database.
    #[pyo3(get)]
    pub name: String,
    /// The name as it is written in SQL, quoted where needed.
    #[pyo3(get)]
    pub sql_name: String,
    /// The column's key in `Table.c`, which is how context-sensitive defaults know it.
    pub table_key: String,
    pub role: Role,
    /// The position of the column for which this one stands in where a row leaves it out.
    pub instead_of: Option<usize>,
    pub kind: Kind,
    /// Turns a value that is not of `kind` into one that the driver takes.
    pub processor: Option<Py<PyAny>>,
    /// A `None` counts as absent.
    pub drop_none: bool,
    pub absent: Absent,
    /// The default is used whatever the row says (version ids).
    pub forced: bool,
    /// SQL around the parameter: `lower(?)` is `["lower(", ")"]`.
    pub placeholder: Vec<String>,
}

#[pymethods]
impl Column {
    #[new]
    #[pyo3(signature = (key, name, *, sql_name, table_key, kind, role="value", processor=None,
                        drop_none=true, instead_of=None, default=None, default_call=None, default_sql=None, omit=false,
                        forced=false, placeholder=vec![String::new(), String::new()]))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        key: String,
        name: String,
        sql_name: String,
        table_key: String,
        kind: &str,
        role: &str,
        processor: Option<Py<PyAny>>,
        drop_none: bool,
        instead_of: Option<usize>,
        default: Option<Py<PyAny>>,
        default_call: Option<Py<PyAny>>,
        default_sql: Option<String>,
        omit: bool,
        forced: bool,
        placeholder: Vec<String>,
    ) -> Result<Self> {
        let absent = match (default, default_call, default_sql) {
            (Some(value), None, None) => Absent::Value(value),
            (None, Some(function), None) => Absent::Call(function),
            (None, None, Some(sql)) => Absent::Sql(sql),
            _ if omit => Absent::Omit,
            _ => Absent::Null,
        };
        let kind = Kind::parse(kind)?;
        Ok(Self {
            key,
            name,
            sql_name,
            table_key,
            role: Role::parse(role)?,
            instead_of,
            kind,
            processor,
            drop_none,
            absent,
            forced,
            placeholder,
        })
    }

    /// What its values are for.
    #[getter]
    fn role(&self) -> &'static str {
        match self.role {
            Role::Value => "value",
            Role::Key => "key",
            Role::Match => "match",
            Role::Default => "default",
            Role::Update => "update",
            Role::Input => "input",
        }
    }

    /// The SQL of a value of this column, with `mark` as its parameter.
    #[pyo3(name = "value_sql")]
    fn py_value_sql(&self, mark: &str) -> String {
        self.value_sql(mark)
    }

    fn __repr__(&self) -> String {
        format!("Column({:?}, kind={:?}, absent={:?})", self.key, self.kind, self.absent)
    }
}

impl Column {
    /// The SQL of a value of this column, with `mark` as its parameter.
    pub fn value_sql(&self, mark: &str) -> String {
        self.placeholder.join(mark)
    }

    /// Whether the default stands in for what a row gives.
    pub fn wants_default(&self, value: Option<&Bound<'_, PyAny>>) -> bool {
        self.forced
            || match value {
                None => true,
                Some(value) => self.drop_none && value.is_none(),
            }
    }
}

/// What to do, with which table and columns.
#[pyclass(frozen, module = "fastbulk._native")]
#[derive(Debug)]
pub struct Plan {
    pub verb: Verb,
    /// Schema and name as the catalog has them.
    pub schema: Option<String>,
    pub table: String,
    /// The table as it is written in SQL.
    #[pyo3(get)]
    pub sql_table: String,
    pub columns: Vec<Py<Column>>,
    /// Attribute name -> position in `columns`.
    pub index: Py<PyDict>,
    /// What an INSERT says after its rows: what becomes of those that are there.
    #[pyo3(get)]
    pub tail: String,
    /// What stands after RETURNING, in pieces; empty when no row is to come back.
    pub returning: Vec<String>,
    /// A generated integer key, which orders the rows: its positions in `columns` and `returning`.
    pub sentinel: Option<(usize, usize)>,
    /// Nothing but that key is returned.
    pub returns_key_only: bool,
    /// What is returned has to stand in the order of the rows, and no key tells it.
    pub one_by_one: bool,
    /// The object that stands for an explicit NULL.
    pub null: Py<PyAny>,
    /// Classes of SQL expressions: no value of a row may be one.
    pub expressions: Py<PyTuple>,
    /// The driver's own conversion of objects that it does not know.
    pub adapt: Option<Py<PyAny>>,
    /// The first and the last day of the calendar mean minus infinity and infinity.
    pub unending: bool,
    /// What every row found by its key is set to: the column as SQL, and its new value.
    pub assignments: Vec<(String, Expression)>,
    /// What else a row that is updated or deleted has to be.
    pub condition: Option<Expression>,
    pub conflict: Option<Conflict>,
}

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (*, verb="insert", schema, table, sql_table, columns, returning, sentinel=None,
                        returns_key_only=false, one_by_one=false, null, expressions, adapt, unending=false,
                        assignments=vec![], condition=None, conflict=None, tail=String::new()))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        verb: &str,
        schema: Option<String>,
        table: String,
        sql_table: String,
        columns: Vec<Py<Column>>,
        returning: Vec<String>,
        sentinel: Option<(usize, usize)>,
        returns_key_only: bool,
        one_by_one: bool,
        null: Py<PyAny>,
        expressions: Py<PyTuple>,
        adapt: Option<Py<PyAny>>,
        unending: bool,
        assignments: Vec<(String, Expression)>,
        condition: Option<Expression>,
        conflict: Option<Conflict>,
        tail: String,
    ) -> Result<Self> {
        let index = PyDict::new(py);
        for (position, column) in columns.iter().enumerate() {
            let key = &column.get().key;
            if !key.is_empty() {
                index.set_item(pyo3::types::PyString::intern(py, key), position)?;
            }
        }
        Ok(Self {
            verb: Verb::parse(verb)?,
            schema,
            table,
            sql_table,
            columns,
            index: index.unbind(),
            tail,
            returning,
            sentinel,
            returns_key_only,
            one_by_one,
            null,
            expressions,
            adapt,
            unending,
            assignments,
            condition,
            conflict,
        })
    }

    #[getter]
    fn verb(&self) -> &'static str {
        match self.verb {
            Verb::Insert => "insert",
            Verb::Update => "update",
            Verb::Upsert => "upsert",
            Verb::Delete => "delete",
        }
    }

    /// Whether a row that is updated or deleted has to be as a condition has it.
    #[getter]
    fn has_condition(&self) -> bool {
        self.condition.is_some()
    }

    /// What counts of several rows with one key: `error`, `first` or `last`; None but for upserts.
    #[getter]
    fn duplicates(&self) -> Option<&'static str> {
        self.conflict.as_ref().map(|conflict| match conflict.duplicates {
            Duplicates::Error => "error",
            Duplicates::First => "first",
            Duplicates::Last => "last",
        })
    }

    /// The condition of an upsert's key.
    #[getter]
    fn key_where(&self) -> Option<&str> {
        self.conflict.as_ref().and_then(|conflict| conflict.key_where.as_deref())
    }

    /// Whether an upsert leaves rows alone that would be the same afterwards.
    #[getter]
    fn only_changed(&self) -> bool {
        self.conflict.as_ref().is_some_and(|conflict| conflict.only_changed)
    }

    /// Whether some default is a SQL expression.
    #[getter]
    fn has_expressions(&self) -> bool {
        self.columns.iter().any(|column| matches!(column.get().absent, Absent::Sql(_)))
    }

    /// What stands after RETURNING.
    #[getter]
    fn returning(&self) -> String {
        self.returning.join(", ")
    }

    #[getter]
    fn columns(&self, py: Python<'_>) -> Vec<Py<Column>> {
        self.columns.iter().map(|column| column.clone_ref(py)).collect()
    }
}

impl Plan {
    pub fn column(&self, position: usize) -> &Column {
        self.columns[position].get()
    }

    /// The columns that find a row, with their positions.
    pub fn key(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns_of(Role::Key)
    }

    pub fn columns_of(&self, role: Role) -> impl Iterator<Item = (usize, &Column)> {
        let columns = self.columns.iter().map(Py::get).enumerate();
        columns.filter(move |(_, column)| column.role == role)
    }

    /// Whether a Python callable of the mapping runs while rows are read.
    pub fn calls_python(&self) -> bool {
        self.columns.iter().any(|column| {
            let column = column.get();
            column.processor.is_some() && matches!(column.kind, Kind::Dynamic | Kind::Object)
                || matches!(column.absent, Absent::Call(_))
        })
    }
}
