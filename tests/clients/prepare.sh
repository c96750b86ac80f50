#!/bin/bash
# Makes a virtual environment with the Python drivers and prints its interpreter's path.
#
#   prepare.sh FOLDER
#
# Exit status 77 ("skipped", as automake has it): there is no Python 3 with venv, or no way to the package index. An environment
# that is already there is used as it is.
set -u
folder=${1:?usage: prepare.sh FOLDER}
python=$folder/bin/python
have_drivers() { "$python" -c 'import psycopg, asyncpg' 2>/dev/null; }

if ! have_drivers; then
    {
        # Another run may be making the same environment.
        mkdir -p "$folder" && exec 9>"$folder/.lock" && flock 9
        have_drivers || {
            python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check \
                'psycopg[binary]>=3.2,<4' 'asyncpg>=0.30,<1'
        }
    } >&2
    have_drivers || exit 77
fi
echo "$python"
