#!/usr/bin/env python3
"""Malformed inputs, end to end: exit code 65 (66: cannot be opened) within 5 s, one line for each problem with file, line, key and what is
wanted, nothing else on stderr, and no file left behind.   test_bad_input.py BUILD_FOLDER"""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import time

import h5py
import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from parity import Checks, work_folder

ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1",
                   OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
LIMIT_S = 5

GOOD = """\
run:
  duration: 20 ms
  step: 1 ms
field:
  pixels: [24, 20]
  resolution: 10 /deg
stimulus:
  type: grating
  kind: drifting
  spatial_frequency: 0.7 /deg
  temporal_frequency: 8 Hz
model:
  stages:
    - {name: opl, type: blur, input: stimulus, sigma: 0.2 deg}
    - {name: low, type: lowpass, input: opl, tau: 10 ms}
    - {name: rate, type: rectify, input: low, value: 37 Hz, slope: 200 Hz}
    - {name: cells, type: cells, input: rate, density: 4 /deg}
    - {name: spikes, type: lif, input: cells}
record:
  maps: [{stage: opl, every: 2 ms}]
  spikes: all
"""
GRATING = GOOD[GOOD.index("  type: grating"):GOOD.index("model:")]
STAGES = GOOD[GOOD.index("  stages:"):GOOD.index("record:")]
BLUR = "{name: opl, type: blur, input: stimulus, sigma: 0.2 deg}"

FIT = """\
fit:
  parameters: [opl.sigma, {name: low.tau, min: 1 ms, max: 1 s}]
  data: {stage: rate, source: "data.h5:/y", axes: [time, cell]}
  sequences: {length: 5, burn_in: 2}
  split: {validation: 0.4}
  optimiser: {method: adam, rate: 0.01}
record:
"""

RETINA = """\
<retina-description-file>
<retina temporal-step__sec="0.001" input-luminosity-range="255" pixels-per-degree="10.0">
<outer-plexiform-layer>
<linear-version center-sigma__deg="0.1" surround-sigma__deg="0.2" center-tau__sec="0.01" center-n__uint="0"
 surround-tau__sec="0.004" opl-amplification="10" opl-relative-weight="1" leaky-heat-equation="1"/>
</outer-plexiform-layer>
<contrast-gain-control opl-amplification__Hz="50" bipolar-inert-leaks__Hz="50" adaptation-sigma__deg="0.2"
 adaptation-tau__sec="0.005" adaptation-feedback-amplification__Hz="0"/>
</retina>
</retina-description-file>
"""


def conv(kernel, more=""):
    return "{name: opl, type: conv, input: stimulus, kernel: '%s'%s}" % (kernel, more)


def shown(text):
    """In place of the grating."""
    return (GRATING, "  " + text.replace("; ", "\n  ") + "\n")


def preset(text="  preset: virtualretina\n  file: retina.xml\n"):
    return (STAGES, text)


def fit(*edits):
    return ("record:\n", FIT) + edits


# Name, what is replaced in GOOD by what, pieces that one line must have together (a line number of 0: the whole file); more dictionaries:
# several lines.  "line" is where the replacement stands unless a number is given.
CASES = [
    # the text
    ("tab", ("  step: 1 ms", "\tstep: 1 ms"), ["tab", "space"]),
    ("unclosed bracket", ("[24, 20]", "[24, 20"), ["]"], 6),
    ("duplicate key", ("  step: 1 ms", "  step: 1 ms\n  step: 2 ms"), ["step", "twice", "3"], 4),
    ("anchor", ("duration: 20 ms", "duration: &d 20 ms"), ["anchor"]),
    ("not UTF-8", ("kind: drifting", "kind: dr\udcffing"), ["UTF-8"]),
    ("a list for a section", ("  duration: 20 ms\n  step: 1 ms\n", "  - 1\n  - 2\n"), ["run", "list", "mapping"], 1),
    # keys of every section
    ("unknown section", ("record:", "rekord:"), ["rekord", "'record'"]),
    ("unknown key in run", ("  step: 1 ms", "  setp: 1 ms"), ["run.setp", "'step'"]),
    ("unknown key in field", ("  resolution: 10 /deg", "  resolution: 10 /deg\n  tile: [1, 1]"), ["field.tile", "'tiles'"], 7),
    ("unknown key in stimulus", ("temporal_frequency", "temporal_freqency"), ["stimulus.temporal_freqency", "'temporal_frequency'"]),
    ("unknown key in model", ("  stages:", "  presett: cat-x\n  stages:"), ["model.presett", "'preset'"]),
    ("unknown key in a stage", ("tau: 10 ms", "tau: 10 ms, ordre: 2"), ["low.ordre", "'order'"]),
    ("unknown key in record", ("spikes: all", "spike: all"), ["record.spike", "'spikes'"]),
    ("unknown key in record.maps", ("every: 2 ms", "evry: 2 ms"), ["record.maps", "evry", "'every'"]),
    ("missing key", ("tau: 10 ms", "order: 1"), ["low.tau", "missing", "s, ms, us, min, h"]),
    ("missing section", (GOOD[GOOD.index("stimulus:"):GOOD.index("model:")], ""), ["stimulus", "missing"], 0),
    ("missing resolution", ("  resolution: 10 /deg\n", ""), ["field.resolution", "missing", "/deg"], 4),
    # values
    ("wrong unit", ("sigma: 0.2 deg", "sigma: 0.2 s"), ["opl.sigma", "'0.2 s' is a time", "deg, arcmin, arcsec, rad"]),
    ("missing unit", ("tau: 10 ms", "tau: 10"), ["low.tau", "unit", "s, ms, us, min, h"]),
    ("unknown unit", ("tau: 10 ms", "tau: 10 msec"), ["low.tau", "msec", "ms"]),
    ("negative tau", ("tau: 10 ms", "tau: -10 ms"), ["low.tau", "'-10 ms'", "range", "0 to 1000000 s"]),
    ("negative sigma", ("sigma: 0.2 deg", "sigma: -0.2 deg"), ["opl.sigma", "'-0.2 deg'", "range"]),
    ("not a number", ("sigma: 0.2 deg", "sigma: wide"), ["opl.sigma", "'wide'", "number"]),
    ("NaN as a number", ("sigma: 0.2 deg", "sigma: nan deg"), ["opl.sigma", "nan"]),
    ("wrong word", ("kind: drifting", "kind: driftin"), ["stimulus.kind", "'driftin'", "'drifting'"]),
    ("yes for true", ("input: cells}", "input: cells, random_start: yes}"), ["spikes.random_start", "'yes'", "true, false"]),
    ("fraction for a whole number", ("  step: 1 ms", "  step: 1 ms\n  seed: 1.5"), ["run.seed", "'1.5'", "whole number"], 4),
    ("duration no multiple of the step", ("duration: 20 ms", "duration: 20.5 ms"), ["run: duration", "0.0205 s", "0.001 s"]),
    ("size and pixels", ("  pixels: [24, 20]", "  pixels: [24, 20]\n  size: [2.4 deg, 2 deg]"), ["field", "size or pixels"], 4),
    ("too many tiles", ("  resolution: 10 /deg", "  resolution: 10 /deg\n  tiles: [1, 90]"), ["field: tiles", "90", "24"], 7),
    ("sigma larger than the field", ("sigma: 0.2 deg", "sigma: 90 deg"), ["opl", "sigma", "90 deg", "24 x 20"]),
    # stages
    ("unknown stage type", ("type: lowpass", "type: lowpas"), ["low.type", "unknown stage type 'lowpas'", "lowpass", "gain_control"]),
    ("unknown input stage", ("input: low,", "input: lwo,"), ["'rate'", "'lwo'", "stimulus, opl, low"]),
    ("stage used before it is defined", ("input: low,", "input: cells,"), ["'rate'", "'cells'", "below"]),
    ("stage that reads itself", ("input: opl,", "input: low,"), ["'low'", "itself"]),
    ("two stages of one name", ("name: low,", "name: opl,"), ["'opl'", "taken", "earlier"]),
    ("name with a slash", ("name: low,", "name: lo/w,"), ["lo/w", "letters, digits"]),
    ("no input", (", input: low,", ","), ["'rate'", "1 input", "0 given"]),
    ("two inputs of one", ("input: low,", "inputs: [low, opl],"), ["'rate'", "1 input", "2 given"]),
    ("cells on cells", ("    - {name: spikes", "    - {name: more, type: cells, input: cells, density: 4 /deg}\n    - {name: spikes"),
     ["'more'", "map", "'cells' is a population of cells"], 18),
    ("lif on a map", ("type: lif, input: cells", "type: lif, input: rate"), ["'spikes'", "cells", "'rate' is a map"]),
    ("blur on cells", ("type: lif, input: cells", "type: blur, sigma: 0.1 deg, input: cells"), ["'spikes'", "map", "'cells' is a population"]),
    ("no stages", (STAGES, "  stages: []\n"), ["model", "preset", "stages"], 12),
    ("deriche on several tiles", [("sigma: 0.2 deg", "sigma: 0.2 deg, method: deriche"), ("/deg\nsti", "/deg\n  tiles: [2, 2]\nsti")],
     ["'opl'", "deriche", "field.tiles: [1, 1]", "2 x 2"], 15),
    ("log-polar without model.log_polar", ("sigma: 0.2 deg", "sigma: 0.2 deg, scheme: log-polar"), ["opl", "log-polar", "model.log_polar"]),
    # kernels
    ("kernel file missing", (BLUR, conv("none.h5:/k")), ["kernel", "none.h5", "No such file"]),
    ("kernel without a dataset", (BLUR, conv("data.h5")), ["kernel", "FILE.h5:/NAME"]),
    ("kernel dataset missing", (BLUR, conv("data.h5:/kk")), ["kernel", "data.h5", "/kk"]),
    ("kernel of rank 2", (BLUR, conv("data.h5:/flat")), ["kernel", "/flat", "3 to 5 dimensions", "[t][y][x]"]),
    ("kernel with NaN", (BLUR, conv("data.h5:/nan")), ["kernel", "value 7", "finite"]),
    ("kernel larger than the field", (BLUR, conv("data.h5:/large", ", region: valid")), ["kernel", "25", "24 x 20"]),
    ("kernel that is no HDF5", (BLUR, conv("text.h5:/k")), ["kernel", "text.h5", "HDF5"]),
    ("kernel of texts", (BLUR, conv("data.h5:/words")), ["kernel", "/words", "number"]),
    # films and arrays
    ("unknown stimulus", ("type: grating", "type: gratin"), ["stimulus.type", "'gratin'", "grating"]),
    ("movie missing", shown("type: movie; file: none.mp4"), ["stimulus", "file", "none.mp4", "No such file"], 9),
    ("movie cut short", shown("type: movie; file: cut.mkv") + ("duration: 20 ms", "duration: 400 ms"), ["ends after 0.16 s", "0.4 s"], 7),
    ("movie whose end is gone", shown("type: movie; file: gone.mp4") + ("duration: 20 ms", "duration: 400 ms"), ["gone.mp4", "frame"], None),
    ("movie without its end", shown("type: movie; file: cut.mp4"), ["stimulus", "cut.mp4"], 9),
    ("not a movie", shown("type: movie; file: text.h5"), ["stimulus", "text.h5"], 9),
    ("movie too short", shown("type: movie; file: film.mkv") + ("duration: 20 ms", "duration: 9 s"), ["0.4 s", "9 s", "loop"], 7),
    ("start after the movie's end", shown("type: movie; file: film.mkv; start: 3 s"), ["start", "0.4 s", "3 s"], 10),
    ("image that is no image", shown("type: image; file: text.h5"), ["stimulus", "text.h5", "picture"], 9),
    ("dataset missing", shown("type: dataset; file: data.h5:/none"), ["stimulus", "data.h5", "/none"], 9),
    ("dataset of rank 2", shown("type: dataset; file: data.h5:/flat"), ["stimulus", "/flat", "2 dimensions", "axes: tyx asks for 3"], 9),
    ("NaN in a dataset", shown("type: dataset; file: data.h5:/frames"), ["frames", "frame 9", "row 3, column 3", "nan"], None),
    ("npy cut short", shown("type: npy; file: cut.npy"), ["stimulus", "cut.npy"], 9),
    ("npy with NaN", shown("type: npy; file: nan.npy"), ["nan.npy", "frame 9", "row 3, column 3", "nan"], None),
    # record
    ("record of an unknown stage", ("stage: opl", "stage: olp"), ["record.maps", "'olp'", "opl"]),
    ("map of cells", ("stage: opl", "stage: cells"), ["record.maps", "'cells'", "map"]),
    ("spikes of a stage without", ("spikes: all", "spikes: [cells]"), ["record.spikes", "'cells'", "spikes"]),
    ("region outside", ("every: 2 ms", "region: [0 deg, 0 deg, 9 deg, 1 deg]"), ["region", "x0", "1.2"]),
    ("region without pixels", ("every: 2 ms", "region: [0.01 deg, 0 deg, 0.02 deg, 1 deg]"), ["region", "pixel"]),
    ("every no multiple of the step", ("every: 2 ms", "every: 2.5 ms"), ["every", "2.5 ms", "multiple", "1 ms"]),
    # presets
    ("unknown preset", preset("  preset: cat\n"), ["model.preset", "'cat'", "cat-x"]),
    ("preset and stages", ("  stages:", "  preset: cat-x\n  stages:"), ["preset", "stages", "one or the other"], None),
    ("preset without its file", preset("  preset: virtualretina\n"), ["model", "file", "retina.xml"]),
    ("file without its preset", preset("  preset: cat-x\n  file: retina.xml\n"), ["model", "file", "virtualretina"], 14),
    # fit
    ("fit: not given", (), ["fit", "missing"], 0),
    ("fit: unknown key", fit("split:", "splt:"), ["fit.splt", "'split'"]),
    ("fit: unknown parameter", fit("[opl.sigma,", "[opl.sigm,"), ["'opl.sigm'", "opl.sigma"]),
    ("fit: no data", fit('  data: {stage: rate, source: "data.h5:/y", axes: [time, cell]}\n', ""), ["data", "responses"], 19),
    ("fit: missing response", fit("data.h5:/y", "none.h5:/y"), ["data.source", "none.h5", "No such file"]),
    ("fit: response of other cells", fit("stage: rate", "stage: cells"), ["'cells'", "480"]),
    ("fit: unknown output", fit("stage: rate", "stage: rat"), ["'rat'"]),
    ("fit: wrong unit of a limit", fit("min: 1 ms", "min: 1 deg"), ["low.tau", "min", "'1 deg' is an angle"]),
    ("fit: limits the wrong way", fit("min: 1 ms", "min: 2 s"), ["low.tau", "limits 2 to 1"]),
    ("fit: start beyond its limits", fit("max: 1 s", "max: 5 ms"), ["low.tau", "starts at 0.01", "0.005"]),
    ("fit: sequences longer than the recording", fit("length: 5", "length: 50"), ["sequences", "50", "20 steps"]),
    ("fit: unknown method", fit("method: adam", "method: adma"), ["optimiser", "'adma'", "adam"]),
    ("fit: penalty on nothing", fit("  split:", "  penalties: [{parameter: opl.tau, l2: 1}]\n  split:"), ["penalties", "opl.tau"], 23),
    ("fit: window outside the field", fit("  split:", "  networks: {window: [20, 20], each: [{name: a, at: [9, 0]}]}\n  split:"), ["networks", "20 x 20", "[9, 0]"], 23),
    ("fit: many networks in a search", fit("method: adam", "method: lbfgs", "  split:", "  networks: {each: [{name: a}]}\n  split:"), ["networks", "lbfgs"], 23),
    ("fit: a global search without limits", fit("method: adam", "method: direct_l, max_steps: 9"), ["opl.sigma", "direct_l", "min and max"], 20),
    ("fit: a stimulus and parameters", fit("fit:", "fit:\n  target: stimulus"), ["target: stimulus", "parameters"], 19),
    # command line
    ("--set below a value", None, ["--set run.step.size=1", "run.step"], None, ["--set", "run.step.size=1"]),
    ("--set of an unknown stage", None, ["--set model.stages.op.sigma=1 deg", "'op'", "opl"], None, ["--set", "model.stages.op.sigma=1 deg"]),
    ("--set of an unknown key", None, ["--set run.sed=1", "run.sed", "'seed'"], None, ["--set", "run.sed=1"]),
    ("--set with a wrong value", None, ["--set run.seed=x", "run.seed", "'x'", "whole number"], None, ["--set", "run.seed=x"]),
]

# Changes of RETINA: name, from, to, pieces; the line is the one in the XML file.
XML_CASES = [
    ("missing file", "", "", ["No such file"], 0),
    ("malformed", "</outer-plexiform-layer>", "</outer-plexiform>", ["well-formed"]),
    ("unknown attribute", "<outer-plexiform-layer>", '<outer-plexiform-layer colour="1">', ["colour", "not used"]),
    ("unknown element", "</retina>\n", "<amacrine/>\n</retina>\n", ["<amacrine>", "not used", "ganglion-layer"]),
    ("missing attribute", ' center-tau__sec="0.01"', "", ["<linear-version>", "center-tau__sec", "missing"], 4),
    ("negative tau", 'center-tau__sec="0.01"', 'center-tau__sec="-0.01"', ["center-tau__sec", "-0.01", "range"]),
    ("not a number", 'center-sigma__deg="0.1"', 'center-sigma__deg="wide"', ["center-sigma__deg", "'wide'", "number"]),
    ("element twice", "</retina>\n", "<outer-plexiform-layer/>\n</retina>\n", ["<outer-plexiform-layer>", "twice"]),
    ("another program's", "retina-description-file", "retina-file", ["<retina-file>", "<retina-description-file> is wanted"]),
]

ALARMS = re.compile(r"MPI_ABORT|MPI_Abort|Signal:|Segmentation|\[ 0\]|HDF5-DIAG|internal error|==ERROR|\*\*\*|Assert", re.I)


def cut(source, target, fraction):
    with open(source, "rb") as f:
        data = f.read()
    with open(target, "wb") as f:
        f.write(data[:int(len(data) * fraction)])


def make_films(folder):
    def at(name):
        return os.path.join(folder, name)

    film = ["-f", "lavfi", "-i", "testsrc=size=48x40:rate=25:duration=0.4"]
    for name, codec in (("film.mkv", ["ffv1"]), ("film.mp4", ["mpeg4"]), ("fast.mp4", ["mpeg4", "-movflags", "+faststart"])):
        try:
            subprocess.run(["ffmpeg", "-v", "error", "-y"] + film + ["-c:v"] + codec + [at(name)], check=True)
        except (OSError, subprocess.CalledProcessError):
            print(f"skipped: no ffmpeg to make {name}")
            return False
    cut(at("film.mkv"), at("cut.mkv"), 0.5)
    cut(at("film.mp4"), at("cut.mp4"), 0.5)
    cut(at("fast.mp4"), at("gone.mp4"), 0.6)
    return True


def make_files(folder):
    def at(name):
        return os.path.join(folder, name)

    frames = np.full((20, 20, 24), 0.5, np.float32)
    np.save(at("whole.npy"), frames)
    cut(at("whole.npy"), at("cut.npy"), 0.5)
    frames[9, 3, 3] = np.nan
    np.save(at("nan.npy"), frames)
    with h5py.File(at("data.h5"), "w") as f:
        f["frames"] = frames
        f["y"] = np.ones((20, 480))
        f["flat"] = np.ones((4, 4))
        kernel = np.ones((3, 3, 3))
        kernel[0, 2, 1] = np.nan
        f["nan"] = kernel
        f["large"] = np.ones((2, 3, 25))
        f["words"] = np.full((1, 2, 2), b"word")
    with open(at("text.h5"), "w") as f:
        f.write("neither film nor data\n" * 40)
    return make_films(folder)


def run(build, folder, command, path, ranks, options):
    """Exit code, all that was said, seconds."""
    words = [os.path.join(build, "chiasm"), command, path] + options
    if command != "validate":
        words += ["--out", os.path.join(folder, "result.h5"), "--quiet"]
    if ranks > 1:
        words = ["mpirun", "--oversubscribe", "-n", str(ranks)] + words
    began = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env=ENVIRONMENT, timeout=60)
    return done.returncode, done.stdout + done.stderr, time.monotonic() - began


def without_launcher(text):
    """mpirun frames what it says itself in dashes whenever an exit code is not 0."""
    return re.sub(r"-{50,}\n(Primary job|mpirun detected)[^-]*(-(?!-{49})[^-]*)*-{50,}\n?", "", text)


def judge(checks, name, folder, before, outcome, code, wanted):
    """wanted: lists of pieces; each list must be found on one line."""
    seen, text, seconds = outcome
    said = without_launcher(text)
    lines = said.splitlines()
    lacking = [pieces for pieces in wanted if not any(all(p in line for p in pieces) for line in lines)]
    left = sorted(set(os.listdir(folder)) - before)
    wrong = [why for bad, why in ((seen != code, f"exit code {seen} instead of {code}"), (lacking, f"no line has {lacking}"),
                                  (len(lines) > len(wanted) + 1, f"{len(lines)} lines"), (ALARMS.search(said), "alarming words"),
                                  (seconds > LIMIT_S, f"{seconds:.1f} s"), (left, f"left behind: {left}")) if bad]
    checks.check(not wrong, f"{name}: {lines[0] if lines and not wrong else '; '.join(wrong)}")
    if wrong:
        print(text)
    for file in left:
        os.remove(os.path.join(folder, file))


def in_order(jobs):
    """Runs (function, arguments) three at a time."""
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(*job) for job in jobs]:
            done.result()


def own_folder(folder):
    """A new folder with the files of this one."""
    own = tempfile.mkdtemp(dir=folder)
    for name in os.listdir(folder):
        if os.path.isfile(os.path.join(folder, name)):
            os.link(os.path.join(folder, name), os.path.join(own, name))
    return own


def changed(edits):
    """GOOD with replacements, and the line on which the last of them stands."""
    text, line = GOOD, 0
    for old, new in [edits[i:i + 2] for i in range(0, len(edits), 2)] if isinstance(edits, tuple) else edits or []:
        assert text.count(old) == 1 or old == GOOD, old
        line = text[:text.index(old)].count("\n") + 1 + new.startswith("\n")
        text = text.replace(old, new)
    return text, line


def yaml_case(checks, build, shared, number):
    name, edits, pieces, *more = CASES[number]
    folder = own_folder(shared)
    path = os.path.join(folder, "case.yaml")
    text, line = changed(edits)
    line = more[0] if more else line
    where = [] if line is None else [path + (f":{line}:" if line else ":")]
    with open(path, "w", errors="surrogateescape") as f:
        f.write(text)
    before = set(os.listdir(folder))
    in_frames = "NaN in a" in name or "npy with NaN" in name or "is gone" in name  # seen when the frame is shown
    ranks = 2 if number % 8 == 0 or in_frames else 1
    command = "simulate" if number % 2 == 0 or in_frames else "validate"
    if name.startswith("fit:") and (command == "simulate" or not edits):
        command = "fit"
    outcome = run(build, folder, command, path, ranks, more[1] if len(more) > 1 else [])
    judge(checks, f"{name} ({command}, {ranks} rank{'s' * (ranks > 1)})", folder, before, outcome, 65, [where + pieces])


def needs_film(case):
    return case[1] is not None and re.search(r"film\.|cut\.m|gone", changed(case[1])[0])


def xml_case(checks, build, shared, number):
    name, old, new, pieces, *more = XML_CASES[number]
    folder = own_folder(shared)
    path, xml = os.path.join(folder, "case.yaml"), os.path.join(folder, "retina.xml")
    with open(path, "w") as f:
        f.write(changed(preset() + ("stage: opl, every: 2 ms", "stage: opl"))[0])
    if old:
        assert old in RETINA, old
        with open(xml, "w") as f:
            f.write(RETINA.replace(old, new))
    line = more[0] if more else RETINA[:RETINA.index(old)].count("\n") + 1
    where = [xml + (f":{line}" if line else ":")] if line is not None else [xml]
    before = set(os.listdir(folder))
    outcome = run(build, folder, "simulate", path, 2 if number == 1 else 1, [])
    judge(checks, f"XML: {name}", folder, before, outcome, 65, [where + pieces])


def several_at_once(checks, build, folder):
    path = os.path.join(folder, "many.yaml")
    with open(path, "w") as f:
        f.write(changed([("  step: 1 ms", "  setp: 1 ms"), ("kind: drifting", "kind: driftin"), ("tau: 10 ms", "tau: -10 ms"),
                         ("input: low,", "input: lwo,"), ("stage: opl", "stage: olp")])[0])
    before = set(os.listdir(folder))
    outcome = run(build, folder, "validate", path, 2, [])
    judge(checks, "several problems, all listed", folder, before, outcome, 65,
          [[":3:", "'step'"], [":9:", "'drifting'"], [":15:", "'-10 ms'"], [":16:", "'lwo'"]])
    order = [int(m.group(1)) for m in re.finditer(r"many\.yaml:(\d+):", outcome[1])]
    checks.check(order == sorted(order) and len(order) >= 4, f"in order of lines: {order}")
    with open(path, "w") as f:
        f.write("")
    judge(checks, "empty file", folder, before, run(build, folder, "validate", path, 1, []), 65,
          [["field.resolution", "missing"], ["field", "size or pixels"], ["stimulus", "missing"], ["model", "missing"]])


def not_opened(checks, build, folder):
    for name, path, why in (("missing", "none.yaml", "No such file"), ("a folder", ".", "directory"), ("below a file", "text.h5/in.yaml", "Not a directory")):
        for ranks in (1, 2):
            path_ = os.path.join(folder, path)
            outcome = run(build, folder, "simulate", path_, ranks, [])
            judge(checks, f"input file {name} ({ranks} ranks)", folder, set(os.listdir(folder)), outcome, 66, [[path_, why]])


def main(build):
    checks = Checks()
    with work_folder() as folder:
        films = make_files(folder)
        good = os.path.join(folder, "good.yaml")
        with open(good, "w") as f:
            f.write(GOOD)
        code, text, _ = run(build, folder, "validate", good, 1, [])
        checks.check(code == 0, f"the input that is spoilt below is good {text if code else ''}")
        jobs = [(yaml_case, checks, build, folder, i) for i in range(len(CASES)) if films or not needs_film(CASES[i])]
        in_order(jobs + [(xml_case, checks, build, folder, i) for i in range(len(XML_CASES))])
        several_at_once(checks, build, folder)
        not_opened(checks, build, folder)
    checks.done()


if __name__ == "__main__":
    main(sys.argv[1])
