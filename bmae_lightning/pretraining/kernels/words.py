"""Compiled loops of mask/words.py: finding words, and taking them in random, weighted or given order.

Every loop does the passages first .. last - 1, so that threads can share a batch.
Shapes: B passages, R rows, L positions, W word slots, V vocabulary, N words near the edge.
"""

import math

import numba
import numpy as np

from bmae_lightning.pretraining.kernels.arithmetic import STRIDE, compiled, inlined, log, mix, unit

BUCKETS = 64
EXACT, PREFIX, OVERSHOOT = range(3)
FILLS = {"exact": EXACT, "prefix": PREFIX, "overshoot": OVERSHOOT}
_12, _46 = np.uint64(12), np.uint64(46)
SIGN, INFINITY = np.uint64(1 << 63), np.uint64(0x7FF << 52)


@inlined
def group(ids_L, real_L, skip_V, joint_V, word_L, size_W):
    """The rule of mask/words.py for one text, without branches; returns the number of words.

    size_W comes as zeros and ends with a slot for pieces of no word, to which word_L points there.
    """
    none, known = np.uint32(size_W.size - 1), np.uint64(skip_V.size - 1)  # an id too large is left to the embeddings
    end, first = ids_L.size, 0
    while end > 0 and not real_L[end - 1]:
        end -= 1
        word_L[end] = none
    while first < end and not (real_L[first] and not skip_V[min(np.uint64(ids_L[first]), known)]):
        word_L[first] = none
        first += 1
    if first == end:
        return 0
    count = np.uint32(0)
    word_L[first] = 0
    size_W[0] = 1
    before = joint_V[min(np.uint64(ids_L[first]), known)]
    for l in range(first + 1, end):
        token = min(np.uint64(ids_L[l]), known)
        piece, joint = real_L[l] & (not skip_V[token]), joint_V[token]
        count += np.uint32(piece & (joint & ~(before >> 1) & 1 == 0))
        before = joint
        word = count if piece else none
        word_L[l] = word
        size_W[word] += 1
    return count + 1


@compiled("void(int64, int64, int64[:, ::1], boolean[:, ::1], boolean[::1], uint8[::1], int64[:, ::1], int64[:, ::1])")
def find_words(first, last, ids_BL, real_BL, skip_V, joint_V, word_BL, size_BW):
    length = ids_BL.shape[1]
    word_L, size_W = np.empty(length, np.uint32), np.empty(length + 1, np.int32)
    for b in range(first, last):
        size_W[:] = 0
        group(ids_BL[b], real_BL[b], skip_V, joint_V, word_L, size_W)
        for l in range(length):
            word_BL[b, l] = word_L[l] if word_L[l] < length else -1
            size_BW[b, l] = size_W[l]


@compiled("void(int64[:, ::1], int64[:, ::1])")
def first_positions(word_BL, start_BW):
    """Where each word begins; start_BW comes as zeros."""
    for b in range(word_BL.shape[0]):
        known = -1
        for l in range(word_BL.shape[1]):
            if word_BL[b, l] > known:
                known = word_BL[b, l]
                start_BW[b, known] = l


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
    exact = fill == EXACT
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
def memory(slots, length):
    """Arrays that the loops below use again for every text; size_W and chosen_W end with a slot for no word."""
    size_W, word_L, chosen_W = np.empty(slots + 1, np.int32), np.empty(length, np.uint32), np.zeros(slots + 1, np.uint8)
    bucket_W, total = np.empty(slots, np.uint8), np.empty(BUCKETS, np.int32)
    near_W, rank_N = np.empty(slots, np.uint32), np.empty(slots, np.uint64)
    return size_W, word_L, chosen_W, bucket_W, total, near_W, rank_N


@inlined
def write_mask(chosen_W, word_L, mask_L):
    """chosen_W ends with the slot for no word, 0."""
    for l in range(word_L.size):
        mask_L[l] = chosen_W[word_L[l]] != 0


@inlined
def longest_word(size_W, count):
    longest = np.int32(0)
    for w in range(count):
        longest = max(longest, size_W[w])
    return longest


@inlined
def load_words(words_L, sizes_W, word_L, size_W):
    """Copies a text's words as small numbers, with the slot behind the last for no word; how many, and the longest."""
    count = 0
    for l in range(words_L.size):
        word_L[l] = words_L[l] if words_L[l] >= 0 else sizes_W.size
        count = max(count, words_L[l] + 1)
    for w in range(count):
        size_W[w] = sizes_W[w]
    return count, longest_word(size_W, count)


@compiled(
    "void(int64, int64, uint64[::1], int64[:, ::1], boolean[:, ::1], boolean[::1], uint8[::1], int64[::1], int64,"
    "boolean, boolean[:, :, ::1])"
)
def take_at_random(first, last, key_B, ids_BL, real_BL, skip_V, joint_V, room_B, fill, others, mask_BRL):
    """Words in falling order of `uniform`, which is rising order of its inverted bits.

    others: row r's own piece takes no room and is selected.
    """
    length = ids_BL.shape[1]
    rank_W = np.empty(length, np.uint64)
    size_W, word_L, chosen_W, bucket_W, total, near_W, rank_N = memory(length, length)
    for b in range(first, last):
        size_W[:] = 0
        count = group(ids_BL[b], real_BL[b], skip_V, joint_V, word_L, size_W)
        longest = longest_word(size_W, count)
        for r in range(mask_BRL.shape[1]):
            key = mix(key_B[b] + np.uint64(r + 1) * STRIDE)
            for w in range(count):
                rank_W[w] = ~mix(key + np.uint64(w + 1) * STRIDE) >> _12
                bucket_W[w] = np.uint8(rank_W[w] >> _46)
            if others:
                size_W[word_L[r]] -= 1
            take(rank_W, False, bucket_W, size_W, longest, count, room_B[b], fill, chosen_W, total, near_W, rank_N)
            write_mask(chosen_W, word_L, mask_BRL[b, r])
            if others:
                size_W[word_L[r]] += 1
                mask_BRL[b, r, r] = True


@numba.njit(error_model="numpy", fastmath={"reassoc", "nsz", "contract"})
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
def take_by_priority(first, last, priority_BRW, word_BL, size_BW, room_B, fill, mask_BRL):
    """Words in falling order of their priorities, NaN before all, equal ones from left to right."""
    slots, length = size_BW.shape[1], word_BL.shape[1]
    size_W, word_L, chosen_W, bucket_W, total, near_W, rank_N = memory(slots, length)
    for b in range(first, last):
        count, longest = load_words(word_BL[b], size_BW[b], word_L, size_W)
        for r in range(mask_BRL.shape[1]):
            value_W = priority_BRW[b, r]
            fill_buckets(value_W, count, bucket_W)
            bits_W = value_W.view(np.uint64)
            take(bits_W, True, bucket_W, size_W, longest, count, room_B[b], fill, chosen_W, total, near_W, rank_N)
            write_mask(chosen_W, word_L, mask_BRL[b, r])


@compiled(
    "void(int64, int64, uint64[::1], float64[:, ::1], int64[:, ::1], int64[:, ::1], int64[::1], int64,"
    "boolean[:, :, ::1])"
)
def take_by_weight(first, last, key_B, log_weight_BW, word_BL, size_BW, room_B, fill, mask_BRL):
    """Words in rising order of exponential arrival times with their weights as rates."""
    slots, length = size_BW.shape[1], word_BL.shape[1]
    value_W, other_W, part_W = np.empty(slots), np.empty(slots), np.empty(slots)
    size_W, word_L, chosen_W, bucket_W, total, near_W, rank_N = memory(slots, length)
    for b in range(first, last):
        count, longest = load_words(word_BL[b], size_BW[b], word_L, size_W)
        for r in range(mask_BRL.shape[1]):
            key = mix(key_B[b] + np.uint64(r + 1) * STRIDE)
            for w in range(count):
                value_W[w] = unit(mix(key + np.uint64(w + 1) * STRIDE))
            log(value_W.view(np.int64), count, part_W, other_W)
            for w in range(count):
                other_W[w] = -other_W[w]
            log(other_W.view(np.int64), count, part_W, value_W)
            for w in range(count):
                value_W[w] = log_weight_BW[b, w] - value_W[w]
            fill_buckets(value_W, count, bucket_W)
            bits_W = value_W.view(np.uint64)
            take(bits_W, True, bucket_W, size_W, longest, count, room_B[b], fill, chosen_W, total, near_W, rank_N)
            write_mask(chosen_W, word_L, mask_BRL[b, r])
