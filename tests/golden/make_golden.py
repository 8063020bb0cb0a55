#!/usr/bin/env python3
"""Extracts the small golden files of tests/ from the full reference outputs (not part of the project).

    make_golden.py REFDATA_FOLDER

Every map of VirtualRetina and of the default Convis retina at a few frames (both sides of each change of the stimulus), all spikes,
the stimulus, and the XML; the network of cnn_grad with its input, gradients and ten Adam steps; the repeats of lnln with their scores.
float64 (the network's input: float32), losslessly compressed.  Run again only when the reference itself changes.
"""
import json
import sys

import h5py
import numpy as np

FRAMES = np.array([0, 1, 2, 3, 41, 60, 90, 120, 141, 170, 199])


def keep(group, name, data):
    group.create_dataset(name, data=data, compression="gzip", compression_opts=9, shuffle=True)


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def spikes(listing):
    rows = [line.split() for line in listing.splitlines() if line.strip() and not line.startswith("#")]
    return np.array([int(float(r[0])) for r in rows]), np.array([float(r[1]) for r in rows])


def convis_gradients(source, here):
    """Loss and gradients of an LN model and of the default retina; taps and kernels as impulse responses (Convis stores them flipped)."""
    with h5py.File(f"{source}/convis/gradients_f64.h5") as ref, h5py.File(f"{here}/convis_gradients.h5", "w") as out:
        ln, retina = json.loads(ref["text/ln.json"][()]), json.loads(ref["text/retina.json"][()])
        out["ln/loss"], out["retina/loss"] = ln["loss"], retina["loss"]
        keep(out, "ln/kernel", ref["ln_kernel_as_given"][()])
        keep(out, "ln/target", ref["ln_target"][0, 0])
        keep(out, "ln/by_kernel", ref["ln_grad_kernel_stored_orientation"][()][::-1, ::-1, ::-1])
        keep(out, "ln/by_input", ref["ln_grad_input"][()])
        for name in ["retina_input", "retina_grad_input"]:
            keep(out, name.replace("_", "/", 1), ref[name][()])
        for name in ["on", "off"]:
            keep(out, f"retina/target_{name}", ref[f"retina_target_{name}"][0, 0])
        for name, value in retina["grads"].items():
            value = np.array(value)
            out[f"retina/by/{name}"] = value.squeeze()[tuple(slice(None, None, -1) for _ in value.squeeze().shape)] if value.size > 1 else value.ravel()


def batch_norm(source, here):
    """BatchNorm3d of PyTorch in double, between a convolution and an ELU."""
    names = {"x": "x", "conv": "conv", "cot": "cot", "y": "y", "y_eval": "y_eval", "gamma": "gamma", "beta": "beta", "by_gamma": "grad.gamma",
             "by_beta": "grad.beta", "by_kernel": "grad.W"}
    names.update({name: name for name in ["running_mean", "running_var", "running_mean_new", "running_var_new"]})
    with h5py.File(f"{source}/video-network/g1_conv3d_bn_elu_groups.h5") as ref, h5py.File(f"{here}/batch_norm.h5", "w") as out:
        for name, of in names.items():
            keep(out, name, ref[of][()])


def main(source, here):
    convis_gradients(source, here)
    batch_norm(source, here)
    cases = ["cat_x_logpolar_step5ms_spikes", "full_default_parvo", "full_leaky_cgc_parvo_spikes", "linear_leaky_undershoot", "linear_separable_cascade3",
             "linear_separable_undershoot"]
    with h5py.File(f"{here}/virtualretina.h5", "w") as out:
        with h5py.File(f"{source}/retina_input.h5") as ref:
            keep(out, "luminance", ref["luminance"][()])
        out["frames"] = FRAMES
        for case in cases:
            with h5py.File(f"{source}/virtualretina/{case}.h5") as ref:
                group = out.create_group(case)
                group["retina.xml"] = text(ref["text/retina.xml"][()])
                for name, data in ref.items():
                    if isinstance(data, h5py.Dataset):
                        keep(group, f"maps/{name}", data[()][FRAMES])
                if "spikes.spk" in ref["text"]:
                    cell, time = spikes(text(ref["text/spikes.spk"][()]))
                    keep(group, "spike_cell", cell)
                    keep(group, "spike_time", time)
    with h5py.File(f"{here}/convis.h5", "w") as out, h5py.File(f"{source}/convis/retina_default_f64.h5") as ref:
        out["frames"] = FRAMES
        for name in ["opl", "opl_center", "opl_surround", "bipolar", "gang_on", "gang_off"]:
            keep(out, name, ref[name][()][FRAMES])
        for name in ["spikes_on", "spikes_off"]:
            keep(out, name, ref[name][()])
    cnn(source, here)
    filters(source, here)
    linear_filters(source, here)


def cnn(source, here):
    """P0, G, P10: values before, gradients, values after ten steps; loss, nll: before each step."""
    with h5py.File(f"{here}/cnn_grad.h5", "w") as out, h5py.File(f"{source}/cnn-retina/cnn_grad.h5") as ref:
        for name, data in ref.items():
            if isinstance(data, h5py.Dataset):
                keep(out, name.replace("cnngrad_", ""), data[()])
        loss = np.array(json.loads(text(ref["text/cnn_grad.json"][()]))["adam_loss"])
        out["loss"], out["nll"] = loss[:, 0], loss[:, 1]
    with h5py.File(f"{here}/lnln.h5", "w") as out, h5py.File(f"{source}/cnn-retina/lnln.h5") as ref:
        keep(out, "repeat_trials", ref["lnln_repeat_trials"][()])
        for name, value in json.loads(text(ref["text/lnln.json"][()]))["repeats"].items():
            out[name] = float(value)


def filters(source, here):
    """Layers of Convis: smooth ones on two rows of pixels, events and spikes whole, as their fault mixes pixels."""
    rows, frames = np.array([5, 16]), np.array([0, 1, 41, 90, 141, 199])
    with h5py.File(f"{here}/convis_filters.h5", "w") as out, h5py.File(f"{source}/convis/filters_f64.h5") as ref:
        out["rows"], out["frames"] = rows, frames
        for name in ["FitzHughNagumo", "HogkinHuxley"]:
            keep(out, name, ref[name][0][:, rows, ::2])
        for name in ["LeakyIntegrateAndFireNeuron", "RefractoryLeakyIntegrateAndFireNeuron"]:
            keep(out, name, ref[name][0].astype(np.uint8))
        keep(out, "events_linear", ref["IMS_linear"][()].swapaxes(0, 1).astype(np.uint8))
        keep(out, "events_log", ref["IMS_log1.2"][()].swapaxes(0, 1).astype(np.uint8))
        keep(out, "izhikevich_spikes", ref["Izhikevich_default"][0].astype(np.uint8))
        keep(out, "izhikevich_v_u", ref["Izhikevich_default"][1:][:, frames].swapaxes(0, 1)[:, :, :, ::4])


def linear_filters(source, here):
    """Convolutions, recursive filters and the cascades made of them: rows at the borders and inside, both sides of changes; kernels whole, as Convis
    was given them, but only the first of McIntosh's two readouts (128 kB each)."""
    rows, frames = np.array([0, 10, 21, 31]), np.array([0, 1, 2, 41, 57, 90, 141, 199])
    with h5py.File(f"{here}/convis_linear.h5", "w") as out, h5py.File(f"{source}/convis/filters_f64.h5") as ref:
        out["rows"], out["frames"] = rows, frames
        for name in ref:
            if name.endswith("as_given") or name == "smoothconv_g":
                keep(out, name, ref[name][()])
            elif name.startswith(("LN", "conv", "highpass", "lowpass", "smoothconv", "spatial_recursive")):
                keep(out, name.replace(".", "_"), ref[name][0][frames[frames < ref[name].shape[1]]][:, rows])
        keep(out, "rf_8x32x32", ref["rf_8x32x32"][0, :, 0, 0])
        keep(out, "McIntosh", ref["McIntosh"][0, :, 0, 0])
        for name in ["McIntosh_w1", "McIntosh_w2"]:
            keep(out, name, ref[name][()])
        keep(out, "McIntosh_w3", ref["McIntosh_w3"][0])


if __name__ == "__main__":
    main(sys.argv[1], __file__.rsplit("/", 1)[0])
