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
readonly GET_PYTHON="install it (Debian 12: apt-get install python3.11 python3.11-venv), or install uv \
(https://docs.astral.sh/uv), which brings it; DABT_PYTHON names one that is elsewhere"
readonly NEED_DRIVER=580 NEED_CAPABILITY=7.5
readonly EVERY=${DABT_SAYS_EVERY:-8}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore

say() { printf 'set-up: %s\n' "$*"; }
fail() {
  printf 'set-up: %s\n' "$*" >&2
  exit 1
}

# Runs a command, and says that it still runs where it would be silent for longer than a reader of a log waits.
still() {
  local what=$1 began=$SECONDS said=$SECONDS child
  shift
  "$@" &
  child=$!
  trap 'kill "$child" 2>/dev/null; fail "interrupted; run it again to go on"' INT TERM
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.2
    if ((SECONDS - said >= EVERY)); then
      said=$SECONDS
      say "  $what ($((said - began)) s)"
    fi
  done
  trap - INT TERM
  wait "$child"
}

bring_python() { exec uv python install 3.11 >/dev/null 2>&1; }

# Ubuntu 24.04 has no Python 3.11; uv brings one from anywhere.
choose_python() {
  PYTHON=${DABT_PYTHON:-python3.11}
  if [[ -n "${DABT_PYTHON:-}" ]]; then
    command -v "$PYTHON" >/dev/null || fail "$PYTHON is missing; $GET_PYTHON"
  elif command -v python3.11 >/dev/null; then
    return
  elif command -v uv >/dev/null; then
    PYTHON=$(uv python find --system 3.11 2>/dev/null) && return
    say "Python 3.11 is missing; uv brings it"
    still "uv is still at it" bring_python ||
      fail "uv cannot bring Python 3.11 (uv python install 3.11 says why); or $GET_PYTHON"
    PYTHON=$(uv python find --system 3.11 2>/dev/null) || fail "uv does not find the Python 3.11 that it brought"
  else
    fail "Python 3.11 is missing; $GET_PYTHON"
  fi
}

check_machine() {
  [[ "$(uname -sm)" == "Linux x86_64" ]] ||
    fail "the lock files are for Linux on x86-64, this is $(uname -sm); use the Dockerfile there"
  choose_python
  "$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || fail "$PYTHON is not Python 3.11"
  "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$PYTHON has no venv module; install it (Debian and Ubuntu: apt-get install python3.11-venv)"
}

# The CPU build of vLLM is linked against libnuma, which no wheel carries.
check_libraries() {
  [[ $DEVICE != cpu ]] || "$PYTHON" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null ||
    fail "libnuma is missing; install it (Debian and Ubuntu: apt-get install libnuma1)"
}

# What the CUDA builds of torch and vLLM ask of a machine: CUDA 13 needs this driver and this compute capability, and
# Triton and FlashInfer compile for the GPU that they find, when the first requests come.
check_gpu() {
  local driver capability
  [[ $DEVICE == cuda ]] || return 0
  if ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
    say "no NVIDIA driver answers here; what is installed will need one (DABT_DEVICE=cpu installs for the processor)"
  fi
  while IFS=', ' read -r driver capability; do
    at_least "$driver" "$NEED_DRIVER" ||
      fail "the NVIDIA driver is $driver, and CUDA 13 needs $NEED_DRIVER or newer; update it, or DABT_DEVICE=cpu make setup"
    at_least "$capability" "$NEED_CAPABILITY" ||
      fail "a GPU here has compute capability $capability, and CUDA 13 needs $NEED_CAPABILITY; or DABT_DEVICE=cpu make setup"
  done < <(nvidia-smi --query-gpu=driver_version,compute_cap --format=csv,noheader 2>/dev/null || true)
  command -v g++ >/dev/null ||
    fail "g++ is missing, and kernels for the GPU are compiled with it (Debian and Ubuntu: apt-get install g++)"
  "$PYTHON" -c 'import os, sys, sysconfig
sys.exit(not os.path.isfile(os.path.join(sysconfig.get_paths()["include"], "Python.h")))' ||
    fail "Python.h is missing, and kernels for the GPU are compiled with it (Debian: apt-get install python3.11-dev)"
}

at_least() { [[ "$(printf '%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }

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

# Always the child of `still`, which must be able to end it.
pip() { exec "$VENV/bin/python" -m pip "$@" >>"$LOG" 2>&1; }

# The CPU build of torch has a version of its own (2.x+cpu), which the package index does not carry.
install_torch() {
  local torch
  torch=$(grep -E '^torch==.*\+' "$LOCK") || return 0
  say "Installing $torch"
  still "torch is still being installed" pip install --no-deps "$torch" && return
  say "pip's configuration offers no $torch; asking PyTorch's own index"
  still "torch is still being installed" \
    pip install --no-deps --index-url "$TORCH_INDEX/${torch##*+}" "$torch" ||
    fail "$torch cannot be downloaded; is the network up? The last words of pip are in $LOG"
}

# pip says too much when it talks and nothing when it is quiet, so its words go to a file and we count them.
install_lock() {
  local total seen shown=0 said=$SECONDS
  total=$(grep -cE '^[A-Za-z0-9]' "$LOCK")
  say "Installing $total packages from $LOCK, about $MINUTES minutes"
  "$VENV/bin/python" -m pip install --no-compile --no-deps -r "$LOCK" >"$LOG.packages" 2>&1 &
  local child=$!
  trap 'kill "$child" 2>/dev/null; fail "interrupted; run it again to go on"' INT TERM
  while kill -0 "$child" 2>/dev/null; do
    sleep 0.2
    seen=$(grep -cE '^(Collecting|Requirement already satisfied)' "$LOG.packages" || true)
    if ((shown < total)) && grep -q '^Installing collected' "$LOG.packages"; then
      shown=$total said=$SECONDS
      say "  all downloaded; unpacking"
    elif ((seen >= shown + 50 && seen < total)) || ((SECONDS - said >= EVERY && shown < total)); then
      shown=$seen said=$SECONDS
      say "  $seen of $total found"
    elif ((SECONDS - said >= EVERY)); then
      said=$SECONDS
      say "  still unpacking"
    fi
  done
  trap - INT TERM
  wait "$child" || fail "pip could not install $LOCK: $(grep -m1 '^ERROR' "$LOG.packages" || echo see "$LOG.packages")"
}

install_project() {
  still "the project is still being installed" pip install --no-deps --no-build-isolation -e . ||
    fail "the project itself cannot be installed; see $LOG"
}

# Where Python is told to write no bytecode, as containers and CI do, every process would compile the libraries anew:
# ten seconds of each that loads the engine or trains. Some files of theirs are templates and no Python.
compile_libraries() {
  [[ -n "${PYTHONDONTWRITEBYTECODE:-}" ]] || return 0
  still "the libraries are still being compiled" compiled || true
}

compiled() { exec "$VENV/bin/python" -m compileall -qq -j 0 "$VENV/lib" >/dev/null; }

# Two terminals that run `make` after a clone would write one .venv together, and neither could be used. The lock is on
# this file itself, so nothing has to be cleared away; what a set-up that was killed has left running keeps it to its end.
one_at_a_time() {
  local taken=0
  exec 9<scripts/setup.sh
  flock -n -E 75 9 || taken=$?
  ((taken == 75)) || return 0 # ours, or a folder that knows no locks
  say "another set-up is at work in this folder; waiting for its end"
  still "it is still at work" flock 9
}

DEVICE=$(choose_device)
readonly DEVICE LOCK=requirements/$DEVICE.lock
[[ -f "$LOCK" ]] || fail "there is no $LOCK; DABT_DEVICE is cpu or cuda"
if [[ $DEVICE == cuda ]]; then readonly MINUTES=5 GIGABYTES=20; else readonly MINUTES=2 GIGABYTES=7; fi

one_at_a_time
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
check_gpu
if [[ "${old_lock:-}" != "$lock_sum" ]]; then
  check_disk "$GIGABYTES"
  [[ "${old_lock:-}" != broken ]] && "$VENV/bin/python" -c '' 2>/dev/null || rm -rf "$VENV"
  still "$VENV is still being made" "$PYTHON" -m venv "$VENV" || fail "$PYTHON cannot make $VENV"
  : >"$LOG"
  install_torch
  install_lock
  compile_libraries
fi
install_project
printf '%s\n' "$lock_sum" "$project_sum" "$PWD" >"$STAMP"
say "ready in $((SECONDS - start)) s ($DEVICE)"
