# PostgreSQL from Debian, for a restart under people.
#
#   rolling-restart.sh CACHE
set -euo pipefail
cd "$(dirname "$0")"
. ../packages.sh

ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
