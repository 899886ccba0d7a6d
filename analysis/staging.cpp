#include "analysis/staging.hpp"

#include <cerrno>
#include <chrono>
#include <random>
#include <set>
#include <system_error>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/file_operations.hpp"
#include "base/files.hpp"
#include "base/output_directory.hpp"

namespace factflow {
namespace {

constexpr std::string_view kHidden = ".analysis.";
// An analysis that has written nothing for so long is not going on any more.
constexpr std::chrono::hours kForgotten{1};

void remove_forgotten(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  if (system_files().list(folder, &names) != 0) return;
  const auto now = std::filesystem::file_time_type::clock::now();
  for (const std::string& name : names) {
    if (!name.starts_with(kHidden)) continue;
    std::error_code error;
    const auto last = std::filesystem::last_write_time(folder / name, error);
    if (!error && now - last > kForgotten) remove_tree(folder / name);
  }
}

}  // namespace

Staging::Staging(const std::filesystem::path& folder) : folder_(folder) {
  FileOperations& files = system_files();
  make_directories(files, folder);
  remove_forgotten(folder);
  std::random_device random;
  const std::filesystem::path hidden = folder / fmt::format("{}{:08x}", kHidden, random());
  if (files.make_directory(hidden) != 0) throw_file_error(folder, "make a directory in it", errno);
  hidden_ = hidden;
}

Staging::~Staging() {
  try {
    remove_tree(hidden_);
  } catch (const RunError&) {  // the next analysis tries again
  }
}

void Staging::write(const std::string& name, std::string_view bytes) {
  FileOperations& files = system_files();
  const std::filesystem::path file = hidden_ / name;
  make_directories(files, file.parent_path());
  write_new_file(files, file, bytes);
  add(name);
}

std::filesystem::path Staging::make_folder(const std::string& name) {
  make_directories(system_files(), hidden_ / name);
  return hidden_ / name;
}

void Staging::add(const std::string& name) {
  names_.push_back(name);
}

void Staging::publish() {
  FileOperations& files = system_files();
  AnalysisFiles(files, folder_).add(names_, hidden_);
  std::set<std::filesystem::path> folders;
  for (const std::string& name : names_) {
    const std::filesystem::path file = folder_ / name;
    if (folders.insert(file.parent_path()).second) make_directories(files, file.parent_path());
    if (files.rename(hidden_ / name, file) != 0) throw_file_error(file, "replace", errno);
  }
  for (const std::filesystem::path& folder : folders) sync_directory(files, folder);
  names_.clear();
}

}  // namespace factflow
