#!/bin/sh
# The quickstart's input does what its header says: a tenth of a second of it, on 2 ranks, drawn.  (The other inputs: test_inputs.py.)
#   tests/test_quickstart.sh BUILD
set -eu
build=$1
[ -f .cache/VID_20191220_170832.mp4 ] || { echo "no film: run tools/movie"; exit 77; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mpirun -n 2 "$build/chiasm" simulate inputs/quickstart.yaml --set 'run.duration=0.1 s' --out "$work/result.h5"
"${CHIASM_PYTHON:-python3}" tools/plot.py "$work/result.h5" "$work/result.png"
"${CHIASM_PYTHON:-python3}" - "$work/result.h5" <<'PYTHON'
import sys
import h5py

with h5py.File(sys.argv[1], "r") as file:
    cells = {name: file["cells"][name]["x_deg"].size for name in file["spikes"]}
    maps = {name: data.shape for name, data in file["maps"].items()}
    spikes = {name: group["node_ids"].size for name, group in file["spikes"].items()}
print(cells, maps, spikes)
assert sum(cells.values()) == 14628 and len(cells) == 2
assert set(maps.values()) == {(5, 1, 144, 256)} and set(maps) == {"stimulus", "opl", "bipolar", "ganglion_0", "ganglion_1"}
assert len(spikes) == 2 and min(spikes.values()) > 1000
PYTHON
