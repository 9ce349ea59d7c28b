@echo off
rem Opens JupyterLab at the first notebook.
cd /d "%~dp0kit"
..\.venv\Scripts\python -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb %*
