#!/bin/sh
# The study from its first job to its page, in pieces: `make study`, or with a Python that has the package
#   PYTHON=python experiments/study/run.sh [overrides of every command]
# Variables: PIECE (480) seconds after which a piece has ended: SIGTERM 30 seconds before saves what runs, the next piece
# continues. PIECES (all): how many are run; where they are not enough the exit code is 75, and the same command goes on.
# STARTS (scratch continued), ROWS (all) of the first part, OUTPUTS (outputs), TRAINER (gpu where there is one), and for
# choosing the rows of the ladder SPLIT (dev) and MEASURE (RR@10).
set -u
python=${PYTHON:-python} pieces=${PIECES:--1} outputs=${OUTPUTS:-outputs} here=$(dirname "$0") failed=0

now() { date +%s; }

new_piece() {
    [ "$pieces" -ne 0 ] || { echo "study: not finished, the same command continues"; exit 75; }
    pieces=$((pieces - 1)) end=$(($(now) + ${PIECE:-480} - 30))
}

part() { # NAME START [overrides]: a sweep, in pieces until it ends by itself
    name=$1 start=$2 finished=$outputs/study/$2/$1/finished
    shift 2
    set -- "+study/part=$name" "study/start=$start" "output_dir=$outputs" "trainer=$trainer" "$@" \
        "hydra.sweep.dir=$outputs/study/$start/$name"
    [ "$(cat "$finished" 2>/dev/null)" != "$*" ] || return 0
    while :; do
        [ "$(now)" -lt "$end" ] || new_piece
        timeout --signal=TERM --kill-after=30 $((end - $(now) + 1)) "$python" -m bmae_lightning -cd "$here/.." "$@"
        code=$?
        case $code in
            75 | 124 | 137 | 143) new_piece ;;
            0) echo "$*" >"$finished"; return ;;
            *) failed=$code; return ;; # its page says which jobs failed; the other parts do not need them
        esac
    done
}

trainer=${TRAINER:-$("$python" -c 'import torch; print("gpu" if torch.cuda.is_available() else "cpu")')}
new_piece
for start in ${STARTS:-scratch continued}; do
    part objectives "$start" ${ROWS:+"+study=$ROWS"} "$@"
    best=$("$python" "$here/best.py" "$outputs/study/$start/objectives" --split "${SPLIT:-dev}" \
        --measure "${MEASURE:-RR@10}") || exit 1
    part ladder "$start" "+study=none,$best" "$@"
done
for name in decoder_rate encoder_rate depth; do
    part "$name" scratch "$@"
done
for start in ${STARTS:-scratch continued}; do # one page over all parts of a start
    parts=
    for name in objectives ladder decoder_rate encoder_rate depth; do
        [ ! -d "$outputs/study/$start/$name" ] || parts=$parts${parts:+,}$outputs/study/$start/$name
    done
    "$python" -m bmae_lightning report "report.runs=[$parts]" "report.name=study_$start" "output_dir=$outputs" || failed=$?
done
exit $failed
