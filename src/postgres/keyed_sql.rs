//! The text of statements that find rows by their keys: update, upsert and delete.
//!
//! Rows travel as arrays, in a query that all statements call `fastbulk_rows`, with the types and
//! collations of the key's columns: what is equal, and what comes first, is the server's to say.
//! Or one row stands in the text itself, which needs nothing of the catalog.
//!
//! `given` writes the given rows and what they lock, `there` what is said of the rows that are there,
//! `new` of those that are not.

mod given;
mod new;
mod there;

use std::collections::BTreeSet;
use std::fmt::Write;

use pyo3::{FromPyObject, Py};

use self::given::{cell, is_cast_to_type};
use super::text::element_type;
use crate::plan::{Absent, Conflict, Duplicates, Plan, Role, Verb};
use crate::slice::Slice;
use crate::values::Values;

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

/// Rows up to which their values in the text are planned sooner than arrays are.
const FEW: usize = 5;

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
        let sets = self.sets()?;
        let mut condition = self.expected_row()?;
        if let Some(conflict) = &self.plan.conflict
            && conflict.only_changed
        {
            let _ = write!(condition, " AND ({})", self.changes()?);
        }
        let rows = if lock { self.locked("NO KEY UPDATE")? } else { self.rows_sql()? };
        let table = &self.plan.sql_table;
        let update = format!("UPDATE {table} SET {sets} FROM fastbulk_rows WHERE {condition}");
        let sql = self.numbered(&rows, &update, with_returning);
        Ok((sql, self.arrays))
    }

    /// The same of rows in order: gives nothing but how many it updated.
    pub fn update_all(mut self) -> Result<Statement> {
        self.numbers = false;
        let sets = self.sets()?;
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
                    let landed = match keys.as_slice() {
                        [key] => key.clone(),
                        keys => format!("concat_ws(E'\\x01', {})", keys.join(", ")),
                    };
                    let _ = write!(sql, " RETURNING {landed}, {table}.xmax = 0");
                    if !returning.is_empty() {
                        let _ = write!(sql, ", {returning}");
                    }
                }
                Ok(sql)
            }
            (Verb::Update, _) => {
                let sets = self.sets()?;
                let condition = self.expected_row()?;
                let mut sql = format!("UPDATE {table} SET {sets} WHERE {condition}");
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

    /// An update or upsert of rows without a look at the catalog, and whether it has arrays; None
    /// if one statement can't say what each of them becomes.
    ///
    /// An upsert gives what the plan returns and whether the row is new, row by row; or a letter for
    /// each. Where a row is lost on the way the statement fails, because there is no setting `lost`:
    /// the savepoint around it is gone when its answer comes. An upsert fails with a key that stands
    /// twice, too.
    pub fn few(mut self, lost: &str) -> Result<Option<(Statement, bool)>> {
        self.numbers = false;
        let count = self.rows.len();
        if self.plan.conflict.is_none() && count <= FEW {
            return Ok(Some(((self.updates(lost)?, Vec::new()), false)));
        }
        if self.form == Form::Parameters {
            self.form = Form::Prepared;
        }
        let is_known = self.is_known();
        let has_arrays = is_known && count > FEW;
        let Some(write) = (match &self.plan.conflict {
            Some(conflict) if self.changes_all(conflict) => {
                self.insert_all(conflict, has_arrays)?
            }
            None if is_known && self.is_one_statement() => Some(self.lock_and_update()?),
            _ => None,
        }) else {
            return Ok(None);
        };
        let (rows, statement, is_new) = write;
        let plan = self.plan;
        // The text does not change with the number of rows: it may be prepared.
        let all = match self.arrays.first() {
            Some(_) => "array_length($1, 1)".to_owned(),
            None => count.to_string(),
        };
        let lost = unless_all(&all, lost);
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
        Ok(Some(((sql, self.arrays), has_arrays)))
    }

    /// An UPDATE per row, one after the other as they are counted: that is the order of the keys, in
    /// which they are locked.
    fn updates(&self, lost: &str) -> Result<String> {
        let (mut updates, mut written) = (Vec::new(), Vec::new());
        for (i, row) in self.rows.iter().enumerate() {
            let update = Self::new(self.plan, self.slice, &[], std::slice::from_ref(row)).row()?;
            updates.push(format!("written_{i} AS ({update} RETURNING 1)"));
            written.push(format!("SELECT FROM written_{i}"));
        }
        Ok(format!(
            "WITH {updates} SELECT '', {lost} FROM ({written}) AS written",
            updates = updates.join(", "),
            lost = unless_all(&self.rows.len().to_string(), lost),
            written = written.join(" UNION ALL "),
        ))
    }

    /// `INSERT INTO t (a) ... ON CONFLICT ...`, with what stands before it and whether a row is new;
    /// None if the rows give different columns.
    fn insert_all(&mut self, conflict: &Conflict, has_arrays: bool) -> Result<Option<Parts>> {
        let Some((names, source)) =
            (if has_arrays { self.new_rows()? } else { self.literal_rows()? })
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
        let sets = self.sets()?;
        let condition = self.expected_row()?;
        let rows = self.locked("NO KEY UPDATE")?;
        let table = &self.plan.sql_table;
        let update = format!("UPDATE {table} SET {sets} FROM fastbulk_rows WHERE {condition}");
        Ok((format!("{rows}, "), update, "false".to_owned()))
    }

    /// Whether the rows' values have their types, and their keys their order, without the catalog: they
    /// need not stand in the text.
    fn is_known(&self) -> bool {
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
}

/// What fails a statement that has written fewer rows: there is no setting `lost`.
fn unless_all(rows: &str, lost: &str) -> String {
    format!("CASE WHEN count(*) < {rows} THEN current_setting('{lost}') END")
}
