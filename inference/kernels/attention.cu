// Grouped-query attention over pages. The positions of a sequence are cut into blocks; within a
// block the weights of a query refer to the block's greatest score, and the blocks are folded in
// order. Scores and sums are computed transposed, [positions or dimensions, columns], where a column
// is one query of one head: what happens in a column never depends on the other columns, so a
// kernel that puts one row in its columns and one that puts many give the same bits.
#include "matrix_loads.cuh"

constexpr int BLOCK = 128;  // positions
constexpr int THREADS = 128;
constexpr int WARPS = THREADS / 32;
constexpr int TILES = BLOCK / 16;
constexpr int PAD = 8;  // elements behind each line of shared memory, against bank conflicts
#define NOTHING __int_as_float(0xff800000)  // minus infinity: no score

constexpr int PAGES = BLOCK / 16;  // that a block touches at most

// Look up where the pages of a block begin; the caller lets the threads meet before they are used.
__device__ __forceinline__ void find_pages(long long (&pages)[PAGES], const int* table,
                                           long long page_bytes, int page_shift, int start,
                                           int length) {
  const int inside = static_cast<int>(threadIdx.x) << page_shift;
  if (inside < BLOCK && start + inside < length)
    pages[threadIdx.x] = table[(start + inside) >> page_shift] * page_bytes;
}

// Start copying positions start … start + BLOCK - 1 of a plane (one kv head's keys or values in
// page 0); positions from `length` on become zeros, as far as the products will read.
template <int D>
__device__ __forceinline__ void load_block(bf16* shared, const unsigned char* plane,
                                           const long long (&pages)[PAGES], int page_shift,
                                           int start, int length) {
  constexpr int WORDS = D / 8;
  const int lines = min(BLOCK, (length - start + 15) / 16 * 16);
#pragma unroll 4
  for (int i = threadIdx.x; i < lines * WORDS; i += THREADS) {
    const int line = i / WORDS, word = i % WORDS;
    bf16* target = shared + line * (D + PAD) + word * 8;
    if (start + line < length) {
      const int inside = line & ((1 << page_shift) - 1);
      copy_async(target, plane + pages[line >> page_shift] + (inside * D + word * 8) * 2);
    } else {
      *reinterpret_cast<uint4*>(target) = make_uint4(0, 0, 0, 0);
    }
  }
}

// d[16 positions, 8 columns] += keys . queries for 16 of the dimensions.
__device__ __forceinline__ void multiply_keys(float (&d)[4], const unsigned (&keys)[4],
                                              unsigned low, unsigned high) {
  mma_bf16(d, keys[0], keys[1], keys[2], keys[3], low, high);
}

// The fragment of 16 positions and 16 dimensions of a block of keys.
template <int D>
__device__ __forceinline__ void load_keys(unsigned (&a)[4], const bf16* keys, int tile, int step) {
  const int lane = threadIdx.x % 32;
  const int line = tile * 16 + lane % 16, dimension = step * 16 + lane / 16 * 8;
  load_matrices(a, keys + line * (D + PAD) + dimension);
}

// The fragments of queries that lie one per column: of two tiles of 8 columns for one step, or of
// one tile for an even step and the next.
template <int D, int NT>
__device__ __forceinline__ void load_queries(unsigned (&b)[4], const bf16* queries, int column,
                                             int step) {
  const int lane = threadIdx.x % 32, tile = NT == 2 ? lane / 16 : 0;
  const int dimension = (NT == 2 ? step : step + lane / 16) * 16 + lane / 8 % 2 * 8;
  load_matrices(b, queries + (column + tile * 8 + lane % 8) * (D + PAD) + dimension);
}

// The same of values, transposed: 16 dimensions and 16 positions.
template <int D>
__device__ __forceinline__ void load_values(unsigned (&a)[4], const bf16* values, int tile,
                                            int step) {
  const int lane = threadIdx.x % 32;
  const int line = step * 16 + lane / 16 * 8 + lane % 8;
  const int dimension = tile * 16 + lane / 8 % 2 * 8;
  load_transposed(a, values + line * (D + PAD) + dimension);
}

// Reduce over the eight lanes that hold the same columns; all get the same bits.
__device__ __forceinline__ float column_max(float value) {
#pragma unroll
  for (int distance = 4; distance < 32; distance *= 2)
    value = fmaxf(value, __shfl_xor_sync(FULL_WARP, value, distance));
  return value;
}

__device__ __forceinline__ float column_sum(float value) {
#pragma unroll
  for (int distance = 4; distance < 32; distance *= 2)
    value += __shfl_xor_sync(FULL_WARP, value, distance);
  return value;
}

// Weights refer to the greatest score; all scores are in powers of two.
__device__ __forceinline__ float weight(float score, float greatest) {
  return score == NOTHING ? 0.0f : exp2f(score - greatest);
}

// What the blocks so far gave: the greatest score, the sum of the weights and, elsewhere, of the
// weighted values. `fold` says how to scale the old and the new; a block in which a column sees
// nothing must not be folded.
struct Fold {
  float keep, take;
};

__device__ __forceinline__ Fold fold(float& greatest, float& sum, float block_greatest,
                                     float block_sum) {
  const float both = fmaxf(greatest, block_greatest);
  const Fold scales = {exp2f(greatest - both), exp2f(block_greatest - both)};
  greatest = both;
  sum = __fmaf_rn(block_sum, scales.take, __fmul_rn(sum, scales.keep));
  return scales;
}

__device__ __forceinline__ float folded(float total, float block, Fold scales) {
  return __fmaf_rn(block, scales.take, __fmul_rn(total, scales.keep));
}

// One CTA: one row, up to 8 heads of one kv head, one block. Writes the block's weighted values
// [rows, splits, heads, D] and (greatest score, sum of weights) [rows, splits, heads, 2].
template <int D>
__device__ __forceinline__ void attend_block(
    const bf16* queries, long long query_stride, const unsigned char* memory, long long page_bytes,
    long long key_offset, long long value_offset, int page_shift, const int* positions,
    const int* table_of, const int* tables, int most_pages, int heads, int kv_heads, float scale,
    float* mixed, float* stats) {
  LAUNCH_SHARED(bf16, keys);
  alignas(16) __shared__ bf16 weights[8][BLOCK + PAD];
  __shared__ float greatest[WARPS][8];
  __shared__ long long pages[PAGES];
  const int row = blockIdx.x, split = blockIdx.z;
  const int length = positions[row] + 1, start = split * BLOCK;
  if (start >= length) return;
  bf16* values = keys + BLOCK * (D + PAD);
  const int group = heads / kv_heads, parts = (group + 7) / 8;
  const int kv_head = blockIdx.y / parts, first = blockIdx.y % parts * 8;
  const int columns = min(8, group - first);
  const int head = kv_head * group + first;
  const int* table = tables + static_cast<long long>(table_of[row]) * most_pages;
  const long long plane = (static_cast<long long>(kv_head) << page_shift) * D * 2;
  const unsigned char* key_plane = memory + key_offset + plane;
  const unsigned char* value_plane = memory + value_offset + plane;
  find_pages(pages, table, page_bytes, page_shift, start, length);
  __syncthreads();
  load_block<D>(keys, key_plane, pages, page_shift, start, length);
  close_copies();
  load_block<D>(values, value_plane, pages, page_shift, start, length);
  close_copies();

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int own = lane / 4, pair = lane % 4 * 2;
  const int tiles = min(TILES, (length - start + 15) / 16);
  unsigned query[D / 16][2] = {};
  if (own < columns) {
    const bf16* line = queries + row * query_stride + (head + own) * D + pair;
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      query[step][0] = *reinterpret_cast<const unsigned*>(line + step * 16);
      query[step][1] = *reinterpret_cast<const unsigned*>(line + step * 16 + 8);
    }
  }

  wait_copies<1>();
  __syncthreads();
  float scores[TILES / WARPS][4];
  float best[2] = {NOTHING, NOTHING};
#pragma unroll
  for (int turn = 0; turn < TILES / WARPS; ++turn) {
    const int tile = turn * WARPS + warp;
    if (tile >= tiles) continue;
    float* s = scores[turn];
    s[0] = s[1] = s[2] = s[3] = 0.0f;
#pragma unroll
    for (int step = 0; step < D / 16; ++step) {
      unsigned a[4];
      load_keys<D>(a, keys, tile, step);
      multiply_keys(scores[turn], a, query[step][0], query[step][1]);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int position = start + tile * 16 + own + i / 2 * 8;
      s[i] = position < length ? __fmul_rn(s[i], scale) : NOTHING;
      best[i % 2] = fmaxf(best[i % 2], s[i]);
    }
  }
  best[0] = column_max(best[0]);
  best[1] = column_max(best[1]);
  if (own == 0) greatest[warp][pair] = best[0], greatest[warp][pair + 1] = best[1];
  __syncthreads();
#pragma unroll
  for (int other = 0; other < WARPS; ++other) {
    best[0] = fmaxf(best[0], greatest[other][pair]);
    best[1] = fmaxf(best[1], greatest[other][pair + 1]);
  }
#pragma unroll
  for (int turn = 0; turn < TILES / WARPS; ++turn) {
    const int tile = turn * WARPS + warp;
    if (tile >= tiles) continue;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      weights[pair + i % 2][tile * 16 + own + i / 2 * 8] =
          to_bf16(weight(scores[turn][i], best[i % 2]));
  }
  wait_copies<0>();
  __syncthreads();

  const long long line = (static_cast<long long>(row) * gridDim.z + split) * heads + head;
  if (warp == 0) {
    float sum[2] = {0.0f, 0.0f};
    for (int tile = 0; tile < tiles; ++tile)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        sum[i % 2] += to_float(weights[pair + i % 2][tile * 16 + own + i / 2 * 8]);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      sum[i] = column_sum(sum[i]);
      if (own == 0 && pair + i < columns) {
        stats[(line + pair + i) * 2] = best[i];
        stats[(line + pair + i) * 2 + 1] = sum[i];
      }
    }
  }
#pragma unroll
  for (int tile = warp; tile < D / 16; tile += WARPS) {
    float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (int step = 0; step < tiles; ++step) {
      unsigned a[4];
      load_values<D>(a, values, tile, step);
      const bf16* w = &weights[own][step * 16 + pair];
      mma_bf16(sums, a[0], a[1], a[2], a[3], *reinterpret_cast<const unsigned*>(w),
               *reinterpret_cast<const unsigned*>(w + 8));
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (pair + i % 2 < columns)
        mixed[(line + pair + i % 2) * D + tile * 16 + own + i / 2 * 8] = sums[i];
  }
}

// Fold the blocks of each row in order. Grid (row, parts of the heads), four dimensions a thread.
extern "C" __global__ void __launch_bounds__(THREADS) fold_blocks(
    const float* mixed, const float* stats, const int* positions, bf16* out, int splits, int heads,
    int head_dim) {
  const int width = heads * head_dim;
  const int at = (blockIdx.y * THREADS + threadIdx.x) * 4;
  if (at >= width) return;
  const long long row = blockIdx.x;
  const int blocks = (positions[row] + BLOCK) / BLOCK;
  float greatest = NOTHING, sum = 0.0f;
  float total[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
  for (int block = 0; block < blocks; ++block) {
    const long long line = (row * splits + block) * heads + at / head_dim;
    const float2 stat = *reinterpret_cast<const float2*>(stats + line * 2);
    const float4 part = *reinterpret_cast<const float4*>(mixed + (row * splits + block) * width + at);
    const Fold scales = fold(greatest, sum, stat.x, stat.y);
    total[0] = folded(total[0], part.x, scales);
    total[1] = folded(total[1], part.y, scales);
    total[2] = folded(total[2], part.z, scales);
    total[3] = folded(total[3], part.w, scales);
  }
  if (blocks == 0) sum = 1.0f;  // a pad: zeros
  *reinterpret_cast<uint2*>(out + row * width + at) =
      make_uint2(pack_bf16(total[0] / sum, total[1] / sum), pack_bf16(total[2] / sum, total[3] / sum));
}

// One CTA: the rows of one tile (of one sequence), all heads of one kv head or as many as fit. Each
// warp owns 8 * NT columns and goes through the blocks in order.
template <int D, int NT>
__device__ __forceinline__ void attend_tile(
    const bf16* queries, long long query_stride, const unsigned char* memory, long long page_bytes,
    long long key_offset, long long value_offset, int page_shift, const int* positions,
    const int* table_of, const int* tables, int most_pages, int heads, int kv_heads, float scale,
    const int* tiles, int tile_heads, bf16* out) {
  LAUNCH_SHARED(bf16, keys);
  __shared__ long long pages[PAGES];
  constexpr int COLUMNS = WARPS * 8 * NT;
  bf16* values = keys + BLOCK * (D + PAD);
  bf16* own_queries = values + BLOCK * (D + PAD);
  const int first_row = tiles[blockIdx.x * 2], rows = tiles[blockIdx.x * 2 + 1];
  if (rows == 0) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int own = lane / 4, pair = lane % 4 * 2;
  const int group = heads / kv_heads, parts = (group + tile_heads - 1) / tile_heads;
  const int kv_head = blockIdx.y / parts, first_head = blockIdx.y % parts * tile_heads;
  const int present = min(tile_heads, group - first_head);
  const int head = kv_head * group + first_head;
  const int column = warp * 8 * NT;
  int length = 0;
  for (int i = 0; i < rows; ++i) length = max(length, positions[first_row + i] + 1);
  const int* table = tables + static_cast<long long>(table_of[first_row]) * most_pages;
  const long long plane = (static_cast<long long>(kv_head) << page_shift) * D * 2;
  const unsigned char* key_plane = memory + key_offset + plane;
  const unsigned char* value_plane = memory + value_offset + plane;

  int seen[NT][2], longest = 0;  // positions that this lane's columns, and the warp's, see
#pragma unroll
  for (int n = 0; n < NT; ++n) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int other = column + n * 8 + pair + i;
      const bool there = other / tile_heads < rows && other % tile_heads < present;
      seen[n][i] = there ? positions[first_row + other / tile_heads] + 1 : 0;
      longest = max(longest, seen[n][i]);
    }
  }
#pragma unroll
  for (int distance = 1; distance < 4; distance *= 2)
    longest = max(longest, __shfl_xor_sync(FULL_WARP, longest, distance));

  for (int i = threadIdx.x; i < COLUMNS * D / 8; i += THREADS) {
    const int at = i / (D / 8), word = i % (D / 8), row = at / tile_heads, part = at % tile_heads;
    uint4 loaded = make_uint4(0, 0, 0, 0);
    if (row < rows && part < present)
      loaded = *reinterpret_cast<const uint4*>(queries + (first_row + row) * query_stride +
                                               (head + part) * D + word * 8);
    *reinterpret_cast<uint4*>(own_queries + at * (D + PAD) + word * 8) = loaded;
  }
  float total[NT][D / 16][4] = {};
  float greatest[NT][2], sum[NT][2];
#pragma unroll
  for (int n = 0; n < NT; ++n)
#pragma unroll
    for (int i = 0; i < 2; ++i) greatest[n][i] = NOTHING, sum[n][i] = 0.0f;

  find_pages(pages, table, page_bytes, page_shift, 0, length);
  __syncthreads();
  load_block<D>(keys, key_plane, pages, page_shift, 0, length);
  close_copies();
  load_block<D>(values, value_plane, pages, page_shift, 0, length);
  close_copies();
  for (int start = 0; start < length; start += BLOCK) {
    const int steps = min(TILES, (length - start + 15) / 16);
    const bool busy = start < longest;
    wait_copies<1>();
    __syncthreads();
    float scores[NT][TILES][4] = {};
    if (busy) {
      unsigned query[4];
#pragma unroll
      for (int step = 0; step < D / 16; ++step) {
        if (NT == 2 || step % 2 == 0) load_queries<D, NT>(query, own_queries, column, step);
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile) {
          if (tile >= steps) continue;
          unsigned a[4];
          load_keys<D>(a, keys, tile, step);
#pragma unroll
          for (int n = 0; n < NT; ++n) {
            const int at = NT == 2 ? n * 2 : step % 2 * 2;
            multiply_keys(scores[n][tile], a, query[at], query[at + 1]);
          }
        }
      }
    }
    const int next = start + BLOCK;
    if (next < length) find_pages(pages, table, page_bytes, page_shift, next, length);
    __syncthreads();
    if (next < length) load_block<D>(keys, key_plane, pages, page_shift, next, length);
    close_copies();

    unsigned packed[NT][TILES][2];
    Fold scales[NT][2];
    if (busy) {
#pragma unroll
      for (int n = 0; n < NT; ++n) {
        float best[2] = {NOTHING, NOTHING}, added[2] = {0.0f, 0.0f};
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int position = start + tile * 16 + own + i / 2 * 8;
            float& s = scores[n][tile][i];
            s = position < seen[n][i % 2] ? __fmul_rn(s, scale) : NOTHING;
            best[i % 2] = fmaxf(best[i % 2], s);
          }
        best[0] = column_max(best[0]);
        best[1] = column_max(best[1]);
#pragma unroll
        for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const unsigned both = pack_bf16(weight(scores[n][tile][half * 2], best[0]),
                                            weight(scores[n][tile][half * 2 + 1], best[1]));
            added[0] += low_half(both);
            added[1] += high_half(both);
            packed[n][tile][half] = transpose(both);
          }
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          added[i] = column_sum(added[i]);
          scales[n][i] = {1.0f, 0.0f};
          if (best[i] != NOTHING) scales[n][i] = fold(greatest[n][i], sum[n][i], best[i], added[i]);
        }
      }
    }
    wait_copies<1>();
    __syncthreads();
    if (busy) {
#pragma unroll
      for (int tile = 0; tile < D / 16; ++tile) {
        float sums[NT][4] = {};
#pragma unroll
        for (int step = 0; step < TILES; ++step) {
          if (step >= steps) continue;
          unsigned a[4];
          load_values<D>(a, values, tile, step);
#pragma unroll
          for (int n = 0; n < NT; ++n)
            mma_bf16(sums[n], a[0], a[1], a[2], a[3], packed[n][step][0], packed[n][step][1]);
        }
#pragma unroll
        for (int n = 0; n < NT; ++n)
#pragma unroll
          for (int i = 0; i < 4; ++i)
            total[n][tile][i] = folded(total[n][tile][i], sums[n][i], scales[n][i % 2]);
      }
    }
    __syncthreads();
    if (next < length) load_block<D>(values, value_plane, pages, page_shift, next, length);
    close_copies();
  }
  // The outputs take the place of the warp's own queries, so that they leave in whole words.
#pragma unroll
  for (int n = 0; n < NT; ++n)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      bf16* line = own_queries + (column + n * 8 + pair + i) * (D + PAD) + own;
      const float divisor = seen[n][i] ? sum[n][i] : 1.0f;
#pragma unroll
      for (int tile = 0; tile < D / 16; ++tile) {
        line[tile * 16] = to_bf16(total[n][tile][i] / divisor);
        line[tile * 16 + 8] = to_bf16(total[n][tile][i + 2] / divisor);
      }
    }
  __syncwarp();
  for (int i = lane; i < NT * D; i += 32) {
    const int at = column + i / (D / 8), word = i % (D / 8);
    const int row = at / tile_heads, part = at % tile_heads;
    if (row >= rows || part >= present) continue;
    bf16* line = out + (static_cast<long long>(first_row + row) * heads + head + part) * D;
    *reinterpret_cast<uint4*>(line + word * 8) =
        *reinterpret_cast<const uint4*>(own_queries + at * (D + PAD) + word * 8);
  }
}

#define INPUTS                                                                                    \
  const bf16 *queries, long long query_stride, const unsigned char *memory, long long page_bytes, \
      long long key_offset, long long value_offset, int page_shift, const int *positions,         \
      const int *table_of, const int *tables, int most_pages, int heads, int kv_heads, float scale
#define GIVEN                                                                                 \
  queries, query_stride, memory, page_bytes, key_offset, value_offset, page_shift, positions, \
      table_of, tables, most_pages, heads, kv_heads, scale

extern "C" __global__ void __launch_bounds__(THREADS, 3)
attend_block_16(INPUTS, float* mixed, float* stats) {
  attend_block<16>(GIVEN, mixed, stats);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_tile_16(INPUTS, const int* tiles, int tile_heads, bf16* out) {
  attend_tile<16, 2>(GIVEN, tiles, tile_heads, out);
}
extern "C" __global__ void __launch_bounds__(THREADS, 3)
attend_block_32(INPUTS, float* mixed, float* stats) {
  attend_block<32>(GIVEN, mixed, stats);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_tile_32(INPUTS, const int* tiles, int tile_heads, bf16* out) {
  attend_tile<32, 2>(GIVEN, tiles, tile_heads, out);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_block_64(INPUTS, float* mixed, float* stats) {
  attend_block<64>(GIVEN, mixed, stats);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_tile_64(INPUTS, const int* tiles, int tile_heads, bf16* out) {
  attend_tile<64, 2>(GIVEN, tiles, tile_heads, out);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_block_80(INPUTS, float* mixed, float* stats) {
  attend_block<80>(GIVEN, mixed, stats);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_tile_80(INPUTS, const int* tiles, int tile_heads, bf16* out) {
  attend_tile<80, 2>(GIVEN, tiles, tile_heads, out);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_block_96(INPUTS, float* mixed, float* stats) {
  attend_block<96>(GIVEN, mixed, stats);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_tile_96(INPUTS, const int* tiles, int tile_heads, bf16* out) {
  attend_tile<96, 2>(GIVEN, tiles, tile_heads, out);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_block_128(INPUTS, float* mixed, float* stats) {
  attend_block<128>(GIVEN, mixed, stats);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_tile_128(INPUTS, const int* tiles, int tile_heads, bf16* out) {
  attend_tile<128, 2>(GIVEN, tiles, tile_heads, out);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_block_192(INPUTS, float* mixed, float* stats) {
  attend_block<192>(GIVEN, mixed, stats);
}
extern "C" __global__ void __launch_bounds__(THREADS, 2)
attend_tile_192(INPUTS, const int* tiles, int tile_heads, bf16* out) {
  attend_tile<192, 1>(GIVEN, tiles, tile_heads, out);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1)
attend_block_256(INPUTS, float* mixed, float* stats) {
  attend_block<256>(GIVEN, mixed, stats);
}
extern "C" __global__ void __launch_bounds__(THREADS, 1)
attend_tile_256(INPUTS, const int* tiles, int tile_heads, bf16* out) {
  attend_tile<256, 1>(GIVEN, tiles, tile_heads, out);
}
