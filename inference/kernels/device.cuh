// Small device functions that every kernel here uses: bf16 words, 16-byte loads, warp reductions,
// the tensor core product. Inline PTX stands here and in matrix_loads.cuh only; under
// OPENLEDGER_HOST each function has a body in plain C++, so that the same kernels run on a CPU. No CUDA header is
// included: the sources compile with nvcc and with NVRTC alone.
#pragma once

#ifdef OPENLEDGER_HOST
#include "cuda_on_host.h"
#endif

#define FULL_WARP 0xffffffffu

// A bf16 number by its bits. Pairs travel as 32-bit words, the lower index in the lower half.
struct bf16 {
  unsigned short bits;
};

__device__ __forceinline__ float to_float(bf16 value) {
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
}

__device__ __forceinline__ float low_half(unsigned pair) { return __uint_as_float(pair << 16); }

__device__ __forceinline__ float high_half(unsigned pair) {
  return __uint_as_float(pair & 0xffff0000u);
}

// Round to the nearest bf16, ties to even.
__device__ __forceinline__ bf16 to_bf16(float value) {
  bf16 result;
#ifdef OPENLEDGER_HOST
  result.bits = on_host::round_to_bf16(value);
#else
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#endif
  return result;
}

__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
#ifdef OPENLEDGER_HOST
  return on_host::round_to_bf16(low) |
         static_cast<unsigned>(on_host::round_to_bf16(high)) << 16;
#else
  unsigned pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#endif
}

// Load a number that nothing writes while the kernel runs. Volatile, so that loads written before
// their first use are issued there, together.
__device__ __forceinline__ float load_once(const float* address) {
#ifdef OPENLEDGER_HOST
  return *address;
#else
  float value;
  asm volatile("ld.global.nc.f32 %0, [%1];" : "=f"(value) : "l"(address));
  return value;
#endif
}

// Load 16 bytes, at a multiple of 16, that other blocks or warps read too and nothing writes.
__device__ __forceinline__ uint4 load_shared_read(const void* address) {
#ifdef OPENLEDGER_HOST
  return *static_cast<const uint4*>(address);
#else
  uint4 word;
  asm("ld.global.nc.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
      : "=r"(word.x), "=r"(word.y), "=r"(word.z), "=r"(word.w)
      : "l"(address));
  return word;
#endif
}

// Sum or maximum over the 32 lanes; every lane gets the same bits (a butterfly adds equal pairs).
__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1)
    value += __shfl_xor_sync(FULL_WARP, value, distance);
  return value;
}

__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1)
    value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, distance));
  return value;
}

// d[16, 8] += a[16, 16] * b[16, 8], bf16 into float32, by the whole warp. With group = lane / 4 and
// pair = lane % 4 * 2 a lane holds
//   a: (row group, columns pair, pair + 1), (row group + 8, same columns), then both at column + 8
//   b: (rows pair, pair + 1, column group), (rows pair + 8, pair + 9, column group)
//   d: (row group, columns pair, pair + 1), (row group + 8, same columns).
__device__ __forceinline__ void mma_bf16(float (&d)[4], unsigned a0, unsigned a1, unsigned a2,
                                         unsigned a3, unsigned b0, unsigned b1) {
#ifdef OPENLEDGER_HOST
  on_host::mma_m16n8k16(d, a0, a1, a2, a3, b0, b1);
#else
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
}

// Copy 16 bytes from global to shared memory behind the thread's back. The bytes may be read after
// close_copies(), wait_copies<n>() with at most n younger groups open, and __syncthreads().
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
#ifdef OPENLEDGER_HOST
  on_host::copy_async(shared, global);
#else
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(shared))),
               "l"(global)
               : "memory");
#endif
}

// The same where `there`; else 16 zero bytes, and the address is not read.
__device__ __forceinline__ void copy_async_or_zero(void* shared, const void* global, bool there) {
#ifdef OPENLEDGER_HOST
  static const uint4 zero = make_uint4(0, 0, 0, 0);
  on_host::copy_async(shared, there ? global : &zero);
#else
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(
                   static_cast<unsigned>(__cvta_generic_to_shared(shared))),
               "l"(global), "r"(there ? 16 : 0)
               : "memory");
#endif
}

__device__ __forceinline__ void close_copies() {
#ifdef OPENLEDGER_HOST
  on_host::close_copies();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

template <int open>
__device__ __forceinline__ void wait_copies() {
#ifdef OPENLEDGER_HOST
  on_host::wait_copies(open);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(open) : "memory");
#endif
}

// Shared memory whose size the launch decides: a pointer `name` to `type`, 16-byte aligned.
#ifdef OPENLEDGER_HOST
#define LAUNCH_SHARED(type, name) type* name = static_cast<type*>(on_host::launch_shared())
#else
#define LAUNCH_SHARED(type, name)                        \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  type* name = reinterpret_cast<type*>(name##_bytes)
#endif
