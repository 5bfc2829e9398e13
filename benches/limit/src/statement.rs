//! A prepared multi-row INSERT whose text binds are borrowed: SQLite copies each value once, into
//! its page, and not before.

use std::ffi::c_int;

use rusqlite::{Connection, Error, Result, ffi};

use crate::rows::Cell;

pub struct Statement<'a> {
    raw: *mut ffi::sqlite3_stmt,
    connection: &'a Connection,
}

impl<'a> Statement<'a> {
    pub fn prepare(
        connection: &'a Connection,
        table: &str,
        columns: &[String],
        rows: usize,
    ) -> Result<Self> {
        let row = format!("({})", vec!["?"; columns.len()].join(","));
        let values = vec![row; rows].join(",");
        let sql = format!("INSERT INTO {table} ({}) VALUES {values}", columns.join(","));
        let mut raw = std::ptr::null_mut();
        // SAFETY: the handle is open for 'a, and the length goes with the text.
        let code = unsafe {
            let handle = connection.handle();
            let (text, len) = (sql.as_ptr().cast(), sql.len() as c_int);
            ffi::sqlite3_prepare_v2(handle, text, len, &raw mut raw, std::ptr::null_mut())
        };
        let statement = Self { raw, connection };
        statement.expect(code, ffi::SQLITE_OK)?;
        Ok(statement)
    }

    /// Insert the rows that `cells` holds, as many as were prepared.
    pub fn run(&self, cells: &[Cell], text: &[u8]) -> Result<()> {
        for (index, cell) in (1..).zip(cells) {
            // SAFETY: `text` outlives the step below, and every bind is replaced before the next.
            let code = unsafe { self.bind(index, *cell, text) };
            self.expect(code, ffi::SQLITE_OK)?;
        }
        // SAFETY: the statement is alive until drop.
        let (stepped, _) = unsafe { (ffi::sqlite3_step(self.raw), ffi::sqlite3_reset(self.raw)) };
        self.expect(stepped, ffi::SQLITE_DONE)
    }

    unsafe fn bind(&self, index: c_int, cell: Cell, text: &[u8]) -> c_int {
        unsafe {
            match cell {
                Cell::Null => ffi::sqlite3_bind_null(self.raw, index),
                Cell::Integer(value) => ffi::sqlite3_bind_int64(self.raw, index, value),
                Cell::Real(value) => ffi::sqlite3_bind_double(self.raw, index, value),
                Cell::Text { start, len } => {
                    let bytes = &text[start as usize..][..len as usize];
                    let (start, len) = (bytes.as_ptr().cast(), len as c_int);
                    ffi::sqlite3_bind_text(self.raw, index, start, len, ffi::SQLITE_STATIC())
                }
            }
        }
    }

    fn expect(&self, code: c_int, wanted: c_int) -> Result<()> {
        if code == wanted {
            return Ok(());
        }
        // SAFETY: the connection is open, and SQLite's message is a valid C string.
        let message = unsafe {
            let message = ffi::sqlite3_errmsg(self.connection.handle());
            std::ffi::CStr::from_ptr(message).to_string_lossy().into_owned()
        };
        Err(Error::SqliteFailure(ffi::Error::new(code), Some(message)))
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        // SAFETY: finalizing is due exactly once, and NULL is allowed.
        unsafe { ffi::sqlite3_finalize(self.raw) };
    }
}
