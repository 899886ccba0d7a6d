#include "pipeline/run/run_directory.hpp"

#include <ctime>
#include <initializer_list>
#include <sstream>
#include <string_view>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files.hpp"
#include "pipeline/input/content_digest.hpp"

namespace factflow {
namespace {

// Units of another plan have other contents under the same names: a change to run_plan.cpp's sizes must change this.
constexpr const char* kPlanVersion = "plan 1";

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
    const bool more_a = static_cast<bool>(std::getline(a, line_a)), more_b = static_cast<bool>(std::getline(b, line_b));
    if (!more_a && !more_b) return "the content of the dataset has changed";
    if (!more_a) line_a = "(nothing)";
    if (!more_b) line_b = "(nothing)";
    if (line_a != line_b || more_a != more_b) return fmt::format("this one has '{}', that one '{}'", line_a, line_b);
  }
}

void remove_old_run(const std::filesystem::path& path) {
  for (const char* name : {"journal", "results.h5", "tables", "figures", "report.html", "config.yaml", "identity.yaml", "run.json", "progress.json"})
    std::filesystem::remove_all(path / name);
}

}  // namespace

RunDirectory open_run_directory(const std::filesystem::path& path, const Config& config, const Dataset& dataset, bool fresh) {
  if (fresh) remove_old_run(path);
  const std::string identity = identity_yaml(config);
  RunDirectory directory{path, digest_of({identity, dataset.digest, kPlanVersion}),
                         fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))};
  const std::filesystem::path record = path / "run.json";
  if (std::filesystem::exists(record)) {
    nlohmann::json found;
    try {
      found = nlohmann::json::parse(read_file(record));
      if (found.at("identity").get<std::string>() != directory.identity)
        throw InputError(path.string(), "belongs to another configuration: " + first_difference(identity, read_file(path / "identity.yaml")),
                         "use --out with another directory, or --fresh to start over");
      directory.created = found.at("created").get<std::string>();
    } catch (const nlohmann::json::exception& error) {
      throw InputError(record.string(), fmt::format("cannot be understood: {}", error.what()), "use --fresh to start over");
    }
    return directory;
  }
  if (std::filesystem::exists(directory.results()) || std::filesystem::exists(directory.journal()))
    throw InputError(path.string(), "holds results but no run.json that says of which run", "use --fresh to start over");
  publish_file(path / "config.yaml", resolved_yaml(config));
  publish_file(path / "identity.yaml", identity);
  publish_file(record, nlohmann::json{{"identity", directory.identity}, {"created", directory.created}, {"name", config.name}}.dump(1) + "\n");
  return directory;
}

}  // namespace factflow
