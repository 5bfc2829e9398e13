//! The limit of a load into SQLite: a plain loop over ready native rows, nothing of Python.
//!
//! `limit --version` prints SQLite's version.
//! With the arguments of `USAGE` it reads the rows, inserts them CALLS times in each transaction,
//! and prints the seconds of it all. MUTEX is `none`, which suits a connection of one thread, or
//! `full`, which is how Python opens its connections.

mod rows;
mod statement;

use std::error::Error;
use std::time::Instant;

use rows::Rows;
use rusqlite::{Connection, OpenFlags};
use statement::Statement;

const USAGE: &str =
    "limit DATABASE MUTEX PRAGMA TABLE ROWS_FILE ROWS_PER_STATEMENT CALLS TRANSACTIONS";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag] if flag == "--version" => println!("{}", rusqlite::version()),
        [database, mutex, pragma, table, file, group, calls, transactions] => {
            let connection = open(database, mutex)?;
            connection.execute_batch(pragma)?;
            let load = Load {
                table,
                rows: Rows::read(file)?,
                rows_per_statement: group.parse()?,
                calls: calls.parse()?,
                transactions: transactions.parse()?,
            };
            println!("{}", load.seconds(&connection)?);
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn open(database: &str, mutex: &str) -> rusqlite::Result<Connection> {
    let mutex = match mutex {
        "full" => OpenFlags::SQLITE_OPEN_FULL_MUTEX,
        _ => OpenFlags::SQLITE_OPEN_NO_MUTEX,
    };
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE | mutex)
}

struct Load<'a> {
    table: &'a str,
    rows: Rows,
    rows_per_statement: usize,
    calls: usize,
    transactions: usize,
}

impl Load<'_> {
    fn seconds(&self, connection: &Connection) -> rusqlite::Result<f64> {
        let width = self.rows.columns.len();
        let groups = self.rows.cells.chunks_exact(self.rows_per_statement * width);
        let rest = groups.remainder();
        let start = Instant::now();
        let group_statement = self.prepare(connection, self.rows_per_statement)?;
        let rest_statement = self.prepare(connection, (rest.len() / width).max(1))?;
        for _ in 0..self.transactions {
            connection.execute_batch("BEGIN")?;
            for _ in 0..self.calls {
                for cells in groups.clone() {
                    group_statement.run(cells, &self.rows.text)?;
                }
                if !rest.is_empty() {
                    rest_statement.run(rest, &self.rows.text)?;
                }
            }
            connection.execute_batch("COMMIT")?;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    fn prepare<'a>(
        &self,
        connection: &'a Connection,
        rows: usize,
    ) -> rusqlite::Result<Statement<'a>> {
        Statement::prepare(connection, self.table, &self.rows.columns, rows)
    }
}
