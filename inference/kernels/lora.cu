// Low-rank adapters of a batch: shrink y = x Aᵀ, then expand out += scale y Bᵀ, each adapter's
// weights read in place from its image.
//
// Work comes in tiles: up to 8 (or 32) rows that share one adapter. A tile's rows are the columns
// of the tensor core product, ranks (shrink) and outputs (expand) its rows, so a row's sums are
// formed alone, in an order given by the weight's shape and the adapter's rank only: the same bits
// whatever else is in the tile, in the batch or in the grid. Sums over inputs are split into
// blocks of SPLIT inputs; expand adds the parts in the order of their index. No atomics.

#include "device.cuh"

constexpr int WARPS = 4;
constexpr int THREADS = 32 * WARPS;
constexpr int SPLIT = 512;            // inputs that one block of shrink sums
constexpr int CHUNKS = SPLIT / WARPS / 32;
constexpr int RANKS = 16;             // ranks of one product of shrink
constexpr int UNITS = 2;              // units of 32 outputs per warp of expand
constexpr int COLUMNS = 32 * UNITS * WARPS;
constexpr int STAGE = 32;             // ranks that expand takes at a time
constexpr int STEPS = STAGE / 16;
constexpr int STAGE_WORDS = STAGE / 2 + 4;  // 4 words of padding: no two lanes share a bank
constexpr unsigned ABSENT = 0xffffffffu;
constexpr int AHEAD = 16;             // parts read before the first is added

// A group of sites in the table of an image: offsets in units of 16 bytes, then ranks; the scales,
// float32, follow at byte 32.
struct Group {
  uint4 places;  // a, b[3]
  uint4 ranks;   // all rows of a, then one rank per site
};

__device__ __forceinline__ Group load_group(const unsigned char* image, int entry) {
  const uint4* words = reinterpret_cast<const uint4*>(image + 64 * static_cast<size_t>(entry));
  return {load_shared_read(words), load_shared_read(words + 1)};
}

__device__ __forceinline__ unsigned of_site(int site, unsigned first, unsigned second,
                                            unsigned third) {
  return site == 0 ? first : site == 1 ? second : third;
}

// partials[row, split, rank] for the tile `blockIdx.x`, the inputs of split `blockIdx.y` and every
// gridDim.z-th tile of 16 ranks. Each lane takes 16 bytes of two ranks and of one row of x; the
// inputs are permuted alike on both sides, so that these bytes are fragments as they are. A goes
// through shared memory only to be on its way without holding registers: a lane reads what it
// copied itself, so no barrier is needed, and the next tile of ranks comes while one is computed.
template <int BLOCKS>
__device__ __forceinline__ void shrink(const bf16* __restrict__ x, long long x_stride,
                                       const unsigned char* __restrict__ memory,
                                       const long long* __restrict__ tile_at,
                                       const int* __restrict__ tile_rows, int entry, int inputs,
                                       float* __restrict__ partials, int splits, int room) {
  constexpr int WIDTH = 8 * BLOCKS;
  constexpr int PITCH = BLOCKS == 1 ? WIDTH : WIDTH + 8;
  constexpr int TURNS = BLOCKS == 1 ? 2 : 1;
  __shared__ uint4 stage[2][CHUNKS][2][THREADS];
  alignas(16) __shared__ float parts[TURNS][WARPS][RANKS][PITCH];  // written in pairs
  const int tile = blockIdx.x, split = blockIdx.y;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, quad = lane % 4;
  const int* rows = tile_rows + static_cast<size_t>(tile) * WIDTH;
  const long long at = tile_at[tile];
  if (at < 0) return;
  const Group weights = load_group(memory + at, entry);
  const int ranks = min(static_cast<int>(weights.ranks.x), room);
  const bf16* a = reinterpret_cast<const bf16*>(memory + at + 16ll * weights.places.x);
  const int first = split * SPLIT + warp * (SPLIT / WARPS) + quad * 8;

  auto fetch = [&](int turn, int base) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int rank = base + group + half * 8;
      const bf16* row = a + static_cast<size_t>(rank) * inputs + first;
#pragma unroll
      for (int chunk = 0; chunk < CHUNKS; ++chunk)
        copy_async_or_zero(&stage[turn][chunk][half][threadIdx.x], row + chunk * 32,
                           rank < ranks && first + chunk * 32 < inputs);
    }
    close_copies();
  };

  int base = blockIdx.z * RANKS;
  // Both words are asked for, so that both are on their way before the branch.
  if (static_cast<int>(base >= ranks) | static_cast<int>(weights.places.x == ABSENT)) return;
  fetch(0, base);
  uint4 token[BLOCKS][CHUNKS];
  bool live[BLOCKS];
  int target[BLOCKS];
#pragma unroll
  for (int block = 0; block < BLOCKS; ++block) {
    const int row = rows[block * 8 + group];
    live[block] = rows[block * 8] >= 0;
    target[block] = rows[block * 8 + threadIdx.x / RANKS];
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; ++chunk)
      token[block][chunk] = row >= 0 && first + chunk * 32 < inputs
                                ? load_shared_read(x + row * x_stride + first + chunk * 32)
                                : make_uint4(0, 0, 0, 0);
  }

  for (int turn = 0; base < ranks; turn ^= 1) {
    const int next = base + gridDim.z * RANKS;
    if (next < ranks)
      fetch(turn ^ 1, next);
    else
      close_copies();
    wait_copies<1>();
    float sums[BLOCKS][4] = {};
#pragma unroll
    for (int chunk = 0; chunk < CHUNKS; ++chunk) {
      const uint4 up = stage[turn][chunk][0][threadIdx.x];
      const uint4 low = stage[turn][chunk][1][threadIdx.x];
#pragma unroll
      for (int block = 0; block < BLOCKS; ++block) {
        if (BLOCKS > 1 && !live[block]) continue;
        const uint4 in = token[block][chunk];
        mma_bf16(sums[block], up.x, low.x, up.y, low.y, in.x, in.y);
        mma_bf16(sums[block], up.z, low.z, up.w, low.w, in.z, in.w);
      }
    }
    float(&part)[WARPS][RANKS][PITCH] = parts[TURNS == 1 ? 0 : turn];
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) {
      float* place = &part[warp][group][block * 8 + quad * 2];
      *reinterpret_cast<float2*>(place) = make_float2(sums[block][0], sums[block][1]);
      *reinterpret_cast<float2*>(place + 8 * PITCH) = make_float2(sums[block][2], sums[block][3]);
    }
    __syncthreads();
    const int rank = threadIdx.x % RANKS;
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) {
      if (target[block] < 0 || base + rank >= ranks) continue;
      const int column = block * 8 + threadIdx.x / RANKS;
      float sum = part[0][rank][column];
#pragma unroll
      for (int from = 1; from < WARPS; ++from) sum += part[from][rank][column];
      partials[(static_cast<size_t>(target[block]) * splits + split) * room + base + rank] = sum;
    }
    if (TURNS == 1) __syncthreads();  // with two turns, the next barrier comes before the reuse
    base = next;
  }
}

// The sum over splits of one rank of one row, in the order of the splits.
__device__ __forceinline__ float add_parts(const float* parts, int splits, int room) {
  float sum = 0.0f;
#pragma unroll 1
  for (; splits > 0; splits -= AHEAD, parts += static_cast<size_t>(AHEAD) * room) {
    float part[AHEAD];
#pragma unroll
    for (int i = 0; i < AHEAD; ++i)
      part[i] = i < splits ? load_once(parts + static_cast<size_t>(i) * room) : 0.0f;
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) sum += part[i];
  }
  return sum;
}

// Four neighbouring outputs of a unit.
__device__ __forceinline__ uint2 load_outputs(const bf16* outputs, int row, long long stride,
                                              int unit) {
  return *reinterpret_cast<const uint2*>(outputs + row * stride + unit * 32);
}

__device__ __forceinline__ unsigned add_pair(unsigned base, float first, float second) {
  return pack_bf16(low_half(base) + first, high_half(base) + second);
}

// Add the change of one site to `out` for the tile `blockIdx.x` and one block of COLUMNS outputs.
// The scaled sums are split into two bf16 numbers, high and low, so that the product keeps 16 of
// their bits; B lies in the order of the fragments (image_tiles.py). B is asked for before the
// parts are summed, so that the two waits are one.
template <int BLOCKS>
__device__ __forceinline__ void expand(const float* __restrict__ partials,
                                       const unsigned char* __restrict__ memory,
                                       const long long* __restrict__ tile_at,
                                       const int* __restrict__ tile_rows, int entry,
                                       bf16* __restrict__ out, long long out_stride, int width0,
                                       int width1, int width2, int splits, int room) {
  constexpr int WIDTH = 8 * BLOCKS;
  __shared__ uint4 stage[STAGE / 8][UNITS][THREADS];  // a lane reads what it copied itself
  __shared__ unsigned high[WIDTH][STAGE_WORDS], low[WIDTH][STAGE_WORDS];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, group = lane / 4, quad = lane % 4;
  const int* rows = tile_rows + static_cast<size_t>(blockIdx.x) * WIDTH;
  const long long at = tile_at[blockIdx.x];
  if (at < 0) return;

  const int blocks0 = (width0 + COLUMNS - 1) / COLUMNS, blocks1 = (width1 + COLUMNS - 1) / COLUMNS;
  int within = blockIdx.y, site = 0, offset = 0;
  if (within >= blocks0) within -= blocks0, site = 1, offset = width0;
  if (site == 1 && within >= blocks1) within -= blocks1, site = 2, offset += width1;
  const int width = site == 0 ? width0 : site == 1 ? width1 : width2;

  const Group weights = load_group(memory + at, entry);
  const int before = (site > 0 ? weights.ranks.y : 0) + (site > 1 ? weights.ranks.z : 0);
  const int whole = of_site(site, weights.ranks.y, weights.ranks.z, weights.ranks.w);
  const int rank = min(whole, room - before);  // as in shrink: never beyond the room
  if (static_cast<int>(rank <= 0) | static_cast<int>(weights.places.x == ABSENT)) return;
  const float scale =
      reinterpret_cast<const float*>(memory + at + 64 * static_cast<size_t>(entry) + 32)[site];
  const int eights = (whole + 7) / 8;
  const uint4* b = reinterpret_cast<const uint4*>(
      memory + at + 16ll * of_site(site, weights.places.y, weights.places.z, weights.places.w));
  const int unit = (within * WARPS + warp) * UNITS;  // of 32 outputs, from the site's first
  const uint4* lane_words = b + static_cast<size_t>(unit) * eights * 32 + lane;
  const int units = min((width + 31) / 32 - unit, UNITS);

  auto fetch = [&](int first) {
#pragma unroll
    for (int eight = 0; eight < STAGE / 8; ++eight) {
      if (first / 8 + (eight & ~1) >= eights) break;  // no such step of 16 ranks
#pragma unroll
      for (int index = 0; index < UNITS; ++index)
        copy_async_or_zero(&stage[eight][index][threadIdx.x],
                           lane_words + (index * eights + first / 8 + eight) * 32,
                           index < units && first / 8 + eight < eights);
    }
    close_copies();
  };
  fetch(0);

  bf16* const outputs = out + offset + unit * 32 + group * 4;
  const int left = width - unit * 32 - group * 4;
  float sums[UNITS][2][BLOCKS][4] = {};
  uint2 base[UNITS][2];
  if (BLOCKS == 1) {  // read now what is added to at the end; with more blocks registers are short
#pragma unroll
    for (int token = 0; token < 2; ++token) {
      const int row = rows[quad * 2 + token];
#pragma unroll
      for (int index = 0; index < UNITS; ++index)
        if (row >= 0 && index * 32 < left)
          base[index][token] = load_outputs(outputs, row, out_stride, index);
    }
  }
  // Rows of the tile stand before its empty places.
  const int live = __popc(__ballot_sync(FULL_WARP, lane < WIDTH && rows[lane % WIDTH] >= 0));

  for (int first = 0; first < rank; first += STAGE) {
    const int count = min(rank - first, STAGE), steps = (count + 15) / 16;
    if (first > 0) {
      fetch(first);
      __syncthreads();
    }
    const int bits = 3 + steps;  // of 16 or 32 ranks per column
    const int j = threadIdx.x & ((1 << bits) - 1);
#pragma unroll 1
    for (int column = threadIdx.x >> bits; column < live; column += THREADS >> bits) {
      float sum = 0.0f;
      if (j < count) {
        const size_t start = static_cast<size_t>(rows[column]) * splits * room + before + first + j;
        sum = __fmul_rn(add_parts(partials + start, splits, room), scale);
      }
      const bf16 top = to_bf16(sum);
      reinterpret_cast<bf16*>(high[column])[j] = top;
      reinterpret_cast<bf16*>(low[column])[j] = to_bf16(sum - to_float(top));
    }
    wait_copies<0>();
    __syncthreads();

#pragma unroll
    for (int step = 0; step < STEPS; ++step) {
      if (step >= steps) break;
#pragma unroll
      for (int index = 0; index < UNITS; ++index) {
        const uint4 even = stage[step * 2][index][threadIdx.x];
        const uint4 odd = stage[step * 2 + 1][index][threadIdx.x];
#pragma unroll
        for (int block = 0; block < BLOCKS; ++block) {
          if (BLOCKS > 1 && block * 8 >= live) continue;
          const unsigned* tops = &high[block * 8 + group][step * 8 + quad];
          const unsigned* rests = &low[block * 8 + group][step * 8 + quad];
          mma_bf16(sums[index][0][block], even.x, even.y, odd.x, odd.y, tops[0], tops[4]);
          mma_bf16(sums[index][1][block], even.z, even.w, odd.z, odd.w, tops[0], tops[4]);
          mma_bf16(sums[index][0][block], even.x, even.y, odd.x, odd.y, rests[0], rests[4]);
          mma_bf16(sums[index][1][block], even.z, even.w, odd.z, odd.w, rests[0], rests[4]);
        }
      }
    }
  }

#pragma unroll
  for (int block = 0; block < BLOCKS; ++block)
#pragma unroll
    for (int token = 0; token < 2; ++token) {
      const int column = block * 8 + quad * 2 + token;
      if (column >= live) continue;
      const int row = rows[column];
#pragma unroll
      for (int index = 0; index < UNITS; ++index) {
        if (index * 32 >= left) continue;
        const float* one = sums[index][0][block];
        const float* two = sums[index][1][block];
        const uint2 old =
            BLOCKS == 1 ? base[index][token] : load_outputs(outputs, row, out_stride, index);
        *reinterpret_cast<uint2*>(outputs + row * out_stride + index * 32) =
            make_uint2(add_pair(old.x, one[token], one[2 + token]),
                       add_pair(old.y, two[token], two[2 + token]));
      }
    }
}

extern "C" __global__ void __launch_bounds__(128, 6)
lora_shrink_8(const bf16* x, long long x_stride, const unsigned char* memory,
              const long long* tile_at, const int* tile_rows, int entry, int inputs,
              float* partials, int splits, int room) {
  shrink<1>(x, x_stride, memory, tile_at, tile_rows, entry, inputs, partials, splits, room);
}

extern "C" __global__ void __launch_bounds__(128, 4)
lora_shrink_32(const bf16* x, long long x_stride, const unsigned char* memory,
               const long long* tile_at, const int* tile_rows, int entry, int inputs,
               float* partials, int splits, int room) {
  shrink<4>(x, x_stride, memory, tile_at, tile_rows, entry, inputs, partials, splits, room);
}

extern "C" __global__ void __launch_bounds__(128, 8)
lora_expand_8(const float* partials, const unsigned char* memory, const long long* tile_at,
              const int* tile_rows, int entry, bf16* out, long long out_stride, int width0,
              int width1, int width2, int splits, int room) {
  expand<1>(partials, memory, tile_at, tile_rows, entry, out, out_stride, width0, width1, width2,
            splits, room);
}

extern "C" __global__ void __launch_bounds__(128, 5)
lora_expand_32(const float* partials, const unsigned char* memory, const long long* tile_at,
               const int* tile_rows, int entry, bf16* out, long long out_stride, int width0,
               int width1, int width2, int splits, int room) {
  expand<4>(partials, memory, tile_at, tile_rows, entry, out, out_stride, width0, width1, width2,
            splits, room);
}
