#!/bin/sh
# Makes the Python environment that regenerates the recorded references and runs the PyTorch side of the
# benchmarks. Nothing that stmc builds or that its tests run needs it: the references are committed.
#
# usage: make_venv.sh [DIRECTORY]        (default: build/parity-venv in the source tree)
#
# A second call with the same directory installs only what is missing. STMC_PARITY_PIP_ARGS is passed to
# `pip install`, e.g. to name an index that has the smaller CPU-only build of PyTorch.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
venv=${1:-$root/build/parity-venv}
python=${PYTHON:-python3}
packages="torch numpy scipy safetensors anndata h5py"

if [ ! -x "$venv/bin/python" ]; then
    echo "make_venv: creating $venv"
    "$python" -m venv "$venv" || {
        echo "make_venv: '$python -m venv' failed; on Debian and Ubuntu install python3-venv" >&2
        exit 1
    }
fi

missing=""
for package in $packages; do
    "$venv/bin/python" -c "import sys, importlib.util as u; sys.exit(u.find_spec('$package') is None)" ||
        missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "make_venv: installing$missing"
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check ${STMC_PARITY_PIP_ARGS:-} $missing
fi

"$venv/bin/python" - $packages <<'PY'
import sys
from importlib.metadata import version
print("make_venv: " + ", ".join(f"{name} {version(name)}" for name in sys.argv[1:]) + f", {sys.executable}")
PY
