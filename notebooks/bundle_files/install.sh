#!/bin/sh
# Makes the environment .venv beside this file and installs the kit into it, from wheels/ alone.
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-}
if [ -z "$python" ]; then
  for name in python@PYTHON@ python3 python; do
    if "$name" -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "@PYTHON@")' 2>/dev/null; then
      python=$name
      break
    fi
  done
fi
if [ -z "$python" ]; then
  echo "This bundle needs Python @PYTHON@, and there is none. Install it, or name it: PYTHON=/path/to/python@PYTHON@ sh install.sh"
  exit 1
fi
"$python" install.py
