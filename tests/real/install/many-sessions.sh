# PostgreSQL from Debian, for many people who open terminals.
#
#   many-sessions.sh CACHE
set -euo pipefail
cd "$(dirname "$0")"
. ../packages.sh

ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
