@echo off
rem Makes the environment .venv beside this file and installs the kit into it, from wheels\ alone.
cd /d "%~dp0"
py -@PYTHON@ -c "" >nul 2>nul
if not errorlevel 1 (
  py -@PYTHON@ install.py
  goto end
)
python -c "import sys; sys.exit('%%d.%%d' %% sys.version_info[:2] != '@PYTHON@')" >nul 2>nul
if not errorlevel 1 (
  python install.py
  goto end
)
echo This bundle needs Python @PYTHON@, and there is none. Install it from python.org, and run this again.
:end
pause
