#!/usr/bin/env bash
# Installs an arm64 Python with the packages of locks/device.txt and locks/test.txt. qemu's user mode runs it on a
# processor of another architecture.
#   install.sh DIR PIP...      PIP is the command of a pip, which fetches the wheels of arm64
# The result is DIR/python. For a Raspberry Pi 4, call it as  QEMU_CPU=cortex-a72 DIR/python ARGUMENTS…  For a Pi 5, set
# cortex-a76. qemu's own "max" is refused, because it computes int8 wrongly. The results are those of arm64, but the
# times are not. The script needs Debian or a system that is based on it. If qemu or mmdebstrap is missing, root
# installs it. If the emulator cannot be installed, the script prints one line, and its exit status is 77.
set -euo pipefail

skip() { echo "no arm64 by emulation: $*"; exit 77; }

[ "$(uname -m)" = x86_64 ] || skip "this machine is $(uname -m); make test-device tests it"
dir=$(realpath -m "$1"); shift
locks=$(dirname "$(realpath "$0")")/../../locks
sources=/etc/apt/sources.list.d/debian.sources
[ -e $sources ] || sources=/etc/apt/sources.list
[ -s $sources ] || skip 'it takes a Debian system'
if ! { command -v qemu-aarch64 && command -v mmdebstrap; } >/dev/null; then
	[ "$(id -u)" = 0 ] || skip "install qemu-user and mmdebstrap, or run as root"
	{ apt-get -o DPkg::Lock::Timeout=300 update -qq && DEBIAN_FRONTEND=noninteractive apt-get \
		-o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends qemu-user mmdebstrap; } \
		</dev/null >/dev/null || skip "apt-get cannot install qemu-user and mmdebstrap"
fi

rm -rf "$dir"
mkdir -p "$dir"
mmdebstrap --quiet --variant=extract --arch=arm64 \
	--include=base-files,python3-minimal,libpython3-stdlib,libstdc++6,libgcc-s1 \
	"$(. /etc/os-release; echo "$VERSION_CODENAME")" "$dir/debian" "$sources" ||
	skip "mmdebstrap cannot fetch Debian's Python for arm64"
python=$(basename "$(realpath "$dir"/debian/usr/bin/python3)")
version=${python#python}
abi=cp${version/./}
"$@" install --quiet --disable-pip-version-check --target "$dir/site" --no-deps --require-hashes \
	--only-binary=:all: --python-version "$version" --implementation cp --abi "$abi" --abi abi3 --abi none \
	--platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
	-r "$locks/device.txt" -r "$locks/test.txt"

# Writes the files in which Linux describes the processor. The arguments are qemu's name of the processor, and then its
# variant, part, revision and features. LiteRT chooses its kernels by these files, and it dies without them.
board() {
	mkdir -p "$dir/$1/proc" "$dir/$1/sys/devices/system/cpu"
	ln -s ../debian/usr ../debian/lib ../debian/etc "$dir/$1/"
	for core in 0 1 2 3; do
		printf 'processor\t: %d\nBogoMIPS\t: 108.00\nFeatures\t: %s\nCPU implementer\t: 0x41\nCPU architecture: 8\n' \
			"$core" "$5"
		printf 'CPU variant\t: %s\nCPU part\t: %s\nCPU revision\t: %s\n\n' "$2" "$3" "$4"
	done >"$dir/$1/proc/cpuinfo"
	echo 0-3 | tee "$dir/$1/sys/devices/system/cpu/possible" >"$dir/$1/sys/devices/system/cpu/present"
}
board cortex-a72 0x0 0xd08 3 'fp asimd evtstrm crc32 cpuid'
board cortex-a76 0x4 0xd0b 1 \
	'fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp'

cat >"$dir/python" <<END
#!/bin/sh
dir=\$(dirname "\$(realpath "\$0")")
[ -d "\$dir/\${QEMU_CPU:?cortex-a72 or cortex-a76}" ] || { echo "QEMU_CPU is '\$QEMU_CPU'; known: cortex-a72, cortex-a76" >&2; exit 2; }
export QEMU_LD_PREFIX="\$dir/\$QEMU_CPU" PYTHONPATH="\$dir/site\${PYTHONPATH:+:\$PYTHONPATH}"
exec qemu-aarch64 "\$dir/debian/usr/bin/$python" "\$@"
END
chmod +x "$dir/python"
