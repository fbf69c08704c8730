#!/bin/sh
# Run a short batch of every kernel under compute-sanitizer: memory errors, then races.
# usage: sanitize_kernels.sh PYTHON
set -eu

if ! command -v compute-sanitizer > /dev/null; then
    echo "compute-sanitizer is not installed (it comes with the CUDA toolkit): not run" >&2
    exit 0
fi
for tool in memcheck racecheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 \
        "$1" -m benches.openlora_gpu --tiny --only decode,determinism
done
