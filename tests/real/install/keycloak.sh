# Keycloak from Maven Central, into CACHE/keycloak, built for its file database. Runs on Java 17 or newer.
#
#   keycloak.sh CACHE
set -euo pipefail
version=26.7.3
sha256=27a6535553c3cdcd083872ba40629efafb3475e3b758e0c6f691395561dd0f1f
cache=$1
. "$(dirname "$0")/../packages.sh"

need java openjdk-17-jre-headless
installed=$cache/keycloak-$version
if [ ! -d "$installed" ]; then
  need mvn maven
  need unzip unzip
  work=$(mktemp -d "$cache/keycloak.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  mvn --quiet --batch-mode -Dmaven.repo.local="$cache/maven" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact=org.keycloak:keycloak-quarkus-dist:$version:zip -DoutputDirectory="$work"
  archive=$work/keycloak-quarkus-dist-$version.zip
  sha256sum --quiet --check <<<"$sha256  $archive"
  unzip -q "$archive" -d "$work"
  "$work/keycloak-$version/bin/kc.sh" build --db=dev-file >"$work/build.log" 2>&1 || { cat "$work/build.log" >&2; exit 1; }
  mv "$work/keycloak-$version" "$installed" # whole or not at all
fi
ln -sfn "keycloak-$version" "$cache/keycloak"
