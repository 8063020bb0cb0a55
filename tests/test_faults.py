#!/usr/bin/env python3
"""What can go wrong around a run: command lines, results that exist or cannot be written, a full disk, Ctrl-C, values that are not finite, damaged
restart files.   test_faults.py BUILD_FOLDER"""
import os
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, work_folder, write_yaml
from test_bad_input import ALARMS, ENVIRONMENT, without_launcher
from test_ranks import digests, retina
from test_resume import ranks_of, wait_for

ABORT_BOX = re.compile(r"-{50,}\nMPI_ABORT was invoked.*?-{50,}\n", re.S)


class Bench:
    """A folder with inputs, and the program."""

    def __init__(self, build, folder):
        self.program, self.folder, self.checks = os.path.join(build, "chiasm"), folder, Checks()

    def at(self, name):
        return os.path.join(self.folder, name)

    def command(self, words, ranks=1):
        return (["mpirun", "--oversubscribe", "-n", str(ranks)] if ranks > 1 else []) + [self.program] + words

    def start(self, words, ranks):
        return subprocess.Popen(self.command(words, ranks), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env=ENVIRONMENT)

    def run(self, words, ranks=1):
        """Exit code, all that was said without what mpirun adds."""
        done = subprocess.run(self.command(words, ranks), cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT,
                              timeout=120)
        return done.returncode, ABORT_BOX.sub("", without_launcher(done.stdout))

    def expect(self, what, words, code, pieces, ranks=1):
        """Exit code and one line with all pieces."""
        seen, said = self.run(words, ranks)
        self.judge(what, seen, said, code, pieces)
        return said

    def judge(self, what, seen, said, code, pieces):
        line = next((line for line in said.splitlines() if all(p in line for p in pieces)), None)
        ok = seen == code and line is not None and not ALARMS.search(said)
        self.checks.check(ok, f"{what}: " + (line if ok else f"exit code {seen} (wanted {code}), a line with {pieces} is wanted"))
        if not ok:
            print(said)

    def files(self, folder="."):
        return sorted(os.listdir(self.at(folder)))


def small(bench):
    write_yaml(bench.at("small.yaml"), {
        "run": {"duration": "20 ms"},
        "field": {"pixels": [24, 20], "resolution": "10 /deg"},
        "stimulus": {"type": "flash"},
        "model": {"stages": [{"name": "low", "type": "lowpass", "input": "stimulus", "tau": "5 ms"}]},
        "record": {"maps": ["low"]},
    })


def command_lines(bench):
    for words, pieces in (
            ([], ["which command", "chiasm help"]),
            (["simulat", "small.yaml"], ["simulat;", "did you mean chiasm simulate"]),
            (["simulate"], ["which input file", "chiasm simulate FILE.yaml"]),
            (["simulate", "small.yaml", "other.yaml"], ["one input file", "other.yaml"]),
            (["simulate", "small.yaml", "--overwrit"], ["--overwrit;", "did you mean --overwrite"]),
            (["simulate", "small.yaml", "--restart-evry", "1min"], ["did you mean --restart-every"]),
            (["simulate", "small.yaml", "--frobnicate"], ["--frobnicate", "chiasm help simulate"]),
            (["simulate", "small.yaml", "--out"], ["--out needs a value", "RESULT.h5"]),
            (["simulate", "small.yaml", "--set", "run.seed"], ["--set", "'run.seed'", "KEY=VALUE"]),
            (["simulate", "small.yaml", "--max-walltime", "10"], ["--max-walltime", "'10' has no unit", "min"]),
            (["simulate", "small.yaml", "--ranks", "3"], ["--ranks", "--plan", "mpirun -n 3"]),
            (["simulate", "small.yaml", "--threads", "0"], ["--threads", "'0'"]),
            (["simulate", "small.yaml", "--device", "gpu"], ["--device", "'gpu'", "cpu, cuda, auto"]),
            (["validate", "small.yaml", "--overwrite"], ["--overwrite is a flag of simulate"]),
            (["help", "lfi"], ["lfi", "did you mean chiasm help lif"]),
            (["version", "now"], ["too many words"])):
        bench.expect("chiasm " + " ".join(words), words, 64, pieces)
    for ranks in (1, 2):
        code, said = bench.run(["simulate", "small.yaml", "--overwrit"], ranks)
        bench.checks.check(code == 64 and said.count("did you mean") == 1, f"said once by {ranks} ranks")
    none = dict(os.environ, PATH="/nowhere")  # no mpirun to be found
    for words in (["help"], ["help", "lif"], ["help", "stage"], ["help", "cat-x"], ["version"], ["--help"], ["simulate", "--help"]):
        done = subprocess.run([bench.program] + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=none, timeout=20)
        bench.checks.check(done.returncode == 0 and len(done.stdout) > 40 and not done.stderr, f"chiasm {' '.join(words)} works without mpirun")


def results_that_exist(bench):
    words = ["simulate", "small.yaml", "--out", "out.h5", "--quiet"]
    bench.expect("first run", words + ["--verbose"], 0, ["result", "out.h5"])
    before = digests(bench.at("out.h5"))
    for ranks in (1, 2):
        bench.expect(f"existing result, {ranks} ranks", words + ["--set", "run.seed=2"], 73, ["'out.h5' exists already", "--overwrite", "--out"], ranks)
    bench.checks.check(digests(bench.at("out.h5")) == before and bench.files() == ["out.h5", "small.yaml"], "it is as it was, and nothing beside it")
    code, _ = bench.run(words + ["--overwrite", "--set", "run.duration=10 ms"])
    bench.checks.check(code == 0 and digests(bench.at("out.h5")) != before, "--overwrite replaces it")
    code, _ = bench.run(["simulate", "small.yaml", "--quiet"])
    bench.checks.check(code == 0 and bench.files("results") == ["small.h5"], "without --out: results/small.h5")
    os.mkdir(bench.at("folder.h5"))
    bench.expect("a folder as result", words[:3] + ["folder.h5", "--overwrite"], 73, ["'folder.h5'", "folder"])
    bench.expect("below a file", words[:3] + ["small.yaml/out.h5"], 73, ["small.yaml/out.h5", "Not a directory"])
    for ranks in (1, 2):
        bench.expect(f"no such folder, {ranks} ranks", words[:3] + ["none/out.h5"], 73, ["none/out.h5", "No such file or directory", "folder"], ranks)


def writes_nothing(bench):
    before = bench.files()
    bench.expect("--plan", ["simulate", "small.yaml", "--plan", "--ranks", "3", "--out", "plan.h5"], 0, ["memory", "of 3"])
    bench.expect("--dump-input", ["simulate", "small.yaml", "--dump-input"], 0, ["duration: 20 ms"])
    bench.expect("validate", ["validate", "small.yaml"], 0, ["no problems"])
    bench.checks.check(bench.files() == before, "--plan, --dump-input and validate write nothing")


def not_finite(bench):
    stages = [{"name": f"g{i}", "type": "gain", "input": f"g{i - 1}" if i else "stimulus", "scale": "1e12"} for i in range(5)]
    write_yaml(bench.at("infinite.yaml"), {
        "run": {"duration": "20 ms"}, "field": {"pixels": [24, 20], "resolution": "10 /deg"}, "stimulus": {"type": "flash"},
        "model": {"stages": stages}, "record": {"maps": ["g4"]}})
    before = bench.files()
    for ranks in (1, 2):
        words = ["simulate", "infinite.yaml", "--out", "infinite.h5", "--quiet"]
        bench.expect(f"infinity in a model, {ranks} ranks", words, 76, ["stage 'g", "not finite", "step"], ranks)
    bench.checks.check(bench.files() == before, "no file is left")


def interrupted(bench):
    words = ["simulate", "retina.yaml", "--out", "c.h5", "--set", "run.duration=30 s"]
    process = bench.start(words + ["--restart-every", "0.1s", "--quiet"], 2)
    bench.checks.check(wait_for(bench.at("c.h5.restart"), process), "runs")
    for rank in ranks_of(process):
        os.kill(rank, signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    bench.checks.check(process.returncode == 75 and {"c.h5.restart", "c.h5.part"} <= set(bench.files()) and "c.h5" not in bench.files(),
                       f"Ctrl-C: exit code 75 (seen: {process.returncode}), restart file and unfinished result are there")
    bench.checks.check("c.h5.lock" not in bench.files() and not ALARMS.search(said), "no lock is left, nothing alarming is said")
    bench.expect("the restart file is not thrown away", words, 73, ["c.h5.restart", "--resume", "--overwrite"])
    bench.expect("resume with another seed", words + ["--resume", "--set", "run.seed=99"], 65, ["c.h5.restart", "another input"], 2)
    said = bench.expect("... says what differs", words + ["--resume", "--set", "run.seed=99"], 65, ["+", "seed: 99"])
    bench.checks.check("- " in said and "seed: 11" in said, "then and now")
    process = bench.start(words + ["--resume", "--set", "run.chunk=4000", "--quiet"], 2)  # so long a chunk that the first signal is not seen at once
    time.sleep(1.5)
    began = time.monotonic()
    for _ in range(2):
        for rank in ranks_of(process):
            os.kill(rank, signal.SIGINT)
        time.sleep(0.05)
    process.communicate(timeout=60)
    seconds = time.monotonic() - began
    bench.checks.check(process.returncode not in (0, 75) and seconds < 5, f"a second Ctrl-C ends at once: {seconds:.1f} s, exit code {process.returncode}")


def damage(path):
    with open(path, "r+b") as f:
        size = os.path.getsize(path)
        f.seek(size // 3)
        f.write(b"\xa5" * (size // 3))


def damaged_restart(bench):
    words = ["simulate", "retina.yaml", "--out", "d.h5", "--set", "run.duration=1.5 s", "--quiet"]
    whole = [w if w != "d.h5" else "whole.h5" for w in words]
    bench.checks.check(bench.run(whole, 2)[0] == 0, "whole run")
    process = bench.start(words + ["--restart-every", "0.05s"], 2)
    bench.checks.check(wait_for(bench.at("d.h5.restart.prev"), process), "two restart files appear")
    for rank in ranks_of(process):
        os.kill(rank, signal.SIGTERM)
    process.communicate(timeout=60)
    bench.checks.check(process.returncode == 75, f"stopped (exit code {process.returncode})")
    damage(bench.at("d.h5.restart"))
    with open(bench.at("d.h5.restart.prev"), "rb") as f:
        previous = f.read()
    bench.expect("a damaged restart file: the one before is used", words + ["--resume"], 0, ["d.h5.restart is not used", "the one before"], 2)
    bench.checks.check(digests(bench.at("d.h5")) == digests(bench.at("whole.h5")), "the same result as that of the whole run")
    for name in ("d.h5.restart", "d.h5.restart.prev"):
        with open(bench.at(name), "wb") as f:
            f.write(previous)
        damage(bench.at(name))
    os.rename(bench.at("d.h5"), bench.at("d.h5.part"))
    bench.expect("both damaged", words + ["--resume"], 65, ["no restart file of d.h5 is whole", "--overwrite"], 2)


def read_back(bench):
    """The effective input is the run."""
    preset = {"run": {"duration": "60 ms"}, "field": {"pixels": [48, 40], "resolution": "10 /deg"},
              "stimulus": {"type": "checkerboard", "check": "0.4 deg"}, "model": {"preset": "cat-x"}, "record": {"maps": ["opl", "bipolar"], "spikes": "all"}}
    write_yaml(bench.at("preset.yaml"), preset)
    for name, more in (("retina", []), ("preset", ["--set", "model.stages.opl.weights=[1, -0.8]"])):
        original = ["simulate", name + ".yaml"] + more
        code, text = bench.run(original + ["--dump-input"])
        with open(bench.at(name + "-effective.yaml"), "w") as f:
            f.write(text)
        codes = [code, bench.run(original + ["--out", name + ".h5", "--quiet"])[0],
                 bench.run(["simulate", name + "-effective.yaml", "--out", name + "-effective.h5", "--quiet"])[0]]
        bench.checks.check(codes == [0, 0, 0] and digests(bench.at(name + ".h5")) == digests(bench.at(name + "-effective.h5")),
                           f"{name}: what --dump-input prints gives the same digests (exit codes {codes})")
        again = bench.run(["simulate", name + "-effective.yaml", "--dump-input"])[1]
        bench.checks.check(again == text, f"{name}: and prints itself")


def fill(path):
    with open(path, "wb") as f:
        try:
            while True:
                f.write(b"\0" * (1 << 16))
                f.flush()
        except OSError:
            pass


def full_disk(bench):
    disk = bench.at("disk")
    os.mkdir(disk)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", disk], stderr=subprocess.DEVNULL).returncode != 0:
        print("  skipped: a small file system cannot be mounted here (disk full)")
        return
    try:
        words = ["simulate", "retina.yaml", "--out", "disk/x.h5", "--quiet", "--set", "record.buffer_mb=1"]
        began = time.monotonic()
        bench.expect("disk too small, seen at the start", words + ["--set", "run.duration=9 s"], 74, ["disk full", "disk/x.h5", "free some space", "--out"], 2)
        bench.checks.check(time.monotonic() - began < 10 and bench.files("disk") == [], f"within 10 s, nothing left: {bench.files('disk')}")
        little = ["--set", "record.maps=[{stage: opl, every: 10 ms}]", "--set", "record.reports=[]"]
        process = bench.start(words + little + ["--set", "run.duration=3 s"], 2)
        for _ in range(400):
            if process.poll() is not None or (os.path.exists(bench.at("disk/x.h5.part")) and os.path.getsize(bench.at("disk/x.h5.part")) > 1000000):
                break
            time.sleep(0.02)
        bench.checks.check(process.poll() is None, "runs, and has written a part")
        fill(bench.at("disk/other"))
        began = time.monotonic()
        said = ABORT_BOX.sub("", without_launcher(process.communicate(timeout=60)[0]))
        seconds = time.monotonic() - began
        bench.judge("disk filled by another while it runs", process.returncode, said, 74, ["disk full", "disk/x.h5"])
        bench.checks.check(seconds < 10 and said.count("chiasm:") == 1, f"within 10 s ({seconds:.1f} s), said by one rank: {said.strip()}")
        left = bench.files("disk")
        bench.checks.check("x.h5" not in left and "x.h5.lock" not in left, f"no result under its name, no lock: {left}")
    finally:
        subprocess.run(["umount", disk])


def main(build):
    with work_folder() as folder:
        bench = Bench(os.path.abspath(build), folder)
        small(bench)
        command_lines(bench)
        results_that_exist(bench)
        writes_nothing(bench)
        not_finite(bench)
        retina(folder)
        read_back(bench)
        interrupted(bench)
        damaged_restart(bench)
        full_disk(bench)
    bench.checks.done()


if __name__ == "__main__":
    main(sys.argv[1])
