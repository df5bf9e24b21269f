#!/bin/sh
# Starts a node that runs replicas: ./node.sh HEAD:6379
set -eu
: "${1:?wants the address of the head: $0 HEAD:6379}"
. "$(dirname "$0")/ray.env"
exec ray start --block --address "$1" --node-name "$(hostname)" --num-cpus 0 --disable-usage-stats \
  --object-store-memory 80000000
