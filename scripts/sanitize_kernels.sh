#!/bin/sh
# Run a short batch of every kernel under compute-sanitizer: memory errors, then races.
# usage: sanitize_kernels.sh PYTHON
set -eu

if ! command -v compute-sanitizer > /dev/null; then
    echo "compute-sanitizer is not installed (it comes with the CUDA toolkit): not run" >&2
    exit 0
fi
# Only the kernels of inference/kernels: a finding in a library's would stop here for nothing, and
# an error that a library's call expects is none.
kernels=kns=attend_,kns=fold_blocks,kns=lora_,kns=rms_norm_,kns=rotate_and_store,kns=silu_multiply
kernels=$kernels,kns=survey_,kns=finish_,kns=draw_
for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --kernel-name "$kernels" --report-api-errors no \
        --error-exitcode 1 \
        "$1" -m benches.openlora_gpu --tiny --only decode,determinism
done
