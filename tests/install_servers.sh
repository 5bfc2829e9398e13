#!/bin/bash
# Installs what tests/servers.py starts: PostgreSQL, pgbouncer and MariaDB from Debian's packages,
# MySQL into its own cache folder, and what mysqlclient is built with. Needs root for the packages;
# a second run changes nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export DEBIAN_FRONTEND=noninteractive

missing_packages() {
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || echo postgresql-15
    [ -x /usr/sbin/pgbouncer ] || echo pgbouncer
    [ -x /usr/sbin/mariadbd ] || echo mariadb-server-core
    [ -x /usr/bin/my_print_defaults ] || echo mariadb-client-core # mariadb-install-db calls it
    [ -x /usr/bin/openssl ] || echo openssl
    [ -x /usr/bin/mariadb_config ] || echo libmariadb-dev
    command -v gcc >/dev/null || echo gcc
    command -v pkg-config >/dev/null || echo pkg-config
    command -v "${PYTHON:-python3}" >/dev/null || echo python3
}

# Packages start their service when they are installed, unless this file forbids it.
forbid_services() {
    policy=/usr/sbin/policy-rc.d
    [ ! -e "$policy" ] || return 0
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
}

install_packages() {
    forbid_services
    apt-get update -q
    apt-get install -qy --no-install-recommends "$@"
    [ ! -d /run/systemd/system ] || disable_services "$@"
}

# Nor shall they start with the machine; a service that was there before is left as it is.
disable_services() {
    for service in postgresql pgbouncer; do
        [[ " $* " != *" $service"* ]] || systemctl disable -q "$service"
    done
}

# mariadb-server-core brings the program and not its account.
make_mysql_account() {
    getent passwd mysql >/dev/null ||
        useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin mysql
}

mapfile -t packages < <(missing_packages)
[ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
make_mysql_account
"${PYTHON:-python3}" "$here/servers.py" install-mysql
