//! What a statement says of new rows, and of those that they meet.

use std::fmt::Write;

use pyo3::Py;

use super::{Form, Meeting, Result, Share, Writer};
use crate::plan::{Absent, Column, Conflict, Expression, Piece, Role};

impl<'a> Writer<'a> {
    /// Column -> its value in a new row; what is not there has the database's own default.
    pub(super) fn new_row(&mut self) -> Result<Vec<(String, String)>> {
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
    pub(super) fn main_columns(&self) -> impl Iterator<Item = (usize, &'a Column)> + use<'a> {
        let columns = self.plan.columns.iter().map(Py::get).enumerate();
        columns.filter(|(_, column)| matches!(column.role, Role::Key | Role::Value | Role::Input))
    }

    /// What the mapping has a new row get where it leaves a column out.
    pub(super) fn default(&mut self, column: usize) -> Result<Option<String>> {
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
    pub(super) fn generated(&mut self, column: usize) -> Option<String> {
        let target = self.targets.get(column)?.as_ref()?;
        if !target.is_counted {
            return None;
        }
        self.generated.insert(column);
        Some(format!("fastbulk_rows.fastbulk_generated_{column}"))
    }

    pub(super) fn on_conflict(&mut self, conflict: &Conflict, meeting: Meeting) -> Result<String> {
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

    pub(super) fn conflict_sets(&mut self) -> Result<String> {
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

    pub(super) fn conflict_condition(&self, conflict: &Conflict) -> Result<Option<String>> {
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
    pub(super) fn over_excluded(&self, expression: &Expression) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Sql(text) => text.clone(),
            Piece::Given(column) => format!("excluded.{}", self.plan.column(*column).sql_name),
        };
        expression.iter().map(piece).collect()
    }

    /// The value of a column that is the same in all rows.
    pub(super) fn constant(&self, column: usize) -> Result<Option<String>> {
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
}
