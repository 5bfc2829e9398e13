//! A slice as a table that SQL can read: `INSERT INTO t (a) SELECT c0 FROM sqlite_fastbulk_rows`.
//!
//! SQLite asks for each value when it builds the row, which costs a third less than binding the
//! values of 200 rows at a time: a bind takes and gives the connection's mutex.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use pyo3::PyErr;
use rusqlite::ffi;

use super::bind::Handle;
use super::encode::Encoded;
use super::error::Result;
use crate::gate::Gate;
use crate::values::{Cell, Series};

/// The name under which a slice is read. SQLite lets nobody make a table or view whose name begins
/// like that, so none stands before it.
pub const TABLE: &str = "sqlite_fastbulk_rows";

/// Rows between two looks at the clock.
const ROWS_PER_LOOK: usize = 1024;

/// What the virtual table reads from.
struct Feed<'d> {
    declaration: CString,
    series: &'d [Series],
    encoded: &'d [Encoded<'d>],
    rows: Range<usize>,
    /// Positions among these rows stand for the rows here, if they are not in their own order.
    order: Option<&'d [usize]>,
    handle: Handle<'d>,
    /// The rowid after each inserted row, where they are wanted.
    rowids: Option<Vec<i64>>,
    /// The rowid that is told after a row which was not inserted.
    none: Option<i64>,
    gate: Gate,
    interrupt: Option<PyErr>,
}

/// The table, for as long as this lives. Statements that read it must be dropped before.
pub struct Module<'d> {
    /// Made by `new` and freed by `drop`; SQLite has the same pointer, so no `Box` may claim it.
    feed: NonNull<Feed<'d>>,
}

impl<'d> Module<'d> {
    pub fn new(
        handle: Handle<'d>,
        series: &'d [Series],
        encoded: &'d [Encoded<'d>],
    ) -> Result<Self> {
        let columns: Vec<_> = (0..series.len()).map(|column| format!("c{column}")).collect();
        let declaration = CString::new(format!("CREATE TABLE x({})", columns.join(", ")));
        let feed = Box::new(Feed {
            declaration: declaration.unwrap_or_default(),
            series,
            encoded,
            rows: 0..0,
            order: None,
            handle,
            rowids: None,
            none: None,
            gate: Gate::new(),
            interrupt: None,
        });
        let module = Self { feed: NonNull::from(Box::leak(feed)) };
        let context = module.feed.as_ptr().cast::<c_void>();
        // SAFETY: the handle is open (see `Handle::new`); MODULE is static; the feed lives until
        // `drop`, which takes the module away first.
        let code = unsafe {
            ffi::sqlite3_create_module_v2(
                handle.raw(),
                NAME.as_ptr(),
                &raw const MODULE,
                context,
                None,
            )
        };
        if code == ffi::SQLITE_OK { Ok(module) } else { Err(handle.failure(code, TABLE)) }
    }

    fn feed(&mut self) -> &mut Feed<'d> {
        // SAFETY: alive until `drop`; SQLite looks at it only while a statement runs, and
        // statements are run between two calls of these methods.
        unsafe { self.feed.as_mut() }
    }

    /// The rows that the next statement reads, and whether their rowids are to be kept.
    pub fn set(&mut self, rows: Range<usize>, keep_rowids: bool) {
        let feed = self.feed();
        feed.rowids = keep_rowids.then(|| Vec::with_capacity(rows.len()));
        feed.rows = rows;
    }

    /// The order in which the next statement reads rows; the rowid of one that it does not insert
    /// is `none`.
    pub fn set_order(&mut self, order: &'d [usize], none: i64) {
        self.set(0..order.len(), true);
        let feed = self.feed();
        (feed.order, feed.none) = (Some(order), Some(none));
    }

    /// The rowids that the inserted rows got, in their order.
    pub fn take_rowids(&mut self) -> Vec<i64> {
        self.feed().rowids.take().unwrap_or_default()
    }

    /// What a signal handler raised while the statement ran.
    pub fn take_interrupt(&mut self) -> Option<PyErr> {
        self.feed().interrupt.take()
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `new`; a null module takes the name away, and its table with it. Nothing
        // has the pointer after that.
        unsafe {
            ffi::sqlite3_create_module_v2(
                self.feed.as_ref().handle.raw(),
                NAME.as_ptr(),
                ptr::null(),
                ptr::null_mut(),
                None,
            );
            drop(Box::from_raw(self.feed.as_ptr()));
        }
    }
}

const NAME: &std::ffi::CStr = c"sqlite_fastbulk_rows";

/// SQLite knows these by a pointer to their first field.
#[repr(C)]
struct Table {
    base: ffi::sqlite3_vtab,
    feed: *mut Feed<'static>,
}

#[repr(C)]
struct Cursor {
    base: ffi::sqlite3_vtab_cursor,
    feed: *mut Feed<'static>,
    row: usize,
    end: usize,
}

/// Eponymous only (no `xCreate`): the table exists under its module's name.
static MODULE: ffi::sqlite3_module = ffi::sqlite3_module {
    iVersion: 0,
    xCreate: None,
    xConnect: Some(connect),
    xBestIndex: Some(best_index),
    xDisconnect: Some(disconnect),
    xDestroy: None,
    xOpen: Some(open),
    xClose: Some(close),
    xFilter: Some(filter),
    xNext: Some(next),
    xEof: Some(eof),
    xColumn: Some(column),
    xRowid: Some(rowid),
    xUpdate: None,
    xBegin: None,
    xSync: None,
    xCommit: None,
    xRollback: None,
    xFindFunction: None,
    xRename: None,
    xSavepoint: None,
    xRelease: None,
    xRollbackTo: None,
    xShadowName: None,
};

unsafe extern "C" fn connect(
    db: *mut ffi::sqlite3,
    context: *mut c_void,
    _count: c_int,
    _arguments: *const *const c_char,
    table: *mut *mut ffi::sqlite3_vtab,
    _error: *mut *mut c_char,
) -> c_int {
    let feed = context.cast::<Feed<'static>>();
    // SAFETY: `context` is the feed of a live `Module`; SQLite zeroes nothing, so `base` is given
    // zeroed, as its documentation asks.
    unsafe {
        let code = ffi::sqlite3_declare_vtab(db, (*feed).declaration.as_ptr());
        if code == ffi::SQLITE_OK {
            // No view or trigger of a stranger's database file may read it.
            ffi::sqlite3_vtab_config(db, ffi::SQLITE_VTAB_DIRECTONLY);
            *table = Box::into_raw(Box::new(Table { base: std::mem::zeroed(), feed })).cast();
        }
        code
    }
}

unsafe extern "C" fn disconnect(table: *mut ffi::sqlite3_vtab) -> c_int {
    // SAFETY: made by `connect`, and SQLite disconnects once.
    drop(unsafe { Box::from_raw(table.cast::<Table>()) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn best_index(
    _table: *mut ffi::sqlite3_vtab,
    info: *mut ffi::sqlite3_index_info,
) -> c_int {
    // SAFETY: SQLite gives a valid structure. There is one plan: all rows, in order.
    unsafe { (*info).estimatedCost = 1.0 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn open(
    table: *mut ffi::sqlite3_vtab,
    cursor: *mut *mut ffi::sqlite3_vtab_cursor,
) -> c_int {
    // SAFETY: `table` was made by `connect`.
    unsafe {
        let feed = (*table.cast::<Table>()).feed;
        let opened = Cursor { base: std::mem::zeroed(), feed, row: 0, end: 0 };
        *cursor = Box::into_raw(Box::new(opened)).cast();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn close(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: made by `open`, and SQLite closes once.
    drop(unsafe { Box::from_raw(cursor.cast::<Cursor>()) });
    ffi::SQLITE_OK
}

unsafe extern "C" fn filter(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    _plan: c_int,
    _text: *const c_char,
    _count: c_int,
    _values: *mut *mut ffi::sqlite3_value,
) -> c_int {
    // SAFETY: made by `open`; the feed outlives the statement (see `Module`).
    unsafe {
        let cursor = &mut *cursor.cast::<Cursor>();
        let rows = &(*cursor.feed).rows;
        (cursor.row, cursor.end) = (rows.start, rows.end);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn next(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    let cursor = cursor.cast::<Cursor>();
    // SAFETY: as in `filter`; no other reference to cursor or feed lives during the call.
    let (row, feed) = unsafe {
        (*cursor).row += 1;
        ((*cursor).row, &mut *(*cursor).feed)
    };
    let step = || {
        if let Some(rowids) = &mut feed.rowids {
            rowids.push(feed.handle.last_rowid());
            if let Some(none) = feed.none {
                feed.handle.forget_rowid(none);
            }
        }
        if row % ROWS_PER_LOOK == 0 {
            feed.interrupt = feed.gate.interrupted().err();
        }
        // Not SQLITE_INTERRUPT: that would end the whole transaction.
        if feed.interrupt.is_some() { ffi::SQLITE_ABORT } else { ffi::SQLITE_OK }
    };
    catch_unwind(AssertUnwindSafe(step)).unwrap_or(ffi::SQLITE_INTERNAL)
}

unsafe extern "C" fn eof(cursor: *mut ffi::sqlite3_vtab_cursor) -> c_int {
    // SAFETY: made by `open`.
    let cursor = unsafe { &*cursor.cast::<Cursor>() };
    c_int::from(cursor.row >= cursor.end)
}

unsafe extern "C" fn rowid(cursor: *mut ffi::sqlite3_vtab_cursor, row: *mut i64) -> c_int {
    // SAFETY: made by `open`; SQLite gives a place for the answer.
    unsafe { *row = (*cursor.cast::<Cursor>()).row as i64 };
    ffi::SQLITE_OK
}

unsafe extern "C" fn column(
    cursor: *mut ffi::sqlite3_vtab_cursor,
    context: *mut ffi::sqlite3_context,
    index: c_int,
) -> c_int {
    // SAFETY: made by `open`; the feed outlives the statement.
    let (cursor, feed) = unsafe {
        let cursor = &*cursor.cast::<Cursor>();
        (cursor, &*cursor.feed)
    };
    let answer = || {
        let index = index as usize;
        let row = feed.order.map_or(cursor.row, |order| order[cursor.row]);
        if !feed.series[index].is_null(row) {
            // SAFETY: the context is valid during the call; bytes are borrowed from the slice,
            // which outlives the statement.
            unsafe { give(context, &feed.encoded[index], row) };
        }
        ffi::SQLITE_OK
    };
    catch_unwind(AssertUnwindSafe(answer)).unwrap_or(ffi::SQLITE_INTERNAL)
}

/// # Safety
/// `context` is that of the running call, and `values` outlives the statement.
unsafe fn give(context: *mut ffi::sqlite3_context, values: &Encoded<'_>, row: usize) {
    // SAFETY: the caller's contract.
    unsafe {
        match values {
            Encoded::Bool(values) => {
                ffi::sqlite3_result_int64(context, i64::from(values.value(row)));
            }
            Encoded::Int(values) => ffi::sqlite3_result_int64(context, values[row]),
            Encoded::Float(values) => ffi::sqlite3_result_double(context, values[row]),
            Encoded::Text(values) => give_text(context, values.get(row)),
            Encoded::Bytes(values) => give_bytes(context, values.get(row)),
            Encoded::Fixed { width, data } => give_text(context, &data[row * width..][..*width]),
            Encoded::Dynamic(cells) => match cells.get(row) {
                Cell::Bool(value) => ffi::sqlite3_result_int64(context, i64::from(value)),
                Cell::Int(value) => ffi::sqlite3_result_int64(context, value),
                Cell::Float(value) => ffi::sqlite3_result_double(context, value),
                Cell::Text(value) => give_text(context, value.as_bytes()),
                Cell::Bytes(value) => give_bytes(context, value),
                // `encode` left none of the other shapes.
                _ => {}
            },
        }
    }
}

/// # Safety
/// As for [`give`].
unsafe fn give_text(context: *mut ffi::sqlite3_context, text: &[u8]) {
    // SAFETY: the caller's contract; SQLITE_STATIC says that the text outlives the statement.
    unsafe {
        ffi::sqlite3_result_text64(
            context,
            text.as_ptr().cast(),
            text.len() as u64,
            ffi::SQLITE_STATIC(),
            ffi::SQLITE_UTF8 as u8,
        );
    }
}

/// # Safety
/// As for [`give`].
unsafe fn give_bytes(context: *mut ffi::sqlite3_context, bytes: &[u8]) {
    // SAFETY: as in `give_text`.
    unsafe {
        ffi::sqlite3_result_blob64(
            context,
            bytes.as_ptr().cast(),
            bytes.len() as u64,
            ffi::SQLITE_STATIC(),
        );
    }
}
