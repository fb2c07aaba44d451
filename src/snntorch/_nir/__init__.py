"""NIR both ways: a file for each kind of layer, with how it is written and how it is read.

NIR (Pedersen et al., "Neuromorphic intermediate representation: a unified instruction set for interoperable
brain-inspired computing", Nature Communications 15, 2024) describes neurons by differential equations::

    LIF, LI:          tau v' = v_leak - v + r I
    CubaLIF, CubaLI:  tau_mem v' = v_leak - v + r I,  tau_syn I' = -I + w_in S
    IF, I:            v' = r I
    LIF, CubaLIF, IF: a spike where v > v_threshold, upon which v becomes v_reset

One Euler step of length dt, the current before the potential, is a snnTorch step of the scaled potential
`u = (v - v_leak) / g`, which starts at rest, u = 0::

    u = beta u + x                        (LIF, LI;  IF, I with beta = 1)
    i = alpha i + x,  u = beta u + i      (CubaLIF, CubaLI)
    a spike where u > (v_threshold - v_leak) / g, upon which u becomes (v_reset - v_leak) / g

    beta  = 1 - dt / tau_mem              tau_mem = dt / (1 - beta)
    alpha = 1 - dt / tau_syn              tau_syn = dt / (1 - alpha)
    g     = r dt / tau                    (LIF, LI)              r = tau / dt for g = 1
    g     = w_in dt / tau_syn r dt / tau  (CubaLIF, CubaLI)      w_in = tau_syn / dt too
    g     = r, or 1 where r = 1 / dt      (IF, I)                r = 1 / dt for g = 1
    Lapicque:  tau = R C dt / time_step,  r = R                  (its own Euler step)

- The reset happens in the step that spiked: `reset_mechanism="zero"`, `reset_delay=False`, for v_reset = v_leak. In
  `Leaky` the delayed reset to zero gives the same spikes; in the other neurons it does not.
- IF and I have no time scale in them, and libraries disagree: the equations say g = r dt, while most write r = 1 for
  a potential that grows by its input. Both r = 1 and r = 1 / dt therefore mean g = 1.
- A gain within 1e-6 of 1 is 1: files hold single precision, and a threshold that moved by a rounding error would
  change spikes where the potential meets it exactly.
- A neuron without leak among leaky ones, or behind a synapse, has tau = 2^60 dt, whose beta rounds to 1.
- Time constants are written in double precision, so that beta comes back to the last bit.
- What NIR lacks stands in a node's `metadata["snntorch"]`: `reset_mechanism` and `reset_delay`, which import restores,
  `neuron` and `time_step` where the class matters, and `spike_grad`, the surrogate gradient's name, for the reader
  only. The graph's own metadata hold `dt` and `model_name`. Where other readers of the graph would find other spikes,
  the export warns.
"""
