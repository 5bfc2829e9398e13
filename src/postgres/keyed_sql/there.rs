//! What a statement says of the rows that are there.

use std::fmt::Write;

use super::{Result, Share, Writer};
use crate::kind::Kind;
use crate::plan::{Absent, Column, Expression, Piece, Role};

impl Writer<'_> {
    /// The columns that take what a row gives for them.
    pub(super) fn settable(&self) -> Vec<usize> {
        match &self.plan.conflict {
            Some(conflict) => conflict.updates.clone(),
            None => self.plan.columns_of(Role::Value).map(|(column, _)| column).collect(),
        }
    }

    /// Whether another value stands where this one would.
    pub(super) fn is_covered(&self, value: &Column, covered: &[usize]) -> bool {
        value
            .instead_of
            .is_some_and(|main| covered.contains(&main) && self.share(main) != Share::None)
    }

    /// `a = ..., b = ...`
    pub(super) fn sets(&mut self) -> Result<String> {
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
            sets.push(format!("{} = {value}", plan.column(column).sql_name));
        }
        for (column, value) in plan.columns_of(Role::Update) {
            if !self.is_covered(value, &covered)
                && let Some(own) = self.own_value(column)?
            {
                sets.push(format!("{} = {own}", value.sql_name));
            }
        }
        for (name, expression) in &plan.assignments {
            sets.push(format!("{name} = {}", self.expression(expression)?));
        }
        Ok(sets.join(", "))
    }

    /// What a column becomes where a row leaves it out.
    pub(super) fn otherwise(&mut self, column: usize) -> Result<String> {
        let stand_in =
            self.plan.columns_of(Role::Update).find(|(_, v)| v.instead_of == Some(column));
        let own = match stand_in {
            Some((stand_in, _)) => self.own_value(stand_in)?.map(|own| self.cast(column, &own)),
            None => None,
        };
        Ok(own.unwrap_or_else(|| self.there(column)))
    }

    /// What a column becomes whatever the row says; None if that is not known.
    pub(super) fn own_value(&mut self, column: usize) -> Result<Option<String>> {
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
    pub(super) fn there(&self, column: usize) -> String {
        format!("{}.{}", self.plan.sql_table, self.plan.column(column).sql_name)
    }

    /// That the row is there, as the plan wants it.
    pub(super) fn expected_row(&mut self) -> Result<String> {
        let mut sql = self.expected_key()?;
        if let Some(condition) = &self.plan.condition {
            let _ = write!(sql, " AND ({})", self.expression(condition)?);
        }
        Ok(sql)
    }

    /// That a row is there with the key and the version.
    pub(super) fn expected_key(&mut self) -> Result<String> {
        let mut sql = self.same_key()?;
        for (column, _) in self.plan.columns_of(Role::Match) {
            let _ = write!(sql, " AND {} = {}", self.there(column), self.value(column)?);
        }
        Ok(sql)
    }

    pub(super) fn same_key(&mut self) -> Result<String> {
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
    pub(super) fn equal(&self, column: usize, one: &str, other: &str) -> String {
        let series = &self.slice.columns.get(column);
        let has_null = series.is_some_and(|s| self.rows.iter().any(|&row| s.is_null(row)));
        format!("{one} {} {other}", if has_null { "IS NOT DISTINCT FROM" } else { "=" })
    }

    /// That the row would be another afterwards.
    pub(super) fn changes(&mut self) -> Result<String> {
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

    pub(super) fn differs(&self, column: usize, value: &str) -> String {
        // The type json knows no equality.
        let cast = if self.plan.column(column).kind == Kind::Json { "::jsonb" } else { "" };
        format!("{}{cast} IS DISTINCT FROM ({value}){cast}", self.there(column))
    }

    pub(super) fn expression(&mut self, expression: &Expression) -> Result<String> {
        let mut sql = String::new();
        for piece in expression {
            match piece {
                Piece::Sql(text) => sql.push_str(text),
                Piece::Given(column) => sql.push_str(&self.value(*column)?),
            }
        }
        Ok(sql)
    }
}
