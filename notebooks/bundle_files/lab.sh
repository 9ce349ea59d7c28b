#!/bin/sh
# Opens JupyterLab at the first notebook.
cd "$(dirname "$0")/kit"
exec ../.venv/bin/python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb "$@"
