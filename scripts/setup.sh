#!/usr/bin/env bash
# Makes .venv as a lock file says, without resolving anything. Run it by `make setup`, as often as you like: it does
# nothing when nothing changed. DABT_DEVICE=cpu|cuda overrules the choice of the lock file, DABT_PYTHON the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly VENV=.venv
readonly STAMP=$VENV/.dabt-setup
readonly LOG=$VENV/setup.log
# Where PyTorch publishes its builds; asked only when pip's own configuration offers no such build.
readonly TORCH_INDEX=https://download.pytorch.org/whl
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

say() { printf 'set-up: %s\n' "$*"; }
fail() {
  printf 'set-up: %s\n' "$*" >&2
  exit 1
}

check_machine() {
  [[ "$(uname -sm)" == "Linux x86_64" ]] ||
    fail "the lock files are for Linux on x86-64, this is $(uname -sm); use the Dockerfile there"
  command -v "$PYTHON" >/dev/null || fail "$PYTHON is missing; install Python 3.11, or name it with DABT_PYTHON"
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || fail "$PYTHON is not Python 3.11"
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$PYTHON has no venv module; install it (Debian and Ubuntu: apt-get install python3.11-venv)"
}

# The CPU build of vLLM is linked against libnuma, which no wheel carries.
check_libraries() {
  [[ $DEVICE != cpu ]] || "$PYTHON" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null ||
    fail "libnuma is missing; install it (Debian and Ubuntu: apt-get install libnuma1)"
}

check_disk() {
  local need=$1 free
  free=$(($(df -Pk . | awk 'NR == 2 {print $4}') / 1048576))
  ((free >= need)) || fail "$need GB of free disk are needed here, $free GB are left"
}

# A driver that answers, not merely a program that is there: CUDA wheels on a machine without a GPU start nothing.
choose_device() {
  if [[ -n "${DABT_DEVICE:-}" ]]; then
    echo "$DABT_DEVICE"
  elif nvidia-smi -L 2>/dev/null | grep -q GPU; then
    echo cuda
  else
    echo cpu
  fi
}

pip() { "$VENV/bin/python" -m pip "$@"; }

# The CPU build of torch has a version of its own (2.x+cpu), which the package index does not carry.
install_torch() {
  local torch
  torch=$(grep -E '^torch==.*\+' "$LOCK") || return 0
  say "Installing $torch"
  pip install --no-deps "$torch" >>"$LOG" 2>&1 && return
  say "pip's configuration offers no $torch; asking PyTorch's own index"
  pip install --no-deps --index-url "$TORCH_INDEX/${torch##*+}" "$torch" >>"$LOG" 2>&1 ||
    fail "$torch cannot be downloaded; is the network up? The last words of pip are in $LOG"
}

# pip says too much when it talks and nothing when it is quiet, so its words go to a file and we count them.
install_lock() {
  local total seen shown=0
  total=$(grep -cE '^[A-Za-z0-9]' "$LOCK")
  say "Installing $total packages from $LOCK, about $MINUTES minutes"
  pip install --no-compile --no-deps -r "$LOCK" >"$LOG.packages" 2>&1 &
  local child=$!
  trap 'kill "$child" 2>/dev/null; fail "interrupted; run it again to go on"' INT TERM
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.2
    seen=$(grep -cE '^(Collecting|Requirement already satisfied)' "$LOG.packages" || true)
    if ((seen >= shown + 50 && seen < total)); then
      say "  $seen of $total found"
      shown=$seen
    elif ((shown < total)) && grep -q '^Installing collected' "$LOG.packages"; then
      say "  all downloaded; unpacking"
      shown=$total
    fi
  done
  trap - INT TERM
  wait "$child" || fail "pip could not install $LOCK: $(grep -m1 '^ERROR' "$LOG.packages" || echo see "$LOG.packages")"
}

install_project() {
  pip install --no-deps --no-build-isolation -e . >>"$LOG" 2>&1 || fail "the project itself cannot be installed; see $LOG"
}

readonly PYTHON=${DABT_PYTHON:-python3.11}
DEVICE=$(choose_device)
readonly DEVICE LOCK=requirements/$DEVICE.lock
[[ -f "$LOCK" ]] || fail "there is no $LOCK; DABT_DEVICE is cpu or cuda"
if [[ $DEVICE == cuda ]]; then readonly MINUTES=5 GIGABYTES=20; else readonly MINUTES=2 GIGABYTES=7; fi

lock_sum=$(sha256sum "$LOCK")
project_sum=$(sha256sum pyproject.toml)
if [[ -x $VENV/bin/python && -f $STAMP ]]; then
  { read -r old_lock && read -r old_project && read -r old_place; } <"$STAMP" || true
  # Every script in .venv names its interpreter by path: a folder that was moved, or whose Python is gone, is made anew.
  [[ "${old_place:-}" == "$PWD" ]] && "$VENV/bin/python" -c '' 2>/dev/null || old_lock=broken
fi
[[ "${old_lock:-}" == "$lock_sum" && "${old_project:-}" == "$project_sum" ]] && exit 0

start=$SECONDS
check_machine
check_libraries
if [[ "${old_lock:-}" != "$lock_sum" ]]; then
  check_disk "$GIGABYTES"
  [[ "${old_lock:-}" != broken ]] && "$VENV/bin/python" -c '' 2>/dev/null || rm -rf "$VENV"
  "$PYTHON" -m venv "$VENV" || fail "$PYTHON cannot make $VENV"
  : >"$LOG"
  install_torch
  install_lock
fi
install_project
printf '%s\n' "$lock_sum" "$project_sum" "$PWD" >"$STAMP"
say "ready in $((SECONDS - start)) s ($DEVICE)"
