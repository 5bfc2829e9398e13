//! What a connection is opened with.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{ClientIdentity, Conn, DriverError, Error, Opts, OptsBuilder, SslOpts};
use pyo3::FromPyObject;

/// The parameters of the drivers that we honour, with their defaults filled in by Python.
#[derive(FromPyObject)]
pub struct Settings {
    host: String,
    port: u16,
    /// The path of a Unix socket, which is used instead of host and port.
    socket: Option<String>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    connect_timeout: Option<u64>,
    tls: Tls,
    /// Statements that every connection begins with, in their order.
    setup: Vec<String>,
}

/// How the connection is encrypted, and whom it trusts.
#[derive(FromPyObject)]
struct Tls {
    /// `disable`, `prefer` or `require`; what is verified stands below.
    mode: String,
    /// The file of the authorities; without one no certificate is verified.
    authorities: Option<String>,
    verify_name: bool,
    /// The client's certificate and key.
    certificate: Option<String>,
    key: Option<String>,
}

impl Settings {
    /// Connects and runs the setup.
    pub async fn connect(&self) -> Result<Conn, Error> {
        let Some(seconds) = self.connect_timeout else {
            return self.open().await;
        };
        match tokio::time::timeout(Duration::from_secs(seconds), self.open()).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    async fn open(&self) -> Result<Conn, Error> {
        let mut conn = match (self.tls.mode.as_str(), self.opened(true).await) {
            ("prefer", Err(Error::Driver(DriverError::NoClientSslFlagFromServer))) => {
                self.opened(false).await?
            }
            (_, result) => result?,
        };
        for sql in &self.setup {
            conn.query_drop(sql.as_str()).await?;
        }
        Ok(conn)
    }

    async fn opened(&self, tls: bool) -> Result<Conn, Error> {
        Conn::new(self.options(tls && self.tls.mode != "disable")).await
    }

    fn options(&self, tls: bool) -> Opts {
        OptsBuilder::default()
            .ip_or_hostname(self.host.as_str())
            .tcp_port(self.port)
            .socket(self.socket.clone())
            .prefer_socket(false)
            .user(self.user.clone())
            .pass(self.password.clone())
            .db_name(self.database.clone())
            // As every driver is asked to.
            .client_found_rows(true)
            // Not asked for: only pools need it.
            .wait_timeout(Some(28_800))
            .ssl_opts(tls.then(|| self.tls.options()))
            .into()
    }
}

impl Tls {
    fn options(&self) -> SslOpts {
        let identity = self.certificate.clone().zip(self.key.clone()).map(|(certificate, key)| {
            ClientIdentity::new(PathBuf::from(certificate).into(), PathBuf::from(key).into())
        });
        let options = SslOpts::default().with_client_identity(identity);
        match &self.authorities {
            Some(file) => options
                .with_root_certs(vec![PathBuf::from(file).into()])
                .with_disable_built_in_roots(true)
                .with_danger_skip_domain_validation(!self.verify_name),
            None => options
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        }
    }
}
