#include "pipeline/commands/run_folder.hpp"

#include <string>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/json_text.hpp"
#include "base/paths.hpp"
#include "pipeline/input/config.hpp"
#include "results/results_file.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

bool holds(const fs::path& directory, const char* name) {
  std::error_code error;
  return fs::exists(directory / name, error);
}

[[noreturn]] void refuse_file(const fs::path& file) {
  const std::string extension = file.extension().string();
  if (file.filename() == kResultsFileName || extension == ".h5")
    throw InputError(file.string(), "is a file, expected the directory of a run",
                     "name the directory that holds it");
  if (extension == ".yaml" || extension == ".yml") {
    std::string name = "NAME";
    try {
      name = read_config(file).name;
    } catch (const InputError&) {  // then the remedy says only where to look
    }
    throw InputError(file.string(), "is a configuration, expected the directory of a run",
                     fmt::format("name runs/{}, or what --out said", name));
  }
  throw InputError(file.string(), "is a file, expected the directory of a run", "name runs/NAME");
}

// What the last launch noted about its progress, or "".
std::string progress_of(const fs::path& directory) {
  if (!holds(directory, "progress.json")) return "";
  try {
    return read_json_file(directory / "progress.json").value("text", "");
  } catch (const InputError&) {
  } catch (const nlohmann::json::exception&) {
  }
  return "";
}

}  // namespace

void require_run(const fs::path& directory) {
  std::error_code error;
  if (!fs::exists(directory, error))
    throw InputError(directory.string(), "there is no such directory" + relative_to_what(directory),
                     "name the directory of a run: runs/NAME, or what --out said");
  if (!fs::is_directory(directory, error)) refuse_file(directory);
  for (const char* name : {"run.json", "submit.json", kResultsFileName})
    if (holds(directory, name)) return;
  throw InputError(directory.string(), "is not the directory of a run: it holds no run.json",
                   "name runs/NAME, or what --out said");
}

void require_results(const fs::path& directory) {
  require_run(directory);
  if (holds(directory, kResultsFileName)) return;
  if (!holds(directory, "run.json"))
    throw InputError(directory.string(), "its run is submitted and has not begun",
                     "factflow status says what its jobs do");
  const std::string progress = progress_of(directory);
  throw InputError(
      directory.string(),
      fmt::format("its run has no results yet{}",
                  progress.empty() ? ": nothing is computed" : " (" + progress + ")"),
      "they appear a minute after its start, and when it ends; factflow status says how far it is");
}

}  // namespace factflow
