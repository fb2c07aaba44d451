"""Networks in the forms in which people write them: a forward that holds the loop, and modules of one step."""

from collections import namedtuple

import torch
import torch.nn.functional as F
from torch import nn

import snntorch as snn

T, B = 6, 3


# -- forwards that hold the loop over time


class Tutorial(nn.Module):
    """Explicit states, a static input, lists that are stacked."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(5, 8), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(8, 4), snn.Leaky(beta=0.8)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spk_rec, mem_rec = [], []
        for _ in range(T):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk_rec.append(spk2)
            mem_rec.append(mem2)
        return torch.stack(spk_rec, dim=0), torch.stack(mem_rec, dim=0)


class OverSteps(Tutorial):
    """An input that changes, taken by index."""

    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes = []
        for t in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[t]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


class Losses(Tutorial):
    """A loss of every step, in loops of their own: of a list, and of what was stacked."""

    def forward(self, x):
        spikes, membranes = super().forward(x)
        y = torch.arange(len(x)) % 4
        loss = torch.zeros(1, dtype=x.dtype)
        for t in range(T):
            loss += F.cross_entropy(membranes[t], y)
        total = 0
        for spk, mem in zip(list(spikes), list(membranes), strict=True):
            total = total + F.mse_loss(torch.sigmoid(mem), F.one_hot(y, 4).to(x.dtype)) + spk.sum(-1).mean()
        return loss, total


class BatchFirst(Tutorial):
    """`[B, T, ...]`, taken as `x[:, t]`; only the last potential is returned."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        mem_rec = []
        for t in range(x.shape[1]):
            spk1, mem1 = self.lif1(self.fc1(x[:, t]), mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            mem_rec.append(mem2)
        return mem_rec[-1]


class Unbound(Tutorial):
    """`for now in x`, a sum that grows, a dict of lists."""

    def forward(self, x):
        mem1 = mem2 = None
        self.lif1.reset_mem(), self.lif2.reset_mem()
        recorded, total = {"spk": [], "mem": []}, 0
        for now in x:
            spk1, mem1 = self.lif1(self.fc1(now), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            recorded["spk"].append(spk2)
            recorded["mem"].append(mem2)
            total += spk2
        return total, recorded, {"mean": torch.stack(recorded["mem"]).mean(0)}


class Hidden(nn.Module):
    """Hidden states, `utils.reset` inside, a Sequential."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(2, 4, 3), snn.Leaky(beta=0.7, init_hidden=True), nn.AvgPool2d(2), nn.Flatten(),
            nn.Linear(16, 5), snn.Synaptic(alpha=0.6, beta=0.7, init_hidden=True, output=True),
        )  # fmt: skip

    def forward(self, x):
        snn.utils.reset(self.net)
        steps = [self.net(now) for now in x.unbind()]
        return torch.stack([spk for spk, _, _ in steps]), torch.stack([mem for _, _, mem in steps])


class FunctionalConv(nn.Module):
    """The convolutional tutorial: functional pooling, `view` with the batch size, batch normalisation."""

    def __init__(self, norm=True):
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(2, 4, 3, padding=1), snn.Leaky(beta=0.5)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        self.fc, self.lif2 = nn.Linear(36, 5), snn.Leaky(beta=0.5)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes = []
        for t in range(x.size(0)):
            cur1 = F.max_pool2d(self.norm(self.conv1(x[t])), 2)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc(spk1.view(x.size(1), -1))
            spk2, mem2 = self.lif2(cur2, mem2)
            spikes.append(spk2)
        return torch.stack(spikes)


class Feedback(nn.Module):
    """What the second layer spiked goes back into the first one a step later."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(5, 8), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(8, 4), snn.Leaky(beta=0.8)
        self.back = nn.Linear(4, 8)
        self.out, self.lif3 = nn.Linear(4, 3), snn.Leaky(beta=0.8)

    def forward(self, x):
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spk2 = torch.zeros(x.size(1), 4, dtype=x.dtype)
        out = []
        for t in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[t]) + self.back(spk2), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk3, mem3 = self.lif3(self.out(spk2), mem3)
            out.append(spk3)
        return torch.stack(out)


class SharedNeuron(nn.Module):
    """One neuron with hidden states in two branches, and one used twice in a row."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(4, 4)
        self.lif = snn.Leaky(beta=0.8, init_hidden=True)
        self.twice = snn.Leaky(beta=0.6, init_hidden=True)

    def forward(self, x):
        snn.utils.reset(self)
        out = []
        for now in x:
            both = self.lif(self.fc1(now)) + self.lif(self.fc2(now))
            out.append(self.twice(self.fc3(self.twice(both))))
        return torch.stack(out)


class TwoChains(nn.Module):
    """One neuron with the states of two branches."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.lif = nn.Linear(5, 4), nn.Linear(5, 4), snn.Leaky(beta=0.8)

    def forward(self, x):
        mem1, mem2 = self.lif.init_leaky(), self.lif.init_leaky()
        out = []
        for now in x:
            spk1, mem1 = self.lif(self.fc1(now), mem1)
            spk2, mem2 = self.lif(self.fc2(now), mem2)
            out.append(spk1 - spk2 + mem1 * mem2)
        return torch.stack(out)


class SharedWeights(nn.Module):
    """One linear layer in two places of a step."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 5)
        self.lif1, self.lif2 = snn.Leaky(beta=0.8), snn.Leaky(beta=0.7)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for now in x:
            spk1, mem1 = self.lif1(self.fc(now), mem1)
            spk2, mem2 = self.lif2(self.fc(spk1), mem2)
            out.append(spk2 + spk1)
        return torch.stack(out)


class LossPerStep(Tutorial):
    """A loss that every step adds to."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        loss = torch.zeros((), dtype=x.dtype)
        target = torch.arange(x.size(1)) % 4
        for now in x:
            spk1, mem1 = self.lif1(self.fc1(now), mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            loss = loss + F.cross_entropy(mem2, target)
        return loss


class EarlyExit(Tutorial):
    """Stops where a value says so."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for now in x:
            spk1, mem1 = self.lif1(self.fc1(now), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(mem2)
            if spk2.sum() > 2:
                break
        return out, mem2


class SkipsSilence(Tutorial):
    """Looks at its input, at every step."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for now in x:
            current = self.fc1(now) if now.sum() > 6 else torch.zeros(x.size(1), 8, dtype=x.dtype)
            spk1, mem1 = self.lif1(current, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(spk2)
        return torch.stack(out)


class InPlace(Tutorial):
    """Writes in place: rectifiers, sums, rows of a tensor made before, a view."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        rows = torch.zeros(x.size(0), x.size(1), 4, dtype=x.dtype)
        for t in range(x.size(0)):
            current = F.relu(self.fc1(x[t]), inplace=True) * 1.5
            half = current[:, :4]
            half *= 0.5
            current[:, 0] = 0.25
            current += half.sum(1, keepdim=True)
            spk1, mem1 = self.lif1(current, mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            rows[t] = spk2
        return rows, current, half


class StatesModified(Tutorial):
    """The states change between the steps."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for t, now in enumerate(x):
            spk1, mem1 = self.lif1(self.fc1(now), mem1)
            mem1 = mem1.clamp(max=1.5)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            if t == 2:
                mem2 = mem2.detach()
            out.append(mem2)
        return torch.stack(out)


class NoGradSegment(Tutorial):
    """The first steps warm up without a gradient."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for t, now in enumerate(x):
            with torch.set_grad_enabled(t > 1):
                spk1, mem1 = self.lif1(self.fc1(now), mem1)
                spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(mem2)
        return torch.stack(out), spk2


class Recurrent(nn.Module):
    """Recurrent neurons and an LSTM, with a readout that does not spike."""

    def __init__(self):
        super().__init__()
        self.fc, self.rlif = nn.Linear(5, 6), snn.RLeaky(beta=0.8, linear_features=6)
        self.lstm = snn.SLSTM(6, 4)
        self.out, self.readout = nn.Linear(4, 3), snn.Leaky(beta=0.9, reset_mechanism="none")

    def forward(self, x):
        spk, mem = self.rlif.init_rleaky()
        syn2, mem2 = self.lstm.init_slstm()
        mem3 = self.readout.init_leaky()
        out = []
        for now in x:
            spk, mem = self.rlif(self.fc(now), spk, mem)
            spk2, syn2, mem2 = self.lstm(spk, syn2, mem2)
            _, mem3 = self.readout(self.out(spk2), mem3)
            out.append(mem3)
        return torch.stack(out)


class ByHand(nn.Module):
    """A neuron written out in the loop, with a surrogate of its own."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(5, 8), nn.Linear(8, 4)
        self.beta = nn.Parameter(torch.tensor(0.8))

    def forward(self, x):
        mem = torch.zeros(x.size(1), 8, dtype=x.dtype)
        out = []
        for now in x:
            mem = self.beta * mem + self.fc1(now)
            spk = Spike.apply(mem - 1)
            mem = mem - spk.detach()
            out.append(self.fc2(spk))
        return torch.stack(out)


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (1 + x.abs()) ** 2


class Stack(nn.Module):
    """A loop over layers inside the loop over time, with residuals."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(5, 5) for _ in range(3))
        self.neurons = nn.ModuleList(snn.Leaky(beta=0.8) for _ in range(3))

    def forward(self, x):
        mems = [neuron.init_leaky() for neuron in self.neurons]
        out = []
        for now in x:
            for k, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                spk, mems[k] = neuron(layer(now), mems[k])
                now = now + spk
            out.append(now)
        return torch.stack(out, dim=1), mems


class Chunks(Tutorial):
    """Truncated: the states are cut from their history every other step."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        out = []
        for t, now in enumerate(x):
            if t % 2 == 0:
                mem1, mem2 = mem1.detach(), mem2.detach()
            spk1, mem1 = self.lif1(self.fc1(now), mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(mem2)
        return torch.stack(out)


class Noisy(Tutorial):
    """Each step draws its noise by itself."""

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        generator = torch.Generator().manual_seed(0)
        out = []
        for now in x:
            noise = torch.randn(x.size(1), 8, dtype=x.dtype, generator=generator)
            spk1, mem1 = self.lif1(self.fc1(now) + 0.1 * noise, mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            out.append(mem2)
        return torch.stack(out)


class Attribute(Tutorial):
    """Keeps what it records, and a state, in attributes."""

    def forward(self, x):
        self.lif1.reset_mem(), self.lif2.reset_mem()
        self.recorded, self.trace = [], torch.zeros(x.size(1), 4, dtype=x.dtype)
        for now in x:
            spk1, _ = self.lif1(self.fc1(now))
            spk2, _ = self.lif2(self.fc2(spk1))
            self.trace = 0.5 * self.trace + spk2
            self.recorded.append(self.lif2.mem)
        return torch.stack(self.recorded), self.trace


LOOPS = {
    "tutorial": (Tutorial, (B, 5)), "over steps": (OverSteps, (T, B, 5)), "batch first": (BatchFirst, (B, T, 5)),
    "unbound": (Unbound, (T, B, 5)), "hidden": (Hidden, (T, B, 2, 6, 6)),
    "functional conv": (FunctionalConv, (T, B, 2, 6, 6)), "feedback": (Feedback, (T, B, 5)),
    "shared neuron": (SharedNeuron, (T, B, 5)), "shared weights": (SharedWeights, (T, B, 5)),
    "two chains": (TwoChains, (T, B, 5)), "losses": (Losses, (B, 5)),
    "loss per step": (LossPerStep, (T, B, 5)), "early exit": (EarlyExit, (T, B, 5)),
    "skips silence": (SkipsSilence, (T, B, 5)), "in place": (InPlace, (T, B, 5)),
    "states modified": (StatesModified, (T, B, 5)), "no-grad segment": (NoGradSegment, (T, B, 5)),
    "recurrent": (Recurrent, (T, B, 5)), "by hand": (ByHand, (T, B, 5)), "stack": (Stack, (T, B, 5)),
    "chunks": (Chunks, (T, B, 5)), "noisy": (Noisy, (T, B, 5)), "attribute": (Attribute, (T, B, 5)),
}  # fmt: skip


# -- modules of one step


class SEWBlock(nn.Module):
    """A spike-element-wise residual block (Fang et al., NeurIPS 2021)."""

    def __init__(self, channels=3):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.lif1, self.lif2 = (snn.Leaky(beta=0.5, init_hidden=True) for _ in range(2))

    def forward(self, x):
        out = self.lif1(self.norm1(self.conv1(x)))
        return self.lif2(self.norm2(self.conv2(out))) + x


class Attention(nn.Module):
    """Spiking self-attention over `[B, N, D]` (Zhou et al., ICLR 2023)."""

    def __init__(self, dim=4, heads=2):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.proj = (nn.Linear(dim, dim) for _ in range(4))
        self.lifs = nn.ModuleList(snn.Leaky(beta=0.5, threshold=0.2, init_hidden=True) for _ in range(5))

    def forward(self, x):
        batch, tokens, dim = x.shape
        q, k, v = (
            lif(layer(x)).reshape(batch, tokens, self.heads, dim // self.heads).transpose(1, 2)
            for lif, layer in zip(self.lifs, (self.q, self.k, self.v), strict=False)
        )
        mixed = (q @ k.transpose(-2, -1)) @ v * 0.25
        mixed = self.lifs[3](mixed.transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.lifs[4](self.proj(mixed))


class UNet(nn.Module):
    """Down, up, and a skip that is concatenated."""

    def __init__(self):
        super().__init__()
        self.down, self.mid = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(4, 4, 2, stride=2), nn.Conv2d(8, 2, 1)
        self.lif1, self.lif2, self.lif3 = (snn.Leaky(beta=0.7, init_hidden=True) for _ in range(3))

    def forward(self, x):
        skip = self.lif1(self.down(x))
        low = self.lif2(self.mid(F.max_pool2d(skip, 2)))
        return self.lif3(self.out(torch.cat([self.up(low), skip], dim=1)))


class Branches(nn.Module):
    """Two branches, several outputs in a dict."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(5, 4), nn.Linear(5, 4), nn.Linear(8, 3)
        self.lif_a, self.lif_b = (snn.Leaky(beta=0.7, init_hidden=True) for _ in range(2))
        self.lif = snn.Leaky(beta=0.8, init_hidden=True, output=True)

    def forward(self, x):
        a, b = self.lif_a(self.a(x)), self.lif_b(torch.tanh(self.b(x)))
        spk, mem = self.lif(self.out(torch.cat((a, b), -1)))
        return {"spk": spk, "mem": mem, "rates": (a.mean(-1), b.mean(-1))}


class Gated(nn.Module):
    """Softmax over features, a product of branches, an einsum, an average over the batch."""

    def __init__(self):
        super().__init__()
        self.fc, self.gate = nn.Linear(5, 4), nn.Linear(5, 4)
        self.lif = snn.Leaky(beta=0.8, init_hidden=True)
        self.mix = nn.Parameter(torch.eye(4) + 0.1)

    def forward(self, x):
        spk = self.lif(self.fc(x) * torch.softmax(self.gate(x), dim=-1) * 3)
        mixed = torch.einsum("bi,ij->bj", spk, self.mix)
        return mixed - mixed.mean(0), spk @ self.mix.T


class Feeding(nn.Module):
    """The last layer's spikes of the step before, kept in an attribute, feed the first one."""

    def __init__(self):
        super().__init__()
        self.fc1, self.back, self.fc2 = nn.Linear(5, 6), nn.Linear(4, 6), nn.Linear(6, 4)
        self.lif1, self.lif2 = (snn.Leaky(beta=0.8, init_hidden=True) for _ in range(2))
        self.register_buffer("last", torch.zeros(B, 4), persistent=False)

    def forward(self, x):
        spk = self.lif1(self.fc1(x) + self.back(self.last))
        self.last = self.lif2(self.fc2(spk))
        return self.last


class Normalised(nn.Module):
    """Layers of other kinds, a normalisation that learns statistics, spectral and weight norm."""

    def __init__(self):
        super().__init__()
        self.fc = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 6))
        self.norm, self.lif = nn.BatchNorm1d(6), snn.Leaky(beta=0.8, init_hidden=True)
        self.out = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4))
        norms = nn.RMSNorm(2), nn.InstanceNorm1d(2, track_running_stats=True)
        self.prelu, self.last = nn.PReLU(), nn.Sequential(nn.Unflatten(1, (2, 2)), *norms, nn.Flatten())

    def forward(self, x):
        return self.last(self.prelu(self.out(self.lif(self.norm(self.fc(x))))))


class Hooked(nn.Module):
    """A hook on a layer and one on a neuron, which count."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(5, 4), snn.Leaky(beta=0.8, init_hidden=True)
        self.out = nn.Linear(4, 3)
        self.seen = []
        self.fc.register_forward_hook(lambda m, args, out: self.seen.append(("fc", out.detach().clone())))
        self.lif.register_forward_hook(lambda m, args, out: self.seen.append(("lif", out.detach().clone())))

    def forward(self, x):
        return self.out(self.lif(self.fc(x)))


class Telling(nn.Module):
    """Hooks that hand something on to each other and to the forward, one of a block and one of a pruned layer."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(5, 5), snn.Leaky(beta=0.8, init_hidden=True)
        self.block, self.told = nn.Sequential(nn.Linear(5, 5), nn.Tanh()), {}
        self.out = nn.utils.parametrizations.weight_norm(nn.Linear(5, 3))
        for module in (self.fc, self.lif, self.block, self.out):
            module.told = self.told  # not by the hooks, which a copy shares
        self.fc.register_forward_hook(lambda m, args, out: m.told.update(fc=out))
        self.lif.register_forward_pre_hook(lambda m, args: (args[0] + m.told["fc"] * m.told.get("block", 1),))
        self.block.register_forward_hook(lambda m, args, out: m.told.update(block=out) or out + m.told["fc"])
        self.out.register_forward_hook(lambda m, args, out: m.told.update(out=out))

    def forward(self, x):
        self.out(self.block(self.lif(self.fc(x))))
        return self.told["out"] + self.told["fc"].mean()


class Traced(nn.Module):
    """A trace of spikes without gradient, noise like what was computed, a pooled neuron."""

    def __init__(self):
        super().__init__()
        self.lstm = snn.SConv2dLSTM(1, 2, 3, threshold=0.1, max_pool=2, init_hidden=True)
        self.lif = snn.Leaky(beta=0.8, init_hidden=True, learn_beta=True)
        self.register_buffer("trace", torch.zeros(B, 2, 2, 2))

    def forward(self, x):
        spk = self.lstm(x)
        spk = self.lif(spk + torch.rand_like(spk))
        with torch.no_grad():
            self.trace.mul_(0.9).add_(spk)
        return spk * self.trace.mean()


Out = namedtuple("Out", "spk mem")


class Named(nn.Module):
    """Neurons of several kinds, a named tuple."""

    def __init__(self):
        super().__init__()
        self.fc, self.alpha = nn.Linear(5, 4), snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True)
        self.fc2, self.lap = nn.Linear(4, 4), snn.Lapicque(beta=0.8, init_hidden=True)
        self.delta = snn.DeltaLeaky(0.3, beta=0.7, init_hidden=True, output=False)
        self.syn = snn.RSynaptic(alpha=0.5, beta=0.6, V=0.4, all_to_all=False, init_hidden=True, output=True)

    def forward(self, x):
        spk, _, mem = self.syn(self.delta(self.lap(self.fc2(self.alpha(self.fc(x))))) + x[..., :4])
        return Out(spk, mem)


class Rows(nn.Module):
    """Functions over dimensions counted from the front: `unbind`, `chunk`, `sum(0)`, indexing, a permutation."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(5, 6), snn.Leaky(beta=0.8, init_hidden=True)

    def forward(self, x):
        a, b = self.fc(x).chunk(2, dim=1)
        spk = self.lif(a + b.flip(0))
        first, *_ = spk.unbind(1)
        values, indices = spk.max(dim=1)
        return spk[:, 1], first + values, spk.permute(1, 0).sum(0), spk[1:], indices


class Counting(nn.Module):
    """A layer with a state in a buffer that is written in place, one in an attribute, a counter and a list."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(5, 4), snn.Leaky(beta=0.8, init_hidden=True)
        self.register_buffer("mean", torch.zeros(4))
        self.last, self.calls, self.seen = None, 0, []

    def forward(self, x):
        out = self.fc(x) - self.mean
        with torch.no_grad():
            self.mean.mul_(0.9).add_(0.1 * out.mean(0))
        out = out if self.last is None else out + 0.5 * self.last
        self.last, self.calls = torch.tanh(out), self.calls + 1
        self.seen.append(("call", self.calls))
        return self.lif(self.last * 2) * self.calls


STEPS = {
    "sew block": (SEWBlock, (B, 3, 4, 4)), "attention": (Attention, (B, 5, 4)), "u-net": (UNet, (B, 2, 4, 4)),
    "branches": (Branches, (B, 5)), "gated": (Gated, (B, 5)), "feeding": (Feeding, (B, 5)),
    "normalised": (Normalised, (B, 5)), "hooked": (Hooked, (B, 5)), "named": (Named, (B, 5)), "rows": (Rows, (B, 5)),
    "counting": (Counting, (B, 5)), "telling": (Telling, (B, 5)), "traced": (Traced, (B, 1, 4, 4)),
}  # fmt: skip
