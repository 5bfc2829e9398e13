//! MariaDB's bulk protocol: one prepared INSERT, and the parameters of many rows in a packet.

use mysql_async::Value;

use super::fields::Fields;
use super::text::Result;
use crate::plan::Plan;

/// `INSERT INTO t (a, b) VALUES (?,?)`
pub fn statement(plan: &Plan, fields: &Fields<'_>) -> String {
    let names: Vec<_> =
        fields.iter().map(|(position, _)| plan.column(*position).sql_name.as_str()).collect();
    let marks = vec!["?"; fields.len()].join(",");
    format!("INSERT INTO {} ({}) VALUES ({marks})", plan.sql_table, names.join(", "))
}

/// The parameters of the rows from `start` on that make a packet of that many bytes, and the row
/// after them.
pub fn rows(
    fields: &Fields<'_>,
    start: usize,
    end: usize,
    bytes: usize,
) -> Result<(Vec<Vec<Value>>, usize)> {
    let mut rows = Vec::new();
    let mut room = bytes;
    for row in start..end {
        let values =
            fields.iter().map(|(_, field)| field.parameter(row)).collect::<Result<Vec<_>>>()?;
        let size = values.iter().map(|value| value.bin_len() as usize + 1).sum::<usize>();
        if size > room && !rows.is_empty() {
            return Ok((rows, row));
        }
        room = room.saturating_sub(size);
        rows.push(values);
    }
    Ok((rows, end))
}
