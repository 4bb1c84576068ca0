#!/usr/bin/env bash
# A federation on a real SuperLink and real SuperNodes over TLS, by hand, all on this machine.
#
#   examples/federation_over_tls.sh [DATA] [CLIENTS] [FOLDER]
#
# 'rectitude federate … --engine superlink' does the same in one command. On several machines, prepare with
# --host ADDRESS, copy clients/K (and tls/ca.crt) to machine K, and run each command where it belongs.
set -euo pipefail

data=${1:-adult} clients=${2:-2} folder=${3:-federation}
port=8000 run="$folder/run"
federate=(rectitude federate "$data" --method fedfact-post --clients "$clients" --against none --out "$run"
    --base-set rounds=2 --set rounds=2 --engine superlink)
export FLWR_HOME="$PWD/$folder/flower" FLWR_TELEMETRY_ENABLED=0
mkdir -p "$FLWR_HOME"

# 1. Plan, certificates, and a folder for each client.
"${federate[@]}" --prepare --overwrite
tls="$run.federation/tls"

# 2. SuperLink. Everything started below ends with this script.
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
trap 'exit 143' INT TERM
flower-superlink --host 127.0.0.1 --port "$port" --disable-runtime-dependency-installation \
    --ssl-ca-certfile "$tls/ca.crt" --ssl-certfile "$tls/server.crt" --ssl-keyfile "$tls/server.key" \
    >"$folder/superlink.log" 2>&1 &
until curl --silent --cacert "$tls/ca.crt" "https://127.0.0.1:$port/" >/dev/null; do sleep 1; done

# 3. One SuperNode a client: it trusts our authority only, and knows its own folder only.
for ((client = 0; client < clients; client++)); do
    flower-supernode --superlink "127.0.0.1:$port" --root-certificates "$tls/ca.crt" --port $((9100 + client)) \
        --node-config "folder=\"$PWD/$run.federation/clients/$client\"" >"$folder/supernode-$client.log" 2>&1 &
done

# 4. Submit the app and wait until the server has left word.
cat >"$FLWR_HOME/config.toml" <<TOML
[superlink.federation]
address = "127.0.0.1:$port"
root-certificates = "$PWD/$tls/ca.crt"
TOML
flwr run "$run.federation/app" federation
until [[ -e "$run.federation/ended.json" ]]; do sleep 1; done

# 5. Make a run folder with model and report of it.
"${federate[@]/superlink/in-process}" --resume
