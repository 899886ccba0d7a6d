#include "pipeline/run/progress_display.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::chrono::seconds kLogInterval{60};
constexpr std::size_t kNarrowest = 20;

// As much as fits into one line of the terminal: what wraps cannot be redrawn. Names of models and
// kinds are ASCII.
std::string fitting(std::string text) {
  struct winsize size {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < kNarrowest) return text;
  if (text.size() >= size.ws_col) text.resize(size.ws_col - 1);
  return text;
}

}  // namespace

std::string describe(const Progress& progress) {
  const bool all = progress.units_done + progress.units_failed >= progress.units_total;
  const double share = all ? 100 : std::min(std::floor(100 * progress.share), 99.0);
  std::string text =
      fmt::format("{:3.0f}%  {} of {}", share, progress.units_done + progress.units_failed,
                  counted(progress.units_total, "unit"));
  if (progress.units_failed > 0) text += fmt::format(", {} failed", progress.units_failed);
  if (progress.units_per_second > 0)
    text += fmt::format(", {:.3g} units/s", progress.units_per_second);
  if (progress.seconds_left && progress.units_done + progress.units_failed < progress.units_total)
    text += fmt::format(", {} left", format_duration(*progress.seconds_left));
  return text;
}

std::string describe_in_full(const Progress& progress) {
  std::string text = describe(progress);
  if (!progress.working_on.empty()) text += "; " + progress.working_on;
  if (progress.workers > 1)
    text += fmt::format("; {} of {} ranks busy", progress.busy, progress.workers);
  return text;
}

ProgressDisplay::ProgressDisplay(Verbosity verbosity)
    : verbosity_(verbosity), terminal_(::isatty(STDERR_FILENO) != 0) {}

void ProgressDisplay::show(const Progress& progress) {
  if (verbosity_ == Verbosity::kQuiet) return;
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", fitting(describe_in_full(progress)).c_str());
    std::fflush(stderr);
    drawn_ = true;
  } else if (last_ == Clock::time_point{} || now - last_ >= kLogInterval) {
    std::fprintf(stderr, "%s\n", describe_in_full(progress).c_str());
    last_ = now;
  }
}

void ProgressDisplay::line(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (drawn_) std::fprintf(stderr, "\r\033[K");
  drawn_ = false;
  std::fprintf(stderr, "%s\n", text.c_str());
}

void ProgressDisplay::tell(const std::string& text) {
  if (verbosity_ != Verbosity::kQuiet) line(text);
}

void ProgressDisplay::detail(const std::string& text) {
  if (verbosity_ == Verbosity::kVerbose) line(text);
}

}  // namespace factflow
