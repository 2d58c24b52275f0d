# shellcheck shell=bash
# What the tests of whole programs share: a scratch directory, counting, and a few questions about files.
# Sourced with the build directory as $1; leaves the shell in the scratch directory.
set -u
shopt -s nullglob
build=$(realpath "$1") here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
stmc=$build/bin/stmc maketissue=$build/bin/maketissue
for program in "$stmc" "$maketissue"; do
    [ -x "$program" ] || { echo "$program is missing: build the targets stmc and maketissue"; exit 3; }
done
work=$(mktemp -d "${TMPDIR:-/tmp}/stmc_cli.XXXXXX") || exit 3
mounted=
trap '[ -n "$mounted" ] && umount "$mounted"; chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work" || exit 3
passed=0 failed=0 skipped=0

ok() { passed=$((passed + 1)); }
bad() { # bad NAME: what failed, and what was printed
    failed=$((failed + 1))
    echo "FAILED $1"
    [ -s out ] && head -c 700 out | sed 's/^/    /'
}
skip() { # skip NAME REASON
    skipped=$((skipped + 1))
    echo "SKIPPED $1: $2"
}
expect() { # expect STATUS PATTERN NAME COMMAND...: exit status, and a pattern (grep -E) in what is printed
    local status=$1 pattern=$2 name=$3 got
    shift 3
    "$@" >out 2>&1
    got=$?
    if [ "$got" -ne "$status" ]; then bad "$name: exit status $got, not $status"
    elif [ -n "$pattern" ] && ! grep -Eq -- "$pattern" out; then bad "$name: no '$pattern' in the output"
    else ok; fi
}
check() { # check NAME COMMAND...: the command succeeds
    local name=$1
    shift
    if "$@" >/dev/null 2>&1; then ok; else bad "$name"; fi
}
refute() { # refute NAME COMMAND...: the command fails
    local name=$1
    shift
    if "$@" >/dev/null 2>&1; then bad "$name"; else ok; fi
}
absent() { # absent NAME PATH...: none of them exists, nor a half-written file beside it
    local name=$1 path
    shift
    for path in "$@"; do
        set -- "$path"*  "$(dirname "$path")"/.*tmp-*
        [ $# -gt 0 ] && { echo "$*" >out; bad "$name: left behind"; return; }
    done
    ok
}
is_json() { # is_json FILE: one JSON value. Strings and numbers become letters, then brackets shrink.
    tr '\n' ' ' <"$1" | sed -E '
        s/"([^"\\[:cntrl:]]|\\(["\\\/bfnrt]|u[0-9a-fA-F]{4}))*"/s/g
        s/-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?|true|false|null/v/g
        s/[ \t\r]//g
        :again
        s/\[([sv](,[sv])*)?\]|\{(s:[sv](,s:[sv])*)?\}/v/g
        t again' | grep -qx '[sv]'
}
is_json_lines() { # every line is one JSON value
    local line
    while read -r line; do
        printf '%s' "$line" >line.json
        is_json line.json || return 1
    done <"$1"
}
json_number() { # json_number KEY FILE: the first number of that key
    grep -o "\"$1\": *[-+.0-9eE]*" "$2" | head -1 | sed 's/.*: *//'
}
holds() { awk "BEGIN { exit !($1) }"; } # holds EXPRESSION: arithmetic, in awk
finish() {
    [ "$skipped" -eq 0 ] || echo "$skipped skipped"
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
