// factflow ls: what there is to name in commands and configurations.
#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "base/text.hpp"
#include "experiments/table.hpp"
#include "model/families/family.hpp"
#include "model/intervention.hpp"
#include "pipeline/commands/command.hpp"
#include "pipeline/run/found_checkpoints.hpp"
#include "results/results_file.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

struct Line {
  std::string name, meaning;
};

void print(const std::vector<Line>& lines) {
  size_t width = 0;
  for (const Line& line : lines) width = std::max(width, line.name.size());
  for (const Line& line : lines)
    std::cout << fmt::format("{:<{}}  {}\n", line.name, width, line.meaning);
}

// Names of a table with what each means, in the table's order.
template <size_t kCount>
std::vector<Line> explained(const std::vector<std::string>& names,
                            const std::array<const char*, kCount>& meanings) {
  if (names.size() != kCount) throw std::logic_error("names without a meaning");
  std::vector<Line> lines;
  for (size_t i = 0; i < kCount; ++i) lines.push_back({names[i], meanings[i]});
  return lines;
}

std::vector<Line> sites() {
  static constexpr std::array meanings = {
      "the residual stream that enters the layer; of layer L, behind the last: before the final "
      "norm",
      "Mamba: x before the convolution",
      "Mamba-2: all that enters the convolution: x, B and C",
      "gated delta rule: all that enters the convolution: q, k and v",
      "what leaves the convolution, after SiLU",
      "Mamba: D x alone",
      "what the scan or the attention heads give, side by side, the skip included",
      "s of the attention, in a layer that has a recurrent state beside it",
      "s of the recurrent state, in a layer that has attention beside it",
      "SiLU of the gate",
      "input of the output projection",
      "o before what stands behind the block: a norm, or a factor",
      "o_raw of the attention, likewise",
      "o_raw of the recurrent state, likewise",
      "what the mixer adds to the residual stream",
      "o of the attention, likewise",
      "o of the recurrent state, likewise",
      "input of the MLP, after its norm",
      "input of the MLP's down projection",
      "mlp before what stands behind the block",
      "what the MLP adds to the residual stream",
      "output of the final norm"};
  static_assert(meanings.size() == kSites);
  return explained(site_names(), meanings);
}

std::vector<Line> roles() {
  static constexpr std::array meanings = {"the last token, at which the answer is read",
                                          "the first token",
                                          "all tokens that overlap the subject",
                                          "all tokens that are not the subject's",
                                          "the relation's tokens but the last",
                                          "the tokens before the subject",
                                          "all tokens",
                                          "each token by itself"};
  return explained(token_role_names(), meanings);
}

std::vector<Line> kinds() {
  std::vector<Line> lines;
  for (const ExperimentKind* kind : experiment_kinds())
    lines.push_back(
        {kind->name(), kind->section().empty()
                           ? "asked of every prompt before all else"
                           : fmt::format("section `{}` of a configuration", kind->section())});
  return lines;
}

std::vector<Line> family_names() {
  std::vector<Line> lines;
  for (const Family& family : families())
    lines.push_back({family.model_type,
                     family.text_part == nullptr
                         ? ""
                         : fmt::format("also the text part of files with {}", family.text_part)});
  return lines;
}

// A checkpoint in a few words, or why it cannot be read.
std::string described(const std::string& source) {
  try {
    return checkpoint_in_words(source);
  } catch (const Error& error) {
    return fmt::format("cannot be run: {}", error.what());
  }
}

std::vector<Line> checkpoints(const fs::path& root) {
  std::vector<Line> lines;
  for (const fs::path& directory : checkpoints_below(root))
    lines.push_back({directory.string(), described(directory.string())});
  return lines;
}

std::string state_of(const fs::path& run) {
  try {
    const fs::path results = run / "results.h5";
    std::error_code error;
    if (!fs::exists(results, error)) return "begun, no results yet";
    const RunInfo info = ResultsReader(results).info();
    return fmt::format(
        "{}, {} of {}, models {}", info.complete ? "complete" : "part of the run", info.units_done,
        counted(static_cast<std::uint64_t>(info.units_planned), "unit"), join(info.models));
  } catch (const Error& error) {
    return error.what();
  }
}

std::vector<Line> runs(const fs::path& root) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(root, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (fs::exists(entry->path() / "run.json", ignored)) found.push_back(entry->path());
  }
  std::sort(found.begin(), found.end());
  std::vector<Line> lines;
  for (const fs::path& run : found) lines.push_back({run.string(), state_of(run)});
  return lines;
}

struct Listing {
  const char* name;
  const char* meaning;
  const char* directory;  // where it looks by default; null: nowhere
  std::vector<Line> (*in)(const fs::path&);
};

// Of what needs no directory.
template <std::vector<Line> (*kLines)()>
std::vector<Line> anywhere(const fs::path& /*directory*/) {
  return kLines();
}

const std::vector<Listing>& listings() {
  static const std::vector<Listing> list = {
      {"runs", "runs, and how far they are", "runs", runs},
      {"models", "checkpoints, up to three folders deep", ".", checkpoints},
      {"families", "model types that can be run", nullptr, anywhere<family_names>},
      {"kinds", "kinds of experiments", nullptr, anywhere<kinds>},
      {"roles", "roles of tokens, between which edges are blocked", nullptr, anywhere<roles>},
      {"sites", "where values can be read and written", nullptr, anywhere<sites>},
  };
  return list;
}

}  // namespace

Usage list_usage() {
  Usage usage;
  usage.positional = {"WHAT..."};
  for (const Listing& one : listings())
    usage.epilogue += fmt::format(
        "  {:<10}{}{}\n", one.name, one.meaning,
        one.directory == nullptr ? "" : fmt::format(" (DIR, by default {})", one.directory));
  usage.examples = {"ls runs", "ls models demo/models", "ls sites"};
  return usage;
}

int list_command(const po::variables_map& values) {
  const auto& given = values["WHAT..."].as<std::vector<std::string>>();
  const auto found = std::find_if(listings().begin(), listings().end(),
                                  [&](const Listing& one) { return given[0] == one.name; });
  if (found == listings().end()) {
    std::vector<std::string> known;
    for (const Listing& one : listings()) known.emplace_back(one.name);
    throw InputError("factflow ls", unknown_word("listing", given[0], known),
                     "see factflow ls --help");
  }
  if (given.size() > (found->directory == nullptr ? 1 : 2))
    throw InputError("factflow ls", fmt::format("{} is one word too many", in_quotes(given.back())),
                     "see factflow ls --help");
  const fs::path directory = given.size() == 2             ? fs::path(given[1])
                             : found->directory == nullptr ? fs::path()
                                                           : fs::path(found->directory);
  std::error_code error;
  if (found->directory != nullptr && !fs::is_directory(directory, error))
    throw InputError(directory.string(), "is no directory",
                     fmt::format("name one: factflow ls {} DIR", found->name));
  const std::vector<Line> lines = found->in(directory);
  print(lines);
  if (lines.empty()) std::cout << fmt::format("no {} in {}\n", found->name, directory.string());
  return 0;
}

}  // namespace factflow
