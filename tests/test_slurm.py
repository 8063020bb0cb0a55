#!/usr/bin/env python3
"""jobs/chiasm.sbatch on a private Slurm of two nodes: stopped by USR1, requeued, done; the result is that of an uninterrupted run.
test_slurm.py BUILD_FOLDER      skipped (77) without Slurm or its testbed, ../shared/slurm/slurm-testbed.sh beside the checkout

The signal goes to the script (scancel --batch), as the one before a time limit does (#SBATCH --signal=B:USR1@120)."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, chiasm, work_folder
from test_ranks import digests, retina

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TESTBED = os.path.join(SOURCE, "..", "shared", "slurm", "slurm-testbed.sh")
LONG = ["--set", "run.duration=4 s", "--quiet"]  # some seconds of work
PATIENCE_S = 100
SKIPPED = 77


def said(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def state_of(job):
    """JobState, Restarts, ExitCode, .. of `scontrol show job`."""
    return dict(word.split("=", 1) for word in said("scontrol", "show", "job", job).split() if "=" in word)


def inside(folder):
    """Submits, sends one signal when there is a restart file, waits for the end; prints the states seen."""
    out = os.path.join(folder, "out.h5")
    script = os.path.join(SOURCE, "jobs", "chiasm.sbatch")
    job = said("sbatch", "--parsable", "-N", "2", "--ntasks-per-node=1", f"--chdir={folder}", script, "simulate", os.path.join(folder, "retina.yaml"), "--out", out,
               "--restart-every", "0.3s", *LONG)
    seen, signalled, end = [], False, time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        state = state_of(job)
        now = f"{state['JobState']} restarts {state['Restarts']}"
        if not seen or seen[-1] != now:
            seen.append(now)
            print(f"  {now}", flush=True)
        if state["JobState"] not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED"):
            break
        if not signalled and state["JobState"] == "RUNNING" and os.path.exists(out + ".restart"):
            said("scancel", "--batch", "--signal=USR1", job)
            signalled = True
        time.sleep(0.2)
    sys.exit(0 if state["JobState"] == "COMPLETED" else 1)


def main(build):
    if not os.path.exists(TESTBED):
        print(f"skipped: no {TESTBED}")
        sys.exit(SKIPPED)
    checks = Checks()
    with work_folder() as folder:
        os.chmod(folder, 0o755)
        retina(folder)
        environment = dict(os.environ, CHIASM=os.path.abspath(os.path.join(build, "chiasm")), OMPI_MCA_mpi_yield_when_idle="1")  # fewer cores than ranks
        slurm = subprocess.run([TESTBED, "run", "-n", "2", "-t", str(PATIENCE_S + 20), "--", sys.executable, os.path.abspath(__file__), "--inside", folder],
                               stdout=subprocess.PIPE, text=True, env=environment)
        print(slurm.stdout, end="")
        if slurm.returncode == SKIPPED:
            sys.exit(SKIPPED)
        log = "".join(open(os.path.join(folder, f)).read() for f in os.listdir(folder) if f.endswith(".out"))
        checks.check(slurm.returncode == 0, "the job completes")
        checks.check("chiasm ended with exit code 75" in log and "start 2, 2 ranks" in log, "USR1 ends in exit code 75 and a second start")
        if checks.failed:
            print(log)
            checks.done()
        whole, out = os.path.join(folder, "whole.h5"), os.path.join(folder, "out.h5")
        chiasm(build, "chiasm", ["simulate", os.path.join(folder, "retina.yaml"), "--out", whole] + LONG)
        expected, found = digests(whole), digests(out)
        checks.check(found == expected, f"{len(found)} digests equal those of an uninterrupted run")
        left = sorted(f for f in os.listdir(folder) if f.startswith("out.h5."))
        checks.check(not left, f"nothing left behind {left or ''}")
    checks.done()


if __name__ == "__main__":
    if sys.argv[1] == "--inside":
        inside(sys.argv[2])
    main(sys.argv[1])
