#!/bin/sh
# Installs the digit-edge runtime on a Raspberry Pi: one folder, no compiler, no root.
# sh install-pi.sh --help says what it can be told.
set -eu

usage() {
    cat <<'TEXT'
usage: sh install-pi.sh [--dir DIR] [--wheels DIR] [--engine NAME] [--python PATH]
                        [--extra NAME] [--service NAME [--folder DIR]] [--plan] [--uninstall]

Installs the digit-edge runtime with the engine that exists for this system, and tests it.
Run again, it upgrades; an upgrade that fails its self-test leaves the old one in place.

  --dir DIR       where everything goes (default: ~/digit-edge)
  --wheels DIR    take all packages from this folder; the network is not used
  --engine NAME   litert, tflite or onnx (default: the best that exists here); upgrades keep it
  --extra NAME    mqtt, serve, update or vision: what some commands need besides; upgrades keep it
  --python PATH   the Python to use (default: python3)
  --service NAME  also run watch, camera or serve from now on and at every start (asks for sudo)
  --folder DIR    the folder that the service watch looks at (default: DIR/inbox)
  --plan          say what would be installed, and stop
  --uninstall     remove the folder and the services

Exit status: 0 installed, 2 not possible here, 3 installed but the self-test failed.
TEXT
}

fail() {
    echo "error: $*" >&2
    exit 2
}

directory=${HOME:-/root}/digit-edge
wheels='' engine='' python=python3 services='' extras='' folder='' action=install
while [ $# -gt 0 ]; do
    case $1 in
        --dir | --wheels | --engine | --extra | --python | --service | --folder)
            [ $# -gt 1 ] || fail "$1 takes a value: see --help"
            case $1 in
                --dir) directory=$2 ;;
                --wheels) wheels=$2 ;;
                --engine) engine=$2 ;;
                --extra) extras="$extras $2" ;;
                --python) python=$2 ;;
                --service) services="$services $2" ;;
                --folder) folder=$2 ;;
            esac
            shift 2
            ;;
        --plan | --uninstall) action=${1#--} && shift ;;
        -h | --help) usage && exit 0 ;;
        *) fail "no option $1: see --help" ;;
    esac
done
here=$(cd "$(dirname "$0")" && pwd)
case $directory in /*) ;; *) directory=$PWD/$directory ;; esac
directory=${directory%/}
mark=$directory/.digit-edge
made="made by install-pi.sh, which also removes it: --uninstall"
units=${DIGIT_EDGE_UNITS:-/etc/systemd/system}
for service in $services; do
    case $service in
        watch | camera | serve) ;;
        *) fail "no service $service: choose watch, camera or serve" ;;
    esac
    if [ "$service" = serve ]; then extras="$extras serve"; fi
    [ -e "$here/systemd/digit-edge-$service.service" ] ||
        fail "$here/systemd is missing: copy it from deploy/ beside this script"
done

case " $services " in
    *" watch "*) ;;
    *) [ -z "$folder" ] || fail "--folder is for the service watch: give --service watch too" ;;
esac

# An upgrade keeps the extras that are there: services stand on them.
# shellcheck disable=SC2046,SC2086  # a word an extra
extras=$(printf '%s\n' $(sed -n 's/^extras://p' "$mark" 2>/dev/null) $extras | sort -u | xargs)
for extra in $extras; do
    case $extra in
        mqtt | serve | update | vision) ;;
        *) fail "no extra $extra: choose mqtt, serve, update or vision" ;;
    esac
done

# And the engine that was asked for: one that nobody named is chosen anew.
[ -n "$engine" ] || engine=$(sed -n 's/^engine: *//p' "$mark" 2>/dev/null) || true
named=$engine

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

uninstall() {
    for unit in "$units"/digit-edge-*.service; do
        [ -e "$unit" ] || continue
        as_root systemctl disable --now "${unit##*/}" || true
        as_root rm "$unit"
        as_root systemctl daemon-reload
    done
    if [ -e "$directory" ]; then
        [ -e "$mark" ] || fail "$directory was not made by this script: remove it yourself"
        # What was put there by hand, the inbox above all, is not ours to remove.
        rm -rf "$directory"/env "$directory"/env-* "$directory/token" "$mark"
        rmdir "$directory/inbox" 2>/dev/null || true
        rmdir "$directory" 2>/dev/null ||
            echo "Kept $directory: it holds files of yours."
    fi
    echo "digit-edge is uninstalled."
}

# What this system is: the interpreter decides, a 64-bit kernel may run a 32-bit system.
detect() {
    command -v "$python" >/dev/null || fail "no $python here: sudo apt install python3 python3-venv"
    facts=$("$python" -c '
import platform, struct, sys, sysconfig
print(struct.calcsize("P") * 8, sys.version_info[0], sys.version_info[1],
      platform.libc_ver()[0] or "none", sys.implementation.name)') ||
        fail "$python does not run here: name another with --python"
    # shellcheck disable=SC2086  # five words
    set -- $facts
    bits=$1 major=$2 minor=$3 libc=$4 implementation=$5
    machine=$(uname -m)
    # shellcheck source=/dev/null
    system=$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-}") || system=
    model=$({ tr -d '\0' </proc/device-tree/model; } 2>/dev/null) || model=
    case $machine in
        armv6*) fail "an ARMv6 processor (${model:-Pi Zero or Pi 1}) has no engine: neither LiteRT," \
            "nor tflite-runtime, nor onnxruntime is built for it; use a Pi Zero 2 W or newer" ;;
        aarch64 | arm64 | armv7* | armv8* | x86_64) ;;
        *) fail "no engine is built for $machine" ;;
    esac
    if [ "$bits" = 32 ] && [ "$machine" = x86_64 ]; then fail "no engine is built for 32-bit x86"; fi
    [ "$libc" = glibc ] || fail "the engines are built for glibc, which $python here does not use"
    [ "$implementation" = cpython ] || fail "the engines are built for CPython: name it with --python"
    if [ "$major" != 3 ] || [ "$minor" -lt 10 ] || [ "$minor" -gt 13 ]; then
        fail "Python $major.$minor: the engines are built for 3.10 to 3.13; name one with --python"
    fi
}

# $1 imports in the system's own Python.
system_has() {
    "$python" -c "import $1" 2>/dev/null
}

choose() {
    if [ -z "$engine" ]; then
        if [ "$bits" = 64 ]; then
            engine=litert
        elif [ "$minor" -le 11 ]; then
            engine=tflite
        else
            engine=onnx
        fi
    fi
    numpy='numpy>=1.23'
    case $engine in
        litert) package='ai-edge-litert>=2.1' ;;
        tflite) package='tflite-runtime>=2.14' numpy='numpy>=1.23,<2' ;;
        onnx) package='onnxruntime>=1.18' ;;
        *) fail "no engine $engine: choose litert, tflite or onnx" ;;
    esac
    if [ "$engine" = tflite ] && [ "$minor" -gt 11 ]; then
        fail "tflite-runtime ends with Python 3.11, this is 3.$minor: name another with --engine"
    fi
    if [ "$bits" = 32 ]; then
        [ "$engine" != litert ] || fail "LiteRT has no 32-bit wheel: name another with --engine"
        if [ "$engine" = onnx ]; then
            # Debian packages it since Trixie; there is no wheel.
            [ "$minor" -gt 11 ] ||
                fail "onnxruntime has no 32-bit build for this system: name another with --engine"
            system_has onnxruntime ||
                fail "a 32-bit Python 3.$minor has one engine, Debian's:" \
                    "sudo apt install python3-onnxruntime python3-numpy python3-pil"
            package=
        fi
        if ! { system_has numpy && system_has PIL; }; then
            fail "a 32-bit system takes NumPy and Pillow from Debian:" \
                "sudo apt install python3-numpy python3-pil"
        fi
    fi
    for extra in $extras; do
        case $extra in
            vision) # Its wheel would bring a NumPy of its own before apt's.
                system_has cv2 ||
                    fail "OpenCV comes from Debian: sudo apt install python3-opencv" ;;
            update) # Of cryptography there is no 32-bit wheel, and none in the bundle.
                { [ -z "$wheels" ] && [ "$bits" = 64 ]; } || system_has cryptography ||
                    ls "$wheels"/cryptography-*.whl >/dev/null 2>&1 ||
                    fail "cryptography comes from Debian: sudo apt install python3-cryptography" ;;
        esac
    done
}

plan() {
    echo "system:  ${system:-$(uname -s)}, $bits-bit${model:+, $model}"
    echo "machine: $machine"
    echo "python:  3.$minor ($(command -v "$python"))"
    echo "engine:  $engine${package:+ ($package)}${wheels:+ from $wheels}"
    if [ -n "$extras" ]; then echo "extras:  $extras"; fi
    echo "folder:  $directory"
}

# No wheel, no package: nothing needs a compiler. That the engine's dependencies are missing is meant.
# Nor is byte code made of all that a package holds: what Python imports, it compiles.
pip() {
    if [ -n "$wheels" ]; then
        set -- --no-index --find-links "$wheels" "$@"
    fi
    PYTHONPATH=$new/pip "$new/bin/python" -s -m pip install --quiet --disable-pip-version-check \
        --no-warn-script-location --no-warn-conflicts --no-cache-dir --no-compile \
        --only-binary :all: "$@" >&2
}

# Inference needs none of what the engines declare but NumPy, and apt's NumPy is what picamera2 was
# built with: no dependency is followed.
install_packages() {
    # shellcheck disable=SC2086  # an engine from apt is no word at all
    pip --no-deps digit-edge $package || return
    # A NumPy that kills Python is none.
    wanted=$(lacking numpy "$numpy" PIL 'pillow>=9.4') || wanted="$numpy pillow>=9.4"
    # shellcheck disable=SC2086  # a word a package
    if [ -n "$wanted" ]; then pip --no-deps $wanted || return; fi
    # A service may not write here, so it finds compiled what it imports.
    "$new/bin/python" -m compileall -q "$new"/lib/python3*/site-packages/runtime || return
    [ -n "$extras" ] || return 0
    wanted=$(requirements) || return
    # shellcheck disable=SC2086  # a word a package
    if [ -n "$wanted" ]; then pip --compile $wanted; fi
}

# What the extras of digit-edge ask for, but for OpenCV.
requirements() {
    # shellcheck disable=SC2086  # a word an extra
    "$new/bin/python" - $extras <<'PYTHON'
import importlib.metadata, sys
extras = set(sys.argv[1:]) - {"vision"}
for line in importlib.metadata.requires("digit-edge"):
    package, _, marker = line.partition(";")
    if extras.intersection(marker.replace("'", '"').split('"')[1::2]):
        print(package.strip())
PYTHON
}

# Of the requirements $2, $4, … those whose module $1, $3, … is not here, or not as new as asked.
lacking() {
    "$new/bin/python" - "$@" <<'PYTHON'
import importlib, re, sys

def numbers(text):
    return [int(part) for part in re.findall(r"\d+", text)]

def met(module, requirement):
    try:
        have = numbers(importlib.import_module(module).__version__)
    except Exception:
        return False
    bounds = re.findall(r"(>=|<)([\d.]+)", requirement)
    return all((have >= numbers(version)) == (relation == ">=") for relation, version in bounds)

for module, requirement in zip(sys.argv[1::2], sys.argv[2::2]):
    if not met(module, requirement):
        print(requirement)
PYTHON
}

install() {
    # Where the system has no pip, that of the wheel which venv would install, and it goes again: 15 MB
    # less in the folder. Run from within the wheel, it would be compiled anew each time. One in the
    # user's home (-s) is not the system's.
    pip_wheel=$("$python" -s -c '
import glob, importlib.util, os, sys
# What a virtual environment has, one made by it has not.
if sys.prefix == sys.base_prefix and importlib.util.find_spec("pip"):
    sys.exit()
import ensurepip
folder = getattr(ensurepip, "_WHEEL_PKG_DIR", None)
print(max(glob.glob(os.path.join(folder or os.path.dirname(ensurepip.__file__) + "/_bundled",
                                 "pip-*.whl"))))' 2>/dev/null) ||
        fail "Python has neither pip nor its venv module: sudo apt install python3-venv"
    if [ -e "$directory" ] && [ ! -e "$mark" ] && [ -n "$(ls -A "$directory")" ]; then
        fail "$directory is there already and not ours: choose another with --dir"
    fi
    mkdir -p "$directory" || fail "cannot write $directory: choose another with --dir"
    [ -e "$mark" ] || echo "$made" >"$mark"
    new=$directory/env-$(date +%Y%m%d%H%M%S)-$$
    trap 'rm -rf "$new"' EXIT
    trap 'exit 130' INT TERM HUP
    { "$python" -m venv --system-site-packages --without-pip "$new" &&
        { [ -z "$pip_wheel" ] || "$python" -m zipfile -e "$pip_wheel" "$new/pip"; }; } ||
        fail "cannot make a virtual environment in $directory: is there space left?"
    install_packages ||
        fail "the packages cannot be had; look at pip's message above${wheels:+, and in $wheels}"
    rm -rf "$new/pip"
    status=0
    "$new/bin/python" -m runtime.selftest || status=$?
    if [ $status -ne 0 ]; then
        echo "error: the self-test failed (status $status): $(kept); report it with the lines above" >&2
        exit 3
    fi
    switch
}

kept() {
    if [ -e "$directory/env" ]; then echo "the earlier version stays"; else echo "nothing is installed"; fi
}

switch() {
    old=$(readlink "$directory/env" || true)
    ln -s "${new##*/}" "$directory/env.next"
    mv -T "$directory/env.next" "$directory/env"
    trap - EXIT
    printf '%s\n' "$made" "extras: $extras" "engine: $named" >"$mark"
    # A running service keeps what it has open; the rest is for the next start.
    if [ -n "$old" ]; then rm -rf "${directory:?}/$old"; fi
}

serve_as_service() {
    command -v systemctl >/dev/null || fail "no systemd here: start python -m runtime.$1 yourself"
    folder=${folder:-$directory/inbox}
    mkdir -p "$folder"
    if [ "$1" = serve ] && [ ! -e "$directory/token" ]; then
        (umask 077 && "$python" -c 'import secrets; print(secrets.token_urlsafe())' \
            >"$directory/token")
    fi
    sed -e "s|@DIR@|$directory|g" -e "s|@FOLDER@|$folder|g" \
        "$here/systemd/digit-edge-$1.service" | as_root tee "$units/digit-edge-$1.service" >/dev/null
    as_root systemctl daemon-reload
    as_root systemctl enable "digit-edge-$1.service"
    as_root systemctl restart "digit-edge-$1.service"
    echo "The service digit-edge-$1 runs. What it says: journalctl -u digit-edge-$1"
}

case $action in
    uninstall)
        uninstall
        exit 0
        ;;
esac
detect
choose
plan
[ "$action" = install ] || exit 0
install
for service in $services; do serve_as_service "$service"; done
for unit in "$units"/digit-edge-*.service; do
    [ -e "$unit" ] || continue
    name=${unit##*/digit-edge-}
    case " $services " in *" ${name%.service} "*) continue ;; esac # runs what is new already
    as_root systemctl try-restart "${unit##*/}"
done
cat <<TEXT

Installed. Classify a photograph of a digit:

    $directory/env/bin/python -m runtime photo.jpg
TEXT
