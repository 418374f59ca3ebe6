#!/bin/sh
# Build .venv, or $VENV, from the exact lock of a profile: sh requirements/install.sh cpu|gpu. Called by `make setup`, and
# by the Dockerfile twice: with the locks alone, then with this package beside them.
set -eu
profile=$1
venv=${VENV:-.venv}
python=${PYTHON:-python3}
UV_VERSION=0.13.8

"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || {
    echo "error: $python is $("$python" -V 2>&1); the locks are for Python 3.11 or 3.12: make setup PYTHON=python3.11" >&2
    exit 1
}
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"

# uv does not read pip's configuration: hand over what concerns where packages come from
pip_setting() {
    "$venv/bin/python" -m pip config get "global.$1" 2>/dev/null || true
}
find_links=${PIP_FIND_LINKS:-$(pip_setting find-links)}
index=${PIP_INDEX_URL:-$(pip_setting index-url)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
# for CPUs alone: a CPU build of torch that lies there has the version that the GPU lock asks for
[ "$profile" != cpu ] || [ -z "$find_links" ] || export UV_FIND_LINKS="$(echo $find_links | tr ' ' ',')"

sync() {
    # --python: else uv would take an environment that the user has activated
    # vLLM, torch and transformers are 40 MB of Python source; compiled once here, every process of a run starts faster
    "$venv/bin/uv" pip sync --python "$venv/bin/python" --quiet --compile-bytecode "$@"
}
lock=requirements/$profile.lock
[ "$profile" = cpu ] || lock=requirements/$profile-$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])').lock
echo "setup: installing $lock into $venv"
# the CPU build of torch lies in pip's find-links folder, or on PyTorch's own CPU index
sync "$lock" 2>"$venv/sync.log" || { [ "$profile" = cpu ] && sync --torch-backend cpu "$lock"; } || {
    cat "$venv/sync.log" >&2
    exit 1
}
[ ! -e pyproject.toml ] || "$venv/bin/uv" pip install --python "$venv/bin/python" --quiet --no-deps --editable .
rm -f "$venv"/.installed-*
touch "$venv/.installed-$profile"
