#!/usr/bin/env python3
"""tools/bundle: a folder under 60 MB that runs from its own libraries, with nothing of Open MPI around it.  test_bundle.py BUILD_FOLDER"""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, work_folder, write_yaml

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
LISTED = ("chiasm", "test_blur", "test_cells")  # a few: packing all of them takes minutes


def skip(why):
    print("skipped: " + why)
    sys.exit(77)


def run(bundle, folder, *words):
    """With an empty environment."""
    done = subprocess.run(["env", "-i", "PATH=/usr/bin:/bin", f"TMPDIR={folder}", "OMP_NUM_THREADS=1", f"{bundle}/run", *words], cwd=folder, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=200)
    return done.returncode, done.stdout


def mapped(program, bundle, folder):
    """What the loader takes, library by library."""
    place = next(os.path.join(folder, name) for name in os.listdir(folder) if name.startswith("chiasm-bundle-"))
    environment = {"LD_LIBRARY_PATH": f"{place}/machine:{place}/lib:{place}/cufft", "PATH": "/usr/bin:/bin"}
    return place, subprocess.run(["ldd", f"{place}/bin/{program}"], env=environment, stdout=subprocess.PIPE, text=True).stdout


def main(build):
    if "libcufft" not in subprocess.run(["ldd", os.path.join(build, "chiasm")], stdout=subprocess.PIPE, text=True).stdout:
        skip("no CUDA in this build")
    for tool in ("xz", "readelf", "strip"):
        if not shutil.which(tool):
            skip(f"no {tool}")
    checks = Checks()
    with work_folder() as folder:
        small, bundle, home = (os.path.join(folder, name) for name in ("small", "bundle", "home"))
        os.makedirs(small)
        os.makedirs(home)
        for name in LISTED:
            shutil.copy(os.path.join(build, name), small)
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tools/bundle"), small, bundle], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        print(done.stdout, flush=True)
        checks.check(done.returncode == 0, "packed, under 60 MB")
        code, text = run(bundle, home)
        checks.check(code == 64 and all(name in text.split() for name in LISTED), "run lists its programs")
        code, text = run(bundle, home, "chiasm", "version")
        checks.check(code == 0 and text.startswith("chiasm "), "chiasm version")
        for name in LISTED[1:]:
            code, text = run(bundle, home, name)
            checks.check(code == 0, f"{name} passes" + ("" if code == 0 else ": " + text))
        write_yaml(os.path.join(home, "blur.yaml"), {
            "run": {"duration": "20 ms", "step": "1 ms"}, "field": {"pixels": [40, 30], "resolution": "10 /deg"},
            "stimulus": {"type": "grating", "kind": "drifting", "spatial_frequency": "0.7 /deg", "temporal_frequency": "8 Hz"},
            "model": {"stages": [{"name": "opl", "type": "blur", "input": "stimulus", "sigma": "0.1 deg"}]}, "record": {"maps": ["opl"]}})
        code, text = run(bundle, home, "chiasm", "simulate", "blur.yaml", "--out", "result.h5")
        checks.check(code == 0 and os.path.exists(os.path.join(home, "result.h5")), "a simulation" + ("" if code == 0 else ": " + text))
        place, libraries = mapped("chiasm", bundle, home)
        outside = [line.split()[0] for line in libraries.splitlines() if "=>" in line and place not in line and "libcufft" not in line]
        strange = [name for name in outside if not name.startswith(("libc.", "libm.", "libpthread.", "libdl.", "librt.", "libresolv.", "libutil."))]
        checks.check(not strange and "not found" not in libraries, f"only the C library is the machine's ({', '.join(outside)})" + (f", but {strange}" if strange else ""))
        load = "import ctypes, sys; v = ctypes.c_int(); l = ctypes.CDLL(sys.argv[1]); print(l.cufftGetVersion(ctypes.byref(v)), v.value, l.cufftPlan1d(ctypes.byref(ctypes.c_int()), 256, 0x2a, 1))"
        done = subprocess.run([sys.executable, "-c", load, f"{place}/cufft/libcufft.so.12"], stdout=subprocess.PIPE, text=True)
        words = done.stdout.split()
        checks.check(done.returncode == 0 and words[0] == "0" and int(words[1]) >= 12000, f"the trimmed cuFFT loads: version {words[1:2]}, a plan gives {words[2:]}")
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])
