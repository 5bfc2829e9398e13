//! The text of statements that find rows by their keys: update, upsert and delete.
//!
//! Rows travel as arrays, in a query that all statements call `fastbulk_rows`, with the types and
//! collations of the key's columns: what is equal, and what comes first, is the server's to say.
//! Or one row stands in the text itself, which needs nothing of the catalog.

use std::collections::BTreeSet;
use std::fmt::Write;

use arrow_buffer::NullBuffer;
use pyo3::{FromPyObject, Py};

use super::array::binary_array;
use super::text::{element_type, write_array, write_given, write_literal};
use crate::kind::Kind;
use crate::plan::{Absent, Column, Conflict, Duplicates, Expression, Piece, Plan, Role, Verb};
use crate::slice::Slice;
use crate::values::{Series, Values};

/// What the catalog says of a column.
#[derive(Debug, FromPyObject)]
pub struct Target {
    /// The column's own type, without its length or scale.
    own_type: String,
    /// The type with its length or scale.
    full_type: String,
    /// The SQL that makes the column's value where a row gives none.
    default: Option<String>,
    /// The default takes the next value of a sequence, and nobody sees when.
    is_counted: bool,
    /// Its texts are equal where their bytes are, and may be sorted by these.
    is_bytewise: bool,
}

/// The row and the column of a text with a NUL byte, which no text of PostgreSQL can hold.
pub type Unfit = (usize, usize);

type Result<T> = std::result::Result<T, Unfit>;

/// How many of the rows give a column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    None,
    Some,
    All,
}

/// What an INSERT does with a row that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Meeting {
    /// It is left alone.
    Leave,
    /// It is locked, and left as it is.
    Lock,
    Update,
}

/// How a statement has the values of its rows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Those of one row stand in the text.
    Row,
    /// The same with marks for the values of a row that gives all columns.
    Marks,
    /// Arrays in the text.
    Arrays,
    /// Arrays that are parameters.
    Parameters,
    /// The same, and the planner does not see how long they are: a prepared statement would be
    /// planned again each time that they are shorter than it takes for granted.
    Prepared,
}

/// Writes a statement for some rows of a slice.
pub struct Writer<'a> {
    plan: &'a Plan,
    slice: &'a Slice,
    /// One per column of the plan; none where the row stands in the text.
    targets: &'a [Option<Target>],
    rows: &'a [usize],
    form: Form,
    /// The rows have their numbers in the statement.
    numbers: bool,
    /// The columns that the statement takes of `fastbulk_rows`, and those whose mask it takes.
    values: BTreeSet<usize>,
    masks: BTreeSet<usize>,
    /// The columns of which it takes generated values.
    generated: BTreeSet<usize>,
    /// Its parameters.
    arrays: Vec<Vec<u8>>,
}

/// What stands before a statement, the statement, and whether a row of it is new.
type Parts = (String, String, String);

/// Columns, and a query of their values.
type NewRows = (Vec<String>, String);

/// The text of a statement, and its parameters as the server's binary format has them.
pub type Statement = (String, Vec<Vec<u8>>);

const NUMBER: &str = "fastbulk_rows.fastbulk_row";

impl Target {
    /// Whether the column holds such values as they are, in the order that they have here.
    pub fn is_ordered_as(&self, values: &Values) -> bool {
        match values {
            Values::Int(_) => matches!(self.full_type.as_str(), "smallint" | "integer" | "bigint"),
            Values::Date(_) => self.full_type == "date",
            Values::Time(_) => self.full_type == "time without time zone",
            Values::Timestamp(_) => self.full_type == "timestamp without time zone",
            Values::Instant(_) => self.full_type == "timestamp with time zone",
            Values::Uuid(_) => self.full_type == "uuid",
            Values::Text(_) => self.is_bytewise,
            Values::Bool(_)
            | Values::Float(_)
            | Values::Bytes(_)
            | Values::Decimal(_)
            | Values::Json(_)
            | Values::Dynamic(_)
            | Values::Object(_) => false,
        }
    }
}

impl<'a> Writer<'a> {
    /// For statements about all these rows.
    pub fn new(
        plan: &'a Plan,
        slice: &'a Slice,
        targets: &'a [Option<Target>],
        rows: &'a [usize],
    ) -> Self {
        let none = BTreeSet::new;
        let (values, masks, generated) = (none(), none(), none());
        Self {
            plan,
            slice,
            targets,
            rows,
            form: if targets.is_empty() { Form::Row } else { Form::Arrays },
            numbers: true,
            values,
            masks,
            generated,
            arrays: Vec::new(),
        }
    }

    /// For statements that take arrays, as parameters or in the text.
    pub fn with_arrays(self, binary: bool) -> Self {
        Self { form: if binary { Form::Parameters } else { Form::Arrays }, ..self }
    }

    /// For a statement with parameters.
    pub fn with_marks(plan: &'a Plan, slice: &'a Slice) -> Self {
        Self { form: Form::Marks, ..Self::new(plan, slice, &[], &[0]) }
    }

    /// `UPDATE t SET a = ... FROM fastbulk_rows WHERE t.id = fastbulk_rows.fastbulk_0`, after the
    /// rows were locked in the order of their keys if `lock`. Gives how many rows it updated, and
    /// their numbers if these are not all; or, if wanted, what the plan returns and the number of
    /// each.
    pub fn update(mut self, lock: bool, with_returning: bool) -> Result<Statement> {
        let sets: Vec<_> =
            self.sets()?.into_iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let mut condition = self.expected_row()?;
        if let Some(conflict) = &self.plan.conflict
            && conflict.only_changed
        {
            let _ = write!(condition, " AND ({})", self.changes()?);
        }
        let rows = if lock { self.locked("NO KEY UPDATE")? } else { self.rows_sql()? };
        let table = &self.plan.sql_table;
        let update =
            format!("UPDATE {table} SET {} FROM fastbulk_rows WHERE {condition}", sets.join(", "));
        let sql = self.numbered(&rows, &update, with_returning);
        Ok((sql, self.arrays))
    }

    /// The same of rows in order: gives nothing but how many it updated.
    pub fn update_all(mut self) -> Result<Statement> {
        self.numbers = false;
        let sets = self.sets()?.into_iter().map(|(name, value)| format!("{name} = {value}"));
        let sets = sets.collect::<Vec<_>>().join(", ");
        let mut condition = self.expected_row()?;
        let table = &self.plan.sql_table;
        let (locked, rows) = if let Some(locked) = self.locked_by_key()? {
            let _ = write!(condition, " AND (SELECT count(*) FROM ({locked}) AS locked) >= 0");
            (String::new(), self.named_rows()?)
        } else {
            let locked = self.locked("NO KEY UPDATE")?;
            (format!("WITH {locked} "), "fastbulk_rows".to_owned())
        };
        let sql = format!("{locked}UPDATE {table} SET {sets} FROM {rows} WHERE {condition}");
        Ok((sql, self.arrays))
    }

    /// `DELETE FROM t USING fastbulk_rows WHERE ...`; gives what an update does.
    pub fn delete(mut self) -> Result<Statement> {
        let condition = self.expected_row()?;
        let rows = self.locked("UPDATE")?;
        let table = &self.plan.sql_table;
        let delete = format!("DELETE FROM {table} USING fastbulk_rows WHERE {condition}");
        let sql = self.numbered(&rows, &delete, true);
        Ok((sql, self.arrays))
    }

    /// Locks the rows that are there in the order of their keys; gives the numbers of those that
    /// find them.
    pub fn lock(mut self) -> Result<Statement> {
        let rows = self.locked("NO KEY UPDATE")?;
        let sql = format!("WITH {rows} SELECT fastbulk_row FROM fastbulk_rows");
        Ok((sql, self.arrays))
    }

    /// Gives (number, its place among the rows of its key) of all rows, in the order of the keys.
    pub fn sorted(mut self) -> Result<Statement> {
        let keys = self.keys();
        let rows = self.rows_sql()?;
        let sql = format!(
            "WITH {rows} SELECT {NUMBER}, row_number() OVER (PARTITION BY {keys} ORDER BY {NUMBER}) \
             FROM fastbulk_rows ORDER BY {keys}, {NUMBER}"
        );
        Ok((sql, self.arrays))
    }

    /// Gives what the rows have for one column.
    pub fn alone(mut self, column: usize) -> Result<String> {
        self.values.insert(column);
        Ok(format!("WITH {} SELECT * FROM fastbulk_rows", self.rows_sql()?))
    }

    /// Gives (number, the number of the first row with its key, its place among these, whether the
    /// key finds a row with the version that is expected) of the rows that come second or later, or
    /// find nothing.
    pub fn look(mut self) -> Result<Statement> {
        let keys = self.keys();
        let found = self.expected_key()?;
        let rows = self.rows_sql()?;
        let sql = format!(
            "WITH {rows} SELECT * FROM (SELECT {NUMBER}, \
             min({NUMBER}) OVER same_key, row_number() OVER same_key AS place, \
             EXISTS (SELECT FROM {table} WHERE {found}) AS found FROM fastbulk_rows \
             WINDOW same_key AS (PARTITION BY {keys} ORDER BY {NUMBER})) AS looked \
             WHERE place > 1 OR NOT found",
            table = self.plan.sql_table,
        );
        Ok((sql, self.arrays))
    }

    /// Gives what the plan returns, and the number, of each row whose key finds one.
    pub fn read_back(mut self) -> Result<Statement> {
        let found = self.same_key()?;
        let rows = self.rows_sql()?;
        let returning = self.plan.returning.join(", ");
        let table = &self.plan.sql_table;
        let sql = format!(
            "WITH {rows} SELECT {returning}, {NUMBER} FROM {table} JOIN fastbulk_rows ON {found}"
        );
        Ok((sql, self.arrays))
    }

    /// Gives the numbers of rows that the condition of the unique key does not cover.
    pub fn uncovered(mut self, condition: &str) -> Result<Statement> {
        let given = self.new_row()?;
        let mut columns = Vec::new();
        for (column, main) in self.main_columns() {
            let name = &main.sql_name;
            let value = match given.iter().find(|(given, _)| given == name) {
                Some((_, value)) => value.as_str(),
                None => self.targets[column]
                    .as_ref()
                    .and_then(|t| t.default.as_deref())
                    .unwrap_or("NULL"),
            };
            columns.push(format!("{} AS {name}", self.cast(column, value)));
        }
        let rows = self.rows_sql()?;
        let sql = format!(
            "WITH {rows} SELECT fastbulk_row FROM (SELECT {NUMBER}, {columns} FROM fastbulk_rows) \
             AS new WHERE ({condition}) IS NOT TRUE",
            columns = columns.join(", "),
        );
        Ok((sql, self.arrays))
    }

    /// `INSERT INTO t (a) SELECT ... FROM fastbulk_rows ON CONFLICT ...`, in the order of the keys;
    /// of rows with one key the first or last one alone.
    ///
    /// Gives a letter per row, in the order of their numbers (inserted, updated, not changed,
    /// duplicate), and how many rows were inserted or updated.
    pub fn upsert(mut self, conflict: &Conflict, meeting: Meeting) -> Result<Statement> {
        let (names, values): (Vec<_>, Vec<_>) = self.new_row()?.into_iter().unzip();
        let keys = self.keys();
        let clause = self.on_conflict(conflict, meeting)?;
        let same: Vec<_> = (self.plan.key().enumerate())
            .map(|(i, (c, _))| self.equal(c, &format!("written.key{i}"), &cell(c)))
            .collect();
        let returned: Vec<_> = (self.plan.key())
            .map(|(_, key)| format!("{}.{}", self.plan.sql_table, key.sql_name))
            .collect();
        let key_names: Vec<_> = (0..returned.len()).map(|i| format!("key{i}")).collect();
        let is_new = match meeting {
            Meeting::Update => format!("{}.xmax = 0", self.plan.sql_table),
            Meeting::Leave | Meeting::Lock => "true".to_owned(),
        };
        let last = if conflict.duplicates == Duplicates::Last { " DESC" } else { "" };
        let locked = if meeting == Meeting::Leave { None } else { self.locked_first()? };
        let rows = self.named_rows()?;
        let columns = self.row_columns();
        let sql = format!(
            "WITH fastbulk_rows ({columns}, place) AS MATERIALIZED (SELECT fastbulk_rows.*, \
             row_number() OVER (PARTITION BY {keys} ORDER BY {NUMBER}{last}) FROM {rows}), \
             written ({key_names}, is_new) AS (INSERT INTO {table} ({names}) SELECT {values} \
             FROM fastbulk_rows WHERE place = 1{locked} ORDER BY {keys}{clause} \
             RETURNING {returned}, {is_new}) \
             SELECT string_agg(CASE WHEN place > 1 THEN 'd' WHEN is_new THEN 'i' \
             WHEN is_new IS NULL THEN 'n' ELSE 'u' END, '' ORDER BY {NUMBER}), \
             (SELECT count(*) FROM written) \
             FROM fastbulk_rows LEFT JOIN written ON {same}",
            key_names = key_names.join(", "),
            table = self.plan.sql_table,
            names = names.join(", "),
            values = values.join(", "),
            returned = returned.join(", "),
            same = same.join(" AND "),
            locked = locked.map_or(String::new(), |locked| format!(" AND {locked}")),
        );
        Ok((sql, self.arrays))
    }

    /// The same of rows in order, where every one of them is inserted or updated: no pass is needed
    /// but the INSERT's own. Gives, row by row, whether it is new and what the plan returns; or a
    /// letter for each.
    pub fn upsert_all(mut self, conflict: &Conflict) -> Result<Statement> {
        self.numbers = false;
        let (names, values): (Vec<_>, Vec<_>) = self.new_row()?.into_iter().unzip();
        let clause = self.on_conflict(conflict, Meeting::Update)?;
        // Generated values are made in the order of the input.
        let is_made = !self.generated.is_empty();
        let order = if is_made { format!(" ORDER BY {}", self.keys()) } else { String::new() };
        let locked = self.locked_first()?;
        let locked = locked.map_or(String::new(), |locked| format!(" WHERE {locked}"));
        let rows = self.named_rows()?;
        let insert = format!(
            "INSERT INTO {table} ({}) SELECT {} FROM {rows}{locked}{order}{clause} \
             RETURNING {table}.xmax = 0",
            names.join(", "),
            values.join(", "),
            table = self.plan.sql_table,
        );
        let returning = &self.plan.returning;
        if !returning.is_empty() {
            let sql = format!("{insert}, {}", returning.join(", "));
            return Ok((sql, self.arrays));
        }
        let sql = format!(
            "WITH written (is_new) AS ({insert}) \
             SELECT string_agg(CASE WHEN is_new THEN 'i' ELSE 'u' END, '') FROM written"
        );
        Ok((sql, self.arrays))
    }

    /// `INSERT INTO t (a) SELECT ... FROM fastbulk_rows` in the order of the rows.
    pub fn insert(mut self) -> Result<Statement> {
        let (names, values): (Vec<_>, Vec<_>) = self.new_row()?.into_iter().unzip();
        let rows = self.rows_sql()?;
        let mut sql = format!("WITH {rows} INSERT INTO {}", self.plan.sql_table);
        if !names.is_empty() {
            let _ = write!(sql, " ({})", names.join(", "));
        }
        let _ = write!(sql, " SELECT {} FROM fastbulk_rows ORDER BY {NUMBER}", values.join(", "));
        if !self.plan.returning.is_empty() {
            let _ = write!(sql, " RETURNING {}", self.plan.returning.join(", "));
        }
        Ok((sql, self.arrays))
    }

    /// A statement of one row, whose values stand in the text. It gives what the plan returns; an
    /// upsert also the primary key as text, and whether the row is new.
    pub fn row(mut self) -> Result<String> {
        let table = &self.plan.sql_table;
        let returning = self.plan.returning.join(", ");
        match (self.plan.verb, &self.plan.conflict) {
            (Verb::Insert | Verb::Upsert, conflict) => {
                let (names, values): (Vec<_>, Vec<_>) = self.new_row()?.into_iter().unzip();
                let mut sql = format!("INSERT INTO {table}");
                if names.is_empty() {
                    sql.push_str(" DEFAULT VALUES");
                } else {
                    let _ = write!(sql, " ({}) VALUES ({})", names.join(", "), values.join(", "));
                }
                if let Some(conflict) = conflict {
                    let meeting =
                        if self.asks(self.rows[0]) { Meeting::Update } else { Meeting::Leave };
                    sql.push_str(&self.on_conflict(conflict, meeting)?);
                    let keys = conflict.primary_key.iter();
                    let keys: Vec<_> = keys.map(|key| format!("{table}.{key}::text")).collect();
                    let _ = write!(sql, " RETURNING concat_ws(E'\\x01', {})", keys.join(", "));
                    let _ = write!(sql, ", {table}.xmax = 0");
                    if !returning.is_empty() {
                        let _ = write!(sql, ", {returning}");
                    }
                }
                Ok(sql)
            }
            (Verb::Update, _) => {
                let sets = self.sets()?.into_iter();
                let sets: Vec<_> = sets.map(|(name, value)| format!("{name} = {value}")).collect();
                let condition = self.expected_row()?;
                let mut sql = format!("UPDATE {table} SET {} WHERE {condition}", sets.join(", "));
                if !returning.is_empty() {
                    let _ = write!(sql, " RETURNING {returning}");
                }
                Ok(sql)
            }
            (Verb::Delete, _) => {
                let mut sql = format!("DELETE FROM {table} WHERE {}", self.expected_row()?);
                if !returning.is_empty() {
                    let _ = write!(sql, " RETURNING {returning}");
                }
                Ok(sql)
            }
        }
    }

    /// An update or upsert of rows that are alike, without a look at the catalog; None if one
    /// statement can't say what each of them becomes.
    ///
    /// An upsert gives what the plan returns and whether the row is new, row by row; or a letter for
    /// each. Where a row is lost on the way the statement fails, because there is no setting `lost`:
    /// the savepoint around it is gone when its answer comes. An upsert fails with a key that stands
    /// twice, too.
    pub fn few(mut self, lost: &str) -> Result<Option<Statement>> {
        self.numbers = false;
        if self.form == Form::Parameters {
            self.form = Form::Prepared;
        }
        let Some(write) = (match &self.plan.conflict {
            Some(conflict) if self.changes_all(conflict) => self.insert_all(conflict)?,
            None if self.is_known() && self.is_one_statement() => Some(self.lock_and_update()?),
            _ => None,
        }) else {
            return Ok(None);
        };
        let (rows, statement, is_new) = write;
        let plan = self.plan;
        // The text does not change with the number of rows: it may be prepared.
        let all = match self.arrays.first() {
            Some(_) => "array_length($1, 1)".to_owned(),
            None => self.rows.len().to_string(),
        };
        let lost = format!("CASE WHEN count(*) < {all} THEN current_setting('{lost}') END");
        let written = format!("WITH {rows}written");
        let sql = if plan.returning.is_empty() {
            format!(
                "{written} (is_new) AS ({statement} RETURNING {is_new}) \
                 SELECT string_agg(CASE WHEN is_new THEN 'i' ELSE 'u' END, ''), {lost} FROM written"
            )
        } else {
            let names: Vec<_> = (0..plan.returning.len()).map(|i| format!("c{i}")).collect();
            format!(
                "{written} (is_new, {names}) AS ({statement} RETURNING {is_new}, {returning}) \
                 SELECT written.*, lost FROM (SELECT {lost} FROM written) AS counted (lost) \
                 LEFT JOIN written ON true",
                names = names.join(", "),
                returning = plan.returning.join(", "),
            )
        };
        Ok(Some((sql, self.arrays)))
    }

    /// `INSERT INTO t (a) ... ON CONFLICT ...`, with what stands before it and whether a row is new;
    /// None if the rows give different columns.
    fn insert_all(&mut self, conflict: &Conflict) -> Result<Option<Parts>> {
        let Some((names, source)) =
            (if self.is_known() { self.new_rows()? } else { self.literal_rows()? })
        else {
            return Ok(None);
        };
        let clause = self.on_conflict(conflict, Meeting::Update)?;
        let table = &self.plan.sql_table;
        let insert = format!("INSERT INTO {table} ({}) {source}{clause}", names.join(", "));
        Ok(Some((String::new(), insert, format!("{table}.xmax = 0"))))
    }

    /// The columns of new rows and a query of these; None if the database is to make all values.
    fn new_rows(&mut self) -> Result<Option<NewRows>> {
        let (names, values): (Vec<_>, Vec<_>) = self.new_row()?.into_iter().unzip();
        if self.values.is_empty() {
            return Ok(None);
        }
        let rows = self.named_rows()?;
        Ok(Some((names, format!("SELECT {} FROM {rows}", values.join(", ")))))
    }

    /// The same with the values in the text: each takes the type of its column.
    fn literal_rows(&self) -> Result<Option<NewRows>> {
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for row in self.rows {
            let row = std::slice::from_ref(row);
            let row = Self::new(self.plan, self.slice, &[], row).new_row()?;
            let (names, literals): (Vec<_>, Vec<_>) = row.into_iter().unzip();
            if names.is_empty() || (!columns.is_empty() && columns != names) {
                return Ok(None);
            }
            columns = names;
            values.push(format!("({})", literals.join(", ")));
        }
        Ok(Some((columns, format!("VALUES {}", values.join(", ")))))
    }

    /// `UPDATE t SET a = ...` of rows that were locked in the order of their keys.
    fn lock_and_update(&mut self) -> Result<Parts> {
        let sets = self.sets()?.into_iter().map(|(name, value)| format!("{name} = {value}"));
        let sets = sets.collect::<Vec<_>>().join(", ");
        let condition = self.expected_row()?;
        let rows = self.locked("NO KEY UPDATE")?;
        let table = &self.plan.sql_table;
        let update = format!("UPDATE {table} SET {sets} FROM fastbulk_rows WHERE {condition}");
        Ok((format!("{rows}, "), update, "false".to_owned()))
    }

    /// Whether the rows' values have their types, and their keys their order, without the catalog: they
    /// need not stand in the text.
    pub fn is_known(&self) -> bool {
        let is_update = self.plan.verb == Verb::Update;
        self.plan.columns.iter().map(Py::get).enumerate().all(|(position, column)| {
            let series = &self.slice.columns[position];
            let has_type = element_type(series) != "text" || is_cast_to_type(column);
            let is_compared = column.role == Role::Key && is_update;
            match self.share(position) {
                Share::None => !is_compared,
                Share::Some => false,
                Share::All => has_type && !(is_compared && element_type(series) == "text"),
            }
        })
    }

    /// Whether the row asks for a change of the row that is there.
    pub fn asks(&self, row: usize) -> bool {
        let plan = self.plan;
        // What stands in for nothing is set in every row: a version id, or a value for all.
        let always = || plan.columns_of(Role::Update).any(|(_, value)| value.instead_of.is_none());
        plan.verb == Verb::Delete
            || !plan.assignments.is_empty()
            || self
                .settable()
                .into_iter()
                .any(|column| self.form == Form::Marks || self.slice.columns[column].is_given(row))
            || always()
    }

    /// Whether the row gives all of its key.
    pub fn has_key(&self, row: usize) -> bool {
        self.plan.key().all(|(column, _)| self.slice.columns[column].is_given(row))
    }

    /// Whether there is a NULL in its key.
    pub fn has_null(&self, row: usize) -> bool {
        self.plan.key().any(|(column, _)| self.slice.columns[column].is_null(row))
    }

    /// Whether one INSERT..ON CONFLICT can say what all rows that are there become: it knows of a
    /// row what was to be inserted, and not what was left out.
    pub fn is_one_statement(&self) -> bool {
        let covered = self.settable();
        let even = |column: usize| self.share(column) != Share::Some;
        covered.iter().all(|&column| even(column))
            && self.plan.columns_of(Role::Update).all(|(column, value)| match &value.absent {
                _ if self.is_covered(value, &covered) => true,
                Absent::Call(_) => self.share(column) == Share::None,
                Absent::Value(_) => even(column),
                Absent::Sql(_) | Absent::Null | Absent::Omit => true,
            })
    }

    /// Whether such a statement inserts or updates every one of them.
    pub fn changes_all(&self, conflict: &Conflict) -> bool {
        self.plan.condition.is_none()
            && !conflict.only_changed
            && self.is_one_statement()
            && self.rows.iter().all(|&row| self.asks(row))
    }

    /// Whether no row that is there would change.
    pub fn is_left_alone(&self) -> bool {
        !self.rows.iter().any(|&row| self.asks(row))
    }

    // The rows that are there

    /// The columns that take what a row gives for them.
    fn settable(&self) -> Vec<usize> {
        match &self.plan.conflict {
            Some(conflict) => conflict.updates.clone(),
            None => self.plan.columns_of(Role::Value).map(|(column, _)| column).collect(),
        }
    }

    /// Whether another value stands where this one would.
    fn is_covered(&self, value: &Column, covered: &[usize]) -> bool {
        value
            .instead_of
            .is_some_and(|main| covered.contains(&main) && self.share(main) != Share::None)
    }

    /// Column -> its new value.
    fn sets(&mut self) -> Result<Vec<(String, String)>> {
        let plan = self.plan;
        let covered = self.settable();
        let mut sets = Vec::new();
        for &column in &covered {
            let value = match self.share(column) {
                Share::None => continue,
                Share::All => self.value(column)?,
                Share::Some => {
                    let given = self.own(column)?;
                    let mask = self.mask(column);
                    let otherwise = self.otherwise(column)?;
                    format!("CASE WHEN {mask} THEN {given} ELSE {otherwise} END")
                }
            };
            sets.push((plan.column(column).sql_name.clone(), value));
        }
        for (column, value) in plan.columns_of(Role::Update) {
            if !self.is_covered(value, &covered)
                && let Some(own) = self.own_value(column)?
            {
                sets.push((value.sql_name.clone(), own));
            }
        }
        for (name, expression) in &plan.assignments {
            sets.push((name.clone(), self.expression(expression)?));
        }
        Ok(sets)
    }

    /// What a column becomes where a row leaves it out.
    fn otherwise(&mut self, column: usize) -> Result<String> {
        let stand_in =
            self.plan.columns_of(Role::Update).find(|(_, v)| v.instead_of == Some(column));
        let own = match stand_in {
            Some((stand_in, _)) => self.own_value(stand_in)?.map(|own| self.cast(column, &own)),
            None => None,
        };
        Ok(own.unwrap_or_else(|| self.there(column)))
    }

    /// What a column becomes whatever the row says; None if that is not known.
    fn own_value(&mut self, column: usize) -> Result<Option<String>> {
        if let Absent::Sql(text) = &self.plan.column(column).absent {
            return Ok(Some(text.clone()));
        }
        Ok(match self.share(column) {
            // A value for all rows, which is NULL.
            Share::None if self.plan.column(column).instead_of.is_none() => Some("NULL".to_owned()),
            Share::None => None,
            Share::All => Some(self.value(column)?),
            Share::Some => {
                let given = self.own(column)?;
                let there = self.there(column);
                Some(format!("CASE WHEN {} THEN {given} ELSE {there} END", self.mask(column)))
            }
        })
    }

    /// The column of the row that is there.
    fn there(&self, column: usize) -> String {
        format!("{}.{}", self.plan.sql_table, self.plan.column(column).sql_name)
    }

    /// That the row is there, as the plan wants it.
    fn expected_row(&mut self) -> Result<String> {
        let mut sql = self.expected_key()?;
        if let Some(condition) = &self.plan.condition {
            let _ = write!(sql, " AND ({})", self.expression(condition)?);
        }
        Ok(sql)
    }

    /// That a row is there with the key and the version.
    fn expected_key(&mut self) -> Result<String> {
        let mut sql = self.same_key()?;
        for (column, _) in self.plan.columns_of(Role::Match) {
            let _ = write!(sql, " AND {} = {}", self.there(column), self.value(column)?);
        }
        Ok(sql)
    }

    fn same_key(&mut self) -> Result<String> {
        let mut parts = Vec::new();
        for (column, _) in self.plan.key() {
            let value = self.value(column)?;
            parts.push(self.equal(column, &self.there(column), &value));
        }
        if let Some(condition) = self.plan.conflict.as_ref().and_then(|c| c.key_where.as_ref()) {
            parts.push(format!("({condition})"));
        }
        Ok(parts.join(" AND "))
    }

    /// That two values of a key are equal, NULLs among them where rows have such keys.
    fn equal(&self, column: usize, one: &str, other: &str) -> String {
        let series = &self.slice.columns.get(column);
        let has_null = series.is_some_and(|s| self.rows.iter().any(|&row| s.is_null(row)));
        format!("{one} {} {other}", if has_null { "IS NOT DISTINCT FROM" } else { "=" })
    }

    /// That the row would be another afterwards.
    fn changes(&mut self) -> Result<String> {
        let mut changes = Vec::new();
        for column in self.settable() {
            let share = self.share(column);
            if share == Share::None {
                continue;
            }
            let given = self.value(column)?;
            let given = match self.targets.get(column) {
                Some(Some(target)) => format!("({given})::{}", target.full_type),
                _ => given,
            };
            let change = self.differs(column, &given);
            changes.push(match share {
                Share::Some => format!("({} AND {change})", self.mask(column)),
                Share::None | Share::All => change,
            });
        }
        for (column, value) in self.plan.columns_of(Role::Update) {
            if value.instead_of.is_none()
                && let Some(own) = self.own_value(column)?
            {
                changes.push(self.differs(column, &own));
            }
        }
        for (name, expression) in &self.plan.assignments {
            let value = self.expression(expression)?;
            changes.push(format!("{}.{name} IS DISTINCT FROM ({value})", self.plan.sql_table));
        }
        Ok(if changes.is_empty() { "false".to_owned() } else { changes.join(" OR ") })
    }

    fn differs(&self, column: usize, value: &str) -> String {
        // The type json knows no equality.
        let cast = if self.plan.column(column).kind == Kind::Json { "::jsonb" } else { "" };
        format!("{}{cast} IS DISTINCT FROM ({value}){cast}", self.there(column))
    }

    fn expression(&mut self, expression: &Expression) -> Result<String> {
        let mut sql = String::new();
        for piece in expression {
            match piece {
                Piece::Sql(text) => sql.push_str(text),
                Piece::Given(column) => sql.push_str(&self.value(*column)?),
            }
        }
        Ok(sql)
    }

    // New rows

    /// Column -> its value in a new row; what is not there has the database's own default.
    fn new_row(&mut self) -> Result<Vec<(String, String)>> {
        let mut row = Vec::new();
        for (column, main) in self.main_columns() {
            let share = self.share(column);
            let value = match (share, self.default(column)?) {
                (Share::All, _) => self.value(column)?,
                (Share::None, Some(default)) => default,
                (Share::None, None) => match self.generated(column) {
                    Some(generated) => generated,
                    None => continue,
                },
                (Share::Some, default) => {
                    let own = self.targets.get(column).and_then(Option::as_ref);
                    let own = own.and_then(|target| target.default.clone());
                    let default = default.or(own).unwrap_or_else(|| "NULL".to_owned());
                    let default = self.cast(column, &default);
                    let given = self.own(column)?;
                    format!("CASE WHEN {} THEN {given} ELSE {default} END", self.mask(column))
                }
            };
            row.push((main.sql_name.clone(), value));
        }
        Ok(row)
    }

    /// The columns that take what a row gives.
    fn main_columns(&self) -> impl Iterator<Item = (usize, &'a Column)> + use<'a> {
        let columns = self.plan.columns.iter().map(Py::get).enumerate();
        columns.filter(|(_, column)| matches!(column.role, Role::Key | Role::Value | Role::Input))
    }

    /// What the mapping has a new row get where it leaves a column out.
    fn default(&mut self, column: usize) -> Result<Option<String>> {
        let stand_in =
            self.plan.columns_of(Role::Default).find(|(_, v)| v.instead_of == Some(column));
        let (position, absent) = match stand_in {
            Some((stand_in, default)) => (stand_in, &default.absent),
            None => (column, &self.plan.column(column).absent),
        };
        Ok(match absent {
            Absent::Sql(text) => Some(text.clone()),
            _ if position != column && self.share(position) != Share::None => {
                Some(self.value(position)?)
            }
            _ => None,
        })
    }

    /// The column's generated value, which is made in the order of the input.
    fn generated(&mut self, column: usize) -> Option<String> {
        let target = self.targets.get(column)?.as_ref()?;
        if !target.is_counted {
            return None;
        }
        self.generated.insert(column);
        Some(format!("fastbulk_rows.fastbulk_generated_{column}"))
    }

    fn on_conflict(&mut self, conflict: &Conflict, meeting: Meeting) -> Result<String> {
        let mut sql = format!(" ON CONFLICT {} DO ", conflict.target);
        match meeting {
            Meeting::Leave => sql.push_str("NOTHING"),
            Meeting::Lock => {
                let name = self.plan.key().next().map_or("", |(_, key)| key.sql_name.as_str());
                let _ = write!(sql, "UPDATE SET {name} = excluded.{name} WHERE false");
            }
            Meeting::Update => {
                let _ = write!(sql, "UPDATE SET {}", self.conflict_sets()?);
                if let Some(condition) = self.conflict_condition(conflict)? {
                    let _ = write!(sql, " WHERE {condition}");
                }
            }
        }
        Ok(sql)
    }

    fn conflict_sets(&mut self) -> Result<String> {
        let plan = self.plan;
        let covered = self.settable();
        let mut sets = Vec::new();
        for &column in covered.iter().filter(|&&column| self.share(column) != Share::None) {
            let name = &plan.column(column).sql_name;
            sets.push(format!("{name} = excluded.{name}"));
        }
        for (column, value) in plan.columns_of(Role::Update) {
            if !self.is_covered(value, &covered)
                && let Some(own) = self.constant(column)?
            {
                sets.push(format!("{} = {own}", value.sql_name));
            }
        }
        for (name, expression) in &plan.assignments {
            sets.push(format!("{name} = {}", self.over_excluded(expression)));
        }
        Ok(sets.join(", "))
    }

    fn conflict_condition(&self, conflict: &Conflict) -> Result<Option<String>> {
        let mut parts = Vec::new();
        if let Some(condition) = &self.plan.condition {
            parts.push(format!("({})", self.over_excluded(condition)));
        }
        if conflict.only_changed {
            let mut changes = Vec::new();
            for column in self.settable() {
                if self.share(column) != Share::None {
                    let name = &self.plan.column(column).sql_name;
                    changes.push(self.differs(column, &format!("excluded.{name}")));
                }
            }
            for (column, value) in self.plan.columns_of(Role::Update) {
                if value.instead_of.is_none()
                    && let Some(own) = self.constant(column)?
                {
                    changes.push(self.differs(column, &own));
                }
            }
            for (name, expression) in &self.plan.assignments {
                let value = self.over_excluded(expression);
                changes.push(format!("{}.{name} IS DISTINCT FROM ({value})", self.plan.sql_table));
            }
            parts.push(format!("({})", changes.join(" OR ")));
        }
        Ok(if parts.is_empty() { None } else { Some(parts.join(" AND ")) })
    }

    /// An expression over the row that is there and the one that was to be inserted.
    fn over_excluded(&self, expression: &Expression) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Sql(text) => text.clone(),
            Piece::Given(column) => format!("excluded.{}", self.plan.column(*column).sql_name),
        };
        expression.iter().map(piece).collect()
    }

    /// The value of a column that is the same in all rows.
    fn constant(&self, column: usize) -> Result<Option<String>> {
        if let Absent::Sql(text) = &self.plan.column(column).absent {
            return Ok(Some(text.clone()));
        }
        if self.form == Form::Marks {
            return self.literal(column, 0).map(Some);
        }
        let series = &self.slice.columns[column];
        match self.rows.iter().find(|&&row| series.is_given(row)) {
            Some(&row) => self.literal(column, row).map(Some),
            None if self.plan.column(column).instead_of.is_none() => Ok(Some("NULL".to_owned())),
            None => Ok(None),
        }
    }

    // Values

    fn share(&self, column: usize) -> Share {
        if self.form == Form::Marks {
            let is_main = !matches!(self.plan.column(column).role, Role::Default | Role::Update);
            let stands_alone = self.plan.column(column).instead_of.is_none();
            return if is_main || stands_alone { Share::All } else { Share::None };
        }
        let Some(given) = &self.slice.columns[column].given else { return Share::All };
        let count = if self.rows.len() == self.slice.rows {
            self.slice.rows - NullBuffer::null_count(given)
        } else {
            self.rows.iter().filter(|&&row| given.is_valid(row)).count()
        };
        match count {
            0 => Share::None,
            count if count == self.rows.len() => Share::All,
            _ => Share::Some,
        }
    }

    /// What the rows give for the column.
    fn value(&mut self, column: usize) -> Result<String> {
        if matches!(self.form, Form::Row | Form::Marks) {
            return self.literal(column, self.rows[0]);
        }
        self.values.insert(column);
        Ok(cell(column))
    }

    /// The value in the column's own type, so that no other value has to take its type.
    fn own(&mut self, column: usize) -> Result<String> {
        let value = self.value(column)?;
        Ok(self.cast(column, &value))
    }

    fn cast(&self, column: usize, value: &str) -> String {
        match self.targets.get(column) {
            Some(Some(target)) => format!("({value})::{}", target.own_type),
            _ => value.to_owned(),
        }
    }

    fn mask(&mut self, column: usize) -> String {
        self.masks.insert(column);
        format!("fastbulk_rows.fastbulk_given_{column}")
    }

    fn literal(&self, column: usize, row: usize) -> Result<String> {
        if self.form == Form::Marks {
            return Ok(self.plan.column(column).value_sql("%s"));
        }
        let mut literal = String::new();
        let series = &self.slice.columns[column];
        write_literal(series.get(row), &mut literal).map_err(|()| (row, column))?;
        if self.takes_own_type(column) && element_type(series) == "text" {
            return Ok(literal);
        }
        Ok(self.plan.column(column).value_sql(&literal))
    }

    /// Whether a text becomes the column's own type and not the mapped one: keys are compared as
    /// the column compares them.
    fn takes_own_type(&self, column: usize) -> bool {
        let column = self.plan.column(column);
        column.role == Role::Key && is_cast(column)
    }

    /// `fastbulk_rows.fastbulk_0, ...`: the key of the rows, by which they are sorted.
    fn keys(&mut self) -> String {
        let columns: Vec<_> = self.plan.key().map(|(column, _)| column).collect();
        self.values.extend(&columns);
        let key = |column: usize| match self.targets.get(column) {
            Some(Some(target)) if target.is_bytewise => format!("{} COLLATE \"C\"", cell(column)),
            _ => cell(column),
        };
        columns.into_iter().map(key).collect::<Vec<_>>().join(", ")
    }

    /// `fastbulk_rows (...) AS MATERIALIZED (SELECT ...)`
    fn rows_sql(&mut self) -> Result<String> {
        let columns = self.row_columns();
        Ok(format!("fastbulk_rows ({columns}) AS MATERIALIZED ({})", self.select()?))
    }

    /// `(SELECT ...) AS fastbulk_rows (...)`
    fn named_rows(&mut self) -> Result<String> {
        Ok(format!("({}) AS fastbulk_rows ({})", self.select()?, self.row_columns()))
    }

    /// The rows whose keys are there, after they were locked in the order of their keys.
    fn locked(&mut self, strength: &str) -> Result<String> {
        let keys = self.keys();
        let same: Vec<_> = (self.plan.key())
            .map(|(column, key)| {
                self.equal(column, &format!("there.{}", key.sql_name), &cell(column))
            })
            .collect();
        Ok(format!(
            "fastbulk_rows AS MATERIALIZED (SELECT fastbulk_rows.* FROM {rows} \
             JOIN {table} AS there ON {same} ORDER BY {order} FOR {strength} OF there)",
            rows = self.named_rows()?,
            order = self.primary_key().unwrap_or(keys),
            table = self.plan.sql_table,
            same = same.join(" AND "),
        ))
    }

    /// A condition that locks the rows that are there before the first is inserted or updated, if
    /// that would not be in the order of their primary keys.
    fn locked_first(&mut self) -> Result<Option<String>> {
        let Some(order) = self.primary_key() else { return Ok(None) };
        let rows = self.sent();
        let (mut names, mut values, mut arrays) = (Vec::new(), Vec::new(), Vec::new());
        let (mut given, keys): (Vec<_>, Vec<_>) = (Vec::new(), self.plan.key().collect());
        for (column, key) in keys {
            names.push(format!("there.{}", key.sql_name));
            values.push(self.typed(column, &self.slice.columns[column]));
            arrays.push(self.array(column, &rows)?);
            given.push(format!("c{column}"));
        }
        Ok(Some(format!(
            "(SELECT count(*) FROM (SELECT FROM {table} AS there WHERE ({names}) IN \
             (SELECT {values} FROM unnest({arrays}) AS given ({given})) \
             ORDER BY {order} FOR NO KEY UPDATE) AS locked) >= 0",
            table = self.plan.sql_table,
            names = names.join(", "),
            values = values.join(", "),
            arrays = arrays.join(", "),
            given = given.join(", "),
        )))
    }

    /// Locks the rows of few keys that are there in the order of their primary keys; None if the
    /// rows are written in that order anyway.
    pub fn lock_few(&self) -> Result<Option<String>> {
        let Some(order) = self.primary_key().filter(|_| !self.is_left_alone()) else {
            return Ok(None);
        };
        let names: Vec<_> =
            self.plan.key().map(|(_, key)| format!("there.{}", key.sql_name)).collect();
        let mut keys = Vec::new();
        for &row in self.rows {
            let values: Result<Vec<_>> =
                self.plan.key().map(|(column, _)| self.literal(column, row)).collect();
            keys.push(format!("({})", values?.join(", ")));
        }
        Ok(Some(format!(
            "SELECT FROM {table} AS there WHERE ({names}) IN ({keys}) \
             ORDER BY {order} FOR NO KEY UPDATE",
            table = self.plan.sql_table,
            names = names.join(", "),
            keys = keys.join(", "),
        )))
    }

    /// The primary key of the rows that are there, where another key finds them.
    fn primary_key(&self) -> Option<String> {
        let names = &self.plan.conflict.as_ref()?.primary_key;
        let is_key = |name: &String| self.plan.key().any(|(_, key)| key.sql_name == *name);
        if names.is_empty() || (names.iter().all(is_key) && names.len() == self.plan.key().count())
        {
            return None;
        }
        let order = |name: &String| {
            let column = self.main_columns().find(|(_, column)| column.sql_name == *name);
            let collate = column.map_or("", |(position, column)| {
                match self.targets.get(position).and_then(Option::as_ref) {
                    Some(target) if target.is_bytewise => " COLLATE \"C\"",
                    None if column.kind == Kind::Text => "::text COLLATE \"C\"",
                    _ => "",
                }
            });
            format!("there.{name}{collate}")
        };
        Some(names.iter().map(order).collect::<Vec<_>>().join(", "))
    }

    /// Locks the rows in the order of their keys without a look at what they get, where the key is
    /// one column whose values are its own: that is a join less.
    fn locked_by_key(&mut self) -> Result<Option<String>> {
        let keys: Vec<_> = self.plan.key().collect();
        let ([(column, key)], rows) = (keys.as_slice(), self.sent()) else { return Ok(None) };
        let Some(target) = self.targets[*column].as_ref() else { return Ok(None) };
        let array = self.array(*column, &rows)?;
        let collate = if target.is_bytewise { " COLLATE \"C\"" } else { "" };
        Ok(Some(format!(
            "SELECT FROM {table} AS there WHERE there.{key} = ANY ({array}::{own_type}[]) \
             ORDER BY there.{key}{collate} FOR NO KEY UPDATE",
            table = self.plan.sql_table,
            key = key.sql_name,
            own_type = target.own_type,
        )))
    }

    fn row_columns(&self) -> String {
        let mut names: Vec<_> = self.values.iter().map(|c| format!("fastbulk_{c}")).collect();
        names.extend(self.masks.iter().map(|c| format!("fastbulk_given_{c}")));
        names.extend(self.generated.iter().map(|c| format!("fastbulk_generated_{c}")));
        if self.numbers {
            names.push("fastbulk_row".to_owned());
        }
        names.join(", ")
    }

    /// The rows. The first part of the union has none: it gives the key its column's collation,
    /// unless the order of the rows is known here.
    fn select(&mut self) -> Result<String> {
        let (mut like, mut expressions) = (Vec::new(), Vec::new());
        let (mut arrays, mut names) = (Vec::new(), Vec::new());
        let rows = self.sent();
        for column in self.values.clone() {
            let series = &self.slice.columns[column];
            let main = self.plan.column(column);
            like.push(if main.role == Role::Key { main.sql_name.as_str() } else { "NULL" });
            expressions.push(self.typed(column, series));
            names.push(format!("c{column}"));
            arrays.push(self.array(column, &rows)?);
        }
        for &column in &self.masks {
            like.push("NULL");
            expressions.push(format!("g{column}"));
            names.push(format!("g{column}"));
            let mut array = "E'".to_owned();
            write_given(&self.slice.columns[column], rows.iter().copied(), &mut array);
            arrays.push(array + "'::bool[]");
        }
        for &column in &self.generated {
            like.push("NULL");
            let target = self.targets[column].as_ref();
            let default = target.and_then(|target| target.default.clone());
            expressions.push(default.unwrap_or_else(|| "NULL".to_owned()));
        }
        if self.numbers {
            like.push("NULL");
            expressions.push("n".to_owned());
            names.push("n".to_owned());
            let numbers: Vec<_> = rows.iter().map(usize::to_string).collect();
            arrays.push(format!("'{{{}}}'::int4[]", numbers.join(",")));
        }
        let rows = format!(
            "SELECT {} FROM unnest({}) AS given ({})",
            expressions.join(", "),
            arrays.join(", "),
            names.join(", "),
        );
        if !self.numbers {
            return Ok(rows);
        }
        let (like, table) = (like.join(", "), &self.plan.sql_table);
        Ok(format!("SELECT {like} FROM {table} WHERE false UNION ALL {rows}"))
    }

    /// The rows in the order in which they are sent: generated values are made in that of the
    /// input.
    fn sent(&self) -> Vec<usize> {
        let mut rows = self.rows.to_vec();
        if !self.generated.is_empty() {
            rows.sort_unstable();
        }
        rows
    }

    /// The values of a column: a parameter, or a literal.
    fn array(&mut self, column: usize, rows: &[usize]) -> Result<String> {
        let series = &self.slice.columns[column];
        let type_ = element_type(series);
        if matches!(self.form, Form::Parameters | Form::Prepared)
            && let Some(array) = binary_array(series, type_, rows)
        {
            self.arrays.push(array);
            let parameter = format!("${}::{type_}[]", self.arrays.len());
            let is_hidden = self.form == Form::Prepared;
            return Ok(if is_hidden { format!("(SELECT {parameter})") } else { parameter });
        }
        let mut array = "E'".to_owned();
        write_array(series, rows.iter().copied(), &mut array).map_err(|row| (row, column))?;
        let _ = write!(array, "'::{type_}[]");
        Ok(array)
    }

    /// A value of an array in the type with which it stands in statements.
    fn typed(&self, column: usize, series: &Series) -> String {
        let mut value = format!("c{column}");
        let main = self.plan.column(column);
        let own = self.targets.get(column).and_then(Option::as_ref);
        if element_type(series) == "text"
            && let Some(target) = own
            && (!is_cast(main) || main.placeholder[1].is_empty() || self.takes_own_type(column))
        {
            let _ = write!(value, "::{}", target.own_type);
        }
        if self.takes_own_type(column) && element_type(series) == "text" {
            return value;
        }
        main.value_sql(&value)
    }

    /// What a statement returns, with the number of each row; or how many these are, and which ones
    /// if they are not all.
    fn numbered(&self, rows: &str, statement: &str, with_returning: bool) -> String {
        if with_returning && !self.plan.returning.is_empty() {
            let returning = self.plan.returning.join(", ");
            return format!("WITH {rows} {statement} RETURNING {returning}, {NUMBER}");
        }
        format!(
            "WITH {rows}, written AS ({statement} RETURNING {NUMBER}) \
             SELECT count(*), CASE WHEN count(*) < {} \
             THEN coalesce(string_agg(fastbulk_row::text, ','), '') END FROM written",
            self.rows.len()
        )
    }
}

/// Whether nothing but a cast stands around the column's parameter.
fn is_cast(column: &Column) -> bool {
    match column.placeholder.as_slice() {
        [before, after] => before.is_empty() && (after.is_empty() || after.starts_with("::")),
        _ => false,
    }
}

/// Whether that is a cast, and not the bare parameter.
fn is_cast_to_type(column: &Column) -> bool {
    is_cast(column) && column.placeholder.get(1).is_some_and(|after| !after.is_empty())
}

fn cell(column: usize) -> String {
    format!("fastbulk_rows.fastbulk_{column}")
}
