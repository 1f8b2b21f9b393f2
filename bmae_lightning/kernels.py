"""Compiled loops (numba) for masks on the CPU: the arithmetic of noise.py and the fill rules of mask/policy.py.

Whole-word masking as RetroMAE, DupMAE, SimLM and MASTER release it, without a tensor per step. Only `native` imports
this; every loop does rows first .. last - 1, so that threads can share a batch. numba's cache notices changes of this
file only, so all loops live here.
Shapes: B passages, R rows, L positions, W word slots, V vocabulary.
"""

import math

import numba
import numpy as np

BUCKETS = 64
PREFIX, OVERSHOOT = 1, 2
STRIDE = np.uint64(0x9E3779B97F4A7C15)
FIRST = np.uint64(0xBF58476D1CE4E5B9)
SECOND = np.uint64(0x94D049BB133111EB)
_12, _27, _30, _31, _46 = (np.uint64(count) for count in (12, 27, 30, 31, 46))
SIGN, INFINITY = np.uint64(1 << 63), np.uint64(0x7FF << 52)

inlined = numba.njit(inline="always")


def compiled(signature: str):
    """Compile now, with numba's cache on disk where one can be read and written, without it elsewhere."""

    def decorate(function):
        try:
            return numba.njit(signature, nogil=True, cache=True)(function)
        except Exception:  # no writable directory, a full disk, a damaged file; a true error is raised again below
            return numba.njit(signature, nogil=True)(function)

    return decorate


@inlined
def mix(bits):
    """splitmix64's finaliser, as in noise.py."""
    bits = (bits ^ (bits >> _30)) * FIRST
    bits = (bits ^ (bits >> _27)) * SECOND
    return bits ^ (bits >> _31)


@inlined
def unit(bits):
    """The number in (0, 1) that noise.py makes of 64 bits."""
    return (np.float64(bits >> _12) + 0.5) * 2.0**-52


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
    "void(int64, int64, int64[:, ::1], boolean[:, ::1], boolean[::1], boolean[::1], int64[:, ::1], int64[:, ::1])"
)
def group_words(first, last, ids_BL, real_BL, skip_V, continuation_V, word_BL, size_BW):
    """size_BW comes as zeros."""
    for b in range(first, last):
        word = -1
        for l in range(ids_BL.shape[1]):
            token = ids_BL[b, l]
            if real_BL[b, l] and not skip_V[token]:
                if word < 0 or not continuation_V[token]:
                    word += 1
                size_BW[b, word] += 1
                word_BL[b, l] = word
            else:
                word_BL[b, l] = -1


@inlined
def sort_near(near_W, rank_N, count):
    """Shell sort of word numbers by (rank, number)."""
    gap = 1
    while gap < count // 9:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(gap, count):
            word, rank = near_W[i], rank_N[i]
            j = i
            while j >= gap and (rank < rank_N[j - gap] or (rank == rank_N[j - gap] and word < near_W[j - gap])):
                near_W[j], rank_N[j] = near_W[j - gap], rank_N[j - gap]
                j -= gap
            near_W[j], rank_N[j] = word, rank
        gap //= 3


@inlined
def falling(bits):
    """Integers that rise as the 64-bit floats with these bits fall: NaN, then from the largest to the smallest."""
    if bits == SIGN:  # -0.0 equals 0.0
        bits = np.uint64(0)
    if bits & ~SIGN > INFINITY:
        return np.uint64(0)
    return bits if bits >= SIGN else ~SIGN - bits


@inlined
def take(bits_W, given, bucket_W, size_W, count, room, fill, chosen_W, total, near_W, rank_N):
    """Whole words by rising rank until room is full; bucket_W is a coarse rank in 0 .. BUCKETS - 1.

    All words of a bucket are taken at once as long as they fit, and only the bucket that does not fit is sorted; the
    'exact' rule then goes on behind it with the words that fit what is left.
    bits_W: ranks, or where they are given, floats to be ranked from the largest down. The last three are memory.
    """
    exact = fill != PREFIX and fill != OVERSHOOT
    for w in range(count):
        chosen_W[w] = 0
    done = -1
    while room > 0:
        limit = room if exact else np.int64(1 << 62)
        for i in range(BUCKETS):
            total[i] = 0
        for w in range(count):
            if bucket_W[w] > done and size_W[w] <= limit:
                total[bucket_W[w]] += size_W[w]
        edge = done + 1
        while edge < BUCKETS and total[edge] <= room:
            room -= total[edge]
            edge += 1
        for w in range(count):
            chosen_W[w] |= (bucket_W[w] > done) & (bucket_W[w] < edge) & (size_W[w] <= limit)
        if edge == BUCKETS or room <= 0:
            break
        near = 0
        for w in range(count):
            if bucket_W[w] == edge and size_W[w] <= limit:
                near_W[near] = w
                rank_N[near] = falling(bits_W[w]) if given else bits_W[w]
                near += 1
        if near > 1:
            sort_near(near_W, rank_N, near)
        for i in range(near):
            word = near_W[i]
            if size_W[word] <= room or (fill == OVERSHOOT and room > 0):
                chosen_W[word] = 1
                room -= size_W[word]
            elif not exact:
                break
        if not exact:
            break
        done = edge


@inlined
def load_words(word_L, size_BW, b, place_L, size_W):
    """The words of a passage as small numbers: place_L points to the slot behind the last word for none."""
    count = 0
    for w in range(size_BW.shape[1]):
        size_W[w] = size_BW[b, w]
        if size_W[w] > 0:
            count = w + 1
    for l in range(word_L.size):
        place_L[l] = word_L[l] if word_L[l] >= 0 else count
    return count


@compiled("void(int64, int64, uint64[::1], int64[:, ::1], int64[:, ::1], int64[::1], int64, boolean[:, :, ::1])")
def draw_words(first, last, key_B, word_BL, size_BW, room_B, fill, mask_BRL):
    """Words in falling order of `uniform`, which is rising order of its inverted bits."""
    slots, length = size_BW.shape[1], word_BL.shape[1]
    rank_W, rank_N, total = np.empty(slots, np.uint64), np.empty(slots, np.uint64), np.empty(BUCKETS, np.int32)
    size_W, bucket_W = np.empty(slots, np.int32), np.empty(slots, np.int32)
    near_W, place_L = np.empty(slots, np.uint32), np.empty(length, np.uint32)
    chosen_W = np.zeros(slots + 1, np.uint8)
    for b in range(first, last):
        count = load_words(word_BL[b], size_BW, b, place_L, size_W)
        chosen_W[count] = 0
        for r in range(mask_BRL.shape[1]):
            key = mix(key_B[b] + np.uint64(r + 1) * STRIDE)
            for w in range(count):
                rank_W[w] = ~mix(key + np.uint64(w + 1) * STRIDE) >> _12
                bucket_W[w] = np.int32(rank_W[w] >> _46)
            take(rank_W, False, bucket_W, size_W, count, room_B[b], fill, chosen_W, total, near_W, rank_N)
            for l in range(length):
                mask_BRL[b, r, l] = chosen_W[place_L[l]] != 0


@numba.njit(fastmath={"reassoc", "nsz", "contract"})
def mean_and_deviation(value_W, count):
    total = square = 0.0
    for w in range(count):
        total += value_W[w]
        square += value_W[w] * value_W[w]
    mean = total / max(count, 1)
    return mean, math.sqrt(max(square / max(count, 1) - mean * mean, 0.0))


@inlined
def fill_buckets(value_W, count, bucket_W):
    """Slices of the values' range from the largest down, narrow around the mean: any division in order will do."""
    mean, deviation = mean_and_deviation(value_W, count)
    scale = BUCKETS / 6 / deviation if deviation > 0 else 0.0
    if mean - mean == 0 and scale - scale == 0 and deviation - deviation == 0:
        for w in range(count):
            place = (mean - value_W[w]) * scale + BUCKETS / 2
            bucket_W[w] = np.int32(min(max(place, 0.0), BUCKETS - 1.0))
    else:  # infinite or no numbers among them
        for w in range(count):
            first = value_W[w] == np.inf or value_W[w] != value_W[w]
            bucket_W[w] = 0 if first else 2 if value_W[w] == -np.inf else 1


@compiled("void(int64, int64, float64[:, :, ::1], int64[:, ::1], int64[:, ::1], int64[::1], int64, boolean[:, :, ::1])")
def select_words(first, last, priority_BRW, word_BL, size_BW, room_B, fill, mask_BRL):
    """Words in falling order of their priorities, NaN before all, equal ones from left to right."""
    slots, length = size_BW.shape[1], word_BL.shape[1]
    rank_N, total = np.empty(slots, np.uint64), np.empty(BUCKETS, np.int32)
    size_W, bucket_W = np.empty(slots, np.int32), np.empty(slots, np.int32)
    near_W, place_L = np.empty(slots, np.uint32), np.empty(length, np.uint32)
    chosen_W = np.zeros(slots + 1, np.uint8)
    for b in range(first, last):
        count = load_words(word_BL[b], size_BW, b, place_L, size_W)
        chosen_W[count] = 0
        for r in range(mask_BRL.shape[1]):
            fill_buckets(priority_BRW[b, r], count, bucket_W)
            take(priority_BRW[b, r].view(np.uint64), True, bucket_W, size_W, count, room_B[b], fill, chosen_W, total, near_W, rank_N)
            for l in range(length):
                mask_BRL[b, r, l] = chosen_W[place_L[l]] != 0


@compiled("void(int64[:, ::1], int64[:, ::1])")
def first_positions(word_BL, start_BW):
    """Where each word begins; start_BW comes as zeros."""
    for b in range(word_BL.shape[0]):
        known = -1
        for l in range(word_BL.shape[1]):
            if word_BL[b, l] > known:
                known = word_BL[b, l]
                start_BW[b, known] = l


@compiled(
    "void(int64[:, ::1], boolean[:, ::1], boolean[::1], uint64[::1], uint64[::1], float64, float64, int64, int64,"
    "int64[:, ::1], int64[:, ::1], boolean[:, ::1])"
)
def corrupt_pieces(
    ids_BL,
    selected_BL,
    special_V,
    fate_key_B,
    random_key_B,
    hide,
    change,
    mask_id,
    ignored,
    new_BL,
    labels_BL,
    taken_BL,
):
    """A selected piece becomes mask_id where its fate is below hide, a random id where it is below change."""
    for b in range(ids_BL.shape[0]):
        fate_key, random_key = mix(fate_key_B[b] + STRIDE), mix(random_key_B[b] + STRIDE)
        for l in range(ids_BL.shape[1]):
            token = ids_BL[b, l]
            taken = selected_BL[b, l] and not special_V[token]
            taken_BL[b, l] = taken
            labels_BL[b, l] = token if taken else ignored
            if taken:
                fate = unit(mix(fate_key + np.uint64(l + 1) * STRIDE))
                if fate < hide:
                    token = mask_id
                elif fate < change:
                    token = np.int64(unit(mix(random_key + np.uint64(l + 1) * STRIDE)) * special_V.size)
            new_BL[b, l] = token


@compiled("void(int64, int64, int64[::1], boolean[:, :, ::1], int64[:, ::1], boolean[:, ::1], boolean[:, :, ::1])")
def visible_keys(first, last, index_G, hidden_GRK, pick_GK, real_GK, visible_BLL):
    """Rows of visible_BLL for a group G of passages of at most K positions: real, not hidden by the row's pick, not self.

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
