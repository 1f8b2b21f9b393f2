"""Compiled loops for texts: noise per position, 80/10/10 corruption, visibility of enhanced decoding, halves.

Twins of noise.py, corruption/bert.py, decoder/enhanced.py and view.py.
Shapes: B passages, R rows, L positions, V vocabulary, G passages of a group with K positions, H positions of a half.
"""

import numpy as np

from bmae_lightning.pretraining.kernels.arithmetic import STRIDE, compiled, mix, unit


@compiled("void(int64, int64[::1], int64[::1], uint64[::1])")
def passage_keys(start, epoch_B, passage_B, key_B):
    """start: of the salt."""
    for b in range(key_B.size):
        key = mix(np.uint64(epoch_B[b]) * STRIDE + np.uint64(start))
        key_B[b] = mix(key + np.uint64(passage_B[b]) * STRIDE)


@compiled("void(int64, int64, uint64[::1], float64[:, :, ::1])")
def uniform(first, last, key_B, value_BRL):
    for b in range(first, last):
        for r in range(value_BRL.shape[1]):
            key = mix(key_B[b] + np.uint64(r + 1) * STRIDE)
            for l in range(value_BRL.shape[2]):
                value_BRL[b, r, l] = unit(mix(key + np.uint64(l + 1) * STRIDE))


@compiled(
    "void(int64[:, ::1], boolean[:, ::1], boolean[::1], uint64[::1], uint64[::1], int64, float64, float64, int64,"
    "int64[:, ::1], int64[:, ::1], boolean[:, ::1])"
)
def corrupt_pieces(
    ids_BL, selected_BL, special_V, fate_key_B, random_key_B, mask_id, hide, change, ignored,
    new_BL, labels_BL, taken_BL,
):  # fmt: skip
    """A selected piece becomes mask_id where its fate is below hide, a random id where it is below change."""
    known = np.uint64(special_V.size - 1)
    for b in range(ids_BL.shape[0]):
        fate_key, random_key = mix(fate_key_B[b] + STRIDE), mix(random_key_B[b] + STRIDE)
        end = ids_BL.shape[1]
        while end > 0 and not selected_BL[b, end - 1]:
            end -= 1
        new_BL[b, end:] = ids_BL[b, end:]
        labels_BL[b, end:] = ignored
        taken_BL[b, end:] = False
        for l in range(end):
            taken_BL[b, l] = selected_BL[b, l] & (not special_V[min(np.uint64(ids_BL[b, l]), known)])
        for l in range(end):
            fate = unit(mix(fate_key + np.uint64(l + 1) * STRIDE))
            other = np.int64(unit(mix(random_key + np.uint64(l + 1) * STRIDE)) * special_V.size)
            token = mask_id if fate < hide else other if fate < change else ids_BL[b, l]
            new_BL[b, l] = token if taken_BL[b, l] else ids_BL[b, l]
            labels_BL[b, l] = ids_BL[b, l] if taken_BL[b, l] else ignored


@compiled("void(int64, int64, int64[::1], boolean[:, :, ::1], int64[:, ::1], boolean[:, ::1], boolean[:, :, ::1])")
def visible_keys(first, last, index_G, hidden_GRK, pick_GK, real_GK, visible_BLL):
    """Rows of visible_BLL for a group of passages of at most K positions: real, not hidden by the row's pick, not self.

    What lies behind K is written too, so that visible_BLL may come uninitialised.
    """
    size, length = real_GK.shape[1], visible_BLL.shape[1]
    for g in range(first, last):
        b = index_G[g]
        for i in range(length):
            if i < size and real_GK[g, i]:
                r = pick_GK[g, i]
                for j in range(size):
                    visible_BLL[b, i, j] = real_GK[g, j] & (not hidden_GRK[g, r, j])
                for j in range(size, length):
                    visible_BLL[b, i, j] = False
                visible_BLL[b, i, i] = False
            else:
                for j in range(length):
                    visible_BLL[b, i, j] = False


@compiled("void(int64[:, ::1], boolean[:, ::1], boolean, int64, int64[:, ::1], int64[:, ::1], boolean[:, ::1])")
def halve(ids_BL, real_BL, second, pad_id, source_BH, half_BH, kept_BH):
    """One half of each text between its [CLS] and [SEP], see `view.half`; source_BH: the place of each id before."""
    for b in range(ids_BL.shape[0]):
        content = 0
        for l in range(real_BL.shape[1]):
            content += real_BL[b, l]
        content = max(0, content - 2)
        start = content // 2 if second else 0
        size = content - content // 2 if second else content // 2
        for h in range(half_BH.shape[1]):
            source = 0 if h == 0 else start + h if h <= size else content + 1
            source_BH[b, h] = source
            kept_BH[b, h] = h < size + 2
            half_BH[b, h] = ids_BL[b, source] if h < size + 2 else pad_id
