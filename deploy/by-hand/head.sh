#!/bin/sh
# Starts the head of the Ray cluster, which runs no replica. PORT: where the others find it.
set -eu
. "$(dirname "$0")/ray.env"
exec ray start --head --block --port "${PORT:-6379}" --node-name "$(hostname)" --num-cpus 0 --include-dashboard false \
  --disable-usage-stats --object-store-memory 80000000 --resources '{"modelyard-server": 1}'
