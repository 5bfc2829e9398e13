//! LOAD DATA LOCAL of rows in memory. No file is ever read.

use std::io;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::mpsc::{Receiver, Sender};

use super::fields::Fields;
use super::text::Result;
use crate::plan::Plan;

/// Bytes in a packet: the server is at work from the first one on.
const PIECE: usize = 64 << 10;

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

/// Makes the lines of rows, and sends them piece by piece for as long as somebody takes them.
pub fn send(fields: &Fields<'_>, rows: usize, pieces: &Sender<Bytes>) -> Result {
    let mut lines = Vec::with_capacity(PIECE + PIECE / 4);
    for row in 0..rows {
        write_line(fields, row, &mut lines)?;
        if lines.len() >= PIECE || row + 1 == rows {
            if pieces.blocking_send(Bytes::copy_from_slice(&lines)).is_err() {
                break;
            }
            lines.clear();
        }
    }
    Ok(())
}

fn write_line(fields: &Fields<'_>, row: usize, out: &mut Vec<u8>) -> Result {
    for (position, (_, field)) in fields.iter().enumerate() {
        if position > 0 {
            out.push(b'\t');
        }
        field.write_line(row, out)?;
    }
    out.push(b'\n');
    Ok(())
}

/// The pieces as the file that the server asks for.
pub fn file(pieces: Option<Receiver<Bytes>>) -> BoxStream<'static, io::Result<Bytes>> {
    let next = async |mut pieces: Receiver<Bytes>| Some((Ok(pieces.recv().await?), pieces));
    stream::iter(pieces).flat_map(move |pieces| stream::unfold(pieces, next)).boxed()
}
