"""Plain attention of one sequence after the other, with the arguments of torch's variable-length kernel.

A CPU has no such kernel: tests put this in its place.
"""

import torch


def loop(query, key, value, ends, _, longest, __, scale, window_size, enable_gqa):
    assert longest == ends.diff().max() and ends[0] == 0 and ends[-1] == len(query)
    assert enable_gqa == (query.shape[1] != key.shape[1]) and window_size[1] == 0
    heads, out = query.shape[1] // key.shape[1], []
    for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        q, k, v = (
            states[begin:end].transpose(0, 1).repeat_interleave(n, 0)
            for states, n in ((query, 1), (key, heads), (value, heads))
        )
        back = torch.arange(end - begin)[:, None] - torch.arange(end - begin)  # how far behind each token
        seen = (back >= 0) & ((back <= window_size[0]) | (window_size[0] < 0))
        scores = (q @ k.transpose(1, 2) * scale).masked_fill(~seen, -torch.inf)
        out.append((scores.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(out)
