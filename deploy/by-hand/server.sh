#!/bin/sh
# Starts a server on a machine of the Ray cluster, such as the head: ./server.sh HEAD:6379 postgresql://... [ADDRESS]
# ADDRESS: this machine's, at which other servers reach it, where there are several.
set -eu
: "${2:?wants the address of the head and the database: $0 HEAD:6379 postgresql://... [ADDRESS]}"
export MODELYARD_DATABASE_URL="$2"
export RAY_AUTH_MODE=token
exec modelyard serve --engine ray --ray-address "$1" --host 0.0.0.0 --server-host "${3:-127.0.0.1}"
