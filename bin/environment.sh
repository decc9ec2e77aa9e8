# Sourced by its neighbors: leaves in .venv, at the root of the checkout, what requirements.lock names, made when absent
# or out of date. The stamp is written last, so a build that was interrupted is not believed and is made again.
set -euo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONPYCACHEPREFIX="$checkout/.venv/cache/bytecode" PYTHONDONTWRITEBYTECODE=  # kept, and not beside the sources
stamp="$checkout $(cat "$checkout/requirements.lock" "$checkout/pyproject.toml" | sha256sum)"
environment_is_current() { [ -x .venv/bin/python ] && [ "$(cat .venv/stamp 2>/dev/null)" = "$stamp" ]; }
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
make_environment() {
  [ ! -e .venv ] || [ -O .venv ] || { echo "fabgossip: $checkout/.venv is another user's and not usable as it is; use a checkout of your own" >&2; exit 1; }
  echo "fabgossip: making the environment in .venv (first run, about a minute)" >&2
  for python in python3 python3.11 python3.12 python3.13 python3.14 none; do new_enough "$python" && break; done
  [ "$python" != none ] || { echo "fabgossip: needs Python 3.11 or newer; on Debian: apt install python3-venv" >&2; exit 1; }
  if rm -rf .venv && "$python" -m venv .venv >/dev/null 2>&1; then
    install=(.venv/bin/python -m pip install -qq)
  elif uv venv -q --clear --python "$python" .venv 2>/dev/null; then
    install=(uv pip install -q --python .venv/bin/python)
  elif rm -rf .venv && "$python" -m venv --without-pip .venv 2>/dev/null && "$python" -m pip --version >/dev/null 2>&1; then
    install=("$python" -m pip --python .venv/bin/python install -qq)
  else
    rm -rf .venv
    echo "fabgossip: $python cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 1
  fi
  "${install[@]}" --require-hashes -r requirements.lock >&2
  "${install[@]}" --no-deps --no-build-isolation -e . >&2
  echo "$stamp" >.venv/stamp
}
# The lock lets two first runs at once wait for one build; it ends with this subshell.
(cd "$checkout"; environment_is_current || { flock 9; environment_is_current || make_environment; } 9<requirements.lock)
