#include "results/seal.hpp"

#include <cerrno>
#include <string_view>

#include <fcntl.h>
#include <fmt/format.h>
#include <xxhash.h>

#include "base/error.hpp"
#include "base/file_operations.hpp"
#include "base/files.hpp"

namespace factflow {
namespace {

std::string seal_of(std::string_view bytes) {
  return fmt::format("factflow seal xxh3 {:016x} {:020d}\n",
                     XXH3_64bits(bytes.data(), bytes.size()), bytes.size());
}

const std::size_t kSealLength = seal_of("").size();
constexpr const char* kRemedy =
    "take an intact copy, or run the experiment again: finished units are not repeated";

}  // namespace

void seal_file(const std::filesystem::path& path) {
  const std::string seal = seal_of(MappedFile(path).text());
  FileOperations& files = system_files();
  const OpenFile file(files, files.open(path, O_WRONLY | O_APPEND, 0));
  if (!file) throw_file_error(path, "open", errno);
  write_fully(files, file.get(), path, seal);
}

std::string check_seal(const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view text = file.text();
  if (text.size() < kSealLength)
    throw InputError(path.string(), "is too short for a results file", kRemedy);
  const std::string_view found = text.substr(text.size() - kSealLength);
  if (!found.starts_with("factflow seal "))
    throw InputError(
        path.string(),
        "does not end with factflow's check sum: it is truncated, changed, or no results file",
        kRemedy);
  const std::string expected = seal_of(text.substr(0, text.size() - kSealLength));
  if (found != expected)
    throw InputError(path.string(),
                     "does not match its check sum: it was damaged or changed after it was written",
                     kRemedy);
  return fmt::format("xxh3:{}", expected.substr(19, 16));
}

}  // namespace factflow
