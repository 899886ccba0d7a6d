#include "base/text_file.hpp"

#include <algorithm>
#include <cctype>

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/files.hpp"

namespace factflow {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr const char* kAsLines =
    "save it as JSON lines: python3 -c \"import pandas; pandas.{}('{}')"
    ".to_json('prompts.jsonl', orient='records', lines=True)\"";

// How a kind of file begins. `{}` of the remedy is the file's name.
struct Beginning {
  std::string_view bytes, what, remedy;
};
constexpr Beginning kBeginnings[] = {
    {"\x1F\x8B"sv, "is compressed with gzip", "unpack it: gunzip --keep '{}'"},
    {"BZh"sv, "is compressed with bzip2", "unpack it: bunzip2 --keep '{}'"},
    {"\xFD"
     "7zXZ\0"sv,
     "is compressed with xz", "unpack it: unxz --keep '{}'"},
    {"\x28\xB5\x2F\xFD"sv, "is compressed with zstd", "unpack it: unzstd '{}'"},
    {"PK\x03\x04"sv, "is a zip archive (spreadsheets and checkpoints are, too)",
     "name the text file in it, or save it as text"},
    {"\x04\x22\x4D\x18"sv, "is compressed with lz4", "unpack it: unlz4 '{}'"},
    {"7z\xBC\xAF\x27\x1C"sv, "is a 7z archive", "unpack it: 7z x '{}'"},
    {"Rar!\x1A\x07"sv, "is a RAR archive", "unpack it: unrar x '{}'"},
    {"\x93NUMPY"sv, "is an array of NumPy", "save what is in it as text"},
    {"ARROW1"sv, "is an Arrow (Feather) file", ""},
    {"\x89HDF\r\n\x1A\n"sv, "is an HDF5 file", "save what is in it as text"},
    {"SQLite format 3\0"sv, "is an SQLite database", "export the table as CSV"},
    {"%PDF-"sv, "is a PDF file", "save what is in it as text"},
    {"GGUF"sv, "is a GGUF file of weights",
     "name the directory of the original checkpoint in the Hugging Face layout"},
    {"lmgg"sv, "is a GGML file of weights",
     "name the directory of the original checkpoint in the Hugging Face layout"},
    {"tjgg"sv, "is a GGML file of weights",
     "name the directory of the original checkpoint in the Hugging Face layout"},
    {"<?xml"sv, "is XML, most likely what a server answered in place of the file",
     "fetch the file itself"},
    {"\x80\x02"sv, "is a Python pickle", "save what is in it as text"},
    {"\x80\x03"sv, "is a Python pickle", "save what is in it as text"},
    {"\x80\x04"sv, "is a Python pickle", "save what is in it as text"},
    {"\x80\x05"sv, "is a Python pickle", "save what is in it as text"},
    {"version https://git-lfs.github.com/spec/"sv,
     "is a pointer that git-lfs left in place of the file",
     "fetch the file: git lfs pull, in its repository"},
    {"/annex/objects/"sv, "is a pointer that git-annex left in place of the file",
     "fetch the file: git annex get '{}'"},
    {"\xFF\xFE\0\0"sv, "is text in UTF-32", "save it as UTF-8"},
    {"\0\0\xFE\xFF"sv, "is text in UTF-32", "save it as UTF-8"},
    {"\xFF\xFE"sv, "is text in UTF-16", "save it as UTF-8: iconv -f UTF-16 -t UTF-8 '{}'"},
    {"\xFE\xFF"sv, "is text in UTF-16", "save it as UTF-8: iconv -f UTF-16 -t UTF-8 '{}'"},
};

std::string filled(std::string_view remedy, const std::string& file) {
  const size_t gap = remedy.find("{}");
  if (gap == remedy.npos) return std::string(remedy);
  return std::string(remedy.substr(0, gap)) + file + std::string(remedy.substr(gap + 2));
}

bool is_tar(std::string_view bytes) {
  constexpr size_t kMagic = 257;
  return bytes.size() > kMagic && bytes.substr(kMagic).starts_with("ustar");
}

bool is_web_page(std::string_view bytes) {
  bytes.remove_prefix(std::min(bytes.find_first_not_of(" \t\r\n"), bytes.size()));
  std::string head(bytes.substr(0, 14));
  std::transform(head.begin(), head.end(), head.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return head.starts_with("<!doctype html") || head.starts_with("<html");
}

}  // namespace

std::optional<ForeignFile> foreign_file(std::string_view bytes, const std::string& file) {
  if (bytes.starts_with("PAR1"))
    return ForeignFile{"is a Parquet file",
                       fmt::format(fmt::runtime(kAsLines), "read_parquet", file)};
  for (const Beginning& one : kBeginnings)
    if (bytes.starts_with(one.bytes))
      return ForeignFile{std::string(one.what), filled(one.remedy, file)};
  if (is_tar(bytes))
    return ForeignFile{"is a tar archive", filled("unpack it: tar -xf '{}'", file)};
  if (bytes.starts_with(kByteOrderMark)) bytes.remove_prefix(kByteOrderMark.size());
  if (is_web_page(bytes))
    return ForeignFile{
        "is a web page (HTML)",
        "the download went wrong: fetch the file itself, not the page that shows it"};
  return std::nullopt;
}

std::string_view text_in(std::string_view bytes, const std::string& file) {
  if (const auto foreign = foreign_file(bytes, file))
    throw InputError(file, foreign->what, foreign->remedy);
  if (bytes.starts_with(kByteOrderMark)) bytes.remove_prefix(kByteOrderMark.size());
  return bytes;
}

std::string read_text_file(const std::filesystem::path& path, size_t limit) {
  std::string bytes = read_file(path, limit);
  bytes.erase(0, bytes.size() - text_in(bytes, path.string()).size());
  return bytes;
}

}  // namespace factflow
