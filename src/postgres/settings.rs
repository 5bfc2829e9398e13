//! What a connection is opened with.

use std::time::Duration;

use pyo3::FromPyObject;
use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, SslMode, TargetSessionAttrs};

/// The parameters of libpq that we honour, with its names and defaults filled in by Python.
#[derive(FromPyObject)]
pub struct Settings {
    /// A path for a folder of Unix sockets.
    hosts: Vec<String>,
    addresses: Vec<String>,
    ports: Vec<u16>,
    database: String,
    user: String,
    password: Option<String>,
    options: Option<String>,
    application_name: Option<String>,
    connect_timeout: Option<u64>,
    pub tls: Tls,
    channel_binding: String,
    target_session_attrs: String,
    balance: bool,
    /// Seconds; None leaves the system's own.
    keepalives_idle: Option<u64>,
    keepalives_interval: Option<u64>,
    keepalives_count: Option<u32>,
    keepalives: bool,
    tcp_user_timeout: Option<u64>,
}

/// How the connection is encrypted, and whom it trusts.
#[derive(FromPyObject)]
pub struct Tls {
    /// `disable`, `prefer` or `require`; what is verified stands below.
    mode: String,
    /// The file of the authorities; without one no certificate is verified.
    pub authorities: Option<String>,
    pub verify_name: bool,
    /// The client's certificate and key.
    pub certificate: Option<String>,
    pub key: Option<String>,
    pub only_1_3: bool,
}

impl Settings {
    /// Fails with what is wrong, in words.
    pub fn config(&self) -> Result<Config, String> {
        let mut config = Config::new();
        for host in &self.hosts {
            config.host(host);
        }
        for address in &self.addresses {
            config.hostaddr(address.parse().map_err(|_| format!("{address:?} is no address"))?);
        }
        for &port in &self.ports {
            config.port(port);
        }
        config.user(&self.user).dbname(&self.database);
        if let Some(password) = &self.password {
            config.password(password);
        }
        if let Some(options) = &self.options {
            config.options(options);
        }
        if let Some(name) = &self.application_name {
            config.application_name(name);
        }
        if let Some(seconds) = self.connect_timeout {
            config.connect_timeout(Duration::from_secs(seconds));
        }
        config.load_balance_hosts(if self.balance {
            LoadBalanceHosts::Random
        } else {
            LoadBalanceHosts::Disable
        });
        self.choices(&mut config)?;
        self.keep_alive(&mut config);
        Ok(config)
    }

    fn choices(&self, config: &mut Config) -> Result<(), String> {
        config.ssl_mode(match self.tls.mode.as_str() {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            "require" => SslMode::Require,
            other => return Err(format!("no mode of TLS is named {other:?}")),
        });
        config.channel_binding(match self.channel_binding.as_str() {
            "disable" => ChannelBinding::Disable,
            "prefer" => ChannelBinding::Prefer,
            "require" => ChannelBinding::Require,
            other => return Err(format!("channel_binding can't be {other:?}")),
        });
        config.target_session_attrs(match self.target_session_attrs.as_str() {
            "any" => TargetSessionAttrs::Any,
            "read-write" => TargetSessionAttrs::ReadWrite,
            "read-only" => TargetSessionAttrs::ReadOnly,
            other => return Err(format!("target_session_attrs can't be {other:?}")),
        });
        Ok(())
    }

    fn keep_alive(&self, config: &mut Config) {
        config.keepalives(self.keepalives);
        if let Some(seconds) = self.keepalives_idle {
            config.keepalives_idle(Duration::from_secs(seconds));
        }
        if let Some(seconds) = self.keepalives_interval {
            config.keepalives_interval(Duration::from_secs(seconds));
        }
        if let Some(count) = self.keepalives_count {
            config.keepalives_retries(count);
        }
        if let Some(milliseconds) = self.tcp_user_timeout {
            config.tcp_user_timeout(Duration::from_millis(milliseconds));
        }
    }
}
