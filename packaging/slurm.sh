#!/bin/bash
#SBATCH --job-name=myriad
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#
# A platform on the machines of a Slurm job: the coordinator on the first, an
# agent on each, for as long as the job runs.
#
#   sbatch packaging/slurm.sh platform.yaml myriad exec '*' -- hostname
#
# What stands behind the file is run when all is up; without it, the platform
# stays until the job ends. Jobs must be allowed to become root by sudo, and
# machines to reach each other at 4222/tcp and 4789/udp. MYRIAD says where the
# binary is; it must be at the same place on all of them.
set -euo pipefail

file=${1:?usage: sbatch $0 PLATFORM.yaml [COMMAND…]}
shift
myriad=$(command -v "${MYRIAD:-myriad}")
here=$(hostname)
export MYRIAD_RUN_DIR=/run/myriad-$SLURM_JOB_ID MYRIAD_STATE_DIR=/tmp/myriad-$SLURM_JOB_ID
dirs="--run-dir $MYRIAD_RUN_DIR --state-dir $MYRIAD_STATE_DIR"
others=$((SLURM_JOB_NUM_NODES - 1))

m() { sudo "$myriad" "$@" $dirs; }

clean_up() {
	set +e
	m down --all
	[ "$others" -gt 0 ] && srun --overlap --nodes="$others" --ntasks-per-node=1 --exclude="$here" \
		sudo sh -c "'$myriad' agent --stop $dirs; '$myriad' down --all $dirs; rm -rf $MYRIAD_RUN_DIR $MYRIAD_STATE_DIR"
	[ -n "${serve:-}" ] && sudo kill "$serve"
	wait
	sudo rm -rf "$MYRIAD_RUN_DIR" "$MYRIAD_STATE_DIR"
}
trap clean_up EXIT
trap 'exit 143' TERM INT

m init --host "$here" >/dev/null
sudo "$myriad" serve --listen :4222 $dirs &
until [ "$(m pnodes 2>/dev/null | grep -c ' up ')" -ge 1 ]; do sleep 0.2; done
serve=$(sudo cat "$MYRIAD_RUN_DIR/daemon.pid")

# The token goes by standard input, which srun gives to every task.
if [ "$others" -gt 0 ]; then
	m token | srun --overlap --nodes="$others" --ntasks-per-node=1 --exclude="$here" \
		sudo "$myriad" agent --background --join "tls://$here:4222" --token-file - $dirs
fi
until [ "$(m pnodes | grep -c ' up ')" -eq "$SLURM_JOB_NUM_NODES" ]; do sleep 0.5; done

m up "$file"
if [ $# -gt 0 ]; then
	export PATH="$(dirname "$myriad"):$PATH"
	sudo --preserve-env=MYRIAD_RUN_DIR,MYRIAD_STATE_DIR,PATH "$@"
else
	wait
fi
