#include "analysis/gnuplot.hpp"

#include <algorithm>
#include <chrono>
#include <deque>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <utility>

#include <fmt/format.h>

#include "analysis/fonts.hpp"
#include "base/child_process.hpp"
#include "base/error.hpp"
#include "base/file_operations.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

// U+202A to U+202E, U+2066 to U+2069: they would turn what stands around them.
bool overrides_direction(std::string_view character) {
  return (character >= "\u202A" && character <= "\u202E") ||
         (character >= "\u2066" && character <= "\u2069");
}

constexpr double kPointsPerInch = 72;
constexpr double kPixelsPerInch = 200;
// The cairo terminals draw a font of 9 points 12 points high.
constexpr double kCairoPoint = 72.0 / 96.0;
constexpr const char* kFont = "Arial";

constexpr std::size_t kPlotsOfProcess = 12;
constexpr std::size_t kPictureBytes = std::size_t{256} << 10;

const std::map<std::string, std::string> kTerminals = {
    {"svg", "svg"}, {"pdf", "pdfcairo"}, {"png", "pngcairo"}};

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

ChildProgram gnuplot(std::string input, const std::filesystem::path& folder,
                     std::chrono::milliseconds patience) {
  ChildProgram program;
  program.words = {"gnuplot", "-d"};  // -d: no user's .gnuplot file
  program.input = std::move(input);
  program.folder = folder;
  program.environment = font_environment();
  program.patience = patience;
  return program;
}

// Which of our formats this gnuplot can draw.
struct Formats {
  std::set<std::string> known;
  std::string problem;
};

Formats known_formats(const std::filesystem::path& folder, std::chrono::milliseconds patience) {
  const ChildProgram question = gnuplot("print GPVAL_TERMINALS\n", folder, patience);
  const ChildOutput answer = run_child(question);
  if (answer.code != 0)
    return {{},
            fmt::format("{}; figures need it (Debian: gnuplot-nox)", failure_of(question, answer))};
  // On which stream it prints depends on its version.
  std::istringstream words(answer.out + " " + answer.err);
  const std::set<std::string> terminals{std::istream_iterator<std::string>(words), {}};
  Formats formats;
  std::vector<std::string> missing;
  for (const auto& [format, terminal] : kTerminals) {
    if (terminals.contains(terminal))
      formats.known.insert(format);
    else
      missing.push_back(terminal);
  }
  if (!missing.empty())
    formats.problem = fmt::format("this gnuplot has no terminal {} (Debian: gnuplot-nox has)",
                                  join(missing, " and no "));
  return formats;
}

// What of the plots can be drawn.
std::vector<Plot> in_formats(std::vector<Plot> plots, const std::set<std::string>& known) {
  for (Plot& plot : plots)
    std::erase_if(plot.formats, [&](const std::string& format) { return !known.contains(format); });
  std::erase_if(plots, [](const Plot& plot) { return plot.formats.empty(); });
  return plots;
}

// A picture that the disk had no room for is cut off, of which gnuplot says nothing.
bool is_whole(const std::filesystem::path& file) {
  constexpr std::streamoff kTail = 64;
  std::ifstream stream(file, std::ios::binary | std::ios::ate);
  const std::streamoff size = stream ? static_cast<std::streamoff>(stream.tellg()) : 0;
  std::string tail(static_cast<std::size_t>(std::min(size, kTail)), '\0');
  stream.seekg(size - static_cast<std::streamoff>(tail.size()));
  if (!stream.read(tail.data(), static_cast<std::streamsize>(tail.size()))) return false;
  const std::string ending = file.extension() == ".svg"   ? "</svg>"
                             : file.extension() == ".pdf" ? "%%EOF"
                                                          : "IEND";
  return tail.find(ending) != std::string::npos;
}

// What the disk says to a file of the size of a picture; "" if it takes it.
std::string refusal_of(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / ".space";
  try {
    write_new_file(system_files(), file, std::string(kPictureBytes, ' '));
    system_files().unlink(file);
    return "";
  } catch (const RunError& error) {
    system_files().unlink(file);
    return error.what();
  }
}

// Runs the scripts of all plots, a few at a time; returns the first failure.
std::string run_scripts(const std::vector<Plot>& plots, const std::filesystem::path& folder,
                        std::size_t processes, std::chrono::milliseconds patience) {
  struct Share {
    ChildProgram program;
    std::unique_ptr<ChildProcess> process;
  };
  std::string problem;
  std::deque<Share> running;
  bool hangs = false;
  const auto wait_for_one = [&] {
    const ChildOutput output = running.front().process->wait();
    hangs = hangs || output.timed_out;
    if (output.code != 0 && problem.empty()) problem = failure_of(running.front().program, output);
    running.pop_front();
  };
  for (std::size_t first = 0; first < plots.size() && !hangs; first += kPlotsOfProcess) {
    std::string script = "set encoding utf8\n";
    for (std::size_t i = first; i < std::min(first + kPlotsOfProcess, plots.size()); ++i)
      script += script_of(plots[i]);
    running.push_back({gnuplot(std::move(script), folder, patience), nullptr});
    running.back().process = std::make_unique<ChildProcess>(running.back().program);
    if (running.size() == processes) wait_for_one();
  }
  while (!running.empty()) wait_for_one();
  return problem;
}

}  // namespace

std::string gnuplot_quote(std::string_view text) {
  std::string quoted = "'";
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\n') {
      quoted += "\u21B5";
    } else if (c == '\t') {
      quoted += "\u21E5";
    } else if (c == '\'') {
      quoted += "\u2019";  // gnuplot's own escape, two of them, fails at the start of a string
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      quoted += "\uFFFD";
    } else if (overrides_direction(text.substr(at, 3))) {
      quoted += "\uFFFD";
      at += 2;
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

std::vector<std::string> Plot::files() const {
  std::vector<std::string> names;
  for (const std::string& format : formats) names.push_back(stem + "." + format);
  return names;
}

Drawing draw(const std::vector<Plot>& plots, const std::filesystem::path& folder, int processes,
             std::chrono::milliseconds patience) {
  if (plots.empty()) return {};
  Drawing drawing;
  try {
    const Formats formats = known_formats(folder, patience / 10);
    drawing.problem = formats.problem;
    const std::vector<Plot> possible = in_formats(plots, formats.known);
    const std::string failure =
        run_scripts(possible, folder, static_cast<std::size_t>(std::max(processes, 1)), patience);
    std::vector<std::string> missing;
    for (const Plot& plot : possible)
      for (const std::string& file : plot.files())
        is_whole(folder / file) ? void(drawing.files.insert(file)) : missing.push_back(file);
    if (missing.empty()) return drawing;
    // The disk's word first: gnuplot does not know of it, or blames the file.
    drawing.problem = refusal_of(folder);
    if (drawing.problem.empty()) drawing.problem = failure;
    if (drawing.problem.empty())
      drawing.problem =
          fmt::format("gnuplot left {} of {} out or incomplete, {} the first", missing.size(),
                      counted(drawing.files.size() + missing.size(), "picture"), missing[0]);
  } catch (const RunError& error) {  // no process can be made
    drawing.problem = error.what();
  }
  return drawing;
}

}  // namespace factflow
