#include "base/output_directory.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/error.hpp"
#include "base/files.hpp"
#include "base/text.hpp"

namespace factflow {
namespace {

namespace fs = std::filesystem;

constexpr const char* kList = "analysis.files";
constexpr const char* kReport = "report.html";
constexpr const char* kElsewhere = "choose another directory with --out";
constexpr std::size_t kShownNames = 3;
constexpr std::size_t kLargestReport = std::size_t{256} << 20;

// In the user's words, for what mkdir or opendir say of a path.
std::string in_words(const fs::path& directory, int error) {
  std::error_code ignored;
  if (error == ENOTDIR)
    return fs::exists(directory, ignored) ? "is a file, not a directory"
                                          : "a part of this path is a file";
  if (error == ENOENT && fs::is_symlink(fs::symlink_status(directory, ignored)))
    return fmt::format("is a link to {}, which does not exist",
                       fs::read_symlink(directory, ignored).string());
  if (error == ENOENT) return "no directory can be made here";
  return fmt::format("cannot be a directory of results: {}", std::strerror(error));
}

[[noreturn]] void refuse(const fs::path& directory, int error) {
  if (error == ENOSPC || error == EDQUOT || error == EIO)
    throw_file_error(directory, "create", error);
  throw InputError(directory.string(), in_words(directory, error), kElsewhere);
}

// Only paths below the directory: a list may have been tampered with.
bool is_inside(const std::string& path) {
  return !path.empty() && path.front() != '/' && path.find("..") == std::string::npos;
}

// What a report of an earlier version links to: href="tables/NAME" and href="figures/NAME".
std::vector<std::string> linked_in(std::string_view report) {
  constexpr std::string_view kLink = "href=\"";
  std::vector<std::string> paths = {kReport};
  for (std::size_t at = report.find(kLink); at != std::string_view::npos;
       at = report.find(kLink, at)) {
    at += kLink.size();
    const std::string path(report.substr(at, report.find('"', at) - at));
    const bool ours = path.starts_with("tables/") || path.starts_with("figures/");
    if (ours && is_inside(path)) paths.push_back(path);
  }
  return paths;
}

bool is_report(std::string_view text) {
  return text.substr(0, 4096).find("factflow</title>") != std::string_view::npos;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);)
    if (is_inside(line)) lines.push_back(line);
  return lines;
}

template <class Path>
void sort_out(std::vector<Path>& paths) {
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
}

}  // namespace

bool make_output_directory(FileOperations& files, const fs::path& directory) {
  std::vector<std::string> names;
  if (files.list(directory, &names) == 0) {
    // One that holds work already is told what becomes of that when the first file is refused.
    if (names.empty() && ::access(directory.c_str(), W_OK | X_OK) != 0) refuse(directory, errno);
    return false;
  }
  if (errno != ENOENT) refuse(directory, errno);
  std::error_code ignored;
  if (fs::is_symlink(fs::symlink_status(directory, ignored))) refuse(directory, ENOENT);
  if (const int error = try_make_directories(files, directory); error != 0)
    refuse(directory, error);
  if (files.list(directory, &names) != 0) refuse(directory, errno);
  return true;
}

std::vector<std::string> names_in_output(FileOperations& files, const fs::path& directory) {
  std::vector<std::string> names;
  if (files.list(directory, &names) == 0) return names;
  std::error_code ignored;
  if (errno != ENOENT || fs::is_symlink(fs::symlink_status(directory, ignored)))
    refuse(directory, errno);
  return {};
}

void refuse_foreign(const fs::path& directory, const std::vector<std::string>& names) {
  std::vector<std::string> some(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                                   names.size(), kShownNames)));
  for (std::string& name : some) name = in_quotes(name);
  if (names.size() > kShownNames) some.push_back("...");
  throw InputError(
      directory.string(),
      fmt::format("is not empty, and what it holds is not of factflow: {}", join(some)),
      kElsewhere);
}

AnalysisFiles::AnalysisFiles(FileOperations& files, fs::path directory)
    : files_(files), directory_(std::move(directory)) {
  std::error_code ignored;
  if (fs::is_regular_file(directory_ / kList, ignored)) {
    paths_ = lines_of(read_file(directory_ / kList));
    known_ = true;
  } else if (fs::is_regular_file(directory_ / kReport, ignored) &&
             fs::file_size(directory_ / kReport, ignored) <= kLargestReport) {
    const std::string report = read_file(directory_ / kReport);
    known_ = is_report(report);
    if (known_) paths_ = linked_in(report);
  }
  sort_out(paths_);
}

void AnalysisFiles::add(const std::vector<std::string>& relative_paths, const fs::path& scratch) {
  paths_.insert(paths_.end(), relative_paths.begin(), relative_paths.end());
  sort_out(paths_);
  write_new_file(files_, scratch / kList, join(paths_, "\n") + "\n");
  publish(files_, scratch / kList, directory_ / kList);
  known_ = true;
}

void AnalysisFiles::remove_file(const std::string& path) {
  const fs::path file = directory_ / path;
  std::error_code ignored;
  if (!fs::exists(fs::symlink_status(file, ignored))) return;
  if (files_.unlink(file) != 0 && errno != ENOENT) throw_file_error(file, "remove", errno);
}

void AnalysisFiles::remove() {
  std::vector<fs::path> folders;
  for (const std::string& path : paths_) {
    remove_file(path);
    if (fs::path(path).has_parent_path()) folders.push_back(fs::path(path).parent_path());
  }
  sort_out(folders);
  for (const fs::path& folder : folders) ::rmdir((directory_ / folder).c_str());  // if it is empty
  remove_file(kList);
  paths_.clear();
  known_ = false;
}

}  // namespace factflow
