// Any bytes, read as any format, give prompts whose subjects stand where they say, or an
// InputError. The first byte chooses the format; the rest is the file.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include "base/error.hpp"
#include "pipeline/input/dataset.hpp"

namespace {

// A file in memory, so that no run touches a disk.
std::string path_of_memory_file(const std::uint8_t* data, size_t size) {
  static const int file = ::memfd_create("dataset_fuzz", 0);
  if (file < 0 || ::ftruncate(file, 0) != 0 ||
      ::pwrite(file, data, size, 0) != static_cast<ssize_t>(size))
    std::abort();
  return "/proc/self/fd/" + std::to_string(file);
}

void check(const factflow::Dataset& dataset) {
  if (dataset.prompts.empty()) std::abort();
  for (const factflow::Prompt& prompt : dataset.prompts) {
    const auto begin = static_cast<size_t>(prompt.subject_begin);
    if (prompt.subject.empty() || prompt.answer.size() < 2 || prompt.answer[0] != ' ') std::abort();
    if (prompt.text.compare(begin, prompt.subject.size(), prompt.subject) != 0) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::vector<std::string>& formats = factflow::dataset_format_names();
  factflow::DatasetConfig config;
  config.path = path_of_memory_file(data + 1, size - 1);
  if (data[0] % 8 < formats.size()) config.format = formats[data[0] % 8];
  config.sample = data[0] / 16;
  try {
    if (data[0] % 8 == 7) factflow::read_ids(config.path);
    check(factflow::read_dataset(config));
  } catch (const factflow::InputError&) {
  }
  return 0;
}
