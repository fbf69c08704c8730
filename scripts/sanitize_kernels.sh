#!/bin/sh
# Run a short batch of every kernel under compute-sanitizer: memory errors, then races.
# usage: sanitize_kernels.sh PYTHON
set -eu

if ! command -v compute-sanitizer > /dev/null; then
    echo "compute-sanitizer is not installed (it comes with the CUDA toolkit): not run" >&2
    exit 0
fi
python=$1
# Only the kernels of inference/kernels: a finding in a library's would stop here for nothing, and
# an error that a library's call expects is none. One filter for each: within one, all must match.
set --
for name in attend_ fold_blocks lora_ rms_norm_ rotate_and_store silu_multiply survey_ finish_ draw_; do
    set -- "$@" --kernel-name "kns=$name"
done
for tool in memcheck racecheck; do
    check="compute-sanitizer --tool $tool --report-api-errors no --error-exitcode 1"
    $check "$@" "$python" -m benches.openlora_gpu --tiny --only decode,determinism
    # Greedy answers draw nothing.
    $check "$@" "$python" -m pytest -m gpu tests/gpu/test_gpu_sampler.py
done
