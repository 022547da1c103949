#!/bin/bash
# Checks the manifests against Kubernetes' own schemas, offline but for one package: PyPI's kubernetes-validate has them.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet kubernetes-validate
"$work/venv/bin/pip" list 2>/dev/null | grep -i kubernetes-validate
"$work/venv/bin/kubernetes-validate" --strict "$here"/*.yaml
