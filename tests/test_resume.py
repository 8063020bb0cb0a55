#!/usr/bin/env python3
"""Stopped by SIGTERM, by a wall-time limit and by kill -9 of one rank, then resumed on another number of ranks: the final file equals that of an
uninterrupted run.   test_resume.py BUILD_FOLDER"""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder
from test_ranks import digests, retina

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                   OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
LONG = ["--set", "run.duration=4 s", "--quiet"]  # some seconds of work


def start(build, folder, out, ranks, options):
    command = ["mpirun", "--oversubscribe", "-n", str(ranks), os.path.join(build, "chiasm"), "simulate", os.path.join(folder, "retina.yaml"), "--out", out]
    return subprocess.Popen(command + LONG + options, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ranks_of(process):
    """Process ids of the ranks below an mpirun."""
    children = subprocess.run(["pgrep", "-P", str(process.pid), "-x", "chiasm"], stdout=subprocess.PIPE, text=True).stdout.split()
    return [int(c) for c in children]


def wait_for(path, process):
    for _ in range(600):
        if os.path.exists(path) or process.poll() is not None:
            return os.path.exists(path)
        time.sleep(0.05)
    return False


def main(build):
    checks = Checks()
    with work_folder() as folder:
        retina(folder)
        yaml = os.path.join(folder, "retina.yaml")
        whole = os.path.join(folder, "whole.h5")
        chiasm(build, "chiasm", ["simulate", yaml, "--out", whole] + LONG, 2)
        expected = digests(whole)

        def resumed(out, ranks, what):
            chiasm(build, "chiasm", ["simulate", yaml, "--out", out, "--resume"] + LONG, ranks)
            found = digests(out)
            differ = [name for name in expected if found.get(name) != expected[name]]
            checks.check(found.keys() == expected.keys() and not differ, f"{what}, resumed on {ranks} ranks: {len(found)} digests equal {differ or ''}")
            left = [f for f in os.listdir(folder) if f.startswith(os.path.basename(out)) and f != os.path.basename(out)]
            checks.check(not left, f"{what}: nothing left behind {left or ''}")

        out = os.path.join(folder, "term.h5")
        process = start(build, folder, out, 2, ["--restart-every", "0.3s"])
        checks.check(wait_for(out + ".restart", process), "a restart file appears while the run goes on")
        for rank in ranks_of(process):  # as srun and the time limit do; mpirun itself answers a SIGTERM with its own exit code
            os.kill(rank, signal.SIGTERM)
        checks.check(process.wait(60) == 75, f"SIGTERM ends in exit code 75 (seen: {process.returncode})")
        checks.check(not os.path.exists(out), "the result has no final name yet")
        resumed(out, 3, "SIGTERM")

        out = os.path.join(folder, "kill.h5")
        process = start(build, folder, out, 3, ["--restart-every", "0.3s"])
        checks.check(wait_for(out + ".restart", process), "a restart file appears")
        os.kill(ranks_of(process)[-1], signal.SIGKILL)
        checks.check(process.wait(60) != 0, f"kill -9 of one rank ends all (exit code {process.returncode})")
        resumed(out, 1, "kill -9 of one rank")

        out = os.path.join(folder, "limit.h5")
        process = start(build, folder, out, 2, ["--max-walltime", "1s"])
        checks.check(process.wait(60) == 75, f"a wall-time limit ends in exit code 75 (seen: {process.returncode})")
        resumed(out, 4, "wall-time limit")
        said = chiasm(build, "chiasm", ["simulate", yaml, "--out", out, "--resume"] + LONG[:2], 2)
        checks.check("complete" in said and "nan" not in said, "--resume of a complete result says so and ends well")
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])
