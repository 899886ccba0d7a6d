// The one reader of files that should be text: configurations, profiles, datasets, lists, JSON.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace factflow {

// What bytes are that are no text of ours, and what to do about it.
struct ForeignFile {
  std::string what;    // "is a Parquet file"
  std::string remedy;  // "save it as JSON lines: python3 -c ..."
};

// Recognises compressed and packed files, tables and tensors in binary forms, pointers that git-lfs
// and git-annex leave in place of a file, web pages, and text in UTF-16 or UTF-32. `file`: its
// name, for the remedy.
std::optional<ForeignFile> foreign_file(std::string_view bytes, const std::string& file);

// The text in the bytes of a file, without a byte order mark. Throws InputError for a foreign file.
// Whether the rest is UTF-8 is for the reader to check, who can name the line.
std::string_view text_in(std::string_view bytes, const std::string& file);

// text_in() of the whole file. Throws as read_file().
std::string read_text_file(const std::filesystem::path& path, size_t limit = size_t{1} << 30);

}  // namespace factflow
