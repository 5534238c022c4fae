# step-ca and its command line from the Go module proxy, into CACHE/step-ca; and an EST client that is not ours.
#
#   step-ca.sh CACHE
set -euo pipefail
ca=v0.30.2
cli=v0.30.6
est=v1.0.6
cache=$1
. "$(dirname "$0")/../packages.sh"

need openssl openssl
need gcc gcc
need curl curl
need jq jq
need wg wireguard-tools
command -v go >/dev/null || { echo "Go is missing: step-ca needs 1.25 or newer" >&2; exit 1; }
installed=$cache/step-ca-$ca-$cli-$est
if [ ! -d "$installed" ]; then
  work=$(mktemp -d "$cache/step-ca.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  export GOBIN=$work
  # Without cgo, or it asks for the library of smart card readers.
  CGO_ENABLED=0 go install "github.com/smallstep/certificates/cmd/step-ca@$ca"
  CGO_ENABLED=0 go install "github.com/smallstep/cli/cmd/step@$cli"
  # Built in its own folder, because `go install` also wants the list of its versions, which the proxy may not have.
  source=$(cd "$work" && go mod download -json "github.com/globalsign/est@$est" | jq -r .Dir)
  (cd "$source" && go build -o "$work/estclient" ./cmd/estclient)
  chmod 755 "$work"
  mv "$work" "$installed" # whole or not at all
fi
ln -sfn "$(basename "$installed")" "$cache/step-ca"
