#include "pipeline/run/progress_display.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "base/text.hpp"

namespace factflow {
namespace {

constexpr std::chrono::seconds kLogInterval{30};

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

ProgressDisplay::ProgressDisplay() : terminal_(::isatty(STDERR_FILENO) != 0) {}

void ProgressDisplay::show(const Progress& progress) {
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", describe(progress).c_str());
    std::fflush(stderr);
    drawn_ = true;
  } else if (last_ == Clock::time_point{} || now - last_ >= kLogInterval) {
    std::fprintf(stderr, "%s\n", describe(progress).c_str());
    last_ = now;
  }
}

void ProgressDisplay::line(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (drawn_) std::fprintf(stderr, "\r\033[K");
  drawn_ = false;
  std::fprintf(stderr, "%s\n", text.c_str());
}

}  // namespace factflow
