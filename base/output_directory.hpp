// Where a command may put its files: a directory that it makes, an empty one, or one of its own.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/file_operations.hpp"

namespace factflow {

// Makes `directory` with its parents unless it is there; returns whether it had to be made. Throws
// InputError in one line for a place where there can be no directory (a file in the way, a link
// that leads nowhere, a name that is too long, no permission), RunError if the disk fails.
bool make_output_directory(FileOperations& files, const std::filesystem::path& directory);

// The names in `directory`, sorted; none if it does not exist yet. Throws as above for what exists
// and is no directory that can be read.
std::vector<std::string> names_in_output(FileOperations& files,
                                         const std::filesystem::path& directory);

// Refuses a directory of somebody else's files: InputError that names some of them.
[[noreturn]] void refuse_foreign(const std::filesystem::path& directory,
                                 const std::vector<std::string>& names);

// The files that analyses wrote into a directory, listed in it, so that these alone are replaced
// and removed. DIR/analysis.files: a relative path a line.
class AnalysisFiles {
 public:
  // Reads the list. A directory that an earlier version analysed has none: there the report says
  // which files belong to it.
  AnalysisFiles(FileOperations& files, std::filesystem::path directory);

  // Whether analyses may write here: a list or a report of theirs lies here.
  bool known() const { return known_; }
  // Writes the list with these files added. Before the files themselves: what a crash leaves is
  // then on the list. `scratch`: a folder of the same file system in which the new list is written
  // before it replaces the old one. Throws RunError.
  void add(const std::vector<std::string>& relative_paths, const std::filesystem::path& scratch);
  // Removes all of them, folders that are empty then, and the list. Throws RunError.
  void remove();

 private:
  void remove_file(const std::string& path);

  FileOperations& files_;
  std::filesystem::path directory_;
  std::vector<std::string> paths_;  // sorted, unique
  bool known_ = false;
};

}  // namespace factflow
