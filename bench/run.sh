#!/bin/bash
# Prints the tables of README. Run through `make bench`; SCALE=full includes
# the 40,000-vnode rows, which take about half an hour.
set -euo pipefail
myriad=$1
scale=${SCALE:-small}
"$myriad" bench deploy --vnodes 1000
[ "$scale" = small ] || "$myriad" bench deploy --vnodes 10000
[ "$scale" = small ] || "$myriad" bench deploy --vnodes 40000
"$myriad" bench exec --vnodes "$([ "$scale" = small ] && echo 1000 || echo 40000)"
"$myriad" bench fabric --vnodes "$([ "$scale" = small ] && echo 501 || echo 1000)"
"$myriad" bench plan
command -v mn >/dev/null && "$myriad" bench mininet --vnodes "$([ "$scale" = small ] && echo 100 || echo 1000)"
