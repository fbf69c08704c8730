// Kernels with one mistake each, and one without: what the shim must find.

#include "device.cuh"

// Lane i of the first warp hands its number to thread i of the second through shared memory.
template <bool ordered>
__device__ __forceinline__ void hand_over(int* out) {
  __shared__ int box[32];
  if (threadIdx.x < 32) box[threadIdx.x] = threadIdx.x;
  if (ordered) __syncthreads();
  if (threadIdx.x >= 32) out[threadIdx.x - 32] = box[threadIdx.x - 32];
}

extern "C" __global__ void in_order(int* out) { hand_over<true>(out); }

extern "C" __global__ void race(int* out) { hand_over<false>(out); }

extern "C" __global__ void divergent_barrier(int* out) {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
  out[0] = 1;
}

extern "C" __global__ void missing_lane(int* out) {
  if (threadIdx.x % 32 == 5) return;
  out[threadIdx.x] = __shfl_xor_sync(FULL_WARP, static_cast<int>(threadIdx.x), 1);
}

extern "C" __global__ void mixed_collectives(int* out) {
  out[threadIdx.x] = threadIdx.x % 32 < 16
                         ? __shfl_xor_sync(FULL_WARP, static_cast<int>(threadIdx.x), 1)
                         : __any_sync(FULL_WARP, 1);
}

extern "C" __global__ void past_the_end(int* out) { out[32 + threadIdx.x] = 1; }

extern "C" __global__ void misaligned(int* out) {
  *reinterpret_cast<uint4*>(out + 1) = make_uint4(1, 2, 3, 4);
}

extern "C" __global__ void outside_of_shared(int* out) {
  __shared__ int box[4];
  box[threadIdx.x] = 1;
  __syncthreads();
  out[0] = box[0];
}

// Blocks see shared memory that nobody wrote as NaN bits, never as what a block before left there.
extern "C" __global__ void unwritten_shared(int* out) {
  __shared__ unsigned box[32];
  if (threadIdx.x < 32) out[threadIdx.x] = static_cast<int>(box[threadIdx.x]);
  box[threadIdx.x % 32] = 0;
}

template <bool waits>
__device__ __forceinline__ void copied(const int* in, int* out) {
  __shared__ uint4 box[1];
  if (threadIdx.x == 0) {
    copy_async(box, in);
    close_copies();
    if (waits) wait_copies<0>();
  }
  __syncthreads();
  if (threadIdx.x == 0) out[0] = static_cast<int>(box[0].x);
}

extern "C" __global__ void copy_waited_for(const int* in, int* out) { copied<true>(in, out); }

extern "C" __global__ void copy_not_waited_for(const int* in, int* out) { copied<false>(in, out); }
