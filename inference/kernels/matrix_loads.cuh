// 8 x 8 bf16 matrices between shared memory and the fragments of the tensor core product.
// A lane holds of each matrix: row lane / 4, columns lane % 4 * 2 and the next.
#pragma once

#include "device.cuh"

#ifdef OPENLEDGER_HOST
// What a lane gets of the matrix whose rows the lanes 8 * number … 8 * number + 7 point at.
inline unsigned matrix_on_host(const void* row, int number, bool transposed) {
  const auto mine = reinterpret_cast<unsigned long long>(row);
  const int group = on_host::lane() / 4, pair = on_host::lane() % 4 * 2;
  unsigned word = 0;
  for (int half = 0; half < 2; ++half) {
    const int source = transposed ? pair + half : group;
    const int column = transposed ? group : pair + half;
    const auto address = __shfl_sync(FULL_WARP, mine, number * 8 + source);
    word |= static_cast<unsigned>(reinterpret_cast<const bf16*>(address)[column].bits)
            << (16 * half);
  }
  return word;
}
#endif

// Load four matrices; lane l points at row l % 8 of matrix l / 8, 16-byte aligned shared memory.
__device__ __forceinline__ void load_matrices(unsigned (&m)[4], const void* row) {
#ifdef OPENLEDGER_HOST
  for (int i = 0; i < 4; ++i) m[i] = matrix_on_host(row, i, false);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

// The same, each matrix transposed on the way.
__device__ __forceinline__ void load_transposed(unsigned (&m)[4], const void* row) {
#ifdef OPENLEDGER_HOST
  for (int i = 0; i < 4; ++i) m[i] = matrix_on_host(row, i, true);
#else
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(m[0]), "=r"(m[1]), "=r"(m[2]), "=r"(m[3])
               : "r"(static_cast<unsigned>(__cvta_generic_to_shared(row)))
               : "memory");
#endif
}

// Transpose a matrix that the warp holds.
__device__ __forceinline__ unsigned transpose(unsigned matrix) {
#ifdef OPENLEDGER_HOST
  const int group = on_host::lane() / 4, pair = on_host::lane() % 4 * 2;
  const unsigned low = __shfl_sync(FULL_WARP, matrix, pair * 4 + group / 2);
  const unsigned high = __shfl_sync(FULL_WARP, matrix, (pair + 1) * 4 + group / 2);
  const int shift = group % 2 * 16;
  return (low >> shift & 0xffffu) | (high >> shift & 0xffffu) << 16;
#else
  unsigned result;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(result) : "r"(matrix));
  return result;
#endif
}
