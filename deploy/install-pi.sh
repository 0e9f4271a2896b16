#!/bin/sh
# Installs the digit-edge runtime on a Raspberry Pi into one folder, without a compiler and without
# root permissions. Users run it from a copy of the folder that deploy.bundle makes.
# Options: sh install-pi.sh --help
set -eu

usage() {
    cat <<'TEXT'
usage: sh install-pi.sh [--dir DIR] [--wheels DIR] [--engine NAME] [--python PATH]
                        [--extra NAME] [--service NAME [--folder DIR]] [--gpio]
                        [--allow-internet] [--plan] [--uninstall]

Installs the digit-edge runtime with an engine for this system, and runs its self-test.
Run it again to upgrade. If the self-test of an upgrade fails, the old version is kept.

  --dir DIR       folder to install into (default: ~/digit-edge)
  --wheels DIR    install all packages from this folder, without a network
  --engine NAME   litert, tflite, onnx or native (default: the best for this system); upgrades
                  keep it
  --extra NAME    also install the packages of mqtt, serve, update or vision; may be repeated;
                  upgrades keep it
  --python PATH   Python to use (default: python3)
  --service NAME  start watch, camera or serve now and at every boot (uses sudo); may be
                  repeated
  --folder DIR    folder that the service watch reads images from (default: inbox in --dir)
  --gpio          let the commands of --on-digit in the services use the GPIO pins
  --allow-internet
                  let the services connect to the internet, such as to a broker in the cloud;
                  without it, they reach the local network only
  --plan          print what would be installed, and exit
  --uninstall     remove the folder and the services

Exit status: 0 success, 2 a wrong option or not possible on this system, 3 the self-test failed.
TEXT
}

fail() {
    printf 'error: %s\n' "$*" | tr -d '\000-\011\013-\037\177' >&2 # no control characters
    exit 2
}

directory=${HOME:-/root}/digit-edge
wheels='' engine='' python=python3 services='' extras='' folder='' gpio='' internet='' action=install
while [ $# -gt 0 ]; do
    case $1 in
        --dir | --wheels | --engine | --extra | --python | --service | --folder)
            [ $# -gt 1 ] || fail "$1 needs a value: see --help"
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
        --gpio) gpio=yes && shift ;;
        --allow-internet) internet=yes && shift ;;
        --plan | --uninstall) action=${1#--} && shift ;;
        -h | --help) usage && exit 0 ;;
        *) fail "unknown option $1: see --help" ;;
    esac
done
here=$(cd "$(dirname "$0")" && pwd)
case $directory in /*) ;; *) directory=$PWD/$directory ;; esac
directory=${directory%/}
# This file marks a folder that this script made. It also holds the extras, and the engine if
# --engine named it.
mark=$directory/.digit-edge
made="made by install-pi.sh; remove it with install-pi.sh --uninstall"
units=${DIGIT_EDGE_UNITS:-/etc/systemd/system}
for service in $services; do
    case $service in
        watch | camera | serve) ;;
        *) fail "unknown service $service: choose watch, camera or serve" ;;
    esac
    if [ "$service" = serve ]; then extras="$extras serve"; fi
    [ -e "$here/systemd/digit-edge-$service.service" ] ||
        fail "$here/systemd is missing: copy this folder from deploy/ of the repository"
done

case " $services " in
    *" watch "*) ;;
    *) [ -z "$folder" ] || fail "--folder needs the service watch: add --service watch" ;;
esac
if [ -n "$gpio$internet" ] && [ -z "$services" ]; then
    fail "--gpio and --allow-internet open a service: add --service watch or --service camera"
fi
if [ -n "$gpio" ] && ! getent group gpio >/dev/null; then
    fail "--gpio needs the group gpio, which owns the pins on Raspberry Pi OS: sudo groupadd gpio," \
        "and give it /dev/gpiochip0"
fi

# An upgrade keeps the installed extras, because services need them.
# shellcheck disable=SC2046,SC2086  # one word per extra
extras=$(printf '%s\n' $(sed -n 's/^extras://p' "$mark" 2>/dev/null) $extras | sort -u | xargs)
for extra in $extras; do
    case $extra in
        mqtt | serve | update | vision) ;;
        *) fail "unknown extra $extra: choose mqtt, serve, update or vision" ;;
    esac
done

# An upgrade keeps an engine that --engine named; otherwise the engine is chosen again.
[ -n "$engine" ] || engine=$(sed -n 's/^engine: *//p' "$mark" 2>/dev/null) || true
named=$engine

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Removes the services, and the folder except for the user's files.
uninstall() {
    for unit in "$units"/digit-edge-*.service; do
        [ -e "$unit" ] || continue
        as_root systemctl disable --now "${unit##*/}" || true
        as_root rm "$unit"
        if [ -d "$unit.d" ]; then as_root rm -r "$unit.d"; fi
        as_root systemctl daemon-reload
    done
    if [ -e "$directory" ]; then
        [ -e "$mark" ] || fail "$directory was not made by this script: remove the folder by hand"
        # Keep the files of the user, such as images in the inbox.
        rm -rf "$directory"/env "$directory"/env-* "$directory"/env.next "$mark"
        rm -f "$directory/token" "$directory/token.new"
        rmdir "$directory/inbox" 2>/dev/null || true
        rmdir "$directory" 2>/dev/null ||
            echo "Kept $directory: it contains files of yours."
    fi
    echo "digit-edge is uninstalled."
}

# Detects the system. The word size is that of Python: a 64-bit kernel can run a 32-bit system.
detect() {
    command -v "$python" >/dev/null || fail "$python is missing: sudo apt install python3 python3-venv"
    facts=$("$python" -c '
import platform, struct, sys, sysconfig
print(struct.calcsize("P") * 8, sys.version_info[0], sys.version_info[1],
      platform.libc_ver()[0] or "none", sys.implementation.name)') ||
        fail "$python does not run: choose another Python with --python"
    # shellcheck disable=SC2086  # five words
    set -- $facts
    bits=$1 major=$2 minor=$3 libc=$4 implementation=$5
    machine=$(uname -m)
    # shellcheck source=/dev/null
    system=$(. /etc/os-release 2>/dev/null && echo "${PRETTY_NAME:-}") || system=
    model=$({ tr -d '\0' </proc/device-tree/model; } 2>/dev/null) || model=
    case $machine in
        aarch64 | arm64 | armv[678]* | x86_64) ;;
        *) fail "no engine is built for $machine" ;;
    esac
    if [ "$bits" = 32 ] && [ "$machine" = x86_64 ]; then fail "no engine is built for 32-bit x86"; fi
    [ "$libc" = glibc ] ||
        fail "the engines need glibc, which $python does not use: choose another Python with --python"
    [ "$implementation" = cpython ] ||
        fail "the engines need CPython, but $python is $implementation: choose a CPython with --python"
    if [ "$major" != 3 ] || [ "$minor" -lt 10 ] || [ "$minor" -gt 13 ]; then
        fail "the engines need Python 3.10 to 3.13, but $python is $major.$minor: choose another with --python"
    fi
}

# Succeeds if the system's Python can import module $1.
system_has() {
    "$python" -c "import $1" 2>/dev/null
}

# Chooses the engine, and checks that it and the extras can be installed.
choose() {
    if [ -z "$engine" ]; then
        case $machine in armv6*) engine=native ;; esac # Pi 1, Zero and Zero W
    fi
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
        native) # The system's C compiler compiles the model during the self-test.
            package=
            command -v cc >/dev/null ||
                fail "the engine native needs a C compiler: sudo apt install gcc libc6-dev" ;;
        *) fail "unknown engine $engine: choose litert, tflite, onnx or native" ;;
    esac
    case $machine:$engine in
        armv6*:native) ;;
        armv6*) fail "$engine is not built for an ARMv6 processor (${model:-Pi Zero or Pi 1}):" \
            "use --engine native" ;;
    esac
    if [ "$engine" = tflite ] && [ "$minor" -gt 11 ]; then
        fail "tflite-runtime needs Python 3.11 or older, not 3.$minor: choose another with --engine"
    fi
    if [ "$bits" = 32 ]; then
        [ "$engine" != litert ] || fail "LiteRT has no 32-bit wheel: choose another engine with --engine"
        if [ "$engine" = onnx ]; then
            # onnxruntime has no 32-bit wheel. Debian has a package since Trixie, with Python 3.13.
            [ "$minor" -gt 11 ] ||
                fail "onnxruntime has no 32-bit build for this system: choose another with --engine"
            system_has onnxruntime ||
                fail "on 32-bit systems with Python 3.$minor the only engine is Debian's:" \
                    "sudo apt install python3-onnxruntime python3-numpy python3-pil"
            package=
        fi
        if ! { system_has numpy && system_has PIL; }; then
            fail "a 32-bit system needs NumPy and Pillow from Debian:" \
                "sudo apt install python3-numpy python3-pil"
        fi
    fi
    for extra in $extras; do
        case $extra in
            vision) # The wheel of OpenCV would install another NumPy in place of apt's.
                system_has cv2 ||
                    fail "vision needs OpenCV from Debian: sudo apt install python3-opencv" ;;
            update) # cryptography has no 32-bit wheel, and the bundle contains no wheel of it.
                { [ -z "$wheels" ] && [ "$bits" = 64 ]; } || system_has cryptography ||
                    ls "$wheels"/cryptography-*.whl >/dev/null 2>&1 ||
                    fail "update needs cryptography from Debian: sudo apt install python3-cryptography" ;;
        esac
    done
}

# Prints the result of detect and choose.
plan() {
    echo "system:  ${system:-$(uname -s)}, $bits-bit${model:+, $model}"
    echo "machine: $machine"
    echo "python:  3.$minor ($(command -v "$python"))"
    echo "engine:  $engine${package:+ ($package)}${wheels:+ from $wheels}"
    if [ -n "$extras" ]; then echo "extras:  $extras"; fi
    echo "folder:  $directory"
}

# Runs pip install with the arguments. Only wheels are installed, so no compiler is needed. pip does
# not warn about dependencies that are left out. Python compiles a module to bytecode when it imports
# the module, not pip.
pip() {
    if [ -n "$wheels" ]; then
        set -- --no-index --find-links "$wheels" "$@"
    fi
    PYTHONPATH=$new/pip "$new/bin/python" -s -m pip install --quiet --disable-pip-version-check \
        --no-warn-script-location --no-warn-conflicts --no-cache-dir --no-compile \
        --only-binary :all: "$@" >&2
}

# Installs the packages without their dependencies. Of the dependencies that the engines declare,
# inference needs only NumPy. NumPy must come from apt if possible, because picamera2 was built with it.
install_packages() {
    # shellcheck disable=SC2086  # $package is empty if the engine comes from apt
    pip --no-deps digit-edge $package || return
    # If Python is killed when it imports NumPy, install the wheels of NumPy and Pillow.
    wanted=$(lacking numpy "$numpy" PIL 'pillow>=9.4') || wanted="$numpy pillow>=9.4"
    # shellcheck disable=SC2086  # one word per package
    if [ -n "$wanted" ]; then pip --no-deps $wanted || return; fi
    # Services cannot write bytecode into this folder, so compile the runtime now.
    "$new/bin/python" -m compileall -q "$new"/lib/python3*/site-packages/digit_edge || return
    [ -n "$extras" ] || return 0
    wanted=$(requirements) || return
    # shellcheck disable=SC2086  # one word per package
    if [ -n "$wanted" ]; then pip --compile $wanted; fi
}

# Prints the requirements of the extras, except OpenCV.
requirements() {
    # shellcheck disable=SC2086  # one word per extra
    "$new/bin/python" - $extras <<'PYTHON'
import importlib.metadata, sys
extras = set(sys.argv[1:]) - {"vision"}
for line in importlib.metadata.requires("digit-edge"):
    package, _, marker = line.partition(";")
    if extras.intersection(marker.replace("'", '"').split('"')[1::2]):
        print(package.strip())
PYTHON
}

# Arguments: pairs of a module and a requirement. Prints the requirements whose module is missing or
# has another version.
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

# Installs into a new environment, tests it, and then replaces the old one.
install() {
    # If the system has no pip, use the pip wheel of the module venv, and delete it at the end, which
    # saves 15 MB. The wheel is unpacked, because Python would compile a pip inside a wheel again at
    # each run. The option -s ignores a pip in the user's home.
    pip_wheel=$("$python" -s -c '
import glob, importlib.util, os, sys
# A virtual environment inside a virtual environment does not see the pip of the outer one.
if sys.prefix == sys.base_prefix and importlib.util.find_spec("pip"):
    sys.exit()
import ensurepip
folder = getattr(ensurepip, "_WHEEL_PKG_DIR", None)
print(max(glob.glob(os.path.join(folder or os.path.dirname(ensurepip.__file__) + "/_bundled",
                                 "pip-*.whl"))))' 2>/dev/null) ||
        fail "Python has neither pip nor the module venv: sudo apt install python3-venv"
    if [ -e "$directory" ] && [ ! -e "$mark" ] && [ -n "$(ls -A "$directory")" ]; then
        fail "$directory exists and was not made by this script: choose another with --dir"
    fi
    if [ -n "$wheels" ] && [ -e "$wheels/SHA256SUMS" ]; then
        (cd "$wheels" && sha256sum --quiet -c SHA256SUMS >&2) ||
            fail "$wheels is incomplete or damaged: copy the folder again"
    fi
    [ -e "$directory" ] || created=yes
    mkdir -p "$directory" || fail "cannot write $directory: choose another with --dir"
    [ -e "$mark" ] || echo "$made" >"$mark"
    for leftover in "$directory"/env-*; do # of an installation that was killed
        [ "${leftover##*/}" = "$(readlink "$directory/env" || true)" ] || rm -rf "$leftover"
    done
    new=$directory/env-$(date +%Y%m%d%H%M%S)-$$
    trap abandon EXIT
    trap 'exit 130' INT TERM HUP
    { "$python" -m venv --system-site-packages --without-pip "$new" &&
        { [ -z "$pip_wheel" ] || "$python" -m zipfile -e "$pip_wheel" "$new/pip"; }; } ||
        fail "cannot make a virtual environment in $directory: check the free space"
    install_packages ||
        fail "cannot install the packages: see pip's message above${wheels:+, and check $wheels}"
    rm -rf "$new/pip"
    status=0
    # The library of the engine native is kept in the new environment, where services can read it.
    XDG_CACHE_HOME=$new/cache "$new/bin/digit-edge" selftest || status=$?
    if [ -d "$new/cache" ]; then chmod -R go+rX "$new/cache"; fi
    if [ $status -ne 0 ]; then
        echo "error: the self-test failed (status $status): $(kept); report this with the lines above" >&2
        exit 3
    fi
    switch
}

# Removes what a failed installation has written.
abandon() {
    rm -rf "$new"
    if [ ! -e "$directory/env" ]; then
        rm -f "$mark"
        if [ -n "${created:-}" ]; then rmdir "$directory" 2>/dev/null || true; fi
    fi
}

# Prints the state after a failed self-test.
kept() {
    if [ -e "$directory/env" ]; then echo "the old version is kept"; else echo "nothing is installed"; fi
}

# Replaces the old version by one rename.
switch() {
    old=$(readlink "$directory/env" || true)
    ln -sfn "${new##*/}" "$directory/env.next"
    mv -T "$directory/env.next" "$directory/env"
    trap - EXIT
    printf '%s\n' "$made" "extras: $extras" "engine: $named" >"$mark"
    # Running services have loaded the old version, so its files can be deleted. The services are
    # restarted at the end of this script.
    if [ -n "$old" ]; then rm -rf "${directory:?}/$old"; fi
}

# Writes, enables and starts the systemd unit of service $1; with `check` as $2, only checks the
# paths.
install_service() {
    folder=${folder:-$directory/inbox}
    case $folder in /*) ;; *) folder=$PWD/$folder ;; esac
    for path in "$directory" "$folder"; do
        # systemd and sed interpret spaces, quotes, %, $, &, \, |, : and line breaks.
        invalid=$("$python" -c '
import re, sys
if not re.fullmatch(r"[\w/.,+=-]+", sys.argv[1]):
    print(ascii(sys.argv[1]))' "$path") || fail "$python does not run: choose another with --python"
        [ -z "$invalid" ] || fail "a service cannot use the folder $invalid: choose a folder whose" \
            "path has only letters, digits and / . , + = - _ with --dir or --folder"
    done
    if [ "${2:-}" = check ]; then return; fi
    command -v systemctl >/dev/null || fail "systemd is missing: run digit-edge $1 yourself"
    mkdir -p "$folder" || fail "cannot make $folder: choose another with --folder"
    if [ "$1" = serve ] && [ ! -e "$directory/token" ]; then
        (umask 077 && "$python" -c 'import secrets; print(secrets.token_urlsafe())' \
            >"$directory/token.new" && mv "$directory/token.new" "$directory/token")
    fi
    unit=digit-edge-$1.service
    sed -e "s|@DIR@|$directory|g" -e "s|@FOLDER@|$folder|g" "$here/systemd/$unit" |
        as_root tee "$units/$unit" >/dev/null
    for opened in ${gpio:+gpio} ${internet:+internet}; do
        if [ "$1 $opened" = "serve gpio" ]; then continue; fi # serve runs no commands
        as_root mkdir -p "$units/$unit.d"
        as_root tee "$units/$unit.d/$opened.conf" <"$here/systemd/$opened.conf" >/dev/null
    done
    as_root systemctl daemon-reload
    as_root systemctl enable "$unit"
    as_root systemctl restart "$unit"
    options=${DIGIT_EDGE_DEFAULTS:-/etc/default}/digit-edge-$1
    if [ -n "$(find "$options" -perm -004 2>/dev/null)" ] &&
        grep -qE '^(MQTT_PASSWORD|DIGIT_EDGE_TOKEN)=|://[^/ ]*:[^/ ]*@' "$options"; then
        echo "warning: every user can read the secret in $options: sudo chmod 600 $options" >&2
    fi
    echo "The service digit-edge-$1 is running. Its log: journalctl -u digit-edge-$1"
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
for service in $services; do install_service "$service" check; done
[ "$action" = install ] || exit 0
install
for service in $services; do install_service "$service"; done
for unit in "$units"/digit-edge-*.service; do
    [ -e "$unit" ] || continue
    name=${unit##*/digit-edge-}
    case " $services " in *" ${name%.service} "*) continue ;; esac # restarted above
    as_root systemctl try-restart "${unit##*/}"
done
cat <<TEXT

Installed. Classify a photograph of a digit:

    $directory/env/bin/digit-edge classify photo.jpg
TEXT
