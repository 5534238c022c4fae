# PostgreSQL from Debian, for the messages of other systems at the rate of a large fleet.
#
#   webhooks.sh CACHE
set -euo pipefail
cd "$(dirname "$0")"
. ../packages.sh

ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need initdb postgresql
