# For the files below `install`: installs Debian packages that are missing.
#
#   need COMMAND PACKAGE    when there is no such command
need() {
  command -v "$1" >/dev/null && return
  [ "$(id -u)" -eq 0 ] || { echo "$1 is missing, and only root can install $2" >&2; return 1; }
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
}
