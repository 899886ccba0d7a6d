#include <algorithm>
#include <cstring>
#include <deque>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include <boost/context/fiber.hpp>

#include "cuda_pipeline_primitives.h"
#include "cuda_runtime.h"

namespace emulation {
namespace {

constexpr std::size_t kStackBytes = 64 << 10;
constexpr unsigned kWarp = 32;

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};
using CopyGroup = std::vector<Copy>;

// A fiber's memory, which outlives what runs on it.
struct Stack {
  char* begin;
  boost::context::stack_context allocate() const {
    boost::context::stack_context stack;
    stack.size = kStackBytes;
    stack.sp = begin + kStackBytes;
    return stack;
  }
  void deallocate(boost::context::stack_context&) const noexcept {}
};

struct Fiber {
  enum class State { kReady, kAtBlock, kAtWarp, kDone };
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  boost::context::fiber thread, scheduler;  // each while it waits for the other
  State state = State::kReady;
  CopyGroup begun;
  std::deque<CopyGroup> committed;
};

std::vector<std::unique_ptr<Fiber>> fibers;  // kept from block to block
unsigned running = 0;                        // threads of the block
unsigned current = 0;
const std::function<void()>* kernel = nullptr;
std::vector<float> shared;
bool late_copies = false;
float shuffled[1024];
bool votes[1024];
std::mt19937 orders;

boost::context::fiber run_fiber(boost::context::fiber scheduler) {
  fibers[current]->scheduler = std::move(scheduler);
  (*kernel)();
  fibers[current]->state = Fiber::State::kDone;
  return std::move(fibers[current]->scheduler);
}

void wait(Fiber::State state) {
  Fiber& fiber = *fibers[current];
  fiber.state = state;
  fiber.scheduler = std::move(fiber.scheduler).resume();
}

bool all(unsigned begin, unsigned end, Fiber::State state) {
  return std::all_of(fibers.begin() + begin, fibers.begin() + end, [&](const auto& fiber) {
    return fiber->state == state || fiber->state == Fiber::State::kDone;
  });
}

void release(unsigned begin, unsigned end, Fiber::State from) {
  for (unsigned i = begin; i < end; ++i)
    if (fibers[i]->state == from) fibers[i]->state = Fiber::State::kReady;
}

void start_fibers() {
  while (fibers.size() < running) fibers.push_back(std::make_unique<Fiber>());
  for (unsigned i = 0; i < running; ++i) {
    Fiber& fiber = *fibers[i];
    fiber.state = Fiber::State::kReady;
    fiber.begun.clear();
    fiber.committed.clear();
    fiber.thread = boost::context::fiber(std::allocator_arg, Stack{fiber.stack.get()}, run_fiber);
  }
}

unsigned drawn(unsigned below) {
  return std::uniform_int_distribution<unsigned>(0, below - 1)(orders);
}

std::vector<unsigned> in_some_order(unsigned begin, unsigned end) {
  std::vector<unsigned> numbers(end - begin);
  std::iota(numbers.begin(), numbers.end(), begin);
  std::shuffle(numbers.begin(), numbers.end(), orders);
  return numbers;
}

unsigned end_of(unsigned warp_begin) {
  return std::min(warp_begin + kWarp, running);
}

bool any_ready(unsigned warp_begin) {
  return std::any_of(fibers.begin() + warp_begin, fibers.begin() + end_of(warp_begin),
                     [](const auto& fiber) { return fiber->state == Fiber::State::kReady; });
}

// A turn of a warp: every ready thread of it until it waits.
void run_warp(unsigned begin) {
  for (const unsigned thread : in_some_order(begin, end_of(begin))) {
    if (fibers[thread]->state != Fiber::State::kReady) continue;
    current = thread;
    threadIdx = dim3(thread, 0, 0);
    fibers[thread]->thread = std::move(fibers[thread]->thread).resume();
  }
  if (all(begin, end_of(begin), Fiber::State::kAtWarp))
    release(begin, end_of(begin), Fiber::State::kAtWarp);
}

// The warp that has the next turn; `running` if all wait.
unsigned next_warp() {
  std::vector<unsigned> ready;
  for (unsigned begin = 0; begin < running; begin += kWarp)
    if (any_ready(begin)) ready.push_back(begin);
  return ready.empty() ? running : ready[drawn(static_cast<unsigned>(ready.size()))];
}

// In some blocks a warp runs ahead of the others as far as it can, so that what it should have
// waited for is missing; in others they take turns.
void run_block() {
  start_fibers();
  std::memset(shared.data(), 0xff, shared.size() * sizeof(float));
  const bool ahead = drawn(2) == 0;
  unsigned warp = running;
  while (!all(0, running, Fiber::State::kDone)) {
    if (warp == running || !ahead || !any_ready(warp)) warp = next_warp();
    if (warp == running) throw std::logic_error("threads of a block wait for each other");
    run_warp(warp);
    if (all(0, running, Fiber::State::kAtBlock)) release(0, running, Fiber::State::kAtBlock);
  }
}

}  // namespace

void launch(dim3 grid, unsigned threads, std::size_t shared_bytes,
            const std::function<void()>& body) {
  if (threads == 0 || threads > 1024) throw std::logic_error("a block of no or too many threads");
  running = threads;
  kernel = &body;
  shared.resize(shared_bytes / sizeof(float) + 1);
  blockDim = dim3(threads, 1, 1);
  for (const unsigned block : in_some_order(0, grid.x * grid.y * grid.z)) {
    blockIdx = dim3(block % grid.x, block / grid.x % grid.y, block / grid.x / grid.y);
    run_block();
  }
}

float* dynamic_shared() {
  return shared.data();
}
void wait_for_block() {
  wait(Fiber::State::kAtBlock);
}
void wait_for_warp() {
  wait(Fiber::State::kAtWarp);
}

float shuffle_xor(float value, int mask) {
  shuffled[threadIdx.x] = value;
  wait_for_warp();
  const unsigned lane = threadIdx.x % kWarp;
  const float other = shuffled[threadIdx.x - lane + (lane ^ static_cast<unsigned>(mask))];
  wait_for_warp();
  return other;
}

unsigned ballot(bool vote) {
  votes[threadIdx.x] = vote;
  wait_for_warp();
  const unsigned begin = threadIdx.x / kWarp * kWarp;
  unsigned bits = 0;
  for (unsigned lane = 0; begin + lane < end_of(begin); ++lane)
    bits |= votes[begin + lane] ? 1u << lane : 0;
  wait_for_warp();
  return bits;
}

void draw_orders_from(unsigned seed) {
  orders.seed(seed);
}

void copy_late(bool late) {
  late_copies = late;
}

void copy(void* to, const void* from, std::size_t bytes) {
  if (late_copies)
    fibers[threadIdx.x]->begun.push_back({to, from, bytes});
  else
    std::memcpy(to, from, bytes);
}

void commit_copies() {
  Fiber& fiber = *fibers[threadIdx.x];
  fiber.committed.push_back(std::move(fiber.begun));
  fiber.begun.clear();
}

void wait_for_copies(std::size_t but) {
  std::deque<CopyGroup>& committed = fibers[threadIdx.x]->committed;
  for (; committed.size() > but; committed.pop_front())
    for (const Copy& copy : committed.front()) std::memcpy(copy.to, copy.from, copy.bytes);
}

}  // namespace emulation
