"""Compiled loops of the statistics: reading units, keys of n-grams, run lengths, look-ups, mutual information.

Shapes: T tokens, R rows and U units of a part of a store, V vocabulary, K keys, S slots of a table, N orders.
"""

import numpy as np

from bmae_lightning.runtime import splitmix64
from bmae_lightning.runtime.compiled import compiler, inlined

compiled = compiler(splitmix64.__file__)
mix = inlined(splitmix64.mix)
FACTOR = np.uint64(0xD6E8FEB86659FD93)
AHEAD = 64
"""Look-ups that are begun before the first is finished, so that they wait for memory together."""
_32 = np.uint64(32)


@compiled("void(int32[::1], int64[::1], boolean[::1], uint64[::1], uint64[::1], int64[::1], int32[::1])")
def read_pieces(id_T, offset_R, piece_V, code_V, key_U, start_R, unit_T):
    """Every piece that is not special is a unit."""
    count = 0
    for r in range(offset_R.size - 1):
        start_R[r] = count
        for t in range(offset_R[r], offset_R[r + 1]):
            key_U[count] = code_V[id_T[t]]
            real = piece_V[id_T[t]]
            unit_T[t] = count if real else -1
            count += real
    start_R[offset_R.size - 1] = count


@compiled(
    "void(int32[::1], int64[::1], boolean[::1], boolean[::1], boolean[::1], uint64[::1], uint64[::1], int64[::1],"
    "int32[::1])"
)
def read_words(id_T, offset_R, piece_V, begins_V, closed_V, code_V, key_U, start_R, unit_T):
    """A word's key is a polynomial in the codes of its pieces, mixed."""
    unit, power = -1, FACTOR
    for r in range(offset_R.size - 1):
        start_R[r] = unit + 1
        for t in range(offset_R[r], offset_R[r + 1]):
            token = id_T[t]
            if not piece_V[token]:
                unit_T[t] = -1
                continue
            if unit < start_R[r] or begins_V[token] or closed_V[id_T[t - 1]]:
                unit += 1
                power = FACTOR
                key_U[unit] = code_V[token]
            else:
                power *= FACTOR
                key_U[unit] += code_V[token] * power
            unit_T[t] = unit
    start_R[offset_R.size - 1] = unit + 1
    for u in range(unit + 1):
        key_U[u] = mix(key_U[u])


@compiled("int64(uint64[::1], int64[::1], int64, uint64[::1], int64[::1])")
def ngram_keys(key_U, start_R, order, key_K, begin_K):
    """A polynomial in the keys of the units; returns how many n-grams there are."""
    count = 0
    for r in range(start_R.size - 1):
        for u in range(start_R[r], start_R[r + 1] - order + 1):
            key = key_U[u]
            for place in range(1, order):
                key = key * FACTOR + key_U[u + place]
            key_K[count], begin_K[count] = key, u
            count += 1
    return count


@compiled("void(uint64[::1], int64[::1], int64[::1], boolean[::1])")
def times_in_row(key_U, start_R, times_U, first_U):
    """A hash table of the units of one row, which the next row finds out of date."""
    longest = 1
    for r in range(start_R.size - 1):
        longest = max(longest, start_R[r + 1] - start_R[r])
    size = 2
    while size < 2 * longest:
        size *= 2
    unit_S, first_of_L = np.full(size, -1, np.int64), np.empty(longest, np.int64)
    for r in range(start_R.size - 1):
        start, end = start_R[r], start_R[r + 1]
        for u in range(start, end):
            slot = np.int64(key_U[u] >> _32) & (size - 1)
            while unit_S[slot] >= start and key_U[unit_S[slot]] != key_U[u]:
                slot = (slot + 1) & (size - 1)
            first_U[u] = unit_S[slot] < start
            if first_U[u]:
                unit_S[slot] = u
                times_U[u] = 0
            first_of_L[u - start] = unit_S[slot]
            times_U[unit_S[slot]] += 1
        for u in range(start, end):
            times_U[u] = times_U[first_of_L[u - start]]


@compiled("int64(uint64[::1], int64, int64, uint64[::1])")
def keep_partition(key_K, number, partitions, kept_K):
    """Copies the keys of a partition; returns how many there are."""
    count, wanted, parts = 0, np.uint64(number), np.uint64(partitions)
    for k in range(key_K.size):
        kept_K[count] = key_K[k]
        count += ((key_K[k] >> _32) * parts) >> _32 == wanted
    return count


@compiled("void(uint64[::1], float64, int64[::1])")
def part(key_K, scale, start_B):
    """Orders keys in place by their share of the range, one of start_B.size - 1; start_B: where each begins."""
    low = key_K.min()
    start_B[:] = 0
    for k in range(key_K.size):
        start_B[np.int64(np.float64(key_K[k] - low) * scale) + 1] += 1
    for b in range(1, start_B.size):
        start_B[b] += start_B[b - 1]
    next_B = start_B[:-1].copy()
    for b in range(next_B.size):
        while next_B[b] < start_B[b + 1]:
            key = key_K[next_B[b]]
            own = np.int64(np.float64(key - low) * scale)
            while own != b:
                place = next_B[own]
                next_B[own] += 1
                key_K[place], key = key, key_K[place]
                own = np.int64(np.float64(key - low) * scale)
            key_K[next_B[b]] = key
            next_B[b] += 1


@compiled("UniTuple(int64, 2)(uint64[::1], int64, int64, uint64[::1], int64[::1])")
def run_lengths(sorted_K, start, min_count, key, count):
    """Distinct keys from sorted_K[start] on that occur min_count times, until `key` is full.

    Returns how many there are, and where the next call starts.
    """
    kept = 0
    while start < sorted_K.size and kept < key.size:
        end = start + 1
        while end < sorted_K.size and sorted_K[end] == sorted_K[start]:
            end += 1
        key[kept], count[kept] = sorted_K[start], end - start
        kept += end - start >= min_count
        start = end
    return kept, start


@compiled("int64(uint64[::1], float64)")
def last_slot(key_K, scale):
    """The slot of the last key."""
    slot = -1
    for k in range(key_K.size):
        slot = max(slot + 1, np.int64(np.float64(key_K[k] - key_K[0]) * scale))
    return slot


@compiled("void(uint64[::1], int64[::1], float64, uint64[:, ::1])")
def fill(key_K, count_K, scale, slots_S2):
    slot = -1
    for k in range(key_K.size):
        slot = max(slot + 1, np.int64(np.float64(key_K[k] - key_K[0]) * scale))
        slots_S2[slot, 0], slots_S2[slot, 1] = key_K[k], np.uint64(count_K[k])


@compiled("void(uint64[::1], uint64, uint64, float64, uint64[:, ::1], int64[::1])")
def find(key_K, low, high, scale, slots_S2, count_K):
    slot_A, met_A = np.empty(AHEAD, np.int64), np.empty(AHEAD, np.uint64)
    for start in range(0, key_K.size, AHEAD):
        number = min(AHEAD, key_K.size - start)
        for a in range(number):
            key = key_K[start + a]
            slot_A[a] = np.int64(np.float64(key - low) * scale) if low <= key <= high else 0
            met_A[a] = slots_S2[slot_A[a], 0]
        for a in range(number):
            key, slot = key_K[start + a], slot_A[a]
            if met_A[a] != key and low <= key <= high:
                while slots_S2[slot, 1] > 0 and slots_S2[slot, 0] < key:
                    slot += 1
            count_K[start + a] = np.int64(slots_S2[slot, 1]) if slots_S2[slot, 0] == key else 0


@inlined
def add(value, u, order, exists, sum_U2, terms_U2):
    """The same value for the unit that ends an n-gram and the one that starts it."""
    if exists:
        sum_U2[0, u + order - 1] += value
        sum_U2[1, u] += value
        terms_U2[0, u + order - 1] += 1
        terms_U2[1, u] += 1


@compiled("void(int64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1])")
def add_joint(count_NU, log_NU, sum_U2, terms_U2):
    """See pmi.py; the sums come as zeros."""
    size = count_NU.shape[1]
    for order in range(2, count_NU.shape[0] + 1):
        for u in range(size - order + 1):
            units = 0.0
            for place in range(order):
                units += log_NU[0, u + place]
            add(log_NU[order - 1, u] - units, u, order, count_NU[order - 1, u] > 0, sum_U2, terms_U2)


@compiled("void(int64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1])")
def add_split(count_NU, log_NU, sum_U2, terms_U2):
    size = count_NU.shape[1]
    for order in range(2, count_NU.shape[0] + 1):
        for u in range(size - order + 1):
            if count_NU[order - 1, u] > 0:
                whole, end = log_NU[order - 1, u], u + order - 1
                sum_U2[0, end] += whole - log_NU[0, end] - log_NU[order - 2, u]
                sum_U2[1, u] += whole - log_NU[0, u] - log_NU[order - 2, u + 1]
                terms_U2[0, end] += 1
                terms_U2[1, u] += 1


@compiled("void(int64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1])")
def add_minseg(count_NU, log_NU, sum_U2, terms_U2):
    """best_NU: the most probable way to cut an n-gram, or to leave it whole."""
    size = count_NU.shape[1]
    best_NU = log_NU.copy()
    for order in range(2, count_NU.shape[0] + 1):
        for u in range(size - order + 1):
            cut = -np.inf
            for length in range(1, order):
                cut = max(cut, log_NU[length - 1, u] + best_NU[order - length - 1, u + length])
            best_NU[order - 1, u] = max(log_NU[order - 1, u], cut)
            add(log_NU[order - 1, u] - cut, u, order, count_NU[order - 1, u] > 0, sum_U2, terms_U2)
