// What an analysis writes appears all at once: everything goes to a hidden folder beside its place
// first, so that a full disk, a kill or a failing program leaves what an earlier analysis wrote.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace factflow {

class Staging {
 public:
  // Makes `folder` if need be, and the hidden one in it; removes what killed analyses left there.
  // Throws RunError, as do the others.
  explicit Staging(const std::filesystem::path& folder);
  ~Staging();  // removes what was not published
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // A file ("tables/curves.csv") with this content, synced.
  void write(const std::string& name, std::string_view bytes);
  // A folder of the hidden one, for other programs to write into; add() takes what they wrote.
  std::filesystem::path make_folder(const std::string& name);
  void add(const std::string& name);
  // Gives the files of write() and add() their places in `folder`, in that order, replacing files
  // of the same names; directories are synced. They are on the folder's list of what analyses wrote
  // (base/output_directory.hpp) before.
  void publish();

 private:
  std::filesystem::path folder_, hidden_;
  std::vector<std::string> names_;
};

}  // namespace factflow
