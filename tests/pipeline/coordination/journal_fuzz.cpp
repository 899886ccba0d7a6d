// Any bytes as a journal file: a scan ends with records inside the file or with an Error, never
// otherwise.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "base/error.hpp"
#include "pipeline/coordination/journal_format.hpp"

namespace {

// One file, in memory.
class MemoryFile : public factflow::FileOperations {
 public:
  explicit MemoryFile(std::string_view bytes) : bytes_(bytes) {}
  ssize_t pread(int, void* to, std::size_t size, std::int64_t offset) override {
    if (offset < 0) return errno = EINVAL, -1;
    if (static_cast<std::size_t>(offset) >= bytes_.size()) return 0;
    const std::string_view piece = bytes_.substr(static_cast<std::size_t>(offset), size);
    std::memcpy(to, piece.data(), piece.size());
    return static_cast<ssize_t>(piece.size());
  }
  int status(int, struct stat* status) override {
    *status = {};
    status->st_size = static_cast<off_t>(bytes_.size());
    return 0;
  }

 private:
  std::string_view bytes_;
};

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  MemoryFile file(bytes);
  try {
    factflow::check_journal_header(bytes.substr(0, factflow::kJournalHeaderBytes), "fuzz",
                                   "identity");
  } catch (const factflow::InputError&) {
  }
  try {
    // From the start of the bytes, so that the fuzzer need not make a header first.
    const auto end = factflow::scan_journal(
        file, 0, "fuzz", static_cast<std::int64_t>(size), {0, 0},
        [&](const factflow::RecordPlace& place) {
          require(place.offset >= 0 && place.bytes <= size &&
                  static_cast<std::size_t>(place.offset) <= size - place.bytes);
        });
    require(end.offset >= 0 && static_cast<std::size_t>(end.offset) <= size);
  } catch (const factflow::RunError&) {
  }
  return 0;
}
