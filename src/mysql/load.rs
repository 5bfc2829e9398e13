//! LOAD DATA LOCAL of rows in memory. No file is ever read.

use super::fields::Fields;
use super::text::Result;
use crate::plan::Plan;

/// `LOAD DATA ... INTO TABLE t ... (a, @c1) SET b = UNHEX(@c1)`. What ends and escapes a field is
/// said in hexadecimal, which every `sql_mode` reads alike.
pub fn statement(plan: &Plan, fields: &Fields<'_>) -> String {
    let name = |position: usize| plan.column(position).sql_name.as_str();
    let columns: Vec<_> = fields
        .iter()
        .map(|(position, field)| {
            if field.is_hex() {
                format!("@fastbulk_{position}")
            } else {
                name(*position).to_owned()
            }
        })
        .collect();
    let hex: Vec<_> = fields
        .iter()
        .filter(|(_, field)| field.is_hex())
        .map(|(position, _)| format!("{} = UNHEX(@fastbulk_{position})", name(*position)))
        .collect();
    let set = if hex.is_empty() { String::new() } else { format!(" SET {}", hex.join(", ")) };
    format!(
        "LOAD DATA LOCAL INFILE 'fastbulk' INTO TABLE {} CHARACTER SET utf8mb4 \
         FIELDS TERMINATED BY 0x09 ESCAPED BY 0x5c LINES TERMINATED BY 0x0a ({}){set}",
        plan.sql_table,
        columns.join(", "),
    )
}

/// The lines of rows.
pub fn lines(fields: &Fields<'_>, rows: usize, bytes: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes + bytes / 4);
    for row in 0..rows {
        for (position, (_, field)) in fields.iter().enumerate() {
            if position > 0 {
                out.push(b'\t');
            }
            field.write_line(row, &mut out)?;
        }
        out.push(b'\n');
    }
    Ok(out)
}
