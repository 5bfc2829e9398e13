//! A connection of our own: opened, used, cancelled and closed.

use std::collections::HashMap;
use std::pin::{Pin, pin};

use bytes::Bytes;
use futures_util::SinkExt;
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::{CancelToken, Client, CopyInSink};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::answer::{Answers, Described};
use super::error::from_server;
use super::settings::Settings;
use super::tls;
use crate::error::{Error, Result};
use crate::own::{Own, PATIENCE, closed, runtime, watched};

/// What the server said of itself when the connection was opened, as far as values depend on it.
const PARAMETERS: [&str; 4] = ["DateStyle", "IntervalStyle", "TimeZone", "client_encoding"];

/// A connection with a runtime on the thread that calls it.
#[pyclass(frozen, module = "fastbulk._native")]
pub struct PostgresConnection {
    tls: MakeRustlsConnect,
    cancel: CancelToken,
    parameters: HashMap<String, String>,
    state: Own<State>,
}

struct State {
    runtime: Runtime,
    client: Client,
    copy: Option<Pin<Box<CopyInSink<Bytes>>>>,
    /// The columns of statements, which are asked for once.
    described: HashMap<String, Described>,
}

#[pymethods]
impl PostgresConnection {
    /// Connects, with the GIL released.
    #[new]
    fn new(py: Python<'_>, settings: Settings) -> Result<Self> {
        let config = settings.config().map_err(Error::Internal)?;
        let tls = tls::connector(&settings).map_err(Error::Internal)?;
        let runtime = runtime()?;
        let (client, connection) = py
            .detach(|| watched(&runtime, config.connect(tls.clone()), async || ()))?
            .map_err(from_server)?;
        let parameters = PARAMETERS
            .iter()
            .filter_map(|&name| Some((name.to_owned(), connection.parameter(name)?.to_owned())))
            .collect();
        // Its error is the error of the statement that waits for an answer.
        runtime.spawn(async move { connection.await.unwrap_or_default() });
        let cancel = client.cancel_token();
        let state = State { runtime, client, copy: None, described: HashMap::new() };
        Ok(Self { tls, cancel, parameters, state: Own::new(state) })
    }

    /// What the server said of itself.
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.state
            .peek(|state| state.is_none_or(|state| state.client.is_closed()))
            .unwrap_or_default()
    }

    /// Runs statements that are one text. `columns` is a statement that is not run, and whose
    /// columns are of the types that the text's rows have; its question adds no round trip.
    #[pyo3(signature = (sql, columns=None))]
    fn execute(&self, py: Python<'_>, sql: &str, columns: Option<&str>) -> Result<Answers> {
        self.wait(py, async |state| {
            let described = match columns {
                Some(columns) => state.described.get(columns).cloned(),
                None => Some(Described::default()),
            };
            let (Some(columns), None) = (columns, &described) else {
                let messages = state.client.simple_query(sql).await?;
                return Ok(Answers::new(described.unwrap_or_default(), messages));
            };
            // Both are sent before either is answered.
            let (described, messages) =
                tokio::join!(state.client.prepare(columns), state.client.simple_query(sql));
            // Where the question fails the statement does, perhaps because of the question.
            let described = Described::of(&described?);
            state.described.insert(columns.to_owned(), described.clone());
            Ok(Answers::new(described, messages?))
        })
    }

    /// Begins a COPY; `copy_send`, and `copy_end` or `copy_abort` must follow.
    fn copy_begin(&self, py: Python<'_>, sql: &str) -> Result<()> {
        self.wait(py, async |state| {
            *state.copy = Some(Box::pin(state.client.copy_in(sql).await?));
            Ok(())
        })
    }

    fn copy_send(&self, py: Python<'_>, piece: &[u8]) -> Result<()> {
        let piece = Bytes::copy_from_slice(piece);
        self.wait(py, async |state| match state.copy {
            Some(copy) => copy.send(piece).await,
            None => Ok(()),
        })
    }

    /// Ends the COPY; gives the number of rows.
    fn copy_end(&self, py: Python<'_>) -> Result<u64> {
        self.wait(py, async |state| match state.copy.take() {
            Some(mut copy) => copy.as_mut().finish().await,
            None => Ok(0),
        })
    }

    /// Ends the COPY, which fails. A server that is still at work on its rows is not waited for.
    fn copy_abort(&self, py: Python<'_>) -> Result<()> {
        self.wait(py, async |state| {
            *state.copy = None;
            let mut ended = pin!(state.client.simple_query(""));
            if let Ok(ended) = timeout(PATIENCE, &mut ended).await {
                return ended.map(drop);
            }
            self.cancel_statement().await;
            ended.await.map(drop)
        })
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

impl PostgresConnection {
    /// Runs `work` to its end, with the GIL released. After Ctrl-C the server ends the statement,
    /// and what the signal's handler raised is the error.
    fn wait<T: Send>(
        &self,
        py: Python<'_>,
        work: impl AsyncFnOnce(&mut Work<'_>) -> Result<T, tokio_postgres::Error> + Send,
    ) -> Result<T> {
        let mut guard = self.state.lock()?;
        let state = guard.as_mut().ok_or_else(closed)?;
        py.detach(|| {
            let State { runtime, client, copy, described } = state;
            let mut work_on = Work { client, copy, described };
            watched(runtime, work(&mut work_on), async || self.cancel_statement().await)
        })?
        .map_err(|error| from_server(error).into())
    }

    async fn cancel_statement(&self) {
        // A request that gets lost leaves the statement to its natural end.
        self.cancel.cancel_query(self.tls.clone()).await.unwrap_or_default();
    }
}

/// What the statements of a connection need of its state.
struct Work<'a> {
    client: &'a Client,
    copy: &'a mut Option<Pin<Box<CopyInSink<Bytes>>>>,
    described: &'a mut HashMap<String, Described>,
}

impl State {
    /// Takes leave of the server.
    fn close(self) {
        let Self { runtime, client, copy, .. } = self;
        drop(copy);
        drop(client);
        runtime.block_on(tokio::task::yield_now());
        runtime.shutdown_background();
    }
}
