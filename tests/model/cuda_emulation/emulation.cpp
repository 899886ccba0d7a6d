#include <algorithm>
#include <memory>
#include <stdexcept>
#include <vector>

#include <ucontext.h>

#include "cuda_runtime.h"

namespace emulation {
namespace {

constexpr std::size_t kStackBytes = 64 << 10;
constexpr unsigned kWarp = 32;

struct Fiber {
  enum class State { kReady, kAtBlock, kAtWarp, kDone };
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  State state = State::kReady;
};

std::vector<std::unique_ptr<Fiber>> fibers;  // kept from block to block
unsigned running = 0;                        // threads of the block
unsigned current = 0;
ucontext_t scheduler;
const std::function<void()>* kernel = nullptr;
std::vector<float> shared;
float shuffled[1024];

void run_fiber() {
  (*kernel)();
  fibers[current]->state = Fiber::State::kDone;
}

void wait(Fiber::State state) {
  Fiber& fiber = *fibers[current];
  fiber.state = state;
  swapcontext(&fiber.context, &scheduler);
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
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, run_fiber, 0);
  }
}

void run_block() {
  start_fibers();
  while (!all(0, running, Fiber::State::kDone)) {
    bool any = false;
    for (current = 0; current < running; ++current) {
      if (fibers[current]->state != Fiber::State::kReady) continue;
      any = true;
      threadIdx = dim3(current, 0, 0);
      swapcontext(&scheduler, &fibers[current]->context);
    }
    if (!any) throw std::logic_error("threads of a block wait for each other");
    if (all(0, running, Fiber::State::kAtBlock)) release(0, running, Fiber::State::kAtBlock);
    for (unsigned begin = 0; begin < running; begin += kWarp)
      if (all(begin, std::min(begin + kWarp, running), Fiber::State::kAtWarp))
        release(begin, std::min(begin + kWarp, running), Fiber::State::kAtWarp);
  }
}

}  // namespace

void launch(dim3 grid, unsigned threads, std::size_t shared_bytes, const std::function<void()>& body) {
  if (threads == 0 || threads > 1024) throw std::logic_error("a block of no or too many threads");
  running = threads;
  kernel = &body;
  shared.resize(shared_bytes / sizeof(float) + 1);
  blockDim = dim3(threads, 1, 1);
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = dim3(x, y, z);
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

}  // namespace emulation
