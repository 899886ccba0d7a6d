#include "analysis/gnuplot.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.hpp"

extern char** environ;

namespace factflow {
namespace {

constexpr double kPointsPerInch = 72;
constexpr double kPixelsPerInch = 200;
// The cairo terminals draw a font of 9 points 12 points high.
constexpr double kCairoPoint = 72.0 / 96.0;
constexpr const char* kFont = "Arial";

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

// Unnamed files as stdin and stderr: unlike pipes they can neither fill up nor break.
File temporary_file() {
  File file(std::tmpfile());
  if (!file)
    throw RunError(
        fmt::format("cannot make a temporary file for gnuplot: {}", std::strerror(errno)));
  return file;
}

// The same plot on any terminal: lengths are in points of 1/72 inch on all of them.
std::string terminal_of(const Plot& plot, const std::string& format) {
  const double scale = kPixelsPerInch / kPointsPerInch;
  if (format == "svg")
    return fmt::format(
        "set terminal svg size {:.0f},{:.0f} dynamic enhanced font '{},9' dashlength 0.6 "
        "background rgb 'white'",
        plot.width * kPointsPerInch, plot.height * kPointsPerInch, kFont);
  if (format == "pdf")
    return fmt::format(
        "set terminal pdfcairo size {:.3f}in,{:.3f}in enhanced color font '{},9' fontscale {:.4f} "
        "linewidth 1.3 dashlength 0.6 "
        "background rgb 'white'",
        plot.width, plot.height, kFont, kCairoPoint);
  return fmt::format(
      "set terminal pngcairo size {:.0f},{:.0f} enhanced font '{},9' fontscale {:.4f} linewidth "
      "{:.4f} "
      "pointscale {:.4f} dashlength 0.6 background rgb 'white'",
      plot.width * kPixelsPerInch, plot.height * kPixelsPerInch, kFont, scale * kCairoPoint, scale,
      scale);
}

std::string script_of(const Plot& plot) {
  std::string script = plot.data;
  for (const std::string& format : plot.formats)
    script += fmt::format(
        "reset\nset minussign\n{}\nset output '{}.{}'\n{}\nunset multiplot\nunset output\n",
        terminal_of(plot, format), plot.stem, format, plot.script);
  return script + "undefine $*\n";
}

class Process {
 public:
  Process(const std::string& script, const std::filesystem::path& folder)
      : input_(temporary_file()), errors_(temporary_file()) {
    if (std::fwrite(script.data(), 1, script.size(), input_.get()) != script.size() ||
        std::fflush(input_.get()) != 0)
      throw RunError(fmt::format("cannot write the script for gnuplot: {}", std::strerror(errno)));
    ::lseek(::fileno(input_.get()), 0, SEEK_SET);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ::fileno(input_.get()), 0);
    ::posix_spawn_file_actions_adddup2(&actions, ::fileno(errors_.get()), 1);
    ::posix_spawn_file_actions_adddup2(&actions, ::fileno(errors_.get()), 2);
    ::posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
    char name[] = "gnuplot", defaults[] = "-d";  // no user's .gnuplot file
    char* arguments[] = {name, defaults, nullptr};
    const int error = ::posix_spawnp(&child_, name, &actions, nullptr, arguments, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
      throw RunError(
          fmt::format("cannot start gnuplot: {}; install it (Debian: gnuplot-nox); the tables are "
                      "already written",
                      std::strerror(error)));
  }
  ~Process() {
    if (child_ > 0) ::waitpid(child_, nullptr, 0);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  void wait() {
    int status = 0;
    while (::waitpid(child_, &status, 0) < 0 && errno == EINTR) {
    }
    child_ = -1;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    std::string text(2000, '\0');
    std::rewind(errors_.get());
    text.resize(std::fread(text.data(), 1, text.size(), errors_.get()));
    std::replace(text.begin(), text.end(), '\n', ' ');
    throw RunError(fmt::format("gnuplot failed: {}", text));
  }

 private:
  File input_, errors_;
  pid_t child_ = -1;
};

}  // namespace

std::string gnuplot_quote(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\n')
      quoted += "\u21B5";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      quoted += "\uFFFD";
    else if (c == '\'')
      quoted += "\u2019";  // gnuplot's own escape, two of them, fails at the start of a string
    else
      quoted += c;
  }
  return quoted + "'";
}

std::vector<std::string> Plot::files() const {
  std::vector<std::string> names;
  for (const std::string& format : formats) names.push_back(stem + "." + format);
  return names;
}

void draw(const std::vector<Plot>& plots, const std::filesystem::path& folder, int processes) {
  if (plots.empty()) return;
  const std::size_t shares =
      std::clamp<std::size_t>(static_cast<std::size_t>(std::max(processes, 1)), 1, plots.size());
  const auto for_each_file = [&](const auto& action) {
    for (const Plot& plot : plots)
      for (const std::string& file : plot.files()) action(folder / file);
  };
  std::error_code error;
  for_each_file([&](const std::filesystem::path& file) { std::filesystem::remove(file, error); });
  std::vector<std::string> scripts(shares, "set encoding utf8\n");
  for (std::size_t i = 0; i < plots.size(); ++i) scripts[i % shares] += script_of(plots[i]);
  std::vector<std::unique_ptr<Process>> running;
  for (const std::string& script : scripts)
    running.push_back(std::make_unique<Process>(script, folder));
  for (const auto& process : running) process->wait();
  for_each_file([&](const std::filesystem::path& file) {
    if (std::filesystem::file_size(file, error) == 0 || error)
      throw RunError(fmt::format("{}: gnuplot drew no picture; its {} terminal may be missing",
                                 file.string(), file.extension().string()));
  });
}

}  // namespace factflow
