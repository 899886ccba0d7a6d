#include "pipeline/run/stop_signals.hpp"

#include <csignal>

namespace factflow {
namespace {

std::atomic<int> requests{0};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler counts with it");

void request_stop(int) {
  ++requests;
}

}  // namespace

void catch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = request_stop;
  sigemptyset(&action.sa_mask);
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaction(signal, &action, nullptr);
}

const std::atomic<int>& stop_requests() {
  return requests;
}

}  // namespace factflow
