// The sampler: seeded draws, the greatest logits, the log of the sum of exponentials. A row is cut
// into segments; one block per (row, segment), then one block per row puts the segments together.
// Every choice is by a total order (score, then the lower id), so how the work is cut cannot show.
#include "device.cuh"

typedef unsigned long long u64;

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
constexpr int SEGMENT = 8192;
constexpr int EACH = SEGMENT / THREADS / 4;  // groups of four logits per thread
constexpr int LIST = 32;

#define NOTHING __int_as_float(0xff800000)  // minus infinity

struct Words {
  u64 at[4];
};

// Philox-4x64-10 (Salmon et al. 2011).
__device__ __forceinline__ Words philox(Words counter, u64 key0, u64 key1) {
#pragma unroll 1
  for (int round = 0; round < 10; ++round) {
    const u64 high0 = __umul64hi(0xD2E7470EE14C6C93ull, counter.at[0]);
    const u64 low0 = 0xD2E7470EE14C6C93ull * counter.at[0];
    const u64 high1 = __umul64hi(0xCA5A826395121157ull, counter.at[2]);
    const u64 low1 = 0xCA5A826395121157ull * counter.at[2];
    counter = {{high1 ^ counter.at[1] ^ key0, low1, high0 ^ counter.at[3] ^ key1, low0}};
    key0 += 0x9E3779B97F4A7C15ull;
    key1 += 0xBB67AE8584CAA73Bull;
  }
  return counter;
}

// Words 4 * block … + 3 of the stream of one output position; the first block has counter 1.
__device__ __forceinline__ Words noise_words(u64 index, int block, u64 key0, u64 key1) {
  return philox({{static_cast<u64>(block) + 1, 0, index, 0}}, key0, key1);
}

__device__ __forceinline__ double gumbel(u64 word) {
  const double uniform = (static_cast<double>(word >> 11) + 0.5) * 0x1p-53;
  return -log(-log(uniform));
}

// A lower and an upper bound of the noise in float32. Near 1, where -log cancels, there is none.
__device__ __forceinline__ void bound_gumbel(u64 word, float& low, float& high) {
  const float uniform = (static_cast<float>(word >> 40) + 0.5f) * 0x1p-24f;
  const float noise = -logf(-logf(uniform));
  const bool close = uniform < 0.998f && uniform > 1e-5f;
  low = close ? noise - 0.01f : -4.0f;
  high = close ? noise + 0.01f : 40.0f;
}

template <typename T>
__device__ __forceinline__ float logit_at(const T* row, int id);
template <>
__device__ __forceinline__ float logit_at<float>(const float* row, int id) {
  return row[id];
}
template <>
__device__ __forceinline__ float logit_at<bf16>(const bf16* row, int id) {
  return to_float(row[id]);
}

// Four neighbouring logits; ids from the vocabulary's end on are minus infinity.
template <typename T>
__device__ __forceinline__ float4 four_logits(const T* row, int id, int vocabulary) {
  if (sizeof(T) == 4 && vocabulary % 4 == 0 && id < vocabulary)
    return *reinterpret_cast<const float4*>(row + id);
  return {id < vocabulary ? logit_at(row, id) : NOTHING,
          id + 1 < vocabulary ? logit_at(row, id + 1) : NOTHING,
          id + 2 < vocabulary ? logit_at(row, id + 2) : NOTHING,
          id + 3 < vocabulary ? logit_at(row, id + 3) : NOTHING};
}

__device__ __forceinline__ float component(const float4& v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

struct Best {
  double score;
  int id;  // -1: none
};

__device__ __forceinline__ bool wins(Best a, Best b) {
  if (a.id < 0 || b.id < 0) return a.id >= 0;
  return a.score > b.score || (a.score == b.score && a.id < b.id);
}

__device__ __forceinline__ Best block_best(Best mine) {
  __shared__ double scores[WARPS];
  __shared__ int ids[WARPS];
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1) {
    const Best other = {__shfl_xor_sync(FULL_WARP, mine.score, distance),
                        __shfl_xor_sync(FULL_WARP, mine.id, distance)};
    if (wins(other, mine)) mine = other;
  }
  if (threadIdx.x % 32 == 0) {
    scores[threadIdx.x / 32] = mine.score;
    ids[threadIdx.x / 32] = mine.id;
  }
  __syncthreads();
  for (int warp = 0; warp < WARPS; ++warp) {
    const Best other = {scores[warp], ids[warp]};
    if (wins(other, mine)) mine = other;
  }
  return mine;
}

__device__ __forceinline__ float block_max(float value) {
  __shared__ float values[WARPS];
  value = warp_max(value);
  if (threadIdx.x % 32 == 0) values[threadIdx.x / 32] = value;
  __syncthreads();
  for (int warp = 0; warp < WARPS; ++warp) value = fmaxf(value, values[warp]);
  return value;
}

// Grid (row, segment). The noise is bounded in float32 first; float64 is spent only on tokens
// that may still win the segment.
template <typename T>
__device__ __forceinline__ void draw_segment(const T* logits, int vocabulary,
                                             const double* temperatures, const u64* keys,
                                             const u64* indices, const float* floors,
                                             const int* floor_ids, double* scores, int* ids) {
  const int row = blockIdx.x;
  const T* line = logits + static_cast<long long>(row) * vocabulary;
  const double temperature = temperatures[row];
  const bool greedy = temperature == 0.0;
  const float inverse = greedy ? 1.0f : static_cast<float>(1.0 / temperature);
  const u64 key0 = keys[row * 2], key1 = keys[row * 2 + 1], index = indices[row];
  const float floor = greedy ? NOTHING : floors[row];
  const int floor_id = greedy ? 0x7fffffff : floor_ids[row];
  float highs[EACH][4];
  float least = NOTHING;
  Best best = {0.0, -1};
#pragma unroll
  for (int turn = 0; turn < EACH; ++turn) {
    const int id = blockIdx.y * SEGMENT + (turn * THREADS + threadIdx.x) * 4;
    const float4 four = four_logits(line, id, vocabulary);
    unsigned kept = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float x = component(four, i);
      const bool keep = id + i < vocabulary && (x > floor || (x == floor && id + i <= floor_id));
      kept |= static_cast<unsigned>(keep) << i;
      if (greedy && keep && wins({x, id + i}, best)) best = {x, id + i};
      highs[turn][i] = NOTHING;
    }
    if (greedy || !kept) continue;
    const Words words = noise_words(index, id / 4, key0, key1);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (!(kept >> i & 1) || component(four, i) == NOTHING) continue;
      const float scaled = component(four, i) * inverse;
      const float slack = 1e-6f * fabsf(scaled);
      float low, high;
      bound_gumbel(words.at[i], low, high);
      highs[turn][i] = scaled + high + slack;
      least = fmaxf(least, scaled + low - slack);
    }
  }
  least = block_max(least);
#pragma unroll
  for (int turn = 0; turn < EACH; ++turn) {
    const int id = blockIdx.y * SEGMENT + (turn * THREADS + threadIdx.x) * 4;
    bool any = false;
#pragma unroll
    for (int i = 0; i < 4; ++i) any |= highs[turn][i] > NOTHING && highs[turn][i] >= least;
    if (!any) continue;
    const Words words = noise_words(index, id / 4, key0, key1);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (!(highs[turn][i] > NOTHING && highs[turn][i] >= least)) continue;
      const double scaled = static_cast<double>(logit_at(line, id + i)) / temperature;
      const Best mine = {scaled + gumbel(words.at[i]), id + i};
      if (wins(mine, best)) best = mine;
    }
  }
  best = block_best(best);
  if (threadIdx.x == 0) {
    scores[row * gridDim.y + blockIdx.y] = best.score;
    ids[row * gridDim.y + blockIdx.y] = best.id;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS) draw_float(
    const float* logits, int vocabulary, const double* temperatures, const u64* keys,
    const u64* indices, const float* floors, const int* floor_ids, double* scores, int* ids) {
  draw_segment(logits, vocabulary, temperatures, keys, indices, floors, floor_ids, scores, ids);
}

extern "C" __global__ void __launch_bounds__(THREADS) draw_bf16(
    const bf16* logits, int vocabulary, const double* temperatures, const u64* keys,
    const u64* indices, const float* floors, const int* floor_ids, double* scores, int* ids) {
  draw_segment(logits, vocabulary, temperatures, keys, indices, floors, floor_ids, scores, ids);
}

// Grid (row): the winner among the segments.
extern "C" __global__ void __launch_bounds__(THREADS) finish_draw(const double* scores,
                                                                  const int* ids, int segments,
                                                                  int* tokens) {
  Best best = {0.0, -1};
  for (int segment = threadIdx.x; segment < segments; segment += THREADS) {
    const int at = blockIdx.x * segments + segment;
    const Best other = {scores[at], ids[at]};
    if (wins(other, best)) best = other;
  }
  best = block_best(best);
  if (threadIdx.x == 0) tokens[blockIdx.x] = best.id;
}

// A logit with its id as one number whose order is (rank, then the lower id); 0 is no logit.
__device__ __forceinline__ u64 entry(unsigned rank, int id) {
  return static_cast<u64>(rank) << 32 | (0xffffffffu - static_cast<unsigned>(id));
}

// Ranks of a logit: by its value (-0 as 0), or by its sixteenths with halves up.
__device__ __forceinline__ unsigned rank_of_value(float x) {
  const unsigned bits = __float_as_uint(x + 0.0f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

__device__ __forceinline__ float value_of_rank(unsigned rank) {
  return __uint_as_float(rank >> 31 ? rank ^ 0x80000000u : ~rank);
}

__device__ __forceinline__ unsigned rank_of_steps(float x) {
  const double steps = floor(static_cast<double>(x) * 16.0 + 0.5);
  const double held = fmin(fmax(steps, -2147483647.0), 2147483647.0);
  return static_cast<unsigned>(static_cast<int>(held)) ^ 0x80000000u;
}

// Each lane holds one entry. Sort descending over the lanes, by a bitonic network.
__device__ __forceinline__ u64 exchange(u64 mine, int distance, bool descending) {
  const u64 other = __shfl_xor_sync(FULL_WARP, mine, distance);
  const bool lower = (threadIdx.x & distance) == 0;
  return (mine < other) == (lower == descending) ? other : mine;
}

__device__ __forceinline__ u64 sort_lanes(u64 mine) {
#pragma unroll 1
  for (int size = 2; size <= 32; size *= 2)
    for (int distance = size / 2; distance > 0; distance /= 2)
      mine = exchange(mine, distance, (threadIdx.x % 32 & size) == 0);
  return mine;
}

// The 32 greatest of two descending lists, descending.
__device__ __forceinline__ u64 merge_lanes(u64 list, u64 other) {
  const u64 reversed = __shfl_sync(FULL_WARP, other, 31 - threadIdx.x % 32);
  u64 mine = list > reversed ? list : reversed;
#pragma unroll 1
  for (int distance = 16; distance > 0; distance /= 2) mine = exchange(mine, distance, true);
  return mine;
}

// Take one new entry per lane into the list, if any belongs there.
__device__ __forceinline__ u64 take(u64 list, u64 fresh) {
  const u64 last = __shfl_sync(FULL_WARP, list, 31);
  if (!__any_sync(FULL_WARP, fresh > last)) return list;
  return merge_lanes(list, sort_lanes(fresh));
}

// The warps' lists as one, in warp 0.
__device__ __forceinline__ u64 merge_warps(u64 list) {
  __shared__ u64 lists[WARPS][LIST];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  lists[warp][lane] = list;
  __syncthreads();
  if (warp == 0)
    for (int other = 1; other < WARPS; ++other) list = merge_lanes(list, lists[other][lane]);
  return list;
}

// The sum over the block in a fixed order, in float64.
__device__ __forceinline__ double block_sum(double value) {
  __shared__ double sums[WARPS];
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1)
    value += __shfl_xor_sync(FULL_WARP, value, distance);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  double total = sums[0];
  for (int warp = 1; warp < WARPS; ++warp) total += sums[warp];
  return total;
}

// Grid (row, segment): the segment's 32 greatest entries [rows, segments, 32] and, by value, its
// greatest logit and the sum of exponentials below it [rows, segments, 2].
template <typename T, bool STEPS>
__device__ __forceinline__ void survey_segment(const T* logits, int vocabulary, u64* lists,
                                               double* sums) {
  const T* line = logits + static_cast<long long>(blockIdx.x) * vocabulary;
  float4 held[EACH];
  u64 list = 0;
#pragma unroll
  for (int turn = 0; turn < EACH; ++turn) {
    const int id = blockIdx.y * SEGMENT + (turn * THREADS + threadIdx.x) * 4;
    held[turn] = four_logits(line, id, vocabulary);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float x = component(held[turn], i);
      const unsigned rank = STEPS ? rank_of_steps(x) : rank_of_value(x);
      list = take(list, id + i < vocabulary ? entry(rank, id + i) : 0);
    }
  }
  list = merge_warps(list);
  const long long at = static_cast<long long>(blockIdx.x) * gridDim.y + blockIdx.y;
  if (threadIdx.x < LIST) lists[at * LIST + threadIdx.x] = list;
  if (STEPS) return;
  float greatest = NOTHING;
#pragma unroll
  for (int turn = 0; turn < EACH; ++turn)
#pragma unroll
    for (int i = 0; i < 4; ++i) greatest = fmaxf(greatest, component(held[turn], i));
  greatest = block_max(greatest);
  double sum = 0.0;
  if (greatest > NOTHING) {
#pragma unroll
    for (int turn = 0; turn < EACH; ++turn)
#pragma unroll
      for (int i = 0; i < 4; ++i) sum += expf(component(held[turn], i) - greatest);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) {
    sums[at * 2] = greatest;
    sums[at * 2 + 1] = sum;
  }
}

extern "C" __global__ void __launch_bounds__(THREADS) survey_float(const float* logits,
                                                                   int vocabulary, u64* lists,
                                                                   double* sums) {
  survey_segment<float, false>(logits, vocabulary, lists, sums);
}

extern "C" __global__ void __launch_bounds__(THREADS) survey_bf16(const bf16* logits,
                                                                  int vocabulary, u64* lists,
                                                                  double* sums) {
  survey_segment<bf16, false>(logits, vocabulary, lists, sums);
}

extern "C" __global__ void __launch_bounds__(THREADS) survey_steps_float(const float* logits,
                                                                         int vocabulary,
                                                                         u64* lists, double* sums) {
  survey_segment<float, true>(logits, vocabulary, lists, sums);
}

extern "C" __global__ void __launch_bounds__(THREADS) survey_steps_bf16(const bf16* logits,
                                                                        int vocabulary, u64* lists,
                                                                        double* sums) {
  survey_segment<bf16, true>(logits, vocabulary, lists, sums);
}

__device__ __forceinline__ u64 merge_segments(const u64* lists, int segments) {
  u64 list = 0;
  for (int segment = threadIdx.x / 32; segment < segments; segment += WARPS)
    list = merge_lanes(list, lists[(static_cast<long long>(blockIdx.x) * segments + segment) * LIST +
                                   threadIdx.x % 32]);
  return merge_warps(list);
}

// Grid (row): the first `count` of the row's list, and the log of the sum of exponentials.
extern "C" __global__ void __launch_bounds__(THREADS) finish_survey(const u64* lists,
                                                                    const double* sums,
                                                                    int segments, int count,
                                                                    float* values, int* ids,
                                                                    double* log_sums) {
  const u64 list = merge_segments(lists, segments);
  const int place = threadIdx.x, at = blockIdx.x * count + place;
  if (place < count) {
    values[at] = list ? value_of_rank(static_cast<unsigned>(list >> 32)) : NOTHING;
    ids[at] = list ? static_cast<int>(0xffffffffu - static_cast<unsigned>(list)) : -1;
  }
  if (place > 0) return;
  double greatest = NOTHING, sum = 0.0;
  const double* row = sums + static_cast<long long>(blockIdx.x) * segments * 2;
  for (int segment = 0; segment < segments; ++segment)
    greatest = fmax(greatest, row[segment * 2]);
  for (int segment = 0; segment < segments; ++segment)
    sum += row[segment * 2 + 1] * exp(row[segment * 2] - greatest);
  log_sums[blockIdx.x] = greatest + log(sum);
}

// Grid (row): the first `count` of the row's list of sixteenths.
extern "C" __global__ void __launch_bounds__(THREADS) finish_steps(const u64* lists, int segments,
                                                                   int count, int* steps,
                                                                   int* ids) {
  const u64 list = merge_segments(lists, segments);
  const int place = threadIdx.x, at = blockIdx.x * count + place;
  if (place >= count) return;
  steps[at] = list ? static_cast<int>(static_cast<unsigned>(list >> 32) ^ 0x80000000u) : 0;
  ids[at] = list ? static_cast<int>(0xffffffffu - static_cast<unsigned>(list)) : -1;
}

// The first words of a stream, to hold against another implementation. Grid (blocks of words).
extern "C" __global__ void __launch_bounds__(THREADS) write_noise_words(u64 key0, u64 key1,
                                                                        u64 index, int blocks,
                                                                        u64* words) {
  const int block = blockIdx.x * THREADS + threadIdx.x;
  if (block >= blocks) return;
  const Words four = noise_words(index, block, key0, key1);
  for (int i = 0; i < 4; ++i) words[block * 4 + i] = four.at[i];
}
