#!/bin/bash
# Prints the tables of README. Run through `make bench`; SCALE=full includes
# the 40,000-vnode rows, which take about half an hour. It goes on where a bar
# is not met, and fails in the end.
set -uo pipefail
myriad=$1
missed=0
trap "exit 130" INT
bench() { "$myriad" bench "$@" || missed=1; }
if [ "${SCALE:-small}" = full ]; then
	for n in 1000 10000 40000; do bench deploy --vnodes "$n"; done
	bench exec --vnodes 40000
	bench fabric --vnodes 1000
	bench pnodes --pnodes 8 --vnodes 8000
	bench pnodes --pnodes 40 --vnodes 40000 --runs 1
	bench overlay
	bench loss
	bench kills
	"$myriad" rehearse || missed=1
	hosts=1000
else
	bench deploy --vnodes 1000
	bench exec --vnodes 1000
	bench fabric --vnodes 501
	bench pnodes --pnodes 4 --vnodes 1000
	bench overlay --vnodes 100 --runs 3
	bench loss --vnodes 250
	bench kills --runs 10
	"$myriad" rehearse --pnodes 400 --vnodes 100000 || missed=1
	hosts=100
fi
bench plan
if command -v mn >/dev/null; then
	bench mininet --vnodes "$hosts"
else
	echo "mininet is not installed: nothing is measured beside it" >&2
fi
exit "$missed"
