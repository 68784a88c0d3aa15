#!/bin/bash
#OAR -n myriad
#OAR -l nodes=4,walltime=1:00:00
#
# A platform on the machines of an OAR job, such as one of Grid'5000: the
# coordinator on the first, agents put onto the others over SSH.
#
#   oarsub -S "packaging/oar.sh platform.yaml myriad exec '*' -- hostname"
#
# What stands behind the file is run when all is up; without it, the platform
# stays until the job ends. The job must be allowed to become root, here and by
# SSH on the others: on Grid'5000 with sudo-g5k, or on machines that were
# deployed ("-t deploy", then kadeploy3).
set -euo pipefail

file=${1:?usage: oarsub -S "$0 PLATFORM.yaml [COMMAND…]"}
shift
myriad=$(command -v "${MYRIAD:-myriad}")
here=$(hostname)
become=sudo
command -v sudo-g5k >/dev/null && become=sudo-g5k
others=$(sort -u "$OAR_NODEFILE" | grep -vxF "$here" || true)
list=$(mktemp)
printf '%s\n' $others >"$list"

clean_up() {
	set +e
	$become "$myriad" down --all
	[ -n "$others" ] && "$myriad" bootstrap --hosts "$list" --undo
	[ -n "${serve:-}" ] && $become kill "$serve"
	wait
	rm -f "$list"
}
trap clean_up EXIT
trap 'exit 143' TERM INT

$become "$myriad" init --host "$here" >/dev/null
$become "$myriad" serve --listen :4222 &
until [ "$($become "$myriad" pnodes 2>/dev/null | grep -c ' up ')" -ge 1 ]; do sleep 0.2; done
serve=$($become cat /run/myriad/daemon.pid)

# SSH with the user's own keys; the token goes by the environment, which is
# nobody else's.
if [ -n "$others" ]; then
	MYRIAD_TOKEN=$($become "$myriad" token) "$myriad" bootstrap --hosts "$list" --join "$here" --accept-new
fi

$become "$myriad" up "$file"
if [ $# -gt 0 ]; then
	$become "$@"
else
	wait
fi
