#include "pipeline/run/run_directory.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <initializer_list>
#include <optional>
#include <sstream>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/output_directory.hpp"
#include "base/version.hpp"
#include "pipeline/coordination/journal.hpp"
#include "pipeline/coordination/run_lock.hpp"
#include "pipeline/input/content_digest.hpp"
#include "results/results_file.hpp"

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

// ---- what a directory holds

constexpr std::chrono::milliseconds kPause{100};
constexpr std::uintmax_t kLargestRecord = 1 << 20;

enum class Content {
  kNothing,     // or what a start leaves that came to nothing
  kRun,         // a run.json of ours
  kSubmission,  // a run that was handed to SLURM and has not begun
  kRemains,     // results or a journal without a run.json
  kForeign,
};

std::optional<nlohmann::json> json_in(const std::filesystem::path& file) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored) ||
      std::filesystem::file_size(file, ignored) > kLargestRecord)
    return std::nullopt;
  nlohmann::json json = nlohmann::json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  return json;
}

// Every version writes these.
bool is_run_record(const std::filesystem::path& file) {
  const std::optional<nlohmann::json> json = json_in(file);
  return json && json->contains("identity") && json->at("identity").is_string() &&
         json->contains("created") && json->at("created").is_string();
}

// By their names; what is in them may be damaged.
std::vector<std::filesystem::path> journals_in(const std::filesystem::path& path) {
  std::vector<std::string> names;
  std::vector<std::filesystem::path> files;
  if (system_files().list(path / "journal", &names) != 0) return files;
  for (const std::string& name : names)
    if (is_journal_name(name)) files.push_back(path / "journal" / name);
  return files;
}

bool has_journal(const std::filesystem::path& path) {
  const std::vector<std::filesystem::path> files = journals_in(path);
  return std::any_of(files.begin(), files.end(), begins_as_journal);
}

bool is_results_file(const std::filesystem::path& file) {
  try {
    const ResultsReader reader(file);
    return true;
  } catch (const Error&) {
    return false;
  }
}

// A leftover of a file that was being published (base/files.hpp), or NFS's name for one that was
// removed while somebody read it.
bool is_leftover(const std::string& name) {
  if (name.starts_with(".nfs")) return true;
  for (const char* file : {"run.json", "config.yaml", "identity.yaml", "progress.json"})
    if (name.starts_with(fmt::format(".{}.", file))) return true;
  return false;
}

bool is_of_a_start(const std::filesystem::path& path, const std::string& name) {
  if (name != claims_directory(path).filename()) return is_lock_name(name) || is_leftover(name);
  std::vector<std::string> claims;
  return system_files().list(path / name, &claims) == 0 &&
         std::all_of(claims.begin(), claims.end(), is_claim_name);
}

Content content_of(const std::filesystem::path& path, const std::vector<std::string>& names) {
  const auto has = [&](const char* name) {
    return std::binary_search(names.begin(), names.end(), name);
  };
  if (has("run.json") && is_run_record(record_of(path))) return Content::kRun;
  if ((has("journal") && has_journal(path)) || has("results.h5")) return Content::kRemains;
  std::error_code ignored;
  if ((has("submit.yaml") && has("submit.sbatch") && has("analyse.sbatch")) ||
      std::filesystem::is_regular_file(path / "logs" / "submit.lock", ignored))
    return has("config.yaml") ? Content::kForeign : Content::kSubmission;
  const bool nothing = std::all_of(names.begin(), names.end(), [&](const std::string& name) {
    return is_of_a_start(path, name);
  });
  return nothing ? Content::kNothing : Content::kForeign;
}

Content checked_content(const std::filesystem::path& path) {
  std::vector<std::string> names = names_in_output(system_files(), path);
  Content content = content_of(path, names);
  if (content == Content::kRemains || content == Content::kForeign) {
    // A launch that shares the directory may be beginning it, and names are not listed in one go.
    std::this_thread::sleep_for(kPause);
    names = names_in_output(system_files(), path);
    content = content_of(path, names);
  }
  if (content == Content::kForeign) refuse_foreign(path, names);
  return content;
}

// ---- what an earlier run left

void remove_file(const std::filesystem::path& file) {
  if (!std::filesystem::exists(std::filesystem::symlink_status(file))) return;
  if (system_files().unlink(file) != 0 && errno != ENOENT) throw_file_error(file, "remove", errno);
}

// The record goes last: what a crash leaves is still known as a run's, with the journal that it
// has.
void remove_old_run(const std::filesystem::path& path) {
  AnalysisFiles(system_files(), path).remove();
  for (const char* name : {"results.h5", ".results.h5.partial"}) remove_file(path / name);
  for (const std::filesystem::path& journal : journals_in(path)) remove_file(journal);
  ::rmdir((path / "journal").c_str());  // if that was all
  for (const char* name : {"progress.json", "config.yaml", "identity.yaml", "run.json"})
    remove_file(path / name);
  sync_directory(system_files(), path);
}

// Whether an earlier run came to nothing: no unit is on record, in whatever format, and there are
// no results.
bool nothing_recorded(const RunDirectory& directory) {
  std::error_code ignored;
  if (std::filesystem::exists(directory.results(), ignored)) return false;
  for (const std::filesystem::path& journal : journals_in(directory.path))
    if (std::filesystem::file_size(journal) > kJournalHeaderBytes) return false;
  return true;
}

// ---- whether it is this run

constexpr const char* kUnnamedVersion = "0.1.0";  // the last one that did not say its name

// What `record` says: this run, or an exception.
void require_this_run(RunDirectory& directory, const std::string& identity) {
  const std::filesystem::path record = record_of(directory.path);
  try {
    const nlohmann::json found = nlohmann::json::parse(read_file(record));
    if (const std::string plan = found.value("plan", "plan 1"); plan != kPlanVersion)
      throw InputError(
          directory.path.string(),
          fmt::format("was begun by another version of factflow, {} ({}), whose units "
                      "are others than those of this one, {} ({})",
                      found.value("factflow", kUnnamedVersion), plan, version(), kPlanVersion),
          "finish it with that version, or use --out with another directory, or "
          "--fresh to start over");
    if (found.at("identity").get<std::string>() != directory.identity) {
      const std::filesystem::path theirs = directory.path / "identity.yaml";
      refuse(directory.path,
             "belongs to another configuration" +
                 (std::filesystem::exists(theirs)
                      ? ": " + first_difference(identity, read_file(theirs))
                      : std::string()),
             "use --out with another directory, or --fresh to start over");
    }
    directory.created = found.at("created").get<std::string>();
  } catch (const nlohmann::json::exception& error) {
    refuse(record, fmt::format("cannot be understood: {}", error.what()),
           "use --fresh to start over");
  }
}

// The copies of the configuration that people and `factflow status` read.
void write_copies(const std::filesystem::path& path, const Config& config, bool missing_only) {
  const auto write = [&](const char* name, const std::string& text) {
    if (!missing_only || !std::filesystem::exists(path / name)) publish_file(path / name, text);
  };
  write("config.yaml", resolved_yaml(config));
  write("identity.yaml", identity_yaml(config));
}

RunDirectory looked_at(const std::filesystem::path& path, const Config& config,
                       const Dataset& dataset, const StartOptions& options) {
  const std::string identity = identity_yaml(config);
  RunDirectory directory = described(path, identity, config, dataset);
  const Content content = checked_content(path);
  if (content == Content::kRemains) {
    const bool ours = has_journal(path) || is_results_file(directory.results());
    if (!options.fresh || !ours)
      refuse(path, "holds results but no run.json that says of which run",
             ours ? "use --fresh to start over" : "use --out with another directory");
  }
  if (content != Content::kRun || options.fresh) return directory;
  try {
    require_this_run(directory, identity);
    directory.begun = true;
  } catch (const Error&) {
    if (!options.alone || !nothing_recorded(directory)) throw;
  }
  return directory;
}

}  // namespace

void check_place(const std::filesystem::path& path) {
  checked_content(path);
}

RunDirectory look_at_run_directory(const std::filesystem::path& path, const Config& config,
                                   const Dataset& dataset, const StartOptions& options) {
  RunDirectory directory = looked_at(path, config, dataset, options);
  if (directory.begun) write_copies(path, config, /*missing_only=*/true);
  return directory;
}

void begin_run_directory(RunDirectory& directory, const Config& config) {
  remove_old_run(directory.path);
  publish_file(record_of(directory.path), nlohmann::json{{"identity", directory.identity},
                                                         {"plan", kPlanVersion},
                                                         {"factflow", version()},
                                                         {"created", directory.created},
                                                         {"name", config.name}}
                                                  .dump(1) +
                                              "\n");
  write_copies(directory.path, config, /*missing_only=*/false);
  directory.begun = true;
}

RunDirectory check_run_directory(const std::filesystem::path& path, const Config& config,
                                 const Dataset& dataset, const StartOptions& options) {
  return looked_at(path, config, dataset, options);
}

void check_configuration_survives(const std::filesystem::path& config,
                                  const std::filesystem::path& path) {
  std::error_code ignored;
  const std::filesystem::path copy = path / "config.yaml";
  if (std::filesystem::equivalent(config, copy, ignored) &&
      read_file(copy) != resolved_yaml(read_config(copy)))
    throw InputError(copy.string(), "would be removed by --fresh, and it was edited",
                     "copy it to another place, and run that with --out " + path.string());
}

}  // namespace factflow
