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


@inlined
def group(ids_L, real_L, skip_V, continuation_V, word_L, size_W):
    """The rule of `policy.group_words` for one text; size_W comes as zeros. Returns the number of words."""
    count = 0
    for l in range(ids_L.size):
        token = ids_L[l]
        if real_L[l] and not skip_V[token]:
            if count == 0 or not continuation_V[token]:
                count += 1
            size_W[count - 1] += 1
            word_L[l] = count - 1
        else:
            word_L[l] = -1
    return count


@compiled(
    "void(int64, int64, int64[:, ::1], boolean[:, ::1], boolean[::1], boolean[::1], int64[:, ::1], int64[:, ::1])"
)
def group_words(first, last, ids_BL, real_BL, skip_V, continuation_V, word_BL, size_BW):
    for b in range(first, last):
        group(ids_BL[b], real_BL[b], skip_V, continuation_V, word_BL[b], size_BW[b])


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
def take(bits_W, given, bucket_W, size_W, longest, count, room, fill, chosen_W, total, near_W, rank_N):
    """Whole words by rising rank until room is full; bucket_W is a coarse rank in 0 .. BUCKETS - 1.

    All words of a bucket are taken at once as long as they fit, and only the bucket that does not fit is sorted; the
    'exact' rule then goes on behind it with the words that fit what is left.
    bits_W: ranks, or where they are given, floats to be ranked from the largest down. The last three are memory.
    """
    exact = fill != PREFIX and fill != OVERSHOOT
    for w in range(count):
        chosen_W[w] = 0
    settled = 0  # buckets before this one are
    while room > 0:
        limit = np.int32(room) if exact else longest
        for i in range(BUCKETS):
            total[i] = 0
        fresh = settled == 0 and longest <= limit
        if fresh:
            for w in range(count):
                total[bucket_W[w]] += size_W[w]
        else:
            for w in range(count):
                if bucket_W[w] >= settled and size_W[w] <= limit:
                    total[bucket_W[w]] += size_W[w]
        place = settled
        while place < BUCKETS and total[place] <= room:
            room -= total[place]
            place += 1
        start, edge = np.uint8(settled), np.uint8(place)
        if fresh:
            for w in range(count):
                chosen_W[w] = bucket_W[w] < edge
        else:
            for w in range(count):
                chosen_W[w] |= (bucket_W[w] >= start) & (bucket_W[w] < edge) & (size_W[w] <= limit)
        if place == BUCKETS or room <= 0:
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
        settled = place + 1


@inlined
def longest_word(size_W, count):
    longest = np.int32(0)
    for w in range(count):
        longest = max(longest, size_W[w])
    return longest


@inlined
def write_mask(chosen_W, word_L, mask_L):
    """chosen_W has a slot behind the last word, False, for word -1."""
    last = chosen_W.size - 1
    for l in range(word_L.size):
        mask_L[l] = chosen_W[word_L[l] if word_L[l] >= 0 else last] != 0


@compiled(
    "void(int64, int64, uint64[::1], int64[:, ::1], boolean[:, ::1], boolean[::1], boolean[::1], int64[::1], int64,"
    "boolean[:, :, ::1])"
)
def draw_words(first, last, key_B, ids_BL, real_BL, skip_V, continuation_V, room_B, fill, mask_BRL):
    """Words in falling order of `uniform`, which is rising order of its inverted bits."""
    length = ids_BL.shape[1]
    rank_W, rank_N, total = np.empty(length, np.uint64), np.empty(length, np.uint64), np.empty(BUCKETS, np.int32)
    size_W, bucket_W = np.empty(length, np.int32), np.empty(length, np.uint8)
    near_W, word_L = np.empty(length, np.uint32), np.empty(length, np.int32)
    chosen_W = np.zeros(length + 1, np.uint8)
    for b in range(first, last):
        size_W[:] = 0
        count = group(ids_BL[b], real_BL[b], skip_V, continuation_V, word_L, size_W)
        longest = longest_word(size_W, count)
        for r in range(mask_BRL.shape[1]):
            key = mix(key_B[b] + np.uint64(r + 1) * STRIDE)
            for w in range(count):
                rank_W[w] = ~mix(key + np.uint64(w + 1) * STRIDE) >> _12
                bucket_W[w] = np.uint8(rank_W[w] >> _46)
            take(rank_W, False, bucket_W, size_W, longest, count, room_B[b], fill, chosen_W, total, near_W, rank_N)
            write_mask(chosen_W, word_L, mask_BRL[b, r])


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
            bucket_W[w] = np.uint8(min(max(place, 0.0), BUCKETS - 1.0))
    else:  # infinite or no numbers among them
        for w in range(count):
            first = value_W[w] == np.inf or value_W[w] != value_W[w]
            bucket_W[w] = 0 if first else 2 if value_W[w] == -np.inf else 1


@compiled("void(int64, int64, float64[:, :, ::1], int64[:, ::1], int64[:, ::1], int64[::1], int64, boolean[:, :, ::1])")
def select_words(first, last, priority_BRW, word_BL, size_BW, room_B, fill, mask_BRL):
    """Words in falling order of their priorities, NaN before all, equal ones from left to right."""
    slots, length = size_BW.shape[1], word_BL.shape[1]
    rank_N, total = np.empty(slots, np.uint64), np.empty(BUCKETS, np.int32)
    size_W, bucket_W = np.empty(slots, np.int32), np.empty(slots, np.uint8)
    near_W, word_L = np.empty(slots, np.uint32), np.empty(length, np.int32)
    chosen_W = np.zeros(slots + 1, np.uint8)
    for b in range(first, last):
        count = 0
        for l in range(length):
            word_L[l] = word_BL[b, l]
            count = max(count, word_L[l] + 1)
        for w in range(count):
            size_W[w] = size_BW[b, w]
        longest = longest_word(size_W, count)
        for r in range(mask_BRL.shape[1]):
            value_W = priority_BRW[b, r]
            fill_buckets(value_W, count, bucket_W)
            bits_W = value_W.view(np.uint64)
            take(bits_W, True, bucket_W, size_W, longest, count, room_B[b], fill, chosen_W, total, near_W, rank_N)
            write_mask(chosen_W, word_L, mask_BRL[b, r])


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


@compiled("void(int64[:, ::1], boolean[:, ::1], boolean, int64, int64[:, ::1], int64[:, ::1], boolean[:, ::1])")
def halve(ids_BL, real_BL, second, pad_id, source_BH, half_BH, kept_BH):
    """One half of each text between its [CLS] and [SEP], see `view.half`; source_BH: the place that each id comes from."""
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
