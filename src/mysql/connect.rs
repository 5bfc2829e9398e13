//! A connection of our own: opened, used, cancelled and closed.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, Params};
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::channel;

use super::answer::{Answer, Taken};
use super::error::from_server;
use super::fields::{Stored, fields};
use super::settings::Settings;
use super::writer::MysqlWriter;
use super::{bulk, load};
use crate::error::{Error, Result};
use crate::input::source::Source;
use crate::own::{Own, closed, runtime, watched};
use crate::slice::Slice;

/// Pieces of LOAD DATA that wait to be sent.
const PIECES_AHEAD: usize = 4;

/// What a packet of the bulk protocol has besides its rows, with room to spare.
const OVERHEAD: usize = 1 << 10;

/// A connection with a runtime on the thread that calls it.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct MysqlConnection {
    options: Opts,
    /// The server's number of the connection.
    #[pyo3(get)]
    id: u32,
    state: Own<State>,
}

struct State {
    runtime: Runtime,
    /// None after it was lost.
    conn: Option<Conn>,
}

#[pymethods]
impl MysqlConnection {
    /// Connects, with the GIL released.
    #[new]
    fn new(py: Python<'_>, settings: Settings) -> Result<Self> {
        let runtime = runtime()?;
        let conn = py
            .detach(|| watched(&runtime, settings.connect(), async || ()))?
            .map_err(|error| from_server(&error))?;
        Ok(Self {
            options: conn.opts().clone(),
            id: conn.id(),
            state: Own::new(State { runtime, conn: Some(conn) }),
        })
    }

    #[getter]
    fn closed(&self) -> bool {
        self.state.peek(|state| state.is_none_or(|state| state.conn.is_none())).unwrap_or_default()
    }

    /// Runs a statement; see [`Answer`] for what it gives.
    fn execute(&self, py: Python<'_>, sql: &[u8]) -> Result<Answer> {
        self.wait(py, async |conn| Answer::to(conn, sql).await)
    }

    /// Sends the rows of a slice by LOAD DATA LOCAL; or says why they are sent as literals. The next
    /// slice of `ahead` is read meanwhile.
    #[pyo3(signature = (writer, slice, stored, ahead=None))]
    fn load(
        &self,
        py: Python<'_>,
        writer: &MysqlWriter,
        slice: &Slice,
        stored: Vec<Stored>,
        ahead: Option<Py<Source>>,
    ) -> Result<Taken> {
        let fields = match fields(writer.plan(), slice, &stored) {
            Ok(fields) => fields,
            Err(reason) => return Ok(Taken::Refused(reason)),
        };
        let sql = load::statement(writer.plan(), &fields);
        let (sender, receiver) = channel(PIECES_AHEAD);
        // Taken away where the server asks for no file, so that the sender sees that none is read.
        let receiver = Arc::new(Mutex::new(Some(receiver)));
        thread::scope(|scope| {
            let send = || load::send(&fields, slice.rows, &{ sender });
            let sending = thread::Builder::new().spawn_scoped(scope, send).map_err(PyErr::from)?;
            let answer = self.wait_reading(py, ahead.as_ref(), async |conn| {
                let receiver = Arc::clone(&receiver);
                conn.set_infile_handler(async move { Ok(load::file(take(&receiver))) });
                Answer::to(conn, sql.as_bytes()).await
            });
            take(&receiver);
            match (answer, sending.join()) {
                (Err(error), _) => Err(error),
                (_, Ok(Err(reason))) => Ok(Taken::Refused(reason.to_owned())),
                (Ok(answer), Ok(Ok(()))) => Ok(Taken::Answer(answer)),
                (_, Err(_)) => Err(Error::Internal("the lines of LOAD DATA".to_owned())),
            }
        })
    }

    /// The same by MariaDB's bulk protocol, in packets of at most so many bytes.
    #[pyo3(signature = (writer, slice, stored, packet, ahead=None))]
    fn bulk(
        &self,
        py: Python<'_>,
        writer: &MysqlWriter,
        slice: &Slice,
        stored: Vec<Stored>,
        packet: usize,
        ahead: Option<Py<Source>>,
    ) -> Result<Taken> {
        let fields = match fields(writer.plan(), slice, &stored) {
            Ok(fields) => fields,
            Err(reason) => return Ok(Taken::Refused(reason)),
        };
        let sql = bulk::statement(writer.plan(), &fields);
        let mut sum = Answer::default();
        let mut start = 0;
        while start < slice.rows {
            let room = packet.saturating_sub(OVERHEAD);
            let (rows, next) = match py.detach(|| bulk::rows(&fields, start, slice.rows, room)) {
                Ok(made) => made,
                Err(reason) => return Ok(Taken::Refused(reason.to_owned())),
            };
            let answer = self.wait_reading(py, ahead.as_ref(), async |conn| {
                // It is kept by the connection, and prepared once.
                let rows = rows.into_iter().map(Params::Positional);
                conn.exec_batch(sql.as_str(), rows).await?;
                Ok(Answer::last(conn))
            })?;
            sum.affected += answer.affected;
            sum.warnings = sum.warnings.saturating_add(answer.warnings);
            start = next;
        }
        Ok(Taken::Answer(sum))
    }

    /// Asks the server to end the statement that runs, from any thread.
    fn cancel(&self, py: Python<'_>) -> Result<()> {
        let runtime = runtime()?;
        py.detach(|| runtime.block_on(self.cancel_statement()));
        Ok(())
    }

    fn close(&self, py: Python<'_>) -> Result<()> {
        let state = self.state.lock()?.take();
        py.detach(|| state.map(State::close));
        Ok(())
    }
}

fn take<T>(shared: &Mutex<Option<T>>) -> Option<T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl MysqlConnection {
    /// Runs `work` to its end, with the GIL released. After Ctrl-C the server ends the statement,
    /// and what the signal's handler raised is the error.
    fn wait<T: Send>(
        &self,
        py: Python<'_>,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, mysql_async::Error> + Send,
    ) -> Result<T> {
        self.wait_reading(py, None, work)
    }

    /// The same while the next rows are read.
    fn wait_reading<T: Send>(
        &self,
        py: Python<'_>,
        ahead: Option<&Py<Source>>,
        work: impl AsyncFnOnce(&mut Conn) -> Result<T, mysql_async::Error> + Send,
    ) -> Result<T> {
        let mut guard = self.state.lock()?;
        let state = guard.as_mut().ok_or_else(closed)?;
        py.detach(|| {
            let State { runtime, conn } = state;
            let mut open = conn.take().ok_or_else(closed)?;
            let result = thread::scope(|scope| {
                // Without a thread the rows are read later.
                let reading = ahead.and_then(|source| {
                    let read = || Python::try_attach(|py| source.get().read_ahead(py));
                    thread::Builder::new().spawn_scoped(scope, read).ok()
                });
                let result =
                    watched(runtime, work(&mut open), async || self.cancel_statement().await);
                // What it met, it keeps for the next slice.
                let _ = reading.map(thread::ScopedJoinHandle::join);
                result
            });
            // What failed otherwise than by the server's word has lost the thread.
            match &result {
                Ok(Err(error)) if error.is_fatal() => runtime.block_on(async { drop(open) }),
                _ => *conn = Some(open),
            }
            result?.map_err(|error| from_server(&error).into())
        })
    }

    async fn cancel_statement(&self) {
        // A request that gets lost leaves the statement to its natural end.
        if let Ok(mut conn) = Conn::new(self.options.clone()).await {
            conn.query_drop(format!("KILL QUERY {}", self.id)).await.unwrap_or_default();
            conn.disconnect().await.unwrap_or_default();
        }
    }
}

impl State {
    /// Takes leave of the server.
    fn close(self) {
        let Self { runtime, conn } = self;
        if let Some(conn) = conn {
            runtime.block_on(conn.disconnect()).unwrap_or_default();
        }
        runtime.shutdown_background();
    }
}
