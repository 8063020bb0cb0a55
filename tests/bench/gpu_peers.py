"""gpu_peers.py - what bench_gpu_peer.py compares chiasm with: the same functions in PyTorch, from their equations, as Convis runs them and as well as
PyTorch can.  Every class takes the Bench that it runs on: b.torch, b.device, b.tensor."""
import math
import os

import bench_networks as net
import h5py
import numpy as np

KT, K = 20, 21
PX_PER_DEG, DT = 10, 1e-3


def smooth_size(n):
    """The next length without prime factors above 7."""
    while True:
        m = n
        for p in (2, 3, 5, 7):
            while m % p == 0:
                m //= p
        if m == 1:
            return n
        n += 1


class LN:
    """y[t] = sum over lags and pixels of kernel and frames; the frames bring their own border and past."""

    def __init__(self, b, size, nt):
        torch, border = b.torch, K - 1
        self.torch, self.size, self.nt = b.torch, size, nt
        shape = (KT - 1 + nt, size + border, size + border)
        self.frames = torch.randn(shape, device=b.device)
        self.kernel = torch.randn((KT, K, K), device=b.device) / math.sqrt(KT * K * K)
        self.gy = torch.randn((nt, size, size), device=b.device)
        self.fft_shape = [smooth_size(n) for n in shape]
        n = math.prod(self.fft_shape)
        self.fft_flop = 2 * 2.5 * n * math.log2(n) + 3 * n  # there and back, and the products

    def conv3d(self, kernel):
        return self.torch.nn.functional.conv3d(self.frames[None, None], kernel.flip(0, 1, 2)[None, None])[0, 0]

    def conv2d(self, kernel):
        windows = self.frames.unfold(0, KT, 1).permute(0, 3, 1, 2)
        return self.torch.nn.functional.conv2d(windows, kernel.flip(0, 1, 2)[None])[:, 0]

    def spectrum(self, kernel):
        return self.torch.fft.rfftn(kernel, self.fft_shape)

    def by_spectrum(self, spectrum, frames):
        fft, first, end = self.torch.fft, K - 1, K - 1 + self.size
        all_y = fft.irfftn(fft.rfftn(frames, self.fft_shape) * spectrum, self.fft_shape)
        return all_y[KT - 1 : KT - 1 + self.nt, first:end, first:end]

    def fft(self, kernel, frames=None):
        return self.by_spectrum(self.spectrum(kernel), self.frames if frames is None else frames)

    def fit_step(self, form):
        """(y, derivative of sum(gy y) by the kernel)."""
        kernel = self.kernel.clone().requires_grad_()
        y = form(kernel)
        return y.detach(), self.torch.autograd.grad(y, kernel, self.gy)[0]

    def exact(self):
        """The same in double, by FFT; checked against plain sums at some places."""
        kernel = self.kernel.double().requires_grad_()
        y = self.fft(kernel, self.frames.double())
        gk = self.torch.autograd.grad(y, kernel, self.gy.double())[0]
        for i in range(20):
            t, v, u = i * 7 % self.nt, i * 7919 % self.size, i * 104729 % self.size
            patch = self.frames[t : t + KT, v : v + K, u : u + K].double().flip(0, 1, 2)
            assert abs((patch * kernel).sum() - y[t, v, u]) < 1e-11, "the reference itself is wrong"
            k, j, h = KT - 1 - i % KT, K - 1 - i * 5 % K, K - 1 - i * 3 % K
            seen = self.frames[k : k + self.nt, j : j + self.size, h : h + self.size].double()
            assert abs((seen * self.gy).sum() - gk[KT - 1 - k, K - 1 - j, K - 1 - h]) < 1e-9 * gk.norm(), "the reference itself is wrong"
        return y.detach(), gk


# --- retina ----------------------------------------------------------------------------------------------------------------------------
def gaussian_taps(sigma_px):
    """exp(-t) I_n(t), t = sigma^2, whose transform is exp(-t (1 - cos w)); cut where the mass outside is that beyond 4 sigma, and normalised."""
    n = 512
    taps = np.fft.ifft(np.exp(-(sigma_px**2) * (1 - np.cos(2 * np.pi * np.arange(n) / n)))).real
    r = 0
    while 1 - taps[0] - 2 * taps[1 : r + 1].sum() > math.erfc(4 / math.sqrt(2)):
        r += 1
    taps = np.concatenate([taps[r:0:-1], taps[: r + 1]])
    return taps / taps.sum()


def convis_taps(s):
    """Sampled, half width ceil(sqrt(-2 s^2 ln(0.001 s sqrt(2 pi)))), at most 1, not normalised."""
    half = max(1, math.ceil(math.sqrt(-2 * s * s * math.log(0.001 * s * math.sqrt(2 * math.pi)))))
    i = np.arange(1 - half, half)
    return np.minimum(np.exp(-(i**2) / (2 * s * s)) / (s * math.sqrt(2 * math.pi)), 1)


def convis_transient(tau, weight):
    """[1, -h_0, -h_1, ...], h_j = a exp(-(j + 0.4)/m), m = tau/dt, a = weight/m, of clip(trunc(-m ln(0.001/a)) + 1, 10, 1000) taps."""
    m = tau / DT
    a = weight / m
    length = min(max(math.trunc(-m * math.log(0.001 / a)) + 1, 10), 1000)
    return [1.0] + [-a * math.exp(-(j + 0.4) / m) for j in range(length)]


SIGMAS = (0.05, 0.15, 0.2)  # of centre, surround and gain control, degrees


def retina_taps(form):
    return {s: (gaussian_taps if form == "virtualretina" else convis_taps)(s * PX_PER_DEG) for s in SIGMAS}


class Retina:
    """Chunks of frames [T][n][n]; states are carried in place, so that a call can be a CUDA graph.  form: virtualretina (many links from stage to
    stage a step late) or convis.  separable: blurs by rows and columns, one transient for On and Off, along time as a matrix; else as Convis."""

    def __init__(self, b, n, form, separable, dtype=None, compiled=False):
        self.torch, self.F, self.form, self.separable, self.n = b.torch, b.torch.nn.functional, form, separable, n
        self.device, self.dtype, self.state, self.first = b.device, dtype or b.torch.float32, {}, True
        self.taps = {s: b.tensor(k, self.dtype) for s, k in retina_taps(form).items()}
        self.transient, self.banded = b.tensor(convis_transient(20e-3, 0.7), self.dtype), {}
        self.before, self.after = self.before_blur, self.after_blur
        if compiled:
            self.before, self.after = b.torch.compile(self.before_blur), b.torch.compile(self.after_blur)

    def was(self, name, shape=None):
        if name not in self.state:
            self.state[name] = self.torch.zeros(shape or (self.n, self.n), dtype=self.dtype, device=self.device)
        return self.state[name]

    def blur(self, x, sigma_deg):
        """x: [T][n][n]; the edge goes on outside."""
        k, r = self.taps[sigma_deg], len(self.taps[sigma_deg]) // 2
        x = self.F.pad(x[:, None], (r, r, r, r), mode="replicate")
        if self.separable:
            return self.F.conv2d(self.F.conv2d(x, k[None, None, None]), k[None, None, :, None])[:, 0]
        return self.F.conv2d(x, (k[:, None] * k)[None, None])[:, 0]

    def late(self, x, name):
        """The frames of a step before."""
        y = self.torch.cat([self.was(name)[None], x[:-1]])
        self.was(name).copy_(x[-1])
        return y

    def lowpass(self, x, name, tau, gain=1.0):
        """y_t = b x_t + c y_(t-1), one kernel a step."""
        c = math.exp(-DT / tau)
        x = x * (gain * (1 - c if self.form == "virtualretina" else (1 + c) * DT / (2 * tau)))
        y, last = self.torch.empty_like(x), self.was(name)
        for t in range(len(x)):
            last = self.torch.add(x[t], last, alpha=c, out=y[t])
        self.was(name).copy_(last)
        return y

    def undershoot(self, x, name, tau, weight):
        if self.form == "virtualretina":
            return x - weight * self.lowpass(x, name, tau)
        before = self.late(x, name + " late")  # Convis takes off the low-pass of the frame before, at the first step of this very frame
        if self.first:
            before[0] = x[0]
        return x - weight * self.lowpass(before, name, tau)

    # gain control: what of V and A is blurred, and the next V and A
    def before_blur(self, v, a):
        if self.form == "virtualretina":
            u = 100.0 * v * v
            return u / (1 + u / 5e5), 0
        decay = math.exp(-0.001 / 5)  # as Convis fixes it from 5 s
        q = 100.0 * v * v * (1 + decay) + decay * a
        mean = q.mean()
        return q - mean, mean

    def after_blur(self, v, a, current, q, mean):
        d = math.exp(-DT / 10e-3)
        leak, gain, a_next = (5.0, 150.0, (1 - d) * q + d * a) if self.form == "virtualretina" else (50.0, 50.0, q + mean)
        g = leak + a
        e = gain * current / g
        return (v - e) * self.torch.exp(-g * DT) + e, a_next

    def gain_control(self, x):
        if "A" not in self.state and self.form == "convis":
            self.was("A").fill_(1)
        v, a, y = self.was("V"), self.was("A"), self.torch.empty_like(x)
        for t in range(len(x)):
            q, mean = self.before(v, a)
            v, a = self.after(v, a, x[t], self.blur(q[None], 0.2)[0], mean)
            y[t] = v
        self.was("V").copy_(v)
        self.was("A").copy_(a)
        return y

    def band(self, steps):
        """The transient as a matrix [steps][steps + past]."""
        if steps not in self.banded:
            k = self.transient
            rows = self.torch.zeros(steps, steps + len(k) - 1, dtype=self.dtype, device=self.device)
            for j in range(len(k)):
                rows.diagonal(len(k) - 1 - j).fill_(float(k[j]))
            self.banded[steps] = rows
        return self.banded[steps]

    def fir(self, x, name):
        k = self.transient
        history = self.was(name, (len(k) - 1, self.n, self.n))
        all_x = self.torch.cat([history, x])
        history.copy_(all_x[-len(history) :])
        if self.separable:
            return (self.band(len(x)) @ all_x.flatten(1)).view(x.shape)
        return self.F.conv3d(all_x[None, None], k.flip(0)[None, None, :, None, None])[0, 0]

    def rectify(self, u):
        where = self.torch.where
        if self.form == "convis":
            p = 100.0 * u
            return where(p > 0, 37 + p, 37 / (1 - p.clamp(max=0) / 37))
        limit, e = 5e5, 37 / 5e5
        p = 100.0 * u / limit
        return where(p > 0, limit * (e + (1 - e) * p / (1 - e + p.clamp(min=0))), limit * e * e / (e - p.clamp(max=0)))

    def __call__(self, x):
        late = self.late if self.form == "virtualretina" else lambda y, name: y
        receptor = self.undershoot(late(self.lowpass(self.blur(x, 0.05), "centre", 10e-3, 10.0), "receptor"), "undershoot", 100e-3, 0.8)
        opl = receptor - self.lowpass(self.blur(late(receptor, "surround in"), 0.15), "surround", 4e-3)
        v, out, u = late(self.gain_control(late(opl, "opl")), "bipolar"), [], None
        for k, sign in enumerate((1, -1)):
            if u is None or not self.separable:
                u = self.undershoot(v, f"transient {k}", 20e-3, 0.7) if self.form == "virtualretina" else self.fir(v, f"fir {k}")
            out.append(self.rectify(sign * late(u, f"ganglion {k}")))
        self.first = False
        return out


# --- networks ----------------------------------------------------------------------------------------------------------------------------
class Networks:
    """All cells in one model.  matrix: windows laid out once, [cell][window, place][tap], for batched matrix products; else a grouped convolution."""

    def __init__(self, b, folder, cells, start, matrix, dtype=None):
        self.torch, self.matrix, self.ncell = b.torch, matrix, len(cells)
        with h5py.File(os.path.join(folder, "data.h5")) as f:
            movie, spikes, table = b.tensor(f["movie"][()], dtype) - 0.5, b.tensor(f["spikes"][()], dtype), f["table"][()].astype(int)
        w = net.WINDOW
        windows = self.torch.stack([movie[:, y : y + w, x : x + w] for x, y, _ in table[cells]]).unfold(1, net.LAGS, 1)  # [cell][t][y][x][frame]
        self.batches = []
        for i in range(net.NBATCH):
            x = windows[:, i * net.BATCH : (i + 1) * net.BATCH].permute(0, 1, 4, 2, 3)  # [cell][window][frame][y][x]
            if matrix:
                x = x.unfold(3, 7, 1).unfold(4, 7, 1).permute(0, 1, 3, 4, 2, 5, 6).reshape(self.ncell, net.BATCH * 4, -1)
            else:
                x = x.transpose(0, 1).reshape(net.BATCH, self.ncell * net.LAGS, w, w).contiguous()
            r = spikes[net.LAGS + i * net.BATCH : net.LAGS + (i + 1) * net.BATCH, table[cells, 2]].T.contiguous()
            self.batches.append((x, r))
        self.parameters = [b.tensor(start[k][cells].copy(), dtype).requires_grad_() for k in ("w", "bias", "d", "c", "a", "b")]
        self.optimiser = self.torch.optim.Adam(self.parameters, lr=1e-3, **({"fused": True} if b.cuda else {}))

    def loss(self, x, r, noise):
        """Of every cell."""
        torch, (w, bias, d, c, a, b), n = self.torch, self.parameters, self.ncell
        if self.matrix:
            y = torch.baddbmm(bias[:, None], x, w.flatten(2).transpose(1, 2))
            y = y.view(n, -1, 4, net.FILTERS).transpose(2, 3)  # [cell][window][filter][place]
        else:
            y = torch.nn.functional.conv2d(x, w.flatten(0, 1), bias.flatten(), groups=n).view(len(x), n, net.FILTERS, 4).transpose(0, 1)
        if noise:
            y = y + noise * torch.randn_like(y)
        z = torch.bmm(torch.relu(y).flatten(2), d[:, :, None])[..., 0] + c
        rate = a[:, None] * torch.log1p(torch.exp(b[:, None] * z))
        fits = (rate - r * torch.log(rate + 1e-7)).mean(1) + 1e-3 * z.abs().mean(1)
        return fits + 5.5e-4 * w.abs().sum((1, 2, 3, 4)) + 1e-3 * (w**2).sum((1, 2, 3, 4)) + 1e-3 * (d**2).sum(1)

    def step(self, i, noise=0.1):
        self.optimiser.zero_grad()
        loss = self.loss(*self.batches[i % len(self.batches)], noise)
        loss.sum().backward()
        self.optimiser.step()
        return loss

    def losses(self, steps):
        """Of the first steps, without noise."""
        return np.array([self.step(i, 0).detach().cpu().numpy() for i in range(steps)])
