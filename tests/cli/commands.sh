#!/usr/bin/env bash
# commands.sh BUILD: the compiler's command line: every flag, every exit status, what is left behind after
# errors.
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

cp "$here/tiny.stm" tiny.stm
sed 's/fc: linear(type)/fc: linear(typo)/' tiny.stm >wrong.stm
printf 'model broken "x"\nnet predict(x -> y {\n' >broken.stm
mkdir folder
printf '{"a": [1, -2.5e3, true, "x\\n\\u00e9"], "b": {}}' >good.json
printf '{"a": [1, 2,], "b"}' >bad.json
check "the JSON checker accepts JSON" is_json good.json
refute "the JSON checker refuses what is none" is_json bad.json

# ---- help and version
expect 0 'Exit status: 0 success' "help" "$stmc" --help
cp out help
for flag in -D --emit --emit-dir --precision --target --diagnostics --time-passes --no-fusion --check \
    --version; do
    check "help names $flag" grep -q -- " $flag" help
done
expect 0 'Exit status' "help by -h" "$stmc" -h
expect 0 '^stmc [0-9]+\.[0-9]+\.[0-9]+ \(LLVM 19' "version" "$stmc" --version
expect 2 'stmc FILE.stm -o EXE' "no arguments" "$stmc"

# ---- a wrong command line
expect 2 'where to\? give -o' "no output" "$stmc" tiny.stm
expect 2 'no file given' "no file" "$stmc" -o exe
expect 2 'one file at a time' "two files" "$stmc" tiny.stm wrong.stm -o exe
expect 2 'unknown option `--frobnicate`' "unknown flag" "$stmc" tiny.stm --frobnicate -o exe
expect 2 'lacks its value' "a flag without value" "$stmc" tiny.stm -o
expect 2 '--emit takes tree, equations' "unknown stage" "$stmc" tiny.stm --emit bogus
expect 2 'llvm needs --emit-dir' "--emit llvm without directory" "$stmc" tiny.stm --emit llvm
expect 2 'objects needs --emit-dir' "--emit objects without directory" "$stmc" tiny.stm --emit objects
expect 2 'NAME=VALUE, not `side`' "-D without value" "$stmc" tiny.stm --check -D side
expect 2 'NAME=VALUE, not `=3`' "-D without name" "$stmc" tiny.stm --check -D =3
expect 2 'f32, tf32, bf16 or f64, not `f16`' "unknown precision" "$stmc" tiny.stm --check --precision f16
expect 2 'text or json, not `xml`' "unknown form of messages" "$stmc" tiny.stm --check --diagnostics xml
expect 2 '--target takes cpu, cuda or cpu,cuda, not `riscv`' "unknown target" \
    "$stmc" tiny.stm -o exe --target riscv
expect 2 '`fmt` needs a file' "fmt without file" "$stmc" fmt
expect 3 'cannot read none.stm: No such file' "missing file" "$stmc" none.stm -o exe
expect 3 'cannot read folder: Is a directory' "a directory instead of a file" "$stmc" folder -o exe
absent "a wrong command line writes nothing" exe

# ---- a wrong spec
expect 1 'wrong.stm:[0-9]+:[0-9]+: error: .*typo' "wrong name" "$stmc" wrong.stm -o exe
check "the place is underlined" grep -q '\^~' out
expect 1 'broken.stm:2:[0-9]+: error:' "syntax error" "$stmc" broken.stm -o exe
expect 1 'wrong.stm:' "--check of a wrong spec" "$stmc" wrong.stm --check
expect 1 'did you mean `side`' "-D of an unknown option" "$stmc" tiny.stm --check -D sid=12
expect 1 'side|6 \.\. 48|48' "-D out of range" "$stmc" tiny.stm --check -D side=480
expect 1 'level' "-D of another choice" "$stmc" tiny.stm --check -D level=minro
expect 1 'major' "-D of another choice names the choices" "$stmc" tiny.stm --check -D level=minro
expect 1 'setting|--lr' "-D of a setting" "$stmc" tiny.stm --check -D lr=0.1
expect 1 'side' "-D of the wrong kind" "$stmc" tiny.stm --check -D side=wide
sed 's/pitch = 6/pich = 6/' tiny.stm >prepares.stm
expect 1 'prepares.stm:[0-9]+:[0-9]+: error: .*no option `pich`' "an argument that prepare does not know" \
    "$stmc" prepares.stm -o exe
check "the nearest one is named" grep -q 'did you mean `pitch`' out
sed 's/size = side, pitch/size = 13, pitch/' tiny.stm >prepares.stm
expect 1 'input `tile` is u8\[spot, 12, 12, 3\], but `tiles` is u8\[.., 13, 13, 3\]' "tiles of another size" \
    "$stmc" prepares.stm -o exe
absent "a wrong spec writes nothing" exe
: >empty.stm
expect 0 '' "--check of a file that declares nothing" "$stmc" empty.stm --check
head -c 4096 /dev/urandom >noise.stm
expect 1 'noise.stm:' "random bytes" "$stmc" noise.stm --check

# ---- messages as JSON
"$stmc" wrong.stm --check --diagnostics json >out 2>messages.json
check "JSON messages: status 1" test $? -eq 1
check "JSON messages are JSON" is_json messages.json
for key in errors messages severity file line column end_line end_column code message; do
    check "JSON messages have $key" grep -q "\"$key\"" messages.json
done
"$stmc" tiny.stm --check --diagnostics json >out 2>messages.json
check "JSON without messages: status 0" test $? -eq 0
check "JSON without messages is JSON" is_json messages.json
check "JSON without messages counts none" grep -Eq '"errors": ?0' messages.json

# ---- stages
check "--check" "$stmc" tiny.stm --check
expect 0 'tiny' "--emit tree" "$stmc" tiny.stm --emit tree
expect 0 'conv.weight' "--emit equations" "$stmc" tiny.stm --emit equations
expect 0 '.' "--emit kernels" "$stmc" tiny.stm --emit kernels
expect 0 '^stmplan 1' "--emit plan" "$stmc" tiny.stm --emit plan
for stage in tree equations kernels plan; do
    expect 3 'No space left' "--emit $stage into a full disk" sh -c \
        "'$stmc' tiny.stm --emit $stage >/dev/full"
done
mkdir ir objects
expect 0 '' "--emit llvm" "$stmc" tiny.stm --emit llvm --emit-dir ir
check "--emit llvm writes modules" grep -rlq '^define' ir
expect 0 '' "--emit objects" "$stmc" tiny.stm --emit objects --emit-dir objects
set -- objects/*.o
check "--emit objects writes objects" test $# -gt 0
expect 3 'none.*No such file' "--emit objects into a missing directory" "$stmc" tiny.stm --emit objects \
    --emit-dir none
expect 3 'none.*No such file' "--emit llvm into a missing directory" "$stmc" tiny.stm --emit llvm \
    --emit-dir none
"$stmc" tiny.stm --emit plan >one.plan 2>out
"$stmc" tiny.stm --emit plan >two.plan 2>out
check "two compilations give the same plan" cmp one.plan two.plan
"$stmc" tiny.stm --emit plan -Dside=24 >other.plan 2>out
refute "-DNAME=VALUE changes the plan" cmp one.plan other.plan
"$stmc" tiny.stm --emit plan --no-fusion >other.plan 2>out
refute "--no-fusion changes the plan" cmp one.plan other.plan
"$stmc" tiny.stm --emit plan --precision f64 >other.plan 2>out
refute "--precision changes the plan" cmp one.plan other.plan

# ---- an executable
expect 0 'exe: tiny parameters 256, kernels [0-9]+, planned peak' "compile" "$stmc" tiny.stm -o exe \
    --time-passes
check "--time-passes names the passes" grep -q '^differentiate .* ms' out
expect 0 'tiny, compiled by stmc' "the executable runs" ./exe --version
cp exe before
"$stmc" tiny.stm -o exe >out 2>&1
check "two compilations give the same bytes" cmp before exe
"$stmc" wrong.stm -o exe >out 2>&1
check "a wrong spec leaves the old executable" cmp before exe
expect 3 'none/exe.*No such file' "output in a missing directory" "$stmc" tiny.stm -o none/exe
expect 3 'folder.*[Dd]irectory' "output that is a directory" "$stmc" tiny.stm -o folder
expect 3 'wrong.stm/exe.*Not a directory' "output under a file" "$stmc" tiny.stm -o wrong.stm/exe
check "the directory is still there" test -d folder
if [ "$(id -u)" -ne 0 ]; then
    mkdir closed && chmod a-w closed
    expect 3 'closed/exe.*Permission denied' "output in a closed directory" "$stmc" tiny.stm -o closed/exe
elif mkdir closed && mount -t tmpfs -o size=1m,ro tmpfs closed 2>/dev/null; then
    mounted=$work/closed
    expect 3 'closed/exe.*Read-only' "output in a closed directory" "$stmc" tiny.stm -o closed/exe
    mount -o remount,rw,size=1m "$mounted"
    expect 3 'closed/exe|No space' "output on a full disk" "$stmc" tiny.stm -o closed/exe
    absent "a full disk leaves no half executable" closed/exe
    umount "$mounted" && mounted=
else
    skip "output in a closed or full directory" "root may write everywhere, and mounting is not permitted"
fi
check "no temporary files are left" sh -c "! ls -A | grep -Eq 'tmp'"
expect 0 'target' "--target cpu" sh -c "'$stmc' tiny.stm -o exe2 --target cpu && ./exe2 info"

# ---- fmt
expect 0 '' "fmt" "$stmc" fmt tiny.stm
cp tiny.stm once.stm
"$stmc" tiny.stm --emit plan >one.plan 2>out
expect 0 '' "fmt again" "$stmc" fmt tiny.stm
check "fmt changes nothing the second time" cmp tiny.stm once.stm
check "what fmt wrote still compiles" "$stmc" tiny.stm --check
sed 's/^    /\t  /' once.stm >untidy.stm
chmod 640 untidy.stm
expect 0 '' "fmt of an untidy file" "$stmc" fmt untidy.stm once.stm
check "fmt works in place" cmp untidy.stm once.stm
check "fmt keeps the permissions" test "$(stat -c %a untidy.stm)" = 640
"$stmc" fmt - <untidy.stm >piped.stm 2>out
check "fmt of standard input" cmp piped.stm once.stm
cp broken.stm kept.stm
expect 1 'broken.stm:2' "fmt of a file with errors" "$stmc" fmt broken.stm
check "fmt leaves a file with errors as it is" cmp broken.stm kept.stm
expect 3 'cannot read none.stm' "fmt of a missing file" "$stmc" fmt none.stm
expect 1 'broken.stm' "fmt goes on after an error" "$stmc" fmt broken.stm untidy.stm

# ---- test
expect 0 ' passed, 0 failed' "test" "$stmc" test "$root/tests/language/stdlib/activations.stm"
expect 1 '.' "test of a file without tests or of a broken one" "$stmc" test broken.stm
expect 3 'cannot read none.stm' "test of a missing file" "$stmc" test none.stm
finish
