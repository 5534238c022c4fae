# For deploy/lab/run: the base images, the genuine servers under the upstream names, and our own images.
# Needs $cache, $lab, $context, `say` and `fail`.

# ---------------------------------------------------------------- base images

base() { # SUITE IMAGE
  docker image inspect "$2" >/dev/null 2>&1 && return
  local root
  root=$(mktemp -d "$lab/base.XXXXXX")
  chmod 755 "$root"
  debootstrap --variant=minbase "$1" "$root" >"$lab/debootstrap.log" 2>&1 || { tail -5 "$lab/debootstrap.log"; fail "$1 cannot be had"; }
  # A mirror of sid may be older than its Release file allows.
  echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/lab"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  tar -C "$root" -c . | docker import --change 'CMD ["bash"]' - "$2" >/dev/null
  rm -rf "$root"
}
base bookworm debian:12.12-slim
base trixie lab/trixie
base sid debian:sid-20251020-slim
say "base images: bookworm, trixie, sid"

# ---------------------------------------------------------------- genuine servers

for name in step-ca keycloak hawkbit; do
  [ -e "$cache/$name" ] || bash "tests/real/install/$name.sh" "$cache" || fail "$name cannot be had"
done
missing=(
  "ThingsBoard: the fake of our tests stands in, behind genuine Mosquitto"
  "InfluxDB: its v2 interface stands in, before genuine VictoriaMetrics"
  "hawkBit 1.1: 0.3.0M7 stands in, with a front that has what 1.1 has beyond it"
  "hawkBit's console" "Grafana")
# IOT_LAB_PROFILE=dev takes debug builds: sooner there, and larger.
profile=${IOT_LAB_PROFILE:-release}
cargo build --quiet --locked --profile "$profile" -p iot-bridge-api -p terminal-proxy -p device --bins
# The whole workspace is named so that nothing is built twice with other features.
cargo build --quiet --workspace --locked --bin lab-thingsboard
programs=${CARGO_TARGET_DIR:-target}
mkdir -p target/images
for program in iot-bridge-api terminal-proxy iot-device; do
  strip -o "target/images/$program" "$programs/${profile/dev/debug}/$program"
done
mkdir -p "$context/programs" "$context/step-ca"
strip -o "$context/programs/lab-thingsboard" "$programs/debug/lab-thingsboard"
cp -a deploy/lab/images "$context/"
cp "$cache"/step-ca/{step,step-ca} "$context/step-ca/"
mkdir -p "$context/telegraf"
if [ ! -x "$lab/telegraf/telegraf" ]; then
  # Only the plugins that are used: the whole takes an hour.
  command -v go >/dev/null || fail "Go is missing: Telegraf is built from its module"
  source=$(cd "$lab" && go mod download -json github.com/influxdata/telegraf@v1.39.3 | jq -r .Dir)
  mkdir -p "$lab/telegraf"
  cp -a "$source" "$lab/telegraf/source" && chmod -R u+w "$lab/telegraf/source"
  plugins=inputs.cpu,inputs.mem,inputs.disk,inputs.net,inputs.system,inputs.prometheus,outputs.influxdb_v2
  plugins=$plugins,parsers.prometheus,parsers.influx,serializers.influx
  (cd "$lab/telegraf/source" && CGO_ENABLED=0 go build -mod=mod -tags "custom,$plugins" -ldflags "-s -w" -o ../telegraf.new ./cmd/telegraf)
  rm -rf "$lab/telegraf/source"
  mv "$lab/telegraf/telegraf.new" "$lab/telegraf/telegraf"
fi
cp "$lab/telegraf/telegraf" "$context/telegraf/"
for server in keycloak hawkbit; do
  [ -d "$context/$server" ] || cp -aL "$cache/$server" "$context/$server"
done

stand_in() { # TARGET IMAGE
  docker buildx build --quiet --file "$context/images/Dockerfile" --target "$1" --tag "$2" "$context" >"$lab/build-$1.log" 2>&1 ||
    { tail -20 "$lab/build-$1.log"; fail "the image $2 cannot be made"; }
}
pinned() { # PREFIX: the image of this name in the compose file
  sed -n "s|^ *image: \(&[a-z-]* \)\?\($1:[^ ]*\)$|\2|p" deploy/docker-compose.yml | head -1
}
stand_in step-ca "$(pinned smallstep/step-ca)"
stand_in postgres "$(pinned postgres)"
stand_in nginx "$(pinned nginx)"
stand_in keycloak "$(pinned quay.io/keycloak/keycloak)"
stand_in thingsboard "$(pinned thingsboard/tb-node)"
stand_in hawkbit "$(pinned hawkbit/hawkbit-update-server)"
stand_in influxdb "$(pinned influxdb)"
stand_in telegraf "$(pinned telegraf)"
for target in iot-bridge-api hub terminal-proxy device device-updater; do
  docker buildx build --quiet --build-arg BINARIES=given --file deploy/images/Dockerfile --target "$target" \
    --tag "iot-bridge/$target:0.1.0" . >"$lab/build-$target.log" 2>&1 ||
    { tail -20 "$lab/build-$target.log"; fail "our image $target cannot be made"; }
done
say "images: step-ca, Keycloak, PostgreSQL, nginx, Mosquitto; ours with programs built outside the Dockerfile"

# The whole of the Dockerfile, with its compiler, where somebody asks for it: a quarter of an hour.
if wanted --compile; then
  toolchain=$(rustc --print sysroot)
  mkdir -p "$context/rust" "$context/rust-trust" "$context/node"
  cp -aL "$toolchain"/{bin,lib} "$context/rust/"
  cp /etc/ssl/certs/ca-certificates.crt "$context/rust-trust/"
  cp -L "$(command -v node)" "$context/node/node"
  rm -rf "$context/node/npm" && cp -aL "$(npm root --global)/npm" "$context/node/npm"
  stand_in rust "$(sed -n 's/^ARG RUST=//p' deploy/images/Dockerfile)"
  stand_in node "$(sed -n 's/^ARG NODE=//p' deploy/images/Dockerfile)"
  docker buildx build --quiet --file deploy/images/Dockerfile --target iot-bridge-api --tag iot-bridge/compiled:0.1.0 . \
    >"$lab/build-compiled.log" 2>&1 || { tail -20 "$lab/build-compiled.log"; fail "the Dockerfile does not compile our programs"; }
  say "the Dockerfile compiled our programs: $(docker run --rm iot-bridge/compiled:0.1.0 --version)"
fi

size() { docker image inspect --format '{{.Size}}' "$1"; }
for target in iot-bridge-api hub terminal-proxy device device-updater; do
  from=debian:12.12-slim
  [[ $target != device* ]] || from=debian:sid-20251020-slim
  over=$((($(size "iot-bridge/$target:0.1.0") - $(size "$from")) / 1000000))
  say "image $target: $over MB over its base"
  [ "$over" -le 40 ] || [ "$profile" != release ] || fail "40 MB are promised"
done

