# hawkBit from Maven Central, into CACHE/hawkbit. The runnable server of 1.1 is not served there, nor are its
# libraries; 0.3.0M7 is the newest version whose libraries are all there, and a server is those and one class.
# Runs on Java 17. The scenario needs step-ca as well.
#
#   hawkbit.sh CACHE
set -euo pipefail
cd "$(dirname "$0")"
version=0.3.0M7
jars=fb90fe4a3c3854a71a1fb9b0cfdef4475f663f0172ad63fc643bcc0fe65d578d
cache=$1
. ../packages.sh

bash ./step-ca.sh "$cache"
need javac openjdk-17-jdk-headless
installed=$cache/hawkbit-$version
if [ ! -d "$installed" ]; then
  need mvn maven
  work=$(mktemp -d "$cache/hawkbit.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  cp hawkbit/pom.xml hawkbit/UpdateServer.java "$work"
  mvn --quiet --batch-mode --file "$work/pom.xml" -Dmaven.repo.local="$cache/maven" \
    org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$work/server/lib"
  found=$(cd "$work/server/lib" && sha256sum *.jar | sha256sum | cut -d' ' -f1)
  [ "$found" = "$jars" ] || { echo "the libraries are others than they were: $found" >&2; exit 1; }
  mkdir "$work/server/classes"
  javac -nowarn --release 11 -cp "$work/server/lib/*" -d "$work/server/classes" "$work/UpdateServer.java"
  mv "$work/server" "$installed" # whole or not at all
fi
ln -sfn "hawkbit-$version" "$cache/hawkbit"
