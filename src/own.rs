//! What connections of our own have in common: a runtime, a process, and Ctrl-C.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Runtime};

use crate::error::{Error, Result};
use crate::gate::Gate;

/// How often a statement that runs looks for Ctrl-C.
pub const PATIENCE: Duration = Duration::from_millis(100);

/// The state of a connection until it is closed. It belongs to the process that opened it: a fork
/// would share the socket.
pub struct Own<T> {
    process: u32,
    state: Mutex<Option<T>>,
}

impl<T> Own<T> {
    pub fn new(state: T) -> Self {
        Self { process: std::process::id(), state: Mutex::new(Some(state)) }
    }

    /// What `ask` says of the state; `None` where it is in use by another thread.
    pub fn peek<R>(&self, ask: impl FnOnce(Option<&T>) -> R) -> Option<R> {
        self.state.try_lock().ok().map(|state| ask(state.as_ref()))
    }

    /// The state, for the work of one thread.
    pub fn lock(&self) -> Result<MutexGuard<'_, Option<T>>> {
        self.check_process()?;
        match self.state.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(PyRuntimeError::new_err("the connection is in use by another thread").into())
            }
        }
    }

    fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("the connection belongs to the process that was forked").into())
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        // In a fork even closing the files would reach into the parent's event queue.
        if self.process != std::process::id()
            && let Ok(state) = self.state.get_mut()
        {
            std::mem::forget(state.take());
        }
    }
}

/// The error of a call on a connection that has no state any more.
pub fn closed() -> Error {
    PyRuntimeError::new_err("the connection is closed").into()
}

pub fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::Internal(format!("no runtime for a connection: {error}")))
}

/// Runs `work`, which a Ctrl-C ends by way of `stop`; the handler's exception is the outer error.
pub fn watched<T>(
    runtime: &Runtime,
    work: impl Future<Output = T>,
    stop: impl AsyncFn(),
) -> PyResult<T> {
    let mut gate = Gate::new();
    runtime.block_on(async {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                result = &mut work => return Ok(result),
                () = tokio::time::sleep(PATIENCE) => {
                    if let Err(raised) = gate.interrupted() {
                        stop().await;
                        work.await;
                        return Err(raised);
                    }
                }
            }
        }
    })
}
