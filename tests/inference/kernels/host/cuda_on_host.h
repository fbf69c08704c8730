// CUDA C++ on a CPU: enough of the language for the kernels of inference/kernels to run unchanged.
//
// Every CUDA thread of a block is a fiber; blocks run one after the other. A fiber runs until it
// meets a barrier or a warp collective, so what a run shows is the order in which fibers were
// resumed: with a seed that order is random, and a kernel without races gives the same bits for
// every seed. Odd seeds pick any thread; even ones let some warps run ahead of the others as far as
// barriers allow. Shared memory is filled with NaN bits before each block. Reported as errors:
// a barrier that not all threads reach, at the same line; collectives whose lanes disagree;
// deadlocks; faults on the guard pages around every tensor; what the undefined behaviour
// sanitizer traps (misaligned accesses, constant bounds, shifts, overflow).
#pragma once

#include <cmath>
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <link.h>
#include <algorithm>
#include <random>
#include <sys/mman.h>
#include <ucontext.h>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __constant__ static
#define __align__(bytes) alignas(bytes)
// Shared variables are the library's only thread-local ones: the block of them can be poisoned.
#define __shared__ static thread_local

struct uint3 { unsigned x, y, z; };
struct dim3 { unsigned x, y, z; };
struct alignas(8) int2 { int x, y; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct alignas(16) float4 { float x, y, z, w; };
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
constexpr int warpSize = 32;

namespace on_host {

constexpr size_t STACK = 128 << 10;
constexpr int MOST_THREADS = 1024;
enum class State { ready, barrier, collective, done };

// What a lane brings to a collective; it lives on the lane's stack while the lane waits.
struct Exchange {
  const char* name;
  unsigned mask;
  void* item;
  void (*combine)(void** items, unsigned mask);
};

struct Copy { void* shared; const void* global; };

struct Fiber {
  State state;
  jmp_buf where;
  bool started;
  int line;
  Exchange exchange;
  std::vector<std::vector<Copy>> copies;  // groups, the last one open
};

inline Fiber fibers[MOST_THREADS];
inline char* stacks;
inline ucontext_t entry_context;
inline jmp_buf scheduler, launch_exit;
inline int current, threads;
inline std::vector<int> ready;
inline std::mt19937_64 dice;
inline bool shuffled, warps_ahead;
inline unsigned priorities[MOST_THREADS / 32];  // of warps, drawn anew at each barrier
inline char* message;
inline size_t message_size;
inline std::vector<char> dynamic_shared;
inline void (*kernel_body)(void**);
inline void** kernel_args;
inline thread_local char anchor;  // makes the library own a block of thread-local memory

[[noreturn]] inline void fail(const char* format, ...) {
  va_list args;
  va_start(args, format);
  int used = snprintf(message, message_size, "block (%u, %u, %u) thread %d: ", blockIdx.x,
                      blockIdx.y, blockIdx.z, current);
  vsnprintf(message + used, message_size - used, format, args);
  va_end(args);
  longjmp(launch_exit, 1);
}

inline void suspend() {
  if (setjmp(fibers[current].where) == 0) longjmp(scheduler, 1);
}

inline void barrier(int line) {
  fibers[current].state = State::barrier;
  fibers[current].line = line;
  suspend();
}

inline void collective(const char* name, unsigned mask, void* item,
                       void (*combine)(void**, unsigned)) {
  if (!(mask >> (current % 32) & 1)) fail("%s by a lane outside of its own mask", name);
  fibers[current].state = State::collective;
  fibers[current].exchange = {name, mask, item, combine};
  suspend();
}

inline void complete_collective(int arrived) {
  const Exchange& mine = fibers[arrived].exchange;
  int first = arrived / 32 * 32;
  void* items[32] = {};
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mine.mask >> lane & 1)) continue;
    if (first + lane >= threads) fail("%s names lane %d, which the block lacks", mine.name, lane);
    const Fiber& other = fibers[first + lane];
    if (other.state == State::done) fail("%s waits for lane %d, which returned", mine.name, lane);
    if (other.state == State::barrier)
      fail("%s waits for lane %d, which is at the barrier of line %d", mine.name, lane, other.line);
    if (other.state != State::collective) return;
    if (other.exchange.name != mine.name || other.exchange.mask != mine.mask)
      fail("%s meets %s of lane %d", mine.name, other.exchange.name, lane);
    items[lane] = other.exchange.item;
  }
  mine.combine(items, mine.mask);
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mine.mask >> lane & 1)) continue;
    fibers[first + lane].state = State::ready;
    ready.push_back(first + lane);
  }
}

inline void draw_priorities() {
  for (unsigned& priority : priorities) priority = static_cast<unsigned>(dice());
}

inline void complete_barrier() {
  int line = -1;
  for (int i = 0; i < threads; ++i) {
    if (fibers[i].state == State::done) continue;
    if (fibers[i].state != State::barrier) return;
    if (line >= 0 && fibers[i].line != line)
      fail("divergent barriers at lines %d and %d", line, fibers[i].line);
    line = fibers[i].line;
  }
  draw_priorities();
  for (int i = 0; i < threads; ++i) {
    if (fibers[i].state == State::done) continue;
    fibers[i].state = State::ready;
    ready.push_back(i);
  }
}

inline void fiber_main() {
  kernel_body(kernel_args);
  fibers[current].state = State::done;
  longjmp(scheduler, 1);
}

inline void resume(int index) {
  current = index;
  threadIdx = {index % blockDim.x, index / blockDim.x % blockDim.y,
               index / (blockDim.x * blockDim.y)};
  Fiber& fiber = fibers[index];
  if (fiber.started) longjmp(fiber.where, 1);
  fiber.started = true;
  ucontext_t context = entry_context;
  context.uc_stack.ss_sp = stacks + index * STACK;
  context.uc_stack.ss_size = STACK;
  context.uc_link = nullptr;
  makecontext(&context, fiber_main, 0);
  setcontext(&context);
}

// Poison the thread-local block of this library, which holds the shared variables.
inline int poison_module(dl_phdr_info* info, size_t, void* address) {
  bool ours = false;
  size_t size = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    auto start = info->dlpi_addr + part.p_vaddr;
    auto wanted = reinterpret_cast<ElfW(Addr)>(address);
    if (part.p_type == PT_LOAD && wanted >= start && wanted < start + part.p_memsz) ours = true;
    if (part.p_type == PT_TLS) size = part.p_memsz;
  }
  if (ours && info->dlpi_tls_data) memset(info->dlpi_tls_data, 0xff, size);
  return ours;
}

inline size_t pick_ready(size_t from) {
  size_t pick = from + dice() % (ready.size() - from);
  for (size_t i = from; warps_ahead && i < ready.size(); ++i)
    if (priorities[ready[i] / 32] < priorities[ready[pick] / 32]) pick = i;
  return pick;
}

inline void* launch_shared() { return dynamic_shared.data(); }

inline void run_block() {
  anchor = 1;
  dl_iterate_phdr(poison_module, reinterpret_cast<void*>(&run_block));
  std::fill(dynamic_shared.begin(), dynamic_shared.end(), char(0xff));
  ready.clear();
  draw_priorities();
  for (int i = 0; i < threads; ++i) {
    fibers[i].state = State::ready;
    fibers[i].started = false;
    fibers[i].copies.assign(1, {});
    ready.push_back(i);
  }
  size_t next = 0;  // without a seed: first in, first out
  while (next < ready.size()) {
    if (shuffled) std::swap(ready[next], ready[pick_ready(next)]);
    int index = ready[next++];
    if (next > 4096) {
      ready.erase(ready.begin(), ready.begin() + next);
      next = 0;
    }
    if (setjmp(scheduler) == 0) resume(index);
    if (fibers[index].state == State::collective)
      complete_collective(index);
    else
      complete_barrier();
  }
  for (current = 0; current < threads; ++current) {
    const Fiber& fiber = fibers[current];
    if (fiber.state == State::collective) fail("waits for ever in %s", fiber.exchange.name);
    if (fiber.state == State::barrier) fail("waits for ever at the barrier of line %d", fiber.line);
  }
}

inline void on_fault(int number, siginfo_t* info, void*) {
  const char* what = number == SIGILL
                         ? "undefined behaviour (misaligned, bounds of an array, shift, overflow)"
                         : "access outside of the tensors it was given";
  snprintf(message, message_size, "block (%u, %u, %u) thread %d: %s, address %p", blockIdx.x,
           blockIdx.y, blockIdx.z, current, what, info->si_addr);
  longjmp(launch_exit, 1);
}

inline constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};

inline void run_blocks(uint64_t seed) {
  unsigned long long blocks = 1ull * gridDim.x * gridDim.y * gridDim.z;
  std::vector<unsigned long long> order(blocks);
  for (unsigned long long i = 0; i < blocks; ++i) order[i] = i;
  dice.seed(seed);
  shuffled = seed != 0;
  warps_ahead = seed % 2 == 0;
  for (unsigned long long i = blocks; shuffled && i > 1; --i)
    std::swap(order[i - 1], order[dice() % i]);
  for (unsigned long long block : order) {
    blockIdx = {static_cast<unsigned>(block % gridDim.x),
                static_cast<unsigned>(block / gridDim.x % gridDim.y),
                static_cast<unsigned>(block / gridDim.x / gridDim.y)};
    run_block();
  }
}

// Run a grid; 0, or 1 with the reason in `error`.
inline int run(void (*body)(void**), const unsigned* grid, const unsigned* block, size_t shared,
               uint64_t seed, void** args, char* error, size_t error_size) {
  message = error;
  message_size = error_size;
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  threads = block[0] * block[1] * block[2];
  if (threads < 1 || threads > MOST_THREADS || grid[1] > 65535 || grid[2] > 65535) {
    snprintf(error, error_size, "a device refuses this grid or block");
    return 1;
  }
  if (!stacks)
    stacks = static_cast<char*>(mmap(nullptr, STACK * MOST_THREADS, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  kernel_body = body;
  kernel_args = args;
  dynamic_shared.resize(shared);
  getcontext(&entry_context);
  static char signal_stack[64 << 10];
  stack_t ours{}, theirs{};
  ours.ss_sp = signal_stack;
  ours.ss_size = sizeof signal_stack;
  sigaltstack(&ours, &theirs);
  struct sigaction action{}, before[4];
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (int i = 0; i < 4; ++i) sigaction(SIGNALS[i], &action, &before[i]);
  volatile int failed = 0;
  if (setjmp(launch_exit) == 0) {
    run_blocks(seed);
  } else {
    failed = 1;
  }
  for (int i = 0; i < 4; ++i) sigaction(SIGNALS[i], &before[i], nullptr);
  sigaltstack(&theirs, nullptr);
  return failed;
}

template <typename... Args, size_t... at>
void call(void (*kernel)(Args...), void** args, std::index_sequence<at...>) {
  kernel(*static_cast<std::remove_const_t<Args>*>(args[at])...);
}

template <typename... Args>
void call(void (*kernel)(Args...), void** args) {
  call(kernel, args, std::index_sequence_for<Args...>());
}

template <typename... Args>
const char* sizes_of(void (*)(Args...)) {  // one character per argument: its size in bytes
  static const char text[] = {static_cast<char>('0' + sizeof(Args))..., 0};
  return text;
}

// ---- what device.cuh builds on ----

inline uint16_t round_to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  if (value != value) return 0x7fff;
  return static_cast<uint16_t>((static_cast<uint64_t>(bits) + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float from_bf16(uint32_t word, int half) {
  uint32_t bits = half ? word & 0xffff0000u : word << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

struct Fragments { float* d; uint32_t a[4], b[2]; };

// The sum of 16 products is exact enough in float64 that its order cannot show.
inline void combine_mma(void** items, unsigned) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& part = *static_cast<Fragments*>(items[lane]);
    int group = lane / 4, pair = lane % 4 * 2;
    for (int half = 0; half < 2; ++half) {
      a[group][pair + half] = from_bf16(part.a[0], half);
      a[group + 8][pair + half] = from_bf16(part.a[1], half);
      a[group][pair + 8 + half] = from_bf16(part.a[2], half);
      a[group + 8][pair + 8 + half] = from_bf16(part.a[3], half);
      b[pair + half][group] = from_bf16(part.b[0], half);
      b[pair + 8 + half][group] = from_bf16(part.b[1], half);
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    float* d = static_cast<Fragments*>(items[lane])->d;
    for (int i = 0; i < 4; ++i) {
      int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
      double sum = d[i];
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
      d[i] = static_cast<float>(sum);
    }
  }
}

inline void mma_m16n8k16(float* d, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0,
                         uint32_t b1) {
  Fragments mine{d, {a0, a1, a2, a3}, {b0, b1}};
  collective("mma", ~0u, &mine, combine_mma);
}

// Bytes arrive as late as they may: when the thread waits for their group.
inline void copy_async(void* shared, const void* global) {
  fibers[current].copies.back().push_back({shared, global});
}

inline void close_copies() { fibers[current].copies.emplace_back(); }

inline void wait_copies(int open) {
  auto& groups = fibers[current].copies;
  while (static_cast<int>(groups.size()) - 1 > open) {
    for (const Copy& copy : groups.front()) {
      const auto* source = static_cast<const uint4*>(copy.global);
      *static_cast<uint4*>(copy.shared) = *source;
    }
    groups.erase(groups.begin());
  }
}

template <typename T>
struct Shuffled { T value; int source; T result; };

template <typename T>
void combine_shuffle(void** items, unsigned mask) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    auto& mine = *static_cast<Shuffled<T>*>(items[lane]);
    if (!(mask >> mine.source & 1))
      fail("a shuffle reads lane %d outside of its mask", mine.source);
    mine.result = static_cast<Shuffled<T>*>(items[mine.source])->value;
  }
}

template <typename T>
T shuffle(const char* name, unsigned mask, T value, int source) {
  Shuffled<T> mine{value, source, value};
  collective(name, mask, &mine, combine_shuffle<T>);
  return mine.result;
}

struct Vote { bool value; unsigned result; };

inline void combine_votes(void** items, unsigned mask) {
  unsigned votes = 0;
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) votes |= unsigned(static_cast<Vote*>(items[lane])->value) << lane;
  for (int lane = 0; lane < 32; ++lane)
    if (mask >> lane & 1) static_cast<Vote*>(items[lane])->result = votes;
}

inline unsigned vote(const char* name, unsigned mask, bool value) {
  Vote mine{value, 0};
  collective(name, mask, &mine, combine_votes);
  return mine.result;
}

inline void combine_nothing(void**, unsigned) {}
inline int lane() { return current % 32; }

}  // namespace on_host

// ---- the language's own functions ----

#define __syncthreads() on_host::barrier(__LINE__)
inline constexpr char SHUFFLE_XOR[] = "shuffle by xor", SHUFFLE[] = "shuffle",
                      SHUFFLE_DOWN[] = "shuffle down", SHUFFLE_UP[] = "shuffle up",
                      BALLOT[] = "vote", SYNC_WARP[] = "warp barrier";

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
  int lane = on_host::lane(), source = lane ^ bits;
  return on_host::shuffle(SHUFFLE_XOR, mask, value, source / width > lane / width ? lane : source);
}
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  return on_host::shuffle(SHUFFLE, mask, value,
                          on_host::lane() / width * width + (source & (width - 1)));
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32) {
  int lane = on_host::lane(), source = lane + static_cast<int>(by);
  return on_host::shuffle(SHUFFLE_DOWN, mask, value,
                          source / width == lane / width ? source : lane);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32) {
  int lane = on_host::lane(), within = lane % width - static_cast<int>(by);
  return on_host::shuffle(SHUFFLE_UP, mask, value,
                          within >= 0 ? lane - static_cast<int>(by) : lane);
}
inline unsigned __ballot_sync(unsigned mask, int value) {
  return on_host::vote(BALLOT, mask, value != 0);
}
inline int __any_sync(unsigned mask, int value) { return __ballot_sync(mask, value) != 0; }
inline int __all_sync(unsigned mask, int value) { return __ballot_sync(mask, value) == mask; }
inline void __syncwarp(unsigned mask = ~0u) {
  on_host::collective(SYNC_WARP, mask, nullptr, on_host::combine_nothing);
}
#define __threadfence()

inline float __uint_as_float(unsigned bits) { float v; memcpy(&v, &bits, 4); return v; }
inline unsigned __float_as_uint(float value) { unsigned b; memcpy(&b, &value, 4); return b; }
inline float __int_as_float(int bits) { float v; memcpy(&v, &bits, 4); return v; }
inline int __float_as_int(float value) { int b; memcpy(&b, &value, 4); return b; }
inline unsigned __umulhi(unsigned a, unsigned b) { return 1ull * a * b >> 32; }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline int __clz(int value) { return value ? __builtin_clz(static_cast<unsigned>(value)) : 32; }
inline int __ffs(int value) { return __builtin_ffs(value); }
inline float rsqrtf(float value) { return 1.0f / std::sqrt(value); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float value) { return 1.0f / value; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
template <typename T> T __ldg(const T* address) { return *address; }
template <typename T> T __ldcs(const T* address) { return *address; }
template <typename T> T __ldcg(const T* address) { return *address; }
template <typename T> void __stcs(T* address, T value) { *address = value; }
template <typename T> void __stcg(T* address, T value) { *address = value; }
template <typename T> constexpr T min(T a, T b) { return b < a ? b : a; }
template <typename T> constexpr T max(T a, T b) { return a < b ? b : a; }

// Make a kernel callable from outside under `run_<name>`, its argument sizes under `sizes_<name>`.
#define RUNS_ON_HOST(name)                                                                        \
  extern "C" __attribute__((visibility("default"))) int run_##name(                              \
      const unsigned* grid, const unsigned* block, size_t shared, uint64_t seed, void** args,    \
      char* error, size_t error_size) {                                                          \
    return on_host::run([](void** packed) { on_host::call(name, packed); }, grid, block, shared, \
                        seed, args, error, error_size);                                          \
  }                                                                                              \
  extern "C" __attribute__((visibility("default"))) const char* sizes_##name() {                 \
    return on_host::sizes_of(name);                                                              \
  }
