"""Compiled loops of BM25: postings of flat terms by a counting sort, and the best passages of each query.

Shapes: T terms of a piece or of queries, V terms of the vocabulary, P postings, N passages, Q queries, K ranks.
"""

import numba
import numpy as np

from bmae_lightning.pretraining.kernels.arithmetic import compiled

FEW = 8
"""Where a query has fewer postings than an eighth of the passages, only those that it touches are looked at again."""
_32, _ALL = np.uint64(32), np.uint64(0xFFFFFFFF)


@compiled("void(int32[::1], int32[::1], int32[::1], int64[::1], int32[::1])")
def count(term_T, passage_T, length_N, count_V, last_V):
    """Add up the lengths of the passages of a piece, and how many of them hold each term.

    last_V: the last passage that held it, -1 at first.
    """
    for t in range(len(term_T)):
        term, passage = term_T[t], passage_T[t]
        length_N[passage] += 1
        count_V[term] += last_V[term] != passage
        last_V[term] = passage


@compiled("void(int32[::1], int32[::1], int64[::1], int64[::1], int32[::1], float32[::1])")
def place(term_T, passage_T, start_V, head_V, passage_P, weight_P):
    """Put the piece's terms into their postings, `weight_P` the times; head_V: the next free place of each term."""
    for t in range(len(term_T)):
        head = head_V[term_T[t]]
        if head > start_V[term_T[t]] and passage_P[head - 1] == passage_T[t]:
            weight_P[head - 1] += 1
        else:
            passage_P[head] = passage_T[t]
            weight_P[head] = 1
            head_V[term_T[t]] = head + 1


@compiled("void(int64[::1], int32[::1], float32[::1], float32[::1], float64[::1])")
def weigh(start_V, passage_P, weight_P, idf_V, norm_N):
    """Times to weights: idf · tf / (tf + norm)."""
    for term in range(len(idf_V)):
        for p in range(start_V[term], start_V[term + 1]):
            times = np.float64(weight_P[p])
            weight_P[p] = np.float64(idf_V[term]) * (times / (norm_N[passage_P[p]] + times))


@numba.njit(error_model="numpy")
def _keep_best(key_C, count, depth):
    """Move the `depth` greatest of the first `count` keys to the front; returns the least of them."""
    low, high = 0, count - 1
    while low < high:
        pivot = key_C[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while key_C[i] > pivot:
                i += 1
            while key_C[j] < pivot:
                j -= 1
            if i <= j:
                key_C[i], key_C[j] = key_C[j], key_C[i]
                i += 1
                j -= 1
        if depth - 1 <= j:
            high = j
        elif depth - 1 >= i:
            low = i
        else:
            break
    return key_C[depth - 1]


@compiled(
    "void(int32[::1], float32[::1], int64[::1],int64[::1], int32[::1], float32[::1], int64, uint64[:, ::1], int64[::1])"
)
def best(term_T, times_T, end_Q, start_V, passage_P, weight_P, passages, key_QK, found_Q):
    """The K best passages of each query as keys in no order: bits of the score, then the passage, the first greatest.

    term_T: of all queries, each once a query.  times_T: how often the query has it.  found_Q: how many keys a row has.
    """
    depth, limit = key_QK.shape[1], 3 * key_QK.shape[1] + 64
    score_N = np.zeros(passages, dtype=np.float32)
    bits_N = score_N.view(np.uint32)
    touched_N = np.empty(passages // FEW + 1, dtype=np.uint32)
    key_C = np.empty(limit, dtype=np.uint64)
    begin = 0
    for q in range(len(end_Q)):
        postings = 0
        for t in range(begin, end_Q[q]):
            postings += start_V[term_T[t] + 1] - start_V[term_T[t]]
        few, touched = postings <= passages // FEW, 0
        for t in range(begin, end_Q[q]):
            times = times_T[t]
            for p in range(np.uint64(start_V[term_T[t]]), np.uint64(start_V[term_T[t] + 1])):
                passage = np.uint32(passage_P[p])
                if few:
                    touched_N[touched] = passage
                    touched += bits_N[passage] == 0
                score_N[passage] += times * weight_P[p]
        begin, kept, least, floor = end_Q[q], 0, np.uint64(0), np.uint32(0)
        for n in range(np.uint64(touched if few else passages)):
            passage = touched_N[n] if few else np.uint32(n)
            bits = bits_N[passage]
            if bits < floor or bits == 0:
                continue
            key = np.uint64(bits) << _32 | (_ALL - np.uint64(passage))
            if key > least:
                key_C[kept] = key
                kept += 1
                if kept == limit:
                    least = _keep_best(key_C, kept, depth)
                    floor = np.uint32(least >> _32)
                    kept = depth
        if few:
            for n in range(touched):
                score_N[touched_N[n]] = 0
        else:
            score_N[:] = 0
        if kept > depth:
            _keep_best(key_C, kept, depth)
            kept = depth
        key_QK[q, :kept] = key_C[:kept]
        found_Q[q] = kept
