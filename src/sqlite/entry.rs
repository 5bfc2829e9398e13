//! The way to the session's own `sqlite3*`: a SQL function on every connection of Python's
//! `sqlite3` module.
//!
//! `sqlite3_auto_extension`, looked up in the very library that `_sqlite3` is linked with, has our
//! [`init`] called for each new connection, which registers `fastbulk_run(id)` there. When a
//! driver runs `SELECT fastbulk_run(?)`, the call happens on the driver's thread, with the GIL
//! released, SQLite's mutex held and the handle certainly open.
//!
//! Another SQLite library in the process (apsw has its own) must never become the one that we
//! call: its api table is refused unless it comes from the probe that [`install`] was told of.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use rusqlite::ffi;

use super::bind::Handle;
use super::error::{Failure, Reason};
use super::job;
use crate::error::{Error, Result};
use crate::input::source::Source;
#[cfg(unix)]
use crate::loaded;
use crate::output::Outcome;
use crate::plan::Plan;
use crate::slice::Slice;

type Init = unsafe extern "C" fn(
    *mut ffi::sqlite3,
    *mut *mut c_char,
    *const ffi::sqlite3_api_routines,
) -> c_int;
type AutoExtension = unsafe extern "C" fn(Option<Init>) -> c_int;

/// The address of the api table of the one library that we serve; 0 before the probe.
static API: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// A throwaway connection is being opened on this thread, to learn the library's api table.
    static PROBING: Cell<bool> = const { Cell::new(false) };
}

/// Registers `init` with the SQLite library that the shared object at `path` is linked with; with
/// no path, with what the process itself exports. False where the symbol can't be found.
#[pyfunction]
pub fn sqlite_install(path: Option<&str>) -> bool {
    open(path).is_some_and(|library| {
        // SAFETY: the symbol has this signature since SQLite 3.3.8. The library is never
        // unloaded: Python does not unload extension modules, and `library` is leaked.
        unsafe {
            let Ok(symbol) = library.get::<AutoExtension>(b"sqlite3_auto_extension\0") else {
                return false;
            };
            let registered = symbol(Some(init)) == ffi::SQLITE_OK;
            std::mem::forget(library);
            registered
        }
    })
}

/// The library's handle, or the process's own.
#[cfg(unix)]
fn open(path: Option<&str>) -> Option<libloading::Library> {
    match path {
        Some(path) => loaded::library(path),
        None => Some(libloading::os::unix::Library::this().into()),
    }
}

/// On Windows `sqlite3.dll` stands beside `_sqlite3.pyd` and is loaded under its name.
#[cfg(windows)]
fn open(_path: Option<&str>) -> Option<libloading::Library> {
    libloading::os::windows::Library::open_already_loaded("sqlite3.dll").ok().map(Into::into)
}

/// Whether connections opened on this thread from now on may teach us the api table.
#[pyfunction]
pub fn sqlite_probe(on: bool) {
    PROBING.set(on);
}

/// Whether the library is known and its connections get the function.
#[pyfunction]
pub fn sqlite_ready() -> bool {
    API.load(Ordering::Acquire) != 0
}

/// Called by SQLite for each new connection. Anything but `SQLITE_OK` would make the connection
/// fail, so it always succeeds; a connection without the function takes another road.
unsafe extern "C" fn init(
    db: *mut ffi::sqlite3,
    _error: *mut *mut c_char,
    api: *const ffi::sqlite3_api_routines,
) -> c_int {
    let _ = catch_unwind(|| {
        if known(api)
            && let Some(db) = NonNull::new(db)
        {
            // SAFETY: SQLite gives a handle that is open and used by this thread alone.
            unsafe { register(db) };
        }
    });
    ffi::SQLITE_OK
}

/// The entry point for `load_extension`: a connection opened before fastbulk was imported, or a
/// Python whose SQLite can't be found by its symbols.
///
/// # Safety
/// Called by SQLite alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sqlite3_fastbulk_init(
    db: *mut ffi::sqlite3,
    error: *mut *mut c_char,
    api: *const ffi::sqlite3_api_routines,
) -> c_int {
    let first = API.load(Ordering::Acquire) == 0;
    // SAFETY: SQLite's contract for an extension's entry point is that of `init`.
    unsafe { init(db, error, api) };
    if first && API.load(Ordering::Acquire) != 0 {
        // SAFETY: the api table was accepted, so its functions may be called; SQLite declares the
        // entry point without its parameters, and gives them.
        unsafe {
            let untyped = std::mem::transmute::<Init, unsafe extern "C" fn()>(init);
            ffi::sqlite3_auto_extension(Some(untyped));
        }
    }
    ffi::SQLITE_OK
}

/// Whether `api` is the table of the library that we serve; the probe's is taken as such.
fn known(api: *const ffi::sqlite3_api_routines) -> bool {
    if PROBING.get() && API.load(Ordering::Acquire) == 0 && !api.is_null() {
        // SAFETY: SQLite hands its own table to the extensions of a new connection.
        if unsafe { ffi::rusqlite_extension_init2(api.cast_mut()) }.is_ok() {
            API.store(api as usize, Ordering::Release);
        }
    }
    !api.is_null() && API.load(Ordering::Acquire) == api as usize
}

/// # Safety
/// `db` is open and used by this thread alone; the api table is known.
unsafe fn register(db: NonNull<ffi::sqlite3>) {
    // DIRECTONLY: no view, trigger or index of a stranger's database file may call it.
    let flags = ffi::SQLITE_UTF8 | ffi::SQLITE_DIRECTONLY;
    // SAFETY: the name is a C string, `fastbulk_run` has the signature of a scalar function, and
    // there is no user data to free.
    unsafe {
        ffi::sqlite3_create_function_v2(
            db.as_ptr(),
            c"fastbulk_run".as_ptr(),
            1,
            flags,
            ptr::null_mut::<c_void>(),
            Some(fastbulk_run),
            None,
            None,
            None,
        );
    }
}

/// `fastbulk_run(id)`: runs that job on the connection which asks, and gives its row count.
unsafe extern "C" fn fastbulk_run(
    context: *mut ffi::sqlite3_context,
    _arguments: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    let run = || {
        // SAFETY: SQLite passes one argument, as registered.
        let id = unsafe { ffi::sqlite3_value_int64(*values) };
        let job = jobs().remove(&id)?;
        // SAFETY: during the call the connection's handle is open and its mutex is ours.
        let handle = unsafe { Handle::new(NonNull::new(ffi::sqlite3_context_db_handle(context))?) };
        let result = thread::scope(|scope| {
            // Without a thread the rows are read later.
            let reading = job.ahead.as_ref().and_then(|source| {
                thread::Builder::new().spawn_scoped(scope, || read_ahead(source)).ok()
            });
            let result = job::run(handle, job.plan.get(), job.slice.get(), &job.skipped);
            // What it met, it keeps for the next slice.
            let _ = reading.map(thread::ScopedJoinHandle::join);
            result
        });
        let answer = match &result {
            Ok(outcome) => Ok(outcome.rowcount as i64),
            Err(failure) => Err(complaint(failure)),
        };
        *job.result() = Some(result);
        Some(answer)
    };
    let answer = catch_unwind(AssertUnwindSafe(run));
    // SAFETY: the context is valid during the call; SQLite copies the message. The code comes
    // after the message, which resets it to SQLITE_ERROR.
    unsafe {
        match answer {
            Ok(Some(Ok(rows))) => ffi::sqlite3_result_int64(context, rows),
            Ok(Some(Err((message, code)))) => refuse(context, &message, code),
            Ok(None) => refuse(context, c"fastbulk_run: no such job", ffi::SQLITE_MISUSE),
            Err(_) => refuse(context, c"fastbulk_run: internal error", ffi::SQLITE_INTERNAL),
        }
    }
}

/// Reads the next slice while SQLite works on this one.
fn read_ahead(source: &Py<Source>) {
    Python::try_attach(|py| source.get().read_ahead(py));
}

fn complaint(failure: &Failure) -> (CString, c_int) {
    let code = match failure.reason {
        Reason::Refused { code, .. } => code,
        Reason::Interrupted(_) => ffi::SQLITE_INTERRUPT,
        Reason::RowsLost { .. } | Reason::Duplicate { .. } => ffi::SQLITE_ABORT,
    };
    let message = failure.reason.to_string().replace('\0', "");
    (CString::new(message).unwrap_or_default(), code)
}

/// # Safety
/// `context` is that of the running function.
unsafe fn refuse(context: *mut ffi::sqlite3_context, message: &CStr, code: c_int) {
    // SAFETY: the caller's contract; -1 says that the message ends with NUL.
    unsafe {
        ffi::sqlite3_result_error(context, message.as_ptr(), -1);
        ffi::sqlite3_result_error_code(context, code);
    }
}

/// A job that waits for its `SELECT fastbulk_run(id)`, or has run.
struct Job {
    plan: Py<Plan>,
    slice: Py<Slice>,
    /// Where more rows come from, if they may be read while this job runs.
    ahead: Option<Py<Source>>,
    /// Rows that are left out, ascending.
    skipped: Vec<usize>,
    result: Mutex<Option<super::error::Result<Outcome>>>,
}

impl Job {
    fn result(&self) -> MutexGuard<'_, Option<super::error::Result<Outcome>>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static JOBS: LazyLock<Mutex<HashMap<i64, Arc<Job>>>> = LazyLock::new(Mutex::default);

fn jobs() -> MutexGuard<'static, HashMap<i64, Arc<Job>>> {
    JOBS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An id that nobody guesses: the function is callable by any SQL on the connection.
fn fresh_id() -> i64 {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    KEY.hash_one((std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))) as i64
}

/// One slice to insert, run by `SELECT fastbulk_run(id)` on the session's connection.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct SqliteJob {
    #[pyo3(get)]
    id: i64,
    job: Arc<Job>,
}

#[pymethods]
impl SqliteJob {
    #[new]
    #[pyo3(signature = (plan, slice, ahead=None, skipped=vec![]))]
    fn new(
        plan: Py<Plan>,
        slice: Py<Slice>,
        ahead: Option<Py<Source>>,
        skipped: Vec<usize>,
    ) -> Self {
        let id = fresh_id();
        let job = Arc::new(Job { plan, slice, ahead, skipped, result: Mutex::new(None) });
        jobs().insert(id, Arc::clone(&job));
        Self { id, job }
    }

    /// The outcome of a job that has run; raises what interrupted it.
    fn take(&self) -> Result<Outcome> {
        match self.job.result().take() {
            Some(Ok(outcome)) => Ok(outcome),
            Some(Err(Failure { reason: Reason::Interrupted(error), .. })) => {
                Err(Error::Python(error))
            }
            Some(Err(failure)) => Err(Error::Internal(failure.reason.to_string())),
            None => Err(PyRuntimeError::new_err("the job has not run").into()),
        }
    }

    /// Why the job failed: (reason, row of the slice or None, SQL), where reason is `refused`,
    /// `interrupted` or `rows lost`; None if it did not.
    #[getter]
    fn failure(&self) -> Option<(&'static str, Option<usize>, String)> {
        match &*self.job.result() {
            Some(Err(failure)) => {
                let reason = match failure.reason {
                    Reason::Refused { .. } => "refused",
                    Reason::Interrupted(_) => "interrupted",
                    Reason::RowsLost { .. } => "rows lost",
                    Reason::Duplicate { .. } => "duplicate",
                };
                Some((reason, failure.row, failure.sql.clone()))
            }
            _ => None,
        }
    }
}

impl Drop for SqliteJob {
    fn drop(&mut self) {
        jobs().remove(&self.id);
    }
}
