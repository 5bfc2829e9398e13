//! The given rows, as arrays or in the text, and the locks that they take.

use std::fmt::Write;

use arrow_buffer::NullBuffer;

use super::{Form, NUMBER, Result, Share, Writer};
use crate::kind::Kind;
use crate::plan::{Column, Role};
use crate::postgres::array::binary_array;
use crate::postgres::text::{element_type, write_array, write_given, write_literal};
use crate::values::{Cell, Series};

impl Writer<'_> {
    pub(super) fn share(&self, column: usize) -> Share {
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
    pub(super) fn value(&mut self, column: usize) -> Result<String> {
        if matches!(self.form, Form::Row | Form::Marks) {
            return self.literal(column, self.rows[0]);
        }
        self.values.insert(column);
        Ok(cell(column))
    }

    /// The value in the column's own type, so that no other value has to take its type.
    pub(super) fn own(&mut self, column: usize) -> Result<String> {
        let value = self.value(column)?;
        Ok(self.cast(column, &value))
    }

    pub(super) fn cast(&self, column: usize, value: &str) -> String {
        match self.targets.get(column) {
            Some(Some(target)) => format!("({value})::{}", target.own_type),
            _ => value.to_owned(),
        }
    }

    pub(super) fn mask(&mut self, column: usize) -> String {
        self.masks.insert(column);
        format!("fastbulk_rows.fastbulk_given_{column}")
    }

    pub(super) fn literal(&self, column: usize, row: usize) -> Result<String> {
        if self.form == Form::Marks {
            return Ok(self.plan.column(column).value_sql("%s"));
        }
        let mut literal = String::new();
        let series = &self.slice.columns[column];
        if let Cell::Int(value) = series.get(row)
            && i32::try_from(value).is_ok_and(|value| value > i32::MIN)
            && is_cast_to_integer(self.plan.column(column))
        {
            // Sooner planned than a cast of a cast.
            return Ok(self.plan.column(column).value_sql(&format!("({value})")));
        }
        write_literal(series.get(row), &mut literal).map_err(|()| (row, column))?;
        if self.takes_own_type(column) && element_type(series) == "text" {
            return Ok(literal);
        }
        Ok(self.plan.column(column).value_sql(&literal))
    }

    /// Whether a text becomes the column's own type and not the mapped one: keys are compared as
    /// the column compares them.
    pub(super) fn takes_own_type(&self, column: usize) -> bool {
        let column = self.plan.column(column);
        column.role == Role::Key && is_cast(column)
    }

    /// `fastbulk_rows.fastbulk_0, ...`: the key of the rows, by which they are sorted.
    pub(super) fn keys(&mut self) -> String {
        let columns: Vec<_> = self.plan.key().map(|(column, _)| column).collect();
        self.values.extend(&columns);
        let key = |column: usize| match self.targets.get(column) {
            Some(Some(target)) if target.is_bytewise => format!("{} COLLATE \"C\"", cell(column)),
            _ => cell(column),
        };
        columns.into_iter().map(key).collect::<Vec<_>>().join(", ")
    }

    /// `fastbulk_rows (...) AS MATERIALIZED (SELECT ...)`
    pub(super) fn rows_sql(&mut self) -> Result<String> {
        let columns = self.row_columns();
        Ok(format!("fastbulk_rows ({columns}) AS MATERIALIZED ({})", self.select()?))
    }

    /// `(SELECT ...) AS fastbulk_rows (...)`
    pub(super) fn named_rows(&mut self) -> Result<String> {
        Ok(format!("({}) AS fastbulk_rows ({})", self.select()?, self.row_columns()))
    }

    /// The rows whose keys are there, after they were locked in the order of their keys.
    pub(super) fn locked(&mut self, strength: &str) -> Result<String> {
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
    pub(super) fn locked_first(&mut self) -> Result<Option<String>> {
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
    pub(super) fn primary_key(&self) -> Option<String> {
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
    pub(super) fn locked_by_key(&mut self) -> Result<Option<String>> {
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

    pub(super) fn row_columns(&self) -> String {
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
    pub(super) fn select(&mut self) -> Result<String> {
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
    pub(super) fn sent(&self) -> Vec<usize> {
        let mut rows = self.rows.to_vec();
        if !self.generated.is_empty() {
            rows.sort_unstable();
        }
        rows
    }

    /// The values of a column: a parameter, or a literal.
    pub(super) fn array(&mut self, column: usize, rows: &[usize]) -> Result<String> {
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
    pub(super) fn typed(&self, column: usize, series: &Series) -> String {
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
    pub(super) fn numbered(&self, rows: &str, statement: &str, with_returning: bool) -> String {
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
pub(super) fn is_cast_to_type(column: &Column) -> bool {
    is_cast(column) && column.placeholder.get(1).is_some_and(|after| !after.is_empty())
}

/// Whether that is one to a type of integers, which are written so by a driver that writes casts.
fn is_cast_to_integer(column: &Column) -> bool {
    let casts = ["::SMALLINT", "::INTEGER", "::BIGINT"];
    is_cast(column) && column.placeholder.get(1).is_some_and(|cast| casts.contains(&cast.as_str()))
}

pub(super) fn cell(column: usize) -> String {
    format!("fastbulk_rows.fastbulk_{column}")
}
