#!/bin/sh
# Starts a node that runs replicas: ./node.sh HEAD:6379
set -eu
. "$(dirname "$0")/ray.env"
exec ray start --block --address "$1" --node-name "$(hostname)" --num-cpus 0 --disable-usage-stats \
  --object-store-memory 80000000
