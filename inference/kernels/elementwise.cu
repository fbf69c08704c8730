// Kernels that work row by row: norms, rotary embedding with the write to the pages, gated
// activation. bf16 in and out, float32 inside, 16 bytes per access; no row reads another one.
#include "device.cuh"

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;
constexpr int WIDTH = 8;  // elements of a 16-byte word

struct Eight {
  float at[WIDTH];
};

__device__ __forceinline__ Eight unpack(uint4 word) {
  return {{low_half(word.x), high_half(word.x), low_half(word.y), high_half(word.y),
           low_half(word.z), high_half(word.z), low_half(word.w), high_half(word.w)}};
}

__device__ __forceinline__ uint4 pack(const Eight& v) {
  return make_uint4(pack_bf16(v.at[0], v.at[1]), pack_bf16(v.at[2], v.at[3]),
                    pack_bf16(v.at[4], v.at[5]), pack_bf16(v.at[6], v.at[7]));
}

__device__ __forceinline__ Eight load8(const bf16* address) {
  return unpack(*reinterpret_cast<const uint4*>(address));
}

__device__ __forceinline__ void store8(bf16* address, const Eight& v) {
  *reinterpret_cast<uint4*>(address) = pack(v);
}

__device__ __forceinline__ float squares(float sum, const Eight& v) {
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) sum = __fmaf_rn(v.at[i], v.at[i], sum);
  return sum;
}

__device__ __forceinline__ void add8(Eight& v, const bf16* more) {
  const Eight m = load8(more);
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) v.at[i] += m.at[i];
}

// The sum over the block in a fixed order: lanes by a butterfly, warps by their number.
__device__ __forceinline__ float block_sum(float value) {
  __shared__ float sums[WARPS];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  float total = sums[0];
#pragma unroll
  for (int warp = 1; warp < WARPS; ++warp) total += sums[warp];
  return total;
}

// One block per row; CHUNKS words of a row stay in each thread's registers.
template <int CHUNKS, bool ADD>
__device__ __forceinline__ void norm_row(bf16* x, const bf16* y, const bf16* weight, bf16* out,
                                         int hidden, float epsilon) {
  const long long start = static_cast<long long>(blockIdx.x) * hidden;
  uint4 held[CHUNKS];  // packed: half the registers
  float sum = 0.0f;
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const int at = (chunk * THREADS + threadIdx.x) * WIDTH;
    if (at >= hidden) continue;
    held[chunk] = *reinterpret_cast<const uint4*>(x + start + at);
    if (ADD) {
      Eight both = unpack(held[chunk]);
      add8(both, y + start + at);
      held[chunk] = pack(both);
      *reinterpret_cast<uint4*>(x + start + at) = held[chunk];
    }
    sum = squares(sum, unpack(held[chunk]));
  }
  const float mean = block_sum(sum) / static_cast<float>(hidden);
  const float scale = 1.0f / sqrtf(mean + epsilon);
#pragma unroll
  for (int chunk = 0; chunk < CHUNKS; ++chunk) {
    const int at = (chunk * THREADS + threadIdx.x) * WIDTH;
    if (at >= hidden) continue;
    const Eight v = unpack(held[chunk]);
    const Eight w = load8(weight + at);
    Eight result;
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) result.at[i] = v.at[i] * scale * w.at[i];
    store8(out + start + at, result);
  }
}

#define NORM_INPUTS bf16 *x, const bf16 *y, const bf16 *weight, bf16 *out, int hidden, float epsilon

extern "C" __global__ void __launch_bounds__(THREADS) rms_norm_1(NORM_INPUTS) {
  norm_row<1, false>(x, y, weight, out, hidden, epsilon);
}
extern "C" __global__ void __launch_bounds__(THREADS) rms_norm_2(NORM_INPUTS) {
  norm_row<2, false>(x, y, weight, out, hidden, epsilon);
}
extern "C" __global__ void __launch_bounds__(THREADS) rms_norm_4(NORM_INPUTS) {
  norm_row<4, false>(x, y, weight, out, hidden, epsilon);
}
extern "C" __global__ void __launch_bounds__(THREADS) rms_norm_8(NORM_INPUTS) {
  norm_row<8, false>(x, y, weight, out, hidden, epsilon);
}
extern "C" __global__ void __launch_bounds__(THREADS) add_rms_norm_1(NORM_INPUTS) {
  norm_row<1, true>(x, y, weight, out, hidden, epsilon);
}
extern "C" __global__ void __launch_bounds__(THREADS) add_rms_norm_2(NORM_INPUTS) {
  norm_row<2, true>(x, y, weight, out, hidden, epsilon);
}
extern "C" __global__ void __launch_bounds__(THREADS) add_rms_norm_4(NORM_INPUTS) {
  norm_row<4, true>(x, y, weight, out, hidden, epsilon);
}
extern "C" __global__ void __launch_bounds__(THREADS) add_rms_norm_8(NORM_INPUTS) {
  norm_row<8, true>(x, y, weight, out, hidden, epsilon);
}

// `lanes` neighbouring lanes (a power of two) hold one head: each has WIDTH elements of the first
// half and the WIDTH that stand half a head behind them.
__device__ __forceinline__ void norm_head(Eight& first, Eight& second, const bf16* weight, int at,
                                          int half, int lanes, float epsilon) {
  float sum = squares(squares(0.0f, first), second);
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(FULL_WARP, sum, distance);
  const float mean = sum / static_cast<float>(2 * half);
  const float scale = 1.0f / sqrtf(mean + epsilon);
  if (at >= half) return;
  const Eight w1 = load8(weight + at);
  const Eight w2 = load8(weight + half + at);
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    first.at[i] = first.at[i] * scale * w1.at[i];
    second.at[i] = second.at[i] * scale * w2.at[i];
  }
}

__device__ __forceinline__ void rotate_head(Eight& first, Eight& second, const float* cosines,
                                            const float* sines) {
#pragma unroll
  for (int i = 0; i < WIDTH; ++i) {
    const float a = first.at[i], b = second.at[i], c = cosines[i], s = sines[i];
    first.at[i] = __fmaf_rn(a, c, -__fmul_rn(b, s));
    second.at[i] = __fmaf_rn(b, c, __fmul_rn(a, s));
  }
}

// Grid (row, parts of the heads). Queries are finished in place; keys and values go to the page of
// the row's position. Heads stand as q, k, v; bias and norms may be null.
extern "C" __global__ void __launch_bounds__(128) rotate_and_store(
    bf16* qkv, const bf16* bias, const bf16* query_norm, const bf16* key_norm, float epsilon,
    const float* cosines, const float* sines, int table_width, const int* positions,
    const int* table_of, const int* tables, int most_pages, unsigned char* memory,
    long long page_bytes, int page_positions, long long layer_offset, int heads, int kv_heads,
    int head_dim, int lanes) {
  const int row = blockIdx.x;
  const int position = positions[row];
  if (position < 0) return;
  const int head = (blockIdx.y * 128 + threadIdx.x) / lanes;
  const int half = head_dim / 2;
  const int at = static_cast<int>(threadIdx.x) % lanes * WIDTH;
  const int all = heads + 2 * kv_heads;
  const bool present = head < all && at < half;
  const bool value = head >= heads + kv_heads;
  bf16* source = qkv + (static_cast<long long>(row) * all + head) * head_dim + at;
  Eight first = {}, second = {};
  if (present) {
    first = load8(source);
    second = load8(source + half);
    if (bias != nullptr) {
      add8(first, bias + head * head_dim + at);
      add8(second, bias + head * head_dim + half + at);
    }
  }
  if (query_norm != nullptr) {  // the shuffles inside take the whole warp, values included
    Eight one = first, two = second;
    norm_head(one, two, head < heads ? query_norm : key_norm, at, half, lanes, epsilon);
    if (!value) first = one, second = two;
  }
  if (!present) return;
  if (!value) {
    const long long angle = static_cast<long long>(position) * table_width + at;
    rotate_head(first, second, cosines + angle, sines + angle);
  }
  bf16* target = source;
  if (head >= heads) {
    const long long line = static_cast<long long>(table_of[row]) * most_pages;
    const long long page = tables[line + position / page_positions];
    const long long plane = (head - heads) * static_cast<long long>(page_positions) * head_dim;
    const long long inside = static_cast<long long>(position % page_positions) * head_dim;
    target = reinterpret_cast<bf16*>(memory + page * page_bytes) + layer_offset + plane + inside;
    target += at;
  }
  store8(target, first);
  store8(target + half, second);
}

// Grid (row, parts of the width): out = silu(gate) * up for rows of gate | up.
extern "C" __global__ void __launch_bounds__(THREADS) silu_multiply(const bf16* gate_up, bf16* out,
                                                                    int width) {
  const int at = (blockIdx.y * THREADS + threadIdx.x) * WIDTH;
  if (at >= width) return;
  const bf16* gate = gate_up + static_cast<long long>(blockIdx.x) * 2 * width + at;
  const Eight g = load8(gate);
  const Eight u = load8(gate + width);
  Eight result;
#pragma unroll
  for (int i = 0; i < WIDTH; ++i)
    result.at[i] = g.at[i] / (1.0f + expf(-g.at[i])) * u.at[i];
  store8(out + static_cast<long long>(blockIdx.x) * width + at, result);
}
