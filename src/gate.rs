//! The one place where running native code looks back at Python: Ctrl-C, the clock, and others.
#![allow(unsafe_code)]

use std::time::{Duration, Instant};

use pyo3::ffi;
use pyo3::prelude::*;

/// How long a native loop may run before it looks for a signal.
const PATIENCE: Duration = Duration::from_millis(100);

/// In less time a signal is not likely to have come.
const MOMENT: Duration = Duration::from_millis(1);

/// How long rows are read before others have a turn: as long as Python itself lets a thread run.
const TURN: Duration = Duration::from_millis(5);

/// Lets others run now and then, in code that holds the GIL: other threads, and where it is given a
/// `pause`, what waits on the caller's event loop.
pub struct Breath<'a> {
    pause: Option<&'a Py<PyAny>>,
    last: Instant,
}

impl<'a> Breath<'a> {
    pub fn new(pause: Option<&'a Py<PyAny>>) -> Self {
        Self { pause, last: Instant::now() }
    }

    /// Takes one where it is due; an error is what was raised in the pause.
    pub fn take(&mut self, py: Python<'_>) -> PyResult<()> {
        if self.last.elapsed() < TURN {
            return Ok(());
        }
        match self.pause {
            Some(pause) => drop(pause.call0(py)?),
            None => py.detach(|| ()),
        }
        self.last = Instant::now();
        Ok(())
    }
}

/// Asks Python for a pending signal now and then, from code that runs without the GIL.
pub struct Gate {
    last: Instant,
}

impl Gate {
    pub fn new() -> Self {
        Self { last: Instant::now() }
    }

    /// The exception that a signal handler raised (`KeyboardInterrupt` as a rule).
    ///
    /// Takes the GIL at most once in [`PATIENCE`]; off the main thread Python runs no handlers and
    /// this is always `Ok`.
    pub fn interrupted(&mut self) -> PyResult<()> {
        if self.last.elapsed() < PATIENCE {
            return Ok(());
        }
        self.last = Instant::now();
        check_signals()
    }

    /// The same at the end of the work: what is seen here can still be undone. Later the exception
    /// would come up in the code that called the driver, which gives up the connection then.
    pub fn at_end(&self) -> PyResult<()> {
        if self.last.elapsed() < MOMENT {
            return Ok(());
        }
        check_signals()
    }
}

/// Takes the GIL itself: a driver's C code released it, of which `PyO3` knows nothing. With a call
/// of ours further up on this thread's stack (rows whose generator loads other rows),
/// `Python::attach` alone would believe that the GIL is still held.
#[allow(clippy::redundant_closure_for_method_calls)] // the method alone is not general enough
fn check_signals() -> PyResult<()> {
    // SAFETY: the interpreter runs, for a driver called us; each state is given back once.
    let state = unsafe { ffi::PyGILState_Ensure() };
    let result = Python::attach(|py| py.check_signals());
    // SAFETY: as above, on the same thread.
    unsafe { ffi::PyGILState_Release(state) };
    result
}
