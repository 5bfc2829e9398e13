//! The one place where running native code looks back at Python: Ctrl-C and the clock.

use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// How long a native loop may run before it looks for a signal.
const PATIENCE: Duration = Duration::from_millis(100);

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
        Python::attach(|py| py.check_signals())
    }
}
