//! A prepared statement whose parameters borrow the slice.
//!
//! The safe binding of a text copies it (`SQLITE_TRANSIENT`), which costs a fifth of a load.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use rusqlite::ffi;

use super::error::{Failure, Reason, Result};
use crate::values::Cell;

/// The session's database handle, while one of our SQL functions runs on it.
///
/// Only `entry` makes one, inside the call of the function: SQLite holds the connection's mutex
/// then, so nothing else uses or closes the handle.
#[derive(Clone, Copy)]
pub struct Handle<'h> {
    raw: NonNull<ffi::sqlite3>,
    call: PhantomData<&'h ()>,
}

impl Handle<'_> {
    /// # Safety
    /// `raw` is open and used by this thread alone for as long as `'h`.
    pub unsafe fn new(raw: NonNull<ffi::sqlite3>) -> Self {
        Self { raw, call: PhantomData }
    }

    pub(super) fn raw(self) -> *mut ffi::sqlite3 {
        self.raw.as_ptr()
    }

    /// The rowid of the last row that an INSERT on this connection made.
    pub fn last_rowid(self) -> i64 {
        // SAFETY: the handle is open (see `new`).
        unsafe { ffi::sqlite3_last_insert_rowid(self.raw.as_ptr()) }
    }

    pub fn failure(self, code: c_int, sql: &str) -> Failure {
        // SAFETY: the handle is open (see `new`); the message is copied before the next call.
        let (code, message) = unsafe {
            let extended = ffi::sqlite3_extended_errcode(self.raw.as_ptr());
            let message = CStr::from_ptr(ffi::sqlite3_errmsg(self.raw.as_ptr()));
            let code = if extended & 0xff == code & 0xff { extended } else { code };
            (code, message.to_string_lossy().into_owned())
        };
        Failure { reason: Reason::Refused { code, message }, sql: sql.to_owned(), row: None }
    }

    /// Runs a statement that has no parameters and returns no rows.
    pub fn execute(self, sql: &str) -> Result<()> {
        Statement::prepare(self, sql)?.run()
    }

    /// The answer of a pragma that is on or off.
    pub fn is_on(self, pragma: &str) -> Result<bool> {
        let mut statement = Statement::prepare(self, pragma)?;
        Ok(statement.step()? && statement.column(0) == Cell::Int(1))
    }

    /// Has `last_rowid` tell of later inserts only.
    pub fn forget_rowid(self, rowid: i64) {
        // SAFETY: the handle is open (see `new`).
        unsafe { ffi::sqlite3_set_last_insert_rowid(self.raw.as_ptr(), rowid) };
    }

    /// Whether a transaction is open: without one, a savepoint is the transaction.
    pub fn in_transaction(self) -> bool {
        // SAFETY: the handle is open (see `new`).
        unsafe { ffi::sqlite3_get_autocommit(self.raw.as_ptr()) == 0 }
    }

    /// Rows that the last statement inserted, changed or deleted, without those of triggers.
    pub fn changes(self) -> u64 {
        // SAFETY: the handle is open (see `new`).
        unsafe { ffi::sqlite3_changes(self.raw.as_ptr()) as u64 }
    }

    /// The declared type and the collation of a table's column; None if there is no such column.
    pub fn column_type(
        self,
        schema: Option<&str>,
        table: &str,
        column: &str,
    ) -> Option<(String, String)> {
        let schema = schema.map(CString::new).transpose().ok()?;
        let (table, column) = (CString::new(table).ok()?, CString::new(column).ok()?);
        let (mut declared, mut collation) = (ptr::null::<c_char>(), ptr::null::<c_char>());
        // SAFETY: the handle is open (see `new`), the names are C strings, and null pointers stand
        // for answers that are not wanted. Both answers are copied before the next call.
        unsafe {
            let code = ffi::sqlite3_table_column_metadata(
                self.raw.as_ptr(),
                schema.as_ref().map_or(ptr::null(), |schema| schema.as_ptr()),
                table.as_ptr(),
                column.as_ptr(),
                &raw mut declared,
                &raw mut collation,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            );
            (code == ffi::SQLITE_OK).then(|| (text(declared), text(collation)))
        }
    }

    /// How many parameters a statement may have.
    pub fn parameter_limit(self) -> usize {
        // SAFETY: the handle is open (see `new`); -1 only asks.
        let limit =
            unsafe { ffi::sqlite3_limit(self.raw.as_ptr(), ffi::SQLITE_LIMIT_VARIABLE_NUMBER, -1) };
        usize::try_from(limit).unwrap_or(1)
    }

    /// How many bytes a statement's text may have.
    pub fn text_limit(self) -> usize {
        // SAFETY: as in `parameter_limit`.
        let limit =
            unsafe { ffi::sqlite3_limit(self.raw.as_ptr(), ffi::SQLITE_LIMIT_SQL_LENGTH, -1) };
        usize::try_from(limit).unwrap_or(1)
    }
}

/// A prepared statement; `'d` is how long its bound texts live.
pub struct Statement<'h, 'd> {
    handle: Handle<'h>,
    raw: NonNull<ffi::sqlite3_stmt>,
    sql: String,
    data: PhantomData<&'d [u8]>,
}

impl<'h, 'd> Statement<'h, 'd> {
    pub fn prepare(handle: Handle<'h>, sql: &str) -> Result<Self> {
        let mut raw = ptr::null_mut();
        let length = c_int::try_from(sql.len()).unwrap_or(c_int::MAX);
        // SAFETY: the handle is open (see `Handle::new`), the text is `length` bytes long.
        let code = unsafe {
            ffi::sqlite3_prepare_v2(
                handle.raw.as_ptr(),
                sql.as_ptr().cast(),
                length,
                &raw mut raw,
                ptr::null_mut(),
            )
        };
        match NonNull::new(raw) {
            Some(raw) if code == ffi::SQLITE_OK => {
                Ok(Self { handle, raw, sql: sql.to_owned(), data: PhantomData })
            }
            _ => Err(handle.failure(code, sql)),
        }
    }

    pub fn bind_null(&mut self, index: c_int) -> Result<()> {
        // SAFETY: `raw` is a live statement (finalized only by `drop`).
        self.check(unsafe { ffi::sqlite3_bind_null(self.raw.as_ptr(), index) })
    }

    pub fn bind_int(&mut self, index: c_int, value: i64) -> Result<()> {
        // SAFETY: `raw` is a live statement.
        self.check(unsafe { ffi::sqlite3_bind_int64(self.raw.as_ptr(), index, value) })
    }

    pub fn bind_float(&mut self, index: c_int, value: f64) -> Result<()> {
        // SAFETY: `raw` is a live statement.
        self.check(unsafe { ffi::sqlite3_bind_double(self.raw.as_ptr(), index, value) })
    }

    /// Binds UTF-8 without a copy.
    pub fn bind_text(&mut self, index: c_int, value: &'d [u8]) -> Result<()> {
        // SAFETY: `raw` is a live statement; `value` outlives it (`'d`), as SQLITE_STATIC asks.
        self.check(unsafe {
            ffi::sqlite3_bind_text64(
                self.raw.as_ptr(),
                index,
                value.as_ptr().cast(),
                value.len() as u64,
                ffi::SQLITE_STATIC(),
                ffi::SQLITE_UTF8 as u8,
            )
        })
    }

    /// Binds bytes without a copy.
    pub fn bind_bytes(&mut self, index: c_int, value: &'d [u8]) -> Result<()> {
        // SAFETY: as in `bind_text`. An empty slice's pointer is not null, so it is no NULL.
        self.check(unsafe {
            ffi::sqlite3_bind_blob64(
                self.raw.as_ptr(),
                index,
                value.as_ptr().cast(),
                value.len() as u64,
                ffi::SQLITE_STATIC(),
            )
        })
    }

    /// Whether there is a row.
    pub fn step(&mut self) -> Result<bool> {
        // SAFETY: `raw` is a live statement, and all that is bound to it lives (`'d`).
        match unsafe { ffi::sqlite3_step(self.raw.as_ptr()) } {
            ffi::SQLITE_ROW => Ok(true),
            ffi::SQLITE_DONE => Ok(false),
            code => Err(self.handle.failure(code, &self.sql)),
        }
    }

    pub fn reset(&mut self) {
        // SAFETY: `raw` is a live statement. The code repeats the last step's, which was seen.
        unsafe { ffi::sqlite3_reset(self.raw.as_ptr()) };
    }

    pub fn run(&mut self) -> Result<()> {
        while self.step()? {}
        self.reset();
        Ok(())
    }

    /// How many columns a row has.
    pub fn column_count(&self) -> usize {
        // SAFETY: `raw` is a live statement.
        usize::try_from(unsafe { ffi::sqlite3_column_count(self.raw.as_ptr()) }).unwrap_or(0)
    }

    /// A column of the row that the last step gave.
    pub fn column(&self, index: c_int) -> Cell<'_> {
        let raw = self.raw.as_ptr();
        // SAFETY: `raw` is a live statement on a row. Pointers are read before the next call on
        // the statement: the cell borrows `self`, and `step` and `reset` take it mutably. Text is
        // asked for before its length, as SQLite's documentation says.
        unsafe {
            match ffi::sqlite3_column_type(raw, index) {
                ffi::SQLITE_INTEGER => Cell::Int(ffi::sqlite3_column_int64(raw, index)),
                ffi::SQLITE_FLOAT => Cell::Float(ffi::sqlite3_column_double(raw, index)),
                ffi::SQLITE_TEXT => {
                    let text = ffi::sqlite3_column_text(raw, index);
                    let bytes = bytes(text, ffi::sqlite3_column_bytes(raw, index));
                    std::str::from_utf8(bytes).map_or(Cell::Bytes(bytes), Cell::Text)
                }
                ffi::SQLITE_BLOB => {
                    let blob = ffi::sqlite3_column_blob(raw, index).cast();
                    Cell::Bytes(bytes(blob, ffi::sqlite3_column_bytes(raw, index)))
                }
                _ => Cell::Null,
            }
        }
    }

    fn check(&self, code: c_int) -> Result<()> {
        if code == ffi::SQLITE_OK { Ok(()) } else { Err(self.handle.failure(code, &self.sql)) }
    }
}

/// # Safety
/// `text` is null or a C string.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's contract.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// `data` is null or points to `length` bytes that live as long as `'a`.
unsafe fn bytes<'a>(data: *const u8, length: c_int) -> &'a [u8] {
    match usize::try_from(length) {
        // SAFETY: the caller's contract.
        Ok(length) if !data.is_null() => unsafe { std::slice::from_raw_parts(data, length) },
        _ => &[],
    }
}

impl Drop for Statement<'_, '_> {
    fn drop(&mut self) {
        // SAFETY: `raw` is live, and nothing uses it afterwards.
        unsafe { ffi::sqlite3_finalize(self.raw.as_ptr()) };
    }
}
