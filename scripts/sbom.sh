#!/usr/bin/env bash
# What an image is made of, as CycloneDX JSON: every package of its lock file. `scripts/sbom.sh cuda > sbom.json`.
# The packages of Debian below them are the base image's; scanners of images (syft, trivy) list those.
set -euo pipefail
cd "$(dirname "$0")/.."

device=${1:-cpu}
lock=requirements/$device.lock
[[ -f $lock ]] || { echo "sbom: there is no $lock; write cpu or cuda" >&2; exit 2; }

# A place of its own: what writes the list wants other versions than what is listed.
unset PYTHONPATH
tool=${SBOM_TOOL:-build/sbom}
if [[ ! -x $tool/bin/cyclonedx-py ]]; then
  python3.11 -m venv "$tool"
  "$tool/bin/pip" install --quiet --disable-pip-version-check cyclonedx-bom==7.5.0 >&2
fi
# Not checked here: the tool reads the link of every package by a grammar, which takes twenty times as long as the list.
"$tool/bin/cyclonedx-py" requirements --no-validate --pyproject pyproject.toml --output-reproducible "$lock"
