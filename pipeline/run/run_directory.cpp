#include "pipeline/run/run_directory.hpp"

#include <ctime>
#include <initializer_list>
#include <sstream>
#include <string_view>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "pipeline/input/content_digest.hpp"

namespace factflow {
namespace {

std::string digest_of(std::initializer_list<std::string_view> parts) {
  ContentDigest digest;
  for (const std::string_view part : parts) {
    digest.add(part);
    digest.add("\n");
  }
  return digest.hex();
}

std::string first_difference(const std::string& ours, const std::string& theirs) {
  std::istringstream a(ours), b(theirs);
  std::string line_a, line_b;
  while (true) {
    const bool more_a = static_cast<bool>(std::getline(a, line_a)),
               more_b = static_cast<bool>(std::getline(b, line_b));
    if (!more_a && !more_b) return "the content of the dataset or of a list of ids has changed";
    if (!more_a) line_a = "(nothing)";
    if (!more_b) line_b = "(nothing)";
    if (line_a != line_b || more_a != more_b)
      return fmt::format("this one has '{}', that one '{}'", line_a, line_b);
  }
}

void remove_old_run(const std::filesystem::path& path) {
  for (const char* name : {"journal", "results.h5", "tables", "figures", "report.html",
                           "config.yaml", "identity.yaml", "run.json", "progress.json"})
    remove_tree(path / name);
}

// The lists of ids, whose content no configuration shows.
std::string lists_of(const Config& config) {
  std::string lists;
  for (const SelectConfig& set : config.select)
    lists += fmt::format("{}: {}\n", set.name, fmt::join(set.ids, " "));
  return lists;
}

RunDirectory described(const std::filesystem::path& path, const std::string& identity,
                       const Config& config, const Dataset& dataset) {
  return {path, digest_of({identity, dataset.digest, lists_of(config), kPlanVersion}),
          fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))};
}

std::filesystem::path record_of(const std::filesystem::path& path) {
  return path / "run.json";
}

[[noreturn]] void refuse(const std::filesystem::path& path, const std::string& problem,
                         const char* remedy) {
  throw RunError(fmt::format("{}: {}; {}", path.string(), problem, remedy));
}

// Whether the directory holds a run already, which then is this one.
bool adopt(RunDirectory& directory, const std::string& identity) {
  const std::filesystem::path record = record_of(directory.path);
  if (!std::filesystem::exists(record)) {
    if (std::filesystem::exists(directory.results()) ||
        std::filesystem::exists(directory.journal()))
      refuse(directory.path, "holds results but no run.json that says of which run",
             "use --fresh to start over");
    return false;
  }
  try {
    const nlohmann::json found = nlohmann::json::parse(read_file(record));
    if (const std::string plan = found.value("plan", "plan 1"); plan != kPlanVersion)
      refuse(directory.path,
             fmt::format("was begun by another version of factflow, whose units are others ({}, "
                         "this one has {})",
                         plan, kPlanVersion),
             "finish it with that version, or use --out with another directory, or --fresh to "
             "start over");
    if (found.at("identity").get<std::string>() != directory.identity)
      refuse(directory.path,
             "belongs to another configuration: " +
                 first_difference(identity, read_file(directory.path / "identity.yaml")),
             "use --out with another directory, or --fresh to start over");
    directory.created = found.at("created").get<std::string>();
  } catch (const nlohmann::json::exception& error) {
    refuse(record, fmt::format("cannot be understood: {}", error.what()),
           "use --fresh to start over");
  }
  return true;
}

}  // namespace

RunDirectory open_run_directory(const std::filesystem::path& path, const Config& config,
                                const Dataset& dataset, bool fresh) {
  if (fresh) remove_old_run(path);
  const std::string identity = identity_yaml(config);
  RunDirectory directory = described(path, identity, config, dataset);
  if (adopt(directory, identity)) return directory;
  publish_file(path / "config.yaml", resolved_yaml(config));
  publish_file(path / "identity.yaml", identity);
  publish_file(record_of(path), nlohmann::json{{"identity", directory.identity},
                                               {"plan", kPlanVersion},
                                               {"created", directory.created},
                                               {"name", config.name}}
                                        .dump(1) +
                                    "\n");
  return directory;
}

void check_run_directory(const std::filesystem::path& path, const Config& config,
                         const Dataset& dataset) {
  const std::string identity = identity_yaml(config);
  RunDirectory directory = described(path, identity, config, dataset);
  adopt(directory, identity);
}

}  // namespace factflow
