#!/bin/bash
# The life of a platform, from a topology file to nothing: 1,000 vnodes in two
# vnetworks joined by gateway vnodes. Run through `make demo`.
set -euo pipefail
myriad=$1
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
export MYRIAD_RUN_DIR=$work/run MYRIAD_STATE_DIR=$work/state
trap '"$myriad" down --all >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

show() { printf '\n$ myriad'; printf ' %q' "$@"; printf '\n'; "$myriad" "$@"; }

show doctor
show plan "$here/quickstart.yaml"
show up "$here/quickstart.yaml"
show status
show ps 'peer[1-3],gw*'
show check
show exec --gather '*' -- uname -sr
show exec 'peer1' -- ip -brief address
show exec 'peer1' -- ping -c 3 -i 0.2 peer998
show down --all
show verify-clean
